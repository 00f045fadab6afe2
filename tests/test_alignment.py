# SPDX-License-Identifier: Apache-2.0
"""Which tokens are which words, when words are spoken, and how their times are written."""

import io
import json
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import FAST, RATE, make_synthesizer, sequence, silence, tone

from zipvoice.audio.files import Audio, read, resample
from zipvoice.audio.words import Word
from zipvoice.cli import main
from zipvoice.config.text import TokenizerConfig
from zipvoice.evaluation import alignment
from zipvoice.evaluation.aligner import FRAME_SECONDS, builtin_aligner, silence_costs
from zipvoice.evaluation.alignment import align, align_words, fit, text_words
from zipvoice.evaluation.sounds import sounds
from zipvoice.evaluation.word_files import WORD_JOINER, lines, srt, vtt, write_words
from zipvoice.synthesis import crossfade
from zipvoice.synthesis.crossfade import SHORTEST_FADE_SECONDS, ChunkAudio, Crossfader, ExactJoiner
from zipvoice.synthesis.synthesizer import joined
from zipvoice.synthesis.word_times import with_words_beside
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.words import SpokenWord, WordToken, match_sounds, spoken_words, tokens_of_words

CORPUS = Path(__file__).parents[1] / "egs/mini/corpus/audio"
KNOWN = [
    ("kathleen/arctic_a0194_1592712879.ogg", "He drank of the water cautiously.", [0.0, 0.13, 0.55, 0.67, 0.77, 1.33]),
    ("kathleen/arctic_a0082_1592746529.ogg", "His face was streaming with blood.", [0.0, 0.25, 0.66, 0.8, 1.51, 1.68]),
    (
        "lj/LJ002-0142.ogg",
        "These courts were open to many and grave objections.",
        [0.0, 0.28, 0.69, 0.83, 1.18, 1.29, 1.91, 2.11, 2.53],
    ),
    (
        "lj/LJ001-0141.ogg",
        "The general solidity of a page is much to be sought for",
        [0.0, 0.06, 0.55, 1.34, 1.45, 1.49, 2.18, 2.33, 2.67, 2.77, 2.89, 3.25],
    ),
]
"""Recordings, what they say, and where another aligner, PocketSphinx, has the words begin."""


def words_of(text, **config):
    tokenizer = build_tokenizer(TokenizerConfig(**config))
    tokens = tokens_of_words(tokenizer, text)
    assert [str(token) for token in tokens] == tokenizer.tokens(text)
    return [(word.text, "".join(word.tokens)) for word in spoken_words(tokens)]


# ---------------------------------------------------------------- words and their tokens


def test_words_that_are_spoken_as_one_are_told_apart():
    assert words_of("One of the days.") == [("One", "wˈʌn"), ("of", "ʌv"), ("the", "ðə"), ("days", "dˈeɪz")]


def test_a_stress_belongs_to_the_sound_behind_it():
    assert words_of("une eau est là", type="espeak", language="fr")[1:] == [("eau", "ˈo"), ("est", "ɛ"), ("là", "lˈa")]


def test_words_are_as_written_and_what_is_read_as_a_whole_is_one():
    written = [word for word, _ in words_of('Dr. Lee of the U.S. paid "$1.5 million", 10% more - no?')]
    assert written == ["Dr", "Lee", "of", "the", "U.S.", "paid", "$1.5 million", "10%", "more", "no"]


@pytest.mark.parametrize("word", ["$1.5 million", "$1.50", "3.5kg", "v2.0.1", "U.S.", "Ph.D.", "9 a.m.", "example.com"])
def test_the_full_stop_of_a_sentence_is_not_in_its_last_word(word):
    written = f"It was {word}" if word.endswith(".") else f"It was {word}."
    assert [word for word, _ in words_of(written)] == ["It", "was", word]


def test_tokens_of_expressions_are_those_of_their_words():
    spoken = dict(words_of("It cost $5 on Jan. 5th."))
    assert spoken["$5"] == "".join(build_tokenizer(TokenizerConfig()).tokens("five dollars")).replace(" ", "")
    assert spoken["on"] == "ˌɔn"


def test_chinese_characters_are_words_beside_english_ones():
    assert words_of("我用 iPhone, 很好。")[:3] == [("我", "w0o3"), ("用", "y0ong4"), ("iPhone", "ˈaɪfˈoʊn")]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("涨了50%，到2024年。", ["涨", "了", "50%", "到", "2024", "年"]),
        ("你好 world 3个", ["你", "好", "world", "3", "个"]),
        ("我有2个iPhone 15！¥100？", ["我", "有", "2", "个", "iPhone", "15", "¥100"]),
        ("3.5元。Hello to the world. 二十5%吗", ["3.5", "元", "Hello", "to", "the", "world", "二", "十", "5%", "吗"]),
    ],
)
def test_chinese_numbers_are_words_as_they_are_written(text, written):
    words = words_of(text)
    assert [word for word, _ in words] == written
    assert all(tokens for _, tokens in words)


def test_marks_and_pauses_belong_to_no_word():
    said = words_of("[S1] Hi. [pause 0.5s] You? [S2] No!", type="dialog")
    assert [word for word, _ in said] == ["Hi", "You", "No"]


@pytest.mark.parametrize("kind", ["emilia", "espeak"])
def test_words_are_those_that_are_written(kind):
    text = "It is ½ km or 2½ km. I’ve 2½ cups, a $2M+ budget, 3' x 5' rugs, π and 10μm."
    written = [
        "It",
        "is",
        "½ km",
        "or",
        "2½ km",
        "I’ve",
        "2½",
        "cups",
        "a",
        "$2M+",
        "budget",
        "3' x",
        "5",
        "rugs",
        "π",
        "and",
        "10μm",
    ]
    assert [word for word, _ in words_of(text, type=kind)] == written


def test_each_of_two_forms_of_a_word_is_shown_where_it_stands():
    text = "½ cup, 1/2 cup, 2 1/2 km or 2½ km. I’m here, I'm there, I’m gone."
    written = ["½", "cup", "1/2", "cup", "2 1/2 km", "or", "2½ km", "I’m", "here", "I'm", "there", "I’m", "gone"]
    assert [word for word, _ in words_of(text)] == written


def test_what_is_given_in_sounds_is_a_word_of_them():
    assert words_of("</kæt/> sat.")[0] == ("kæt", "kæt")
    assert words_of("<hao3>吗")[0] == ("hao3", "h0ao3")


def test_words_are_numbered_through_all_the_text():
    tokenizer = build_tokenizer(TokenizerConfig("dialog"))
    tokens = tokens_of_words(tokenizer, "[S1] Good old days. [S2] 很好 and we [pause 1s] go.")
    owned = [token for token in tokens if isinstance(token, WordToken)]
    words = ["Good", "old", "days", "很", "好", "and", "we", "go"]
    assert list(dict.fromkeys((token.number, token.word) for token in owned)) == list(enumerate(words))


def test_letters_are_words_of_letters():
    assert words_of('He said, "no".', type="simple") == [("He", "He"), ("said", "said"), ("no", "no")]


def test_a_long_text_keeps_its_words():
    text = "One of the best days of the year was the day on which it was over. " * 60
    assert [word for word, _ in words_of(text, type="espeak")] == text.replace(".", "").split()


SOUNDS = st.lists(st.sampled_from("abkt"), min_size=1, max_size=12)


@given(SOUNDS)
def test_equal_sounds_match_one_to_one(sequence):
    assert match_sounds(sequence, sequence) == list(range(len(sequence)))


@given(SOUNDS, SOUNDS)
def test_matches_are_in_order_and_one_for_each_sound(words, text):
    found = match_sounds(words, text)
    assert len(found) == len(text)
    assert found == sorted(found)
    assert set(found) <= set(range(len(words)))


def test_a_sound_more_or_less_moves_no_other():
    assert match_sounds(list("batka"), list("bataka")) in ([0, 1, 2, 2, 3, 4], [0, 1, 2, 3, 3, 4])
    assert match_sounds(list("batka"), list("bata")) == [0, 1, 2, 4]


def test_a_long_sequence_matches_itself_sound_by_sound():
    """Longer than the band that is searched, which moves along with the text."""
    sounds = Random(0).choices("abdeikmnostuvz", k=800)
    assert match_sounds(sounds, sounds) == list(range(800))
    shorter = sounds[:300] + sounds[340:]
    found, other = match_sounds(sounds, shorter), match_sounds(shorter, sounds)
    assert (found[:250], found[-400:]) == (list(range(250)), list(range(400, 800)))
    assert (other[:250], other[-400:]) == (list(range(250)), list(range(360, 760)))


def test_sounds_of_other_languages_and_of_pinyin_are_classes():
    classes = builtin_aligner().classes
    assert sounds(SpokenWord("rouge", tuple("ʁuʒ")), classes) == ["ɹ", "u", "ʒ"]
    assert sounds(SpokenWord("中", ("zh0", "ong1")), classes) == ["d", "ʒ", "o", "ŋ"]
    assert sounds(SpokenWord("no", ("n", "o")), classes) == ["n", "o", "ʊ"]  # letters are read


# ---------------------------------------------------------------- the likeliest way


class Certain:
    """An aligner that is told what it hears, a frame for each letter."""

    classes = ("sil", "a", "b", "k")

    def __init__(self, heard):
        self.heard = heard

    def scores(self, audio, doubting_silence):
        assert doubting_silence
        assert len(self.heard) == audio.num_samples // 256
        return np.log([[0.9 if kind[0] == letter else 0.03 for kind in self.classes] for letter in self.heard])


def seconds(*frames):
    return [round(frame * FRAME_SECONDS, 3) for frame in frames]


def aligned(heard, *words):
    audio = Audio(np.zeros((1, 256 * len(heard)), np.float32), RATE)
    found = align_words(audio, [SpokenWord(word, (*word, "ˈ")) for word in words], Certain(heard))
    return [(one.word, one.start, one.end) for one in found]


def test_words_are_where_their_sounds_are():
    first, second = seconds(1.5, 6.5), seconds(9.5, 12.5)
    assert aligned("ssaaabbsssbbbs", "ab", "b") == [("ab", *first), ("b", *second)]


def test_silence_may_be_missing_everywhere():
    assert aligned("aaabbkkaa", "ab", "ka") == [("ab", *seconds(0, 4.5)), ("ka", *seconds(4.5, 8.5))]


def test_a_word_without_sounds_takes_no_time():
    assert aligned("aabb", "a", "?", "b")[1] == ("?", *seconds(1.5, 1.5))


def test_sounds_last_two_frames_if_there_are_enough():
    _, start, end = aligned("aabaa", "a", "b")[1]
    assert end - start == pytest.approx(2 * FRAME_SECONDS, abs=1e-3)
    assert aligned("aab", "a", "k", "b")[1:] == [("k", *seconds(0.5, 1.5)), ("b", *seconds(1.5, 2.5))]


def test_what_cannot_be_aligned_is_refused():
    with pytest.raises(ValueError, match="too short for the text"):
        aligned("ab", "ab", "k")
    with pytest.raises(ValueError, match="no word"):
        aligned("ab", "?")


def test_a_window_that_is_wide_enough_changes_nothing(monkeypatch):
    heard = "".join("aabbkk"[i : i + 2] + "s" * (i // 3) for i in (0, 2, 4) * 8)
    words = ["a", "b", "k"] * 8
    whole = aligned(heard, *words)
    monkeypatch.setattr(alignment, "WINDOW", 12)
    assert aligned(heard, *words) == whole


# ---------------------------------------------------------------- recordings


def test_words_of_recordings_begin_where_another_aligner_has_them():
    errors = []
    for name, text, starts in KNOWN:
        words = align(read(CORPUS / name), text)
        assert [word.word for word in words] == text.removesuffix(".").split()
        errors += [word.start - start for word, start in zip(words, starts, strict=True)]
    assert np.abs(errors).mean() < 0.03
    assert np.abs(errors).max() < 0.12


def test_silence_costs_the_more_the_louder_it_is():
    levels = np.repeat([-10.0, -3.0, -2.0, 0.0], [20, 20, 10, 150])  # nepers; three quarters speak
    costs = silence_costs(np.repeat(levels[:, None], 100, axis=1).astype(np.float32))
    expected = [0.4, 0.4, 0.4 + 2 * (1 - 2 / 3.5 - 0.2), 0.4 + 2 * 0.8]
    assert costs[[0, 30, 45, 100]] == pytest.approx(expected, abs=1e-5)
    noisy = silence_costs(np.linspace(-2.0, 0.0, 201, dtype=np.float32)[:, None])  # 1.5 nepers from noise to speech
    assert noisy[100] == pytest.approx(0.4 + 2 * (1 - 0.6 / 1.5 - 0.2), abs=1e-4)


def test_only_silence_is_doubted():
    name, _, _ = KNOWN[1]
    aligner, audio = builtin_aligner(), read(CORPUS / name)
    plain, wary = (aligner.scores(audio, doubting_silence=doubt) for doubt in (False, True))
    silence_class = aligner.classes.index("sil")
    others = [number for number in range(len(aligner.classes)) if number != silence_class]
    assert np.array_equal(plain[:, others], wary[:, others])
    assert (plain[:, silence_class] - wary[:, silence_class]).min() == pytest.approx(0.4, abs=1e-5)


def test_silence_before_a_recording_moves_its_words():
    name, text, _ = KNOWN[0]
    audio = resample(read(CORPUS / name), RATE)
    words = align(audio, text)
    later = align(sequence(silence(0.8), audio, silence(0.5)), text)
    assert np.allclose([word.start + 0.8 for word in words[1:]], [word.start for word in later[1:]], atol=0.03)


@pytest.mark.parametrize(("level", "message"), [(0.0, "silent"), (1e-6, "silent"), (np.nan, "not finite")])
def test_what_is_no_speech_has_no_words(level, message):
    samples = level * np.random.default_rng(0).standard_normal((1, RATE))
    with pytest.raises(ValueError, match=message):
        align(Audio(samples.astype(np.float32), RATE), "hello")


def test_capitals_are_read_as_words_and_given_back():
    name, text, _ = KNOWN[0]
    audio = read(CORPUS / name)
    assert align(audio, text.upper()) == tuple(Word(w.word.upper(), w.start, w.end) for w in align(audio, text))


def test_a_text_fits_its_own_recording_best():
    fits = [[fit(read(CORPUS / name), text_words(text)) for _, text, _ in KNOWN] for name, _, _ in KNOWN]
    likely = np.array([[one.likelihood for one in row] for row in fits])
    assert (likely.argmax(axis=1) == range(len(KNOWN))).all()
    assert (likely <= 0).all()
    own = [fits[n][n] for n in range(len(KNOWN))]
    assert all(one.num_unlikely <= 1 and one.unheard < 0.12 for one in own)


def test_what_the_text_leaves_out_is_unheard_and_what_it_adds_is_unlikely():
    name, text, _ = KNOWN[0]
    audio, words = read(CORPUS / name), text.split()
    whole, half = (fit(audio, text_words(said)) for said in (text, " ".join(words[: len(words) // 2])))
    assert half.unheard > whole.unheard + 0.2
    other = fit(audio, text_words(" ".join(["mushrooms", *words[1:-1], "zigzags"])))
    assert other.num_unlikely >= 2
    assert other.unlikely == other.num_unlikely / len(words)


# ---------------------------------------------------------------- files

WORDS = (Word("AT&T", 0.1, 0.25), Word("<b>", 0.25, 0.25), Word('"no"', 61.5, 62.0))


def test_times_of_words_are_written_in_four_formats(tmp_path):
    for suffix in ("json", "srt", "vtt", "TextGrid"):
        write_words(tmp_path / f"out.{suffix}", WORDS, 63.0)
    written = {path.suffix: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert [Word(**one) for one in json.loads(written[".json"])] == list(WORDS)
    assert written[".srt"].startswith("1\n00:00:00,100 --> 00:00:00,250\nAT&T\n\n2\n")
    assert written[".srt"].endswith('3\n00:01:01,500 --> 00:01:02,000\n"no"\n')
    assert written[".vtt"].startswith(
        "WEBVTT\n\n00:00:00.100 --> 00:00:00.250\nAT&amp;T <00:00:00.250>&lt;b&gt;\n\n00:01:01.500"
    )
    intervals = [line.split(" = ")[1] for line in written[".TextGrid"].splitlines() if "text =" in line]
    assert intervals == ['""', '"AT&T"', '""', '"""no"""', '""']
    assert "intervals: size = 5" in written[".TextGrid"]


@pytest.mark.parametrize(
    "word", ["<b>", "</x>", "a<b>c", "-->", "C:\\Nile", "&lt;", "a{b}c", "00:00:01,000-->00:00:02,000"]
)
def test_players_show_words_that_look_like_marks(word):
    """A player's decoder: what it takes for a mark is not among what it shows."""
    av = pytest.importorskip("av")
    for suffix, make in (("srt", srt), ("webvtt", vtt)):
        file = make((Word(word, 0.0, 1.0), Word("next", 2.0, 3.0)), 4.0).encode()
        with av.open(io.BytesIO(file), format=suffix) as container:
            found = [subtitle.ass for packet in container.demux() for subtitle in packet.decode() or ()]
        shown = [line.decode().split(",", 8)[8].replace(WORD_JOINER, "").replace("\\{{}", "{") for line in found]
        assert shown == [word, "next"]


def test_words_end_with_the_sound(tmp_path):
    write_words(tmp_path / "out.TextGrid", (Word("a", 0.1, 0.4), Word("b", 0.4, 1.2)), 1.0)
    ends = [line.split(" = ")[1] for line in (tmp_path / "out.TextGrid").read_text().splitlines() if "xmax" in line]
    assert ends == ["1.0", "1.0", "0.1", "0.4", "1.0"]


def test_an_unknown_format_names_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match=r"\.json, \.srt, \.vtt, \.TextGrid, not as '\.doc'"):
        write_words(tmp_path / "out.doc", WORDS, 63.0)


def test_an_unknown_format_is_told_before_any_work(tmp_path, capsys):
    assert main(["align", str(tmp_path / "none.wav"), "hello", "-o", str(tmp_path / "out.doc")]) == 1
    assert "not as '.doc'" in capsys.readouterr().err


def test_lines_of_subtitles_end_at_silences_and_are_not_too_long():
    words = [Word("word", i, i + 0.9) for i in range(20)] + [Word("end", 25, 26)]
    assert [len(line) for line in lines(words)] == [8, 8, 4, 1]
    for letters, gap, expected in ((22, 0.49, [2]), (23, 0.49, [1, 1]), (22, 0.5, [1, 1])):  # 19 and a space before
        pair = [Word("a" * 19, 0.0, 1.0), Word("b" * letters, 1 + gap, 3.0)]
        assert [len(line) for line in lines(pair)] == expected
    assert lines([]) == []


def test_the_command_prints_writes_and_draws(tmp_path, capsys):
    name, text, _ = KNOWN[0]
    recording, audio = str(CORPUS / name), read(CORPUS / name)
    words = align(audio, text)
    assert main(["align", recording, text, "--json"]) == 0
    assert [Word(**one) for one in json.loads(capsys.readouterr().out)] == list(words)
    picture, grid = tmp_path / "out.png", tmp_path / "out.TextGrid"
    assert main(["align", recording, text, "--plot", str(picture), "-o", str(grid)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    write_words(tmp_path / "expected.TextGrid", words, audio.seconds)
    assert grid.read_bytes() == (tmp_path / "expected.TextGrid").read_bytes()
    assert "does not seem" not in capsys.readouterr().err
    assert main(["align", recording, "Nothing of this was ever said by anybody."]) == 0
    assert "does not seem to say this text" in capsys.readouterr().err
    assert main(["align", recording]) == 1
    assert "what does the recording say?" in capsys.readouterr().err


# ---------------------------------------------------------------- synthesis


@pytest.fixture
def tones(monkeypatch):
    """An aligner for pieces of one tone each, which says where that begins and ends."""

    def found(audio, words):
        sounding = np.flatnonzero(np.abs(audio.samples[0]) > 0.01)
        return tuple(Word(word.text, sounding[0] / RATE, sounding[-1] / RATE) for word in words)

    monkeypatch.setattr(crossfade, "word_times", found)


def piece(word, before, lasting, after, pause=0.0):
    samples = sequence(silence(before), tone(lasting), silence(after)).samples
    return ChunkAudio(samples, pause, (SpokenWord(word, ("a",)),))


@pytest.mark.parametrize("pause", [0.0, 0.4])
def test_words_stay_with_their_sound_when_pieces_are_joined(tones, pause):
    pieces = [piece("one", 0.3, 0.5, 0.2, pause), piece("two", 1.5, 0.3, 0.3), piece("three", 0.0, 0.4, 0.5)]
    audio = joined(Crossfader(RATE).join([ChunkAudio(silence(0).samples, 0.2), *pieces]))
    assert [word.word for word in audio.words] == ["one", "two", "three"]
    sounding = np.abs(audio.samples[0]) > 0.01
    for word in audio.words:
        start, end = (round(time * RATE) for time in (word.start, word.end))
        assert not sounding[start - 60 : start - 30].any()
        assert sounding[start + 30 : end - 30].reshape(-1)[:: RATE // 100].size
        assert np.abs(audio.samples[0, start : start + 200]).max() > 0.01
        assert not sounding[end + 30 : end + 60].any()


def test_words_move_with_silence_that_is_taken_out(tones):
    pieces = [piece("early", 0.0, 0.5, 2.0), piece("late", 2.0, 0.5, 0.0)]
    apart, together = (joined(join(pieces)) for join in (ExactJoiner(RATE, 5 * RATE).join, Crossfader(RATE).join))
    assert apart.words[1].start == pytest.approx(4.5, abs=0.01)
    assert together.words[1].start == pytest.approx(0.5 + 0.6, abs=0.01)


def test_words_of_exact_lengths_follow_each_other(tones):
    audio = joined(
        ExactJoiner(RATE, round(2.5 * RATE)).join([piece("a", 0.2, 0.8, 0.0, 0.5), piece("b", 0.4, 0.6, 0.0)])
    )
    assert [word.start for word in audio.words] == pytest.approx([0.2, 1.9], abs=0.01)


def test_a_word_begins_when_the_one_before_has_ended_where_pieces_overlap(tones):
    first, second = joined(Crossfader(RATE).join([piece("one", 0.1, 0.5, 0.0), piece("two", 0.0, 0.5, 0.1)])).words
    assert first.end == second.start == pytest.approx(0.6, abs=0.001)
    assert second.end == pytest.approx(0.6 + 0.5 - SHORTEST_FADE_SECONDS, abs=0.001)


def test_parts_have_the_words_that_begin_in_them(tones):
    pieces = [piece("one", 0.1, 0.5, 0.2), piece("two", 0.2, 0.3, 0.3)]
    parts = list(Crossfader(RATE).join(pieces))
    assert [[word.word for word in part.words] for part in parts] == [["one"], ["two"], []]
    assert parts[1].words[0].moved(parts[0].seconds) == joined(parts).words[1]


def test_words_beside_a_sound_have_their_times_in_the_whole_and_its_length(tmp_path):
    parts = [
        replace(tone(0.5), words=(Word("one", 0.1, 0.4),)),
        silence(0.25),
        replace(tone(1.0), words=(Word("two", 0.2, 0.9),)),
    ]
    assert list(with_words_beside(iter(parts), tmp_path / "a.TextGrid")) == parts
    write_words(tmp_path / "expected.TextGrid", [Word("one", 0.1, 0.4), Word("two", 0.95, 1.65)], 1.75)
    assert (tmp_path / "a.TextGrid").read_text() == (tmp_path / "expected.TextGrid").read_text()


@pytest.mark.parametrize("options", [{}, {"duration": 3.0}, {"raw": True}, {"first_chunk_seconds": 1.0}])
def test_speech_with_times_of_words_is_the_same_speech(tmp_path, options):
    synthesizer = make_synthesizer(tmp_path)
    prompt = synthesizer.prompt(tone(0.6), "a low tone")
    text = "one of the words, and two. " * 2
    plain = synthesizer.synthesize(text, prompt, FAST, **options)
    timed = synthesizer.synthesize(text, prompt, FAST, word_times=True, **options)
    assert np.array_equal(plain.samples, timed.samples)
    assert plain.words == ()
    assert [word.word for word in timed.words] == text.replace(",", "").replace(".", "").split()
    times = [time for word in timed.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= timed.seconds


def test_what_cannot_be_read_is_told_with_what_to_do_here():
    with pytest.raises(ValueError, match=r"cannot speak '漢'.*; write it with letters of its language") as told:
        text_words("漢字です", "ja")
    assert "--skip-unknown" not in str(told.value)
