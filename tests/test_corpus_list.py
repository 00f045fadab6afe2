# SPDX-License-Identifier: Apache-2.0
"""What lists of utterances say, in TSV and in JSON lines."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import dictionaries, floats, integers, none, one_of, sampled_from, text

from zipvoice.data.corpus_list import KEYS, Row, parsed_row, row

lhotse = pytest.importorskip("lhotse")
from zipvoice.data.corpus_list import checked_cuts  # noqa: E402
from zipvoice.data.cuts import load_audio  # noqa: E402


@pytest.fixture
def folder(tmp_path) -> Path:
    """With left.wav and right.wav of 1 s, two different constants, and short.wav."""
    for name, value, seconds in (("left", 0.25, 1), ("right", -0.5, 1), ("short", 0.25, 0.5)):
        soundfile.write(tmp_path / f"{name}.wav", np.full(round(24000 * seconds), value), 24000)
    return tmp_path


def listed(folder: Path, *rows: dict | str, name: str = "list.jsonl"):
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return checked_cuts(str(folder / name))


def described(checked) -> list[tuple]:
    assert checked.faults == []
    known = [(cut, cut.supervisions[0]) for _, cut in checked.good]
    return [(cut.id, s.text, cut.start, cut.duration, s.speaker, s.language) for cut, s in known]


def test_json_lines_and_tsv_say_the_same(folder):
    rows = [
        {"id": "a", "text": "one_two", "audio": "left.wav"},
        {"id": "b", "text": "zwei", "audio": "right.wav", "start": 0.25, "end": 0.75, "speaker": "B", "language": "de"},
        {"id": "c", "text": "three", "audio": "left.wav", "start": 0.5, "end": None, "language": ""},
    ]
    names = ["id", "language", "text", "audio", "start", "end", "speaker"]
    table = ["\t".join(names), *("\t".join(str(row.get(name) or "") for name in names) for row in rows)]
    expected = [
        ("a", "one two", 0, 1, None, None),
        ("b", "zwei", 0.25, 0.5, "B", "de"),
        ("c", "three", 0.5, 0.5, None, None),
    ]
    assert described(listed(folder, *rows)) == expected
    assert described(listed(folder, *table, name="list.tsv")) == expected


def test_the_cuts_of_a_manifest_are_read_at_24_khz(folder):
    soundfile.write(folder / "wide.wav", np.zeros(48000), 48000)
    cut = lhotse.Recording.from_file(folder / "wide.wav").to_cut()
    cut.supervisions = [lhotse.SupervisionSegment("s", cut.recording_id, 0, 1, text="x")]
    ((_, found),) = listed(folder, json.dumps(cut.to_dict())).good
    assert (found.sampling_rate, found.num_samples, load_audio(found).samples.shape) == (24000, 24000, (1, 24000))


def test_two_files_are_two_channels(folder):
    ((_, cut),) = listed(folder, {"id": "d", "text": "x", "left": "left.wav", "right": "right.wav", "start": 0.5}).good
    samples = load_audio(cut).samples
    np.testing.assert_array_equal(samples, np.repeat([[0.25], [-0.5]], 12000, axis=1))
    np.testing.assert_array_equal(cut.load_audio(), samples)  # lhotse reads the same


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "not valid JSON: "),
        ("[1]", "expected an object with the keys id, text, audio"),
        ({"id": "u", "text": "t", "adio": "left.wav"}, "unknown key 'adio'; did you mean 'audio'?"),
        ({"id": 5, "text": "t", "audio": "left.wav"}, "the id must be text, found 5"),
        ({"id": "u", "text": "t"}, "the audio file is missing"),
        ({"id": "u", "text": " ", "audio": "left.wav"}, "the text is empty"),
        ({"id": "u", "text": "t", "left": "left.wav"}, "the right is missing"),
        (
            {"id": "u", "text": "t", "audio": "a", "left": "b", "right": "c"},
            "left and right, the files of two speakers",
        ),
        ({"id": "u", "text": "t", "audio": "left.wav", "start": True}, "the start must be seconds, found True"),
        ({"id": "u", "text": "t", "audio": "left.wav", "end": 10**400}, "not valid JSON: a number of 401 digits"),
        (
            {"id": "u", "text": "t", "audio": "left.wav", "start": 1.5},
            "the segment starts at 1.5 s, but left.wav ends at",
        ),
        ({"id": "u", "text": "t", "audio": "left.wav", "end": float("nan")}, "not valid JSON: NaN is not a number"),
        (
            {"id": "u", "text": "t", "audio": "left.wav", "end": float("inf")},
            "not valid JSON: Infinity is not a number",
        ),
        ({"id": "u", "text": "half \ud800", "audio": "left.wav"}, "the text holds half of a surrogate pair"),
        ({"id": "u", "text": "t", "left": "left.wav", "right": "short.wav"}, "must have the same length"),
    ],
)
def test_a_bad_row_is_told_with_its_line(folder, row, message):
    checked = listed(folder, {"id": "good", "text": "t", "audio": "left.wav"}, "", row)
    assert [cut.id for _, cut in checked.good] == ["good"]
    (fault,) = checked.faults
    assert fault.startswith(f"{folder}/list.jsonl:3: ")
    assert message in fault


def test_an_end_that_was_rounded_up_is_that_of_the_file(folder):
    rows = [{"id": str(end), "text": "t", "audio": "left.wav", "start": 0.5, "end": end} for end in (1.009, 1.011)]
    checked = listed(folder, *rows)
    assert [(cut.id, cut.duration) for _, cut in checked.good] == [("1.009", 0.5)]
    assert "the segment ends at 1.011 s, but left.wav ends at 1.000 s" in checked.faults[0]


def test_columns_have_known_names_and_are_all_there(folder):
    with pytest.raises(ValueError, match=r"list\.tsv:1: unknown column 'lang'; did you mean 'language'\?"):
        listed(folder, "id\ttext\taudio\tlang", name="list.tsv")
    with pytest.raises(ValueError, match=r"list\.tsv:1: the column 'text' stands there twice"):
        listed(folder, "id\ttext\taudio\ttext", name="list.tsv")
    checked = listed(folder, "id\ttext\taudio\tlanguage", "u\tt\tleft.wav", name="list.tsv")
    assert checked.faults == [f"{folder}/list.tsv:2: 3 tab-separated columns, but 4 column names"]


VALUES = one_of(text(max_size=8), floats(), integers(), none(), sampled_from(["1", "0.5", "a.wav"]))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(dictionaries(one_of(sampled_from(KEYS), text(max_size=3)), VALUES))
def test_any_keys_and_values_are_a_row_or_an_error(content):
    try:
        found = row(content)
    except ValueError:
        return
    assert set(content) <= set(KEYS)
    assert found.id and found.text and all(found.audio)
    assert 0 <= found.start < (float("inf") if found.end is None else found.end)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(text(max_size=60))
def test_any_line_is_a_row_or_an_error(line):
    try:
        found = parsed_row(("", line.split("\t")))
    except ValueError:
        return
    assert found == Row(found.id, " ".join(found.text.split()), found.audio, found.start, found.end)
    assert len(line.split("\t")) in (3, 5)
