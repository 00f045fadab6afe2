# SPDX-License-Identifier: Apache-2.0
"""The released configuration, with random weights in the released layout."""

import json
import math

import numpy as np
import pytest
import torch

import zipvoice
from zipvoice.audio.files import Audio
from zipvoice.config.model import ModelConfig, Vocabulary
from zipvoice.config.strict_json import to_dict
from zipvoice.config.text import TokenizerConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.text.token_table import TokenTable

RELEASED_LAYOUT = ("model.json", "model.pt", "tokens.txt")


@pytest.mark.slow
def test_a_directory_in_the_released_layout_loads_strictly_and_speaks(tmp_path):
    torch.manual_seed(0)
    table = TokenTable(("_", *(chr(0x61 + i) for i in range(26)), " ", ".", *(f"t{i}" for i in range(360 - 29))))
    model = ZipVoice(ModelConfig(), Vocabulary(360), "zipvoice")
    assert sum(parameter.numel() for parameter in model.parameters()) == 122_664_804

    feature = {"sampling_rate": 24000, "type": "vocos"}
    (tmp_path / "model.json").write_text(json.dumps({"model": to_dict(ModelConfig()), "feature": feature}))
    torch.save({"model": model.state_dict()}, tmp_path / "model.pt")
    table.write(tmp_path / "tokens.txt")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(RELEASED_LAYOUT)

    synthesizer = zipvoice.load(tmp_path, vocoder="griffin-lim", device="cpu", tokenizer=TokenizerConfig("simple"))
    wave = 0.3 * np.sin(2 * math.pi * 220 * np.arange(24000) / 24000)
    tone = Audio(wave.astype(np.float32)[None], 24000)
    audio = synthesizer.synthesize("hello there.", synthesizer.prompt(tone, "a low tone"), num_steps=2)
    assert np.isfinite(audio.samples).all()
    assert 0.5 < audio.seconds < 2.0

    state = torch.load(tmp_path / "model.pt", weights_only=True)
    del state["model"]["embed.weight"]
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"model\.pt does not fit the model: embed\.weight is missing"):
        zipvoice.load(tmp_path, vocoder="griffin-lim", tokenizer=TokenizerConfig("simple"))
