# SPDX-License-Identifier: Apache-2.0
"""The card of the models of the package: what they are asked to say, and the figures that are written into it."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from zipvoice.audio.files import Audio, read, write
from zipvoice.builtin import FOLDER, voices

RECIPE = Path(__file__).parents[1] / "egs" / "small"
CARD = "# Models\n\n<!-- figures -->\nold\n<!-- end of figures -->\n\n## Limits\n"


def script(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(RECIPE / "local")
        return importlib.import_module(name)


def write_scores(path: Path, rate: float) -> None:
    header = {"format": "zipvoice-scores-1", "judges": [], "by": [{"model": "ear", "sha256": "ab", "detail": "v1"}]}
    line = {"key": [], "name": "s01", "speaker": "", "path": "s01.wav", "text": "", "heard": "", "seconds": 2.0}
    line["scores"] = {"word_error_rate": [rate, 10]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(header) + "\n" + json.dumps(line) + "\n", encoding="utf-8")


def test_the_figures_of_the_card_are_written_anew_and_all_else_stays(tmp_path):
    scores, card = tmp_path / "scores", tmp_path / "README.md"
    for name, rate in (("zipvoice_small", 0.2), ("recordings", 0.1), ("zipvoice_small_distill", 0.3)):
        write_scores(scores / "kathleen" / f"{name}.jsonl", rate)
    write_scores(scores / "voices" / "recordings.jsonl", 0.4)
    card.write_text(CARD, encoding="utf-8")
    for _ in range(2):
        script("card").main(scores, card)
        text = card.read_text(encoding="utf-8")
        assert text.startswith("# Models\n\n<!-- figures -->\n")
        assert text.endswith("<!-- end of figures -->\n\n## Limits\n")
        assert "old" not in text
        rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.startswith("| ")]
        assert rows[0][2:-1] == ["recordings", "zipvoice_small", "zipvoice_small_distill"]
        assert [cell.split(" [")[0] for cell in rows[4][2:-1]] == ["10.00 %", "20.00 %", "30.00 %"]
        assert text.index("voice `kathleen`") < text.index("voices of readers") < text.index("40.00 %")
        assert text.count("- ear (v1), sha256 ab") == 2


def test_a_card_without_marks_is_an_error(tmp_path):
    write_scores(tmp_path / "scores" / "kathleen" / "a.jsonl", 0.1)
    (tmp_path / "README.md").write_text("# Models\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no part between <!-- figures -->"):
        script("card").main(tmp_path / "scores", tmp_path / "README.md")


def test_the_card_of_the_package_has_the_marks():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert text.index("<!-- figures -->\n") < text.index("<!-- end of figures -->\n")


def test_sixty_different_sentences_are_held_out():
    sentences = (RECIPE / "conf" / "heldout_sentences.txt").read_text(encoding="utf-8").splitlines()
    assert len(sentences) == len({script("list_corpora").letters(sentence) for sentence in sentences}) == 60


def test_sixty_sentences_of_three_kinds_are_different():
    sentences = (RECIPE / "conf" / "unseen_sentences.txt").read_text(encoding="utf-8").splitlines()
    letters = {script("list_corpora").letters(sentence) for sentence in sentences}
    held_out = (RECIPE / "conf" / "heldout_sentences.txt").read_text(encoding="utf-8").splitlines()
    assert len(sentences) == len(letters) == 60
    assert len(letters & {script("list_corpora").letters(sentence) for sentence in held_out}) <= 20


def test_every_voice_of_the_package_says_every_sentence_and_readers_are_not_compared_with_their_prompts(tmp_path):
    module = script("list_evaluation")
    takes = {"kathleen": ["One two.", "Three four."], "ljspeech": [f"Text {n}." for n in "abcd"]}
    for corpus in module.CORPORA:
        rows = ["id\tspeaker\tlanguage\tseconds\taudio\ttext"]
        for number, text in enumerate(takes.get(corpus, [])):
            rows.append(f"{corpus}{number}\t{corpus}\ten\t4.0\taudio/{number}.wav\t{text}")
            samples = np.full((1, 2400), (number + 1) / 10, np.float32)
            write(tmp_path / corpus / "audio" / f"{number}.wav", Audio(samples, 24000))
        (tmp_path / corpus).mkdir(exist_ok=True)
        (tmp_path / corpus / "utterances.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "said.txt").write_text("Three four.\nOne two.\n", encoding="utf-8")
    (tmp_path / "kinds.txt").write_text("Five.\n", encoding="utf-8")
    module.main(tmp_path / "said.txt", tmp_path / "kinds.txt", tmp_path, tmp_path / "data", tmp_path / "results")

    assert json.loads((tmp_path / "data" / "voice_heart.jsonl").read_text()) == {
        "id": "s01",
        "text": "Five.",
        "voice": "heart",
    }
    for voice in {*voices()} - {"heart"}:
        lines = (tmp_path / "data" / f"voice_{voice}.jsonl").read_text(encoding="utf-8").splitlines()
        assert list(map(json.loads, lines)) == [
            {"id": "s01", "text": "Three four.", "voice": voice},
            {"id": "s02", "text": "One two.", "voice": voice},
        ]
    copies = (tmp_path / "data" / "copies.tsv").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[2] for line in copies] == [
        str(tmp_path / "kathleen" / "audio" / f"{number}.wav") for number in (1, 0)
    ]
    tasks = [line.split("\t") for line in (tmp_path / "data" / "voices.tsv").read_text(encoding="utf-8").splitlines()]
    assert [(name, Path(prompt).stem, text) for name, _, prompt, text in tasks] == [
        ("ljspeech_0", "0", "Three four."),
        ("ljspeech_1", "1", "One two."),
    ]
    levels = [read(tmp_path / "results/voices/recordings" / f"{task[0]}.flac").samples.mean() for task in tasks]
    assert levels == pytest.approx([0.3, 0.4], abs=1e-3)
