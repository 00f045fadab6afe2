# SPDX-License-Identifier: Apache-2.0
import pickle
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zipvoice.config.training import AverageOptions
from zipvoice.training import checkpoint
from zipvoice.training.averaging import RunningAverage, average, publish
from zipvoice.weights import write_weights


def state_of(step, size=4):
    weights = {"w": torch.full((size,), float(step))}
    return {"step": step, "average_period": 2, "model": weights, "model_avg": {"w": weights["w"].double() / 2}}


@contextmanager
def disk_space(num_bytes):
    """Let the operating system refuse files beyond a size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_newest_checkpoints_are_kept_in_numerical_order(tmp_path):
    for step in (5, 10, 100, 20):
        checkpoint.save(tmp_path, step, state_of(step))
    (tmp_path / "checkpoint-best.pt").touch()
    assert checkpoint.steps_saved(tmp_path) == [5, 10, 20, 100]
    checkpoint.prune(tmp_path, keep=2)
    assert checkpoint.steps_saved(tmp_path) == [20, 100]
    assert (tmp_path / "checkpoint-best.pt").exists()
    assert checkpoint.steps_saved(tmp_path / "nowhere") == []


def test_a_run_goes_on_from_its_newest_checkpoint_by_name_and_from_no_older_one(tmp_path):
    for step in (2, 4):
        checkpoint.save(tmp_path, step, state_of(step))
    newest, older = str(tmp_path / "checkpoint-4.pt"), str(tmp_path / "checkpoint-2.pt")
    path, state = checkpoint.to_resume(tmp_path, newest)
    assert path == Path(newest) and state["step"] == 4
    with pytest.raises(ValueError, match=r"up to step 4, later than .*checkpoint-2"):
        checkpoint.to_resume(tmp_path, older)
    assert checkpoint.to_resume(tmp_path / "new", older)[1]["step"] == 2
    assert checkpoint.to_resume(tmp_path, "auto")[1]["step"] == 4
    assert checkpoint.to_resume(tmp_path / "new", "never") is None
    with pytest.raises(ValueError, match=r"holds checkpoints up to step 4; choose another exp_dir, or continue"):
        checkpoint.to_resume(tmp_path, "never")
    with pytest.raises(ValueError, match=r"is a folder; name a checkpoint in it, such as .*checkpoint-4\.pt"):
        checkpoint.to_resume(tmp_path / "new", str(tmp_path))


def test_checkpoints_off_the_beat_are_kept_as_long_as_they_are_the_newest(tmp_path):
    left = []
    for step in (4, 6, 8, 9, 11, 12, 16, 17):
        checkpoint.save(tmp_path, step, state_of(step))
        checkpoint.prune(tmp_path, keep=3, every=4)
        left.append(checkpoint.steps_saved(tmp_path))
    assert left == [
        [4],
        [4, 6],
        [4, 8],
        [4, 8, 9],
        [4, 8, 11],
        [4, 8, 12],
        [8, 12, 16],
        [8, 12, 16, 17],
    ]


@pytest.mark.parametrize("damage", [lambda data: data[:-300], lambda data: b"", lambda data: data[: len(data) // 2]])
def test_the_newest_whole_checkpoint_is_found(tmp_path, damage, caplog):
    assert checkpoint.newest(tmp_path) is None
    for step in (3, 4, 5):
        path = checkpoint.save(tmp_path, step, state_of(step))
        if step > 3:
            path.write_bytes(damage(path.read_bytes()))
    found, state = checkpoint.newest(tmp_path)
    assert (found.name, state["step"]) == ("checkpoint-3.pt", 3)
    assert [record.message.split(",")[0].rsplit("/")[-1] for record in caplog.records] == [
        f"checkpoint-{step}.pt is put aside as checkpoint-{step}.pt.damaged" for step in (5, 4)
    ]
    found.write_bytes(b"")
    with pytest.raises(ValueError, match=r"all checkpoints in .* are damaged"):
        checkpoint.newest(tmp_path)


def test_what_is_saved_comes_back(tmp_path):
    loaded = checkpoint.load(checkpoint.save(tmp_path, 3, state_of(3)))
    assert loaded["step"] == 3
    assert loaded["model_avg"]["w"].dtype == torch.float64
    assert torch.equal(loaded["model"]["w"], torch.full((4,), 3.0))


@pytest.mark.parametrize("space", [0, 1000, 300_000])
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path, space):
    good = checkpoint.save(tmp_path, 1, state_of(1)).read_bytes()
    with (
        disk_space(space),
        pytest.raises(OSError, match=r"could not write .*checkpoint-2.pt: File too large; the last"),
    ):
        checkpoint.save(tmp_path, 2, state_of(2, size=100_000))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1.pt"]
    assert (tmp_path / "checkpoint-1.pt").read_bytes() == good


def test_an_overwritten_checkpoint_is_replaced_whole(tmp_path):
    path = checkpoint.save(tmp_path, 2, state_of(2))
    before = path.read_bytes()
    with disk_space(1000), pytest.raises(OSError, match="could not write"):
        checkpoint.save(tmp_path, 2, state_of(2, size=100_000))
    assert path.read_bytes() == before


class Foreign:
    """Not a plain tensor."""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "damaged"),
        (b"no checkpoint at all", "damaged"),
        (pickle.dumps({"model": {}}, protocol=2), "damaged"),
        (lambda path: torch.save({"model": {"w": Foreign()}}, path), "holds Python objects"),
        (lambda path: torch.save([1, 2], path), "no weights under the key 'model'"),
        (lambda path: torch.save({"step": 1}, path), "no weights under the key 'model'"),
    ],
)
def test_foreign_files_are_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "checkpoint-7.pt"
    content(path) if callable(content) else path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"checkpoint-7\.pt .*{reason}"):
        checkpoint.load(path)


def test_a_truncated_checkpoint_is_refused_by_name(tmp_path):
    path = checkpoint.save(tmp_path, 7, state_of(7))
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"checkpoint-7\.pt is damaged"):
        checkpoint.load(path)


def test_checkpoints_of_the_reference_implementation_are_read(tmp_path):
    path = tmp_path / "checkpoint-600.pt"
    options = {"exp_dir": Path("exp/zipvoice"), "device": torch.device("cpu"), "num_epochs": 11, "average_period": 200}
    weights = {"module.model.w": torch.ones(2), "module.le.b": torch.zeros(1)}
    torch.save({"model": weights, "model_avg": weights, "optimizer": None, "batch_idx_train": 600, **options}, path)
    loaded = checkpoint.load(path)
    assert list(loaded["model"]) == list(loaded["model_avg"]) == ["model.w", "le.b"]
    assert loaded["step"] == 600


def test_a_full_disk_leaves_the_last_good_weights(tmp_path):
    write_weights({"w": torch.ones(2)}, tmp_path / "model.safetensors")
    with disk_space(1000), pytest.raises(OSError, match=r"could not write .*model.safetensors: .*File too large"):
        write_weights({"w": torch.ones(100_000)}, tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert load_file(tmp_path / "model.safetensors")["w"].tolist() == [1.0, 1.0]


# ---------------------------------------------------------------- averages of checkpoints


def run_of(exp_dir, steps, period=2):
    """Checkpoints of a run whose weight after step n is n²."""
    running = RunningAverage({"w": torch.zeros(1)}, period)
    for step in range(1, max(steps) + 1):
        weights = {"w": torch.tensor([float(step**2)])}
        running.update(weights, step)
        if step in steps:
            state = {"step": step, "average_period": period, "model": weights, "model_avg": running.state_dict()}
            checkpoint.save(exp_dir, step, state)


@pytest.mark.parametrize(
    ("options", "averaged"),
    [({}, [18, 20]), ({"num": 2}, [12, 14, 16, 18, 20]), ({"step": 17, "num": 1}, [12, 14, 16])],
)
def test_average_over_the_last_intervals(tmp_path, options, averaged):
    run_of(tmp_path, [5, 10, 17, 20])
    path = average(AverageOptions(str(tmp_path), **options))
    assert path == tmp_path / "model.safetensors"
    assert load_file(path)["w"].item() == pytest.approx(sum(n**2 for n in averaged) / len(averaged))
    assert load_file(path)["w"].dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num": 4}, "needs 5 checkpoints; .* has 4"),
        ({"num": 0}, "at least 1"),
        ({"step": 18}, r"no checkpoint of step 18; it has those of \[5, 10, 17, 20\]"),
    ],
)
def test_averages_that_cannot_be_made(tmp_path, options, message):
    run_of(tmp_path, [5, 10, 17, 20])
    with pytest.raises(ValueError, match=message):
        average(AverageOptions(str(tmp_path), **options))
    with pytest.raises(ValueError, match="there is no folder nowhere"):
        average(AverageOptions("nowhere"))


def test_averaging_needs_running_averages(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path, step, {"step": step, "model": {"w": torch.ones(1)}})
    with pytest.raises(ValueError, match=r"checkpoint-1\.pt has no running average"):
        average(AverageOptions(str(tmp_path)))


def test_a_short_last_interval_is_joined_with_the_one_before(tmp_path):
    run_of(tmp_path, [10, 16, 17])
    assert load_file(publish(tmp_path))["w"].item() == pytest.approx((12**2 + 14**2 + 16**2) / 3)


def test_the_result_does_not_depend_on_interrupts(tmp_path):
    run_of(tmp_path, [8, 16, 18, 20])
    assert load_file(publish(tmp_path, every=8))["w"].item() == pytest.approx((18**2 + 20**2) / 2)
    checkpoint.checkpoint_path(tmp_path, 18).unlink()
    assert load_file(publish(tmp_path, every=8))["w"].item() == pytest.approx((18**2 + 20**2) / 2)


def test_a_run_with_one_checkpoint_publishes_its_last_weights(tmp_path):
    run_of(tmp_path, [7])
    assert load_file(publish(tmp_path))["w"].item() == 49.0
