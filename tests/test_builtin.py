# SPDX-License-Identifier: Apache-2.0
"""What comes with the package: it is there, it is small, and it speaks so that a recogniser understands it."""

from pathlib import Path

import numpy as np
import pytest

import zipvoice
from zipvoice import builtin
from zipvoice.audio.files import Audio, read
from zipvoice.cli import main
from zipvoice.evaluation.mel_distance import mel_distance
from zipvoice.evaluation.recognition import ClosedSetRecognizer
from zipvoice.evaluation.similarity import SpeakerEncoder
from zipvoice.synthesis import voices

AUDIO = Path(__file__).parents[1] / "egs" / "mini" / "corpus" / "audio"
LJ = (AUDIO / "lj" / "LJ001-0141.ogg", "The general solidity of a page is much to be sought for")
KATHLEEN = AUDIO / "kathleen" / "arctic_a0052_1592747285.ogg"
FOX = "The quick brown fox jumps over the lazy dog."
OTHERS = (
    "She had your dark suit in greasy wash water all year.",
    "The birch canoe slid on the smooth planks.",
    "Glue the sheet to the dark blue background.",
    "It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish.",
    "Rice is often served in round bowls.",
    "The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck.",
    "Four hours of steady work faced us.",
    "A large size in stockings is hard to sell.",
    "The boy was there when the sun rose.",
    "A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring.",
    "Kick the ball straight and follow through.",
    "Help the woman get back to her feet.",
    "A pot of tea helps to pass the evening.",
    "Smoky fires lack flame and heat.",
    "The soft cushion broke the man's fall.",
    "The salt breeze came across from the sea.",
)
"""The Harvard sentences and one of TIMIT's; no model of the package has heard them."""


@pytest.fixture(scope="module")
def synthesizer():
    return zipvoice.load(device="cpu")


@pytest.fixture(scope="module")
def voice():
    return voices.load(builtin.VOICE)


@pytest.fixture(scope="module")
def listener():
    return ClosedSetRecognizer([FOX, *OTHERS])


def test_everything_together_is_at_most_40_megabytes():
    files = [path for path in builtin.FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files) <= 40e6
    assert {path.suffix for path in files} <= {".py", ".md", ".json", ".txt", ".safetensors", ".gz"}, (
        "nothing to unpickle"
    )


@pytest.mark.parametrize("name", [*builtin.MODELS, builtin.VOCODER])
def test_everything_has_a_card_with_the_commands_that_made_it(name):
    card = (builtin.folder(name) / "README.md").read_text(encoding="utf-8")
    assert all(word in card.lower() for word in ("licences of the data", "egs/"))


def test_one_command_speaks_and_is_understood(tmp_path, listener, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["say", FOX, "-o", str(tmp_path / "fox.wav")]) == 0
    assert "fox.wav: " in capsys.readouterr().err
    assert listener.choose(read(tmp_path / "fox.wav")) == FOX


def test_what_it_says_is_understood(synthesizer, voice, listener):
    said = OTHERS[:6]
    heard = [listener.choose(synthesizer.synthesize(text, voice)) for text in said]
    assert sum(a == b for a, b in zip(heard, said, strict=True)) >= 5


def test_more_steps_come_closer_to_the_exact_solution(voice):
    small = zipvoice.load("zipvoice_small", device="cpu")
    exact, few, one = (small.synthesize(FOX, voice, num_steps=steps) for steps in (32, 6, 1))
    assert mel_distance(exact, few) < 0.7 * mel_distance(exact, one)


def test_distilled_three_steps_come_closer_to_the_exact_solution_than_two_of_the_teacher(synthesizer, voice):
    teacher = zipvoice.load("zipvoice_small", device="cpu")
    options = {"guidance_scale": 1.0, "seed": 3}
    exact = teacher.synthesize(FOX, voice, num_steps=32, **options)
    distilled = synthesizer.synthesize(FOX, voice, **options)  # 3 evaluations
    hurried = teacher.synthesize(FOX, voice, num_steps=2, **options)  # 4 evaluations, 2 for each step
    assert synthesizer.resolved(zipvoice.SynthesisOptions()).num_steps == 3
    assert mel_distance(exact, distilled) < mel_distance(exact, hurried)


@pytest.fixture(scope="module")
def with_vocos():
    """With the package's Vocos: Griffin-Lim magnifies how chunks side by side round differently."""
    return zipvoice.load(vocoder=builtin.VOCODER, device="cpu")


@pytest.mark.parametrize("name", ["heart", "libri26"])
def test_speech_in_a_loud_voice_is_not_clipped(synthesizer, name):
    """The vocoder's samples of these go beyond full scale; a hundredth of them was flat."""
    size = np.abs(synthesizer.synthesize(FOX, name).samples)
    assert (size > 0.999 * size.max()).sum() < 20


def test_a_stream_joined_is_the_whole(with_vocos, voice):
    text = " ".join(OTHERS[:3])
    parts = list(with_vocos.stream(text, voice))
    whole = with_vocos.synthesize(text, voice, first_chunk_seconds=3.0)
    assert len(parts) >= 2 and parts[0].seconds < 0.5 * whole.seconds
    together = np.concatenate([part.samples for part in parts], axis=1)
    np.testing.assert_allclose(together, whole.samples, atol=5e-3, rtol=0)


def test_a_text_in_chunks_is_understood_chunk_by_chunk(synthesizer, with_vocos, voice, listener):
    text = " ".join(OTHERS[:3])
    parts = list(synthesizer.parts(text, voice, max_chunk_seconds=6.0, one_by_one=True))
    silence = ((0, 0), (4800, 4800))  # a part ends where its words end, and the recogniser waits for more
    heard = [listener.choose(Audio(np.pad(part.samples, silence), 24000)) for part in parts[:3]]
    assert sum(a == b for a, b in zip(heard, OTHERS[:3], strict=True)) >= 2, heard

    parts = list(with_vocos.parts(text, voice, max_chunk_seconds=6.0, one_by_one=True))
    whole = with_vocos.synthesize(text, voice, max_chunk_seconds=6.0)
    together = np.concatenate([part.samples for part in parts], axis=1)
    np.testing.assert_allclose(together, whole.samples, atol=5e-3, rtol=0)


def test_the_voice_of_the_package_is_listed_and_cannot_be_removed(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("ZIPVOICE_VOICES", str(tmp_path))
    assert main(["voice", "list"]) == 0
    assert capsys.readouterr().out.startswith(f"{builtin.VOICE}\t")
    assert main(["voice", "remove", builtin.VOICE]) == 1
    assert "comes with the package and stays" in capsys.readouterr().err


def test_the_speech_is_more_like_its_voice_than_like_another(synthesizer):
    encoder = SpeakerEncoder()
    (recording, text), other = LJ, encoder.embed(read(KATHLEEN))
    spoken = encoder.embed(synthesizer.synthesize(FOX, synthesizer.prompt(recording, text)))
    assert encoder.embed(read(recording)) @ spoken > other @ spoken
