# SPDX-License-Identifier: Apache-2.0
"""The English table of readings, and how a reading is explained."""

import json
import time
from pathlib import Path

import pytest
from reading_table import is_right, readings, rows, verdicts, words

from zipvoice.config.text import TokenizerConfig
from zipvoice.text.explain import explanations, inspect_text, render, to_json
from zipvoice.text.g2p.espeak import phonemes
from zipvoice.text.normalizer.english.letters import for_the_engine
from zipvoice.text.normalizer.english.reader import readings as english_readings
from zipvoice.text.normalizer.english.reader import spoken
from zipvoice.text.normalizer.markdown import FILLER, plain, unmarked
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer


def sound(text):
    return phonemes(for_the_engine(text), "en-us")


def ours(text):
    return "".join(piece.text for piece in build_tokenizer(TokenizerConfig("emilia")).pieces(text))


@pytest.mark.parametrize("part", ["tuned", "held_out"])
def test_sentences_of_the_table(part):
    wrong = {row.text: said for row, said, right in verdicts(rows("reading_en.json", part), ours, sound) if not right}
    assert wrong == {}


def test_the_table_is_wide():
    table = [*rows("reading_en.json", "tuned"), *rows("reading_en.json", "held_out")]
    assert len({row.text for row in table}) > 700
    assert len({row.kind for row in table}) > 30


def test_what_counts_as_right():
    assert list(readings("{a|b} c{|d}")) == ["a c", "a cd", "b c", "b cd"]
    assert words("At 9 PM, Two-hundred and five!") == "at 9 p m two hundred 5".replace("5", "five")
    row = rows("reading_en.json", "tuned")[0]
    assert is_right(row, row.read, sound)
    assert not is_right(row, "something else", sound)


def test_an_explanation_names_the_rule():
    text = "On Dec. 25, $1-2 million."
    inspection = inspect_text(text, build_tokenizer(TokenizerConfig("emilia")))
    found = [explanation for piece in inspection.pieces for explanation in explanations(piece)]
    assert [(e.rule, e.written, e.spoken) for e in found] == [
        ("date", "Dec. 25", "December twenty-fifth"),
        ("range", "$1-2 million", "one to two million dollars"),
    ]
    assert "range: '$1-2 million' -> 'one to two million dollars'" in render(inspection, explain=True)
    assert "range" not in render(inspection)


def test_an_inspection_shows_ids_and_what_has_none():
    tokenizer = build_tokenizer(TokenizerConfig("simple"))
    inspection = inspect_text("a b", tokenizer, TokenTable(("_", "a", " ")))
    assert render(inspection).splitlines() == [
        "text    a b",
        "spoken  a b",
        f"{inspection.pieces[0].kind}  a b",
        f"{' ' * len(inspection.pieces[0].kind)}  a ␣ >b<",
        "ids     1 2 -",
        "unknown b",
    ]
    assert to_json(inspection)["ids"] == [1, 2, None] and to_json(inspection)["unknown"] == ["b"]
    assert "ids" not in render(inspect_text("a b", tokenizer))


def test_characters_by_name_are_themselves():
    named = "&amp; a&nbsp;b &quot; &#39; &apos; &mdash; &ndash; &hellip;"
    assert plain(named).split() == ["&", "a", "b", '"', "'", "'", "—", "–", "…"]


@pytest.mark.parametrize("text", [row.text for row in rows("reading_en.json", "tuned")][::7])
def test_readings_lie_side_by_side(text):
    """Each reading begins where the one before has ended, or later; nothing is read twice."""
    end = 0
    for reading in english_readings(text):
        assert end <= reading.start < reading.end <= len(text)
        end = reading.end


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**Bold**, _it_ and `code`.", "Bold, it and code."),
        ("# Title\n\nText", "Title. Text"),
        ("- one\n- two", "one,two"),
        ("[the docs](https://x.org/a) say", "the docs say"),
        ("He left.[12] So", "He left. So"),
        ("x[1] = a * b", "x[one] equals a times b"),
        ("<i>Run!</i>", "Run!"),
        ("a < b > c", "a less than b greater than c"),
    ],
)
def test_marks_that_are_seen_and_not_heard(text, expected):
    assert " ".join(ours(text).split()) == expected


def test_each_mark_beside_what_is_none():
    """Marks of Markdown, HTML, subtitles and books: those of any text, and those of files only."""
    table = json.loads((Path(__file__).parent / "data/text/marks.json").read_text(encoding="utf-8"))
    assert [[text, unmarked(text).replace(FILLER, "")] for text, _ in table["always"]] == table["always"]
    assert all(len(unmarked(text)) == len(text) for text, _ in table["always"])
    assert [[text, plain(text)] for text, _ in table["files"]] == table["files"]
    tags = "i b u s em strong font br p span sup sub h1 h6 li ul ol div code pre a img small center blockquote hr"
    for tag in tags.split():
        assert unmarked(f"<{tag}>x</{tag}>").replace(FILLER, "") == "x"


def test_markdown_leaves_out_what_could_be_meant_otherwise():
    text = "See:\n```python\nx = 1\n```\nEinstein[3] said so. <!-- not this -->"
    markdown = build_tokenizer(TokenizerConfig("emilia", markdown=True))
    assert " ".join("".join(p.text for p in markdown.pieces(text)).split()) == "See: Einstein said so."
    assert "three" in ours(text)


def test_a_whole_markdown_file():
    """Paragraphs keep their ends; a block that is left out leaves no longer pause behind."""
    assert plain("# A\n\nSee [b](c).\n\n```\n\nx\n```\n\n**d**\r\n\n<!--\n\n-->e") == "A\n\nSee b.\n\nd\n\ne"
    assert plain("| a | b |\n|---|:-:|\n| 1 | 2 |").split("\n") == [" a , b ", "", " 1 , 2 "]


@pytest.mark.parametrize("fence", ["```", "~~~~", "    ```"])
def test_blocks_are_left_out_however_long(fence):
    """Code, also in an item of a list, and comments; a shorter or another fence inside is code, one alone is none."""
    code = "\n".join(["x = 1 # " + "y" * 600, "``", "<!--"] * 300)
    other = "~~~" if "`" in fence else "```"
    assert plain(f"One.\n{fence}python\n{code}\n{other}\n{fence}\nTwo.") == "One.\n\nTwo."
    assert plain(f"One.\n<!-- {code} -->\nTwo.") == "One.\n\nTwo."
    assert plain(f"One.\n{fence}\nTwo.") != "One."
    assert build_tokenizer(TokenizerConfig("emilia", markdown=True)).tokens(f"One.\n{fence}\n{code}\n{fence}\n")


def test_blocks_without_an_end_take_linear_time():
    started = time.process_time()
    assert plain("```a\n~~~~b\n<!-- c\n" * 20_000).count("c") == 20_000
    assert time.process_time() - started < 5


def test_errors_show_positions_of_the_text_as_written():
    with pytest.raises(ValueError, match=r"at character 13: \*\*bold\*\* and >П<|at character 13"):
        ours("**bold** and П")


def test_for_characters_letters_stay_as_written():
    assert spoken("GPUs, hm, FAQ.", for_engine=False) == "GPUs, hm, FAQ."
