# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from tiny_runs import assert_same, new_model, new_trainer, one_update, random_batch, run_config

from zipvoice.training.execution import compile_networks, recompute_activations


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
def test_compiled_networks_compute_the_same_under_the_same_names(tmp_path):
    usual, compiled = (new_trainer(run_config(tmp_path), new_model()) for _ in range(2))
    compile_networks(compiled.model, torch.device("cpu"), backend="eager")
    assert compiled.model.state_dict().keys() == usual.model.state_dict().keys()
    (loss, gradients), (expected_loss, expected) = (one_update(t, [random_batch(0)]) for t in (compiled, usual))
    torch.testing.assert_close(loss.value, expected_loss.value)
    for name, gradient in expected.items():
        torch.testing.assert_close(gradients[name], gradient, msg=name)


def test_a_machine_that_cannot_compile_is_told_of(monkeypatch):
    def no_compiler(graph, inputs):
        raise RuntimeError("no working compiler found\nlong explanation")

    with pytest.raises(
        ValueError, match=r"torch.compile does not work on this machine \(.*\); install a C\+\+ compiler"
    ):
        compile_networks(new_model(), torch.device("cpu"), backend=no_compiler)
