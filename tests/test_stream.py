# SPDX-License-Identifier: Apache-2.0
"""Joining, streaming and long texts."""

import itertools
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import FAST, RATE, resolved, sequence, silence, tone

from zipvoice.audio.files import ENCODINGS, Audio, read
from zipvoice.model.duration import short_text_floor
from zipvoice.synthesis.chunk_planner import (
    ChunkSizes,
    Clauses,
    paragraphs,
    punctuated,
    refused,
)
from zipvoice.synthesis.crossfade import ChunkAudio, Crossfader, ExactJoiner, fade, leading_silence, shorten_silence
from zipvoice.synthesis.output import wav_header, write_parts, write_wav
from zipvoice.synthesis.synthesizer import joined
from zipvoice.text.characters import UnspeakableError

LONG = "one two three, four five six. seven eight nine ten! eleven twelve? " * 3


def join(*pieces, **options):
    return joined(Crossfader(RATE, **options).join(pieces))


def spoken(before, seconds, after, pause=0.0):
    return ChunkAudio(sequence(silence(before), tone(seconds), silence(after)).samples, pause)


# ---------------------------------------------------------------- joining


def test_one_piece_keeps_a_tenth_of_a_second_of_silence_at_its_edges():
    audio = join(spoken(0.5, 1.0, 0.3))
    assert np.array_equal(audio.samples, sequence(silence(0.1), tone(1.0), silence(0.1)).samples)
    assert np.array_equal(join(spoken(0.05, 1.0, 0.02)).samples, spoken(0.05, 1.0, 0.02).samples)


def test_pieces_overlap_in_their_silence():
    audio = join(spoken(0, 1.0, 0.3), spoken(0.2, 1.0, 0))
    assert audio.num_samples == round((1.0 + 0.3 + 0.2 - 0.1 + 1.0) * RATE)
    assert np.array_equal(audio.samples[:, :RATE], tone(1.0).samples)
    assert np.array_equal(audio.samples[:, -RATE:], tone(1.0).samples)


@pytest.mark.parametrize(("before", "after"), [(0.3, 0.0), (0.0, 0.3)])
def test_silence_of_one_side_alone_does_not_overlap_speech(before, after):
    audio = join(spoken(0, 1.0, before), spoken(after, 1.0, 0))
    k = round(0.005 * RATE)
    assert audio.num_samples == round(2.3 * RATE) - k
    assert np.array_equal(audio.samples[:, : RATE - k], tone(1.0).samples[:, : RATE - k])
    assert np.array_equal(audio.samples[:, k - RATE :], tone(1.0).samples[:, k:])


def test_speech_is_not_faded_away_where_there_is_no_silence():
    first, second = tone(1.0), tone(1.0, hertz=330)
    audio = join(ChunkAudio(first.samples), ChunkAudio(second.samples))
    k = round(0.005 * RATE)
    ramp = np.linspace(1, 0, k, dtype=np.float32)
    assert audio.num_samples == 2 * RATE - k
    assert np.array_equal(audio.samples[:, : RATE - k], first.samples[:, : RATE - k])
    expected = first.samples[:, -k:] * ramp + second.samples[:, :k] * (1 - ramp)
    np.testing.assert_allclose(audio.samples[:, RATE - k : RATE], expected, atol=1e-6)


def test_the_gap_between_pieces_is_bounded():
    audio = join(spoken(0, 1.0, 2.0), spoken(1.5, 1.0, 0))
    assert audio.num_samples == round((1.0 + 0.6 + 1.0) * RATE)


@pytest.mark.parametrize("before, after", [(0.0, 0.0), (0.3, 0.05), (2.0, 1.0)])
def test_a_pause_lasts_as_long_as_asked_for_silence_of_the_speech_included(before, after):
    audio = join(spoken(0, 1.0, before, pause=0.6), spoken(after, 1.0, 0))
    assert audio.num_samples == round(2.6 * RATE)
    assert np.array_equal(audio.samples, sequence(tone(1.0), silence(0.6), tone(1.0)).samples)


def test_pauses_stand_at_both_ends_and_add_up():
    nothing = ChunkAudio(np.zeros((1, 0), np.float32), 0.5)
    audio = join(nothing, nothing, spoken(0, 1.0, 0.2), nothing, spoken(0.1, 1.0, 0.3, pause=2.0))
    expected = sequence(silence(1.0), tone(1.0), silence(0.5), tone(1.0), silence(2.0))
    assert np.array_equal(audio.samples, expected.samples)


def test_no_part_is_empty():
    nothing = ChunkAudio(np.zeros((1, 0), np.float32), 0.5)
    pieces = [nothing, spoken(0, 0.01, 0), spoken(0, 0.5, 0), nothing]
    parts = list(Crossfader(RATE).join(pieces))
    assert parts and all(part.num_samples for part in parts)


def test_nothing_but_pauses_cannot_be_spoken():
    nothing = ChunkAudio(np.zeros((1, 0), np.float32), 0.5)
    with pytest.raises(ValueError, match="there is nothing to speak, only pauses"):
        join(nothing, nothing)


def test_silence_within_a_piece_is_shortened_where_asked_for():
    piece = ChunkAudio(sequence(tone(1.0), silence(3.0), tone(1.0), silence(0.8), tone(1.0)).samples)
    assert join(piece).num_samples == round(6.8 * RATE)
    expected = sequence(tone(1.0), silence(1.0), tone(1.0), silence(0.8), tone(1.0))
    assert np.array_equal(join(piece, shorten_silence=True).samples, expected.samples)


def test_slow_speech_does_not_become_long_silence(synthesizer):
    piece = ChunkAudio(sequence(tone(1.0), silence(3.0), tone(1.0)).samples)
    slow, normal = (joined(synthesizer.joined_pieces([piece], replace(FAST, speed=speed))) for speed in (0.5, 1.0))
    assert slow.seconds == pytest.approx(3.0)
    assert normal.seconds == pytest.approx(5.0)
    on_request = joined(synthesizer.joined_pieces([piece], replace(FAST, remove_long_silence=True)))
    assert np.array_equal(on_request.samples, slow.samples)


def test_nothing_but_silence_between_speech_survives():
    audio = join(spoken(0, 1.0, 0), ChunkAudio(silence(0.4).samples), spoken(0, 1.0, 0))
    assert 2.0 * RATE < audio.num_samples <= 2.4 * RATE


def test_exact_pieces_have_their_pauses_and_the_whole_its_length():
    pieces = [
        ChunkAudio(tone(1.0).samples, 0.25),
        ChunkAudio(np.zeros((1, 0), np.float32), 0.5),
        ChunkAudio(tone(0.5).samples),
    ]
    audio = joined(ExactJoiner(RATE, round(2.3 * RATE)).join(pieces))
    assert audio.num_samples == round(2.3 * RATE)
    assert (audio.samples[:, RATE : round(1.75 * RATE)] == 0).all()
    assert np.array_equal(audio.samples[:, 200 : RATE - 200], tone(1.0).samples[:, 200:-200])


def test_rounded_pauses_make_exact_speech_no_longer():
    pieces = [ChunkAudio(tone(0.1).samples, 0.7 / RATE), ChunkAudio(tone(0.1).samples, 0.7 / RATE)]
    length = round((0.2 + 1.4 / RATE) * RATE)
    assert length == 2 * pieces[0].samples.shape[1] + 1  # the pauses alone would be two samples
    assert joined(ExactJoiner(RATE, length).join(pieces)).num_samples == length


def test_exact_speech_rises_from_and_falls_to_nothing_within_5_ms():
    first, second = 0.5 * np.ones((2, 1000), np.float32), 0.25 * np.ones((2, 500), np.float32)
    audio = joined(ExactJoiner(RATE, 1500).join([ChunkAudio(first), ChunkAudio(second)]))
    ramp = np.linspace(0, 1, round(0.005 * RATE))
    for start, end, level in [(0, 1000, 0.5), (1000, 1500, 0.25)]:
        for channel in audio.samples[:, start:end]:
            np.testing.assert_allclose(channel[: len(ramp)], level * ramp, atol=1e-6)
            np.testing.assert_allclose(channel[-len(ramp) :], level * ramp[::-1], atol=1e-6)
            assert (channel[len(ramp) : -len(ramp)] == level).all()


@pytest.mark.parametrize("length", [1, 2, 99, 100])
def test_what_is_shorter_than_its_fades_rises_and_falls_evenly(length):
    (samples,) = joined(ExactJoiner(RATE, length).join([ChunkAudio(np.ones((1, length), np.float32))])).samples
    assert np.array_equal(samples, samples[::-1])
    assert length == 1 or (samples[0] == 0 and (np.diff(samples[: length // 2]) > 0).all())


def test_fading_is_linear():
    a, b = np.ones((1, 5), np.float32), 2 * np.ones((1, 4), np.float32)
    assert fade(a, b, 3).tolist() == [[1, 1, 1, 1.5, 2, 2]]
    assert fade(a, b, 0).tolist() == [[1, 1, 1, 1, 1, 2, 2, 2, 2]]
    assert fade(a, b, 99).shape == (1, 5)


waves = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)).filter(any), min_size=1, max_size=5
)


@settings(max_examples=30)
@given(waves, st.lists(st.sampled_from([0.0, 0.1, 0.35]), min_size=5, max_size=5))
def test_parts_are_given_out_as_they_come_and_the_speech_stays(centiseconds, pauses):
    pieces = [
        spoken(before / 100, speech / 100, after / 100, pause)
        for (before, speech, after), pause in zip(centiseconds, pauses, strict=False)
    ]
    audio = join(*pieces)
    loud = np.abs(audio.samples) > 0.01
    expected = sum((np.abs(piece.samples) > 0.01).sum() for piece in pieces)
    assert abs(loud.sum() - expected) <= 2 * len(pieces) * round(0.005 * RATE)
    assert audio.seconds <= sum(piece.samples.shape[1] / RATE + piece.pause for piece in pieces) + 1e-6


def test_leading_silence_is_counted_in_steps_of_10_ms():
    assert leading_silence(spoken(0.123, 1, 0).samples, RATE) == round(0.12 * RATE)
    assert leading_silence(silence(0.123).samples, RATE) == round(0.123 * RATE)
    assert leading_silence(np.zeros((2, 0), np.float32), RATE) == 0
    quiet = np.full((1, RATE), 10 ** (-50 / 20), np.float32)
    assert leading_silence(0.99 * quiet, RATE) == RATE
    assert leading_silence(1.01 * quiet, RATE) == 0


def test_shortening_leaves_the_edges_alone():
    samples = sequence(silence(3.0), tone(1.0), silence(3.0)).samples
    assert np.array_equal(shorten_silence(samples, RATE, 1.0), samples)


# ---------------------------------------------------------------- streaming


def test_a_joined_stream_is_the_speech_made_at_once_sample_for_sample(synthesizer, prompt):
    options = replace(FAST, max_chunk_seconds=4.0, first_chunk_seconds=1.0)
    parts = list(synthesizer.stream(LONG, prompt, options))
    whole = synthesizer.synthesize(LONG, prompt, options)
    assert len(parts) > 3
    assert joined(parts).num_samples == whole.num_samples
    np.testing.assert_allclose(joined(parts).samples, whole.samples, atol=1e-4, rtol=0)
    alone = synthesizer.synthesize(LONG, prompt, options, max_batch_seconds=1e-3)
    assert np.array_equal(joined(parts).samples, alone.samples)


def test_the_first_chunk_of_a_stream_is_short_and_the_next_ones_grow(synthesizer, prompt):
    options = resolved(replace(FAST, first_chunk_seconds=2.0, max_chunk_seconds=15.0))
    lengths = [
        chunk.num_frames * 256 / RATE
        for chunk in synthesizer.planner.plan(LONG * 3, synthesizer.voice(prompt), options)
    ]
    assert 1.6 <= lengths[0] <= 2.3 < lengths[1] <= 4.1 < lengths[2] <= 8.1 < lengths[3] <= 14.3


def test_the_first_chunk_does_not_fall_under_the_floor_for_short_texts(synthesizer, prompt):
    options = resolved(replace(FAST, first_chunk_seconds=0.5, max_chunk_seconds=15.0))
    first, *rest = synthesizer.planner.plan("no. " + LONG, synthesizer.voice(prompt), options)
    assert rest and first.num_frames * 256 / RATE >= 1.6


def test_a_short_beginning_with_a_pause_behind_it_is_a_chunk_of_its_own(synthesizer, prompt):
    options = resolved(replace(FAST, first_chunk_seconds=2.0, max_chunk_seconds=15.0))
    first, second, *_ = synthesizer.planner.plan("no. [pause 0.5s] " + LONG * 3, synthesizer.voice(prompt), options)
    assert (len(first.ids), first.pause) == (3, 0.5)
    assert second.num_frames * 256 / RATE <= 4.1  # the second size, as without a pause


def test_the_first_part_comes_before_the_text_is_read_to_its_end(synthesizer, prompt):
    read_lines = []

    def lines():
        for number in itertools.count():
            read_lines.append(number)
            yield "one two three, four five six. seven eight nine ten!\n" if number % 2 == 0 else "\n"

    stream = synthesizer.stream(lines(), prompt, FAST)
    next(stream)
    assert len(read_lines) < 10


def test_chunk_sizes_grow_up_to_the_largest(prompt):
    options = replace(FAST, first_chunk_seconds=1.0, max_chunk_seconds=5.0)
    sizes = list(itertools.islice(ChunkSizes.of(prompt, options), 5))
    assert sizes == [13, 26, 52, 57, 57]  # 11 tokens take 0.8 s
    slow, fast = (ChunkSizes.of(prompt, replace(options, speed=speed)) for speed in (0.5, 2.0))
    assert (slow.first, fast.first) == (6, 27) and (slow.largest, fast.largest) == (28, 115)
    assert slow.least == fast.least == 21  # of 1.6 s at the pace of the voice, where texts are short
    for tight in (0.01, 0.9, 2.3):  # 1.6 s are left to a text however long the voice is
        assert ChunkSizes.of(prompt, replace(options, max_chunk_seconds=tight)).largest == 21
    assert ChunkSizes.of(prompt, replace(options, max_chunk_seconds=2.5)).largest == 23
    long = SimpleNamespace(seconds=20.0, tokens=200 * ["a"])  # and a fifth of a chunk
    assert ChunkSizes.of(long, replace(options, max_chunk_seconds=20.0)).largest == 40
    longer = replace(options, first_chunk_seconds=9.0)
    assert ChunkSizes.of(prompt, longer).first == 57


# ---------------------------------------------------------------- paragraphs and pauses


def test_a_text_is_refused_with_what_to_do_where_speech_is_made():
    unspeakable = UnspeakableError("nobody can say 'ж'", "--tokenizer espeak reads it")
    assert str(refused("the text", unspeakable)) == (
        "the text: nobody can say 'ж'; --skip-unknown (skip_unknown) leaves out such characters; another language "
        "needs a model of it"
    )
    assert str(refused("the text", ValueError("it is odd"))) == "the text: it is odd"


def test_paragraphs_end_at_blank_lines_and_chapters_at_more():
    text = "\n\none\ntwo\n\nthree\n \n\nfour\n\n\n"
    expected = [("one\ntwo", 0.7), ("three", 1.5), ("four", 0.0)]
    assert list(paragraphs(text)) == expected
    assert list(paragraphs(text.splitlines(keepends=True))) == expected
    assert list(paragraphs(" \n\n")) == []
    assert list(paragraphs(Clauses(["one,\n\n", " ", "two."]))) == [("one,\n\n", 0.0), ("two.", 0.0)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("one.\n\ntwo.", 0.7), ("one. [pause 2s]\n\ntwo.", 2.0), ("one [pause 2s] two.", 2.0)],
)
def test_paragraphs_are_parted_by_their_pause_unless_one_is_given(synthesizer, prompt, text, seconds):
    chunks = list(synthesizer.planner.plan(text, synthesizer.voice(prompt), resolved(FAST)))
    assert [chunk.pause for chunk in chunks] == [seconds, 0.0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", "hello."),
        ("hello [pause 1s]", "hello. [pause 1s]"),
        ("hello [pause 1s] [pause 2s] ", "hello. [pause 1s] [pause 2s] "),
        ("[pause 1s]", "[pause 1s]"),
        ("[pause 1s] hello", "[pause 1s] hello."),
    ],
)
def test_punctuation_stands_before_final_pauses(text, expected):
    assert punctuated(text) == expected


def test_the_floor_is_continuous_and_never_shortens():
    seconds = [n / 100 for n in range(1, 400)]
    floor = [short_text_floor(value) for value in seconds]
    assert all(a < b for a, b in itertools.pairwise(floor))
    assert all(a >= b for a, b in zip(floor, seconds, strict=True))
    assert short_text_floor(0.4) == pytest.approx(0.4 / 0.6)
    assert short_text_floor(1.0) == pytest.approx(1.0 / 0.8)
    assert short_text_floor(1.6) == 1.6


# ---------------------------------------------------------------- files and pipes


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_parts_written_as_they_come_give_the_file_of_the_whole(tmp_path, suffix):
    parts = [tone(0.3), silence(0.2), tone(0.25)]
    seconds = write_parts(tmp_path / f"parts{suffix}", iter(parts))
    sequence(*parts).save(tmp_path / f"whole{suffix}")
    assert seconds == 0.75
    assert np.array_equal(read(tmp_path / f"parts{suffix}").samples, read(tmp_path / f"whole{suffix}").samples)


def test_sound_beyond_full_scale_is_cut_there_in_every_format(tmp_path):
    loud = tone(0.5, level=3.0)
    for suffix in (".wav", ".ogg"):
        write_parts(tmp_path / f"parts{suffix}", iter([loud]))
        Audio(loud.samples.clip(-1, 1), RATE).save(tmp_path / f"clipped{suffix}")
        found, expected = (read(tmp_path / f"{name}{suffix}").samples for name in ("parts", "clipped"))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_file_of_parts_that_fail_does_not_appear(tmp_path):
    def parts():
        yield tone(0.3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parts(tmp_path / "out.wav", parts())
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_gets_a_wav_file_of_unknown_length(tmp_path):
    path = tmp_path / "pipe.wav"
    parts = [tone(0.3, channels=2), tone(0.2, channels=2)]
    with path.open("wb") as pipe:
        assert write_wav(pipe, parts) == 0.5
    sequence(*parts).save(tmp_path / "file.wav")
    piped = path.read_bytes()
    assert piped[:44] == wav_header(RATE, 2)
    assert piped[44:] == (tmp_path / "file.wav").read_bytes()[44:]
    assert np.array_equal(read(path).samples, read(tmp_path / "file.wav").samples)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ValueError, match="no known audio format"):
        write_parts(tmp_path / "out.xyz", [tone(0.1)])
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"cannot write .*file/out\.wav"):
        write_parts(tmp_path / "file" / "out.wav", [tone(0.1)])


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
@pytest.mark.parametrize("missing", [0.6, 0.005])
@pytest.mark.parametrize("suffix", ENCODINGS)
def test_what_does_not_fit_on_the_disk_is_told_and_does_not_appear(tmp_path, suffix, missing):
    """libsndfile only says "System error.", and of the last block, written as it closes a file, not even that."""
    import resource

    noise = np.random.default_rng(0).normal(scale=0.1, size=(1, 3 * RATE)).astype(np.float32)
    path = tmp_path / f"out{suffix}"
    write_parts(path, [Audio(noise, RATE)])
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(len(whole) * (1 - missing)), before[1]))
    try:
        with pytest.raises(OSError, match=rf"cannot write .*out\{suffix}: File too large$"):
            write_parts(path, [Audio(noise, RATE)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == whole and list(tmp_path.iterdir()) == [path]
