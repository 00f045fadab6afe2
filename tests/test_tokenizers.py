# SPDX-License-Identifier: Apache-2.0
import json
import logging
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from reading_table import rows

from zipvoice.config.text import TokenizerConfig
from zipvoice.text import reference_compat
from zipvoice.text.characters import OTHER_LANGUAGE, excerpt, shown
from zipvoice.text.explain import inspect_text, render, to_json
from zipvoice.text.language_segments import segments
from zipvoice.text.markup import parse
from zipvoice.text.punctuation import ascii_marks
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.vocabularies import emilia_table
from zipvoice.text.words import spoken_words, tokens_of_words

DATA = Path(__file__).parent / "data" / "text"
HAS_ENGINE_OF_REFERENCE = find_spec("piper_phonemize") is not None

KINDS = {
    "tokens_emilia": TokenizerConfig("emilia"),
    "tokens_dialog": TokenizerConfig("dialog"),
    "tokens_espeak_en-us": TokenizerConfig("espeak", "en-us"),
    "tokens_espeak_de": TokenizerConfig("espeak", "de"),
    "tokens_espeak_fr": TokenizerConfig("espeak", "fr"),
    "tokens_libritts_char": TokenizerConfig("libritts"),
}


def reference(name):
    records = json.loads((DATA / f"{name}.json").read_text(encoding="utf-8"))
    return [r for r in records if HAS_ENGINE_OF_REFERENCE or not r.get("newer_phonemizer_differs")]


def is_latin(text):
    return not re.search("[^\u0000-\u00bb\u00bf-\u024f\u2010-\u206f\u20ac]", text)


# Text that the reference reads without a loss: plain words and punctuation, Chinese or in the Latin script.
PLAIN = re.compile("([\\w ,.!?;:'\"()“”‘’…—，。！？；：、《》-]|\\[S[12]\\]|<(?!r5)[a-z]+[1-5]>)*")
QUIRK = re.compile(
    r"(?<!\[S)(?<![a-z])[0-9]|[_²³½¾]|[^\u0000-\u017f\u2010-\u2030\u3001-\u3020\u4e00-\u9fa5\uff01-\uff1f]|^[^A-Za-z\u4e00-\u9fa5]*$"
    r"|\b(mrs?|dr|drs|st|co|jr|maj|gen|rev|lt|hon|sgt|capt|esq|ltd|col|ft|etc|btw|vs|www)\b|[１-９]|\u01b0"
    r"|\]\s*[.!?…，。！？]+\s*(\[|$)",
    re.IGNORECASE,
)

REPAIRED = {"Hmm, er, uh-huh, mm.": "the engine spells mm", "Zzz... shh! Brr.": "the engine spells all three"}
"""Plain text of the reference vectors that the default reading repairs all the same, and why."""


# Where the default reading departs from the reference in plain text, by name.
REPAIRS = {
    "an ellipsis or a dash is a pause": re.compile("…|—|\\.\\.\\."),
    "a mark without a space behind it ends a clause": re.compile("[A-Za-z][,;:!?，。、；：！？][A-Za-z]"),
    "a full stop before a small letter ends a sentence": re.compile("[a-z]\\. +[a-z]"),
    "abbreviations are in words": re.compile(r"z\. B\.|M\. Dupont"),
    "sandhi of 一 and 不 across words": re.compile("不(对|信)|一(样|句|部|百)"),
    "characters of several readings": re.compile(
        "银行行长|长得|很长|背着|数了|睡一觉|教书|只羊|慢慢地|正确地|长江大桥|而为|得得|你得去|姓[曾单仇]|任先生|种好|的地得"
    ),
}


def is_plain(text):
    return PLAIN.fullmatch(text) is not None and not QUIRK.search(text) and text not in REPAIRED


def is_repaired(text):
    return any(repair.search(text) for repair in REPAIRS.values())


@pytest.mark.parametrize("name", KINDS)
def test_compatible_tokens_are_those_of_the_reference(name):
    tokenizer = build_tokenizer(replace(KINDS[name], compatible=True))
    for record in reference(name):
        if isinstance(record["tokens"], dict) or (name == "tokens_libritts_char" and not is_latin(record["text"])):
            continue  # the reference fails; or transliterates other scripts, and these are an error here
        assert tokenizer.tokens(record["text"]) == record["tokens"], record["text"]


@pytest.mark.parametrize(("name", "at_least"), list(zip(KINDS, (130, 40, 35, 25, 25, 35), strict=True)))
def test_plain_text_has_the_tokens_of_the_reference(name, at_least):
    tokenizer = build_tokenizer(KINDS[name], tags=("[S1]", "[S2]"))
    records = [r for r in reference(name) if is_plain(r["text"]) and not isinstance(r["tokens"], dict)]
    if name.startswith("tokens_espeak") or name == "tokens_libritts_char":
        records = [r for r in records if is_latin(r["text"])]
    if HAS_ENGINE_OF_REFERENCE:
        assert len(records) >= at_least
    assert sum(is_repaired(r["text"]) for r in records) < 0.25 * len(records)
    for record in records:
        if not is_repaired(record["text"]):
            assert tokenizer.tokens(record["text"]) == record["tokens"], record["text"]


def test_segments_of_reference_vectors():
    for record in json.loads((DATA / "segments.json").read_text(encoding="utf-8")):
        assert ascii_marks(re.sub(r"\s*(\[S[12]\])\s*", r"\1", record["text"])) == record["preprocessed"] or (
            record["tokenizer"] == "emilia" and ascii_marks(record["text"]) == record["preprocessed"]
        )
        found = [[segment.text, segment.kind] for segment in reference_compat.segments(record["preprocessed"])]
        assert found == record["segments"], record["text"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我跑了5km，很累。", [("zh", "我跑了五公里，很累。")]),
        ("I ran 5km.", [("en", "I ran 5km.")]),
        ("50", [("en", "50")]),
        ("50％", [("zh", "百分之五十")]),
        ("Café 中文 é", [("en", "Café "), ("zh", "中文 "), ("en", "é")]),
        ("123 你好", [("zh", "一百二十三 你好")]),
        ("a<ni3>b", [("en", "a"), ("pinyin", "ni3"), ("en", "b")]),
        ("𠀀〇", [("zh", "𠀀〇")]),
        ("选 A B 3。", [("zh", "选 "), ("en", "A B "), ("zh", "三。")]),
        ("选 AB BC 3。", [("zh", "选 "), ("en", "AB BC 3。")]),
        ("打开 Visual Studio 2", [("zh", "打开 "), ("en", "Visual Studio "), ("zh", "二")]),
        ("我们喜欢看Big Bang Theory Season 2", [("zh", "我们喜欢看"), ("en", "Big Bang Theory Season 2")]),
    ],
)
def test_segments(text, expected):
    assert [(segment.kind, segment.text) for segment in segments(parse(text))] == expected


def tokens(text, kind="emilia", tags=None, **options):
    return build_tokenizer(TokenizerConfig(kind, **options), tags).tokens(text)


@pytest.mark.parametrize(
    ("text", "equal"),
    [
        ("one\ntwo", "one two"),
        ("one\r\n\ttwo", "one two"),
        ("one\x00two", "one two"),
        ("one\u00a0two\u2028three", "one two three"),
        ("soft\u00adware", "software"),
        ("ＡＢＣ", "ABC"),
        ("１２３", "123"),
        ("٣ cats", "3 cats"),
        ("½ cup", "one half cup"),
        ("3⅛″ and (①)", '3 1/8" and (1)'),
        ("Part Ⅳ and Chapter ⅸ, step ②", "Part IV and Chapter ix, step 2"),
        ("𝐁old", "Bold"),
        ("ﬁne", "fine"),
        (r"\<ni3>", "ni three"),
        ("<b>bold</b>", "bold"),
        ("Đường", "Duong"),
        ("<NI3>", "<ni3>"),
        ("<ni3 hao3>", "<ni3><hao3>"),
    ],
)
def test_written_otherwise_spoken_the_same(text, equal):
    assert [t for t in tokens(text) if t != " "] == [t for t in tokens(equal) if t != " "]
    assert (" " in tokens(text)) == (" " in tokens(equal))


@pytest.mark.parametrize("text", ["50", "1,000,000", "3.14", "$5", "50%", "123", "１２３"])
def test_numbers_alone_are_spoken(text):
    assert tokens(text)


@pytest.mark.parametrize(("text", "expected"), [("...", ["…"]), ("?!", ["?", "!"]), ("！？", ["!", "?"])])
def test_marks_alone_are_kept(text, expected):
    assert tokens(text) == expected


def test_a_line_break_in_chinese_is_a_space():
    assert tokens("你好\n世界") == ["n0", "i2", "h0", "ao3", " ", "sh0", "i4", "j0", "ie4"]


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        ("emilia", "hello Привет", "'П' .Cyrillic.*at character 6: hello >Привет<"),
        ("emilia", "日本語の漢字", "'の' .Hiragana.*at character 3"),
        ("emilia", "안녕", "Hangul"),
        ("emilia", "𪛖", "first at character 0"),
        ("emilia", "ab\ud800", "half a character"),
        ("espeak", "hello 世界", "language 'en-us' cannot speak '世' .Cjk"),
        ("libritts", "hello 世界", "first at character 6"),
        ("emilia", "Hello.[pause 1s]And ひ", "first at character 20: And >ひ<"),
        ("simple", "\udfff", "half a character"),
        ("emilia", "an ㌀", "'㌀' .Square.*at character 3"),  # アパート, which it does not speak either
        ("espeak", "an ㌀", "'㌀' .Square"),
    ],
)
def test_what_cannot_be_spoken_is_an_error_or_a_warning(kind, text, shown, caplog):
    with pytest.raises(ValueError, match=shown):
        tokens(text, kind)
    with caplog.at_level(logging.WARNING):
        tokens(text, kind, skip_unknown=True)
    assert re.search(shown.replace(".*", "(.|\n)*"), caplog.text)
    assert "left out" in caplog.text
    assert caplog.text.encode()  # as a log is written


def test_the_english_voices_read_as_emilia():
    """The package's models have the espeak tokenizer."""
    config = TokenizerConfig("espeak", "en-us")
    every_tenth = [row.text for part in ("tuned", "held_out") for row in rows("reading_en.json", part)][::10]
    for text in (*every_tenth, "5 Ω, π ≈ 3 μm, 1⁄2 cup!", "...", "Plan A is a <3 “FAQ”."):
        assert tokens(text, "espeak", language="en-us") == tokens(text), text
        words = tokens_of_words(build_tokenizer(config), text)
        assert spoken_words(words) == spoken_words(tokens_of_words(build_tokenizer(TokenizerConfig()), text)), text
    british = build_tokenizer(TokenizerConfig("espeak", "en")).pieces("It costs $5.50 in St. Louis.")
    assert [piece.text for piece in british] == ["It costs five dollars, fifty cents in saint Louis."]
    explained = render(inspect_text("10-15%", build_tokenizer(config)), explain=True)
    assert "range: '10-15%' -> 'ten to fifteen percent'" in explained


@pytest.mark.parametrize(("bad", "is_language"), [("П", True), ("⌘", False), ("П⌘", True), ("⌘П", True)])
def test_another_tokenizer_is_proposed_for_another_language_only(bad, is_language):
    with pytest.raises(ValueError, match="--skip-unknown leaves out such characters") as error:
        tokens(f"a {bad}")
    assert (OTHER_LANGUAGE in str(error.value)) == is_language


def test_skipped_characters_leave_the_rest():
    assert tokens("hello Привет", skip_unknown=True) == tokens("hello")


@pytest.mark.parametrize("kind", ["emilia", "dialog", "espeak", "libritts", "simple"])
def test_tags_are_the_same_for_every_tokenizer(kind):
    found = tokens("[S1] a [LAUGHS] b [pause 500ms] [S2] c", kind, tags=("[S1]", "[S2]", "[LAUGHS]"))
    assert [token for token in found if token[0] == "["] == ["[S1]", "[LAUGHS]", "[pause 0.5s]", "[S2]"]
    assert found[0] == "[S1]"
    assert found[found.index("[pause 0.5s]") - 1 :][:3] != [" "]
    with pytest.raises(ValueError, match=r"unknown tag \[CRIES\]"):
        tokens("[CRIES]", kind)


def test_the_dialogue_tokenizer_knows_the_released_tags():
    assert tokens("[S1] [CLEARS THROAT] 你好 [S2]", "dialog") == [
        "[S1]", "[CLEARS THROAT]", " ", "n0", "i2", "h0", "ao3", "[S2]",
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [("espeak", "<ni3>"), ("simple", "<ni3>"), ("libritts", "</a/>")])
def test_marks_without_tokens_are_an_error(kind, text):
    with pytest.raises(ValueError, match=r"has no (pinyin|phonemes)"):
        tokens(text, kind)


@pytest.mark.parametrize("kind", ["emilia", "espeak"])
def test_given_phonemes_stand_in_the_sentence(kind):
    found = "".join(tokens("You say </təˈmeɪtoʊ/>, I don't. </ˈhɛloʊ/> </wɜːld/>!", kind))
    words = "".join(tokens("You say", kind)), "".join(tokens("I don't.", kind))
    assert found == f"{words[0]} təˈmeɪtoʊ, {words[1]} ˈhɛloʊ wɜːld!"
    assert "".join(tokens("say</ɪŋ/> it", kind)) == "sˈeɪɪŋ ɪt"  # a part of a word


def test_unknown_language_is_an_error_that_lists_near_ones():
    for compatible_ in (False, True):
        tokenizer = build_tokenizer(TokenizerConfig("espeak", "en_US", compatible=compatible_))
        with pytest.raises(ValueError, match=r"does not know the language 'en_US'; near: en, .*en-us"):
            tokenizer.tokens("hello")


@pytest.mark.parametrize(("name", "near"), [("zh", "cmn"), ("Chinese", "cmn"), ("pt_PT", "pt-br"), ("romany", "ro")])
def test_a_language_is_found_by_other_names(name, near):
    tokenizer = build_tokenizer(TokenizerConfig("espeak", name))
    with pytest.raises(ValueError, match=rf"does not know the language '{name}'; .*\b{near}\b"):
        tokenizer.tokens("hello")


def test_what_cannot_be_read_is_told_with_the_remedies():
    with pytest.raises(ValueError, match=r"--skip-unknown leaves .*, --tokenizer espeak --language CODE reads"):
        build_tokenizer(TokenizerConfig("libritts")).tokens("привет")


def test_inspection_marks_unknown_tokens():
    tokenizer = build_tokenizer(TokenizerConfig("emilia"))
    inspection = inspect_text("《你好》😀 5 [pause 1s]", tokenizer, emilia_table())
    assert inspection.unknown == ("😀",)
    assert inspection.ids is not None and len(inspection.ids) == len(inspection.tokens)
    assert [p.kind for p in inspection.pieces] == ["zh", "pause"]
    assert inspection.normalized == "《你好》😀 五[pause 1s]"
    assert ">😀<" in render(inspection)
    assert json.loads(json.dumps(to_json(inspection)))["pieces"][1]["start"] == 8


def test_items_of_a_list_that_begin_with_numbers_are_not_calculated_with():
    tokenizer = build_tokenizer(TokenizerConfig("emilia"))
    for bullet in "*-+•":
        text = f"{bullet} Eggs (12)\n{bullet} 2 lbs. of flour\n{bullet} $5 of cheese"
        assert inspect_text(text, tokenizer).normalized == "Eggs (twelve), two pounds of flour, five dollars of cheese"
    assert inspect_text("5\n* 3 = 15", tokenizer).normalized == "five times three equals fifteen"


def test_inspection_without_a_table():
    inspection = inspect_text("hi", build_tokenizer(TokenizerConfig("simple")))
    assert to_json(inspection)["tokens"] == ["h", "i"]
    assert inspection.ids is None


def test_imports_are_lazy():
    code = (
        "import sys, zipvoice.text.tokenizers, zipvoice.text.explain, zipvoice.text.vocabularies as v; "
        "v.emilia_table(); "
        "heavy = {'torch', 'numpy', 'jieba', 'pypinyin', 'piper_phonemize', 'piper'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_messages_show_ten_characters_and_twenty_on_either_side():
    assert shown("abcdefghijba") == ", ".join(f"'{letter}' (Latin)" for letter in "abcdefghij")
    assert shown("abcdefghijkl").endswith("'j' (Latin) and 2 more")
    assert shown(["ni3", "b"]) == "'ni3', 'b' (Latin)"
    assert excerpt("x" * 21 + "AB" + "y" * 21, 21, 23) == f"…{'x' * 20}>AB<{'y' * 20}…"
    assert excerpt("x" * 20 + "AB" + "y" * 20, 20, 22) == f"{'x' * 20}>AB<{'y' * 20}"
    assert excerpt("a\tb", 1, 2) == "a>␣<b"
