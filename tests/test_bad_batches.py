# SPDX-License-Identifier: Apache-2.0
import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import Wrapped, assert_same, new_trainer, random_batch, records, run_config

from zipvoice.training.distributed import ALONE
from zipvoice.training.observation.bad_batches import MOST_KEPT, BadBatches, description, is_out_of_memory
from zipvoice.training.precision import Precision


def with_nan(seed):
    batch = random_batch(seed)
    batch.features[0, 0, 0] = math.nan
    return batch


def weights(trainer):
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def test_a_loss_that_is_not_finite_costs_one_update(tmp_path, caplog):
    trainer = new_trainer(run_config(tmp_path, accumulate=2))
    before = weights(trainer)
    trainer.train_step([random_batch(6), with_nan(7)])
    assert_same(weights(trainer), before)
    assert trainer.step == 1
    assert "step 1 is skipped: the loss is not finite, on the utterances utterance-7-0, utterance-7-1" in caplog.text
    kept = tmp_path / "bad_batches"
    assert sorted(path.name for path in kept.iterdir()) == ["step-1-0-0.json", "step-1-0-0.safetensors"]
    tensors, entries = load_file(kept / "step-1-0-0.safetensors"), json.loads((kept / "step-1-0-0.json").read_text())
    torch.testing.assert_close(tensors["features"], with_nan(7).features, equal_nan=True)
    assert tensors["feature_lens"].tolist() == with_nan(7).feature_lens.tolist()
    assert entries["ids"] == with_nan(7).ids and entries["tokens"] == with_nan(7).tokens
    assert entries["seconds"] == pytest.approx([n * 256 / 24000 for n in tensors["feature_lens"].tolist()], abs=0.005)
    trainer.train_step([random_batch(8), random_batch(9)])
    assert not torch.equal(trainer.model.embed.weight, before["embed.weight"])
    assert trainer.bad_batches.state_dict() == {"total": 1, "in_a_row": 0}


def test_a_description_can_be_read_by_people():
    batch = replace(random_batch(6), texts=["你好", "früh"])
    written = description(batch, "the loss is not finite")
    assert "你好" in written and "früh" in written
    assert json.loads(written)["texts"] == ["你好", "früh"] and "features" not in json.loads(written)


def test_only_updates_skipped_in_a_row_end_a_run(tmp_path):
    bad = BadBatches(tmp_path, limit=2, world=ALONE)
    for step in (1, 3, 5):
        bad.skipped(step, "the loss is not finite", [random_batch(step)])
        bad.updated()
    bad.skipped(6, "the loss is not finite", [random_batch(6)])
    with pytest.raises(ValueError, match=r"2 updates in a row were skipped .* at step 7 the loss is not finite"):
        bad.skipped(7, "the loss is not finite", [random_batch(7)])
    assert bad.state_dict() == {"total": 5, "in_a_row": 2}


def test_a_gradient_that_is_not_finite_costs_one_update(tmp_path, caplog):
    trainer = new_trainer(run_config(tmp_path))
    trainer.objective = Wrapped(trainer.objective, after=lambda loss: replace(loss, value=Overflow.apply(loss.value)))
    before, optimizer = weights(trainer), trainer.optimizer.state_dict()
    trainer.train_step([random_batch(3)])
    assert_same(weights(trainer), before)
    assert_same(trainer.optimizer.state_dict()["state"], optimizer["state"])
    assert "step 1 is skipped: a gradient is not finite, on the utterances utterance-3-0" in caplog.text
    assert len(list((tmp_path / "bad_batches").iterdir())) == 2


class Overflow(torch.autograd.Function):
    """A finite value with an infinite gradient."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * math.inf


def test_a_model_that_has_diverged_stops_the_run(tmp_path):
    trainer = new_trainer(run_config(tmp_path, max_bad_batches=3, num_steps=100))
    trainer.objective = Wrapped(
        trainer.objective, after=lambda loss: replace(loss, value=loss.value * (math.nan if trainer.step > 4 else 1.0))
    )
    with pytest.raises(ValueError, match=r"3 updates in a row were skipped \(max_bad_batches\); at step 8 the loss"):
        trainer.run()
    assert [record["skipped"] for record in records(tmp_path) if record["kind"] == "train"] == [0, 0, 0, 0, 0, 1, 2]
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()


def test_batches_are_not_kept_for_ever(tmp_path):
    bad = BadBatches(tmp_path, 1000, ALONE)
    for step in range(MOST_KEPT + 5):
        bad.skipped(step, "a reason", [random_batch(step)])
    assert len(list(tmp_path.glob("*.safetensors"))) == MOST_KEPT
    assert bad.total == MOST_KEPT + 5


def test_a_vanishing_scale_warns_once_then_stops(tmp_path, caplog):
    trainer = new_trainer(run_config(tmp_path, precision="fp16"))
    trainer.objective = Wrapped(trainer.objective, after=lambda loss: replace(loss, value=Overflow.apply(loss.value)))
    trainer.precision = Precision("fp16", "cpu")
    trainer.precision.load_state_dict({"scale": 0.02, "num_good": 0})
    trainer.train_step([random_batch(0)])
    assert not caplog.records
    with pytest.raises(
        ValueError, match=r"overflow in fp16 at step 11 although the loss is multiplied by 9.8e-06 only"
    ):
        for number in range(1, 30):
            trainer.train_step([random_batch(number)])
    assert [record.message.split(" although")[0] for record in caplog.records] == [
        "gradients overflow in fp16 at step 2"
    ]
    kept = {path.stem for path in (tmp_path / "bad_batches").iterdir()}
    assert kept == {"step-2-0-0", "step-11-0-0"}


# ---------------------------------------------------------------- memory


def too_large(generator):
    torch.empty(2**50)


@pytest.mark.parametrize(
    "failure", [too_large, lambda g: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory. Tried …"))]
)
def test_a_lack_of_memory_says_what_to_do(tmp_path, failure):
    trainer = new_trainer(run_config(tmp_path))
    trainer.objective = Wrapped(trainer.objective, before=failure)
    batch = random_batch(5)
    message = (
        r"out of memory at step 1, on 3 utterances of up to 0.21 s, 1 s with padding: utterance-5-0, utterance-5-1, "
        r"utterance-5-2\. Lower data.max_duration and raise accumulate .* data.max_len; or set activation_checkpointing"
    )
    with pytest.raises(ValueError, match=message):
        trainer.train_step([batch])
    entries = json.loads((tmp_path / "out-of-memory-1-0.json").read_text())
    assert entries["ids"] == batch.ids and "memory" in entries["reason"]


def test_other_errors_pass(tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    trainer.objective = Wrapped(trainer.objective, before=lambda generator: torch.ones(2) + torch.ones(3))
    with pytest.raises(RuntimeError, match="size of tensor"):
        trainer.train_step([random_batch(0)])
    assert not list(tmp_path.glob("out-of-memory*"))
    assert is_out_of_memory(MemoryError()) and not is_out_of_memory(OSError("out of memory"))
