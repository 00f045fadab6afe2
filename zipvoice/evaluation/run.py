# SPDX-License-Identifier: Apache-2.0
"""Scoring a folder: every recording by every judge, kept line by line, so that a broken run can go on."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zipvoice.audio.files import ENCODINGS, read
from zipvoice.evaluation.provenance import JudgedBy, sha256_of
from zipvoice.evaluation.scores import Expected, FolderScores, Judge, Score, ScoredRecording
from zipvoice.files import write_text

FORMAT = "zipvoice-scores-1"


def score_folder(
    expected: Sequence[Expected], folder: Path, judges: Sequence[Judge], results: Path | None = None
) -> FolderScores:
    """The scores of the recordings of a list in a folder.

    `results` is a file of JSON lines: a line of the judging models, then one for each recording. What it holds already
    is not judged anew if the models, the text and the sound are the same.

    Raises ValueError for an empty list and for a recording that cannot be judged, and FileNotFoundError that names
    recordings that are missing: a mean over those that are there would flatter a model that failed at the rest.

    Example:
        >>> scores = score_folder(expected, Path("results"), [WordErrorJudge(recognizer, find_normalizer("zipvoice"))])
    """
    if not expected:
        raise ValueError("nothing to score: the list is empty")
    paths = find_recordings(expected, folder)
    by = tuple(dict.fromkeys(model for judge in judges for model in judge.by))
    header = {"format": FORMAT, "judges": [type(judge).__name__ for judge in judges], "by": [asdict(m) for m in by]}
    kept = _kept(results, header) if results else {}
    scored = []
    with _Journal(results, header, kept) as journal:
        for item, path in tqdm(zip(expected, paths, strict=True), str(folder), len(paths), disable=None):
            key = _key(item, path)
            line = kept.get(item.name)
            if line is None or line["key"] != key:
                line = {"key": key, **_judged(item, path, judges)}
                journal.add(line)
            scored.append(_recording(line, item, path))
    return FolderScores(folder, tuple(scored), by)


def read_results(path: Path) -> FolderScores:
    """The scores in a file that `score_folder` wrote. Raises ValueError for another file."""
    header, *lines = _lines(path)
    if header.get("format") != FORMAT:
        raise ValueError(f"{path} has no scores: its first line is not that of {FORMAT}")
    by = tuple(JudgedBy(**model) for model in header["by"])
    last = {line["name"]: line for line in lines}
    recordings = tuple(_recording(line, Expected(name, "", (), line["speaker"])) for name, line in last.items())
    return FolderScores(path.with_suffix(""), recordings, by)


def find_recordings(expected: Sequence[Expected], folder: Path) -> list[Path]:
    """The file of each line of the list. Raises FileNotFoundError that names the first that are missing."""
    found = [next((p for s in ENCODINGS if (p := folder / f"{e.name}{s}").is_file()), None) for e in expected]
    missing = [item.name for item, path in zip(expected, found, strict=True) if path is None]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise FileNotFoundError(f"{folder} has no recording of {', '.join(missing[:5])}{more}")
    return [path for path in found if path]


class _Journal:
    """Appends a line as soon as it is known; without a path it keeps nothing."""

    def __init__(self, path: Path | None, header: dict[str, Any], kept: Mapping[str, Any]) -> None:
        self._path, self._start = path, [header, *kept.values()]

    def __enter__(self) -> "_Journal":
        if self._path:
            write_text(self._path, "".join(map(_json_line, self._start)))
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._path:
            self._file.close()

    def add(self, line: Mapping[str, Any]) -> None:
        if self._path:
            self._file.write(_json_line(line))
            self._file.flush()


def _json_line(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False) + "\n"


def _judged(item: Expected, path: Path, judges: Sequence[Judge]) -> dict[str, Any]:
    audio = read(path)
    scores: dict[str, list[float]] = {}
    heard = ""
    for judge in judges:
        try:
            judgement = judge(item, audio)
        except ValueError as error:
            raise ValueError(f"{path} cannot be judged: {error}") from None
        scores |= {row: [score.value, score.weight] for row, score in judgement.scores.items()}
        heard = judgement.heard or heard
    return {
        "name": item.name,
        "speaker": item.speaker,
        "path": str(path),
        "text": item.text,
        "heard": heard,
        "seconds": audio.seconds,
        "scores": scores,
    }


def _recording(line: Mapping[str, Any], item: Expected, path: Path | None = None) -> ScoredRecording:
    scores = {row: Score(*pair) for row, pair in line["scores"].items()}
    return ScoredRecording(item.name, item.speaker, path or Path(line["path"]), line["seconds"], scores, line["heard"])


def _key(item: Expected, path: Path) -> list[Any]:
    """What a score depends on beside the models."""
    return [item.text, [str(prompt) for prompt in item.prompts], sha256_of(path)]


def _kept(path: Path, header: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The lines of an earlier run by the same models, by name."""
    if not path.is_file():
        return {}
    found, *lines = [*_lines(path)] or [{}]
    return {line["name"]: line for line in lines} if found == header else {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file; one that broke off, as the last of a broken run may, is left out."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
