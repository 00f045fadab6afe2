# SPDX-License-Identifier: Apache-2.0
"""A manifest is data: whatever it names as a source, nothing but files and shards is opened, and nothing is run.

What begins to run, to connect or to unpickle is held back by `acts`.
"""

import gzip
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from zipvoice.config.data import CheckOptions, DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.vocoder import VocoderRunConfig
from zipvoice.text.token_table import TokenTable
from zipvoice.text.tokenizers import build_tokenizer

lhotse = pytest.importorskip("lhotse")
from lhotse.features.io import READER_BACKENDS  # noqa: E402

from zipvoice.data.cuts import load_audio, load_features, read_cuts  # noqa: E402
from zipvoice.data.dataset import TrainingData, ValidationData  # noqa: E402
from zipvoice.data.prepare import prepare  # noqa: E402
from zipvoice.data.segments import Segments  # noqa: E402
from zipvoice.data.validation.stats import measure_corpus  # noqa: E402

pytestmark = pytest.mark.usefixtures("acts")
CORPUS = Path(__file__).parent / "data" / "corpus"
TABLE = TokenTable(("_", *sorted(set(" ',.ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))))
TOUCH = "touch {marker}; cat {wav}"
"""A command that would leave a mark."""


@pytest.fixture(scope="module")
def lines(tmp_path_factory) -> list[dict]:
    """The lines of a manifest with sound and features in files."""
    folder = tmp_path_factory.mktemp("prepared")
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(folder), features=True, storage="numpy_files")
    return [json.loads(line) for line in gzip.open(prepare(options).manifest)]


@pytest.fixture
def names(tmp_path, lines) -> dict[str, str]:
    return {"marker": str(tmp_path / "marker"), "wav": lines[0]["recording"]["sources"][0]["source"]}


def source(kind: str, name: str, names: dict[str, str]) -> dict:
    return {"type": kind, "channels": [0], "source": name.format(**names)}


def stored(line: dict, kind: str, path: str, names: dict[str, str], key: str = "a") -> dict:
    return {**line["features"], "storage_type": kind, "storage_path": path.format(**names), "storage_key": key}


SOURCES = [
    ("command", TOUCH),
    ("url", "pipe:" + TOUCH),
    ("url", "http://127.0.0.1:9/a.wav"),
    ("url", "file://{wav}"),
    ("memory", "{wav}"),
    ("shar", "0:100:.wav:{wav}"),
    ("ftp", "{wav}"),
    ("file", ""),
]
"""Sound that is not in a file."""
PATHS = ["pipe:" + TOUCH, "-", "http://127.0.0.1:9/a", "|" + TOUCH, "$(" + TOUCH + ")", "/dev/stdin", "/dev/null"]
"""What lhotse, soundfile or a shell may take for something else than a path."""
STORED = [*sorted(READER_BACKENDS.keys() - {"lilcom_chunky", "lilcom_files", "numpy_files", "shar"}), "lilcom_net"]
"""Features that are not in files."""


def every_use(path: Path):
    """Whatever reads a manifest: a name, and a call that reads all of it, its sound and its features."""
    tokenizer = build_tokenizer(TokenizerConfig("simple"))
    one = (ManifestConfig(str(path)),)
    settings = {"min_len": 0.1, "num_workers": 0}
    mixture = (ManifestConfig(str(CORPUS / "none.jsonl")), ManifestConfig(str(path), replay=0.5))

    def trained(config: DataConfig):
        data = TrainingData(config, TABLE, tokenizer, seed=0)
        while data.epoch == 0:
            next(data)

    yield "check", lambda: raise_faults(measure_corpus(CheckOptions(str(path))))
    yield "prepare", lambda: prepare(PrepareOptions(str(path), str(path.parent / "out"), features=True))
    yield "training", lambda: trained(DataConfig(one, on_the_fly=True, **settings))
    yield "training on features", lambda: trained(DataConfig(one, **settings))
    yield "validation", lambda: list(ValidationData(DataConfig(dev=one, **settings), TABLE, tokenizer))
    yield "replay", lambda: trained(DataConfig((*one, *mixture[1:]), **settings))
    yield "vocoder", lambda: next(Segments(VocoderRunConfig(train=(str(path),), num_workers=0)).batches(0))
    yield "reading", lambda: [(load_audio(cut), load_features(cut, 100)) for cut in read_cuts(path)]


def raise_faults(corpus) -> None:
    unheard = [utterance.sound_fault for utterance in corpus.utterances if utterance.sound_fault]
    if corpus.bad_rows or unheard:
        raise ValueError("\n".join([*corpus.bad_rows, *unheard]))


def refused(folder: Path, lines: list[dict], *told: str, only: tuple[str, ...] = ()) -> None:
    """Every use of a manifest with this second line fails with an error that tells this, and leaves no mark."""
    path = folder / "cuts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for name, use in every_use(path):
        if only and name not in only:
            continue
        with pytest.raises(ValueError) as error:
            use()
        assert not (folder / "marker").exists(), name
        for part in told:
            assert part in str(error.value), (name, str(error.value))


def test_files_are_sources(tmp_path, lines):
    path = tmp_path / "cuts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for _, use in every_use(path):
        use()


@pytest.mark.parametrize(("kind", "name"), SOURCES)
def test_sound_is_in_files(tmp_path, lines, names, kind, name):
    bad = {**lines[1], "recording": {**lines[1]["recording"], "sources": [source(kind, name, names)]}}
    shown = repr(name.format(**names))[:20]
    refused(tmp_path, [lines[0], bad], "cuts.jsonl:2: ", f"'{kind}'", shown, "only files, and folders of shards")


@pytest.mark.parametrize("kind", STORED)
@pytest.mark.parametrize("path", ["pipe:" + TOUCH, "{wav}"])
def test_features_are_in_files(tmp_path, lines, names, kind, path):
    bad = {**lines[1], "features": stored(lines[1], kind, path, names)}
    refused(tmp_path, [lines[0], bad], "cuts.jsonl:2: features is stored as", repr(kind), "only files, and folders")


@pytest.mark.parametrize("name", PATHS)
def test_a_path_is_nothing_but_a_path(tmp_path, lines, names, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bad = {**lines[1], "recording": {**lines[1]["recording"], "sources": [source("file", name, names)]}}
    listening = ("check", "prepare", "training", "vocoder", "reading")
    refused(tmp_path, [lines[0], bad], name.format(**names)[:8], only=listening)
    for kind in ("lilcom_chunky", "lilcom_files", "numpy_files"):
        bad = {**lines[1], "features": stored(lines[1], kind, name, names)}
        refused(tmp_path, [lines[0], bad], name.format(**names)[:8], only=("training on features", "validation"))


def test_a_named_pipe_is_no_file(tmp_path, lines, names):
    os.mkfifo(tmp_path / "pipe.wav")
    bad = {**lines[1], "recording": {**lines[1]["recording"], "sources": [source("file", "pipe.wav", names)]}}
    bad["recording"]["sources"][0]["source"] = str(tmp_path / "pipe.wav")
    refused(tmp_path, [lines[0], bad], "pipe.wav is not a file", only=("check", "prepare", "training", "reading"))


def custom(names: dict[str, str], line: dict) -> list[dict]:
    """Custom fields that lhotse makes recordings and arrays of."""
    recording = {**line["recording"], "sources": [source("command", TOUCH, names)]}
    array = {"storage_type": "numpy_hdf5", "storage_path": "pipe:" + names["marker"], "storage_key": "a", "shape": [1]}
    temporal = {"array": array, "temporal_dim": 0, "frame_shift": 0.01, "start": 0}
    image = {"storage_type": "pillow_files", "storage_path": names["wav"], "storage_key": "a", "width": 1, "height": 1}
    return [{"other": recording}, {"f0": array}, {"f0": temporal}, {"face": image}, {"deep": [{"er": recording}]}]


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("owner", ["cut", "supervision"])
def test_custom_fields_are_looked_at(tmp_path, lines, names, number, owner):
    fields = custom(names, lines[1])[number]
    if owner == "cut":
        bad = {**lines[1], "custom": fields}
    else:
        bad = {**lines[1], "supervisions": [{**lines[1]["supervisions"][0], "custom": fields}]}
    refused(tmp_path, [lines[0], bad], "cuts.jsonl:2: ", "only files, and folders of shards")


def test_mixed_cuts_and_transforms_are_looked_at(tmp_path, lines, names):
    inner = {**lines[1], "recording": {**lines[1]["recording"], "sources": [source("command", TOUCH, names)]}}
    mixed = {"id": "m", "type": "MixedCut", "tracks": [{"cut": inner, "type": "MonoCut", "offset": 0.0}]}
    refused(tmp_path, [lines[0], mixed], "cuts.jsonl:2: tracks[0].cut.recording.sources[0]: ", "'command'")
    for transform in (
        {"name": "ReverbWithImpulseResponse", "kwargs": {"rir": inner["recording"]}},
        {"name": "Speed", "kwargs": {"factor": 1.1}},
    ):
        bad = {**lines[1], "recording": {**lines[1]["recording"], "transforms": [transform]}}
        refused(tmp_path, [lines[0], bad], "cuts.jsonl:2: ", f"transformed by {transform['name']!r}")


# ---------------------------------------------------------------- shards and paths of manifests


@pytest.mark.parametrize("features", [True, False])
@pytest.mark.parametrize("kind", ["command", "file", "url", "memory"])
def test_a_shard_holds_its_own_data(tmp_path, names, features, kind):
    options = PrepareOptions(str(CORPUS / "utterances.tsv"), str(tmp_path), features=features, storage="numpy_files")
    folder = Path(prepare(PrepareOptions(**{**options.__dict__, "shar": True})).manifest)
    content = next(folder.glob("*.tar"))
    described: dict = {"storage_type": kind, "storage_path": TOUCH.format(**names), "storage_key": "a"}
    if not features:
        described = {"sources": [source(kind, TOUCH, names)]}
    rewrite(content, described)
    for _, use in every_use(folder):
        with pytest.raises(ValueError):
            use()
        assert not Path(names["marker"]).exists()
    with pytest.raises(
        ValueError, match=rf"{content.name}:.*\.json: .*'{kind}'.*(only files, and folders of|must be in the) shard"
    ):
        list(read_cuts(folder))


def rewrite(tar: Path, changed: dict) -> None:
    """Change what the second description in a shard says."""
    with tarfile.open(tar) as old:
        members = [(member.name, old.extractfile(member).read()) for member in old]
    with tarfile.open(tar, "w") as new:
        for number, (name, data) in enumerate(members):
            if number == 3:
                data = json.dumps({**json.loads(data), **changed}).encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("name", ["pipe:touch marker", "-", "http://127.0.0.1:9/cuts.jsonl", "ais://b/cuts.jsonl"])
def test_the_path_of_a_manifest_is_nothing_but_a_path(tmp_path, lines, monkeypatch, name):
    """Where there is no such file it is an error; where there is one it is read."""
    monkeypatch.chdir(tmp_path)
    for _, use in every_use(Path(name)):
        with pytest.raises(ValueError, match="there is no "):
            use()
    if "/" not in name:
        Path(name).write_text(json.dumps(lines[0]) + "\n")
        assert [cut.id for cut in read_cuts(name)] == [lines[0]["id"]]
    assert not Path("marker").exists()


def test_a_manifest_that_breaks_off_is_told_with_its_line(tmp_path, lines):
    path = tmp_path / "cuts.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"cuts\.jsonl\.gz:\d: the file breaks off or is damaged .* copy it again"):
        list(read_cuts(path))
    shutil.rmtree(tmp_path)
