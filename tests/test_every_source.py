# SPDX-License-Identifier: Apache-2.0
"""Whatever the installed lhotse can open, run or unpickle for a manifest is tried with a harmless marker: none acts.

The kinds are read off lhotse, so that a version that knows more of them fails here until they are looked at. What
begins to run, to connect or to unpickle is held back by `acts`.
"""

import copy
import gzip
import inspect
import io
import json
import re
import tarfile
from pathlib import Path

import pytest

lhotse = pytest.importorskip("lhotse")
from lhotse.audio.source import AudioSource  # noqa: E402
from lhotse.augmentation import AudioTransform  # noqa: E402
from lhotse.features.io import READER_BACKENDS  # noqa: E402
from lhotse.image.io import READER_BACKENDS as IMAGE_BACKENDS  # noqa: E402
from lhotse.serialization import IOBackend  # noqa: E402
from test_sources import CORPUS, every_use  # noqa: E402

from zipvoice.config.data import PrepareOptions  # noqa: E402
from zipvoice.data.manifest import cut_of, description_of  # noqa: E402
from zipvoice.data.prepare import prepare  # noqa: E402
from zipvoice.data.sources import STORED_FILES, TRANSFORMS  # noqa: E402

pytestmark = pytest.mark.usefixtures("acts")
SOUND_KINDS = set(re.findall(r'"(\w+)",?\s', re.search(r"in \((.*?)\)", inspect.getsource(AudioSource), re.S)[1]))
IDENTIFIERS = {
    "BuiltinIOBackend": "{folder}/none",
    "RedirectIOBackend": "-",
    "PipeIOBackend": "pipe:touch {folder}/marker; cat {wav}",
    "GzipIOBackend": "{folder}/none.gz",
    "SmartOpenIOBackend": "s3://127.0.0.1/a",
    "AIStoreIOBackend": "ais://127.0.0.1/a",
    "MSCIOBackend": "msc://127.0.0.1/a",
    "CompositeIOBackend": "http://127.0.0.1:9/a",
    "TarAsDirBackend": "{folder}/a.tar/b",
}
"""What each of lhotse's ways to open a name would take for its own."""


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("prepared")
    made = prepare(PrepareOptions(str(CORPUS / "utterances.tsv"), str(folder), features=True, storage="numpy_files"))
    with gzip.open(made.manifest) as file:
        return json.loads(next(file))


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch, tmp_path):
    """Names without a folder are looked for there, and standard input has something to be read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("read"))


def names(folder: Path, line: dict) -> list[str]:
    words = {"folder": str(folder), "wav": line["recording"]["sources"][0]["source"]}
    return [each.format(**words) for each in IDENTIFIERS.values()]


def changed(line: dict, where: str, value) -> dict:
    """A copy of the line with another value at `where`, keys and numbers with dots between them."""
    new = copy.deepcopy(line)
    *path, last = [int(key) if key.isdigit() else key for key in where.split(".")]
    inner = new
    for key in path:
        inner = inner.setdefault(key, {}) if isinstance(key, str) else inner[key]
    inner[last] = value
    return new


def recordings(line: dict, folder: Path):
    """Recordings whose sound lies anywhere but in a file, and files that are made into something else."""
    for kind in sorted(SOUND_KINDS - {"file"}):
        for name in names(folder, line):
            yield changed(line["recording"], "sources.0", {"type": kind, "channels": [0], "source": name})
    for name in sorted(AudioTransform.KNOWN_TRANSFORMS.keys() - {*TRANSFORMS}):
        rir = changed(line["recording"], "sources.0.type", "command")
        yield changed(line["recording"], "transforms", [{"name": name, "kwargs": {"rir": rir}}])


def stored(line: dict, folder: Path):
    """Arrays, matrices that change with time and pictures in every kind of storage but files."""
    for kind in sorted((READER_BACKENDS.keys() | IMAGE_BACKENDS.keys()) - {*STORED_FILES}):
        for name in names(folder, line):
            place = {"storage_type": kind, "storage_path": name, "storage_key": "a"}
            array = {**place, "shape": [1, 1]}
            yield array
            yield {"array": array, "temporal_dim": 0, "frame_shift": 0.01, "start": 0}
            yield {**place, "width": 1, "height": 1}
            yield {**line["features"], **place}


PLACES = ("custom.any", "supervisions.0.custom.any", "custom.deep", "recording.custom.any", "alignment", "features")


def test_all_that_lhotse_can_open_is_known_here():
    assert {"file", "command", "url", "memory", "shar"} == SOUND_KINDS
    assert IOBackend.KNOWN_BACKENDS.keys() == IDENTIFIERS.keys()
    assert len(READER_BACKENDS) > 10 and len(AudioTransform.KNOWN_TRANSFORMS) > 5


def test_lhotse_itself_would_act(line, acts):
    """The guard is needed: lhotse begins to run what a cut names."""
    source = {"type": "command", "channels": [0], "source": "true"}
    cut = changed(line, "recording.sources.0", source)
    with pytest.raises(AssertionError, match="ran true"):
        lhotse.cut.MonoCut.from_dict({key: value for key, value in cut.items() if key != "type"}).load_audio()
    assert acts == ["ran true"]


def test_every_line_is_refused_before_lhotse_opens_anything(tmp_path, line, acts):
    tried = 0
    for bad in recordings(line, tmp_path):
        for where in ("recording", *PLACES):
            value = [{"er": bad}] if where == "custom.deep" else bad
            with pytest.raises(ValueError):
                cut_of(json.dumps(changed(line, where, value)).encode())
            tried += 1
    for number, bad in enumerate(stored(line, tmp_path)):
        for where in PLACES[number % 2 :: 2]:
            with pytest.raises(ValueError):
                cut_of(json.dumps(changed(line, where, bad)).encode())
            tried += 1
    assert tried > 1000
    assert acts == [] and not (tmp_path / "marker").exists()


def test_every_name_of_a_file_is_only_that(tmp_path, line, acts):
    """A file of sound or features whose name means something to lhotse: it is not there, and nothing else happens."""
    for number, name in enumerate(names(tmp_path, line)):
        fields = {"recording.sources.0.source": name, "features.storage_path": name, "features.storage_key": name}
        bad = line
        for where, value in fields.items():
            bad = changed(bad, where, value)
        for kind in STORED_FILES:
            path = tmp_path / f"{number}.jsonl"
            path.write_text(json.dumps(changed(bad, "features.storage_type", kind)) + "\n")
            for use, call in every_use(path):
                with pytest.raises((ValueError, OSError)):
                    call()
                assert (use, acts) == (use, [])
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("kind", ["recording", "features"])
def test_every_description_in_a_shard_is_refused(tmp_path, line, acts, kind):
    for bad in recordings(line, tmp_path) if kind == "recording" else stored(line, tmp_path):
        with pytest.raises(ValueError):
            description_of(json.dumps({**line[kind], **bad}).encode(), kind)
    assert acts == []


def refusals(folder: Path) -> list[str]:
    """What refuses to use a manifest; shards without sound cannot be heard, whatever else is in them."""
    refused = []
    for name, use in every_use(folder):
        try:
            use()
        except ValueError:
            refused.append(name)
    return refused


@pytest.mark.parametrize("name", ["target.000000.tar", "f0.000000.jsonl"])
def test_other_fields_of_a_shard_are_not_read(tmp_path, line, acts, name):
    """lhotse joins any field of a shard to its cuts, and would open what that names."""
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), features=True, shar=True)
    folder = Path(prepare(options).manifest)
    before = refusals(folder)
    content = json.dumps({"cut_id": "x", "f0": next(recordings(line, tmp_path))}).encode() + b"\n"
    if name.endswith(".jsonl"):
        (folder / name).write_bytes(content)
    else:
        with tarfile.open(folder / name, "w") as tar:
            for member in ("x.pkl", "x.json"):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert refusals(folder) == before
    assert acts == [] and not (tmp_path / "marker").exists()


@pytest.mark.parametrize("suffix", [".pkl", ".json", ""])
def test_data_of_another_kind_in_a_shard_are_not_unpickled(tmp_path, acts, suffix):
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), features=True, shar=True)
    folder = Path(prepare(options).manifest)
    path = next(folder.glob("features.*.tar"))
    with tarfile.open(path) as old:
        members = [(member.name, old.extractfile(member).read()) for member in old]
    with tarfile.open(path, "w") as new:
        for name, data in members:
            info = tarfile.TarInfo(name if name.endswith(".json") else str(Path(name).with_suffix("")) + suffix)
            info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    assert {"training on features", "validation"} <= set(refusals(folder))
    assert acts == []
