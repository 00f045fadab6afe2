# SPDX-License-Identifier: Apache-2.0
"""Speak every training sentence and let a recogniser, which knows the sentences, pick the one it hears.

usage: python local/listen.py EXP_DIR RESULTS_DIR
"""

import sys
from pathlib import Path

from report import OPTIONS, choose_voice, read_list

import zipvoice
from zipvoice.evaluation.recognition import recognize_closed_set


def main(exp_dir: Path, results: Path) -> None:
    synthesizer = zipvoice.load(exp_dir, vocoder="griffin-lim", device="cpu")
    prompt = choose_voice()
    voice = synthesizer.prompt(prompt.path, prompt.text, raw=True)
    sentences = read_list("train")
    for sentence in sentences:
        audio = synthesizer.synthesize(sentence.text, voice, OPTIONS, name=sentence.name)
        audio.save(results / "listen" / f"{sentence.name}.wav")
    spoken = recognize_closed_set(
        [(results / "listen" / f"{sentence.name}.wav", sentence.text) for sentence in sentences]
    )
    real = recognize_closed_set([(sentence.path, sentence.text) for sentence in sentences])
    for choice in spoken.choices:
        sys.stdout.write(f"  {'right' if choice.correct else 'WRONG'}  {choice.spoken}\n")
    sys.stdout.write(
        f"of {len(sentences)} sentences, the recogniser picked the right one for {spoken.num_correct} spoken ones "
        f"and {real.num_correct} real recordings\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
