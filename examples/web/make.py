# SPDX-License-Identifier: Apache-2.0
"""Makes what the page needs, into the folder made: ONNX Runtime for browsers, graphs in 8 bits, a voice, and words.

    python examples/web/make.py [--voice heart] [--words FILE]

Needs npm and `pip install "zipvoice-tts[export]"`. The words are those of FILE, by default of this repository's pages;
each is read as it is between others.
"""

import argparse
import base64
import json
import math
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

import zipvoice
from zipvoice.audio import postfilter
from zipvoice.audio.mel import FLOOR
from zipvoice.config.export import ExportOptions
from zipvoice.export.onnx import export_onnx
from zipvoice.model.solver import times_of
from zipvoice.synthesis.voices import find_prompt
from zipvoice.text.words import spoken_words, tokens_of_words

HERE = Path(__file__).resolve().parent
MADE = HERE / "made"
MODEL, VOCODER = "zipvoice_small_distill", "vocos_small"
ONNX_RUNTIME = "onnxruntime-web@1.30.0"
FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
TOGETHER = 8
"""Words that are read at a time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--voice", default="heart", help="as for zipvoice say")
    parser.add_argument("--words", type=Path, help="a text whose words the page shall know")
    arguments = parser.parse_args()
    MADE.mkdir(exist_ok=True)
    fetch_runtime()
    export_onnx(ExportOptions(MODEL, str(MADE), int8=True, vocoder=VOCODER))
    pages = [arguments.words] if arguments.words else sorted(HERE.parents[1].glob("docs/*.md"))
    speech = describe(zipvoice.load(MADE), arguments.voice, "\n".join(page.read_text("utf-8") for page in pages))
    (MADE / "speech.json").write_text(json.dumps(speech, ensure_ascii=False), encoding="utf-8")
    for path in sorted(MADE.iterdir()):
        print(f"{path.name:<32}{path.stat().st_size / 1e6:>8.2f} MB")


def fetch_runtime() -> None:
    """ONNX Runtime for browsers from npm, unless it is there."""
    if all((MADE / name).is_file() for name in FILES):
        return
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["npm", "pack", "--silent", ONNX_RUNTIME], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (package,) = Path(folder).glob("*.tgz")
        with tarfile.open(package) as archive:
            for name in FILES:
                (MADE / name).write_bytes(archive.extractfile(f"package/dist/{name}").read())


def describe(synthesizer: zipvoice.Synthesizer, voice: str, text: str) -> dict:
    """All that the page is told of the model, the voice and words."""
    model, encoded = synthesizer.model.description, synthesizer.voice(find_prompt(synthesizer, voice, None))
    prompt, ids = encoded.prompt, synthesizer.table.ids
    return {
        "times": times_of(model.sampling),
        "guidanceScale": model.sampling.guidance_scale,
        "temperature": model.sampling.temperature,
        "featureScale": model.feature.scale,
        "postfilter": {
            "matchSpectrum": model.sampling.match_spectrum,
            "contrast": model.sampling.contrast,
            "timeContrast": model.sampling.time_contrast,
            "smoothings": postfilter.NUM_SMOOTHINGS,
            "timeSmoothings": postfilter.NUM_TIME_SMOOTHINGS,
            "spectrumSmoothings": postfilter.NUM_SPECTRUM_SMOOTHINGS,
            "firstCrispBand": postfilter.FIRST_CRISP_BAND,
            "quietShare": postfilter.QUIET_SHARE,
            "most": postfilter.MOST,
            "fewFrames": postfilter.FEW_FRAMES,
            "floor": math.log(FLOOR),
        },
        "frameMultiple": model.frame_multiple,
        "durations": model.vocabulary.durations,
        "pad": model.vocabulary.pad_id,
        "marks": {mark: ids([mark])[0] for mark in " ,.!?"},
        "words": {word: ids(tokens) for word, tokens in read(synthesizer, text).items()},
        "voice": {
            "ids": encoded.ids,
            "gain": prompt.gain,
            "features": base64.b64encode(prompt.features.astype("<f4").tobytes()).decode(),
        },
    }


def read(synthesizer: zipvoice.Synthesizer, text: str) -> dict[str, tuple[str, ...]]:
    """The tokens of each word of a text."""
    words = sorted(set(re.findall(r"[a-z]+(?:'[a-z]+)?", text.lower())))
    known = {}
    for i in range(0, len(words), TOGETHER):
        tokens = tokens_of_words(synthesizer.tokenizer, " ".join(words[i : i + TOGETHER]))
        known |= {spoken.text.lower(): tuple(map(str, spoken.tokens)) for spoken in spoken_words(tokens)}
    return known


if __name__ == "__main__":
    main()
