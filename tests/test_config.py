# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import math
import re
import time

import numpy as np
import pytest

from zipvoice.config.data import CheckOptions, DataConfig, ManifestConfig, PrepareOptions
from zipvoice.config.export import ExportOptions
from zipvoice.config.model import FeatureConfig, ModelConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.server import ServerOptions
from zipvoice.config.strict_json import from_dict, read_json, to_dict, write_json
from zipvoice.config.synthesis import PUBLISHED_SAMPLING, SamplingConfig, SynthesisOptions, changed
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import LoopConfig, LoraConfig, ObjectiveConfig, OptimizerConfig, RunConfig
from zipvoice.config.vocoder import DiscriminatorConfig, VocoderRunConfig, VocosConfig
from zipvoice.server.admission import SchedulerLimits
from zipvoice.text.token_table import TokenTable

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


DEFAULTS = {
    PrepareOptions: {
        "output_dir": "data/manifests", "prefix": "custom", "subset": "train", "features": False, "stereo": False,
        "shar": False, "shard_size": 1000, "skip_bad_rows": False, "num_workers": 0,
    },
    ManifestConfig: {"weight": 1.0, "repeat": 1},
    DataConfig: {
        "train": (), "dev": (), "max_duration": 200.0, "min_len": 1.0, "max_len": 30.0, "num_buckets": 30,
        "shuffle": True, "buffer_size": 100_000, "on_the_fly": False, "stereo": False, "unknown_tokens": "error",
        "num_workers": 8,
    },
    CheckOptions: {"min_len": 1.0, "max_len": 30.0, "audio": True, "num_workers": 0},
    ServerOptions: {
        "host": "127.0.0.1", "port": 8000, "allow_anyone": False, "allow_origin": (), "allow_host": (),
        "voice_alias": (), "max_characters": 10_000, "max_upload_bytes": 10_000_000, "max_recording_seconds": 60.0,
        "max_voices": 1000, "max_connections": 1000, "receive_seconds": 60.0, "send_seconds": 60.0,
        "request_seconds": 300.0, "drain_seconds": 30.0, "log_requests": False, "log_texts": False,
    },
    SchedulerLimits: {
        "max_padding_share": 0.15, "queue_seconds": 2.0, "burst_seconds": 5.0, "max_requests": 64,
        "unread_seconds": 60.0, "reader_seconds": 120.0,
    },
    SamplingConfig: {
        "t_shift": 0.5, "temperature": 1.0, "solver": "euler", "guidance_every": 1, "contrast": 0.0,
        "time_contrast": 0.0, "match_spectrum": 0.0,
    },
    SynthesisOptions: {
        "fast": False, "speed": 1.0, "target_rms": 0.1, "loudness": -20.0, "keep_level": False, "seed": 666,
        "short_text_floor": True, "remove_long_silence": False, "word_times": False, "raw": False,
    },
    TokenizerConfig: {
        "type": "emilia", "language": "en-us", "skip_unknown": False, "compatible": False, "markdown": False,
    },
    OptimizerConfig: {
        "base_lr": 0.02, "schedule": "eden", "lr_batches": 7500.0, "lr_epochs": 10.0, "lr_hours": 30000.0,
        "clipping_scale": 2.0, "freeze": (),
    },
    ObjectiveConfig: {
        "condition_drop_ratio": 0.2, "time_power": 1.0, "exclusive_weight": 1.0, "ema_decay": 0.9999,
        "instant_ratio": 0.5, "student_steps": 4, "temperature": (1.0, 1.0), "guidance_scale": (0.0, 2.0),
    },
    LoraConfig: {"rank": 0, "alpha": 16.0, "dropout": 0.0, "targets": ("*",)},
    LoopConfig: {
        "exp_dir": "exp", "resume": "auto", "seed": 42, "precision": "fp32", "log_every": 50, "valid_every": 5000,
        "save_every": 5000, "keep_last": 30, "max_bad_batches": 10,
    },
    RunConfig: {
        "exp_dir": "exp/zipvoice", "variant": "zipvoice", "precision": "bf16", "num_epochs": 11, "accumulate": 1,
        "activation_checkpointing": False, "compile": False, "ref_duration": 50.0, "average_period": 200,
        "sample_every": 0, "vocoder": "griffin-lim",
    },
    VocosConfig: {"dim": 512, "intermediate_dim": 1536, "num_layers": 8},
    DiscriminatorConfig: {
        "periods": (2, 3, 5, 7, 11), "period_channels": (32, 128, 512, 1024, 1024), "period_weight": 1.0,
        "windows": (2048, 1024, 512), "window_channels": 64, "window_weight": 0.1,
    },
    VocoderRunConfig: {
        "exp_dir": "exp/vocos", "train": (), "dev": (), "num_steps": 1_000_000, "precision": "fp32", "keep_last": 2,
        "in_memory": False, "num_workers": 4, "crop_samples": 16384, "batch_size": 16, "gain_db": (-12.0, 6.0),
        "mel_weight": 45.0, "stft_weight": 0.0, "stft_windows": (2048, 1024, 512, 256, 128), "adversarial_from": 0,
        "lr": 5e-4, "warmup_steps": 0, "betas": (0.8, 0.9), "ema_decay": 0.999,
    },
}  # fmt: skip
"""What a setting is that nobody sets: whoever relies on one hears, learns or serves otherwise when it changes."""


@pytest.mark.parametrize("kind", DEFAULTS, ids=lambda kind: kind.__name__)
def test_what_is_not_set_is_known(kind):
    own = [field for field in dataclasses.fields(kind) if field.name in kind.__annotations__]
    known = {field.name: field.default for field in own if field.default not in (None, dataclasses.MISSING)}
    assert known == DEFAULTS[kind]


def test_json_round_trip(tmp_path):
    value = ModelFile(
        model=ModelConfig(fm_decoder_downsampling_factor=(1, 2, 1), feat_dim=20),
        variant="zipvoice_dialog",
        tokenizer=TokenizerConfig(type="espeak", language="de"),
    )
    write_json(value, tmp_path / "deep" / "model.json")
    assert read_json(ModelFile, tmp_path / "deep" / "model.json") == value


def test_the_mark_that_editors_on_windows_put_first_is_no_part_of_a_file(tmp_path):
    (tmp_path / "run.json").write_bytes(b'\xef\xbb\xbf{"seed": 7}')
    assert read_json(RunConfig, tmp_path / "run.json").seed == 7
    (tmp_path / "tokens.txt").write_bytes(b"\xef\xbb\xbf_\t0\na\t1\n")
    assert TokenTable.read(tmp_path / "tokens.txt") == TokenTable(("_", "a"))


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


def test_integers_have_at_most_20_digits(tmp_path):
    (tmp_path / "a.json").write_text('{"seed": ' + "1" * 20 + "}")
    with pytest.raises(ValueError, match=r"seed must be below 2\^63"):
        read_json(SynthesisOptions, tmp_path / "a.json")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("speed", "1.1", "a number"),
        ("speed", None, "a number"),
        ("speed", True, "a number"),
        ("seed", None, "a whole number"),
        ("num_steps", 2.5, "a whole number"),
        ("raw", "no", "True or False"),
        ("duration", [3.0], "a number"),
    ],
)
def test_options_of_another_kind_are_refused(name, value, wanted):
    with pytest.raises(ValueError, match=f"{name} must be {wanted}, not {re.escape(repr(value))}"):
        SynthesisOptions(**{name: value})


def test_options_are_changed_by_name_with_numbers_of_numpy_too():
    options = changed(None, {"speed": np.float32(1.5), "seed": np.int64(3), "num_steps": None})
    assert options == SynthesisOptions(speed=1.5, seed=3)
    with pytest.raises(TypeError, match="there is no option 'sped'; did you mean 'speed'"):
        changed(options, {"sped": 1.1})
    with pytest.raises(TypeError, match=r"options are zipvoice.SynthesisOptions\(...\), not a dict"):
        changed({"speed": 1.1}, {})


def test_times_may_be_an_array():
    assert SynthesisOptions(time_grid=np.linspace(0, 1, 3)) == SynthesisOptions(time_grid=(0.0, 0.5, 1.0))


def test_griffin_lim_is_no_vocoder_to_export():
    with pytest.raises(ValueError, match="griffin-lim needs no graph; leave out vocoder, or give vocos_small"):
        ExportOptions("model", "graphs", vocoder="griffin-lim")


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
        (LoopConfig, "exp_dir", ""),
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


INF, NAN = float("inf"), float("nan")
SEVEN = ManifestConfig("a", replay=0.7)
LIMITS = [
    (SynthesisOptions, "num_steps", (1, 1000), (0, -1, 1001)),
    (SynthesisOptions, "guidance_every", (1,), (0,)),
    (SynthesisOptions, "contrast", (0.0, 2.0), (-0.1, 2.1, NAN)),
    (SynthesisOptions, "time_contrast", (0.0, 2.0), (-0.1, 2.1, NAN)),
    (SynthesisOptions, "match_spectrum", (0.0, 1.0), (-0.1, 1.1, NAN)),
    (SynthesisOptions, "speed", (0.01, 1000.0), (0.0, 0.0099, 1000.1, NAN)),
    (SynthesisOptions, "duration", (0.01, 86_399.9), (0.0, -1.0, 86_400.0, NAN)),
    (SynthesisOptions, "seed", (0, 2**63 - 1, 1 - 2**63), (2**63, -(2**63))),
    (SynthesisOptions, "t_shift", (0.01, 1.0), (0.0, 1.01, NAN)),
    (SynthesisOptions, "temperature", (0.0, 1.0), (-0.01, 1.01)),
    (SynthesisOptions, "loudness", (-60.0, 0.0), (-60.1, 0.1, NAN)),
    (SynthesisOptions, "target_rms", (0.0, 1.0), (-0.01, 1.01, NAN)),
    (SynthesisOptions, "guidance_scale", (0.0, 1e6), (-0.1, INF)),
    (SynthesisOptions, "max_chunk_seconds", (0.1,), (0.0, INF)),
    (SynthesisOptions, "first_chunk_seconds", (0.1,), (0.0, INF)),
    (SynthesisOptions, "max_batch_seconds", (0.1,), (0.0, INF)),
    (SynthesisOptions, "time_grid", ((0, 1), (0, 0.9, 1)), ((), (0.0,), (0, 0.5, 0.5, 1), (0.1, 1), (0, 0.9))),
    (SynthesisOptions, "guidance_interval", ((0, 1), (0.5, 0.5)), ((-0.1, 1), (0, 1.1), (0.6, 0.4), (0.5,), (0, 0, 1))),
    (SamplingConfig, "guidance_every", (1,), (0,)),
    (SamplingConfig, "contrast", (0.0, 2.0), (-0.1, 2.1, NAN)),
    (SamplingConfig, "time_contrast", (0.0, 2.0), (-0.1, 2.1, NAN)),
    (SamplingConfig, "match_spectrum", (0.0, 1.0), (-0.1, 1.1, NAN)),
    (SamplingConfig, "time_grid", ((0, 0.1, 0.2, 0.5, 1),), ((0, 0.1, 0.2, 1), (0, 0.1, 0.2, 0.2, 1))),
    (ObjectiveConfig, "instant_ratio", (0.0, 0.99), (-0.1, 1.0)),
    (ObjectiveConfig, "time_power", (0.1,), (0.0,)),
    (ObjectiveConfig, "mask_fraction", ((0.1, 1.0), (0.5, 0.5)), ((0.0, 1.0), (0.1, 1.1), (0.1, 0.2, 0.3))),
    (ObjectiveConfig, "kind", ("flow-matching", None), ("distillation", "mean-flow")),
    (ObjectiveConfig, "condition_drop_ratio", (0.0, 1.0), (-0.1, 1.1)),
    (ObjectiveConfig, "exclusive_weight", (0.0,), (-0.1, INF)),
    (ObjectiveConfig, "ema_decay", (0.0, 1.0), (-0.1, 1.1)),
    (LoraConfig, "rank", (0,), (-1,)),
    (LoraConfig, "alpha", (0.1,), (0.0, INF)),
    (LoraConfig, "dropout", (0.0, 0.99), (-0.1, 1.0)),
    (LoraConfig, "targets", (("a",),), ((),)),
    *((RunConfig, name, (1,), (0,)) for name in RunConfig.counts),
    (RunConfig, "save_every_seconds", (0.1, None), (0.0, INF)),
    (RunConfig, "num_steps", (0, None), (-1,)),
    (RunConfig, "max_seconds", (0.0, None), (-0.1, INF)),
    (RunConfig, "num_epochs", (0,), (-1,)),
    (RunConfig, "sample_every", (0,), (-1,)),
    (PrepareOptions, "shard_size", (1,), (0,)),
    (PrepareOptions, "num_workers", (0,), (-1,)),
    (PrepareOptions, "prefix", ("a.b",), ("a/b", "a\\b")),
    (PrepareOptions, "subset", ("a.b",), ("a/b", "a\\b")),
    (PrepareOptions, "tokens", (None,), ("tokens.txt",)),
    (ManifestConfig, "replay", (0.01, 0.99), (0.0, 1.0)),
    (ManifestConfig, "weight", (0.1,), (0.0, INF)),
    (ManifestConfig, "repeat", (1,), (0,)),
    (DataConfig, "max_duration", (0.1,), (0.0,)),
    (DataConfig, "min_len", (0.0,), (-0.1,)),
    (DataConfig, "max_len", (1.1,), (1.0, 0.5, INF)),
    (DataConfig, "num_buckets", (1,), (0,)),
    (DataConfig, "buffer_size", (1,), (0,)),
    (DataConfig, "num_workers", (0,), (-1,)),
    (DataConfig, "dev", ((SEVEN, ManifestConfig("b")),), ((SEVEN,), (SEVEN, ManifestConfig("b", replay=0.2)))),
    (DataConfig, "train", ((ManifestConfig("b"),),), ((SEVEN, ManifestConfig("b", replay=0.3), ManifestConfig("c")),)),
    (CheckOptions, "min_len", (0.0,), (-0.1,)),
    (CheckOptions, "max_len", (0.0,), (-0.1, NAN)),
    (CheckOptions, "num_workers", (0,), (-1,)),
    *((VocosConfig, name, (1,), (0,)) for name in ("dim", "intermediate_dim", "num_layers")),
    (DiscriminatorConfig, "periods", ((1,), ()), ((0,),)),
    (DiscriminatorConfig, "period_channels", ((1,),), ((0,), ())),
    (DiscriminatorConfig, "windows", ((1,), ()), ((0,),)),
    (DiscriminatorConfig, "window_channels", (1,), (0,)),
    (VocoderRunConfig, "crop_samples", (1280,), (1024, 1281, 1400)),
    (VocoderRunConfig, "gain_db", ((-1.0, -1.0),), ((1.0, 0.0), (1.0,), (0.0, 1.0, 2.0))),
    (VocoderRunConfig, "stft_windows", ((4,),), ((3,), ())),
    (VocoderRunConfig, "betas", ((0.0, 1.0), (0.5, 0.5)), ((0.9, 0.8), (-0.1, 0.5), (0.5, 1.1))),
    (VocoderRunConfig, "ema_decay", (0.0, 0.99), (-0.1, 1.0)),
    (VocoderRunConfig, "lr", (1e-9,), (0.0, INF)),
    (VocoderRunConfig, "num_workers", (0,), (-1,)),
    (VocoderRunConfig, "mel_weight", (0.0,), (-0.1, INF)),
    (VocoderRunConfig, "stft_weight", (0.0,), (-0.1, INF)),
    (VocoderRunConfig, "batch_size", (1,), (0,)),
    (VocoderRunConfig, "num_steps", (1,), (0,)),
    *((ServerOptions, name, (1,), (0,)) for name in ("max_characters", "max_upload_bytes", "max_connections")),
    *(
        (ServerOptions, f"{name}_seconds", (0.1,), (0.0, NAN))
        for name in ("max_recording", "receive", "send", "request")
    ),
    (ServerOptions, "max_voices", (0,), (-1,)),
    (ServerOptions, "drain_seconds", (0.0,), (-0.1,)),
    (ServerOptions, "port", (0, 65535), (-1, 65536)),
]
NEEDED = {
    SamplingConfig: {"num_steps": 4, "guidance_scale": 1.0},
    PrepareOptions: {"source": "a"},
    ManifestConfig: {"path": "a"},
    CheckOptions: {"source": "a"},
}


@pytest.mark.parametrize(
    ("kind", "name", "accepted", "refused"), LIMITS, ids=lambda value: getattr(value, "__name__", None)
)
def test_settings_have_their_limits(kind, name, accepted, refused):
    needed = NEEDED.get(kind, {})
    for value in accepted:
        kind(**{**needed, name: value})
    for value in refused:
        with pytest.raises(
            ValueError, match=r"must|at least|needs a model|part of the names|of use with|mask_fraction|time_grid"
        ):
            kind(**{**needed, name: value})


def test_settings_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match="replayed by its share, without weight and repeat"):
        ManifestConfig("a", replay=0.5, repeat=2)
    with pytest.raises(ValueError, match="replayed by its share, without weight and repeat"):
        ManifestConfig("a", replay=0.5, weight=2.0)
    with pytest.raises(ValueError, match="give periods, windows or both"):
        DiscriminatorConfig(periods=(), windows=())
    with pytest.raises(ValueError, match=r"kind flow-matching has no use for objective\.teacher"):
        ObjectiveConfig(kind="flow-matching", teacher="a")
    with pytest.raises(ValueError, match="leave out duration or raw"):
        SynthesisOptions(raw=True, duration=1.0)
    with pytest.raises(ValueError, match="the language 'de' is for the tokenizer espeak, not emilia"):
        TokenizerConfig(language="de")
    with pytest.raises(ValueError, match="leave out fast or raw"):
        SynthesisOptions(raw=True, fast=True)
    with pytest.raises(ValueError, match="time_grid has 2 steps and num_steps is 3; leave it out"):
        SynthesisOptions(num_steps=3, time_grid=(0, 0.5, 1))
    for name, value in (("guidance_interval", (0.0, 0.5)), ("guidance_every", 2)):
        options = SynthesisOptions(**{name: value})
        with pytest.raises(
            ValueError, match=f"a distilled model has guidance at all times, at no cost; leave out {name}"
        ):
            options.resolved("zipvoice_distill", PUBLISHED_SAMPLING["zipvoice_distill"])
        assert getattr(options.resolved("zipvoice", PUBLISHED_SAMPLING["zipvoice"]), name) == value
    with pytest.raises(ValueError, match="solver mean-flow is for models that were trained"):
        SynthesisOptions(solver="mean-flow").resolved("zipvoice", PUBLISHED_SAMPLING["zipvoice"])


def test_the_loudness_of_speech_is_left_to_the_recording_on_request():
    suits = PUBLISHED_SAMPLING["zipvoice"]
    asked = [SynthesisOptions(loudness=-23.0, **more) for more in ({}, {"keep_level": True}, {"raw": True})]
    assert [options.resolved("zipvoice", suits).level for options in asked] == [-23.0, None, None]
