# SPDX-License-Identifier: Apache-2.0
"""Files of named tensors: read without running anything in them, checked against what is expected, written whole."""

import os
import pathlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from zipvoice.files import whole_file

Weights = dict[str, Tensor]

SCALE = "_scale"
INT8_MAX = 127
LEAST_SIZE = 1e-5  # of a row, so that half precision holds its scale


def read_weights(path: str | os.PathLike[str], key: str = "model") -> Weights:
    """Named tensors from a safetensors file, or from a torch file that holds them or has them under `key`.

    A `module.` prefix (written by DistributedDataParallel) is removed, and what `pack_int8` has packed is unpacked.
    Nothing but tensors and plain containers is ever unpickled. Raises ValueError naming the file and the reason for
    anything else, broken files included.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        state: Any = _read_safetensors(path)
    elif path.suffix in {".pt", ".pth", ".bin", ".ckpt"}:
        state = read_torch_file(path)
        state = state.get(key, state) if isinstance(state, dict) else state
    else:
        raise ValueError(f"{path}: weights are read from .safetensors and .pt files")
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no weights: no named tensors at its top level or under {key!r}")
    return _unpacked({name.removeprefix("module."): value for name, value in state.items()})


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """What torch.save wrote: tensors, containers, numbers, strings and paths. Anything else is refused unread."""
    try:
        with torch.serialization.safe_globals([pathlib.PosixPath, pathlib.WindowsPath, pathlib.PurePosixPath]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError:  # torch's own message suggests to load it all the same
        raise ValueError(
            f"{path} is damaged or holds Python objects beside tensors; these can run code and are never loaded. "
            "Download it again, or ask its maker for a safetensors file"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged or no torch file; download it again ({_reason(error)})") from None


def write_weights(weights: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write named tensors as safetensors, whole or not at all. Raises OSError if the disk does not take them."""
    with whole_file(path) as temporary:
        plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        try:
            safetensors.torch.save_file(plain, temporary, metadata={"format": "pt"})
        except safetensors.SafetensorError as error:  # a full disk, for instance
            raise OSError(f"could not write {path}: {_reason(error)}") from error


# ---------------------------------------------------------------- few bytes


def pack_int8(weights: Mapping[str, Tensor]) -> Weights:
    """Weights in a byte each: matrices as whole numbers and a scale for each row, all else in half precision.

    The row r of a matrix is round(r / s) in int8, with the scale s = max |r| / 127 under the same name and `_scale`.
    `read_weights` multiplies them again. Raises ValueError for a number that half precision does not hold.
    """
    small: Weights = {}
    for name, value in weights.items():
        if value.dim() < 2:
            small[name] = value.half()
            continue
        scale = (value.abs().flatten(1).amax(dim=1).clamp(min=LEAST_SIZE) / INT8_MAX).half()
        small[name + SCALE] = scale
        small[name] = (value / _by_rows(scale, value)).round().clamp(-INT8_MAX, INT8_MAX).to(torch.int8)
    if broken := [name for name, value in small.items() if not value.isfinite().all()]:
        raise ValueError(f"half precision does not hold {', '.join(broken)}")
    return small


def _unpacked(state: Weights) -> Weights:
    scales = {name.removesuffix(SCALE) for name in state if name.endswith(SCALE)}
    known = {name for name in scales if name in state and state[name].dtype == torch.int8}
    return {
        name: value.float() * _by_rows(state[name + SCALE], value) if name in known else value
        for name, value in state.items()
        if name.removesuffix(SCALE) not in known or name in known
    }


def _by_rows(scale: Tensor, value: Tensor) -> Tensor:
    """The scale of each row of a value, to be multiplied with it."""
    return scale.float().view(-1, *[1] * (value.dim() - 1))


# ---------------------------------------------------------------- what fits


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Put `state` into the model. Raises ValueError naming the origin and the first few differences."""
    check_fit(state, shapes(model.state_dict()), origin)
    model.load_state_dict(dict(state))


def check_fit(state: Mapping[str, Tensor], expected: Mapping[str, torch.Size], origin: str) -> None:
    """Raise ValueError unless the names and shapes of `state` are the expected ones."""
    differences = [
        *(f"{name} is missing" for name in expected if name not in state),
        *(f"{name} is not part of the model" for name in state if name not in expected),
        *(
            f"{name} has shape {tuple(state[name].shape)} instead of {tuple(shape)}"
            for name, shape in expected.items()
            if name in state and state[name].shape != shape
        ),
    ]
    if differences:
        more = f"; and {len(differences) - 4} more differences" if len(differences) > 4 else ""
        raise ValueError(
            f"{origin} does not fit the model: {'; '.join(differences[:4])}{more}{_vocabulary_hint(differences)}"
        )


def _read_safetensors(path: Path) -> Weights:
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no safetensors file; download it again ({_reason(error)})") from None


def _vocabulary_hint(differences: list[str]) -> str:
    if any(line.startswith("embed.weight has shape") for line in differences):
        return ". The embedding has one row for each line of tokens.txt: the two files belong to different models"
    return ""


def _reason(error: BaseException) -> str:
    """The first sentence of an error's message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].split(". ")[0]


def shapes(state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """The shape of each tensor."""
    return {name: value.shape for name, value in state.items()}
