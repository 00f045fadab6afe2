# SPDX-License-Identifier: Apache-2.0
"""A trained model -> a folder to ship: weights in a byte each, graphs without weights, what it is to be spoken with.

usage: python local/package.py RUN FOLDER [NUM_STEPS GUIDANCE_SCALE T_SHIFT TEMPERATURE MATCH CONTRAST TIME_CONTRAST]
       python local/package.py VOCODER_RUN FOLDER
       python local/package.py --released FOLDER

Without numbers a model is spoken with as the one that is in the folder. The second makes a vocoder, weights in half
precision. The third writes the graphs of the released models, which take their weights from the files of the hub. Made
again from the same files, everything is the same to the last bit, but for the names of constants in graphs.
"""

import sys
from dataclasses import replace
from pathlib import Path

from zipvoice.builtin import MODELS_VOCODER
from zipvoice.config.model import Vocabulary
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import read_json
from zipvoice.config.synthesis import SamplingConfig
from zipvoice.config.vocoder import VocosConfig
from zipvoice.export.weightless import write_model_graphs, write_vocoder_graph
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import RELEASED, load_pretrained, save_pretrained
from zipvoice.vocoder.vocos import Vocos, load_vocos, save_vocos
from zipvoice.weights import pack_int8


def package(run: Path, folder: Path, sampling: SamplingConfig | None) -> None:
    """A model, or a vocoder where there is no model.json."""
    if (run / "model.json").is_file():
        pretrained = load_pretrained(run)
        before = read_json(ModelFile, folder / "model.json") if (folder / "model.json").is_file() else pretrained.file
        usual, fast = sampling or before.sampling, before.fast
        if fast and usual and fast.num_steps >= usual.num_steps:
            fast = None
        file = replace(pretrained.file, sampling=usual, vocoder=MODELS_VOCODER, fast=fast)
        save_pretrained(folder, pack_int8(pretrained.model.state_dict()), file, pretrained.table)
        write_model_graphs(pretrained.model, file, folder)
    else:
        vocos = load_vocos(run)
        save_vocos(vocos.half(), folder)
        write_vocoder_graph(vocos.float(), folder)
    _report(folder)


def package_released(folder: Path) -> None:
    """Graphs for the sizes and vocabularies of the released models and vocoder."""
    for variant in RELEASED:
        vocabulary = Vocabulary(388, 0, 360, 361) if "dialog" in variant else Vocabulary(360)
        write_model_graphs(ZipVoice(ModelFile().model, vocabulary, variant).eval(), ModelFile(), folder / variant)
    write_vocoder_graph(Vocos(VocosConfig()).eval(), folder / "vocos")
    _report(folder)


def _report(folder: Path) -> None:
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    print(f"{folder}: {megabytes:.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 10):
        sys.exit(__doc__)
    if sys.argv[1] == "--released":
        package_released(Path(sys.argv[2]))
    else:
        given = sys.argv[3:]
        sampling = None
        if given:
            *steps, match, contrast, time_contrast = map(float, given[1:])
            filtered = {"match_spectrum": match, "contrast": contrast, "time_contrast": time_contrast}
            sampling = SamplingConfig(int(given[0]), *steps, **filtered)
        package(Path(sys.argv[1]), Path(sys.argv[2]), sampling)
