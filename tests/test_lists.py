# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from zipvoice.utterances import Utterance, read_list

HELLO = [Utterance("0001", "Hello there."), Utterance("0002", "Good, bye; now")]


def listed(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    return list(read_list(tmp_path / name).values())


@pytest.mark.parametrize("name", ["list.txt", "list", "list.lst"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_text_per_line_is_a_list(tmp_path, name, newline):
    assert listed(tmp_path, name, "\ufeffHello there.\n\nGood, bye; now\n".replace("\n", newline)) == HELLO


@pytest.mark.parametrize("name", ["list.txt", "list.tsv"])
def test_an_id_and_a_text_with_a_tab_between_are_a_list(tmp_path, name):
    assert listed(tmp_path, name, "a\tHello.\nb\tBye.\n") == [Utterance("a", "Hello."), Utterance("b", "Bye.")]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.csv", 'text\nHello there.\n"Good, bye; now"\n'),
        ("l.csv", 'id,text\n0001,Hello there.\n\n0002,"Good, bye; now"\n'),
        ("l.csv", '\ufeffid;text;speed\r\n0001;Hello there.;\r\n0002;"Good, bye; now";\r\n'),
        ("l.csv", "id\ttext\n0001\tHello there.\n0002\tGood, bye; now\n"),
        ("l.tsv", "text\tid\nHello there.\t0001\nGood, bye; now\t0002\n"),
    ],
)
def test_a_table_whose_first_line_names_its_columns_is_a_list(tmp_path, name, content):
    assert listed(tmp_path, name, content) == HELLO


def test_a_table_holds_all_that_json_lines_hold(tmp_path):
    rows = [
        {"id": "a", "text": 'Say "hi",\nthen go.', "voice": "me", "speed": 1.5, "seed": 7, "language_id": "en"},
        {"id": "b", "text": "Hi.", "ref_audio": "me.wav", "ref_text": "I said.", "duration": 2.0},
    ]
    table = (
        "id,text,voice,ref_audio,ref_text,speed,seed,duration,language_id\n"
        'a,"Say ""hi"",\nthen go.",me,,,1.5,7,,en\n'
        "b,Hi.,,me.wav,I said.,,,2,\n"
    )
    lines = listed(tmp_path, "l.jsonl", "\n".join(map(json.dumps, rows)))
    assert listed(tmp_path, "l.csv", table) == lines
    assert list(read_list(tmp_path / "l.csv")) == [2, 4], "the lines on which rows begin"


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_marks_that_end_lines_only_for_python_are_text(tmp_path, mark):
    row = json.dumps({"id": "a", "text": f"one{mark}two"}, ensure_ascii=mark < " ")
    assert listed(tmp_path, "l.jsonl", row) == [Utterance("a", f"one{mark}two")]
    assert listed(tmp_path, "l.tsv", f"a\tone{mark}two\n") == [Utterance("a", f"one{mark}two")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "a,Hello.\n", "line 1: the first line of a table names its columns, among them text"),
        ("l.csv", "id,text,sped\na,Hello.,2\n", "line 1: the column 'sped' is not known; did you mean 'speed'"),
        ("l.csv", "id,text,id\na,Hello.,2\n", "line 1: the column 'id' stands there twice"),
        ("l.csv", "id,text\na,Hello, you.\n", r"line 2: it has 3 cell\(s\) and the first line 2"),
        ("l.csv", "id,text,speed\na,Hello.,fast\n", "line 2: speed must be a number, not 'fast'"),
        ("l.csv", "id,text,speed\na,Hello.,nan\n", "line 2: speed must be above 0"),
        ("l.csv", 'id,text\na,"Hello.\n', "line 2: it is no row of a table"),
        ("l.csv", "id,text\na,\n", "line 2: the text is empty"),
        ("l.txt", "a\tHello.\nBye.\n", r"line 2: it has 1 column\(s\)"),
    ],
)
def test_a_bad_line_of_a_table_is_named(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        listed(tmp_path, name, content)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "half \ud83d of it"}, "the text has half of a character"),
        ({"ref_audio": "a.wav", "ref_text": ["a", "b"]}, "ref_audio and ref_text must both be one, or both be two"),
        (
            {"ref_audio": 3 * ["a.wav"], "ref_text": 3 * ["a"]},
            "ref_audio and ref_text must both be one, or both be two",
        ),
        ({"ref_audio": ["a.wav", "b.wav"], "ref_text": "a"}, "ref_audio and ref_text must both be one, or both be two"),
        ({"voice": "me", "ref_text": "a"}, "give voice, or ref_audio and ref_text, not both"),
        ({"ref_text": "a"}, "the key 'ref_audio' is missing"),
        ({"ref_audio": "a.wav"}, "the key 'ref_text' is missing"),
    ],
)
def test_what_cannot_be_spoken_together_is_named(tmp_path, row, message):
    with pytest.raises(ValueError, match=f"line 1: {message}"):
        listed(tmp_path, "l.jsonl", json.dumps({"id": "a", "text": "Hello.", **row}))


# ---------------------------------------------------------------- names of files


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a\u200b", "invisible character U\\+200B"),
        ("a\u202eb", "invisible character U\\+202E"),
        ("a\x07", "invisible character U\\+0007"),
        ("a\x7f", "invisible character U\\+007F"),
        ("CON", "Windows reserves it"),
        ("nul.txt", "Windows reserves it"),
        ("com1", "Windows reserves it"),
        ("a/b", "it has '/'"),
        ("a:b", "it has ':'"),
        (".a", "begins with a dot"),
        (" a", "space at an end"),
        ("a ", "space at an end"),
        ("", "empty"),
        ("é" * 101, "longer than 200 bytes"),
        ("\ud800", "invisible character U\\+D800"),
    ],
)
def test_what_no_file_can_be_called_everywhere_is_refused(tmp_path, name, reason):
    with pytest.raises(ValueError, match=f"line 1: .* cannot be the name of a file: .*{reason}"):
        listed(tmp_path, "l.jsonl", json.dumps({"id": name, "text": "Hello."}))


@pytest.mark.parametrize("name", ["console", "com10", "a.b", "你好", "Übung 1", "नमस्\u200dते", "a" * 200])
def test_other_names_are_taken(tmp_path, name):
    assert listed(tmp_path, "l.jsonl", json.dumps({"id": name, "text": "Hello."}))[0].id == name


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a"), ("Ab", "aB"), ("é", "e\u0301"), ("É", "e\u0301"), ("ß", "SS")]
)
def test_names_that_some_file_systems_do_not_tell_apart_are_refused(tmp_path, first, second):
    rows = [json.dumps({"id": name, "text": "Hello."}) for name in (first, second)]
    with pytest.raises(ValueError, match=r"line 2: the id .* that of line 1 already"):
        listed(tmp_path, "l.jsonl", "\n".join(rows))
