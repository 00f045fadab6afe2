# SPDX-License-Identifier: Apache-2.0
import math
import threading
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from reference_models import CASES, reference
from tiny_models import FAST, FIVE_STACKS, RATE, make_model, make_synthesizer, resolved, tone

import zipvoice
from zipvoice import Audio, SynthesisOptions
from zipvoice.audio.loudness import loudness, normalize_rms
from zipvoice.audio.mel import HOP
from zipvoice.audio.mel import features as features_of
from zipvoice.config.model_file import ModelFile
from zipvoice.config.synthesis import SamplingConfig
from zipvoice.model.condition import Condition
from zipvoice.model.guidance import guided_velocity
from zipvoice.runtime.torch import TorchModel
from zipvoice.seeds import standard_normal, synthesis_seed
from zipvoice.synthesis.sampling import initial_noise, sample
from zipvoice.synthesis.synthesizer import Synthesizer, batches, joined


def chunks(synthesizer, text, prompt, options=FAST, name=""):
    options = resolved(options)
    return list(synthesizer.planner.plan(text, synthesizer.voice(prompt), options, name))


LONG = "one two three, four five six. seven eight nine ten! eleven twelve? " * 3


# ---------------------------------------------------------------- seeds


def test_the_same_seed_and_name_give_the_same_samples(synthesizer, prompt):
    first = synthesizer.synthesize("hello", prompt, FAST, name="a")
    synthesizer.synthesize("something else", prompt, FAST)
    again = synthesizer.synthesize("hello", prompt, FAST, name="a")
    other_seed = synthesizer.synthesize("hello", prompt, FAST, name="a", seed=1)
    other_name = synthesizer.synthesize("hello", prompt, FAST, name="b")
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other_seed.samples)
    assert not np.array_equal(first.samples, other_name.samples)


def test_threads_do_not_disturb_each_other(synthesizer, prompt):
    texts = ["hello", "good morning to all", "abc"]
    alone = [synthesizer.synthesize(text, prompt, FAST).samples for text in texts]
    together = {}

    def speak(index):
        together[index] = synthesizer.synthesize(texts[index], prompt, FAST).samples

    threads = [threading.Thread(target=speak, args=(index,)) for index in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(together[index], alone[index]) for index in range(len(texts)))


# ---------------------------------------------------------------- batches


def test_a_batch_of_different_prompts_gives_what_its_members_give_alone(tmp_path):
    synthesizer = make_synthesizer(tmp_path, config=FIVE_STACKS)
    options = resolved(SynthesisOptions(num_steps=4, guidance_scale=1.0))
    prompts = [synthesizer.prompt(tone(1.0), "a low tone"), synthesizer.prompt(tone(1.33, hertz=300), "higher")]
    texts = ["hello", "hi there you", "a somewhat longer text, spoken beside short ones."]
    batch = [
        chunk for i, text in enumerate(texts) for chunk in chunks(synthesizer, text, prompts[i % 2], options, str(i))
    ]
    together = synthesizer.mels(batch, options)
    for chunk, mel in zip(batch, together, strict=True):
        assert chunk.total_frames % 4 == 0
        torch.testing.assert_close(mel, synthesizer.mels([chunk], options)[0], atol=1e-4, rtol=0)


def test_without_rounded_lengths_an_utterance_would_feel_its_neighbours(tmp_path):
    synthesizer = make_synthesizer(tmp_path, config=FIVE_STACKS)
    options = resolved(FAST)
    prompt = synthesizer.prompt(tone(1.0), "a low tone")
    short, long = (chunks(synthesizer, text, prompt)[0] for text in ("hello", "hello there"))
    short = replace(short, num_frames=short.num_frames - 3)
    together, alone = synthesizer.mels([short, long], options)[0], synthesizer.mels([short], options)[0]
    assert np.abs(together - alone).max() > 1e-2


def test_batches_stay_within_their_length_and_keep_the_order(synthesizer, prompt):
    planned = chunks(synthesizer, LONG, prompt, replace(FAST, max_chunk_seconds=2.0))
    frames = 900
    grouped = list(batches(planned, frames * 256 / RATE))
    assert [chunk for group in grouped for chunk in group] == planned
    assert all(len(group) * max(chunk.total_frames for chunk in group) <= frames for group in grouped)
    assert any(len(group) > 1 for group in grouped)
    assert [len(group) for group in batches(planned, 1e-3)] == [1] * len(planned)


def test_chunks_are_spoken_together_unless_they_are_streamed(synthesizer, prompt, monkeypatch):
    sizes, options = [], replace(FAST, max_chunk_seconds=2.0, max_batch_seconds=100.0)
    spoken = Synthesizer.pieces
    monkeypatch.setattr(
        Synthesizer, "pieces", lambda own, group, given: sizes.append(len(group)) or spoken(own, group, given)
    )
    synthesizer.synthesize(LONG, prompt, options)
    assert len(sizes) == 1 and sizes[0] > 1
    sizes.clear()
    list(synthesizer.stream(LONG, prompt, options))
    assert len(sizes) > 1 and set(sizes) == {1}


def test_a_transcript_has_a_frame_for_each_token(synthesizer):
    recording = Audio(tone(0.2).samples, RATE)  # 19 frames
    assert len(synthesizer.prompt(recording, "a" * 19, raw=True).tokens) == 19
    with pytest.raises(ValueError, match="hold 19 frames, fewer than the transcript's 20 tokens"):
        synthesizer.prompt(recording, "a" * 20, raw=True)


def test_the_size_of_batches_does_not_change_the_speech(synthesizer, prompt):
    options = replace(FAST, max_chunk_seconds=2.0)
    whole = synthesizer.synthesize(LONG, prompt, options)
    single = synthesizer.synthesize(LONG, prompt, options, max_batch_seconds=0.1)
    torch.testing.assert_close(whole.samples, single.samples, atol=1e-4, rtol=0)


# ---------------------------------------------------------------- chunks


def test_chunks_and_their_lengths_follow_the_published_rule(synthesizer, prompt):
    # The prompt of 0.8 s with 11 tokens leaves 1.7 s for a chunk of 2.5 s: 23 tokens.
    assert prompt.num_frames == 75
    options = replace(FAST, max_chunk_seconds=2.5, short_text_floor=False)
    planned = chunks(synthesizer, "one two three, four five six, seven eight. nineteen ten.", prompt, options)
    spoken = ["".join(synthesizer.table.tokens[i] for i in chunk.ids) for chunk in planned]
    assert spoken == ["one two three, ", "four five six, ", "seven eight. ", "nineteen ten."]
    for chunk in planned:
        natural = math.ceil(prompt.num_frames / 11 * len(chunk.ids))
        assert natural <= chunk.num_frames < natural + 2
    assert [chunk.seed for chunk in planned] == [(666, "", index) for index in range(4)]


def test_a_text_that_fits_into_one_chunk_is_spoken_in_one(synthesizer, prompt):
    long, short = (replace(FAST, max_chunk_seconds=seconds) for seconds in (25.0, 12.0))
    text = "one two three. four five six."
    assert len(chunks(synthesizer, text, prompt, short)) == 1
    assert np.array_equal(
        synthesizer.synthesize(text, prompt, short).samples, synthesizer.synthesize(text, prompt, long).samples
    )


def test_a_prompt_longer_than_a_chunk_leaves_room_for_text(synthesizer):
    prompt = synthesizer.prompt(tone(4.0), "a low tone that lasts for very long, for longer than the others")
    planned = chunks(synthesizer, LONG, prompt, replace(FAST, max_chunk_seconds=3.0))
    assert 16 < max(len(chunk.ids) for chunk in planned) <= 1.6 / (prompt.seconds / len(prompt.tokens))


def test_final_punctuation_is_added_where_it_is_missing_and_before_pauses(synthesizer, prompt):
    bare, ended = (synthesizer.synthesize(text, prompt, FAST) for text in ("hello", "hello."))
    paused, ended_paused = (
        synthesizer.synthesize(text, prompt, FAST) for text in ("hello [pause 1s]", "hello. [pause 1s]")
    )
    assert np.array_equal(bare.samples, ended.samples)
    assert np.array_equal(paused.samples, ended_paused.samples)


# ---------------------------------------------------------------- length


def test_short_texts_get_more_time_unless_switched_off(synthesizer, prompt):
    for text in ("a", "hello", "good day to you all my dear friends and others"):
        (floored,), (plain,) = (
            chunks(synthesizer, text, prompt, replace(FAST, short_text_floor=floor)) for floor in (True, False)
        )
        natural = prompt.seconds / 11 * len(plain.ids)
        expected = natural if natural > 1.6 else 3 * natural / (1.4 + natural)
        assert floored.num_frames * 256 / RATE == pytest.approx(expected, abs=0.035)
        assert plain.num_frames * 256 / RATE == pytest.approx(natural, abs=0.035)


def test_speed_divides_the_length(synthesizer, prompt):
    frames = [
        chunks(synthesizer, "hello there", prompt, replace(FAST, speed=speed))[0].num_frames
        for speed in (0.5, 1.0, 2.0)
    ]
    assert frames[0] == pytest.approx(2 * frames[1], abs=4)
    assert frames[2] == pytest.approx(frames[1] / 2, abs=4)


@pytest.mark.parametrize("duration", [1.0, 2.345678, 7.5])
@pytest.mark.parametrize(
    "text", ["hello there", "one, two three. four five, six.", "one [pause 300ms] two", "one.\n\ntwo"]
)
def test_a_duration_is_met_to_the_sample(synthesizer, prompt, duration, text):
    audio = synthesizer.synthesize(text, prompt, FAST, duration=duration, max_chunk_seconds=2.0)
    assert audio.num_samples == round(duration * RATE)


@pytest.mark.parametrize("duration", [1.0, 2.345678, 7.5])
def test_there_are_frames_for_all_of_a_duration(synthesizer, prompt, duration):
    """Between n frames lie n - 1 steps of 256 samples; what is missing would be silent."""
    for chunk in chunks(
        synthesizer, "one, two three.", prompt, replace(FAST, duration=duration, max_chunk_seconds=2.0)
    ):
        if not chunk.ids:  # punctuation alone
            assert chunk.num_frames == chunk.num_samples == 0
            continue
        spare = (chunk.num_frames - 1) * HOP - chunk.num_samples
        assert 0 <= spare < HOP * synthesizer.model.description.frame_multiple
        assert chunk.total_frames % synthesizer.model.description.frame_multiple == 0, "no neighbour in a batch is felt"


def test_a_duration_without_time_to_speak_is_refused(synthesizer, prompt):
    with pytest.raises(ValueError, match=r"no time to speak: the pauses take 2 s"):
        synthesizer.synthesize("one [pause 2s] two", prompt, FAST, duration=1.5)
    with pytest.raises(ValueError, match=r"more tokens \(\d+\) than frames"):
        synthesizer.synthesize("much too much text for so short a time", prompt, FAST, duration=0.1)


# ---------------------------------------------------------------- raw


def test_raw_speech_is_the_bare_procedure(synthesizer):
    recording, text = tone(1.0, level=0.02), "hello there"
    prompt = synthesizer.prompt(recording, "a low tone", raw=True)
    audio = synthesizer.synthesize(text, prompt, FAST, raw=True)

    normal, gain = normalize_rms(recording, 0.1)
    scaled = features_of(normal) * np.float32(0.1)
    ids, prompt_ids = (synthesizer.table.ids(list(words)) for words in (text, "a low tone"))
    frames = math.ceil(94 / 10 * 11)
    noise = torch.randn(94 + frames, 100, generator=torch.Generator().manual_seed(synthesis_seed(666))).numpy()
    sampling = SamplingConfig(num_steps=1, guidance_scale=0.0)
    (features,) = sample(synthesizer.model, [ids], [prompt_ids], [scaled], [frames], [noise], sampling)
    expected = synthesizer.vocoder((features / np.float32(0.1)).T[None]) / np.float32(gain)
    assert audio.num_samples == 256 * (frames - 1)
    np.testing.assert_allclose(audio.samples, expected, atol=1e-5, rtol=0)


def test_the_shortest_speech_has_a_frame_to_either_side_of_its_sound(synthesizer, prompt):
    (chunk,) = synthesizer.plan("a", prompt, synthesizer.resolved(replace(FAST, raw=True, speed=50.0)))
    assert chunk.num_frames == 2  # the voice's pace would give one, and a vocoder makes nothing of that
    assert synthesizer.synthesize("a", prompt, FAST, raw=True, speed=50.0).num_samples == 256


def test_raw_speech_has_no_target_length():
    with pytest.raises(ValueError, match="leave out duration or raw"):
        SynthesisOptions(raw=True, duration=3.0)


# ---------------------------------------------------------------- options


def test_guidance_zero_equals_no_guidance_and_one_does_not(synthesizer, prompt):
    plain = synthesizer.synthesize("hello", prompt, FAST)
    strong = synthesizer.synthesize("hello", prompt, FAST, guidance_scale=1.0)
    assert not np.allclose(plain.samples[:, :10_000], strong.samples[:, :10_000])


def test_published_options_fill_what_is_left_open():
    distilled = resolved(SynthesisOptions(), "zipvoice_distill")
    dialogue = resolved(SynthesisOptions(num_steps=4), "zipvoice_dialog")
    assert (distilled.num_steps, distilled.guidance_scale, distilled.max_chunk_seconds) == (8, 3.0, 25.0)
    assert (dialogue.num_steps, dialogue.guidance_scale, dialogue.max_chunk_seconds) == (4, 1.5, 40.0)


def test_a_model_that_says_what_suits_it_is_spoken_with_that(synthesizer):
    suits = SamplingConfig(num_steps=4, guidance_scale=2.0, t_shift=0.9, temperature=0.2)
    filled = SynthesisOptions(guidance_scale=0.0).resolved("zipvoice_distill", suits)
    assert (filled.num_steps, filled.guidance_scale, filled.t_shift, filled.temperature) == (4, 0.0, 0.9, 0.2)
    assert SynthesisOptions(temperature=0.0).resolved("zipvoice_distill", suits).temperature == 0.0


def test_batches_are_small_where_large_ones_only_take_memory():
    suits = SamplingConfig(4, 1.0)
    seconds = [SynthesisOptions().resolved("zipvoice", suits, None, gpu).max_batch_seconds for gpu in (False, True)]
    assert seconds == [10.0, 100.0]
    assert SynthesisOptions(max_batch_seconds=5.0).resolved("zipvoice", suits).max_batch_seconds == 5.0


def test_a_model_that_has_a_time_grid_is_spoken_with_it_unless_steps_are_given():
    suits = SamplingConfig(num_steps=2, guidance_scale=1.0, solver="adams-bashforth", time_grid=(0.0, 0.25, 1.0))
    assert SynthesisOptions().resolved("zipvoice", suits).sampling == suits
    steps = SynthesisOptions(num_steps=5).resolved("zipvoice", suits)
    assert (steps.num_steps, steps.time_grid, steps.solver) == (5, None, "adams-bashforth")
    shifted = SynthesisOptions(t_shift=0.7).resolved("zipvoice", suits)
    assert (shifted.num_steps, shifted.time_grid, shifted.t_shift) == (2, None, 0.7)
    grid = SynthesisOptions(time_grid=(0.0, 0.1, 0.2, 1.0), solver="euler").resolved("zipvoice", suits)
    assert (grid.num_steps, grid.time_grid, grid.solver) == (3, (0.0, 0.1, 0.2, 1.0), "euler")
    assert grid.resolved("zipvoice", suits) == grid
    with pytest.raises(ValueError, match="leave it out"):
        SynthesisOptions(num_steps=5, time_grid=(0.0, 0.1, 1.0))
    with pytest.raises(ValueError, match="a distilled model has guidance at all times"):
        SynthesisOptions(guidance_interval=(0.0, 0.5)).resolved("zipvoice_distill", suits)


def test_fast_speech_takes_what_was_found_for_the_model():
    usual, found = SamplingConfig(16, 1.0), SamplingConfig(2, 1.0, time_grid=(0.0, 0.25, 1.0))
    fast = SynthesisOptions(fast=True)
    assert fast.resolved("zipvoice", usual, found).sampling == found
    assert fast.resolved("zipvoice", usual).sampling == usual
    assert SynthesisOptions().resolved("zipvoice", usual, found).sampling == usual
    assert SynthesisOptions(raw=True).resolved("zipvoice", usual, found).sampling == usual
    with pytest.raises(ValueError, match="leave out fast or raw"):
        SynthesisOptions(fast=True, raw=True)


def test_without_noise_seeds_make_no_difference(synthesizer, prompt):
    def samples(seed, temperature):
        return synthesizer.synthesize("hello", prompt, FAST, seed=seed, temperature=temperature).samples

    assert np.array_equal(samples(1, 0.0), samples(2, 0.0))
    assert not np.array_equal(samples(1, 0.5), samples(2, 0.5))


def test_lower_precision_gives_nearly_the_same_features(tmp_path, synthesizer, prompt):
    half = make_synthesizer(tmp_path, dtype="bfloat16")
    (chunk,) = chunks(synthesizer, "hello", prompt)
    options = resolved(FAST)
    exact, rounded = synthesizer.mels([chunk], options)[0], half.mels([chunk], options)[0]
    assert rounded.dtype == np.float32
    assert 0 < np.abs(exact - rounded).mean() < 0.02 * np.abs(exact).mean()


def test_bfloat16_is_nearer_to_float32_than_autocast_is():
    """For all variants; sums between layers and the ends of the network stay in float32."""
    for case in CASES:
        network = deepcopy(reference(case).model)
        channels = network.config.feat_dim * (2 if "stereo" in case else 1)
        x, speech = (torch.from_numpy(standard_normal((2, 37, channels), seed)) for seed in (0, 1))
        condition = Condition(torch.from_numpy(standard_normal((2, 37, network.config.feat_dim), 2)), speech)
        with torch.inference_mode():
            exact = guided_velocity(network, 0.0)(0.3, x, condition)
            with torch.autocast("cpu", torch.bfloat16):
                rounded = guided_velocity(network, 0.0)(0.3, x, condition)
        model = TorchModel(network, ModelFile(network.config), "cpu", "bfloat16")
        error = (model.velocity(0.3, x, condition, 0.0) - exact).norm()
        assert 0 < error <= (rounded - exact).norm()


def test_noise_depends_on_the_seed_of_the_chunk_alone(synthesizer, prompt):
    (chunk,) = chunks(synthesizer, "hello", prompt)
    assert np.array_equal(initial_noise(chunk), initial_noise(replace(chunk, pause=3.0)))
    assert not np.array_equal(initial_noise(chunk), initial_noise(replace(chunk, seed=(666, "", 1))))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bfloat61"}, "dtype 'bfloat61' is not known; did you mean 'bfloat16'"),
        ({"runtime": "touch"}, "no runtime 'touch'; did you mean 'torch'"),
    ],
)
def test_what_no_runtime_knows_is_refused(tmp_path, options, message):
    make_model(tmp_path)
    with pytest.raises(ValueError, match=message):
        zipvoice.load(tmp_path, vocoder="griffin-lim", device="cpu", **options)


def test_on_request_the_sound_leaves_as_loud_as_the_recording(synthesizer):
    quiet = synthesizer.prompt(tone(1.0, level=0.02), "a low tone")
    spoken = synthesizer.synthesize("hello", quiet, FAST, keep_level=True)
    louder = synthesizer.synthesize("hello", replace(quiet, gain=1.0), FAST, keep_level=True)
    ratio = np.abs(louder.samples).max() / np.abs(spoken.samples).max()
    assert ratio == pytest.approx(quiet.gain, rel=1e-3)


@pytest.mark.parametrize("level", [0.5, 0.02, 3e-4])
@pytest.mark.parametrize("target", [-20.0, -27.0])
def test_speech_has_a_set_loudness_however_loud_the_recording_is(synthesizer, level, target):
    prompt = synthesizer.prompt(tone(1.0, level=level), "a low tone")
    text = "hello there, dear listeners. " * 6
    spoken = synthesizer.synthesize(text, prompt, FAST, loudness=target, max_chunk_seconds=5.0)
    assert loudness(spoken) == pytest.approx(target, abs=0.5)
    streamed = list(synthesizer.stream("hello there. " * 9, prompt, FAST, loudness=target))
    assert [loudness(part) for part in streamed[:-1]] == pytest.approx([target] * (len(streamed) - 1), abs=1.5)


def test_speech_that_nobody_would_hear_is_no_success(synthesizer):
    with pytest.raises(ValueError, match=r"next to silent, -9[0-9] dBFS; use a louder recording"):
        synthesizer.prompt(tone(1.0, level=3e-5), "a low tone")
    quiet = synthesizer.prompt(tone(1.0, level=2e-4), "a low tone")
    with pytest.raises(ValueError, match=r"would be next to silent, below -70 dBFS.*--keep-level"):
        synthesizer.synthesize("hello", quiet, FAST, keep_level=True)
    assert loudness(synthesizer.synthesize("hello", quiet, FAST)) == pytest.approx(-20, abs=0.5)


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        ("", {}, "the text"),
        (" \n ", {}, "the text"),
        ("[pause 1s]", {}, "the text has nothing that can be spoken"),
        ("?! ...", {}, "the text has nothing that can be spoken"),
        ("дом", {}, "the text.*no token for"),
        ("hello", {"num_steps": 0}, "num_steps must be at least 1, not 0"),
        ("hello", {"num_steps": -3}, "num_steps must be at least 1, not -3"),
        ("hello", {"speed": 0.0}, "speed must be above 0, not 0"),
        ("hello", {"speed": -1.0}, "speed must be above 0"),
        ("hello", {"speed": math.nan}, "speed must be above 0"),
        ("hello", {"t_shift": 0.0}, "t_shift must be above 0"),
        ("hello", {"temperature": -0.5}, "temperature must be from 0 to 1"),
        ("hello", {"temperature": math.nan}, "temperature must be from 0 to 1"),
        ("hello", {"guidance_scale": -1.0}, "guidance_scale must be a number of 0 or more, not -1.0"),
        ("hello", {"loudness": -61.0}, "loudness must be from -60 to 0 LUFS"),
        ("hello", {"duration": 0.0}, "duration must be a number of seconds above 0, not 0.0"),
        ("hello there, this is fast", {"speed": 100.0}, "more tokens .* lower the speed"),
    ],
)
def test_a_useless_request_is_refused_with_the_reason(synthesizer, prompt, text, changes, message):
    with pytest.raises(ValueError, match=message):
        synthesizer.synthesize(text, prompt, FAST, **changes)


@pytest.mark.parametrize("text", [None, 5, b"hello"])
def test_what_is_no_text_is_refused(synthesizer, prompt, text):
    for speak in (synthesizer.synthesize, lambda *given: list(synthesizer.stream(*given))):
        with pytest.raises(ValueError, match=f"a text is a str, or its lines, not a {type(text).__name__}"):
            speak(text, prompt, FAST)
    with pytest.raises(ValueError, match="a text is a str"):
        synthesizer.synthesize(text, prompt, FAST, raw=True)


def test_damaged_weights_are_an_error_rather_than_noise(tmp_path, prompt):
    broken = make_synthesizer(tmp_path)
    with torch.no_grad():
        broken.model.network.fm_decoder.out_proj.bias.fill_(math.nan)
    with pytest.raises(ValueError, match="NaN or infinite"):
        broken.synthesize("hello", prompt, FAST)


def test_parts_are_the_whole(synthesizer, prompt):
    options = replace(FAST, max_chunk_seconds=2.0, max_batch_seconds=3.0)
    parts = list(synthesizer.parts(LONG, prompt, options))
    assert len(parts) > 2
    assert np.array_equal(joined(parts).samples, synthesizer.synthesize(LONG, prompt, options).samples)


def test_what_a_model_cannot_speak_is_left_out_when_asked_to(tmp_path, caplog):
    make_model(tmp_path)
    strict = zipvoice.load(tmp_path, vocoder="griffin-lim", device="cpu")
    lenient = zipvoice.load(tmp_path, vocoder="griffin-lim", device="cpu", skip_unknown=True)
    voice = lenient.prompt(tone(1.0), "a low tone")
    with pytest.raises(ValueError, match="п"):
        strict.synthesize("say п now", voice, FAST)
    assert np.array_equal(
        lenient.synthesize("say п now", voice, FAST).samples, strict.synthesize("say  now", voice, FAST).samples
    )
    assert "п" in caplog.text


def test_a_model_and_its_vocoder_are_loaded_for_the_same_device(tmp_path, monkeypatch):
    asked = []
    vocoder = "zipvoice.synthesis.synthesizer.load_vocoder"
    monkeypatch.setattr(vocoder, lambda *given, **more: asked.append((given, more)))
    make_model(tmp_path)
    zipvoice.load(tmp_path, vocoder="griffin-lim", runtime="torch", device="cpu")
    assert asked == [(("griffin-lim", "torch"), {"device": "cpu"})]
