# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import pickle
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_models import make_model

from zipvoice import builtin, pretrained
from zipvoice.config.model import ModelConfig, Vocabulary
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import from_dict, write_json
from zipvoice.config.text import TokenizerConfig
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import (
    dialog_from_base,
    distilled_from_base,
    find_model,
    infer_variant,
    load_pretrained,
    save_pretrained,
    stereo_from_dialog,
)
from zipvoice.text.token_table import TokenTable
from zipvoice.weights import pack_int8, read_weights, write_weights

DATA = Path(__file__).parent / "data"
CASES = {
    "zipvoice_u3": "zipvoice",
    "distill_u3": "zipvoice_distill",
    "dialog_u3": "zipvoice_dialog",
    "stereo_u5": "zipvoice_dialog_stereo",
}
SIMPLE = TokenizerConfig("simple")


def reference(case: str) -> tuple[dict[str, torch.Tensor], ModelFile, TokenTable]:
    """Weights, configuration and a made-up token table of a small reference model."""
    path = DATA / "models" / f"{case}.weights.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    sizes = json.loads(metadata["tokenizer"])
    names = {sizes["pad_id"]: "_", sizes.get("spk_a_id"): "[S1]", sizes.get("spk_b_id"): "[S2]"}
    table = TokenTable(tuple(names.get(i, chr(0x4E00 + i)) for i in range(sizes["vocab_size"])))
    return load_file(path), from_dict(ModelFile, json.loads(metadata["config"])), table


def fresh(config: ModelConfig, size: int, variant: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return ZipVoice(config, Vocabulary(size, 0, size - 2, size - 1), variant).state_dict()


@pytest.fixture
def directory(tmp_path):
    """A model directory in the released layout."""
    weights, file, table = reference("zipvoice_u3")
    save_pretrained(tmp_path, weights, file, table)
    return tmp_path


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("case", CASES)
def test_every_variant_is_inferred_from_its_weights_and_loads_strictly(tmp_path, case):
    weights, file, table = reference(case)
    save_pretrained(tmp_path, weights, file, table)
    loaded = load_pretrained(tmp_path, tokenizer=SIMPLE)
    assert infer_variant(weights) == loaded.variant == loaded.file.variant == CASES[case]
    assert equal(loaded.model.state_dict(), weights)
    assert not loaded.model.training


def test_torch_and_safetensors_files_give_the_same_weights(directory):
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    torch.save({"model": wrapped, "exp_dir": pathlib.PosixPath("exp"), "epoch": 3}, directory / "model.pt")
    assert equal(load_pretrained(directory, tokenizer=SIMPLE).model.state_dict(), weights)


def test_the_tokenizer_and_variant_of_the_model_file_win_over_the_published_ones(directory):
    weights, file, table = reference("zipvoice_u3")
    tokenizer = TokenizerConfig("espeak", "de")
    save_pretrained(directory, weights, ModelFile(file.model, file.feature, "zipvoice", tokenizer), table)
    assert load_pretrained(directory).file.tokenizer == tokenizer


class Harmful:
    def __reduce__(self):
        return (pathlib.Path.touch, (pathlib.Path("harm"),))


def write_pickle(path):
    torch.save({"model": Harmful()}, path)


def write_truncated(path):
    torch.save({"model": {"a": torch.zeros(10_000)}}, path)
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("model.pt", write_pickle, "holds Python objects beside tensors; these can run code and are never loaded"),
        ("model.pt", write_truncated, "damaged or no torch file"),
        ("model.pt", lambda path: path.write_bytes(b""), "damaged or no torch file"),
        ("model.pt", lambda path: path.write_text("<html>"), "model.pt is"),
        ("model.pt", lambda path: path.write_bytes(pickle.dumps({"a": 1})), "model.pt"),
        ("model.pt", lambda path: torch.save({"optimizer": {}}, path), "holds no weights"),
        ("model.pt", lambda path: torch.save(torch.zeros(3), path), "holds no weights"),
        ("model.safetensors", lambda path: path.write_bytes(b"\x10"), "damaged or no safetensors file"),
        ("model.safetensors", lambda path: save_file({"a": torch.zeros(1)}, path), "does not fit the model"),
    ],
)
def test_a_wrong_weight_file_is_named_with_the_reason(directory, monkeypatch, name, write, message):
    monkeypatch.chdir(directory)
    (directory / "model.safetensors").unlink()
    write(directory / name)
    with pytest.raises(ValueError, match=message) as error:
        load_pretrained(directory, tokenizer=SIMPLE)
    assert name in str(error.value)
    assert not Path("harm").exists()


def test_a_truncated_safetensors_file_is_named(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        load_pretrained(directory, tokenizer=SIMPLE)


@pytest.mark.parametrize(
    ("key", "value"),
    [("fm_decoder_dim", 10**6), ("fm_decoder_num_layers", [10**5]), ("text_embed_dim", 10**7), ("pos_dim", 10**6)],
)
def test_sizes_are_compared_with_the_weights_before_a_network_is_made(directory, key, value):
    path = directory / "model.json"
    content = json.loads(path.read_text())
    content["model"][key] = value
    path.write_text(json.dumps(content))
    started = time.process_time()
    with pytest.raises(ValueError, match=rf"model\.safetensors does not fit the model: {key} is to be "):
        load_pretrained(directory, tokenizer=SIMPLE)
    assert time.process_time() - started < 2


def test_missing_files_are_named(directory):
    for name in ("model.safetensors", "tokens.txt", "model.json"):
        (directory / name).unlink()
        with pytest.raises(FileNotFoundError, match=name):
            load_pretrained(directory, tokenizer=SIMPLE)


def test_a_training_folder_without_weights_says_how_to_make_them(directory):
    (directory / "model.safetensors").unlink()
    (directory / "checkpoint-6.pt").touch()
    remedy = rf"`zipvoice train {directory}/run\.json --num-steps 6` ends the run there"
    with pytest.raises(FileNotFoundError, match=remedy):
        load_pretrained(directory)
    (directory / "checkpoint-9.pt").touch()
    with pytest.raises(FileNotFoundError, match=rf"zipvoice average --exp-dir {directory}"):
        load_pretrained(directory)
    (directory / "velocity.onnx").touch()
    with pytest.raises(FileNotFoundError, match="it has graphs, which speak on a CPU: leave out --runtime torch"):
        load_pretrained(directory)


def test_a_token_table_of_another_model_is_an_error_that_says_so(directory):
    _, _, table = reference("zipvoice_u3")
    TokenTable((*table.tokens, "extra")).write(directory / "tokens.txt")
    with pytest.raises(ValueError, match=r"embed.weight has shape \(37, 28\) instead of \(38, 28\).*tokens.txt"):
        load_pretrained(directory, tokenizer=SIMPLE)


def test_only_the_first_differences_are_listed(directory):
    write_json(ModelFile(ModelConfig(feat_dim=100)), directory / "model.json")
    with pytest.raises(ValueError, match=r"and \d+ more differences") as error:
        load_pretrained(directory, tokenizer=SIMPLE)
    assert len(str(error.value)) < 1000


def test_an_unknown_model_name_lists_the_near_one(tmp_path):
    with pytest.raises(ValueError, match="did you mean 'zipvoice_distill'"):
        find_model("zipvoice_distil")
    (tmp_path / "model.pt").touch()
    with pytest.raises(ValueError, match="is a file; give the directory"):
        find_model(tmp_path / "model.pt")


@pytest.mark.parametrize("name", [*builtin.MODELS, "zipvoice"])
def test_a_folder_of_something_else_does_not_hide_the_model_of_its_name(tmp_path, monkeypatch, name):
    (tmp_path / name).mkdir()  # as results of `zipvoice batch` are often called
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pretrained, "download", lambda *_: Path("downloaded"))
    assert find_model(name) == (builtin.folder(name) if name in builtin.MODELS else Path("downloaded"))
    (tmp_path / name / "model.json").touch()
    assert find_model(name) == Path(name)


def test_weights_survive_a_round_trip_through_safetensors(directory):
    assert equal(read_weights(directory / "model.safetensors"), reference("zipvoice_u3")[0])


# ---------------------------------------------------------------- surgery


def test_dialogue_from_base_meets_the_reference():
    expected = load_file(DATA / "surgery.safetensors")
    base, file, _ = reference("zipvoice_u3")
    new = fresh(file.model, 65, "zipvoice_dialog")
    new |= {name.removeprefix("extend.new_model."): v for name, v in expected.items() if "new_model" in name}
    result = dialog_from_base(base, new)
    for name in ("embed.weight", "spk_embed.weight"):
        assert torch.equal(result.pop(name), expected[f"extend.result.{name}"])
    assert equal(result, {name: value for name, value in base.items() if name != "embed.weight"})


def test_stereo_from_dialogue_meets_the_reference():
    expected = load_file(DATA / "surgery.safetensors")
    dialog, file, table = reference("dialog_u3")
    result = stereo_from_dialog(dialog, fresh(file.model, len(table), "zipvoice_dialog_stereo"))
    for name, value in expected.items():
        if name.startswith("stereo.result."):
            torch.testing.assert_close(result.pop(name.removeprefix("stereo.result.")), value, atol=1e-6, rtol=0)
    assert all(torch.equal(value, dialog[name]) for name, value in result.items())


def test_a_distilled_model_starts_as_its_teacher_with_a_fresh_guidance_embedding():
    base, file, table = reference("zipvoice_u3")
    new = fresh(file.model, len(table), "zipvoice_distill")
    result = distilled_from_base(base, new)
    name = "fm_decoder.guidance_scale_embed.weight"
    assert torch.equal(result.pop(name), new[name])
    assert equal(result, base)


def test_surgery_refuses_the_wrong_kind_of_weights():
    base, base_file, _ = reference("zipvoice_u3")
    dialog, _, _ = reference("dialog_u3")
    with pytest.raises(
        ValueError, match="starts from the weights of a zipvoice_dialog model; these are those of a zipvoice"
    ):
        stereo_from_dialog(base, fresh(base_file.model, 65, "zipvoice_dialog_stereo"))
    with pytest.raises(ValueError, match="these are those of a zipvoice_dialog model"):
        distilled_from_base(dialog, fresh(base_file.model, 37, "zipvoice_distill"))
    with pytest.raises(ValueError, match="not those of a ZipVoice model"):
        dialog_from_base({"a": torch.zeros(1)}, fresh(base_file.model, 65, "zipvoice_dialog"))
    with pytest.raises(ValueError, match="knows 37 tokens, more than the 30"):
        dialog_from_base(base, fresh(base_file.model, 30, "zipvoice_dialog"))


def test_surgery_names_the_first_differences_of_weights_of_another_size():
    base, file, _ = reference("zipvoice_u3")
    other = ModelConfig(**{**file.model.__dict__, "fm_decoder_dim": 32})
    with pytest.raises(ValueError, match=r"the base model does not fit.*has shape .* instead of .*more differences"):
        distilled_from_base(base, fresh(other, 37, "zipvoice_distill"))


# ---------------------------------------------------------------- few bytes


def test_weights_in_a_byte_each_are_close_and_keep_their_names(tmp_path):
    weights = {
        "a.weight": torch.randn(5, 70, generator=torch.Generator().manual_seed(0)) * torch.logspace(-3, 3, 5)[:, None],
        "a.bias": torch.tensor([1.0, -3.0]),
        "conv.weight": torch.randn(4, 1, 9, generator=torch.Generator().manual_seed(1)),
        "empty.weight": torch.zeros(2, 3),
        "bypass_scale": torch.tensor([0.25]),
    }
    small = pack_int8(weights)
    assert {name for name, value in small.items() if value.dtype == torch.int8} == {
        "a.weight", "conv.weight", "empty.weight"
    }  # fmt: skip
    write_weights(small, tmp_path / "small.safetensors")
    found = read_weights(tmp_path / "small.safetensors")
    assert found.keys() == weights.keys()
    for name, value in weights.items():
        rows = value.flatten(1) if value.dim() > 1 else value[:, None]
        step = rows.abs().amax(dim=1, keepdim=True) / 127
        error = (found[name].float() - value).reshape(rows.shape).abs()
        assert (error <= 0.5 * step + 1e-3 * rows.abs()).all(), name


def test_rows_next_to_zero_keep_a_scale_that_half_precision_holds(tmp_path):
    weights = {"a.weight": torch.tensor([[3e-6, -2e-6], [1e-9, 0.0], [0.0, 0.0]])}
    write_weights(pack_int8(weights), tmp_path / "small.safetensors")
    found = read_weights(tmp_path / "small.safetensors")["a.weight"]
    torch.testing.assert_close(found, weights["a.weight"], atol=1e-7, rtol=0)


def test_what_half_precision_does_not_hold_is_named():
    with pytest.raises(ValueError, match="half precision does not hold b"):
        pack_int8({"a": torch.ones(2), "b": torch.tensor([1e6])})


def test_a_model_in_a_byte_per_weight_is_loaded_like_any_other(tmp_path):
    make_model(tmp_path / "whole")
    whole = load_pretrained(tmp_path / "whole")
    save_pretrained(tmp_path / "small", pack_int8(whole.model.state_dict()), whole.file, whole.table)
    small = load_pretrained(tmp_path / "small").model.state_dict()
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(small[name], value, atol=value.abs().max().item() / 200, rtol=1e-3)
