# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest
import torch
from tiny_runs import assert_same, new_model, new_trainer, one_update, random_batch, run_config

from zipvoice.model.kernels.fusion import fuse
from zipvoice.training.compile import compile_elementwise, recompute_activations


@pytest.fixture
def unfused():
    yield
    fuse(None)


def test_recomputed_activations_give_the_same_gradients(tmp_path):
    """Bit for bit, with everything random in training on, over steps in which gradient shaping adapts itself."""
    usual, frugal = (new_trainer(run_config(tmp_path), new_model()) for _ in range(2))
    recompute_activations(frugal.model)
    for number in range(4):
        assert_same(one_update(frugal, [random_batch(number)])[1], one_update(usual, [random_batch(number)])[1])
    assert frugal.model.training_state() == usual.model.training_state()
    assert 0.025 in usual.model.training_state().values()


def test_recomputed_activations_are_not_kept(tmp_path):
    def kept(trainer):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):
            trainer.objective(trainer.model.train(), random_batch(0), torch.Generator())
        return sum(sizes)

    usual, frugal = (new_trainer(run_config(tmp_path), new_model()) for _ in range(2))
    recompute_activations(frugal.model)
    assert kept(frugal) < 0.2 * kept(usual)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["eager", "inductor"])
def test_compiled_code_computes_the_same(tmp_path, unfused, backend):
    """Over steps in which all that is random acts now and then, and a batch without padding."""
    usual, compiled = (new_trainer(run_config(tmp_path), new_model()) for _ in range(2))
    batches = [random_batch(number) for number in range(2)]
    batches.append(replace(batches[0], feature_lens=torch.full((3,), 20)))
    expected = []
    for batch in batches:
        loss, gradients = one_update(usual, [batch])
        expected.append((loss.value, dict(gradients)))
    compile_elementwise(torch.device("cpu"), backend)
    for batch, (expected_loss, gradients) in zip(batches, expected, strict=True):
        loss, found = one_update(compiled, [batch])
        torch.testing.assert_close(loss.value, expected_loss)
        for name, gradient in gradients.items():
            atol = 1e-4 * gradient.abs().max().item()
            torch.testing.assert_close(found[name], gradient, atol=atol, rtol=1e-3, msg=name)


def test_a_machine_that_cannot_compile_is_told_of(monkeypatch):
    def no_compiler(graph, inputs):
        raise RuntimeError("no working compiler found\nlong explanation")

    with pytest.raises(
        ValueError, match=r"torch.compile does not work on this machine \(.*\); install a C\+\+ compiler"
    ):
        compile_elementwise(torch.device("cpu"), backend=no_compiler)
