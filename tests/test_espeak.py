# SPDX-License-Identifier: Apache-2.0
import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.g2p import espeak
from zipvoice.text.g2p.espeak import speak
from zipvoice.text.g2p.numerals import with_numerals
from zipvoice.text.g2p.signs import with_names
from zipvoice.text.tokenizers import build_tokenizer


def spoken(text, language="en-us"):
    return "".join(espeak.speak(text, language))


def test_the_result_does_not_depend_on_earlier_calls():
    before = spoken("Two dogs ran.")
    for text in ("What..", "a..", "...", "Wait,", "(", '"', "x;"):
        espeak._uncached_phonemes(text, "en-us")
        espeak._uncached_phonemes(text, "de")
        assert "".join(espeak._uncached_phonemes("Two dogs ran.", "en-us")) == before


@pytest.mark.parametrize("language", ["en-us", "de", "fr", "ru", "cmn"])
def test_nothing_is_kept_of_texts_that_need_no_emptying(language):
    probes = ("Two dogs ran.", "a", "x; y", "5.")
    before = [espeak._uncached_phonemes(probe, language) for probe in probes]
    for text in ("a.", "U.S.", "Mr.", "1.5", "3rd.", "a..b", "(a", "你好", "что?", "5", "p.m.", "no. 5!", "—a", "v1."):
        for probe, expected in zip(probes, before, strict=True):
            espeak._uncached_phonemes(text, language)
            assert espeak._uncached_phonemes(probe, language) == expected, text


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


def test_the_linking_sign_of_the_newer_engine_is_left_out_of_english_and_french(monkeypatch):
    """Which has it for a palatal in Russian."""
    heard = SimpleNamespace(phonemize=lambda language, text: [["a", "\u02b2", "b"], ["\u02b2"]])
    module = SimpleNamespace(EspeakPhonemizer=lambda: heard)
    monkeypatch.setitem(sys.modules, "piper", SimpleNamespace(phonemize_espeak=module))
    monkeypatch.setitem(sys.modules, "piper.phonemize_espeak", module)
    engine = espeak._piper_tts()
    for language in ("en", "en-us", "EN-GB", "fr", "fr-be"):
        assert engine("x", language) == [["a", "b"], []]
    assert engine("x", "ru") == [["a", "\u02b2", "b"], ["\u02b2"]]


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
        with pytest.raises(ImportError, match=r"pip install piper-phonemize"):
            tokenizer.tokens("hello")
    finally:
        monkeypatch.undo()
        espeak._engine.cache_clear()


# ---------------------------------------------------------------- clauses


@pytest.mark.parametrize(
    ("text", "language", "same_as"),
    [
        ("I was… thinking.", "en-us", "I was, thinking."),
        ("wait... what", "en-us", "wait, what"),
        ("wait . . . what", "en-us", "wait, what"),
        ("No… Yes!", "en-us", "No, Yes!"),
        ("Really…?", "en-us", "Really?"),
        ("I wonder…", "en-us", "I wonder."),
        ("Je pensais… à toi", "fr", "Je pensais, à toi"),
        ("你好。！再见", "cmn", "你好! 再见"),
        ("你好，再见。", "yue", "你好, 再见."),
        ("こんにちは、さようなら。", "ja", "こんにちは, さようなら."),
        ("नमस्ते। आप", "hi", "नमस्ते. आप"),
        ("Բարև։ Ինչպես", "hy", "Բարև. Ինչպես"),
        ("hola ¿qué tal? ¡bien!", "es", "hola qué tal? bien!"),
        ("Ναι· όχι", "el", "Ναι, όχι"),
        ("one,two;three", "en-us", "one, two; three"),
        ("yes!no", "en-us", "yes! no"),
        ("20 ℃ heute", "de", "20 °C heute"),
        ("5 ㎏", "de", "5 Kilogramm"),
        ("5 ㎏", "sv", "5 kg"),
        ("so B가 da", "de", "so B 가 da"),
        ("5Bअ.", "fr", "5B अ."),
        ("xBა!", "en-us", "xB ა!"),
        ("４５６ ﬃ ④ Ⅻ", "en-us", "456 ffi 4 12"),
        ("10：30", "en-us", "10:30"),
    ],
)
def test_clauses_and_forms(text, language, same_as):
    marks = str.maketrans(";", ",") if language == "el" else {}
    assert spoken(text, language).translate(marks) == spoken(same_as, language)


@pytest.mark.parametrize("language", ["en-us", "de", "fr", "es", "it", "ru", "hi", "cmn", "ja", "el", "ar", "ko"])
@pytest.mark.parametrize("end", ["…", "...", "。", "！？", "—", " - ", "।", "։", "、", "”", "» ", "¿"])
def test_no_end_of_a_clause_joins_words(language, end):
    """Between two words stays a space or a mark, whatever ends the clause."""
    alone = [spoken(word, language) for word in ("Anna", "Otto")]
    together = spoken(f"Anna{end} Otto", language)
    assert together.startswith(alone[0][:2])
    assert re.search(r"[ .,!?;:]", together.strip()), together


@pytest.mark.parametrize("text", ["hello. how are you?", "He said: “go.” then he left."])
def test_a_full_stop_before_a_small_letter_is_kept(text):
    assert ". " in spoken(text)
    assert ". " in "".join(build_tokenizer(TokenizerConfig("emilia")).tokens(text))


@pytest.mark.parametrize(
    "text", ["etc. and so on", "at 5 p.m. today", "e.g. this", "the U.S. army", "on the 12. of may"]
)
def test_abbreviations_end_no_sentence(text):
    assert "." not in spoken(text)


@pytest.mark.parametrize("title", ["Mr.", "Mrs.", "Dr.", "Prof.", "Capt."])
def test_titles_end_no_sentence(title):
    assert "." not in spoken(f"{title} King")


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [("漢", "ja", False), ("か", "ja", True), ("한", "de", True), ("न", "fr", True), ("λ", "de", True),
     ("π", "fr", True), ("ж", "de", False), ("ℵ", "en-us", False), ("€", "de", True),
     ("℃", "de", True), ("㎏", "en-us", True), ("４", "fr", True), ("Ⅻ", "de", True)],
)  # fmt: skip
def test_what_is_speakable(text, language, expected):
    assert espeak.is_speakable(text, language) is expected


def test_a_number_without_a_name_is_read_digit_by_digit():
    assert spoken("4" * 44) == " ".join(["fˈoːɹ"] * 44) or spoken("4" * 44).count("f") == 44


@pytest.mark.parametrize(
    "text", ["7 " * 600 + ".", "77-" * 400, "1,2;" * 400, "123456789" * 30 + " ", "7" * 900 + " 1"]
)
def test_runs_of_numbers_with_marks_end(text):
    assert spoken(text)


def test_plain_text_is_as_the_engine_has_it():
    text = "Yes, no. Why? Oh! Well; so: that."
    assert spoken(text) == "".join(espeak.phonemes(text, "en-us"))


# ---------------------------------------------------------------- signs, units and numerals


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("en-us", "5 < 6 > 4", "5 less than 6 greater than 4"),
        ("en-us", "a | b", "a bar b"),
        ("en-us", "20 ℃", "20 ° Celsius"),
        ("en-us", "20˚C and 7 ˚F", "20 ° Celsius and 7 ° Fahrenheit"),
        ("en-us", "an angle of 20˚", "an angle of 20°"),
        ("it", "20 ºC", "20 °C"),
        ("de", "a > b", "a größer als b"),
        ("de", "20 ℃", "20 Grad Celsius"),
        ("de", "3/4", "3 durch 4"),
        ("fr", "x = 3, C#", "x égale 3, C dièse"),
        ("fr", "-5", "moins 5"),
        ("fr", "N° 5, nº7", "numéro 5, numéro 7"),
        ("it", "il n° 5", "il numero 5"),
        ("ru", "-5 °C", "минус 5 градусов Цельсия"),
        ("cmn", "x<3", "x 小于 3"),
        ("en-us", "(<b>)", "( b )"),
        ("en-us", "File -> Open", "File, Open"),
        ("en-us", "👍🏽 ❤️", "👍 ❤"),
        ("de", "Kapitel IV", "Kapitel 4"),
        ("fr", "Louis XIV", "Louis 14"),
        ("ru", "Глава XII", "Глава 12"),
        ("de", "MIX LCD", "MIX LCD"),
    ],
)
def test_what_the_voice_passes_over_is_in_words(language, written, said):
    assert heard(written, language) == heard(said, language)


def test_ordinals_of_other_languages():
    spanish = build_tokenizer(TokenizerConfig("espeak", "es"))
    assert spanish.tokens("El 1º y la 2ª.") == espeak.phonemes("El 1º y la 2ª.", "es")
    for tokenizer in (spanish, build_tokenizer(TokenizerConfig()), build_tokenizer(TokenizerConfig("espeak", "pt"))):
        assert tokenizer.tokens("20 ºC") == tokenizer.tokens("20 °C")
    assert build_tokenizer(TokenizerConfig()).tokens("今天20 ºC") == build_tokenizer(TokenizerConfig()).tokens(
        "今天20℃"
    )


def heard(text, language):
    return "".join(c for c in espeak.speak(text, language) if c not in "ˈˌ ")


def test_a_sign_without_a_word_is_an_error():
    korean = build_tokenizer(TokenizerConfig("espeak", "ko"))
    with pytest.raises(ValueError, match="cannot speak '<'"):
        korean.tokens("3 < 5")
    assert build_tokenizer(TokenizerConfig("espeak", "ko", skip_unknown=True)).tokens("3 < 5")


@pytest.mark.parametrize("config", [TokenizerConfig("emilia"), TokenizerConfig("espeak", "en-us")])
@pytest.mark.parametrize(
    ("text", "read"),
    [("Louis XIV", "Louis the fourteenth"), ("Chapter IV.", "Chapter four."), ("an IV drip", "an I V drip")],
)
def test_roman_numerals_of_both_english_tokenizers(config, text, read):
    """Never a word "roman"."""
    sounds = [[c for c in build_tokenizer(config).tokens(t) if c not in "ˈˌ "] for t in (text, read)]
    assert sounds[0] == sounds[1]


@pytest.mark.parametrize(
    ("language", "tight", "loose"),
    [
        ("hi", "हाँ!क्या?ठीक", "हाँ! क्या? ठीक"),
        ("hi", "नमस्ते.आप", "नमस्ते. आप"),
        ("bn", "হ্যাঁ!কি?ঠিক", "হ্যাঁ! কি? ঠিক"),
        ("hy", "Բարև։Ինչ,Այո", "Բարև։ Ինչ, Այո"),
        ("cmn", "你好.再见?是的", "你好. 再见? 是的"),
    ],
)
def test_marks_without_a_gap_behind_them(language, tight, loose):
    spoken = espeak.speak(tight, language)
    assert spoken == espeak.speak(loose, language)
    assert all(spoken.count(mark) == tight.count(mark) for mark in ",!?")


@pytest.mark.parametrize(
    ("language", "text", "spoken"),
    [
        ("de", "kurz", "kˈʊɐts"),
        ("de", "kurz? Burg", "kˈʊɐts?bˈʊɐk"),
        ("da", "tredive? Hus", "tʁˈʔaðʋə?hˈʔus"),
    ],
)
def test_phonemes_are_not_taken_for_questions(language, text, spoken):
    assert "".join(speak(text, language)).replace(" ", "") == spoken.replace(" ", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("so 😂🎉 funny", "so face with tears of joy party popper funny"),
        ("❤️🎉", "red heart party popper"),
        ("Wow! 😂, yes", "Wow! face with tears of joy yes"),
        ("😂!", "face with tears of joy"),
        ("Hi 🎉! Yes", "Hi party popper! Yes"),
        ("one; →; two", "one; right arrow two"),
        ("🇩🇪🇫🇷", "Germany France"),
    ],
)
def test_names_of_emoji_are_whole_beside_other_signs(text, words):
    assert speak(text, "en-us") == speak(words, "en-us")


@pytest.mark.parametrize("language", ["cmn", "yue", "en-us", "de"])
@pytest.mark.parametrize("accent", "¨¯´¸˘˜")
def test_accents_beside_no_letter_are_not_said_and_take_no_number_with_them(language, accent):
    for text, words in ((f"{accent}7", "7"), (f"5{accent}7", "5 7"), (f"goin{accent} on", "goin on")):
        assert espeak.speak(text, language) == espeak.speak(words, language)


def test_emoji_without_a_name_are_errors_in_english_too():
    tokenizer = build_tokenizer(TokenizerConfig("emilia"))
    assert tokenizer.tokens("Hi 😀") == tokenizer.tokens("Hi grinning face")
    with pytest.raises(ValueError, match="cannot speak '⌘'"):
        tokenizer.tokens("Press ⌘ now")


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("de", "am 3. Oktober um 14:30 Uhr", "am dritten Oktober um 14 Uhr 30"),
        ("de", "Ludwig XIV. war im XX. Jahrhundert", "Ludwig der vierzehnte war im zwanzigsten Jahrhundert"),
        ("de", "Ich habe 3. Und du?", "Ich habe 3. Und du?"),
        ("de", "ein 3. Platz, mein 1. Tag, der 7. Tag", "ein dritter Platz, mein erster Tag, der siebte Tag"),
        ("de", "um 9.05 Uhr, ab 9:00 Uhr", "um 9 Uhr 5, ab 9 Uhr"),
        ("fr", "au XIXe siècle, le 21e à 14h30", "au dix-neuvième siècle, le vingt et unième à 14 heures 30"),
        ("fr", "du 21e au 22e siècle", "du vingt et unième au 22ème siècle"),
        ("fr", "Louis XVIe, la 2ème fois, la Ire", "Louis seizième, la deuxième fois, la première"),
        ("fr", "à 1h15, 0h ou 2h00", "à 1 heure 15, 0 heure ou 2 heures"),
        ("en-us", "am 3. Oktober", "am 3. Oktober"),
    ],
)
def test_ordinals_and_times(language, text, expected):
    assert with_numerals(text, language) == expected


def test_each_word_that_an_ordinal_stands_beside():
    counted = """Januar Jänner Februar März April Mai Juni Juli August September Oktober November Dezember Jan Feb Aug
    Sept Okt Nov Dez Jahrhundert Jahrhunderts Jh Klasse Klassen Platz Mal Stock Etage Kapitel Weltkrieg Weltkriegs
    Geburtstag Auflage Liga Bundesliga Tag Tages Woche Runde Minute Monat Monats Jahr Jahres Bezirk Semester Staffel
    Folge Teil Advent Dynastie"""
    for noun in counted.split():
        assert with_numerals(f"der 3. {noun}, im IV. {noun}", "de") == f"der dritte {noun}, im vierten {noun}"
    for noun in ("Maier", "Tagebuch", "Und", "Hund"):
        assert with_numerals(f"Platz 3. {noun}", "de") == f"Platz 3. {noun}"
    for joint in ("und", "bis", "oder"):
        assert with_numerals(f"am 3. {joint} 4. Mai", "de") == f"am dritten {joint} vierten Mai"
    with_n = "am vom zum im beim dem den des bis ab zur seit nach einem einen ihrem seinem unserem Am"
    for before in with_n.split():
        assert with_numerals(f"{before} 21. Tag", "de") == f"{before} einundzwanzigsten Tag"
    for before in ["ein", "mein", "dein", "sein", "ihr", "unser", "kein"]:
        assert with_numerals(f"{before} 8. Tag", "de") == f"{before} achter Tag"
    kept = ["am 100. Tag", "x.3. Mai", "1,3. Mai", "Ludwig XIV. War", "18:75 Uhr", "8:30 Uhren", "12.8:30 Uhr"]
    assert [with_numerals(text, "de") for text in kept] == kept
    kept = ["25h", "8h75", "8hx", "x8h", "3ex", "l'3e", "12-3e", "le 1er", "Ies", "Le", "Ce"]
    assert [with_numerals(text, "fr") for text in kept] == kept
    written = "à 8 h 30, 8H05, 20 h, le 3ème, la 2ième, les 3es, XIXes, François Ier, la Ière"
    spoken = "à 8 heures 30, 8 heures 5, 20 heures, le troisième, la deuxième, les troisièmes, dix-neuvièmes, "
    assert with_numerals(written, "fr") == spoken + "François premier, la première"


def test_signs_that_one_would_read_aloud():
    """The five colours of skin change an emoji and are none; their neighbours in Unicode are emoji."""
    assert [espeak.is_symbol(chr(c)) for c in (0x1F3FA, 0x1F3FB, 0x1F3FF, 0x1F400)] == [True, False, False, True]
    assert all(map(espeak.is_symbol, "<>=|~+$#%&@^\\€℃×©"))
    assert not any(map(espeak.is_symbol, "a5.,!?;:'\"()-–…´¨"))


def test_a_letter_of_another_script_is_kept_from_the_latin_one_before_it():
    assert espeak._with_scripts_apart("B가 5가 .가 kΩ", "en-us") == "B 가 5가 .가 kΩ"
    assert espeak._with_scripts_apart("B가", "ko") == "B가"


def test_every_sign_of_the_lists_by_its_name():
    """For a voice that passes over all signs; one that has a word for a sign keeps it."""

    def letters_alone(text, language):
        return [c for c in text if c.isalnum()]

    lines = (Path(__file__).parent / "data/text/lists_signs.tsv").read_text(encoding="utf-8").splitlines()
    for language, written, named in (line.split("\t") for line in lines):
        is_latin = language not in ("ru", "el", "ar", "hi", "cmn", "ja")
        assert " ".join(with_names(written, language, letters_alone, is_latin).split()) == named
        assert (
            "°" in written or " ".join(with_names(written, language, lambda text, _: [*text], True).split()) == written
        )
