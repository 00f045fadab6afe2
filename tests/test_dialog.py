# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import FAST, RATE, make_synthesizer, resolved, sequence, silence, tone

from zipvoice import Audio
from zipvoice.synthesis.chunk_planner import merged_turns
from zipvoice.synthesis.dialogue import joined_features

LOW, HIGH = tone(0.5, hertz=200), tone(0.7, hertz=800)
TEXT = "[S1] hello there. [S2] hi! how are you? [S1] fine."


@pytest.fixture(scope="module")
def mono(tmp_path_factory):
    return make_synthesizer(tmp_path_factory.mktemp("dialog"), "zipvoice_dialog")


@pytest.fixture(scope="module")
def stereo(tmp_path_factory):
    return make_synthesizer(tmp_path_factory.mktemp("stereo"), "zipvoice_dialog_stereo")


def planned(synthesizer, text, prompt, options=FAST):
    options = synthesizer.resolved(options)
    plan = synthesizer.planner.plan(text, synthesizer.voice(prompt), options)
    return [("".join(synthesizer.table.tokens[i] for i in chunk.ids), chunk.pause) for chunk in plan]


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize("channels", [1, 2])
def test_two_voices_of_one_speaker_each_are_one_after_the_other(channels):
    first, second = np.full((3, 100), 1.0, np.float32), np.full((2, 100), 2.0, np.float32)
    joined = joined_features(first, second, channels)
    floor = np.log(np.float32(1e-7))
    expected = {1: [[1], [1], [1], [2], [2]], 2: [[1, floor], [1, floor], [1, floor], [floor, 2], [floor, 2]]}
    assert np.array_equal(joined[:, ::100], np.float32(expected[channels])) and joined.dtype == np.float32
    for pair in ((first, np.zeros((2, 200), np.float32)), (np.zeros((2, 200), np.float32), second)):
        with pytest.raises(ValueError, match="a voice that has two channels is of two speakers already"):
            joined_features(*pair, channels)


def test_the_turns_of_a_recording_cannot_be_heard(mono):
    with pytest.raises(ValueError, match=r"say what the recording says, with its turns, .* they cannot be heard"):
        mono.prompt(LOW)


def test_two_recordings_are_one_after_the_other_with_their_tags(mono):
    split = mono.dialog_prompt([LOW, HIGH], ["low", "high"])
    merged = mono.prompt(sequence(LOW, HIGH), "[S1] low [S2] high")
    assert np.array_equal(split.features, merged.features)
    assert split.tokens == merged.tokens == ("[S1]", *"low", "[S2]", *"high.")


@pytest.mark.parametrize(("seconds", "complaints"), [(18.0, 0), (22.0, 1)])
def test_two_voices_may_last_twice_as_long_as_one(mono, caplog, seconds, complaints):
    mono.prompt(tone(seconds), f"[S1] {'a' * round(7 * seconds)} [S2] {'b' * round(7 * seconds)}")
    assert caplog.text.count("too long") == complaints


def test_recordings_of_different_rates_and_channels_are_joined_for_one_channel(mono):
    other = tone(0.7, rate=44100, channels=2, hertz=800)
    split = mono.dialog_prompt([LOW, other], ["low", "high"], raw=True)
    plain = mono.dialog_prompt([LOW, HIGH], ["low", "high"], raw=True)
    for frames, bands in [(slice(2, 44), slice(5, 12)), (slice(50, 110), slice(27, 34))]:  # where each tone is loud
        np.testing.assert_allclose(split.features[frames, bands], plain.features[frames, bands], atol=0.1, rtol=0)


def test_in_stereo_each_speaker_has_a_channel(stereo):
    prompt = stereo.dialog_prompt([LOW, HIGH], ["low", "high"], raw=True)
    left, right = np.split(prompt.features, 2, axis=1)
    first, second = slice(5, 40), slice(55, 105)
    floor = np.log(np.float32(1e-7))
    assert (left[second] == floor).all() and (right[first] == floor).all()
    assert (left[first].max(axis=1) > 0).all() and (right[second].max(axis=1) > 0).all()


def test_two_channel_recordings_keep_their_channels(stereo):
    first = Audio(np.concatenate([LOW.samples, 0 * LOW.samples]), RATE)
    second = Audio(np.concatenate([0 * HIGH.samples, HIGH.samples]), RATE)
    split = stereo.dialog_prompt([first, second], ["low", "high"])
    mono_files = stereo.dialog_prompt([LOW, HIGH], ["low", "high"])
    merged = stereo.prompt(sequence(first, second), "[S1]low[S2]high")
    assert np.array_equal(split.features, mono_files.features)
    assert np.array_equal(split.features, merged.features)


@pytest.mark.parametrize(
    ("recordings", "texts", "message"),
    [
        ([LOW], ["low"], "two recordings and two transcripts"),
        ([LOW, HIGH], ["low", ""], "transcript of speaker 2"),
        ([LOW, HIGH], ["[S1]low", "high"], "transcript of speaker 1 must be what is said, without tags"),
        ([LOW, tone(0.5, channels=2)], ["low", "high"], "have 1 and 2 channels"),
    ],
)
def test_a_useless_pair_is_refused_with_the_reason(stereo, recordings, texts, message):
    with pytest.raises(ValueError, match=message):
        stereo.dialog_prompt(recordings, texts)


def test_a_merged_prompt_for_stereo_needs_two_channels(stereo, mono):
    with pytest.raises(ValueError, match=r"has 1 channel\(s\); the stereo model takes a two-channel recording"):
        stereo.prompt(sequence(LOW, HIGH), "[S1]low[S2]high")
    with pytest.raises(ValueError, match=r"the voice has 1 channel\(s\) and the model 2"):
        stereo.dialog(TEXT, mono.dialog_prompt([LOW, HIGH], ["low", "high"]), FAST)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("low high", "begins with"),
        ("[S2] low [S1] high", r"begins with \[S1\]"),
        ("[S1] low", "turns of both speakers"),
        ("[S1] a [S2] b [S1] c", "would swap the voices"),
    ],
)
def test_a_transcript_that_would_swap_the_voices_is_refused(mono, text, message):
    with pytest.raises(ValueError, match=f"transcript of the voice.*{message}"):
        mono.prompt(sequence(LOW, HIGH), text)


# ---------------------------------------------------------------- texts


@pytest.fixture(scope="module")
def prompt(mono):
    return mono.dialog_prompt([LOW, HIGH], ["low tone", "high"])


def test_chunks_begin_with_the_first_speaker(mono, prompt):
    text = "[S1] one two. [S2] three. [S1] four. [S2] five six seven. [S1] eight."
    options = replace(FAST, max_chunk_seconds=4.0)
    chunks = planned(mono, text, prompt, options)
    assert chunks == [("[S1]one two.[S2]three.", 0.0), ("[S1]four.[S2]five six seven.", 0.0), ("[S1]eight.", 0.0)]


def test_a_repeated_tag_does_not_swap_the_voices(mono, prompt):
    repeated = "[S1] hello there. [S1] and more. [S2] hi! [S2] how are you?"
    assert planned(mono, repeated, prompt) == [("[S1]hello there.and more.[S2]hi!how are you?", 0.0)]
    assert merged_turns(["[S2]", "a", "[S2]", "b", "[S1]"]) == ["[S2]", "a", "b", "[S1]"]


def test_a_pause_does_not_swap_the_voices(mono, prompt):
    chunks = planned(mono, "[S1] one. [S2] two. [pause 1s] three. [pause 2s] [S1] four.", prompt)
    assert chunks == [("[S1]one.[S2]two.", 1.0), ("[S1][S2]three.", 2.0), ("[S1]four.", 0.0)]


def test_growing_chunks_keep_the_turns(mono, prompt):
    text = "[S1] one two three four five six seven eight nine ten. [S2] yes. [S1] no. [S2] well, perhaps."
    chunks = planned(mono, text, prompt, replace(FAST, first_chunk_seconds=1.0, max_chunk_seconds=6.0))
    assert len(chunks) > 1
    for chunk, _ in chunks:
        tags = [chunk[i : i + 4] for i in range(len(chunk)) if chunk[i : i + 2] == "[S"]
        assert tags == ["[S1]", "[S2]"] * (len(tags) // 2) + ["[S1]"] * (len(tags) % 2)
    words = "".join(chunk for chunk, _ in chunks).replace("[S1]", "").replace("[S2]", "")
    assert words == "one two three four five six seven eight nine ten.yes.no.well, perhaps."


@pytest.mark.parametrize("text", ["hello", "[S2] hello [S1] hi", " [LAUGHS] [S1] hello"])
def test_a_dialogue_that_does_not_begin_with_the_first_speaker_is_refused(mono, prompt, text):
    with pytest.raises(ValueError, match="the text"):
        mono.dialog(text, prompt, FAST)


def test_turns_may_stand_in_lines_of_their_own(mono, prompt):
    assert planned(mono, "[S1] one.\n\n[S2] two.\n", prompt) == [("[S1]one.[S2]two.", 0.0)]


# ---------------------------------------------------------------- speech


def test_a_stereo_dialogue_has_two_channels_vocoded_apart(stereo):
    prompt = stereo.dialog_prompt([LOW, HIGH], ["low", "high"])
    options = resolved(replace(FAST, raw=True), "zipvoice_dialog_stereo")
    audio = stereo.dialog(TEXT, prompt, options)
    (chunk,) = stereo.planner.plan(TEXT, stereo.voice(prompt), options)
    (mel,) = stereo.mels([chunk], options)
    assert audio.num_channels == 2
    for channel, features in zip(audio.samples, np.split(mel, 2, axis=1), strict=True):
        expected = stereo.vocoder(features.T[None])[0] / np.float32(prompt.gain)
        np.testing.assert_allclose(channel, expected, atol=1e-6, rtol=0)


def test_a_dialogue_of_one_channel_is_that_of_synthesize(mono, prompt):
    dialog, speech = mono.dialog(TEXT, prompt, FAST), mono.synthesize(TEXT, prompt, FAST)
    assert dialog.num_channels == 1
    assert np.array_equal(dialog.samples, speech.samples)


def test_silence_between_channels_is_that_of_both(stereo):
    prompt = stereo.dialog_prompt([sequence(LOW, silence(0.3)), HIGH], ["low", "high"])
    assert prompt.num_frames == round((0.5 + 0.3 + 0.7 + 0.2) * RATE / 256)
