# SPDX-License-Identifier: Apache-2.0
import re
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from growth import grows_in_proportion
from tiny_models import FAST, RATE, tone

from zipvoice.cli import main
from zipvoice.synthesis.output import check_length
from zipvoice.synthesis.subtitles import Cue, dub, dub_parts, plan_cues, read_subtitles

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
        ("00:02,0 --> 00:02,0\nhello\n", "line 1: the cue ends at 2 s, not after its start at 2 s"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_line(tmp_path, content, message):
    (tmp_path / "talk.srt").write_text(content)
    with pytest.raises(ValueError, match=rf"talk\.srt.*{message}"):
        read_subtitles(tmp_path / "talk.srt")


def texts(tmp_path, name, content, speakers=()):
    (tmp_path / name).write_text(content, encoding="utf-8")
    return [cue.text for cue in read_subtitles(tmp_path / name, speakers)]


ONE, TWO, THREE = "00:00:01,000 --> 00:00:02,000", "00:00:02,000 --> 00:00:03,000", "00:00:04,000 --> 00:00:05,000"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"1\n{ONE}\none\n2\n{TWO}\ntwo\n3\n{THREE}\nthree\n", ["one", "two", "three"]),  # no blank lines between
        (f"{ONE}\none\n{TWO}\ntwo\n", ["one", "two"]),
        (f"1\n{ONE}\none\n\nmore\n\n2\n{TWO}\n\ntwo\n", ["one\nmore", "two"]),  # blank lines inside
        (f"1\n{ONE}\n3\n\n2\n{TWO}\n2\n\n3\n{THREE}\n1\n", ["3", "2", "1"]),  # texts that are numbers
        (f"1\n{ONE}\n10\n2\n{TWO}\n9\n", ["10", "9"]),
        (f"7\n{ONE}\none\n\n7\n{TWO}\ntwo\n", ["one", "two"]),  # numbers that are wrong
        (f"1\n{ONE}\n\n2\n{TWO}\n3\n{THREE}\nthree\n", ["three"]),  # empty cues
        (f"1\n{ONE}\n   \n\n2\n{TWO}\n<i></i>\n\n3\n{THREE}\nthree\n", ["three"]),
        (f"1\n{ONE}\ngo --> there\n", ["go --> there"]),  # an arrow in a text
        (f"1\r{ONE}\rone\r\r2\r{TWO}\rtwo\r", ["one", "two"]),
        (f"1\n{ONE}\none\u2028two\n", ["one two"]),
    ],
)
def test_srt_as_it_is_found(tmp_path, content, expected):
    (tmp_path / "a.srt").write_bytes(content.encode())
    assert [cue.text for cue in read_subtitles(tmp_path / "a.srt")] == expected


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("0:0:1,5", 1.5),
        ("0:1:2", 62.0),
        ("00:00:01", 1.0),
        ("00:00:01,0000", 1.0),
        ("00:00:01,2345", 1.2345),
        ("00:00:01, 500", 1.5),
        ("1:2.5", 62.5),
        ("00:01,000", 1.0),
        ("100:00:01,000", 360001.0),
        ("123:00:01", 442801.0),
    ],
)
def test_times_as_they_are_found(tmp_path, written, seconds):
    (tmp_path / "a.srt").write_text(f"1\n{written} --> 200:00:00,0\nhello\n")
    (cue,) = read_subtitles(tmp_path / "a.srt")
    assert cue.start == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "times",
    [
        "00:00:60,000 --> 00:02:00,000",
        "00:60:00,000 --> 02:00:00,000",
        "00:00:01,000 --> 00:00:99,000",
        "00:00:01,000 -->",
        "-00:00:01,000 --> 00:00:02,000",
        "0O:00:01,000 --> 00:00:02,000",
        f"{'9' * 400}:00:01,000 --> 00:00:02,000",
    ],
)
def test_times_that_are_none_are_refused_with_the_line(tmp_path, times):
    (tmp_path / "a.srt").write_text(f"1\n{ONE}\nhello\n\n2\n{times}\nhello\n")
    with pytest.raises(ValueError, match=r"a\.srt, line 6: cannot read the times"):
        read_subtitles(tmp_path / "a.srt")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("NOTE this --> that\n\n00:01.000 --> 00:02.000\none\n", ["one"]),
        (
            "00:01.000 --> 00:02.000\none\n\nNOTE behind it\nof two lines\n\n00:03.000 --> 00:04.000\ntwo\n",
            ["one", "two"],
        ),
        ("00:01.000 --> 00:02.000\none\n\nNOTE\n00:03.000 --> 00:04.000\nnot this\n", ["one"]),
        ("00:01.000 --> 00:02.000\nNOTE is a word\n", ["NOTE is a word"]),
        ("first name\n00:01.000 --> 00:02.000\none\n\nsecond\n00:03.000 --> 00:04.000\ntwo\n", ["one", "two"]),
        ("00:01.000 --> 00:02.000\none\n00:03.000 --> 00:04.000\ntwo\n", ["one", "two"]),
        ("REGION\nid:fred\n\n00:01.000 --> 00:02.000 region:fred\none\n", ["one"]),
        ("00:01.000 --> 00:02.000\n \none\n", ["one"]),
    ],
)
def test_webvtt_as_it_is_found(tmp_path, body, expected):
    assert texts(tmp_path, "a.vtt", f"WEBVTT\nKind: captions\nLanguage: en\n\n{body}") == expected
    assert texts(tmp_path, "a.srt", f"\ufeffWEBVTT\n\n{body}") == expected, "the content tells, not the name"


def test_a_cue_of_two_speakers_is_parted_between_them(tmp_path):
    body = "<v Anna>Hi, Bob.</v> <v.loud Bob>Hello!</v>"
    (tmp_path / "a.vtt").write_text(f"WEBVTT\n\n00:10.000 --> 00:14.000\n{body}\n")
    assert read_subtitles(tmp_path / "a.vtt") == [
        Cue(3, 10.0, pytest.approx(12.2857, abs=1e-3), "Hi, Bob.", "Anna"),
        Cue(3, pytest.approx(12.2857, abs=1e-3), 14.0, "Hello!", "Bob"),
    ]
    (tmp_path / "a.srt").write_text(f"1\n{ONE}\n- Anna: Hi, Bob.\n- Bob: Hello!\nBob again.\n")
    cues = read_subtitles(tmp_path / "a.srt", ["Anna", "Bob"])
    assert [(cue.speaker, cue.text) for cue in cues] == [("Anna", "Hi, Bob."), ("Bob", "Hello!\nBob again.")]


ROLLING = """\
WEBVTT
Kind: captions

00:00:00.000 --> 00:00:02.000 align:start position:0%
\x20
hello<00:00:00.500><c> dear</c><00:00:01.000><c> friends</c>

00:00:02.000 --> 00:00:02.010 align:start position:0%
hello dear friends
\x20

00:00:02.010 --> 00:00:04.000 align:start position:0%
hello dear friends
and<00:00:03.000><c> all</c>

00:00:04.000 --> 00:00:04.010 align:start position:0%
and all
\x20

00:00:04.010 --> 00:00:06.000 align:start position:0%
and all
of<00:00:05.000><c> you</c>
"""


def test_captions_that_roll_up_are_said_once(tmp_path):
    assert texts(tmp_path, "a.vtt", ROLLING) == ["hello dear friends", "and all", "of you"]
    rows = [(0, 2, "one"), (2, 4, "one\ntwo"), (4, 6, "two\nthree"), (6, 8, "two\nthree\nfour")]
    srt = "".join(f"{n}\n00:00:0{a},000 --> 00:00:0{b},000\n{text}\n\n" for n, (a, b, text) in enumerate(rows, start=1))
    assert texts(tmp_path, "a.srt", srt) == ["one", "two", "three", "four"]


def test_what_is_said_twice_is_spoken_twice(tmp_path):
    again = f"1\n{ONE}\nNo.\n\n2\n{TWO}\nNo.\n\n3\n{THREE}\nNo.\nNever.\n"
    assert texts(tmp_path, "a.srt", again) == ["No.", "No.", "No.\nNever."]
    rows = [(0, 2, "No."), (2, 4, "No.\nNever."), (4, 6, "Why?"), (6, 8, "Go.")]  # one of them looks as if it rolled up
    srt = "".join(f"{n}\n00:00:0{a},000 --> 00:00:0{b},000\n{text}\n\n" for n, (a, b, text) in enumerate(rows, start=1))
    assert texts(tmp_path, "a.srt", srt) == [text for *_, text in rows]


def rows_of(*rows):
    """An SRT file of (start, end, text) with times in milliseconds below a minute."""
    times = [" --> ".join(f"00:00:{t // 1000:02},{t % 1000:03}" for t in row[:2]) for row in rows]
    return "".join(f"{n}\n{time}\n{row[2]}\n\n" for n, (time, row) in enumerate(zip(times, rows, strict=True), start=1))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(0, 2000, "one"), (2090, 4000, "one\ntwo")], ["one", "two"]),  # a tenth of a second apart, or more
        ([(0, 2000, "one"), (2110, 4000, "one\ntwo")], ["one", "one\ntwo"]),
        ([(2000, 4000, "one\ntwo"), (0, 2000, "one")], ["one", "two"]),  # in whichever order
        ([(0, 2000, "one"), (2000, 2050, "one")], ["one"]),  # shown while the lines roll up, or longer
        ([(0, 2000, "one"), (2000, 2060, "one")], ["one", "one"]),
        ([(0, 2000, "no"), (2000, 4000, "no\nnever"), (4000, 6000, "go")], ["no", "never", "go"]),  # one of two rolls
        (  # one of three rolls, and one has times of its words
            [(0, 2000, "no"), (2000, 4000, "no\nso<00:00:03.000><c> it</c>"), (4000, 6000, "go"), (6000, 8000, "on")],
            ["no", "so it", "go", "on"],
        ),
        ([(0, 2000, "a\nb\nc\nd"), (2000, 4000, "a\nb\nc\nd\ne")], ["a\nb\nc\nd", "e"]),  # four lines at most
        ([(0, 2000, "a\nb\nc\nd\ne"), (2000, 4000, "a\nb\nc\nd\ne\nf")], ["a\nb\nc\nd\ne", "a\nb\nc\nd\ne\nf"]),
    ],
)
def test_captions_roll_up_within_limits(tmp_path, rows, expected):
    assert texts(tmp_path, "a.srt", rows_of(*rows)) == expected


@pytest.mark.parametrize(("length", "is_name"), [(40, True), (41, False)])
def test_a_name_before_a_colon_has_at_most_forty_letters(tmp_path, length, is_name):
    name = "A" * length
    (tmp_path / "a.srt").write_text(rows_of((0, 2000, f"{name}: Hi!")))
    (cue,) = read_subtitles(tmp_path / "a.srt", [name])
    assert (cue.speaker, cue.text) == ((name, "Hi!") if is_name else (None, f"{name}: Hi!"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[music]", ""),
        ("[door opens\nand closes]", ""),
        ("♪ ♪", ""),
        ("♪", ""),
        ("(SIGHS)", ""),
        ("(door opens)", ""),
        ("(a door opens slowly)", ""),
        ("(a door opens too slowly)", "(a door opens too slowly)"),
        ("*laughs*", ""),
        ("（掌声）", ""),
        ("【音楽】", ""),
        ("MAN: (SIGHS)", ""),
        ("...", ""),
        ("—", ""),
        ("♪ la la la ♪", "la la la"),
        ("[sighs] Fine.", "Fine."),
        ("(SIGHS) Fine.\n[music]", "Fine."),
        ("(I never said that.)", "(I never said that.)"),
        ("Well (of course) not.", "Well (of course) not."),
        ("Wait. [pause 0.5s] Go.", "Wait. [pause 0.5s] Go."),
        ("[S1] Hi. [S2] Ho.", "[S1] Hi. [S2] Ho."),
        ("{\\an8}<font color=red>Up</font> here", "Up here"),
        ("50 > 40 &amp; 3 &lt; 4", "50 > 40 & 3 < 4"),
    ],
)
def test_what_is_no_speech_is_left_out(tmp_path, text, expected):
    content = f"1\n{ONE}\n{text}\n\n2\n{TWO}\nlast\n"
    assert texts(tmp_path, "a.srt", content) == [*([expected] if expected else []), "last"]


ASS = """\
[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,,0,0,0,,not this
Dialogue: 0,0:00:01.00,0:00:02.50,Default,Anna,0,0,0,,{\\an8}Hello,\\Nthere
"""
TTML = """\
<?xml version="1.0" encoding="UTF-8"?>
<tt xmlns="http://www.w3.org/ns/ttml" xml:lang="en"><body><div>
<p begin="00:00:01.000" end="00:00:02.500">Hello,<br/>there</p>
</div></body></tt>
"""


def test_other_formats_are_read_by_the_library(tmp_path):
    for name, content in (("a.ass", ASS), ("a.ttml", TTML), ("a.sub", "{1}{1}24\n{24}{60}Hello,|there\n")):
        (tmp_path / name).write_text(content)
        (cue,) = read_subtitles(tmp_path / name)
        assert (cue.start, cue.end, cue.text) == (1.0, 2.5, "Hello,\nthere"), name
    assert read_subtitles(tmp_path / "a.ass")[0].speaker == "Anna"
    assert read_subtitles(tmp_path / "a.ass")[0].line == 7
    (tmp_path / "b.sub").write_text("{24}{60}Hello\n")
    with pytest.raises(ValueError, match=r"b\.sub, which counts in frames, .*; \{1\}\{1\}25 as first line does"):
        read_subtitles(tmp_path / "b.sub")
    for name, message in (("a.ass", "has no cues"), ("a.xml", "in no known format of subtitles, cannot be read")):
        (tmp_path / name).write_text("no subtitles")
        with pytest.raises(ValueError, match=message):
            read_subtitles(tmp_path / name)


def test_without_the_library_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pysubs2", None)
    (tmp_path / "a.ass").write_text(ASS)
    with pytest.raises(ImportError, match="subtitles other than SRT and WebVTT need pysubs2: pip install pysubs2"):
        read_subtitles(tmp_path / "a.ass")
    (tmp_path / "a.srt").write_text(rows_of((0, 2000, "one")))
    assert len(read_subtitles(tmp_path / "a.srt")) == 1


def test_files_of_windows_are_read(tmp_path):
    (tmp_path / "a.srt").write_bytes(f"1\r\n{ONE}\r\nÄh\r\n".encode("utf-16"))
    assert [cue.text for cue in read_subtitles(tmp_path / "a.srt")] == ["Äh"]


@pytest.mark.parametrize(
    "content",
    [
        lambda size: "".join(
            f"{n}\n00:{n // 60 % 60:02}:{n % 60:02},000 --> 99:00:00,000\nhello\n\n" for n in range(size // 10)
        ),
        lambda size: f"{ONE}\n<v{' ' * size}\n",
        lambda size: f"{ONE}\n{'<v a' * size}\n",
        lambda size: f"{ONE}\n{'{' + chr(92)}" * size + "\n",
        lambda size: f"{ONE}\n{'[' * size}{'(' * size}a\n",
        lambda size: f"{ONE}\n" + "a\n" * size,
        lambda size: f"{ONE}\n" + "\n" * size + f"{TWO}\nb\n",
    ],
)
def test_time_grows_with_the_length_alone(tmp_path, content):
    def read(size):
        (tmp_path / "a.srt").write_text(content(size))
        with suppress(ValueError):
            read_subtitles(tmp_path / "a.srt")

    read(100)  # imports
    assert grows_in_proportion(read, 10_000)


@pytest.fixture(scope="module")
def voices(synthesizer):
    return {
        None: synthesizer.prompt(tone(0.6), "a low tone"),
        "Anna": synthesizer.prompt(tone(0.6, hertz=500), "a high tone"),
    }


def spoken_alone(synthesizer, voices, cue, seconds=None):
    name = f"cue at {cue.start:.3f} s"
    return synthesizer.synthesize(cue.text, voices[cue.speaker], FAST, name=name, duration=seconds).samples


def timeline(synthesizer, voices, cues, seconds):
    """Cues by their starts with what each is given, or None for their natural length."""
    longest = max(round(cue.end * RATE) for cue, _ in cues)
    expected = np.zeros((1, longest + 10 * RATE), np.float32)
    end = longest
    for cue, given in cues:
        samples = spoken_alone(synthesizer, voices, cue, given)
        start = round(cue.start * RATE)
        expected[:, start : start + samples.shape[1]] += samples
        end = max(end, start + samples.shape[1])
    assert end == round(seconds * RATE)
    return expected[:, :end].clip(-1, 1)


CUES_OF_TWO = [Cue(1, 0.5, 1.4321, "hello"), Cue(2, 2.0, 3.5, "good day", "Anna"), Cue(3, 3.0, 4.0, "me too")]


def test_on_request_each_cue_fills_its_time_to_the_sample(synthesizer, voices):
    samples = dub(synthesizer, CUES_OF_TWO, voices, FAST, "stretch").audio.samples
    given = [(cue, (round(cue.end * RATE) - round(cue.start * RATE)) / RATE) for cue in CUES_OF_TWO]
    np.testing.assert_allclose(samples, timeline(synthesizer, voices, given, 4.0), atol=1e-6)
    assert (samples[:, : round(0.5 * RATE)] == 0).all()


def test_cues_are_spoken_at_the_pace_of_the_voice_and_then_there_is_silence(synthesizer, voices):
    cues = [replace(cue, end=cue.end + 5) for cue in CUES_OF_TWO]
    made = dub(synthesizer, cues, voices, FAST)
    samples = timeline(synthesizer, voices, [(cue, None) for cue in cues], 9.0)
    np.testing.assert_allclose(made.audio.samples, samples, atol=1e-6)
    assert (made.audio.samples[:, 5 * RATE :] == 0).all()
    assert not any(fit.is_unnatural or fit.is_too_long for fit in made.fits)


# 11 tokens of the voice take 0.8 s, so "hello there." naturally takes 12 / 11 of it.
NATURAL = 0.8 * 12 / 11


@pytest.mark.parametrize(
    ("seconds", "gap", "given", "told"),
    [
        (0.9 * NATURAL, 3.0, 0.9 * NATURAL, False),  # a little faster
        (0.78 * NATURAL, 3.0, 0.78 * NATURAL, False),
        (0.72 * NATURAL, 3.0, 0.72 * NATURAL, True),  # faster
        (0.5 * NATURAL, 3.0, NATURAL / 1.5, True),  # time from the silence behind it
        (0.5 * NATURAL, 0.15, 0.5 * NATURAL + 0.05, True),  # as much of it as there is
        (0.5 * NATURAL, 0.0, 0.5 * NATURAL, True),  # where the next one follows at once, none
        (0.1 * NATURAL, 0.05, NATURAL / 2.5, True),  # into the next one
    ],
)
def test_a_cue_is_spoken_faster_only_where_it_must(synthesizer, voices, seconds, gap, given, told):
    cue = Cue(1, 1.0, 1.0 + seconds, "hello there")
    after = Cue(2, cue.end + gap, cue.end + gap + 5, "hi")
    made = dub(synthesizer, [after, cue], voices, FAST)
    assert made.fits[0].seconds == pytest.approx(given, rel=0.02)  # frames are rounded up
    assert made.fits[0].is_unnatural == told
    assert made.fits[0].stretch == pytest.approx(given / NATURAL, rel=0.04)
    assert made.fits[0].is_too_long == (given > seconds + 1e-6)
    exact = round(made.fits[0].seconds * RATE) / RATE
    samples = timeline(synthesizer, voices, [(cue, exact), (after, None)], after.end)
    np.testing.assert_allclose(made.audio.samples, samples, atol=1e-6)


def test_the_times_of_cues_count_and_not_a_speed_or_a_duration(synthesizer, voices):
    expected = plan_cues(synthesizer, CUES_OF_TWO, voices, FAST)
    for options in (replace(FAST, speed=2.0), replace(FAST, speed=0.5), replace(FAST, duration=3.0)):
        assert plan_cues(synthesizer, CUES_OF_TWO, voices, options) == expected


def test_the_last_cue_may_go_on_after_its_end(synthesizer, voices):
    made = dub(synthesizer, [Cue(7, 0, 0.05, "much too long")], voices, FAST)
    assert made.fits[0].is_too_long
    assert made.audio.seconds == pytest.approx(made.fits[0].seconds, abs=1e-4)


def test_a_cue_lasts_longer_where_its_tokens_need_a_frame_each(synthesizer, voices):
    """Of a voice of 1.25 frames for a token, which at 1.5 times its speed would have fewer than one."""
    voices = {None: synthesizer.prompt(tone(0.6), "a" * 59)}
    (fit,) = plan_cues(synthesizer, [Cue(7, 0, 0.1, "b" * 59)], voices, FAST)
    assert fit.is_exact and fit.seconds == pytest.approx(fit.natural_seconds)


def test_a_dub_lasts_as_long_as_the_longest_cue(synthesizer, voices):
    cues = [Cue(1, 0.0, 4.0, "hello"), Cue(2, 1.0, 2.5, "hi")]
    assert dub(synthesizer, cues, voices, FAST).audio.seconds == 4.0


def test_all_cues_that_cannot_be_spoken_are_named_at_once(synthesizer, voices):
    bad = [Cue(7, 0, 1, "hi", "Ana"), Cue(9, 1, 2, "дом"), Cue(11, 2, 3, "hello"), Cue(13, 3, 4, "hi", "Bo")]
    with pytest.raises(ValueError) as error:
        dub(synthesizer, bad, voices, FAST)
    assert re.findall(r"line (\d+)", str(error.value)) == ["7", "9", "13"]
    assert "line 7 is Ana's, who has no voice; give one with --speaker Ana=VOICE; did you mean 'Anna'" in str(
        error.value
    )
    with pytest.raises(ValueError, match=r"--speaker 'Old Bo'=VOICE$"):
        dub(synthesizer, [Cue(1, 0, 1, "hi", "Old Bo")], {None: voices[None]}, FAST)
    assert re.search("line 9 .*: the text: ", str(error.value))
    with pytest.raises(ValueError, match="line 11 names no speaker"):
        dub(synthesizer, [bad[2]], {"Anna": voices["Anna"]}, FAST)


def test_memory_follows_the_speech_and_not_the_last_time(synthesizer, voices):
    cues = [Cue(1, 1.0, 3.0, "hello"), Cue(2, 36000.0, 36002.0, "hi")]
    fits = plan_cues(synthesizer, cues, voices, FAST)
    count = largest = 0
    for part in dub_parts(synthesizer, fits, voices, FAST):
        count, largest = count + part.num_samples, max(largest, part.num_samples)
    assert count == 36002 * RATE and largest <= 10 * RATE


def test_a_file_that_cannot_hold_so_much_is_refused_before_the_work():
    with pytest.raises(ValueError, match=r"out.wav: wav holds 24.9 hours, not 100.0; write .flac"):
        check_length("out.wav", 360000.0, 1)
    check_length("out.flac", 360000.0, 1)
    check_length("out.wav", 80000.0, 1)
    with pytest.raises(ValueError, match=r"out.wav: wav holds 12.4 hours, not 22.2; write .flac"):
        check_length("out.wav", 80000.0, 2)


@pytest.mark.parametrize("given", ["Anna", "=voice", "Anna="])
def test_a_speaker_has_a_name_and_a_voice(tmp_path, capsys, given):
    (tmp_path / "a.srt").write_text(rows_of((0, 2000, "one")))
    assert main(["dub", str(tmp_path / "a.srt"), "-o", str(tmp_path / "out.wav"), "--speaker", given]) == 1
    assert f"--speaker takes NAME=VOICE, not '{given}'" in capsys.readouterr().err
