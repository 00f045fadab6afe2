# SPDX-License-Identifier: Apache-2.0
"""Networks of self-supervised speech models, from weights under fairseq's names, by the code of transformers.

WavLM (Chen et al. 2022) as Microsoft publishes it and wav2vec 2.0 (Baevski et al. 2020) inside UTMOS have these names;
inside UTMOSv2 it has those of transformers. Sizes are read off the shapes of the weights.

Legend: B batch, N samples, T frames, D width.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

INSTALL = "pip install 'zipvoice-tts[benchmarks]'"
HEAD_WIDTH = 64
RENAMED = (
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"conv_layers\.(\d+)\.0\.", r"conv_layers.\1.conv."),
    (r"conv_layers\.(\d+)\.2\.(1\.)?", r"conv_layers.\1.layer_norm."),
    (r"pos_conv\.0\.", "pos_conv_embed.conv."),
    (r"pos_conv_embed\.conv\.weight_g$", "pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"pos_conv_embed\.conv\.weight_v$", "pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"self_attn_layer_norm\.", "layer_norm."),
    (r"self_attn\.grep_linear\.", "attention.gru_rel_pos_linear."),
    (r"self_attn\.grep_a$", "attention.gru_rel_pos_const"),
    (r"self_attn\.relative_attention_bias\.", "attention.rel_attn_embed."),
    (r"self_attn\.", "attention."),
    (r"fc1\.", "feed_forward.intermediate_dense."),
    (r"fc2\.", "feed_forward.output_dense."),
)
"""Patterns of fairseq's names and what transformers calls the same, in the order in which they are applied."""


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """The content of a PyTorch file: tensors, plain values and training arguments, nothing that could run code."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; download it: hf download k2-fsa/TTS_eval_models --local-dir {path.parents[1]}"
        )
    with torch.serialization.safe_globals([argparse.Namespace]):
        content: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names of transformers; those that have such names keep them."""
    found = {}
    for name, weight in state.items():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement, name)
        found[name] = weight
    return found


def wavlm(state: Mapping[str, Tensor], stable_layer_norm: bool = True) -> nn.Module:
    """WavLM of these weights under fairseq's names; `stable_layer_norm` as in WavLM large.

    Raises RuntimeError for weights of another network.
    """
    _require_transformers()
    from transformers import WavLMConfig, WavLMModel

    buckets = state["encoder.layers.0.self_attn.relative_attention_bias.weight"]
    config = WavLMConfig(
        **_sizes(state, num_heads=buckets.shape[1]),
        num_buckets=buckets.shape[0],
        feat_extract_norm="layer" if "feature_extractor.conv_layers.1.2.1.weight" in state else "group",
        do_stable_layer_norm=stable_layer_norm,
    )
    return _loaded(WavLMModel(config), state)


def wav2vec2(state: Mapping[str, Tensor]) -> nn.Module:
    """The wav2vec 2.0 of "base" form that these weights make, under the names of fairseq or of transformers."""
    _require_transformers()
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    width = renamed(state)["feature_projection.projection.weight"].shape[0]
    return _loaded(Wav2Vec2Model(Wav2Vec2Config(**_sizes(state, num_heads=max(width // HEAD_WIDTH, 1)))), state)


def hidden_states(network: nn.Module, wave: Tensor) -> Tensor:
    """What enters each layer of the encoder and what leaves it, for waves (B, N): (layers + 1, B, T, D)."""
    encoder: Any = network.encoder
    entered: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: entered.append(given[0])) for layer in encoder.layers]
    try:
        last = network(wave).last_hidden_state
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([*entered, last])


def _require_transformers() -> None:
    """Raise ImportError with the install line where transformers is missing."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise ImportError(f"the networks of published scores need transformers ({error}): {INSTALL}") from None


def _sizes(state: Mapping[str, Tensor], num_heads: int) -> dict[str, Any]:
    state = renamed(state)
    convolutions = [f"feature_extractor.conv_layers.{n}.conv" for n in range(_count(state, "conv_layers"))]
    kernels = [state[f"{name}.weight"].shape for name in convolutions]
    width, per_group, span = state["encoder.pos_conv_embed.conv.parametrizations.weight.original1"].shape
    return {
        "hidden_size": width,
        "num_hidden_layers": _count(state, "encoder.layers"),
        "num_attention_heads": num_heads,
        "intermediate_size": state["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0],
        "conv_dim": tuple(shape[0] for shape in kernels),
        "conv_kernel": tuple(shape[2] for shape in kernels),
        "conv_stride": (5, *[2] * (len(kernels) - 1)),
        "conv_bias": f"{convolutions[0]}.bias" in state,
        "num_feat_extract_layers": len(kernels),
        "num_conv_pos_embeddings": span,
        "num_conv_pos_embedding_groups": width // per_group,
        "attn_implementation": "eager",
    }


def _count(state: Mapping[str, Tensor], group: str) -> int:
    pattern = re.compile(rf"{re.escape(group)}\.(\d+)\.")
    return 1 + max(int(match[1]) for name in state if (match := pattern.search(name)))


def _loaded(network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    known = network.state_dict()
    network.load_state_dict({name: weight.float() for name, weight in renamed(state).items() if name in known})
    return network.eval()
