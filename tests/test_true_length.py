# SPDX-License-Identifier: Apache-2.0
"""Sound whose header does not tell its length, or tells a wrong one, wherever sound is read."""

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from zipvoice.audio.files import Audio, decode, encode, read
from zipvoice.audio.mp3 import BIT_RATES, _kind, with_length
from zipvoice.audio.ogg import check_pages
from zipvoice.audio.opened import open_sound, read_span

SECONDS = 3
RECORDING = Path(__file__).parent / "data/audio/recording.ogg"


def speech_like(rate):
    """Silence, a tone, noise: at a variable rate the first frames need far fewer bits than the others."""
    time = np.arange(SECONDS * rate) / rate
    noise = np.random.default_rng(0).standard_normal(len(time))
    wave = 0.3 * np.sin(2 * np.pi * 300 * time) * (time > 0.5) + 0.2 * noise * (time > 1.5)
    return wave.astype(np.float32)


def mp3(rate=24000, mode="VARIABLE", wave=None):
    content = io.BytesIO()
    wave = speech_like(rate) if wave is None else wave
    soundfile.write(content, wave, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode)
    return content.getvalue()


def without_first_frame(data):
    """As an encoder that writes into a pipe leaves it: without the frame that holds the table."""
    places = [at for at in range(len(data) - 2) if data[at] == 0xFF and data[at + 1] == data[1]]
    return data[next(at for at in places if at > 40) :]


def tagged(data):
    return b"ID3\x04\0\0\0\0\x02\x01" + bytes(257) + data + b"TAG" + bytes(125)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize("mode", ["VARIABLE", "AVERAGE", "CONSTANT"])
def test_an_mp3_without_a_table_is_read_whole(rate, mode):
    whole = mp3(rate, mode)
    expected = decode(whole)
    assert expected.num_samples == SECONDS * rate
    for data in (without_first_frame(whole), tagged(without_first_frame(whole))):
        audio = decode(data)
        assert 0 <= audio.num_samples - SECONDS * rate <= 3 * 1152
        with open_sound(io.BytesIO(data), "a.mp3") as sound:
            assert sound.frames == audio.num_samples
        delay = 1105 - 529  # the codec's, which the lost table told, less what libsndfile leaves out without one
        inner = audio.samples[0, delay + 4608 : delay + SECONDS * rate - 4608]
        np.testing.assert_allclose(inner, expected.samples[0, 4608:-4608], atol=2e-5)


def test_a_true_table_is_left_alone():
    for data in (mp3(), mp3(mode="CONSTANT"), tagged(mp3()), RECORDING.read_bytes(), b"", b"ID3", b"\xff" * 9000):
        assert with_length(data) is data


def test_headers_of_mp3_frames_tell_their_length():
    steps = [(4 + k % 4) * 8 * 2 ** (k // 4) for k in range(14)]  # four to an octave
    assert {1: tuple(steps), 2: (8, 16, 24, *steps[:9], 144, 160)} == BIT_RATES
    lengths = [_kind(bytes((0xFB, 9 << 4 | padding << 1))).length for padding in (0, 1)]
    assert lengths == [417, 418]  # 144 · 128,000 / 44,100
    assert _kind(bytes((0xF3, 8 << 4))).length == 208  # 72 · 64,000 / 22,050
    assert [_kind(bytes((0xFB, rest))) for rest in (0, 15 << 4, 9 << 4 | 3 << 2)] == [None] * 3


def test_tags_in_front_of_an_mp3_are_passed_with_their_footers():
    """Sound in a tag, such as in a picture of it, is no sound of the file."""
    whole, inner = without_first_frame(mp3()), mp3()
    size = bytes(len(inner) >> shift & 127 for shift in (21, 14, 7, 0))
    for flags, footer in ((0, b""), (16, b"3DI\x04\0\x10" + size)):
        tag = b"ID3\x04\0" + bytes([flags]) + size + inner + footer
        expected = decode(whole)
        for data in (tag + whole, tag + tag + whole):
            assert decode(data).num_samples == expected.num_samples


def test_two_mp3_files_in_one_are_read_to_the_end():
    for one in (mp3(), tagged(mp3())):
        audio = decode(one + one)
        assert 2 * SECONDS * 24000 <= audio.num_samples <= 2 * SECONDS * 24000 + 6000


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_a_part_of_an_mp3_is_that_part_of_the_whole(mode):
    for data in (mp3(mode=mode), without_first_frame(mp3(mode=mode))):
        whole = decode(data).samples[0]
        for first in (0, 1, 24000, 50000):
            with open_sound(io.BytesIO(data), "a.mp3") as sound:
                part = read_span(sound, first, 5000)[:, 0]
            np.testing.assert_allclose(part, whole[first : first + 5000], atol=1e-6)


def flac_without_length(wave, rate):
    content = io.BytesIO()
    soundfile.write(content, wave, rate, format="FLAC")
    data = bytearray(content.getvalue())
    data[21] &= 0xF0  # the number of samples has 36 bits
    data[22:26] = bytes(4)
    return bytes(data)


def test_a_flac_file_without_length_is_read_whole():
    wave = speech_like(24000)[:-77]
    data = flac_without_length(wave, 24000)
    assert np.array_equal(decode(data).samples[0], decode(encode(Audio(wave[None], 24000), ".flac")).samples[0])
    with open_sound(io.BytesIO(data), "a.flac") as sound:
        assert sound.frames == len(wave)
        np.testing.assert_allclose(read_span(sound, 40000, 100)[:, 0], wave[40000:40100], atol=1e-4)


def wav_with_size(size, wave):
    data = bytearray(encode(Audio(wave[None], 24000), ".wav"))
    data[4:8] = data[40:44] = size.to_bytes(4, "little")
    return bytes(data)


def test_a_wav_file_from_a_pipe_is_read_whole_and_one_of_size_0_says_how_to_mend_it(tmp_path):
    wave = speech_like(24000)
    for size in (0xFFFFFFFF, 0x7FFFFFFF):
        assert decode(wav_with_size(size, wave)).num_samples == len(wave)
    (tmp_path / "a.wav").write_bytes(wav_with_size(0, wave))
    with pytest.raises(ValueError, match=r"a\.wav says that it holds no samples, but has 144044 bytes: .*`ffmpeg -i"):
        read(tmp_path / "a.wav")
    with pytest.raises(ValueError, match=r"holds no samples; record"):
        decode(wav_with_size(0, wave)[:44])


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
def test_ogg_streams_behind_each_other_are_refused(suffix):
    one = encode(Audio(speech_like(24000)[None], 24000), suffix)
    with pytest.raises(ValueError, match=r"the audio holds several Ogg streams .*ffmpeg -i the audio"):
        decode(one + one)


def test_a_corpus_of_such_files_is_listed_checked_and_prepared_whole(tmp_path):
    pytest.importorskip("lhotse")
    from zipvoice.config.data import CheckOptions, PrepareOptions
    from zipvoice.data.cuts import load_features, read_cuts
    from zipvoice.data.prepare import prepare
    from zipvoice.data.segments import recordings, whole
    from zipvoice.data.validation.stats import measure_corpus

    (tmp_path / "a.mp3").write_bytes(without_first_frame(mp3()))
    (tmp_path / "b.flac").write_bytes(flac_without_length(speech_like(24000), 24000))
    for name in ("._a.mp3", "._b.flac"):  # as a Mac leaves them on other disks
        (tmp_path / name).write_bytes(b"\0\5\x16\7" + bytes(4000))
    (tmp_path / "list.tsv").write_text("a\tone\ta.mp3\nb\ttwo\tb.flac\n")
    corpus = measure_corpus(CheckOptions(str(tmp_path / "list.tsv")))
    assert [u.sound_fault for u in corpus.utterances] == [None, None] and corpus.bad_rows == ()
    prepared = prepare(PrepareOptions(str(tmp_path / "list.tsv"), str(tmp_path / "out"), features=True))
    for cut in read_cuts(prepared.manifest):
        assert SECONDS <= cut.duration < SECONDS + 0.1
        assert len(load_features(cut, 100)) == pytest.approx(cut.duration * 24000 / 256, abs=1)
    found = recordings([str(tmp_path)])
    assert [len(whole(cut)) == pytest.approx(SECONDS * 24000, abs=3000) for cut in found] == [True, True]


@pytest.mark.parametrize(("listed", "is_told"), [(1.5, True), (2.7, True), (2.9, False)])
def test_a_manifest_that_believed_a_wrong_length_is_told(tmp_path, listed, is_told):
    """By less than 0.25 s programs differ that all count rightly."""
    pytest.importorskip("lhotse")
    from zipvoice.config.data import PrepareOptions
    from zipvoice.data.cuts import load_audio, read_cuts
    from zipvoice.data.prepare import prepare

    (tmp_path / "a.mp3").write_bytes(without_first_frame(mp3()))
    (tmp_path / "list.tsv").write_text("a\tone\ta.mp3\n")
    manifest = Path(prepare(PrepareOptions(str(tmp_path / "list.tsv"), str(tmp_path / "out"))).manifest)
    line = json.loads(gzip.decompress(manifest.read_bytes()))
    line["duration"] = line["supervisions"][0]["duration"] = line["recording"]["duration"] = listed
    line["recording"]["num_samples"] = round(24000 * listed)
    manifest.write_bytes(gzip.compress(json.dumps(line).encode() + b"\n"))
    (cut,) = read_cuts(manifest)
    if is_told:
        with pytest.raises(
            ValueError, match=rf"a\.mp3 goes on for \d\.\d\d\d s after the {listed:.3f} s of the manifest"
        ):
            load_audio(cut)
    else:
        assert load_audio(cut).seconds == pytest.approx(listed)


# ---------------------------------------------------------------- what is not whole


def encoded(suffix, seconds=6.0):
    wave = (0.1 * np.random.default_rng(0).standard_normal(round(16000 * seconds))).astype(np.float32)
    return encode(Audio(wave[None], 16000), suffix)


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".flac", ".ogg", ".opus"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_copy_that_breaks_off_is_named(tmp_path, suffix, share):
    data = encoded(suffix)
    (tmp_path / f"a{suffix}").write_bytes(data[: int(share * len(data))])
    with pytest.raises(
        ValueError, match=rf"a\{suffix} (breaks off, or is damaged: it has|breaks off after|is not readable)"
    ):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(("missing", "is_told"), [(0.09, False), (0.11, True)])
@pytest.mark.parametrize("title", [b"", b"four", b"three"])
def test_a_tenth_of_a_second_may_be_missing_from_a_wav_file_of_any_chunks(missing, is_told, title):
    """Chunks of an odd length are filled up, which their length does not count."""
    data = encoded(".wav")
    note = b"LIST" + len(title).to_bytes(4, "little") + title + bytes(len(title) % 2)
    data = (data[:36] + note + data[36:])[: -round(missing * 16000) * 2]
    if is_told:
        with pytest.raises(ValueError, match=r"breaks off, or is damaged: it has 5\.89 of 6\.00 s"):
            decode(data)
    else:
        assert decode(data).seconds == pytest.approx(6.0 - missing)


def test_a_page_of_ogg_breaks_off_at_any_byte():
    data = RECORDING.read_bytes()
    last = data.rindex(b"OggS")
    check_pages(data)
    check_pages(data[:last])
    for end in range(last + 4, len(data)):
        with pytest.raises(ValueError, match=rf"breaks off after {last} bytes"):
            check_pages(data[:end])


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
def test_a_flipped_bit_in_a_page_of_ogg_is_noticed(tmp_path, suffix):
    data = bytearray(encoded(suffix))
    data[len(data) // 2] ^= 1
    (tmp_path / f"a{suffix}").write_bytes(bytes(data))
    with pytest.raises(
        ValueError, match=r"is damaged behind \d+ bytes: the sum of a page of Ogg is wrong; copy it again"
    ):
        read(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("suffix", [".wav", ".mp3", ".ogg", ".opus", ".flac"])
def test_what_is_whole_stays_so(suffix):
    assert decode(encoded(suffix)).seconds == pytest.approx(6.0, abs=0.1)


def test_two_mp3_files_behind_each_other_are_both_heard():
    data = encoded(".mp3", 2.0)
    assert decode(data + data).seconds == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("rate", [1000, 768_000])
def test_sound_has_any_rate_from_1_to_768_khz(rate):
    data = bytearray(encoded(".wav", 1.0))
    data[24:28] = rate.to_bytes(4, "little")
    assert decode(bytes(data)).sampling_rate == rate


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_refused(rate):
    data = bytearray(encoded(".wav", 1.0))
    data[24:28] = rate.to_bytes(4, "little")
    with pytest.raises(ValueError, match=f"has {rate} samples per second, which no sound has"):
        decode(bytes(data))


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF, 0x80000000])
def test_a_length_that_was_not_known_is_no_fault(size):
    data = bytearray(encoded(".wav", 1.0))
    data[40:44] = size.to_bytes(4, "little")
    assert decode(bytes(data)).seconds == 1.0
