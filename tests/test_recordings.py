# SPDX-License-Identifier: Apache-2.0
import logging
import re

import numpy as np
import pytest
from tiny_models import RATE, sequence, silence, tone

from zipvoice import Audio
from zipvoice.audio.files import write
from zipvoice.synthesis.recordings import audible, cut_at_pause, mended, part

# ---------------------------------------------------------------- what is meant


def test_a_part_of_a_recording_gives_the_voice_of_the_part_alone(synthesizer, tmp_path):
    whole = sequence(tone(1.0, hertz=500), tone(0.7), tone(0.5, hertz=900))
    write(tmp_path / "whole.wav", whole)
    write(tmp_path / "part.wav", tone(0.7))
    chosen = synthesizer.prompt(tmp_path / "whole.wav", "a low tone", start=1.0, end=1.7)
    alone = synthesizer.prompt(tmp_path / "part.wav", "a low tone")
    np.testing.assert_array_equal(chosen.features, alone.features)
    assert part(whole, 1.7, None).seconds == pytest.approx(0.5)
    assert part(whole, None, 1.0).seconds == 1.0


@pytest.mark.parametrize(
    ("start", "end"), [(3.0, None), (3.0, 4.0), (1.0, 0.5), (-1.0, None), (1.0, 1.0), (float("nan"), 1.0)]
)
def test_a_part_that_is_not_there_is_named(synthesizer, start, end):
    with pytest.raises(ValueError, match=r"the recording: there is nothing from .*: the recording lasts 2.00 s"):
        synthesizer.prompt(tone(2.0), "a low tone", start=start, end=end)


def test_a_saved_voice_has_no_parts(synthesizer):
    from zipvoice.synthesis.voices import find_prompt

    with pytest.raises(ValueError, match="--voice-start and --voice-end choose a part of a recording"):
        find_prompt(synthesizer, "kathleen", start=1.0)


@pytest.mark.parametrize("voice", [np.zeros((1, 24000), np.float32), b"RIFF", 5])
def test_samples_without_their_rate_are_no_recording(synthesizer, voice):
    message = (
        rf"a recording is a file or a sound, zipvoice.Audio\(samples, sampling_rate\).*, not a {type(voice).__name__}"
    )
    with pytest.raises(ValueError, match=message):
        synthesizer.prompt(voice, "a low tone")
    for named in (voice, (voice, "a low tone")):
        with pytest.raises(ValueError, match=message):
            synthesizer.synthesize("hello", named)


@pytest.mark.parametrize("text", [["a low tone"], 5, b"a low tone"])
def test_what_is_no_transcript_is_refused(synthesizer, text):
    with pytest.raises(
        ValueError, match=f"a transcript is a str, what the recording says, not a {type(text).__name__}"
    ):
        synthesizer.prompt(tone(2.0), text)


# ---------------------------------------------------------------- mending


def test_a_recording_beyond_full_scale_is_lowered_not_clipped(synthesizer):
    loud = Audio(5 * tone(1.0).samples, RATE)  # peaks of 1.5
    np.testing.assert_allclose(mended(loud).samples, loud.samples / np.abs(loud.samples).max(), rtol=1e-6)
    expected = synthesizer.prompt(Audio(loud.samples / 1.5, RATE), "a low tone")
    np.testing.assert_allclose(synthesizer.prompt(loud, "a low tone").features, expected.features, atol=0.01)


@pytest.mark.parametrize("offset", [0.3, -0.05])
def test_a_constant_offset_is_taken_away(synthesizer, offset):
    clean = sequence(silence(0.5), tone(1.0), silence(0.5))
    shifted = Audio(clean.samples + np.float32(offset), RATE)
    np.testing.assert_allclose(mended(shifted).samples, clean.samples, atol=1e-5)
    voices = [synthesizer.prompt(one, "a low tone") for one in (clean, shifted)]
    assert voices[0].num_frames == voices[1].num_frames
    np.testing.assert_allclose(voices[1].features[2:70, 5:12], voices[0].features[2:70, 5:12], atol=0.02)


def test_each_channel_loses_its_own_offset():
    clean = tone(1.0, channels=2)
    shifted = Audio(clean.samples + np.float32([[0.2], [-0.1]]), RATE)
    np.testing.assert_allclose(mended(shifted).samples, clean.samples, atol=1e-5)


@pytest.mark.parametrize(("share", "is_taken"), [(0.019, False), (0.021, True)])
def test_only_an_offset_of_a_fiftieth_of_the_level_is_taken_away(share, is_taken):
    clean = tone(1.0)  # at a level of 0.3 / sqrt(2)
    shifted = Audio(clean.samples + np.float32(share * 0.3 / 2**0.5), RATE)
    assert (mended(shifted) is not shifted) == is_taken


@pytest.mark.parametrize(("level", "is_heard"), [(1.01e-4, True), (0.99e-4, False)])
def test_a_voice_is_above_minus_80_decibels(level, is_heard):
    recording = Audio(np.full((1, RATE), level, np.float32), RATE)
    if is_heard:
        assert audible(recording) is recording
    else:
        with pytest.raises(ValueError, match="next to silent, -80 dBFS; use a louder recording"):
            audible(recording)


def test_a_sound_recording_keeps_its_bits():
    recording = sequence(silence(0.1), tone(0.987), tone(0.2, 0.9, hertz=700))
    assert mended(recording) is recording


def test_channels_of_opposite_phase_give_the_voice_of_one(synthesizer):
    one = tone(1.0)
    both = Audio(np.concatenate([one.samples, -one.samples]), RATE)
    expected = synthesizer.prompt(one, "a low tone").features
    np.testing.assert_array_equal(synthesizer.prompt(both, "a low tone").features, expected)


# ---------------------------------------------------------------- long recordings

SENTENCES = ["The first of them is short.", "Here is a second one, which is a little longer than that.", "And a third."]


def speech(texts, pause=0.4):
    """Tones that last as long as people say such texts, 15 letters a second, with pauses after commas too."""
    clauses = [clause for text in texts for clause in re.findall(r"[^,]+,?", text)]
    sounds = [tone(sum(c.isalnum() for c in clause) / 15) for clause in clauses]
    return sequence(*(piece for sound in sounds for piece in (sound, silence(pause))))


def test_a_long_recording_is_cut_at_the_pause_behind_a_sentence():
    audio = speech(SENTENCES * 4)
    assert audio.seconds > 20
    cut = cut_at_pause(audio, " ".join(SENTENCES * 4), 10.0)
    said = " ".join(SENTENCES * 4)
    assert said.startswith(cut.text) and cut.text[-1] == "."
    assert 2 <= cut.audio.seconds <= 10.5
    length = sum(c.isalnum() for c in cut.text) / 15 + 0.4 * len(re.findall("[,.]", cut.text))
    assert cut.audio.seconds == pytest.approx(length - 0.2, abs=0.1)


def test_silence_before_the_first_word_does_not_count():
    text = " ".join(SENTENCES * 4)
    cut, later = (cut_at_pause(sequence(silence(lead), speech(SENTENCES * 4)), text, 10.0) for lead in (0.0, 5.0))
    assert later.text == cut.text and later.audio.seconds == pytest.approx(cut.audio.seconds + 5.0, abs=0.02)


@pytest.mark.parametrize(("number", "is_cut"), [(6, False), (7, True)])
def test_behind_a_word_only_what_is_far_too_long_is_cut(number, is_cut):
    """Words of 2 s with pauses, without any mark: 14 s are borne, 17 s are not."""
    audio = sequence(*[piece for _ in range(number) for piece in (tone(2.0), silence(0.4))])
    cut = cut_at_pause(audio, " ".join(["a" * 30] * number), 10.0)
    assert (cut is not None) == is_cut
    assert cut is None or cut.text == " ".join(["a" * 30] * round(cut.audio.seconds / 2.4))


def test_the_note_says_what_was_taken(synthesizer, caplog):
    with caplog.at_level(logging.WARNING):
        prompt = synthesizer.prompt(speech(SENTENCES * 4), " ".join(SENTENCES * 4))
    assert prompt.seconds <= 10.5 and " ".join(SENTENCES * 4).startswith(prompt.text)
    (message,) = [record.getMessage() for record in caplog.records]
    assert re.fullmatch(
        r"the recording is long: its first \d\.\d s are used, up to the pause behind '.*\.'; "
        r"--voice-start and --voice-end choose another part, whose words are the transcript then",
        message,
    )


def test_chinese_sentences_are_ends_too():
    text = "这是第一句话。" * 12
    audio = sequence(*[piece for _ in range(12) for piece in (tone(1.4), silence(0.4))])
    cut = cut_at_pause(audio, text, 10.0)
    assert cut.text in [text[: 7 * n] for n in range(2, 7)]
    assert cut.audio.seconds == pytest.approx(1.8 * len(cut.text) / 7 - 0.2, abs=0.05)


def spoken(*seconds, pause=0.4):
    """Tones of these lengths with pauses behind them."""
    return sequence(*(piece for one in seconds for piece in (tone(one), silence(pause))))


@pytest.mark.parametrize(("pause", "is_cut"), [(0.17, True), (0.13, False)])
def test_a_pause_lasts_some_0_15_seconds_or_more(pause, is_cut):
    assert (cut_at_pause(spoken(*[4.0] * 4, pause=pause), "One is it. " * 4, 10.0) is not None) == is_cut


@pytest.mark.parametrize(("first", "is_cut"), [(1.7, False), (1.9, True)])
def test_two_seconds_are_the_least_that_is_left(first, is_cut):
    """Up to the middle of the pause, 0.2 s behind the sound."""
    text = "a" * round(10 * first) + ". " + "b" * 120
    assert (cut_at_pause(spoken(first, 12.0), text, 10.0) is not None) == is_cut


@pytest.mark.parametrize(("letters", "is_cut"), [(45, True), (43, False)])
def test_the_end_of_a_clause_is_sure_near_its_pause_alone(letters, is_cut):
    """Of 10 s and 100 letters the first pause is behind 5 s: 0.5 s and 0.7 s from the end of the sentence."""
    audio = spoken(5.0, 5.0)
    assert (cut_at_pause(audio, "a" * letters + ". " + "b" * (100 - letters), 9.0) is not None) == is_cut


@pytest.mark.parametrize(("letters", "mark"), [(51, ","), (53, ".")])
def test_the_end_of_a_sentence_is_worth_a_fifth_of_a_second_more_than_that_of_a_clause(letters, mark):
    """The pause is 0.4 s behind the end of the sentence, and 0.1 s or 0.3 s before that of the clause."""
    text = f"{'a' * 46}. {'b' * (letters - 46)}, {'c' * (100 - letters)}"
    assert cut_at_pause(spoken(5.0, 5.0), text, 9.0).text == text.partition(mark)[0] + mark


def test_a_letter_of_chinese_is_three_of_others():
    """Equal times: three signs, nine letters."""
    cut = cut_at_pause(spoken(6.0, 6.0), "你好吗。 abc abc abc", 10.0)
    assert cut.text == "你好吗。"


def test_recordings_that_suit_or_have_no_pause_stay_whole(synthesizer, caplog):
    assert cut_at_pause(speech(SENTENCES), " ".join(SENTENCES), 10.0) is None
    assert cut_at_pause(tone(30.0), "no pause. " * 40, 10.0) is None
    with caplog.at_level(logging.WARNING):
        assert synthesizer.prompt(tone(30.0), "no pause. " * 40).seconds > 29
    assert "far too long" in caplog.text


def test_raw_recordings_stay_as_they_are(synthesizer):
    audio = Audio(5 * speech(SENTENCES * 4).samples + np.float32(0.1), RATE)
    assert synthesizer.prompt(audio, " ".join(SENTENCES * 4), raw=True).num_frames == round(audio.num_samples / 256)
