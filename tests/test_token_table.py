# SPDX-License-Identifier: Apache-2.0
import json
import logging
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zipvoice.config.model import Vocabulary
from zipvoice.config.text import TokenizerConfig
from zipvoice.text.g2p.syllables import PINYIN_TOKENS, is_syllable, normal_syllable, syllable_tokens
from zipvoice.text.token_table import TokenTable, is_silent
from zipvoice.text.tokenizers import build_tokenizer
from zipvoice.text.vocabularies import corpus_table, emilia_table, phone_table

DATA = Path(__file__).parent / "data" / "text"
REFERENCE = json.loads((DATA / "token_ids.json").read_text(encoding="utf-8"))
TABLES = [table for table in REFERENCE["ids"] if table["token_file"]]
HAS_ENGINE_OF_REFERENCE = find_spec("piper_phonemize") is not None


@pytest.mark.parametrize("reference", TABLES, ids=lambda r: r["tokenizer"])
def test_ids_of_reference_vectors(reference):
    table = TokenTable.read(DATA / reference["token_file"])
    assert len(table) == reference["vocab_size"]
    assert table.vocabulary == Vocabulary(
        size=reference["vocab_size"],
        pad_id=reference["pad_id"],
        spk_a_id=reference.get("spk_a_id", table.vocabulary.spk_a_id),
        spk_b_id=reference.get("spk_b_id", table.vocabulary.spk_b_id),
    )
    for record in reference["tokens_to_ids"]:
        assert table.ids(record["tokens"], skip_unknown=True) == record["ids"]


@pytest.mark.skipif(not HAS_ENGINE_OF_REFERENCE, reason="other phonemes")
@pytest.mark.parametrize("reference", TABLES, ids=lambda r: r["tokenizer"])
def test_text_to_ids_of_reference_vectors(reference):
    table = TokenTable.read(DATA / reference["token_file"])
    config = TokenizerConfig(reference["tokenizer"], reference["options"].get("lang", "en-us"))
    tokenizer = build_tokenizer(replace(config, compatible=True))
    for record in reference["texts"]:
        if reference["tokenizer"] == "libritts" and not record["text"].isascii():
            continue  # the reference transliterates all scripts
        assert table.ids(tokenizer.tokens(record["text"]), skip_unknown=True) == record["ids"], record["text"]


@pytest.mark.parametrize("table", REFERENCE["tables"], ids=lambda t: t["kind"])
def test_malformed_tables(table):
    if "error" in table["result"] or table["kind"] == "repeated id":
        with pytest.raises(ValueError, match=r"line|missing|twice"):
            TokenTable.parse(table["content"])
    else:
        assert len(TokenTable.parse(table["content"])) == table["result"]["vocab_size"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("_\t0\na\t2\n", "1 is missing"),
        ("_\t0\na\t-1\n", "1 is missing"),
        ("_\t0\n\t1\n", "line 2: the token is empty"),
        ("_\t0\na\tx\n", "line 2: the id 'x' of 'a'"),
        ("_ 0\n", "line 1: expected token, tab and id"),
        ("", "line 1"),
        ("_\t0\t0.1\na\t1\n", "line 2: 'a' has no duration"),
        ("_\t0\t0.1\na\t1\t-1\n", "line 2: 'a' has no duration"),
    ],
)
def test_error_names_the_line(tmp_path, content, message):
    path = tmp_path / "tokens.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        TokenTable.read(path)
    assert str(path) in str(error.value)


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(exclude_characters="\t\n\r", codec="utf-8"), min_size=1), unique=True))
def test_write_then_read(tmp_path_factory, tokens):
    path = tmp_path_factory.mktemp("table") / "tokens.txt"
    table = TokenTable(("_", *(token for token in tokens if token != "_")))
    table.write(path)
    assert TokenTable.read(path) == table


def test_durations_are_a_third_column(tmp_path):
    table = TokenTable(("_", "a", " "), (0.05, 0.125, 0.0301))
    table.write(tmp_path / "tokens.txt")
    assert (tmp_path / "tokens.txt").read_text() == "_\t0\t0.05\na\t1\t0.125\n \t2\t0.0301\n"
    assert TokenTable.read(tmp_path / "tokens.txt") == table
    assert table.vocabulary.durations == (0.05, 0.125, 0.0301)
    assert table.extended(["b", "a"]) == TokenTable(("_", "a", " ", "b"), (0.05, 0.125, 0.0301, 0.05)), "the median"
    assert table != TokenTable(table.tokens)
    with pytest.raises(ValueError, match="1 durations for 2 tokens"):
        TokenTable(("_", "a"), (1.0,))


def test_space_token_and_windows_line_ends(tmp_path):
    path = tmp_path / "tokens.txt"
    path.write_bytes(b"_\t0\r\n \t1\r\na\t2\r\n")
    assert TokenTable.read(path).tokens == ("_", " ", "a")


def test_unknown_tokens_are_an_error_that_shows_them():
    table = TokenTable(("_", "n0", "i2"))
    with pytest.raises(ValueError, match=r"no token for 'x9', 'y9' .first at position 2: n0 i2 >x9< n0 y9"):
        table.ids(["n0", "i2", "x9", "n0", "y9"])


def test_skipped_tokens_are_a_warning(caplog):
    with caplog.at_level(logging.WARNING):
        assert TokenTable(("_", "a")).ids(["a", "b", "a"], skip_unknown=True) == [1, 1]
    assert "'b'" in caplog.text


def test_marks_without_a_sound_are_left_out():
    assert TokenTable(("_", "a")).ids(["《", "a", "》", " ", "“", "—"]) == [1]
    assert not any(map(is_silent, ("%", "@", "€", "5", "é", "+", "😀")))


def test_extended_keeps_ids():
    table = TokenTable(("_", "a")).extended(["a", "[LAUGHS]", "b", "b"])
    assert table.tokens == ("_", "a", "[LAUGHS]", "b")
    assert table.tags == ("[LAUGHS]",)


def test_released_vocabulary():
    table = emilia_table()
    assert len(table) == 360
    assert len(phone_table()) == 159
    known = {"_": 0, " ": 3, "'": 5, "?": 13, "a": 14, "X": 156, "\u031d": 157, "\u030a": 158, "a1": 159, "ê4": 359}
    assert {token: table.ids([token])[0] for token in known} == known
    assert table.tokens[159:] == PINYIN_TOKENS == tuple(sorted(PINYIN_TOKENS))


@pytest.mark.skipif(not HAS_ENGINE_OF_REFERENCE, reason="needs its list of symbols")
def test_symbols_are_those_of_the_phonemizer():
    from piper_phonemize import get_espeak_map

    symbols = sorted(get_espeak_map(), key=get_espeak_map().get)
    assert phone_table().tokens[: len(symbols)] == tuple(symbols)


def test_corpus_table_is_deterministic_and_complete():
    assert corpus_table(["banana", "_cab"]).tokens == ("_", "a", "b", "n", "c")
    assert corpus_table(["_cab", "banana"]).tokens == ("_", "a", "b", "n", "c")
    tokenizer = build_tokenizer(TokenizerConfig("libritts"))
    table = corpus_table(map(tokenizer.tokens, ["Café 7"]))
    assert table.tokens == ("_", "E", " ", "A", "C", "F", "N", "S", "V")


def test_corpus_table_refuses_pauses_and_nothing():
    with pytest.raises(ValueError, match=r"\[pause 1s\]"):
        corpus_table([["a", "[pause 1s]"]])
    with pytest.raises(ValueError, match="no tokens"):
        corpus_table([])


def test_syllables_of_reference_vectors():
    records = json.loads((DATA / "chinese_helpers.json").read_text(encoding="utf-8"))["syllable_parts"]
    for record in records:
        assert syllable_tokens(record["syllable"]) == record["parts"], record["syllable"]


def test_syllables_of_the_vocabulary():
    assert normal_syllable("Lu:4") == normal_syllable("LÜ4") == "lv4"
    assert all(map(is_syllable, ("chang2", "er2", "lv4", "ng5", "hm5", "a1")))
    assert not any(map(is_syllable, ("", "5", "chang", "chang6", "er1", "hello5", "r5", "h1")))
