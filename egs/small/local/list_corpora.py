# SPDX-License-Identifier: Apache-2.0
"""List the corpora of the small models, and have the free synthesiser flite say phrases of the training texts.

The folders kathleen, ljspeech, librispeech and speechocean_adult each hold recordings and a table utterances.tsv, whose
first line names its columns: id, speaker, language, seconds, audio (relative to the folder) and text.

Written are lists with the columns id, text, audio and speaker:
  heldout          recordings of 100 of Kathleen's texts, for evaluation
  dev              recordings of 30 other texts of hers, for validation
  train_kathleen   the rest of hers
  train_others     LJ Speech and LibriSpeech, without its speaker 26, who is held out with all that they say
  train_readers    the many speakers of speechocean762, without the last eight, who are held out
  train_flite      phrases of the texts of the first two, in four voices of flite

usage: python local/list_corpora.py download data --num-jobs 2
"""

import argparse
import csv
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from random import Random

from zipvoice.files import whole_file, write_text
from zipvoice.text.punctuation import add_punctuation

NUM_HELDOUT = 100
NUM_DEV = 30
NUM_FLITE = 2400
HELDOUT_SPEAKER = "26"
NUM_HELDOUT_READERS = 8
FLITE_VOICES = ("slt", "rms", "awb", "kal16")
"""Whose turn it is."""
SENTENCE_WORDS = range(3, 13)
"""Texts of so many words are said as they are, too."""
UNREADABLE = re.compile(r"[\d\[\]()&/£]")
"""What flite may read otherwise than espeak does."""


@dataclass(frozen=True)
class Utterance:
    """A line of a list."""

    id: str
    text: str
    audio: Path
    speaker: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, help="folder of the four corpora")
    parser.add_argument("lists", type=Path, help="folder to write the lists into, and what flite says")
    parser.add_argument("--num-jobs", type=int, default=2, help="phrases that flite says at the same time")
    options = parser.parse_args()
    list_corpora(options.corpora.absolute(), options.lists.absolute(), options.num_jobs)


def list_corpora(corpora: Path, lists: Path, num_jobs: int = 2) -> None:
    """Write all lists. Raises ValueError for a missing corpus, and without flite, before anything is written."""
    require_flite()
    rng = Random(1)
    kathleen = read_corpus(corpora / "kathleen", "k")
    others = [*read_corpus(corpora / "ljspeech", "l"), *read_corpus(corpora / "librispeech", "s")]
    readers = read_corpus(corpora / "speechocean_adult", "o")
    unheard = heldout_readers(one.speaker for one in readers)
    heldout, dev = split_texts((utterance.text for utterance in kathleen), rng)
    made = {
        "heldout": [utterance for utterance in kathleen if letters(utterance.text) in heldout],
        "dev": [utterance for utterance in kathleen if letters(utterance.text) in dev],
        "train_kathleen": without(heldout | dev, kathleen),
        "train_others": without(heldout | dev, (one for one in others if one.speaker != HELDOUT_SPEAKER)),
        "train_readers": without(heldout | dev, (one for one in readers if one.speaker not in unheard)),
    }
    texts = dict.fromkeys(utterance.text for utterance in [*made["train_kathleen"], *made["train_others"]])
    said = [phrase for phrase in phrases(texts, rng) if letters(phrase) not in heldout | dev]
    made["train_flite"] = say(said[:NUM_FLITE], lists / "flite", num_jobs)
    for name, utterances in made.items():
        write_list(lists / f"{name}.tsv", utterances)


# ---------------------------------------------------------------- lists


def read_corpus(folder: Path, prefix: str) -> list[Utterance]:
    """The utterances of a corpus, their texts written as espeak and the synthesizer have them."""
    table = folder / "utterances.tsv"
    if not table.is_file():
        raise ValueError(
            f"there is no table {table}; the recipe needs kathleen, ljspeech, librispeech and speechocean_adult in one "
            "folder"
        )
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if missing := {"id", "speaker", "audio", "text"} - set(rows.fieldnames or ()):
            raise ValueError(f"{table} has no column {', '.join(sorted(missing))}")
        return [
            Utterance(f"{prefix}_{row['id']}", written(row["text"]), folder / row["audio"], row["speaker"])
            for row in rows
        ]


def written(text: str) -> str:
    """The text with a mark at its end, and in small letters if it is all in capitals, which espeak would spell."""
    return add_punctuation(text.lower() if text.isupper() else text)


def write_list(path: Path, utterances: Sequence[Utterance]) -> None:
    rows = [("id", "text", "audio", "speaker"), *map(astuple, utterances)]
    write_text(path, "".join("\t".join(map(str, row)) + "\n" for row in rows))
    print(f"{path}: {len(utterances)} utterances")


# ---------------------------------------------------------------- texts


def letters(text: str) -> str:
    """By what texts are told apart."""
    return re.sub("[^a-z ]", "", text.lower()).strip()


def split_texts(texts: Iterable[str], rng: Random) -> tuple[set[str], set[str]]:
    """The letters of the texts that are held out, and of those for validation."""
    distinct = sorted({letters(text) for text in texts})
    if len(distinct) <= NUM_HELDOUT + NUM_DEV:
        raise ValueError(f"{len(distinct)} texts leave none to train on, {NUM_HELDOUT + NUM_DEV} being held out")
    rng.shuffle(distinct)
    return set(distinct[:NUM_HELDOUT]), set(distinct[NUM_HELDOUT : NUM_HELDOUT + NUM_DEV])


def heldout_readers(speakers: Iterable[str]) -> list[str]:
    """Those of the many readers who are held out with all that they say."""
    return sorted(set(speakers))[-NUM_HELDOUT_READERS:]


def without(texts: Set[str], utterances: Iterable[Utterance]) -> list[Utterance]:
    """The utterances of other texts."""
    return [utterance for utterance in utterances if letters(utterance.text) not in texts]


def phrases(texts: Iterable[str], rng: Random) -> list[str]:
    """Short texts as they are, and pieces of all, each phrase once, in random order."""
    distinct: dict[str, str] = {}
    for text in texts:
        whole = [text] if len(text.split()) in SENTENCE_WORDS else []
        for phrase in map(readable, [*whole, *pieces(text.split(), rng)]):
            if not UNREADABLE.search(phrase):
                distinct.setdefault(letters(phrase), phrase)
    found = list(distinct.values())
    rng.shuffle(found)
    return found


def pieces(words: Sequence[str], rng: Random) -> Iterator[str]:
    """Three to eight words at a time, the last ones fewer, but not a single one."""
    start = 0
    while start < len(words):
        end = start + rng.randint(3, 8)
        piece = " ".join(words[start:end]).strip(' ,;:-"')
        if " " in piece:
            yield piece
        start = end


def readable(phrase: str) -> str:
    """The phrase with commas for dashes, without quotation marks, and with a mark at its end."""
    return add_punctuation(" ".join(phrase.replace("--", ", ").replace('"', "").split()))


# ---------------------------------------------------------------- flite


def require_flite() -> None:
    if not shutil.which("flite"):
        raise ValueError(
            "the speech synthesiser flite is not installed; package managers have it, as in: apt-get install flite"
        )
    known = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=True).stdout.split()
    if missing := set(FLITE_VOICES) - set(known):
        raise ValueError(f"this flite lacks the voice {', '.join(sorted(missing))}; install one with all free voices")


def say(texts: Sequence[str], folder: Path, num_jobs: int) -> list[Utterance]:
    """Recordings of the texts by flite, those that are there already being reused."""
    planned = [plan(text, FLITE_VOICES[i % len(FLITE_VOICES)], folder) for i, text in enumerate(texts)]
    with ThreadPoolExecutor(num_jobs) as threads:
        list(threads.map(record, planned))
    return planned


def plan(text: str, voice: str, folder: Path) -> Utterance:
    """What flite is to say. Its name follows from the text, lest a recording be reused for another text."""
    name = f"f_{voice}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return Utterance(name, text, folder / f"{name}.wav", voice)


def record(utterance: Utterance) -> None:
    if not utterance.audio.exists():
        with whole_file(utterance.audio) as temporary:
            command = ["flite", "-voice", utterance.speaker, "-t", utterance.text, "-o", str(temporary)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        raise SystemExit(str(error)) from None
