# SPDX-License-Identifier: Apache-2.0
import json
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import LETTERS, TINY
from torch import nn

from zipvoice.config.model import FeatureConfig
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import write_json
from zipvoice.config.text import TokenizerConfig
from zipvoice.config.training import LoraConfig, MergeOptions, RunConfig
from zipvoice.model.condition import Condition
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import load_pretrained, save_pretrained
from zipvoice.text.token_table import TokenTable
from zipvoice.training.lora import (
    ADDED_ROWS,
    PREFIX,
    adapt,
    adaptable,
    check_adapter,
    is_adapted,
    merge,
    merged,
    save_adapter,
)
from zipvoice.training.model_init import adapted_layers
from zipvoice.training.optimizer import ScaledAdam, parameter_groups
from zipvoice.weights import write_weights

peft = pytest.importorskip("peft")
CONFIG = LoraConfig(rank=3, alpha=6.0)
NUM_TOKENS = len(LETTERS)


def tiny_model(variant="zipvoice", vocabulary=LETTERS.vocabulary):
    torch.manual_seed(0)
    return ZipVoice(TINY, vocabulary, variant).eval()


def adapted_model(config=CONFIG, num_known=NUM_TOKENS, variant="zipvoice"):
    model = tiny_model(variant)
    adapt(model, adapted_layers(model, config.targets), config, num_known)
    return model


def trainable(model):
    return {name: param for name, param in model.named_parameters() if param.requires_grad}


def scramble(model):
    """Give all that is trained random values, as training might."""
    torch.manual_seed(1)
    with torch.no_grad():
        for param in trainable(model).values():
            param.add_(torch.randn_like(param) * 0.2)
    return model


def velocity(model):
    generator = torch.Generator().manual_seed(2)
    x, speech = torch.randn(2, 2, 24, 100, generator=generator)
    text = model.condition_text([[1, 20, NUM_TOKENS - 1], [7]], [24, 19])
    padding = torch.arange(24) >= torch.tensor([[24], [19]])
    return model(torch.tensor([0.2, 0.9]), x, Condition(text, speech, padding))


def plain_model(model, config=CONFIG):
    plain = tiny_model(model.variant)
    plain.load_state_dict(merged(model.state_dict(), config))
    return plain


# ---------------------------------------------------------------- what an adapted model computes


@pytest.mark.parametrize("gradients", [True, False])
def test_a_new_adapter_changes_nothing(gradients):
    with torch.set_grad_enabled(gradients):
        assert torch.equal(velocity(adapted_model()), velocity(tiny_model()))


@pytest.mark.parametrize("gradients", [True, False], ids=["with gradients", "without"])
@pytest.mark.parametrize("num_known", [NUM_TOKENS, NUM_TOKENS - 2], ids=["old tokens", "new tokens"])
def test_the_merged_model_is_the_adapted_one(gradients, num_known):
    """All layers are adapted, so that one whose adapter was passed by would show."""
    model = scramble(adapted_model(num_known=num_known))
    with torch.set_grad_enabled(gradients):
        adapted, plain, base = velocity(model), velocity(plain_model(model)), velocity(tiny_model())
    torch.testing.assert_close(adapted, plain, rtol=1e-4, atol=1e-5)
    assert (adapted - base).abs().max() > 0.1


def test_all_linear_layers_of_the_stacks_are_adaptable():
    layers = adaptable(tiny_model())
    assert len(layers) == 3 * (18 + 1) + 18  # of decoder layers with their time embeddings, and of the text encoder's
    parts = tiny_model().named_modules()
    others = [name for name, part in parts if isinstance(part, nn.Linear) and name not in layers]
    assert {name.split(".", 1)[1] for name in others} == {"in_proj", "out_proj", "time_embed.0", "time_embed.2"}


def test_only_adapters_have_gradients():
    model = scramble(adapted_model())
    velocity(model).square().sum().backward()
    with_gradient = {name for name, param in model.named_parameters() if param.grad is not None}
    assert with_gradient == trainable(model).keys()
    assert all(param.grad.abs().max() > 0 for param in trainable(model).values())
    assert all(".lora_" in name for name in with_gradient)


def test_hooks_of_a_layer_see_its_adapted_output():
    seen = []
    model = tiny_model()
    layer = "text_encoder.encoders.0.layers.0.feed_forward1.in_proj"
    model.get_submodule(layer).register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    adapt(model, adaptable(model), CONFIG, NUM_TOKENS)
    scramble(model)
    velocity(model)
    ((x, output),) = seen
    part, base = model.get_submodule(layer), tiny_model().get_submodule(layer)
    a, b = part.lora_A.default.weight, part.lora_B.default.weight
    torch.testing.assert_close(output, base(x) + 2 * x @ a.T @ b.T)  # alpha / rank is 2


def test_dropout_hides_inputs_from_adapters_in_training_only():
    model = scramble(adapted_model(LoraConfig(rank=3, alpha=6.0, dropout=0.5)))
    layer = model.get_submodule("fm_decoder.encoders.0.layers.0.feed_forward2.out_proj")
    change = layer.weight - layer.base_layer.weight
    torch.testing.assert_close(change, 2 * layer.lora_B.default.weight @ layer.lora_A.default.weight)
    model.train()
    torch.manual_seed(0)
    hidden = layer.weight - layer.base_layer.weight
    kept = hidden.abs().amax(dim=0) > 0
    assert 0.2 < kept.float().mean() < 0.8
    torch.testing.assert_close(hidden, 2 * change * kept, rtol=1e-4, atol=1e-6)


# ---------------------------------------------------------------- what is adapted


def test_targets_are_patterns():
    model = adapted_model(
        LoraConfig(rank=2, targets=("fm_decoder.*.self_attn?", "text_encoder.*.conv_module1.out_proj"))
    )
    layers = {name.split(".lora_")[0].split("layers.0.")[1] for name in trainable(model)}
    assert layers == {f"self_attn{i}.{proj}_proj" for i in (1, 2) for proj in ("in", "out")} | {"conv_module1.out_proj"}
    assert not [name for name in trainable(model) if name.startswith("text_encoder") and "self_attn" in name]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("text_encodr", "no part 'text_encodr' with linear layers to adapt; did you mean 'text_encoder'"),
        ("embed", "no part 'embed' with linear layers to adapt"),
        ("fm_decoder.*.depthwise_conv", "with linear layers to adapt"),
    ],
)
def test_a_target_without_linear_layers_is_an_error(target, message):
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        adapted_model(LoraConfig(rank=2, targets=("*", target)))


@pytest.mark.parametrize("setting", [{"rank": -1}, {"alpha": 0.0}, {"dropout": 1.0}, {"targets": ()}])
def test_settings_that_mean_nothing_are_errors(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"lora.{name} must be"):
        LoraConfig(**setting)


def test_a_missing_library_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r'adapters need peft .*: pip install "zipvoice-tts\[training\]"'):
        adapt(tiny_model(), [], CONFIG, NUM_TOKENS)


# ---------------------------------------------------------------- training


def test_both_matrices_of_an_adapter_take_plain_adam_steps():
    """The first step of Adam, without correction of its first moment, is 0.1 lr in the direction of the gradient."""
    model = adapted_model()
    groups = parameter_groups(model, lr=0.01)
    before = {name: param.detach().clone() for name, param in trainable(model).items()}
    velocity(model).square().sum().backward()
    signs = {name: param.grad.sign() for name, param in trainable(model).items()}
    ScaledAdam(groups, lr=0.01).step()
    for name, param in trainable(model).items():
        torch.testing.assert_close(param.detach(), before[name] - 0.001 * signs[name], rtol=0, atol=2e-5)
    assert any(signs[name].abs().min() == 1 for name in signs if "lora_B" in name)


def test_only_embeddings_of_new_tokens_are_trained():
    model = adapted_model(num_known=NUM_TOKENS - 2)
    optimizer = ScaledAdam(parameter_groups(model, lr=0.01), lr=0.01)
    before = tiny_model().embed.weight
    assert torch.equal(model.embed.weight, before)
    for _ in range(5):
        model.zero_grad()
        velocity(model).square().sum().backward()
        optimizer.step()
    after = merged(model.state_dict(), CONFIG)["embed.weight"]
    assert torch.equal(after[:-2], before[:-2])
    assert not torch.equal(after[-1], before[-1])
    assert [group.get("param_min_rms") for group in parameter_groups(model, 0.1)].count(1.0) == 1


# ---------------------------------------------------------------- files


def test_weights_of_a_plain_model_stay_as_they_are():
    state = tiny_model().state_dict()
    assert not is_adapted(state)
    assert all(merged(state, LoraConfig())[name] is value for name, value in state.items())
    adapted = scramble(adapted_model(LoraConfig(rank=2, targets=("fm_decoder",)))).state_dict()
    assert is_adapted(adapted)
    plain = merged(adapted, LoraConfig(rank=2))
    assert plain.keys() == state.keys()
    assert all(torch.equal(plain[name], state[name]) for name in state if name.startswith("text_encoder"))


@pytest.fixture
def run_folder(tmp_path):
    """The folder of a run that has adapted a model of all tokens but two, and the weights of its result."""
    known = TokenTable(LETTERS.tokens[:-2])
    model = scramble(adapted_model(num_known=len(known)))
    file = ModelFile(TINY, FeatureConfig(), "zipvoice", TokenizerConfig("simple"))
    base = {**tiny_model().state_dict(), "embed.weight": tiny_model().embed.weight[:-2]}
    save_pretrained(tmp_path / "base", base, file, known)
    LETTERS.write(tmp_path / "tokens.txt")
    write_json(file, tmp_path / "model.json")
    config = RunConfig(init_from=str(tmp_path / "base"), lora=CONFIG)
    assert save_adapter(tmp_path, model.state_dict(), config) == tmp_path / "adapter"
    return tmp_path, merged(model.state_dict(), CONFIG)


def test_a_saved_adapter_is_merged_to_the_same_weights(run_folder):
    """By `merge` and by peft."""
    folder, expected = run_folder
    assert merge(MergeOptions(str(folder / "adapter"), str(folder / "result"))) == folder / "result"
    result = load_pretrained(folder / "result")
    assert result.table == LETTERS
    assert result.file.tokenizer == TokenizerConfig("simple")
    weights = result.model.state_dict()
    assert weights.keys() == expected.keys()
    adapted = peft.PeftModel.from_pretrained(tiny_model(), str(folder / "adapter"))
    by_peft = adapted.merge_and_unload().state_dict()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-6)
        if name != "embed.weight":
            torch.testing.assert_close(by_peft[name], value, rtol=1e-5, atol=1e-6)


def test_an_adapter_is_small_and_says_what_it_belongs_to(run_folder):
    folder, _ = run_folder
    settings = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(folder / "base")
    assert (settings["peft_type"], settings["r"], settings["lora_alpha"]) == ("LORA", 3, 6.0)
    assert {path.name for path in (folder / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "model.json",
        "tokens.txt",
    }


def test_an_adapter_of_another_model_is_refused(run_folder):
    folder, _ = run_folder
    path = folder / "adapter" / "adapter_model.safetensors"
    weights = {name.replace("fm_decoder", "decoder"): value for name, value in load_file(path).items()}
    save_file(weights, path)
    with pytest.raises(ValueError, match=r"decoder.*lora_B.weight, which does not belong to a layer of the model"):
        merge(MergeOptions(str(folder / "adapter"), str(folder / "result")))


def test_a_run_is_not_replaced_and_an_adapter_is_no_model(run_folder):
    folder, _ = run_folder
    write_json(RunConfig(), folder / "run.json")
    with pytest.raises(ValueError, match="is the folder of a training run, whose model would be replaced"):
        merge(MergeOptions(str(folder / "adapter"), str(folder)))
    with pytest.raises(FileNotFoundError, match=rf"it is an adapter: `zipvoice merge --adapter {folder}/adapter "):
        load_pretrained(folder / "adapter")


def test_a_folder_without_adapter_and_a_base_that_does_not_fit_are_refused(run_folder):
    folder, _ = run_folder
    with pytest.raises(FileNotFoundError, match=r"holds no adapter: it has no adapter_config.json"):
        merge(MergeOptions(str(folder / "base"), str(folder / "result")))
    for read in ("base", "adapter"):
        with pytest.raises(ValueError, match=f"{read} would be replaced, which is read"):
            merge(MergeOptions(str(folder / "adapter"), str(folder / read)))
    file = ModelFile(TINY, FeatureConfig(), "zipvoice", TokenizerConfig("simple"))
    other = TokenTable(("_", *reversed(LETTERS.tokens[1:-2])))
    save_pretrained(folder / "other", tiny_model(vocabulary=other.vocabulary).state_dict(), file, other)
    (folder / "base").rename(folder / "moved")
    with pytest.raises(
        ValueError, match=r"there is no directory .*base.* So the adapter calls its model; --base tells"
    ):
        merge(MergeOptions(str(folder / "adapter"), str(folder / "result")))
    with pytest.raises(ValueError, match=r"token 1 is .* in .*other but is .* in the token table of the run"):
        merge(MergeOptions(str(folder / "adapter"), str(folder / "result"), base=str(folder / "other")))


def test_an_adapter_knows_the_weights_that_it_was_trained_on(run_folder):
    """Whatever file holds them; those of the same shapes are others, and old adapters do not tell."""
    folder, expected = run_folder
    base, bias = load_pretrained(folder / "base"), "fm_decoder.in_proj.bias"
    weights = base.model.state_dict()
    save_pretrained(folder / "other", {**weights, bias: weights[bias] + 1e-3}, base.file, base.table)
    options = MergeOptions(str(folder / "adapter"), str(folder / "result"), base=str(folder / "other"))
    with pytest.raises(ValueError, match=r"other has other weights than the model that the adapter was trained on"):
        merge(options)
    assert not (folder / "result").exists()
    merge(replace(options, any_base=True))
    torch.testing.assert_close(load_pretrained(folder / "result").model.state_dict()[bias], expected[bias] + 1e-3)

    shutil.copytree(folder / "base", folder / "copy")
    (folder / "copy" / "model.safetensors").unlink()
    torch.save({"model": weights}, folder / "copy" / "model.pt")
    merge(replace(options, base=str(folder / "copy")))

    path = folder / "adapter" / "adapter_model.safetensors"
    write_weights(load_file(path), path)
    merge(options)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("layer.lora_A.weight", (2, 4), "layer.lora_A.weight has the shape (2, 4), and must be 2 by 5"),
        ("layer.lora_A.weight", (1, 5), "layer.lora_A.weight has the shape (1, 5), and must be 2 by 5"),
        ("layer.lora_B.weight", (2, 2), "layer.lora_B.weight has the shape (2, 2), and must be 3 by 2"),
        ("layer.lora_B.weight", (3, 1), "layer.lora_B.weight has the shape (3, 1), and must be 3 by 2"),
        (ADDED_ROWS, (9, 5), f"{ADDED_ROWS} has the shape (9, 5), and must be any by 4"),
        (ADDED_ROWS, (4,), f"{ADDED_ROWS} has the shape (4,), and must be any by 4"),
    ],
)
def test_shapes_of_an_adapter_are_those_of_its_layers(name, shape, message):
    weights = {"embed.weight": torch.zeros(7, 4), "layer.weight": torch.zeros(3, 5)}
    shapes = {"layer.lora_A.weight": (2, 5), "layer.lora_B.weight": (3, 2), ADDED_ROWS: (9, 4)}
    check_adapter(weights, {PREFIX + name: torch.zeros(shape) for name, shape in shapes.items()})
    with pytest.raises(ValueError) as error:
        adapter = {PREFIX + name: torch.zeros(shape) for name, shape in (shapes | {name: shape}).items()}
        check_adapter(weights, adapter, rank=2)
    assert str(error.value) == f"the adapter's {PREFIX}{message}"


def without_layer(adapter):
    layer = min(name for name in adapter if ".lora_" in name).split(".lora_")[0]
    return {name: value for name, value in adapter.items() if not name.startswith(layer + ".")}


def in_matrices(change):
    """The adapter with something changed in what lies beside the rows of new tokens."""
    return lambda adapter: {**adapter, **dict(change(k, v) for k, v in adapter.items() if ".lora_" in k)}


MISFITS = {
    "no prefix": (
        lambda adapter: {name.removeprefix("base_model.model."): x for name, x in adapter.items()},
        "which does not belong to a layer of the model: names are like base_model",
    ),
    "half": (
        lambda adapter: {k: v for k, v in adapter.items() if "lora_B" not in k},
        "without .*lora_B.weight",
    ),
    "a layer less": (without_layer, "lacks the layer .* which adapter_config.json names"),
    "empty": (lambda adapter: {k: v for k, v in adapter.items() if ".lora_" not in k}, "lacks the layer"),
    "another rank": (in_matrices(lambda k, v: (k, v[:1] if "lora_A" in k else v[:, :1])), "and must be"),
    "another width": (in_matrices(lambda k, v: (k, v[:-1] if "lora_B" in k else v)), "has the shape"),
    "one number": (in_matrices(lambda k, v: (k, v[0])), "has the shape"),
}


@pytest.mark.parametrize("kind", MISFITS)
def test_an_adapter_that_does_not_fit_is_refused_and_nothing_is_written(run_folder, kind):
    folder, _ = run_folder
    change, message = MISFITS[kind]
    path = folder / "adapter" / "adapter_model.safetensors"
    write_weights(change(load_file(path)), path)
    with pytest.raises(ValueError, match=rf"adapter_model\.safetensors.*{message}"):
        merge(MergeOptions(str(folder / "adapter"), str(folder / "result")))
    assert not (folder / "result").exists()


def test_an_adapter_of_a_compiled_model_is_merged(run_folder):
    folder, expected = run_folder
    path = folder / "adapter" / "adapter_model.safetensors"
    prefix = "base_model.model."
    write_weights({k.replace(prefix, prefix + "_orig_mod."): v for k, v in load_file(path).items()}, path)
    merge(MergeOptions(str(folder / "adapter"), str(folder / "result")))
    for name, value in load_pretrained(folder / "result").model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


NO_SETTINGS = ("[]", "{}", '{"r": 0, "lora_alpha": 1, "base_model_name_or_path": "x"}', "x", "[" * 9999)


@pytest.mark.parametrize("content", NO_SETTINGS)
def test_settings_that_describe_no_adapter_are_named(run_folder, content):
    folder, _ = run_folder
    (folder / "adapter" / "adapter_config.json").write_text(content)
    with pytest.raises(ValueError, match=r"adapter_config\.json does not describe an adapter"):
        merge(MergeOptions(str(folder / "adapter"), str(folder / "result")))
