# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch.nn import functional as F

from zipvoice.config.vocoder import DiscriminatorConfig, VocoderRunConfig
from zipvoice.vocoder.discriminators import (
    DiscriminatorOutput,
    Discriminators,
    PeriodDiscriminator,
    SpectralDiscriminator,
    magnitudes,
)
from zipvoice.vocoder.losses import SpectralLoss, adversarial_loss, discriminator_loss, feature_loss

SMALL = DiscriminatorConfig(
    periods=(2, 3, 5), period_channels=(4, 8), period_weight=1.5, windows=(64, 32), window_channels=4, window_weight=0.5
)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def output(score, *features):
    return DiscriminatorOutput(torch.full((2, 3), score), [torch.full((2, 4), value) for value in features])


# ---------------------------------------------------------------- what they see


@torch.no_grad()
@pytest.mark.parametrize("period", [2, 3, 7])
def test_a_period_discriminator_treats_interleaved_parts_one_by_one(period):
    discriminator, single = PeriodDiscriminator(period, (4, 8)), PeriodDiscriminator(1, (4, 8))
    single.load_state_dict(discriminator.state_dict())
    wave = noise(2, 40 * period)
    together = discriminator(wave).scores  # (B, 1, n, P)
    for start in range(period):
        alone = single(wave[:, start::period]).scores[..., 0]
        torch.testing.assert_close(together[..., start], alone)


@torch.no_grad()
def test_an_incomplete_period_is_filled_with_silence():
    discriminator, wave = PeriodDiscriminator(5, (4, 8)), noise(2, 123)
    assert torch.equal(discriminator(wave).scores, discriminator(F.pad(wave, (0, 2))).scores)


def test_the_magnitude_of_a_sine_is_half_the_windows_sum():
    window = torch.hann_window(64)
    sine = 0.3 * torch.sin(2 * torch.pi * 8 / 64 * torch.arange(1024))  # in the middle of bin 8
    middle = magnitudes(sine[None], window)[0, :, 4:-4]  # (K, T) without the reflected edges
    torch.testing.assert_close(middle[8], torch.full_like(middle[8], 0.3 * 32 / 2), atol=1e-4, rtol=0)
    assert middle[12:].max() < 1e-3


def test_silence_has_a_finite_gradient():
    wave = torch.zeros(1, 256, requires_grad=True)
    magnitudes(wave, torch.hann_window(64)).log().sum().backward()
    assert wave.grad.isfinite().all()


@torch.no_grad()
def test_only_the_spectral_ones_are_deaf_to_the_sign():
    wave = noise(1, 512)
    spectral, period = SpectralDiscriminator(64, 4), PeriodDiscriminator(2, (4, 8))
    torch.testing.assert_close(spectral(wave).scores, spectral(-wave).scores)
    assert not torch.allclose(period(wave).scores, period(-wave).scores)


@torch.no_grad()
def test_each_wave_of_a_batch_is_treated_alone():
    discriminators, waves = Discriminators(SMALL), noise(3, 500)
    together = discriminators(waves)
    for number, wave in enumerate(waves):
        for all_waves, alone in zip(together, discriminators(wave[None]), strict=True):
            torch.testing.assert_close(all_waves.scores[number], alone.scores[0], atol=1e-6, rtol=1e-4)


def test_the_published_multi_period_discriminator_has_41_million_weights():
    with torch.device("meta"):
        discriminators = Discriminators(DiscriminatorConfig(windows=()))
    shapes = [p.shape for name, p in discriminators.named_parameters() if not name.endswith("original0")]  # the norms
    assert sum(shape.numel() for shape in shapes) == 5 * 8_218_433


def test_each_kind_has_its_weight_however_many_there_are():
    assert Discriminators(SMALL).weights == pytest.approx([0.5, 0.5, 0.5, 0.25, 0.25])


def test_windows_weigh_a_tenth_of_periods_by_default():
    """As in Vocos (Siuzdak 2023), where the distance of log-mel counts 45 times."""
    default = VocoderRunConfig()
    assert (default.discriminators.period_weight, default.discriminators.window_weight) == (1.0, 0.1)
    assert default.mel_weight == 45.0


def test_they_learn_to_tell_a_tone_from_noise():
    torch.manual_seed(0)
    discriminators = Discriminators(SMALL)
    optimizer = torch.optim.AdamW(discriminators.parameters(), 3e-3)
    tone = torch.sin(0.2 * torch.arange(512) + torch.arange(4.0)[:, None])
    for step in range(60):
        loss = discriminator_loss(discriminators(tone), discriminators(noise(4, 512, seed=step)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for real, fake in zip(discriminators(tone), discriminators(noise(4, 512, seed=1000)), strict=True):
        assert real.scores.mean() > 0 > fake.scores.mean()


@pytest.mark.parametrize("wrong", [{"periods": (), "windows": ()}, {"periods": (0, 2)}, {"window_channels": 0}])
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ValueError, match=r"at least 1|no discriminator"):
        DiscriminatorConfig(**wrong)


# ---------------------------------------------------------------- losses


def test_the_hinge_is_closed_beyond_one():
    assert discriminator_loss([output(1.0)], [output(-1.0)]) == 0
    assert discriminator_loss([output(3.0)], [output(-2.0)]) == 0
    assert discriminator_loss([output(0.0)], [output(0.0)]) == 2
    assert discriminator_loss([output(0.0), output(-1.0)], [output(0.0), output(1.0)]) == 3
    assert adversarial_loss([output(1.5), output(-1.0)], [7.0, 0.5]) == 1


def test_feature_differences_add_up_over_layers_by_weight():
    real = [output(0.0, 1.0, 2.0), output(0.0, 5.0)]
    fake = [output(0.0, 1.5, 0.0), output(0.0, 4.0)]
    assert feature_loss(real, fake, [1.0, 0.1]) == pytest.approx(2.5 + 0.1)


def test_the_spectral_loss_of_twice_as_loud_a_wave():
    wave = noise(2, 2048)
    loss = SpectralLoss((256, 64))
    assert loss(wave, wave) == 0
    torch.testing.assert_close(loss(2 * wave, wave), 1 + torch.tensor(2.0).log())


def test_the_spectral_loss_has_nothing_to_learn():
    assert not list(SpectralLoss((256, 64)).parameters())
