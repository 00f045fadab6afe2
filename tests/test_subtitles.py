# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
from tiny_models import FAST, RATE, make_synthesizer, tone

from zipvoice.synthesis.subtitles import Cue, dub, read_subtitles

SRT = """\
1
00:00:01,000 --> 00:00:02,500
Hello <i>there</i>,
my friends &amp; all.

2
00:01:03,250 --> 00:01:04,000 X1:40 X2:600
Anna: Hi!

3
01:00:00,000 --> 01:00:01,000
Note: nobody is called Note.
"""

VTT = """\
WEBVTT - a talk

NOTE
a remark --- nothing else

STYLE
::cue { color: red }

intro
00:01.000 --> 00:02.500 align:start
Hello there,
my friends &amp; all.

01:03.250 --> 01:04.000
<v.loud Anna>Hi!</v>

01:00:00.000 --> 01:00:01.000
Note: <c.red>nobody</c> is <00:00:00.500>called Note.
"""

CUES = [
    (1.0, 2.5, "Hello there,\nmy friends & all.", None),
    (63.25, 64.0, "Hi!", "Anna"),
    (3600.0, 3601.0, "Note: nobody is called Note.", None),
]


@pytest.mark.parametrize(("name", "content"), [("talk.srt", SRT), ("talk.vtt", VTT), ("talk.srt", "\ufeff" + SRT)])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_srt_and_webvtt_say_the_same(tmp_path, name, content, newline):
    (tmp_path / name).write_text(content.replace("\n", newline), encoding="utf-8", newline="")
    cues = read_subtitles(tmp_path / name, ["Anna", "Bob"])
    assert [(cue.start, cue.end, cue.text, cue.speaker) for cue in cues] == CUES


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("00:00:01,5", 1.5),
        ("00:00:01,25", 1.25),
        ("00:00:01,250", 1.25),
        ("00:00:01.05", 1.05),
        ("1:02:03,004", 3723.004),
    ],
)
def test_a_fraction_of_a_second_counts_by_its_places(tmp_path, written, seconds):
    (tmp_path / "a.srt").write_text(f"1\n{written} --> 02:00:00,0\nhello\n")
    (cue,) = read_subtitles(tmp_path / "a.srt")
    assert cue.start == pytest.approx(seconds, abs=1e-9)


def test_cues_come_in_the_order_of_their_times_with_the_lines_of_the_file(tmp_path):
    (tmp_path / "t.srt").write_text(
        "00:05,0 --> 00:06,0\nb\n\n00:01,0 --> 00:02,0\na\n\n00:03,0 --> 00:04,0\n<b></b>\n"
    )
    assert read_subtitles(tmp_path / "t.srt") == [Cue(4, 1.0, 2.0, "a"), Cue(1, 5.0, 6.0, "b")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no cues"),
        ("1\nhello\n", "has no cues"),
        ("1\n00:01 --> 00:02\nhello\n", "line 2: cannot read the times"),
        ("00:02,0 --> 00:01,0\nhello\n", "line 1: the cue ends at 1 s, not after its start at 2 s"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_line(tmp_path, content, message):
    (tmp_path / "talk.srt").write_text(content)
    with pytest.raises(ValueError, match=rf"talk\.srt.*{message}"):
        read_subtitles(tmp_path / "talk.srt")


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory):
    return make_synthesizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def voices(synthesizer):
    return {
        None: synthesizer.prompt(tone(0.6), "a low tone"),
        "Anna": synthesizer.prompt(tone(0.6, hertz=500), "a high tone"),
    }


def test_each_cue_fills_its_time_to_the_sample_in_the_voice_of_its_speaker(synthesizer, voices):
    cues = [Cue(1, 0.5, 1.4321, "hello"), Cue(2, 2.0, 3.5, "good day", "Anna"), Cue(3, 3.0, 4.0, "me too")]
    samples = dub(synthesizer, cues, voices, FAST).audio.samples
    assert samples.shape == (1, 4 * RATE)
    expected = np.zeros((1, 4 * RATE), np.float32)
    for cue in cues:
        start, end = round(cue.start * RATE), round(cue.end * RATE)
        name = f"cue at {cue.start:.3f} s"
        spoken = synthesizer.synthesize(cue.text, voices[cue.speaker], FAST, name=name, duration=(end - start) / RATE)
        expected[:, start:end] += spoken.samples
    np.testing.assert_allclose(samples, expected.clip(-1, 1), atol=1e-6)
    assert (samples[:, : round(0.5 * RATE)] == 0).all()


def test_cues_whose_natural_length_had_to_change_much_are_told(synthesizer, voices):
    # 11 tokens of the voice take 0.8 s, so "hello there." naturally takes 12 / 11 of it.
    natural = 0.8 * 12 / 11
    cues = [
        Cue(1, 0, natural, "hello there"),
        Cue(2, 5, 5 + 0.7 * natural, "hello there"),
        Cue(3, 9, 11, "hello there"),
    ]
    fits = dub(synthesizer, cues, voices, FAST).fits
    assert [fit.is_unnatural for fit in fits] == [False, True, True]
    assert [fit.stretch for fit in fits] == pytest.approx([1, 0.7, 2 / natural], rel=0.04)


@pytest.mark.parametrize(
    ("cue", "message"),
    [
        (Cue(7, 0, 1, "hi", "Ana"), "line 7 is Ana's, who has no voice; did you mean 'Anna'"),
        (Cue(7, 0, 1, "дом"), "line 7 .*: the text: "),
        (Cue(7, 0, 0.05, "much too long"), "line 7 .*0.05 s.*more tokens"),
    ],
)
def test_a_cue_that_cannot_be_spoken_is_named(synthesizer, voices, cue, message):
    with pytest.raises(ValueError, match=message):
        dub(synthesizer, [cue], voices, FAST)
    with pytest.raises(ValueError, match="line 7 names no speaker"):
        dub(synthesizer, [replace(cue, speaker=None)], {"Anna": voices["Anna"]}, FAST)
