# SPDX-License-Identifier: Apache-2.0
"""Speech without PyTorch: everything up to the runtime, in processes where torch cannot be imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from closed_form_model import ClosedFormModel, speech_of
from tiny_models import LETTERS, make_model, tone

from zipvoice.audio.files import read, write
from zipvoice.audio.griffin_lim import griffin_lim
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.model.condition import Condition
from zipvoice.model.duration import uniform_alignment
from zipvoice.pretrained import read_directory
from zipvoice.runtime import select
from zipvoice.runtime.base import ComputedBy, ModelDescription
from zipvoice.runtime.graphs import VelocityGraph
from zipvoice.runtime.torch import best_device
from zipvoice.synthesis.synthesizer import Synthesizer

TESTS = Path(__file__).parent


@pytest.mark.parametrize("inputs", [(), ("guidance_scale",), ("guidance_scale", "t_next")])
def test_a_graph_is_given_what_it_takes_for_each_utterance(inputs):
    given = {}

    class Recorder:
        inputs, precision = frozenset(("t", "x", "text", "speech", "padding_mask")), "float32"

        def __call__(self, values):
            given.update(values)
            return values["x"]

    Recorder.inputs |= {*inputs}
    velocity = VelocityGraph(Recorder())
    assert velocity.is_distilled == bool(inputs)
    x = np.zeros((2, 3, 4))
    scale = np.array([1.0, 2.0])[:, None, None] if inputs else None
    velocity(0.25, x, Condition(x, x), scale, *([0.75] if "t_next" in inputs else []))
    assert given.keys() == velocity._graph.inputs
    assert given["t"].tolist() == [0.25, 0.25] and not given["padding_mask"].any()
    if inputs:
        assert given["guidance_scale"].tolist() == [1.0, 2.0]
    if "t_next" in inputs:
        assert given["t_next"].tolist() == [0.75, 0.75]
        velocity(np.array([0.5, 0.25])[:, None, None], x, Condition(x, x), scale)  # no step is one of no length
        assert given["t_next"].tolist() == given["t"].tolist() == [0.5, 0.25]


BLOCK = f"""
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Block())
sys.path.insert(0, {str(TESTS)!r})
"""


def without_torch(code: str, *arguments: str, cwd: Path = TESTS) -> subprocess.CompletedProcess[str]:
    """Run Python code where importing torch is an ImportError."""
    return subprocess.run([sys.executable, "-c", BLOCK + code, *arguments], capture_output=True, text=True, cwd=cwd)


def test_the_public_names_are_there_without_torch():
    done = without_torch("import zipvoice; [getattr(zipvoice, name) for name in dir(zipvoice)]; print(dir(zipvoice))")
    names = ["Audio", "Prompt", "SynthesisOptions", "Synthesizer", "__version__", "load", "sherpa", "voices"]
    assert done.stdout.strip() == str(names), done.stderr


SAY = """
import closed_form_model
from zipvoice.cli import main
closed_form_model.register()
sys.exit(main(sys.argv[1:]))
"""
VOICE = ("--voice", "me.wav", "--voice-text", "a low tone")
SPOKEN_BY = ("--model", "model", "--vocoder", "griffin-lim", "--runtime", "closed_form")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    make_model(folder / "model")
    write(folder / "me.wav", tone(0.8))
    return folder


@pytest.fixture(scope="module")
def synthesizer(folder):
    directory = read_directory(folder / "model")
    model = ClosedFormModel(ModelDescription.of(directory.file, "zipvoice", LETTERS.vocabulary))
    return Synthesizer(model, griffin_lim, TokenizerConfig("simple"), LETTERS)


def test_a_text_is_spoken_without_torch(folder):
    """Text, prompt, planning, solver and Griffin-Lim, against what the closed form says."""
    done = without_torch(SAY, "say", "good day", *VOICE, *SPOKEN_BY, "--raw", "--num-steps", "3", cwd=folder)
    assert done.returncode == 0, done.stderr
    prompt, text = LETTERS.ids(list("a low tone")), LETTERS.ids(list("good day"))
    frames = 75 + 60  # 0.8 s for 10 tokens, and as much for each of 8
    alignment = uniform_alignment(np.array([18]), np.array([frames]), frames)[0]
    mel = speech_of(np.array([*prompt, *text, 0])[alignment], scale=1.0)[75:]
    np.testing.assert_allclose(read(folder / "out.wav").samples, griffin_lim(mel.T[None]), atol=2 / 32768)


def test_chunks_pauses_and_durations_are_made_without_torch(folder, synthesizer):
    text = "one two three, four five six. [pause 500ms] seven eight nine ten! eleven twelve?"
    options = ["--max-chunk-seconds", "3", "--duration", "7.5", "--num-steps", "2"]
    done = without_torch(SAY, "say", text, *VOICE, *SPOKEN_BY, *options, "--json", cwd=folder)
    assert json.loads(done.stdout)["seconds"] == 7.5, done.stderr
    prompt = synthesizer.prompt(folder / "me.wav", "a low tone")
    expected = synthesizer.synthesize(text, prompt, SynthesisOptions(num_steps=2), max_chunk_seconds=3.0, duration=7.5)
    np.testing.assert_allclose(read(folder / "out.wav").samples, expected.samples, atol=2 / 32768)


def test_pytorch_is_asked_for_with_one_line_that_says_how_to_get_it(folder):
    machine = [*SPOKEN_BY[:-1], "torch"]
    done = without_torch(SAY, "say", "hello", *VOICE, *machine, cwd=folder)
    assert done.stderr == "zipvoice: the PyTorch runtime needs torch: pip install 'torch>=2.6'\n"
    assert done.returncode == 1


def test_each_process_of_a_computer_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert best_device() == "cuda:0"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert best_device() == "cuda:1"


@pytest.mark.parametrize(
    ("system", "machine", "program", "driver", "is_looked_for"),
    [
        ("linux", "x86_64", None, False, False),
        ("linux", "x86_64", "/usr/bin/nvidia-smi", False, True),
        ("linux", "aarch64", None, True, True),
        ("darwin", "arm64", None, False, True),
        ("darwin", "x86_64", None, False, False),
    ],
)
def test_pytorch_is_asked_for_an_accelerator_where_there_may_be_one(
    monkeypatch, system, machine, program, driver, is_looked_for
):
    asked = []
    monkeypatch.setattr(select.sys, "platform", system)
    monkeypatch.setattr(select.platform, "machine", lambda: machine)
    monkeypatch.setattr(select.shutil, "which", lambda name: program)
    monkeypatch.setattr(select.os.path, "exists", lambda path: driver and path == "/dev/kfd")
    monkeypatch.setattr(select, "best_device", lambda: asked.append(1) or "cuda:0")
    sees = select._sees_accelerator()
    monkeypatch.undo()
    assert (sees, bool(asked)) == (is_looked_for, is_looked_for)
    monkeypatch.setattr(select, "best_device", lambda: "cpu")
    assert not select._sees_accelerator()


def test_sizes_of_caches_that_the_caller_set_stay():
    ours, theirs = "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"
    code = f"import os, zipvoice.runtime.torch; print(os.environ['{theirs}'], os.environ['{ours}'])"
    environment = {**{name: value for name, value in os.environ.items() if name != ours}, theirs: "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["7", "128"]


def test_a_dtype_that_is_not_there_is_told_before_a_library_is_asked_for(monkeypatch):
    monkeypatch.setattr(select, "_module", None)
    with pytest.raises(ValueError, match="dtype 'float23' is not known; did you mean 'float32'"):
        select.load_model(read_directory("zipvoice_small_distill"), dtype="float23")


def test_a_vocoder_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(
        ValueError, match=r"there is no vocoder vocos_smal; did you mean 'vocos_small'\?; known: griffin"
    ):
        select.load_vocoder("vocos_smal")


@pytest.mark.parametrize(
    ("device", "elsewhere"),
    [("cpu", False), ("CPU", False), ("CPUExecutionProvider", False), ("cuda:1", True), ("mps", True)],
)
def test_a_device_that_is_no_cpu_is_an_accelerator(device, elsewhere):
    assert ComputedBy("any", device).on_accelerator == elsewhere


def test_onnxruntime_keeps_no_record_of_its_use(tmp_path):
    """Newer ones do, in the folder of its user, and report it over the network unless they are told not to."""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", "import zipvoice, onnxruntime"], env=environment, check=True)
    assert not list(tmp_path.iterdir())


STAND_IN = """
import os
imported_on = os.sched_getaffinity(0)
class SessionOptions:
    def add_session_config_entry(self, name, value): pass
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system confines no process to processors")
@pytest.mark.parametrize("confined", [True, False])
def test_onnxruntime_is_imported_where_it_finds_two_processors(tmp_path, confined):
    """1.32.0 tries AMX out between two processors, and does without in a process that is confined to one."""
    (tmp_path / "onnxruntime.py").write_text(STAND_IN)
    allowed = sorted(os.sched_getaffinity(0))
    mine = allowed[:1] if confined else allowed
    code = f"""
import os
os.sched_setaffinity(0, {mine})
from zipvoice.runtime import onnx
onnx._options(1)
import onnxruntime
print(sorted(onnxruntime.imported_on), sorted(os.sched_getaffinity(0)), sep="\\n")
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    imported_on, afterwards = map(json.loads, done.stdout.splitlines())
    assert set(imported_on) >= set(allowed)
    assert afterwards == mine
