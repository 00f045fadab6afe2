# SPDX-License-Identifier: Apache-2.0
import importlib.util

import pytest

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.g2p import espeak
from zipvoice.text.tokenizers import build_tokenizer


def spoken(text, language="en-us"):
    return "".join(espeak.speak(text, language))


def test_the_result_does_not_depend_on_earlier_calls():
    before = spoken("Two dogs ran.")
    for text in ("What..", "a..", "...", "Wait,", "(", '"', "x;"):
        espeak._uncached_phonemes(text, "en-us")
        espeak._uncached_phonemes(text, "de")
        assert "".join(espeak._uncached_phonemes("Two dogs ran.", "en-us")) == before


def test_text_after_a_null_is_spoken():
    assert espeak.phonemes("one\0two", "en-us") == espeak.phonemes("one two", "en-us")


@pytest.mark.parametrize(("word", "sound"), [("strawberry", "s"), ("w", "ə"), ("x", "ɛ")])
@pytest.mark.parametrize("times", [25, 70, 300, 1000])
def test_no_end_of_a_long_word_is_lost(word, sound, times):
    """espeak-ng itself keeps some 20 w of a word, and 120 of a clause."""
    assert spoken(word).count(sound) == 1
    assert spoken(word * times).count(sound) == times


@pytest.mark.parametrize("separator", [" ", " . ", ", "])
def test_no_end_of_a_long_clause_is_lost(separator):
    assert spoken(separator.join(["77"] * 1000)).count("nti") == 1000
    assert spoken(separator.join(["1.5"] * 500)).count("pɔɪnt") == 500
    assert spoken(separator.join(["over"] * 1000)).count("ʊvɚ") == 1000


def test_many_initials_do_not_crash():
    for text in ("a." * 400, "a.b. " * 200, "A.,a.!" * 100, "x.." * 300):
        assert spoken(text)


def test_decimals_in_tables_stay_decimals():
    assert spoken("1.5 2.5 3.5 " * 10).count("pɔɪnt") == 30


def test_letters_unknown_to_the_voice_are_read_as_their_base_letter():
    assert spoken("Hương") == spoken("Huong")
    assert espeak.is_speakable("ư", "en-us")


@pytest.mark.parametrize(
    ("character", "language", "expected"),
    [("é", "en-us", True), ("я", "ru", True), ("я", "en-us", False), ("中", "cmn", True), ("中", "fr", False),
     ("ह", "hi", True), ("ε", "el", True), ("a", "ru", True), ("٣", "ar", True)],
)  # fmt: skip
def test_scripts(character, language, expected):
    assert espeak.is_speakable(character, language) is expected


@pytest.mark.parametrize("language", ["en_US", "english", "xx", "", "en-us "])
def test_unknown_languages_are_errors(language):
    with pytest.raises(ValueError, match=rf"does not know the language {language!r}; (near|did you mean|known)"):
        espeak.phonemes("hello", language)


def test_languages_can_be_listed():
    languages = espeak.languages()
    assert {"en-us", "de", "fr", "cmn"} <= set(languages)
    assert len(languages) > 100


def test_english_has_no_linking_sign():
    assert "\u02b2" not in spoken("Be idle, see it, the only idea I ever had.")
    assert "\u02b2" in spoken("Привет", "ru")


def test_a_missing_engine_is_named_only_for_text_that_needs_it(monkeypatch):
    espeak._engine.cache_clear()
    espeak._cached_phonemes.cache_clear()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name.startswith("piper") else find_spec(name, *a)
    )
    try:
        tokenizer = build_tokenizer(TokenizerConfig("emilia"))
        assert tokenizer.tokens("你好，5个") != []
        with pytest.raises(ImportError, match=r'pip install "zipvoice-tts\[phonemes\]"'):
            tokenizer.tokens("hello")
    finally:
        monkeypatch.undo()
        espeak._engine.cache_clear()
