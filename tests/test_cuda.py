# SPDX-License-Identifier: Apache-2.0
"""What only a GPU can show: `pytest tests/test_cuda.py` on a machine that has one. Elsewhere all of it is skipped."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import FAST, FIVE_STACKS, make_synthesizer, tone
from tiny_runs import Repeatable, new_model, new_trainer, one_update, random_batch, run_config

from zipvoice.config.vocoder import DiscriminatorConfig, VocoderRunConfig, VocosConfig
from zipvoice.model.kernels.fusion import fuse
from zipvoice.training.compile import compile_elementwise, recompute_activations

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def update(folder, device, precision="fp32", prepare=lambda model: None):
    """Loss and gradients of one step on two batches."""
    model = new_model().to(device)
    prepare(model)
    trainer = new_trainer(run_config(folder, precision=precision), model, Repeatable())
    trainer.precision.scale = 1024.0 if precision == "fp16" else 1.0
    loss, gradients = one_update(trainer, [random_batch(1), random_batch(2)])
    return loss.value.item(), {name: gradient.cpu() for name, gradient in gradients.items()}


def assert_close(found, expected, tolerance):
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    difference = sum((found[1][name] - gradient).square().sum() for name, gradient in expected[1].items())
    assert difference.sqrt() < tolerance * sum(g.square().sum() for g in expected[1].values()).sqrt()


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.05), ("fp16", 0.01)])
def test_a_step_on_a_gpu_is_that_on_a_cpu(tmp_path, precision, tolerance):
    assert_close(update(tmp_path / "a", "cuda", precision), update(tmp_path / "b", "cpu"), tolerance)


def test_recomputed_activations_give_the_same(tmp_path):
    assert_close(update(tmp_path / "a", "cuda", prepare=recompute_activations), update(tmp_path / "b", "cuda"), 1e-4)


def test_compiled_code_computes_the_same(tmp_path):
    expected = update(tmp_path / "a", "cuda")
    compile_elementwise(torch.device("cuda"))
    try:
        assert_close(update(tmp_path / "b", "cuda"), expected, 1e-4)
    finally:
        fuse(None)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_training_learns_and_goes_on_after_an_interruption(tmp_path, precision):
    config = run_config(tmp_path / "whole", precision=precision)
    whole = new_trainer(config, new_model().to("cuda"))
    whole.run()
    for steps in (4, 9):  # the second time from other weights, which the checkpoint replaces
        part = replace(config, exp_dir=str(tmp_path / "parts"), num_steps=steps)
        parts = new_trainer(part, new_model(seed=steps - 4).to("cuda"))
        parts.run()
    assert parts.step == whole.step == 9
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, atol=2e-2, rtol=2e-2)


def test_too_little_memory_is_explained(tmp_path):
    trainer = new_trainer(run_config(tmp_path), new_model().to("cuda"))
    batch = random_batch(1)
    long = replace(
        batch, features=torch.randn(3, 200_000, batch.features.shape[2]), feature_lens=torch.tensor([200_000] * 3)
    )
    with pytest.raises(ValueError, match="max_duration"):
        trainer.train_step([long])


@pytest.mark.parametrize("variant", ["zipvoice", "zipvoice_distill", "zipvoice_dialog_stereo"])
def test_speech_made_on_a_gpu_is_that_made_on_a_cpu(tmp_path, variant):
    text = "[S1] a low tone [S2] and more." if "dialog" in variant else "a low tone and more."
    recording = tone(1.5, channels=2 if "stereo" in variant else 1)
    sounds = []
    for device in ("cpu", "cuda"):
        synthesizer = make_synthesizer(tmp_path / device, variant, FIVE_STACKS, device=device)
        voice = synthesizer.prompt(recording, "[S1] low [S2] tone" if "dialog" in variant else "a low tone")
        sounds.append(synthesizer.synthesize(text, voice, replace(FAST, num_steps=4, guidance_scale=1.0)).samples)
    np.testing.assert_allclose(sounds[1], sounds[0], atol=2e-3, rtol=0)


def test_speech_in_half_precision(tmp_path):
    sounds = []
    for dtype in ("float32", "bfloat16", "float16"):
        synthesizer = make_synthesizer(tmp_path / dtype, config=FIVE_STACKS, device="cuda", dtype=dtype)
        voice = synthesizer.prompt(tone(1.5), "a low tone")
        sounds.append(
            synthesizer.mels(
                [*synthesizer.planner.plan("more of it.", synthesizer.voice(voice), synthesizer.resolved(FAST))],
                synthesizer.resolved(FAST),
            )[0]
        )
    for half in sounds[1:]:
        assert np.square(half - sounds[0]).mean() < 1e-3 * sounds[0].var()


def test_a_vocoder_step_on_a_gpu_is_that_on_a_cpu():
    from zipvoice.data.segments import SegmentBatch
    from zipvoice.training.run import vocoder_trainer
    from zipvoice.vocoder.discriminators import Discriminators
    from zipvoice.vocoder.vocos import Vocos

    config = VocoderRunConfig(
        vocos=VocosConfig(16, 32, 1),
        discriminators=DiscriminatorConfig((2, 3), (4, 8), window_channels=4),
        stft_weight=1.0,
    )
    samples = torch.randn(2, 8192 + 1024, generator=torch.Generator().manual_seed(0)) * 0.1
    batch = SegmentBatch(samples, ["a", "b"])
    losses = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        vocos, discriminators = Vocos(config.vocos), Discriminators(config.discriminators)
        trainer = vocoder_trainer(config, vocos.to(device), discriminators.to(device), SimpleNamespace(epoch=0))
        losses.append([trainer.train_step([batch]).value.item() for _ in range(3)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
