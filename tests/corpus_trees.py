# SPDX-License-Identifier: Apache-2.0
"""Small corpora in the forms of the large ones, made of the mini recipe's recordings."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from zipvoice.audio.files import Audio, read, write

MINI = Path(__file__).parents[1] / "egs" / "mini" / "corpus"


@dataclass(frozen=True)
class Sentence:
    """A real recording and what it says."""

    text: str
    path: Path

    @property
    def audio(self) -> Audio:
        return read(self.path)


def sentences(name: str = "train") -> list[Sentence]:
    lines = (MINI / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
    return [Sentence(text, MINI / path) for _, text, path in (line.split("\t") for line in lines)]


def make_libritts(corpus: Path, parts: dict[str, int]) -> None:
    """Parts of so many utterances each, of one chapter of one speaker each, with what else the archives have."""
    speakers = []
    for number, (part, size) in enumerate(parts.items()):
        speaker, chapter = f"{84 + number}", f"{121123 + number}"
        speakers.append(f"{speaker}   | F | {part} | 25.03 | A Reader")
        folder = corpus / part / speaker / chapter
        folder.mkdir(parents=True)
        transcript, book = [], []
        for i, sentence in enumerate(sentences()[:size]):
            name = f"{speaker}_{chapter}_{i:06d}_000000"
            write(folder / f"{name}.wav", sentence.audio)
            (folder / f"{name}.original.txt").write_text(sentence.text.upper())
            (folder / f"{name}.normalized.txt").write_text(sentence.text)
            transcript.append(f"{name}\t{sentence.text.upper()}\t{sentence.text}\n")
            book.append(f"{name}\t{sentence.text}\t0.0\t{sentence.audio.seconds}\t23.5\n")
        (folder / f"{speaker}_{chapter}.trans.tsv").write_text("".join(transcript))
        (folder / f"{speaker}_{chapter}.book.tsv").write_text("".join(book))
        (folder / f"._{speaker}_{chapter}.trans.tsv").write_bytes(b"\0\5\x16\7 of macOS")
    (corpus / "SPEAKERS.txt").write_text("\n".join([";ID  |SEX| SUBSET | MINUTES| NAME", *speakers]) + "\n")


def make_emilia(corpus: Path, language: str, texts: Sequence[str], files: int = 2) -> None:
    """One utterance for each text, dealt out to several files, as MP3."""
    folder = corpus / "raw" / language
    folder.mkdir(parents=True)
    lines: list[list[str]] = [[] for _ in range(files)]
    for i, (text, sentence) in enumerate(zip(texts, 4 * sentences(), strict=False)):
        speaker = f"{language}_B{i * files // len(texts):05d}_S00000"
        name = f"{speaker}_W{i:06d}"
        path = folder / speaker[:9] / speaker / "mp3" / f"{name}.mp3"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, sentence.audio.samples[0], sentence.audio.sampling_rate)
        utterance = {
            "id": name,
            "wav": str(path.relative_to(folder)),
            "text": f" {text}",
            "duration": round(sentence.audio.seconds, 3),
            "speaker": speaker,
            "language": language.lower(),
            "dnsmos": 3.3697,
        }
        lines[i * files // len(texts)].append(json.dumps(utterance, ensure_ascii=False) + "\n")
    for number, part in enumerate(lines):
        (folder / f"{language}_B{number:05d}.jsonl").write_text("".join(part), encoding="utf-8")


def make_opendialog(corpus: Path, texts: dict[str, Sequence[str]]) -> None:
    """Dialogues in the given texts for each language; each sounds like two sentences."""
    for language, dialogues in texts.items():
        lines = []
        for i, text in enumerate(dialogues):
            path = Path("audio") / language / f"{language}_{len(dialogues) - i:04d}.wav"  # in another order than listed
            write(corpus / path, dialogue(i, num_channels=1))
            lines.append(json.dumps({"id": f"{language}-{i}", "text": text, "path": str(path)}, ensure_ascii=False))
        (corpus / f"manifest.{language}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def dialogue(number: int, num_channels: int) -> Audio:
    """Two sentences one after the other, on a channel each if there are two."""
    pair = [sentences(name)[number % 6].audio for name in ("train", "lj_train")]
    rate = pair[0].sampling_rate
    turns = [audio.samples[:1] for audio in pair]
    if num_channels == 2:
        first, second = turns
        turns = [np.concatenate([first, 0 * first]), np.concatenate([0 * second, second])]
    return Audio(np.concatenate(turns, axis=1), rate)


def dialogue_text(number: int) -> str:
    first, second = (sentences(name)[number % 6].text for name in ("train", "lj_train"))
    return f"[S1] {first} [S2] {second}"


def write_table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
