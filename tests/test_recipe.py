# SPDX-License-Identifier: Apache-2.0
"""The whole way on the command line: recordings -> manifest -> training -> average -> speech."""

from pathlib import Path

import pytest
from tiny_models import TINY

from zipvoice.audio.files import read
from zipvoice.cli import main
from zipvoice.config.data import DataConfig, ManifestConfig
from zipvoice.config.strict_json import read_json, write_json
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import RunConfig
from zipvoice.text.vocabularies import corpus_table

CORPUS = Path(__file__).parent / "data" / "corpus"


@pytest.fixture
def run_file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    texts = [line.split("\t")[1] for line in (CORPUS / "utterances.tsv").read_text().splitlines()]
    corpus_table(map(list, [*texts, "."])).write("tokens.txt")
    manifest = (ManifestConfig("data/mine_cuts_train.jsonl.gz"),)
    data = DataConfig(train=manifest, dev=manifest, max_duration=10.0, num_workers=0)
    settings = {"num_steps": 4, "average_period": 1, "save_every": 2, "valid_every": 2, "precision": "fp32"}
    write_json(
        RunConfig("exp", model=TINY, tokenizer=TokenizerConfig("simple"), tokens="tokens.txt", data=data, **settings),
        tmp_path / "run.json",
    )
    return tmp_path / "run.json"


def test_from_recordings_to_speech(run_file, capfd):
    source = ["--source", str(CORPUS / "utterances.tsv"), "--output-dir", "data", "--prefix", "mine"]
    assert main(["prepare", *source, "--features", "--storage", "numpy_files"]) == 0
    assert "data/mine_cuts_train.jsonl.gz: 6 utterances" in capfd.readouterr().err

    assert main(["train", "run.json", "--optim.base-lr", "0.01"]) == 0
    assert read_json(RunConfig, "exp/run.json").optim.base_lr == 0.01
    losses = [line for line in capfd.readouterr().err.splitlines() if "step 4: validation loss" in line]
    assert len(losses) == 1, "each message is told once"

    assert main(["average", "--exp-dir", "exp"]) == 0
    assert "wrote exp/model.safetensors" in capfd.readouterr().err

    name, text, path = (CORPUS / "utterances.tsv").read_text().splitlines()[0].split("\t")
    voice = ["--voice", str(CORPUS / path), "--voice-text", text]
    command = ["say", text, *voice, "--model", "exp", "--vocoder", "griffin-lim", "--num-steps", "1"]
    assert main([*command, "-o", f"{name}.wav"]) == 0
    assert read(f"{name}.wav").seconds > 0.5


def test_a_misspelt_setting_is_named_with_the_nearest_one(run_file, capfd):
    run_file.write_text(run_file.read_text().replace('"max_duration"', '"max_durations"'))
    assert main(["train", "run.json"]) == 1
    assert "run.json: at data: unknown key 'max_durations'; did you mean 'max_duration'?" in capfd.readouterr().err
