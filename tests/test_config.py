# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math
import re
import time

import numpy as np
import pytest

from zipvoice.config.data import DataConfig
from zipvoice.config.model import FeatureConfig, ModelConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import from_dict, read_json, to_dict, write_json
from zipvoice.config.synthesis import SynthesisOptions
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import LoopConfig, ObjectiveConfig, OptimizerConfig, RunConfig
from zipvoice.config.vocoder import VocoderRunConfig

RELEASED = {
    "model": {
        "fm_decoder_downsampling_factor": [1, 2, 4, 2, 1],
        "fm_decoder_num_layers": [2, 2, 4, 4, 4],
        "fm_decoder_cnn_module_kernel": [31, 15, 7, 15, 31],
        "fm_decoder_feedforward_dim": 1536,
        "fm_decoder_num_heads": 4,
        "fm_decoder_dim": 512,
        "text_encoder_num_layers": 4,
        "text_encoder_feedforward_dim": 512,
        "text_encoder_cnn_module_kernel": 9,
        "text_encoder_num_heads": 4,
        "text_encoder_dim": 192,
        "query_head_dim": 32,
        "value_head_dim": 12,
        "pos_head_dim": 4,
        "pos_dim": 48,
        "time_embed_dim": 192,
        "text_embed_dim": 192,
        "feat_dim": 100,
    },
    "feature": {"sampling_rate": 24000, "type": "vocos"},
}


def test_a_released_model_file_equals_the_defaults(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(RELEASED))
    assert read_json(ModelFile, path) == ModelFile()


def test_json_round_trip(tmp_path):
    value = ModelFile(
        model=ModelConfig(fm_decoder_downsampling_factor=(1, 2, 1), feat_dim=20),
        variant="zipvoice_dialog",
        tokenizer=TokenizerConfig(type="espeak", language="de"),
    )
    write_json(value, tmp_path / "deep" / "model.json")
    assert read_json(ModelFile, tmp_path / "deep" / "model.json") == value


def test_optional_fields_that_are_unset_are_not_written():
    assert set(to_dict(ModelFile())) == {"model", "feature"}
    assert from_dict(SynthesisOptions, {"num_steps": None}) == SynthesisOptions()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modell": {}}, "unknown key 'modell'; did you mean 'model'?"),
        ({"model": {"text_embed_dims": 3}}, "at model: unknown key 'text_embed_dims'; did you mean 'text_embed_dim'?"),
        ({"model": {"feat_dim": "100"}}, 'at model.feat_dim: expected int, found str "100"'),
        ({"model": {"feat_dim": True}}, "at model.feat_dim: expected int, found bool true"),
        ({"model": {"fm_decoder_num_layers": 2}}, "at model.fm_decoder_num_layers: expected a list, found int 2"),
        ({"model": {"fm_decoder_num_layers": [2, "2"]}}, "at model.fm_decoder_num_layers[1]: expected int"),
        ({"feature": {"type": "fbank"}}, "at feature.type: str \"fbank\" is not one of 'vocos'"),
        ({"variant": "zipvoice2"}, "at variant: str \"zipvoice2\" is not one of 'zipvoice', 'zipvoice_distill'"),
        ([], "expected an object with the keys of ModelFile, found list []"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, change, message):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(change))
    with pytest.raises(ValueError) as error:
        read_json(ModelFile, path)
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)


def test_broken_json_names_the_file_and_the_line(tmp_path):
    path = tmp_path / "model.json"
    path.write_text('{"model": \n{')
    with pytest.raises(ValueError, match=r"model\.json is not valid JSON.*line 2"):
        read_json(ModelFile, path)


def test_integers_are_accepted_where_floats_are_expected():
    assert from_dict(SynthesisOptions, {"speed": 2}).speed == 2.0
    assert type(from_dict(SynthesisOptions, {"speed": 2}).speed) is float


def test_a_missing_required_key_is_named():
    @dataclasses.dataclass(frozen=True)
    class Row:
        path: str
        weight: float = 1.0

    with pytest.raises(ValueError, match="the key 'path' is missing"):
        from_dict(Row, {"weight": 1.0})


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        SynthesisOptions().speed = 2.0


@pytest.mark.parametrize("fraction", [[0.5], [0.6, 0.4], [0.0, 0.5], [0.5, 1.1]])
def test_a_mask_takes_two_fractions_in_order(fraction):
    with pytest.raises(ValueError, match=r"mask_fraction takes the least and the greatest fraction, above 0"):
        from_dict(ObjectiveConfig, {"mask_fraction": fraction})
    assert from_dict(ObjectiveConfig, {"mask_fraction": [0.4, 0.5]}).mask_fraction == (0.4, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' stands there twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' stands there twice"),
        ('{"a": ' + "9" * 21 + "}", "a number of 21 digits"),
        ('{"a": ' + "9" * 400 + "}", "a number of 400 digits"),
        ('{"a": -1e999}', "-1e999 is not a number"),
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": ' + "[" * 100_000, "nested too deeply|not valid JSON"),
        ('{"a": ' * 5000 + "1" + "}" * 5000, "nested too deeply|unknown key"),
    ],
)
def test_json_that_no_settings_have_is_refused_with_the_file(tmp_path, text, message):
    (tmp_path / "model.json").write_text(text)
    started = time.process_time()
    with pytest.raises(ValueError, match=rf"model\.json.*({message})"):
        read_json(ModelConfig, tmp_path / "model.json")
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speed", 1e-9),
        ("speed", 1e9),
        ("duration", 1e12),
        ("duration", 86_400),
        ("num_steps", 10**9),
        ("seed", 10**99),
        ("solver", "rk9"),
    ],
)
def test_options_that_would_never_end_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be .*, not {re.escape(str(value)[:40])}"):
        SynthesisOptions(**{name: value})
    SynthesisOptions(speed=0.05, duration=86_399.0, num_steps=1000)


def test_times_may_be_an_array():
    assert SynthesisOptions(time_grid=np.linspace(0, 1, 3)) == SynthesisOptions(time_grid=(0.0, 0.5, 1.0))


def test_a_truth_value_is_no_number():
    with pytest.raises(ValueError, match="expected float, found bool true"):
        from_dict(SynthesisOptions, {"speed": True})
    assert from_dict(SynthesisOptions, {"speed": 2}).speed == 2.0


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (OptimizerConfig, "base_lr", 0.0),
        (OptimizerConfig, "base_lr", math.nan),
        (OptimizerConfig, "lr_batches", 0.0),
        (OptimizerConfig, "lr_epochs", -1.0),
        (OptimizerConfig, "lr_hours", 0.0),
        (OptimizerConfig, "clipping_scale", 0.0),
        (ObjectiveConfig, "condition_drop_ratio", 1.1),
        (ObjectiveConfig, "time_power", math.nan),
        (ObjectiveConfig, "exclusive_weight", -1.0),
        (ObjectiveConfig, "ema_decay", 1.5),
        (LoopConfig, "num_steps", -1),
        (LoopConfig, "max_seconds", math.nan),
        (LoopConfig, "save_every_seconds", math.nan),
        (RunConfig, "num_epochs", -1),
        (RunConfig, "ref_duration", 0.0),
        (RunConfig, "sample_every", -1),
        (VocoderRunConfig, "lr", math.inf),
        (VocoderRunConfig, "num_workers", -1),
        (VocoderRunConfig, "mel_weight", math.nan),
        (VocoderRunConfig, "stft_weight", -1.0),
        (DataConfig, "max_duration", math.inf),
        (DataConfig, "max_len", math.inf),
        (ModelConfig, "query_head_dim", 0),
        (FeatureConfig, "sampling_rate", 16000),
        (FeatureConfig, "scale", 0.0),
    ],
)
def test_settings_that_no_run_could_use_are_refused(kind, name, value):
    with pytest.raises(ValueError, match=rf"{name} must be .*, not {value}"):
        kind(**{name: value})
    kind(**{name: getattr(kind(), name)})
