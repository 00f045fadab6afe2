# SPDX-License-Identifier: Apache-2.0
"""Manifests with any damage: what reads them says which file and line, or reads them as they are."""

import copy
import gzip
import json
import math
import re
from pathlib import Path
from random import Random

import pytest

from zipvoice.config.data import PrepareOptions

lhotse = pytest.importorskip("lhotse")
from zipvoice.data import schema  # noqa: E402
from zipvoice.data.corpus_list import checked_cuts  # noqa: E402
from zipvoice.data.cuts import load_audio, load_features, read_cuts  # noqa: E402
from zipvoice.data.prepare import prepare  # noqa: E402
from zipvoice.data.validation.stats import measure  # noqa: E402

CORPUS = Path(__file__).parent / "data" / "corpus"
ODD_VALUES = (None, True, -1, 0, 1e300, 10**400, "", "x", "\ud800", "\0", [], [[]], {}, [None], {"a": 1}, float("nan"))


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("prepared")
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(folder), features=True, storage="numpy_files")
    return gzip.open(prepare(options).manifest).read().splitlines(keepends=True)[:3]


def places(content, path=()):
    """The way to each value in JSON content."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def changed(line: bytes, rng: Random) -> bytes:
    """The line with one value changed, left out, or written twice."""
    content = copy.deepcopy(json.loads(line))
    *path, last = rng.choice(list(places(content)))
    owner = content
    for key in path:
        owner = owner[key]
    how = rng.choice(["change", "change", "change", "leave out", "twice", "digits"])
    if how == "leave out":
        del owner[last]
    elif how == "change":
        owner[last] = rng.choice(ODD_VALUES)
    elif how == "twice":
        text = json.dumps(last)
        return line.replace(f"{text}: ".encode(), f"{text}: 1, {text}: ".encode(), 1)
    else:
        return re.sub(rb"\d+", b"9" * rng.choice([20, 400, 5000]), line, count=rng.randrange(1, 4))
    return json.dumps(content).encode() + b"\n"


def damaged(lines: list[bytes], rng: Random) -> bytes:
    """A manifest with damage in its second line, or from there on."""
    first, second, third = lines
    how = rng.choice(["bit", "cut off", "bytes", "deep", "fields", "fields", "fields", "fields"])
    if how == "fields":
        second = changed(second, rng)
    elif how == "cut off":
        second, third = second[: rng.randrange(1, len(second) - 1)], b""
    elif how == "deep":
        second = b'{"id": ' + b"[" * rng.choice([10, 100_000]) + b"\n"
    else:
        place, length = rng.randrange(len(second) - 1), 1 if how == "bit" else 30
        flipped = bytes(rng.choice([byte ^ 1 << rng.randrange(7), 0xFF]) for byte in second[place : place + length])
        second = second[:place] + flipped.replace(b"\n", b" ") + second[place + length :]
    return first + second + third


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_any_damage_is_told_with_file_and_line(tmp_path, lines, suffix):
    rng, refused = Random(14), 0
    for number in range(150):
        path = tmp_path / f"cuts{number}{suffix}"
        content = damaged(lines, rng)
        if suffix == ".jsonl.gz":
            content = gzip.compress(content, mtime=0)
            if number % 5 == 0:
                content = content[: rng.randrange(1, len(content))]
            elif number % 5 == 1:
                place = rng.randrange(10, len(content))
                content = content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        path.write_bytes(content)
        refused += told(path)
    assert 75 < refused < 150


def told(path: Path) -> bool:
    """Whether reading fails, and then with nothing but errors that name file and line, or what the line names."""
    try:
        checked = checked_cuts(str(path))
        for fault in checked.faults:
            assert re.match(rf"{re.escape(str(path))}:\d+: ", fault), fault
        for place, cut in checked.good:
            if place.endswith(":2"):
                measure(cut, None, None)
    except ValueError as error:
        assert re.match(rf"{re.escape(str(path))}:\d+: ", str(error)), error
    try:
        cuts = list(read_cuts(path))
    except ValueError as error:
        assert re.match(rf"{re.escape(str(path))}:\d+: ", str(error)), error
        return True
    for cut in cuts[1:2]:
        for load in (load_audio, lambda cut: load_features(cut, 100)):
            try:
                load(cut)
            except ValueError as error:
                files = [str(source.source) for source in cut.recording.sources] if cut.has_recording else []
                named = (repr(cut.id), "/", "transformed", *(f"file {file}" for file in files))
                assert any(name in str(error) for name in named), error
    return False


def test_half_of_a_character_is_no_text_of_a_manifest(tmp_path):
    line = {"id": "a", "start": 0, "duration": 1, "channel": 0, "supervisions": [], "type": "MonoCut", "custom": {}}
    (tmp_path / "cuts.jsonl").write_text(json.dumps({**line, "custom": {"said": "\ud800"}}) + "\n")
    with pytest.raises(ValueError, match="half of a surrogate pair"):
        list(read_cuts(tmp_path / "cuts.jsonl"))


@pytest.mark.parametrize(
    ("kind", "held", "not_held"),
    [
        (schema.TIME, (-1e7, 0, 0.5), (math.nan, math.inf, True, "1", None)),
        (schema.START, (0, 1e-9), (-1e-9, math.inf)),
        (schema.LENGTH, (1e-9, 1), (0, -1)),
        (schema.COUNT, (1, 2**40), (0, 1.0, True, 2**40 + 1)),
        (schema.CHANNEL, (0, 1000, [0, 1]), (-1, 1001, [0, 1001], "0")),
        (schema.NAME, ("a",), ("", "a\0", 1)),
    ],
)
def test_values_of_a_manifest_have_their_limits(kind, held, not_held):
    assert all(map(kind.holds, held)) and not any(map(kind.holds, not_held))
