# SPDX-License-Identifier: Apache-2.0
"""When each phone of the recordings of a list is spoken, by forced alignment with PocketSphinx.

A line of the result is {"id": "k_1", "words": [["of", [["AH", 0.48, 0.53], ["V", 0.53, 0.57]]], ...]}, with the start
and end of each phone of each word in seconds. Left out are recordings of words that the recogniser's dictionary lacks,
and those that it cannot align.

usage: python local/align_phones.py LIST.tsv PHONES.jsonl
"""

import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zipvoice.audio.files import Audio, pcm16, read, resample
from zipvoice.evaluation.word_errors import normalize
from zipvoice.files import write_text

RATE = 16_000
"""Of the sound that the recogniser hears, in hertz."""
FRAMES_PER_SECOND = 100

Phone = tuple[str, float, float]
"""A phone of the CMU dictionary, and the seconds at which it starts and ends."""
Word = tuple[str, list[Phone]]


def main(source: Path, target: Path) -> None:
    decoder, lines, left_out = aligner(), [], Counter[str]()
    with source.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            words = normalize(row["text"]).split()
            if not words or any(decoder.lookup_word(word) is None for word in words):
                left_out["with words outside the dictionary"] += 1
            elif timed := align(decoder, words, read(source.parent / row["audio"])):
                lines.append(json.dumps({"id": row["id"], "words": timed}) + "\n")
            else:
                left_out["that could not be aligned"] += 1
    write_text(target, "".join(lines))
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(left_out.items())) or "none"
    print(f"{target}: {len(lines)} recordings; left out: {counts}")


def aligner() -> Any:
    """A decoder that finds the times of known words."""
    try:
        from pocketsphinx import Decoder
    except ImportError:
        raise ImportError("alignment needs PocketSphinx: pip install 'zipvoice-tts[evaluation]'") from None
    # The beams are wide, as the words are known and only their times are searched.
    return Decoder(loglevel="FATAL", lm=None, cmn="batch", bestpath=False, beam=1e-80, wbeam=1e-60, pbeam=1e-80)


def align(decoder: Any, words: Sequence[str], audio: Audio) -> list[Word] | None:
    """The words with the times of their phones, or None if the recording does not sound like them."""
    sound = pcm16(resample(audio.mono(), RATE)).tobytes()
    decoder.set_align_text(" ".join(words))
    hear(decoder, sound)
    if decoder.hyp() is None:
        return None
    decoder.set_alignment()  # within the words that were found, a second pass finds the phones
    hear(decoder, sound)
    alignment = decoder.get_alignment()  # kept while it is read, as its items do not own their memory
    items = [(item.name, [timed(phone) for phone in item]) for item in alignment]
    spoken = [phones for name, phones in items if not name.startswith(("<", "["))]  # not silence, not noise
    return list(zip(words, spoken, strict=True))


def hear(decoder: Any, sound: bytes) -> None:
    decoder.reinit_feat()  # the noise estimated in one recording would pass into the next
    decoder.start_utt()
    decoder.process_raw(sound, full_utt=True)
    decoder.end_utt()


def timed(phone: Any) -> Phone:
    return phone.name, phone.start / FRAMES_PER_SECOND, (phone.start + phone.duration) / FRAMES_PER_SECOND


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
