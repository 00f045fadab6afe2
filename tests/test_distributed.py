# SPDX-License-Identifier: Apache-2.0
"""Two processes that train one model."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from corpus_runs import make_corpus
from corpus_runs import run_config as corpus_config
from processes import CONTEXT
from tiny_runs import (
    Repeatable,
    Wrapped,
    assert_same,
    new_model,
    new_trainer,
    one_update,
    random_batch,
    records,
    run_config,
)

from zipvoice.config.strict_json import write_json
from zipvoice.training import checkpoint
from zipvoice.training.distributed import ALONE, _buckets, joined, own_device, telling_of_lost
from zipvoice.training.run import train


def on_two(function, *arguments):
    """What `function` returns on each of two processes, which are given their world and the arguments."""
    with closing(socket.socket()) as listener:
        listener.bind(("localhost", 0))
        port = listener.getsockname()[1]
    answers = CONTEXT.Queue()
    processes = [CONTEXT.Process(target=answer, args=(rank, port, answers, function, arguments)) for rank in range(2)]
    for process in processes:
        process.start()
    by_rank = dict(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(timeout=30)
    return [by_rank[rank] for rank in range(2)]


def answer(rank, port, answers, function, arguments):
    torch.set_num_threads(1)
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2}
    os.environ.update({name: str(value) for name, value in place.items()})
    try:
        with joined("cpu") as world:
            answers.put((rank, function(world, *arguments)))
    except Exception as error:
        answers.put((rank, f"{type(error).__name__}: {error}"))


# ---------------------------------------------------------------- agreeing and adding up


def exchange(world):
    params = [torch.nn.Parameter(torch.zeros(size)) for size in (2, 3, 1)]
    params[0].grad = torch.full((2,), 1.0 + world.rank)
    if world.rank == 1:
        params[1].grad = torch.full((3,), 5.0)
    world.sum_gradients(params, factor=1.0 + world.rank)
    weights = torch.full((2,), float(world.rank + 7))
    world.share_weights([weights])
    return {
        "total": world.total([1.0, float(world.rank)]),
        "highest": world.highest(-3.0 + world.rank),
        "of_first": world.of_first(f"from {world.rank}"),
        "gathered": world.gathered({"rank": world.rank}),
        "gradients": [param.grad.tolist() for param in params],
        "weights": weights.tolist(),
    }


def fails_on_the_first(world):
    if world.is_first:
        raise ValueError("the reason")
    world.total([1.0])


@pytest.mark.slow
def test_one_process_says_why_and_the_others_that_it_has_ended():
    reason, lost = on_two(fails_on_the_first)
    assert reason == "ValueError: the reason"
    assert lost.startswith("ConnectionError: process 1 of 2 stops, as another one has ended (Connection ")


def test_only_a_lost_process_is_told_so():
    said = "[gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:8110. This is typically"
    told = r"process 3 of 4 stops, .* \(Connection closed by peer\): "
    with pytest.raises(ConnectionError, match=told), telling_of_lost(3, 4):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="shapes differ"), telling_of_lost(3, 4):
        raise RuntimeError("shapes differ")


def test_processes_agree():
    expected = {
        "total": [2.0, 1.0],
        "highest": -2.0,
        "of_first": "from 0",
        "gathered": [{"rank": 0}, {"rank": 1}],
        "gradients": [[5.0, 5.0], [10.0] * 3, [0.0]],
        "weights": [7.0, 7.0],
    }
    assert on_two(exchange) == [expected, expected]


def test_a_process_alone_agrees_with_itself():
    param, unused = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    param.grad = torch.ones(2)
    ALONE.sum_gradients([param, unused], 0.5)
    assert param.grad.tolist() == [0.5, 0.5] and unused.grad is None
    assert (ALONE.total([2.0]), ALONE.highest(3.0), ALONE.of_first("x"), ALONE.gathered(4)) == ([2.0], 3.0, "x", [4])


def test_gradients_travel_in_pieces_of_one_type(monkeypatch):
    monkeypatch.setattr("zipvoice.training.distributed.BUCKET_ELEMENTS", 10)
    kinds = [(4, torch.float32), (9, torch.float32), (1, torch.float32), (20, torch.float64), (1, torch.float64)]
    tensors = [torch.zeros(size, dtype=dtype) for size, dtype in kinds]
    assert [[t.numel() for t in bucket] for bucket in _buckets(tensors)] == [[4, 9], [1], [20], [1]]


def test_each_process_has_its_own_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert own_device(None, 3, 8) == torch.device("cuda:3")
    assert own_device("cuda:1", 0, 1) == torch.device("cuda:1")
    assert own_device("cpu", 3, 8) == torch.device("cpu")
    with pytest.raises(ValueError, match="there is no cuda:4: this machine has 4 GPUs"):
        own_device(None, 4, 8)
    with pytest.raises(ValueError, match="the device cuda:1 is one GPU for 2 processes"):
        own_device("cuda:1", 0, 2)
    for name in ("nosuch", "cuda:x", "meta"):
        with pytest.raises(ValueError, match=f"no device '{name}'"):
            own_device(name, 0, 1)


# ---------------------------------------------------------------- training together


def two_steps(world, exp_dir, accumulate):
    config = run_config(exp_dir, accumulate=accumulate)
    trainer = new_trainer(config, objective=Repeatable(), world=world)
    results = []
    for _ in range(2):
        loss, gradients = one_update(trainer, trainer.next_batches())
        results.append((loss.value.item(), loss.num_frames, {name: g.numpy() for name, g in gradients.items()}))
    trainer.validate()
    return results, trainer.best_valid_loss, trainer.batches.epoch


def test_two_processes_do_what_one_does_with_twice_the_batches(tmp_path):
    """Gradients, losses, validation losses and weights; the frames of a batch, not its process, decide its weight."""
    first, second = on_two(two_steps, tmp_path / "two", 2)
    alone, valid_loss, epoch = two_steps(ALONE, tmp_path / "one", 4)
    for together in (first, second):
        for (loss, num_frames, gradients), (expected_loss, expected_frames, expected) in zip(
            together[0], alone, strict=True
        ):
            assert loss == pytest.approx(expected_loss, abs=1e-6)
            assert num_frames == expected_frames
            for name, gradient in expected.items():
                torch.testing.assert_close(gradients[name], gradient, atol=1e-6, rtol=1e-4)
        assert together[1] == pytest.approx(valid_loss, abs=1e-6)
        assert together[2] == epoch == 1


def whole_run(world, exp_dir, num_steps, **changes):
    trainer = new_trainer(run_config(exp_dir, num_steps=num_steps, **changes), new_model(seed=world.rank), world=world)
    reason = trainer.run()
    state = trainer.state_dict()
    state["model"] = {name: value.numpy() for name, value in state["model"].items()}
    return reason, state["step"], state["model"], state["model_training"], state["data"]


@pytest.mark.slow
def test_a_run_of_two_processes_resumes_as_if_uninterrupted(tmp_path):
    """What is random in the gradients adapts itself on each process; weights are the first one's, and stay the same."""
    whole = on_two(whole_run, tmp_path / "whole", 7)
    on_two(whole_run, tmp_path / "parts", 3)
    parts = on_two(whole_run, tmp_path / "parts", 7)
    for rank in range(2):
        reason, step, model, steering, data = whole[rank]
        assert (reason, step) == ("finished", 7)
        for other in (parts[rank], whole[0]):
            assert all((model[name] == value).all() for name, value in other[2].items())
        assert steering == parts[rank][3] == whole[0][3] and data == parts[rank][4]
    assert whole[0][3][0] != whole[0][3][1]


def stopped(world, exp_dir, cause):
    trainer = new_trainer(run_config(exp_dir, num_steps=50, max_seconds=None), world=world)
    if cause == "signal" and world.rank == 1:
        trainer.objective = Wrapped(
            trainer.objective, lambda _: os.kill(os.getpid(), signal.SIGTERM) if trainer.step == 2 else None
        )
    if cause == "time" and world.rank == 1:
        trainer.config = replace(trainer.config, max_seconds=0.0)
    return trainer.run(), trainer.step


@pytest.mark.parametrize(("cause", "expected"), [("signal", ("interrupted", 3)), ("time", ("out of time", 0))])
def test_what_stops_one_stops_all(tmp_path, cause, expected):
    assert on_two(stopped, tmp_path, cause) == [expected, expected]
    assert checkpoint.steps_saved(tmp_path) == [expected[1]]


def skipping(world, exp_dir):
    trainer = new_trainer(run_config(exp_dir, max_bad_batches=2), new_model(), world=world)
    before = trainer.model.embed.weight.detach().clone()
    batch = random_batch(world.rank)
    if world.rank == 1:
        batch.features[0, 0, 0] = float("nan")
    trainer.train_step([batch])
    skipped = torch.equal(trainer.model.embed.weight, before), trainer.bad_batches.total
    try:
        trainer.train_step([batch])
    except ValueError as error:
        return skipped, str(error).split(", on")[0]


def test_a_batch_that_cannot_be_learnt_from_is_skipped_by_all(tmp_path):
    reason = "2 updates in a row were skipped (max_bad_batches); at step 2 the loss is not finite"
    assert on_two(skipping, tmp_path) == [((True, 1), reason)] * 2
    kept = {path.name for path in (tmp_path / "bad_batches").glob("*.safetensors")}
    assert kept == {"step-1-1-0.safetensors", "step-2-1-0.safetensors"}


# ---------------------------------------------------------------- torchrun


def torchrun(config, folder):
    """Start `zipvoice train` on two processes, which may fail once."""
    write_json(config, folder / "run.json")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    with (folder / "output").open("w") as output:
        return subprocess.Popen(
            [*launcher, "-m", "zipvoice", "train", str(folder / "run.json"), "--resume", "auto"],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def kill_a_worker(launcher):
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    workers = [pid for pid in children if b"zipvoice" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(workers[-1]), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
def test_zipvoice_train_under_torchrun(tmp_path):
    """Two processes end the same whether or not one of them is killed, and begin with the validation loss of one."""
    make_corpus(tmp_path)

    def config(name, num_steps=24):
        (tmp_path / name).mkdir()
        return corpus_config(tmp_path, tmp_path / name / "exp", num_steps=num_steps, save_every=4, keep_last=9)

    whole = torchrun(config("whole"), tmp_path / "whole")
    train(config("alone", num_steps=1))
    assert whole.wait(timeout=300) == 0, (tmp_path / "whole" / "output").read_text()
    broken = torchrun(config("broken"), tmp_path / "broken")
    while not (tmp_path / "broken" / "exp" / "checkpoint-4.pt").exists():
        assert broken.poll() is None, (tmp_path / "broken" / "output").read_text()
        time.sleep(0.01)
    kill_a_worker(broken)
    assert broken.wait(timeout=300) == 0, (tmp_path / "broken" / "output").read_text()

    folders = {name: tmp_path / name / "exp" for name in ("whole", "alone", "broken")}
    assert_same(*(checkpoint.load(folders[name] / "checkpoint-24.pt") for name in ("broken", "whole")))
    assert records(folders["broken"]) == records(folders["whole"])
    assert (folders["broken"] / "train.log").read_text().count("continuing from") == 1
    first, expected = (records(folders[name])[0] for name in ("whole", "alone"))
    assert (first["kind"], first["step"]) == ("valid", 0)
    assert first["loss"] == pytest.approx(expected["loss"], rel=1e-6)
