# SPDX-License-Identifier: Apache-2.0
"""Each published suite from the list to the published table, by small models in the layout of the published ones."""

import json
import sys
from contextlib import redirect_stdout
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from small_judges import (
    HEARD,
    write_ecapa,
    write_hubert,
    write_paraformer,
    write_pyannote,
    write_utmos,
    write_whisper,
)

from zipvoice.audio.files import Audio, read, write
from zipvoice.cli import main
from zipvoice.evaluation import diarization, paraformer, suites
from zipvoice.evaluation.dialogue import CpSimilarityJudge, ShortOnly
from zipvoice.evaluation.diarization import PyannoteDiarizer
from zipvoice.evaluation.paraformer import Paraformer
from zipvoice.evaluation.scores import Expected
from zipvoice.evaluation.utmos import Utmos
from zipvoice.evaluation.wavlm_ecapa import WavlmEcapa

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.slow  # loads transformers
FUNASR, PYANNOTE = (find_spec(name) is not None for name in ("funasr", "pyannote"))


# ---------------------------------------------------------------- packages that few have


class StandInModel:
    """What of funasr's AutoModel is used: it hears one character for each third of a second."""

    def __init__(self, **given) -> None:
        print("funasr version: 1.4.16.")  # noqa: T201
        assert given["trust_remote_code"] is False
        weights = torch.load(Path(given["model"]) / "model.pt", weights_only=True)
        self.model = SimpleNamespace(state_dict=lambda: {"encoder.bias": weights.get("encoder.bias")})

    def generate(self, input, batch_size_s):
        print("rtf_avg: 0.1")  # noqa: T201
        number = len(input) // 5333
        return [{"key": "rand_key", "text": " ".join(HEARD * number)}] if number else []


class StandInPipeline:
    """What of pyannote's Pipeline is used: the first speaker has the first half of a recording."""

    @classmethod
    def from_pretrained(cls, config):
        params = config["pipeline"]["params"]
        assert all(Path(params[name]).is_absolute() for name in ("segmentation", "embedding"))
        assert params["plda"] is not None
        return cls()

    def to(self, device):
        return self

    def __call__(self, file, num_speakers):
        assert num_speakers == 2
        seconds = file["waveform"].shape[1] / file["sample_rate"]
        halves = [(0, seconds / 2, "SPEAKER_00"), (seconds / 2, seconds, "SPEAKER_01")]
        tracks = [(SimpleNamespace(start=start, end=end), "A", speaker) for start, end, speaker in halves]
        return SimpleNamespace(speaker_diarization=SimpleNamespace(itertracks=lambda yield_label: tracks))


def module(monkeypatch, name: str, **content) -> None:
    made = ModuleType(name)
    made.__dict__.update(content)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.fixture
def packages(monkeypatch):
    """funasr and pyannote, or what stands in for them: they need a torchaudio of the build of PyTorch."""
    if not FUNASR:
        module(monkeypatch, "funasr", AutoModel=StandInModel)
        monkeypatch.setattr(paraformer, "version", lambda name: "1.4.16")
    if not PYANNOTE:
        kinds = {name: type(name, (), {}) for name in ("Problem", "Resolution", "Specifications")}
        module(monkeypatch, "pyannote")
        module(monkeypatch, "pyannote.audio", Pipeline=StandInPipeline)
        module(monkeypatch, "pyannote.audio.core")
        module(monkeypatch, "pyannote.audio.core.plda", PLDA=type("PLDA", (), {}))
        module(monkeypatch, "pyannote.audio.core.task", **kinds)
        monkeypatch.setattr(diarization, "version", lambda name: "4.0.7")


def small_paraformer(folder: Path):
    """The network of a folder, by funasr itself."""
    with redirect_stdout(sys.stderr):
        from funasr import AutoModel

        return AutoModel(model=str(folder), device="cpu", disable_update=True, disable_pbar=True).model


def small_segmentation():
    """One of three speakers speaks all the time."""
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.segmentation import PyanNet

    torch.manual_seed(0)
    small = {"hidden_size": 8, "num_layers": 1}
    network = PyanNet(lstm=small, linear=small)
    network.specifications = Specifications(
        Problem.MONO_LABEL_CLASSIFICATION, Resolution.FRAME, 10.0, classes=["1", "2", "3"], powerset_max_classes=2,
        permutation_invariant=True,
    )  # fmt: skip
    network.build()
    network.classifier.weight.data.zero_()
    network.classifier.bias.data = torch.tensor([0.0, 5.0, *[0.0] * 5])
    return network


def small_embedding():
    from pyannote.audio.core.task import Problem, Resolution, Specifications
    from pyannote.audio.models.embedding import XVectorMFCC

    torch.manual_seed(0)
    network = XVectorMFCC(mfcc={"n_mfcc": 12}, dimension=16)
    network.specifications = Specifications(Problem.REPRESENTATION, Resolution.CHUNK, 5.0, classes=["a", "b"])
    network.build()
    return network


def put_paraformer(models: Path) -> Path:
    folder = models / "wer/paraformer-zh"
    write_paraformer(torch, folder, small_paraformer if FUNASR else None)
    return folder


def put_pyannote(models: Path) -> None:
    networks = {"segmentation": small_segmentation, "embedding": small_embedding}
    write_pyannote(torch, models, networks if PYANNOTE else None)


# ---------------------------------------------------------------- what they are asked


def noise(seconds: float, seed: int) -> Audio:
    samples = 0.1 * np.random.default_rng(seed).standard_normal((1, round(16000 * seconds)))
    return Audio(samples.astype(np.float32), 16000)


@pytest.fixture
def models(tmp_path):
    """The folder of models, with those that every suite has."""
    write_ecapa(torch, transformers, tmp_path / "models")
    write_utmos(torch, transformers, tmp_path / "models")
    return tmp_path / "models"


class Suite:
    """A suite, its list and what it says of it, in the folder of a user."""

    def __init__(self, name: str, folder: Path, capsys) -> None:
        self.name, self.folder, self.capsys = name, folder, capsys
        self.texts: list[str] = []
        self.prompts: list[tuple[Path, ...]] = []

    def add(self, text: str, seconds: float = 2.5, voices: int = 1) -> None:
        number = len(self.texts)
        write(self.path(number), noise(seconds, seed=number))
        prompts = [self.folder / f"prompts/p{number}.{voice}.wav" for voice in range(voices)]
        for voice, prompt in enumerate(prompts):
            write(prompt, noise(0.8, seed=10 * (number + 1) + voice))
        self.texts.append(text)
        self.prompts.append(tuple(prompts))
        said = ["noise"] * voices + [str(prompt) for prompt in prompts]
        with (self.folder / "list.tsv").open("a", encoding="utf-8") as file:
            file.write("\t".join([f"r{number}", *said, text]) + "\n")

    def path(self, number: int) -> Path:
        return self.folder / f"spoken/r{number}.wav"

    def expected(self) -> list[Expected]:
        lines = zip(self.texts, self.prompts, strict=True)
        return [Expected(f"r{n}", text, prompts) for n, (text, prompts) in enumerate(lines)]

    def figures(self, *options: str) -> dict[str, float]:
        """Of a run that keeps its lines, of one that goes on after the last of them is lost, and of those alone."""
        kept, spoken = self.folder / "kept/spoken.jsonl", str(self.folder / "spoken")
        command = ["evaluate", str(self.folder / "list.tsv"), spoken, "--suite", self.name, *options]
        command += ["--models", str(self.folder / "models"), "--save", str(kept.parent), "--json"]
        assert main(command) == 0
        found = json.loads(self.capsys.readouterr().out)[spoken]
        whole = kept.read_text(encoding="utf-8")
        kept.write_text("".join(whole.splitlines(keepends=True)[:-1]), encoding="utf-8")
        assert main(command) == 0
        assert json.loads(self.capsys.readouterr().out)[spoken] == found
        assert kept.read_text(encoding="utf-8") == whole
        assert all(
            len(one["sha256"]) == 64 for one in found["by"] if not one["model"].startswith(("normaliser", "only"))
        )
        return {row: figure["value"] for row, figure in found["figures"].items()}

    def published(self) -> list[list[str]]:
        """The rows of the table beside the published figures."""
        assert main(["evaluate", "--suite", self.name, "--reproduce", str(self.folder / "kept/spoken.jsonl")]) == 0
        lines = self.capsys.readouterr().out.splitlines()
        return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]

    def utmos(self) -> float:
        judge = Utmos(self.folder / "models")
        return float(np.mean([judge.predict(read(self.path(n))) for n in range(len(self.texts))]))

    def sim_o(self) -> float:
        encoder = WavlmEcapa(self.folder / "models")
        voices = [(encoder.embed(read(self.path(n))), encoder.embed(read(p[0]))) for n, p in enumerate(self.prompts)]
        return float(np.mean([own @ prompt for own, prompt in voices]))


def test_librispeech_pc(tmp_path, models, capsys):
    write_hubert(torch, transformers, models / "wer/hubert-large-ls960-ft")
    suite = Suite("librispeech-pc", tmp_path, capsys)
    for number in range(3):
        suite.add("a b c abc", seconds=1.0 + number)
    found = suite.figures()
    assert list(found) == ["word_error_rate", "mean_word_error_rate", "sim_o", "utmos"]
    assert found["utmos"] == pytest.approx(suite.utmos(), abs=1e-6)
    head, _, *rows = suite.published()
    assert head[1:] == ["ZipVoice, 16 steps (published)", "distilled, 4 steps (published)", "spoken"]
    assert rows[-1] == ["UTMOS", "3.98", "4.05", f"{suite.utmos():.2f}"]


def test_seedtts_en(tmp_path, models, capsys):
    write_whisper(torch, transformers, models / "wer/whisper-large-v3", "Hello there, Mr. X.")
    suite = Suite("seedtts-en", tmp_path, capsys)
    suite.add("Hello there Mr. X!")
    suite.add("Hello - - there, Mr. Y")  # a space too many is left, and counts as a word of the corpus
    found = suite.figures()
    assert found == {
        "word_error_rate": pytest.approx(1 / 9),
        "mean_word_error_rate": pytest.approx(1 / 8),
        "sim_o": pytest.approx(suite.sim_o(), abs=1e-6),
        "utmos": pytest.approx(suite.utmos(), abs=1e-6),
    }
    assert ["word error rate, mean of utterances", "1.70 %", "12.50 %"] in suite.published()


def test_seedtts_zh(tmp_path, models, capsys, packages):
    folder = put_paraformer(models)
    suite = Suite("seedtts-zh", tmp_path, capsys)
    suite.add("")  # for its sound; its text is what is heard
    heard = Paraformer(folder).hear(read(suite.path(0))).replace(" ", "")
    assert set(heard) == {"语"}  # simplified
    (tmp_path / "list.tsv").unlink()
    suite.texts, suite.prompts = [], []
    suite.add(f"{heard}！")
    suite.add(f"{heard} 吗")  # the space is one of three words that are not there
    number = len(heard)
    found = suite.figures()
    assert found == {
        "character_error_rate": pytest.approx(1 / (2 * number + 3)),
        "mean_character_error_rate": pytest.approx(1 / (number + 1) / 2),
        "sim_o": pytest.approx(suite.sim_o(), abs=1e-6),
        "utmos": pytest.approx(suite.utmos(), abs=1e-6),
    }
    shown = f"{100 / (number + 1) / 2:.2f} %"
    assert ["character error rate, mean of utterances", "1.40 %", shown] in suite.published()


def test_dialogue_en(tmp_path, models, capsys, packages, monkeypatch):
    monkeypatch.setattr(suites, "ShortOnly", partial(ShortOnly, seconds=3.0))  # 30 s are long for these networks
    write_whisper(torch, transformers, models / "wer/whisper-d-v1a", "[S1] Hello there. [S2] Hi you. [S1] Bye.")
    put_pyannote(models)
    suite = Suite("dialogue-en", tmp_path, capsys)
    suite.add("[S1] Hello there. [S2] Hi (laughs) you. [S1] Bye.", voices=2)
    suite.add("[S1] Hello there. [S2] Hi you. [S2] Bye now.", voices=2)  # of the first speaker, by parity
    suite.add("[S1] This is not counted.", seconds=3.5, voices=2)
    found = suite.figures()
    judge = CpSimilarityJudge(WavlmEcapa(models), PyannoteDiarizer(models), suite.expected())
    judged = [judge(item, read(suite.path(n))).scores["cp_similarity"] for n, item in enumerate(suite.expected())]
    assert found == {
        "word_error_rate": pytest.approx(1 / 11),
        "mean_word_error_rate": pytest.approx(1 / 12),
        "cp_word_error_rate": pytest.approx(1 / 11),
        "cp_similarity": pytest.approx(np.mean([score.value for score in judged]), abs=1e-6),
        "utmos": pytest.approx(suite.utmos(), abs=1e-6),
    }
    assert ["cpWER", "3.27 %", "9.09 %"] in suite.published()


def test_dialogue_zh(tmp_path, models, capsys, packages):
    folder = put_paraformer(models)
    put_pyannote(models)
    suite = Suite("dialogue-zh", tmp_path, capsys)
    suite.add("[S1] 你好。 [S2] 你也好！", voices=2)
    number = len(Paraformer(folder).hear(read(suite.path(0))).replace(" ", ""))
    found = suite.figures()
    assert list(found) == ["character_error_rate", "mean_character_error_rate", "cp_similarity", "utmos"]
    assert found["character_error_rate"] == pytest.approx(max(number, 5) / 5)
    assert main(["evaluate", "--suite", "dialogue-zh", "--reproduce", str(tmp_path / "kept/spoken.jsonl")]) == 1
    assert "no published figures; those that have: librispeech-pc" in capsys.readouterr().err


# ---------------------------------------------------------------- what is refused


def test_paraformer_hears_nothing_in_what_is_too_short_and_refuses_weights_that_are_not_its_own(tmp_path, packages):
    folder = put_paraformer(tmp_path)
    assert Paraformer(folder).hear(noise(0.05, seed=1)) == ""
    torch.save({}, folder / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt lacks \d+ weights of its network, such as "):
        Paraformer(folder)


def test_a_pipeline_finds_its_weights_beside_it_and_none_that_could_be_code(tmp_path, packages, monkeypatch):
    put_pyannote(tmp_path)
    monkeypatch.delenv("PYANNOTE_METRICS_ENABLED", raising=False)
    first, second = PyannoteDiarizer(tmp_path)(noise(12.0, seed=1))
    assert all(0 <= start < end for start, end in [*first, *second])
    weights = tmp_path / "speaker_similarity/pyannote/pyannote_model_embedding.bin"
    torch.save({"state_dict": {}, "code": Path}, weights)
    with pytest.raises(ValueError, match="holds more than weights, which could be code"):
        PyannoteDiarizer(tmp_path)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match=r"names pyannote/pyannote_model_embedding\.bin, which is not in"):
        PyannoteDiarizer(tmp_path)
