# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zipvoice.text.markup import escape, parse, pause_seconds, pause_token

TAGS = ("[S1]", "[S2]", "[LAUGHS]", "[CLEARS THROAT]")


def marks(text, tags=TAGS):
    return [(element.kind, element.content) for element in parse(text, tags)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <chang2> b", [("text", "a "), ("pinyin", "chang2"), ("text", " b")]),
        ("<ni3 hao3>", [("pinyin", "ni3 hao3")]),
        ("<Lü4><lu:4>", [("pinyin", "lv4"), ("pinyin", "lv4")]),
        ("[S1]hi", [("speaker", "[S1]"), ("text", "hi")]),
        ("[ S1 ]", [("speaker", "[S1]")]),
        ("[CLEARS THROAT]", [("tag", "[CLEARS THROAT]")]),
        ("[pause 0.6s][Pause 600ms][pause .6 s]", [("pause", "[pause 0.6s]")] * 3),
        ("[pause 60s][pause 1ms]", [("pause", "[pause 60s]"), ("pause", "[pause 0.001s]")]),
        ("</təˈmɑːtoʊ/>", [("phonemes", "təˈmɑːtoʊ")]),
        ("</ç/>", [("phonemes", "c\u0327")]),
        ("[[S1]]", [("text", "["), ("speaker", "[S1]"), ("text", "]")]),
        (r"\<ni3> \[S1] \\", [("text", "<"), ("text", "ni3> "), ("text", "["), ("text", "S1] "), ("text", "\\")]),
    ],
)
def test_marks(text, expected):
    assert marks(text) == expected


@pytest.mark.parametrize(
    "text",
    [
    "a < b and c > d", "x[1]", "[1]", "see [12]", "[2024]", "names[index]", "[see page 3]", "[未闭合]", "[A] b", "<",
    "[", "<>", "[]", "< >", "<b>bold</b>", "<br/>", "[unclosed", "<unclosed", "a\\b", "<5>", "//",
],
)  # fmt: skip
def test_what_is_not_markup_is_text(text):
    assert marks(text) == [("text", text)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ok [FOO]", r"unknown tag \[FOO\] at character 3.*\[CLEARS THROAT\], \[LAUGHS\], \[S1\], \[S2\].*\\\[FOO\]"),
        ("[laughs]", r"did you mean \[LAUGHS\]"),
        ("[LAUGH]", r"did you mean \[LAUGHS\]"),
        ("[S3]", r"unknown tag \[S3\]"),
        ("[pause]", "write a pause like"),
        ("[pause 0s]", "longer than zero"),
        ("[pause 60.1s]", "at most 60 seconds"),
        ("[pause 100s]", "at most 60 seconds"),
        ("<hao>", "'hao' is not a pinyin syllable with a tone number"),
        ("<hǎo>", "tone number"),
        ("<hao6>", "tone number"),
        ("<h1>", r"write \\<h1>"),
    ],
)
def test_mistyped_marks_are_errors(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text, TAGS)


def test_without_tags_of_its_own_a_model_knows_none():
    with pytest.raises(ValueError, match="this model has no tags"):
        parse("[S1] hello")


@given(st.text(alphabet=st.sampled_from(list("<>[]/\\aS1 ni3pause.s\n中")), max_size=60))
def test_escaped_text_has_no_marks(text):
    elements = parse(escape(text), TAGS)
    assert {element.kind for element in elements} <= {"text"}
    assert "".join(element.content for element in elements) == text


@given(st.text(alphabet=st.sampled_from(list("<>[]/aS12 ni3pause.s\n中")), max_size=60))
def test_text_is_neither_lost_nor_reordered(text):
    try:
        elements = parse(text, TAGS)
    except ValueError:
        return
    position = 0
    for element in elements:
        assert element.start >= position
        if element.kind == "text":
            assert text[element.start : element.start + len(element.content)] == element.content
        position = element.start + 1


@given(st.floats(0.001, 60))
def test_pause_tokens(seconds):
    assert pause_seconds(pause_token(seconds)) == pytest.approx(seconds, rel=1e-5)
    assert pause_seconds("[S1]") is None
