# SPDX-License-Identifier: Apache-2.0
"""Every setting of the toolkit: frozen dataclasses, each default written once, read from and written to strict JSON.

The string below a field is its help text on the command line. Importing this module loads nothing heavy.
"""

import dataclasses
import difflib
import json
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from zipvoice.files import write_text

Variant = Literal["zipvoice", "zipvoice_distill", "zipvoice_dialog", "zipvoice_dialog_stereo"]
TokenizerType = Literal["emilia", "dialog", "espeak", "libritts", "simple"]

# ---------------------------------------------------------------- the model


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the two networks; the key `model` of a released model.json, with its names and values."""

    fm_decoder_downsampling_factor: tuple[int, ...] = (1, 2, 4, 2, 1)
    """Frame-rate divisor of each decoder stack."""
    fm_decoder_num_layers: tuple[int, ...] = (2, 2, 4, 4, 4)
    """Layers of each decoder stack."""
    fm_decoder_cnn_module_kernel: tuple[int, ...] = (31, 15, 7, 15, 31)
    """Odd convolution kernel of each decoder stack, in frames of that stack."""
    fm_decoder_feedforward_dim: int = 1536
    """Width of the middle feed-forward block of a decoder layer; the other two have 3/4 and 5/4 of it."""
    fm_decoder_num_heads: int = 4
    """Attention heads of the decoder."""
    fm_decoder_dim: int = 512
    """Width of the decoder."""
    text_encoder_num_layers: int = 4
    """Layers of the text encoder."""
    text_encoder_feedforward_dim: int = 512
    """Width of the middle feed-forward block of a text-encoder layer."""
    text_encoder_cnn_module_kernel: int = 9
    """Odd convolution kernel of the text encoder, in tokens."""
    text_encoder_num_heads: int = 4
    """Attention heads of the text encoder."""
    text_encoder_dim: int = 192
    """Width of the text encoder."""
    time_embed_dim: int = 192
    """Width of the time and guidance-scale embeddings."""
    text_embed_dim: int = 192
    """Width of the token embedding."""
    query_head_dim: int = 32
    """Query and key width of one attention head, in both networks."""
    value_head_dim: int = 12
    """Value width of one attention head, in both networks."""
    pos_head_dim: int = 4
    """Position-query width of one attention head, in both networks."""
    pos_dim: int = 48
    """Width of the relative positional table, even, in both networks."""
    feat_dim: int = 100
    """Mel bins of one channel."""


@dataclass(frozen=True)
class FeatureConfig:
    """The acoustic features a model works on; the key `feature` of model.json."""

    sampling_rate: int = 24000
    """Samples per second."""
    type: Literal["vocos"] = "vocos"
    """Vocos log-mel features, the only kind."""
    scale: float = 0.1
    """Log-mel values are multiplied by this before the model sees them."""


@dataclass(frozen=True)
class TokenizerConfig:
    """How text becomes tokens."""

    type: TokenizerType = "emilia"
    """emilia: Chinese and English; dialog: the same with speaker tags; espeak: any espeak-ng language;
    libritts: English characters; simple: one token per character."""
    language: str = "en-us"
    """espeak-ng voice, for the espeak tokenizer."""


@dataclass(frozen=True)
class ModelFile:
    """The content of model.json. Released files have the keys `model` and `feature` only."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """Sizes of the networks."""
    feature: FeatureConfig = field(default_factory=FeatureConfig)
    """Acoustic features."""
    variant: Variant | None = None
    """Which of the four models; inferred from the weights when absent."""
    tokenizer: TokenizerConfig | None = None
    """The tokenizer the model was trained with; when absent, that of the released model of the same variant."""


@dataclass(frozen=True)
class Vocabulary:
    """What a model needs to know of its token table."""

    size: int
    """Number of tokens."""
    pad_id: int = 0
    """Id of the padding token `_`."""
    spk_a_id: int | None = None
    """Id of `[S1]`, dialogue models only."""
    spk_b_id: int | None = None
    """Id of `[S2]`, dialogue models only."""


# ---------------------------------------------------------------- synthesis


@dataclass(frozen=True)
class SynthesisOptions:
    """How a text is spoken."""

    num_steps: int | None = None
    """Euler steps from noise to speech; by default 16, or 8 for a distilled model."""
    guidance_scale: float | None = None
    """Strength of classifier-free guidance; by default 1, 3 (distilled) or 1.5 (dialogue)."""
    t_shift: float = 0.5
    """Time shift in (0, 1]; below 1 more steps are spent close to noise."""
    speed: float = 1.0
    """Speaking rate relative to the prompt's."""
    target_rms: float = 0.1
    """Quieter prompts are raised to this root-mean-square level, and their speech lowered again; 0 leaves them."""
    seed: int = 666
    """Seed of the initial noise."""


# ---------------------------------------------------------------- strict JSON

T = TypeVar("T")


def read_json(kind: type[T], path: str | os.PathLike[str]) -> T:
    """The dataclass `kind` from a JSON file.

    Raises ValueError naming the file and the key for anything that is not exactly a `kind`: broken JSON, an unknown key
    (with the nearest known one), a missing key, a value of another type.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
    try:
        return from_dict(kind, data)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write_json(value: Any, path: str | os.PathLike[str]) -> None:
    """Write a dataclass as JSON, whole or not at all; `read_json` gives it back unchanged."""
    write_text(path, json.dumps(to_dict(value), indent=2, ensure_ascii=False) + "\n")


def to_dict(value: Any) -> dict[str, Any]:
    """A dataclass as plain dictionaries, lists and scalars; optional fields that are None are left out."""

    def plain(item: Any) -> Any:
        if dataclasses.is_dataclass(item) and not isinstance(item, type):
            return {
                f.name: plain(getattr(item, f.name))
                for f in dataclasses.fields(item)
                if not (f.default is None and getattr(item, f.name) is None)
            }
        return [plain(part) for part in item] if isinstance(item, tuple | list) else item

    return plain(value)


def from_dict(kind: type[T], data: Any, where: str = "") -> T:
    """The dataclass `kind` from what `to_dict` gives. Raises ValueError that names the offending key."""
    place = f"at {where}: " if where else ""
    if not isinstance(data, dict):
        raise ValueError(f"{place}expected an object with the keys of {kind.__name__}, found {_shown(data)}")
    hints = typing.get_type_hints(kind)
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in data:
        if key not in known:
            raise ValueError(f"{place}unknown key {key!r}{suggestion(key, known)}")
    for name, f in known.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise ValueError(f"{place}the key {name!r} is missing")
    return kind(**{key: _value(hints[key], item, f"{where}.{key}".lstrip(".")) for key, item in data.items()})


def suggestion(word: str, known: typing.Iterable[str]) -> str:
    """The end of an error message: the nearest of the known words, else all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(map(str, known))}"


def _value(kind: Any, item: Any, where: str) -> Any:
    """`item` as a value of the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, item, where)
    if origin is Literal:
        if item not in arguments:
            raise ValueError(f"at {where}: {_shown(item)} is not one of {', '.join(map(repr, arguments))}")
        return item
    if origin is tuple:
        if not isinstance(item, list):
            raise ValueError(f"at {where}: expected a list, found {_shown(item)}")
        return tuple(_value(arguments[0], part, f"{where}[{i}]") for i, part in enumerate(item))
    if dataclasses.is_dataclass(kind):
        return from_dict(typing.cast(type, kind), item, where)
    if kind is float and type(item) is int:
        return float(item)
    if type(item) is not kind:
        raise ValueError(f"at {where}: expected {kind.__name__}, found {_shown(item)}")
    return item


def _union(kinds: tuple[Any, ...], item: Any, where: str) -> Any:
    """`item` as the first of `kinds` that accepts it; with one kind besides None, its own error is the clearest."""
    if item is None and type(None) in kinds:
        return None
    kinds = tuple(kind for kind in kinds if kind is not type(None))
    if len(kinds) == 1:
        return _value(kinds[0], item, where)
    errors = []
    for kind in kinds:
        try:
            return _value(kind, item, where)
        except ValueError as error:
            errors.append(str(error))
    raise ValueError("; or ".join(errors))


def _shown(item: Any) -> str:
    return f"{type(item).__name__} {json.dumps(item)[:60]}"
