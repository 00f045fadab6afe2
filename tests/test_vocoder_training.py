# SPDX-License-Identifier: Apache-2.0
import json
import runpy
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_distributed import on_two
from tiny_runs import Wrapped, assert_same, records

from zipvoice.audio.files import Audio, read, write
from zipvoice.audio.mel import HOP
from zipvoice.cli import main
from zipvoice.config.data import PrepareOptions
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.vocoder import DiscriminatorConfig, VocoderRunConfig, VocosConfig
from zipvoice.data.prepare import prepare
from zipvoice.data.segments import CONTEXT, Recordings, SegmentBatch, SegmentBatches, Segments, whole_recordings
from zipvoice.training import checkpoint, run
from zipvoice.training.distributed import ALONE
from zipvoice.training.lr_scheduler import cosine
from zipvoice.training.observation.logger import MetricLogger
from zipvoice.training.run import train_vocoder, vocoder_trainer
from zipvoice.training.trainer import Trainer
from zipvoice.utterances import read_list
from zipvoice.vocoder.discriminators import Discriminators
from zipvoice.vocoder.log_mel import LogMel
from zipvoice.vocoder.vocos import Vocos, load_vocos, save_vocos

CORPUS = Path(__file__).parent / "data" / "corpus"
RECIPE = Path(__file__).parents[1] / "egs" / "vocos"
TINY = VocosConfig(dim=16, intermediate_dim=32, num_layers=1)
DISCRIMINATORS = DiscriminatorConfig(periods=(2, 3), period_channels=(4, 4), windows=(64,), window_channels=2)


def run_config(exp_dir, **changes):
    config = VocoderRunConfig(
        exp_dir=str(exp_dir),
        vocos=TINY,
        discriminators=DISCRIMINATORS,
        train=(str(CORPUS),),
        in_memory=True,
        num_workers=0,
        crop_samples=2048,
        batch_size=2,
        stft_weight=1.0,
        stft_windows=(256, 64),
        adversarial_from=3,
        warmup_steps=2,
        num_steps=6,
        device="cpu",
        log_every=1,
        valid_every=3,
        save_every=2,
        keep_last=100,
    )
    return replace(config, **changes)


def new_trainer(config, dev=(), world=ALONE):
    torch.manual_seed(0)
    networks = Vocos(config.vocos), Discriminators(config.discriminators)
    batches = SegmentBatches(Segments(config), world.rank, world.size)
    trainer = vocoder_trainer(config, *networks, batches, [batch_of(wave[None]) for wave in dev], world)
    trainer.metrics = MetricLogger(config.exp_dir)
    return trainer


def segments_of(segments, step=0):
    return next(segments.batches(step))


def batch_of(samples):
    return SegmentBatch(samples, [f"segment {number}" for number in range(len(samples))])


def same_weights(first, second):
    first, second = first.state_dict(), second.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def counting(folder, name="count.wav", seconds=1.0, rate=24000):
    """A recording whose samples tell their position: 0, 1, 2, ... in units of 16-bit sound."""
    folder.mkdir(exist_ok=True)
    samples = np.arange(round(seconds * rate), dtype=np.float32) / 32768
    write(folder / name, Audio(samples[None], rate))
    return folder


# ---------------------------------------------------------------- segments


def test_a_segment_depends_on_seed_and_number_only(tmp_path):
    segments, others = Segments(run_config(tmp_path)), Segments(run_config(tmp_path, seed=1))
    assert torch.equal(Segments(run_config(tmp_path))[4], segments[4])
    assert not torch.equal(segments[3], segments[4])
    assert not torch.equal(others[4], segments[4])


def test_batches_take_segments_by_turns_from_any_step_on(tmp_path):
    segments = Segments(run_config(tmp_path))
    batches, second = segments.batches(3), segments.batches(3, rank=1, world_size=2)
    assert torch.equal(next(batches), torch.stack([segments[6], segments[7]]))
    assert torch.equal(next(batches), torch.stack([segments[8], segments[9]]))
    assert torch.equal(next(second), torch.stack([segments[14], segments[15]]))
    assert torch.equal(next(second), torch.stack([segments[18], segments[19]]))


def test_segments_from_files_memory_and_a_manifest_are_the_same(tmp_path):
    counting(tmp_path / "wavs")
    rows = tmp_path / "rows.tsv"
    rows.write_text("count\tcount\twavs/count.wav\n")
    manifest = prepare(PrepareOptions(str(rows), output_dir=str(tmp_path / "data"))).manifest
    config = run_config(tmp_path, train=(str(tmp_path / "wavs"),))
    expected = Segments(config)[0]
    assert torch.equal(Segments(replace(config, in_memory=False))[0], expected)
    assert torch.equal(Segments(replace(config, train=(manifest,)))[0], expected)


def test_loader_processes_change_nothing(tmp_path):
    config = run_config(tmp_path, num_workers=1)
    assert torch.equal(segments_of(Segments(config), 5), segments_of(Segments(replace(config, num_workers=0)), 5))


def test_a_segment_is_a_piece_of_a_recording_and_can_be_anywhere(tmp_path):
    config = run_config(
        tmp_path, train=(str(counting(tmp_path / "a", seconds=0.2)),), gain_db=(0.0, 0.0), batch_size=400
    )
    positions = segments_of(Segments(config)) * 32768
    starts = positions[:, :1]
    torch.testing.assert_close(positions - starts, torch.arange(2048.0 + 2 * CONTEXT).expand(400, -1))
    last = 4800 - 2048 - 2 * CONTEXT
    assert starts.min() < 40 and starts.max() > last - 40
    assert starts.mean() == pytest.approx(last / 2, rel=0.1)


def test_an_epoch_has_as_many_segments_as_fit_into_the_recordings(tmp_path):
    """24 000 samples are 5.9 batches of two segments of 2048; two processes need three rounds for six of them."""
    segments = Segments(run_config(tmp_path, train=(str(counting(tmp_path / "a")),)))
    for world_size, expected in ((1, [0, 0, 0, 0, 0, 0, 1]), (2, [0, 0, 0, 1, 1, 1, 2])):
        batches, epochs = SegmentBatches(segments, 0, world_size), []
        for number in range(7):
            batches.load_state_dict({"num_batches": number})
            epochs.append(batches.epoch)
        assert epochs == expected


def test_every_second_is_equally_likely(tmp_path):
    counting(tmp_path / "a", "short.wav", 0.25)
    write(tmp_path / "a" / "long.wav", Audio(np.full((1, 18_000), -0.5, np.float32), 24000))
    segments = segments_of(Segments(run_config(tmp_path, train=(str(tmp_path / "a"),), batch_size=1000)))
    assert (segments[:, 0] < 0).float().mean() == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("in_memory", [True, False])
def test_silence_follows_a_recording_that_is_too_short(tmp_path, in_memory):
    folder = str(counting(tmp_path / "a", seconds=0.05))
    config = run_config(tmp_path, train=(folder,), in_memory=in_memory, gain_db=(0.0, 0.0))
    expected = torch.nn.functional.pad(torch.arange(1200.0) / 32768, (0, 2048 + 2 * CONTEXT - 1200))
    assert torch.equal(Segments(config)[0], expected)


def test_gains_stay_in_their_range_and_below_full_scale(tmp_path):
    write(tmp_path / "a" / "half.wav", Audio(np.full((1, 9000), 0.5, np.float32), 24000))
    config = run_config(tmp_path, train=(str(tmp_path / "a"),), gain_db=(-6.0206, 12.0), batch_size=200)
    levels = segments_of(Segments(config)).amax(dim=1)
    assert levels.min() >= 0.25 - 1e-4 and levels.max() == 1.0
    assert (levels == 1).float().mean() == pytest.approx(6 / 18, abs=0.1)


def test_sound_of_another_rate_is_resampled(tmp_path):
    wave = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    write(tmp_path / "a" / "tone.wav", Audio(wave.astype(np.float32)[None], 16000))
    segments = Segments(run_config(tmp_path, train=(str(tmp_path / "a"),), in_memory=False, gain_db=(0.0, 0.0)))
    peak = torch.fft.rfft(segments[0] * torch.hann_window(len(segments[0]))).abs().argmax() * 24000 / len(segments[0])
    assert peak.item() == pytest.approx(1000.0, abs=24000 / len(segments[0]))


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 44100])
def test_a_part_has_the_length_asked_for(tmp_path, rate):
    """Whatever resampling rounds to; from files as from memory, but for half a sample of the file and its ends."""
    wave = 0.5 * np.sin(2 * np.pi * 300 * np.arange(rate) / rate)
    write(tmp_path / "a" / "tone.wav", Audio(wave.astype(np.float32)[None], rate))
    shift = (0.5 / rate) * (2 * np.pi * 300 * 0.5) if rate != 24000 else 0.0
    files, memory = (Recordings((str(tmp_path / "a"),), in_memory) for in_memory in (False, True))
    for start, length in ((0, 2003), (1, 2005), (4001, 2011), (777, 5555), (22001, 2501)):
        part, expected = files.part(0, start, length), memory.part(0, start, length)
        assert len(part) == len(expected) == length
        inside = slice(200, min(length, 24000 - start) - 200)
        torch.testing.assert_close(part[inside], expected[inside], atol=shift + 2e-3, rtol=0)


@pytest.mark.parametrize(
    ("train", "message"),
    [((), "names no recordings"), (("nowhere",), "there is no manifest nowhere"), ((".",), "no recordings in .")],
)
def test_missing_recordings_are_named(train, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        Segments(run_config(tmp_path, train=train))


# ---------------------------------------------------------------- training


def test_the_features_of_a_segment_are_those_of_the_whole_recording(tmp_path):
    wave = torch.from_numpy(read(CORPUS / "arctic_a0098_1592746254.ogg").samples[0])
    first = 10
    segment = wave[first * HOP - CONTEXT : first * HOP + 2048 + CONTEXT]
    mel, real = new_trainer(run_config(tmp_path)).objective.examples(segment[None])
    assert torch.equal(real[0], wave[first * HOP : first * HOP + 2048])
    torch.testing.assert_close(mel[0].T, LogMel()(wave)[first : first + 9], atol=1e-3, rtol=0)


def test_the_discriminators_rest_until_their_step(tmp_path):
    trainer = new_trainer(run_config(tmp_path, adversarial_from=2))
    before = [p.detach().clone() for p in trainer.objective.discriminators.parameters()]
    for learning in (False, False, True):
        parts = trainer.train_step(trainer.next_batches()).parts
        assert ({"discriminators", "adversarial", "features"} <= parts.keys()) == learning
        moved = [
            not torch.equal(a, b) for a, b in zip(before, trainer.objective.discriminators.parameters(), strict=True)
        ]
        assert all(moved) if learning else not any(moved)


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(tmp_path, monkeypatch):
    whole, parts = run_config(tmp_path / "whole"), run_config(tmp_path / "parts")
    assert train_vocoder(whole) == "finished"
    for pause in (2, 4):  # before the discriminators take part and after
        with monkeypatch.context() as patch:
            reached = lambda trainer, *_, pause=pause: "interrupted" if trainer.step == pause else None  # noqa: E731
            patch.setattr(Trainer, "_stop_reason", reached)
            assert train_vocoder(parts) == "interrupted"
        assert checkpoint.steps_saved(tmp_path / "parts")[-1] == pause
    assert train_vocoder(parts) == "finished"
    expected, found = (checkpoint.load(tmp_path / name / "checkpoint-6.pt") for name in ("whole", "parts"))
    assert_same(found, expected)
    assert records(tmp_path / "whole") == records(tmp_path / "parts")


def two_updates(world, config):
    """The weights after a step without and one with discriminators."""
    config = replace(config, exp_dir=f"{config.exp_dir}/{world.rank}")
    trainer = new_trainer(config, world=world)
    for _ in range(2):
        trainer.train_step(trainer.next_batches())
    networks = (trainer.model, trainer.objective.discriminators)
    return torch.cat([p.detach().flatten() for network in networks for p in network.parameters()]).tolist()


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_twice_the_segments(tmp_path):
    # Without the spectral loss, which is no mean over segments.
    config = run_config(tmp_path, batch_size=4, adversarial_from=1, stft_weight=0.0, lr=1e-3)
    alone = two_updates(ALONE, config)
    first, second = on_two(two_updates, replace(config, batch_size=2))
    assert first == second
    assert first == pytest.approx(alone, abs=1e-4)


def test_training_finds_the_level_of_a_noise(tmp_path):
    noise = 0.3 * np.random.default_rng(0).standard_normal((1, 24000), np.float32)
    write(tmp_path / "a" / "noise.wav", Audio(noise, 24000))
    changes = {"gain_db": (0.0, 0.0), "adversarial_from": 1000, "num_steps": 1000, "lr": 5e-3}
    trainer = new_trainer(run_config(tmp_path, train=(str(tmp_path / "a"),), **changes))
    distances = [trainer.train_step(trainer.next_batches()).parts["mel"].item() for step in range(50)]
    assert distances[0] > 4 and max(distances[-5:]) < 0.5


def test_the_average_follows_the_weights(tmp_path):
    trainer = new_trainer(run_config(tmp_path, ema_decay=0.5))
    expected = trainer.model.head.out.bias.detach().clone()
    for decay in (1 / 11, 2 / 12, 3 / 13):
        trainer.train_step(trainer.next_batches())
        expected = decay * expected + (1 - decay) * trainer.model.head.out.bias.detach()
    torch.testing.assert_close(trainer.objective.averaged.head.out.bias, expected)
    last = new_trainer(run_config(tmp_path / "last", ema_decay=0.0))
    last.train_step(last.next_batches())
    assert same_weights(last.objective.averaged, last.model)


def test_the_learning_rate_rises_and_falls():
    assert [cosine(step, 100, 4) for step in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0], rel=0.01)
    assert cosine(0, 100) == 1.0
    assert cosine(50, 100, 4) == pytest.approx(0.5)
    assert cosine(75, 100) == pytest.approx((1 - 0.5**0.5) / 2)
    assert cosine(100, 100) == cosine(101, 100) == 0.0


def test_both_optimizers_follow_the_schedule(tmp_path):
    trainer = new_trainer(run_config(tmp_path, adversarial_from=0, warmup_steps=2, num_steps=6, lr=1e-3))
    for step in range(4):
        trainer.train_step(trainer.next_batches())
        for optimizer in (trainer.optimizer, trainer.objective.optimizer_d):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * cosine(step, 6, 2))


def test_copies_of_the_first_recordings_are_heard_at_validation(tmp_path, monkeypatch):
    heard, saved = [], []
    monkeypatch.setattr(run, "save_vocos", lambda *what: saved.append(what))
    objective = SimpleNamespace(averaged=lambda mel: mel + 1, log_mel=lambda samples: samples[:, :, None])
    recorded = [SegmentBatch(torch.full((1, 8), float(i)), [str(i)]) for i in range(5)]
    trainer = SimpleNamespace(objective=objective, valid_batches=recorded, device="cpu")
    metrics = SimpleNamespace(writer=SimpleNamespace(add_audio=lambda *what: heard.append(what)))
    config = VocoderRunConfig(exp_dir=str(tmp_path), valid_every=3)
    run.VocoderRun.observe(SimpleNamespace(config=config), trainer, metrics)
    trainer.show(None, 4)
    assert not heard
    trainer.show(None, 6)
    assert [(tag, step, rate) for tag, _, step, rate in heard] == [(f"copies/{i}", 6, 24000) for i in range(3)]
    assert all(torch.equal(wave, torch.full((1, 1, 8), i + 1.0)) for i, (_, wave, *_) in enumerate(heard))
    trainer.saved()
    assert saved == [(objective.averaged, str(tmp_path))]


def test_validation_is_the_mel_distance_of_the_averages_copies(tmp_path):
    wave = torch.from_numpy(read(CORPUS / "arctic_a0098_1592746254.ogg").samples[0])
    trainer = new_trainer(run_config(tmp_path), dev=[wave])
    trainer.validate()
    trainer.metrics.close()
    with torch.no_grad():
        copy = trainer.objective.averaged(LogMel()(wave).T[None])[0]
    expected = (LogMel()(copy) - LogMel()(wave[: len(copy)])).abs().mean().item()
    (record,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert record["kind"] == "valid" and record["loss"] == pytest.approx(expected, rel=1e-4)


def test_validation_recordings_that_are_too_short_are_named(tmp_path):
    config = run_config(tmp_path, dev=(str(tmp_path / "dev"),), stft_windows=(2048,))
    for name, samples in (("enough", 1536), ("short", 1535), ("tiny", 300)):
        counting(tmp_path / "dev", f"{name}.wav", samples / 24000)
    with pytest.raises(ValueError, match=r"recordings of 0\.064 s; leave out \S*short\.wav, \S*tiny\.wav$"):
        whole_recordings(config)
    for name in ("short", "tiny"):
        (tmp_path / "dev" / f"{name}.wav").unlink()
    trainer = new_trainer(config)
    trainer.valid_batches = whole_recordings(config)
    trainer.validate()
    assert trainer.best_valid_loss > 0


def test_a_loss_that_is_not_finite_costs_one_update(tmp_path, caplog):
    """Of the vocoder, its average and the discriminators; those of the next step are finite again."""
    trainer = new_trainer(run_config(tmp_path, adversarial_from=0))
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train_step([batch_of(torch.full((1, 2048 + 2 * CONTEXT), torch.nan))])
    assert "step 1 is skipped: the loss is not finite, on the utterances segment 0" in caplog.text
    assert_same(dict(trainer.model.state_dict()), before)
    loss = trainer.train_step(trainer.next_batches())
    assert loss.value.isfinite() and loss.parts["discriminators"].isfinite()
    assert trainer.objective.num_steps == 1


def test_a_lack_of_memory_says_what_to_do(tmp_path):
    trainer = new_trainer(run_config(tmp_path))
    trainer.objective = Wrapped(trainer.objective, before=lambda generator: torch.empty(2**50))
    with pytest.raises(ValueError, match=r"on 2 utterances of up to 0.13 s.*Lower batch_size or crop_samples\."):
        trainer.train_step(trainer.next_batches())


def test_a_run_of_the_former_trainer_of_vocoders_continues(tmp_path):
    """Its checkpoints had other names; the run ends as one that began with today's."""
    train_vocoder(run_config(tmp_path))
    expected, state = (checkpoint.load(tmp_path / f"checkpoint-{step}.pt") for step in (6, 4))
    objective = state["objective"]
    networks = {name.replace("discriminators.", "judges.", 1): x for name, x in objective["discriminators"].items()}
    former = {name: state[name] for name in ("step", "model", "optimizer", "recent")}
    former |= {"average": objective["average"], "opponent": objective["optimizer_d"], "discriminators": networks}
    checkpoint.checkpoint_path(tmp_path, 6).unlink()
    checkpoint.save(tmp_path, 4, former)
    none = {"total": 0, "in_a_row": 0}
    assert checkpoint.load(tmp_path / "checkpoint-4.pt")["bad_batches"] == state["bad_batches"] == none
    train_vocoder(run_config(tmp_path))
    assert_same(checkpoint.load(tmp_path / "checkpoint-6.pt"), expected)


# ---------------------------------------------------------------- runs and their folders


def test_the_folder_of_a_run_is_a_vocoder(tmp_path):
    config = run_config(tmp_path / "exp", dev=(str(CORPUS),))
    assert train_vocoder(config) == "finished"
    assert read_json(VocoderRunConfig, tmp_path / "exp" / "run.json") == config
    state = checkpoint.load(tmp_path / "exp" / "checkpoint-6.pt")
    vocos = load_vocos(tmp_path / "exp")
    assert vocos.config == TINY
    assert all(torch.equal(value, state["objective"]["average"][name]) for name, value in vocos.state_dict().items())
    kinds = [record["kind"] for record in records(tmp_path / "exp")]
    assert kinds == ["valid"] + ["train"] * 3 + ["valid"] + ["train"] * 3 + ["valid"]


def test_other_sizes_do_not_continue_a_run(tmp_path):
    config = run_config(tmp_path, num_steps=1)
    train_vocoder(config)
    with pytest.raises(ValueError, match=r"other settings \(vocos was"):
        train_vocoder(replace(config, vocos=replace(TINY, dim=8)))


def test_a_run_can_start_from_a_vocoder(tmp_path):
    torch.manual_seed(5)
    source = Vocos(TINY)
    save_vocos(source, tmp_path / "source")
    config = run_config(tmp_path / "exp", init_from=str(tmp_path / "source"), lr=1e-12, num_steps=1)
    train_vocoder(config)
    for name, value in load_vocos(tmp_path / "exp").state_dict().items():
        torch.testing.assert_close(value, source.state_dict()[name])
    with pytest.raises(ValueError, match="other sizes"):
        train_vocoder(replace(config, exp_dir=str(tmp_path / "other"), vocos=replace(TINY, dim=8)))


def test_the_command_trains_with_overrides(tmp_path, capfd):
    write_json(run_config(tmp_path / "exp"), tmp_path / "run.json")
    assert main(["train-vocoder", str(tmp_path / "run.json"), "--num-steps", "1"]) == 0
    assert "finished after 1 steps" in capfd.readouterr().err
    assert main(["train-vocoder", str(tmp_path / "run.json"), "--num-steps", "2"]) == 0
    assert "continuing from" in capfd.readouterr().err
    assert checkpoint.steps_saved(tmp_path / "exp") == [2]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"crop_samples": 16_000}, "crop_samples must be a multiple of 256 above 1024"),
        ({"crop_samples": 1024}, "crop_samples must be a multiple of 256 above 1024"),
        ({"gain_db": (3.0, 0.0)}, "gain_db must be two numbers, the lower one first"),
        ({"betas": (0.9, 1.5)}, "betas must be two numbers from 0 to 1"),
        ({"ema_decay": 1.0}, "ema_decay must be from 0 to below 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        VocoderRunConfig(**wrong)


# ---------------------------------------------------------------- vocoders in our own form


@torch.inference_mode()
def test_a_saved_vocoder_is_the_same_vocoder(tmp_path):
    torch.manual_seed(3)
    vocos = Vocos(TINY).eval()
    save_vocos(vocos, tmp_path)
    mel = torch.randn(1, 100, 9)
    assert torch.equal(load_vocos(tmp_path)(mel), vocos(mel))
    assert json.loads((tmp_path / "config.json").read_text()) == {"dim": 16, "intermediate_dim": 32, "num_layers": 1}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"dims": 16}, "config.json: unknown key 'dims'; did you mean 'dim'?"),
        ({"dim": "wide"}, "config.json: at dim: expected int"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"dim": 8}, "model.safetensors does not fit the model"),
    ],
)
def test_a_config_that_is_not_exactly_ours_is_refused(config, message, tmp_path):
    save_vocos(Vocos(TINY), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        load_vocos(tmp_path)


# ---------------------------------------------------------------- the recipe


@pytest.mark.parametrize("path", sorted((RECIPE / "conf").glob("*.json")), ids=lambda path: path.stem)
def test_its_run_files_are_valid(path):
    read_json(VocoderRunConfig, path)


def test_its_full_size_is_the_published_one():
    assert read_json(VocoderRunConfig, RECIPE / "conf" / "vocos.json").vocos == VocosConfig(512, 1536, 8)


def test_its_commands(tmp_path):
    command = ["bash", str(RECIPE / "run.sh"), "--dry-run", "--conf", "conf/small.json", "--exp", "exp/small"]
    done = subprocess.run([*command, "--num-gpus", "2", "--", "--lr", "1e-4"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    prepare = "zipvoice prepare data/{0}.tsv --output-dir data --prefix vocos --subset {0}"
    assert done.stdout.splitlines() == [
        prepare.format("train"),
        prepare.format("dev"),
        "torchrun --nproc-per-node 2 -m zipvoice train-vocoder conf/small.json --lr 1e-4",
        "python local/copy_recordings.py data/test.tsv results griffin-lim exp/small",
        "zipvoice evaluate results/list.tsv results/recordings results/griffin-lim results/small"
        " --metrics closed_set wer dnsmos",
    ]


def test_its_copies_are_the_vocoders(tmp_path, capsys):
    save_vocos(Vocos(TINY), tmp_path / "tiny")
    rows = [line.split("\t") for line in (CORPUS / "utterances.tsv").read_text().splitlines()[:2]]
    (tmp_path / "test.tsv").write_text("".join(f"{name}\t{text}\t{CORPUS / audio}\n" for name, text, audio in rows))
    main_of_script = runpy.run_path(str(RECIPE / "local" / "copy_recordings.py"))["main"]
    main_of_script(str(tmp_path / "test.tsv"), str(tmp_path / "results"), [str(tmp_path / "tiny")])
    assert "tiny: mel distance (dB) " in capsys.readouterr().out
    for number, utterance in read_list(tmp_path / "results" / "list.tsv").items():
        name, text, audio = rows[number - 1]
        assert (utterance.id, utterance.text, utterance.ref_audio) == (name, text, str(CORPUS / audio))
        original = read(tmp_path / "results" / "recordings" / f"{name}.wav")
        with torch.no_grad():
            expected = load_vocos(tmp_path / "tiny")(LogMel()(torch.from_numpy(read(CORPUS / audio).samples)).mT)
        assert original.num_samples == read(CORPUS / audio).num_samples
        copied = read(tmp_path / "results" / "tiny" / f"{name}.wav").samples
        np.testing.assert_allclose(copied, expected, atol=1 / 32768, rtol=0)
