# SPDX-License-Identifier: Apache-2.0
"""Scoring a folder: every recording by every judge, kept line by line, so that a broken run can go on."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from tqdm import tqdm

from zipvoice.audio.files import ENCODINGS, read
from zipvoice.evaluation.provenance import JudgedBy, sha256_of
from zipvoice.evaluation.scores import Expected, FolderScores, Judge, Score, ScoredRecording
from zipvoice.evaluation.team import ALONE, Team
from zipvoice.files import write_text

FORMAT = "zipvoice-scores-1"


def score_folder(
    expected: Sequence[Expected],
    folder: Path,
    judges: Sequence[Judge],
    results: Path | None = None,
    team: Team = ALONE,
) -> FolderScores:
    """The scores of the recordings of a list in a folder.

    `results` is a file of JSON lines: a line of the judging models, then one for each recording. What it holds already
    is not judged anew if the models, the text and the sound are the same. The processes of a `team` judge a share
    each, and all of them have all scores in the end.

    Raises ValueError for an empty list and for a recording that cannot be judged, and FileNotFoundError that names
    recordings that are missing: a mean over those that are there would flatter a model that failed at the rest.

    Example:
        >>> scores = score_folder(expected, Path("results"), [WordErrorJudge(recognizer, find_normalizer("zipvoice"))])
    """
    if not expected:
        raise ValueError("nothing to score: the list is empty")
    wanted = list(zip(expected, find_recordings(expected, folder), strict=True))
    by = tuple(dict.fromkeys(model for judge in judges for model in judge.by))
    header = {"format": FORMAT, "judges": [_named(judge) for judge in judges], "by": [asdict(m) for m in by]}
    kept = team.of_first(_begun(results, header, wanted) if results and team.rank == 0 else {})
    left = [pair for pair in wanted if pair[0].name not in kept][team.rank :: team.size]
    with _Journal(_part(results, team.rank), header) as journal:
        progress = tqdm(left, str(folder), disable=None if team.rank == 0 else True)
        judged = [journal.added({"key": _key(*pair), **_judged(*pair, judges)}) for pair in progress]
    lines = kept | {line["name"]: line for share in team.gathered(judged) for line in share}
    if results and team.rank == 0:
        _write(results, header, [lines[item.name] for item in expected])
        for part in _parts(results):
            part.unlink()
    return FolderScores(folder, tuple(_recording(lines[item.name], item, path) for item, path in wanted), by)


def read_results(path: Path) -> FolderScores:
    """The scores in a file that `score_folder` wrote. Raises ValueError for another file."""
    header, *lines = [*_lines(path)] or [{}]
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} has no scores: its first line is not that of {FORMAT}")
    by = tuple(JudgedBy(**model) for model in header["by"])
    last = {line["name"]: line for line in lines}
    recordings = tuple(_recording(line, Expected(name, "", (), line["speaker"])) for name, line in last.items())
    return FolderScores(path.with_suffix(""), recordings, by)


def find_recordings(expected: Sequence[Expected], folder: Path) -> list[Path]:
    """The file of each line of the list. Raises FileNotFoundError that names the first that are missing."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = [next((p for s in ENCODINGS if (p := folder / f"{e.name}{s}").is_file()), None) for e in expected]
    missing = [item.name for item, path in zip(expected, found, strict=True) if path is None]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise FileNotFoundError(f"{folder} has no recording of {', '.join(missing[:5])}{more}")
    return [path for path in found if path]


def _part(results: Path | None, rank: int) -> Path | None:
    """Where a process writes: the first one into the file itself."""
    return results.with_name(f"{results.name}.part{rank}") if results and rank else results


def _parts(results: Path) -> list[Path]:
    """What the other processes of this or a broken run wrote."""
    return sorted(path for path in results.parent.glob("*.part*") if path.name.startswith(f"{results.name}.part"))


class _Journal:
    """Appends a line as soon as it is known; without a path it keeps nothing."""

    def __init__(self, path: Path | None, header: Mapping[str, Any]) -> None:
        self._path, self._header = path, header

    def __enter__(self) -> "_Journal":
        if self._path:
            if self._path.suffix.startswith(".part"):
                _write(self._path, self._header, [])
            self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._path:
            self._file.close()

    def added(self, line: dict[str, Any]) -> dict[str, Any]:
        if self._path:
            self._file.write(_json_line(line))
            self._file.flush()
        return line


def _write(path: Path, header: Mapping[str, Any], lines: Iterable[Mapping[str, Any]]) -> None:
    write_text(path, "".join(map(_json_line, [header, *lines])))


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
    return ScoredRecording(
        item.name, item.speaker, path or Path(line["path"]), line["seconds"], scores, line["heard"], line["text"]
    )


def _named(judge: Judge) -> str:
    """What a judge is, with a digest of what of the whole list its scores depend on."""
    among = str(getattr(judge, "among", ""))
    return type(judge).__name__ + (f" {sha256(among.encode()).hexdigest()[:16]}" if among else "")


def _key(item: Expected, path: Path) -> list[Any]:
    """What a score depends on beside the models."""
    return [item.text, [str(prompt) for prompt in item.prompts], sha256_of(path)]


def _begun(
    results: Path, header: Mapping[str, Any], wanted: Sequence[tuple[Expected, Path]]
) -> dict[str, dict[str, Any]]:
    """What earlier runs by the same models judged and is wanted still, by name; the file has that and no more."""
    found = {line["name"]: line for path in (results, *_parts(results)) for line in _of_models(path, header)}
    kept = {
        item.name: {**found[item.name], "speaker": item.speaker, "path": str(path)}
        for item, path in wanted
        if item.name in found and found[item.name]["key"] == _key(item, path)
    }
    _write(results, header, kept.values())
    return kept


def _of_models(path: Path, header: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of a file of the same models."""
    if not path.is_file():
        return []
    found, *lines = [*_lines(path)] or [{}]
    return lines if found == header else []


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a file; one that broke off, as the last of a broken run may, is left out."""
    for line in path.read_text(encoding="utf-8").split("\n"):  # U+2028 and others are characters of a text
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            return
