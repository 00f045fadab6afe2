# SPDX-License-Identifier: Apache-2.0
"""Files of named tensors: read without running anything in them, checked against what is expected, written whole."""

import hashlib
import math
import os
import pathlib
import pickle
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from zipvoice.files import sort_metadata, whole_file
from zipvoice.weight_names import plain_names

Weights = dict[str, Tensor]

SCALE = "_scale"
INT8_MAX = 127
LEAST_SIZE = 1e-5  # of a row, so that half precision holds its scale


KEYS = ("model", "state_dict", "model_state_dict")
"""Where training programs keep the weights in their files; Lightning's is the second."""
SUM = "blake2b"
"""Name of the hash in a safetensors file's metadata."""


def read_weights(path: str | os.PathLike[str], key: str = "model") -> Weights:
    """Named tensors from a safetensors file, or from a torch file that holds them or has them under `key`, or `KEYS`.

    Names become plain (`plain_names`), and what `pack_int8` has packed is unpacked.
    Nothing but tensors and plain containers is ever unpickled. Raises ValueError naming the file and the reason for
    anything else, broken files included: their sums are compared where they have some.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        state: Any = _read_safetensors(path)
    elif path.suffix in {".pt", ".pth", ".bin", ".ckpt"}:
        state = _inner(read_torch_file(path), (key, *KEYS))
    else:
        raise ValueError(f"{path}: weights are read from .safetensors and .pt files")
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no weights: no named tensors at its top level or under {key!r}")
    for name, value in state.items():
        if not isinstance(name, str) or not _is_plain(value):
            raise ValueError(f"{path}: {str(name)[:80]!r} is not a named dense tensor of numbers; store it as one")
    return _unpacked(plain_names(state, str(path)))


def _inner(state: Any, keys: Iterable[str]) -> Any:
    """The innermost of the mappings that lie in each other under one of the keys."""
    for _ in range(3):
        found = next((state[key] for key in keys if isinstance(state, dict) and isinstance(state.get(key), dict)), None)
        state = state if found is None else found
    return state


def _is_plain(value: Tensor) -> bool:
    """Whether all of its numbers are in memory as such: not sparse, quantised, complex, or one that stands for many."""
    if value.layout != torch.strided or value.is_quantized or value.is_nested or value.is_meta or value.is_complex():
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def read_torch_file(path: str | os.PathLike[str]) -> Any:
    """What torch.save wrote: tensors, containers, numbers, strings and paths. Anything else is refused unread.

    The sums of the archive's parts are checked; PyTorch itself does not look at them.
    """
    try:
        _check_sums(Path(path))
        with torch.serialization.safe_globals(_paths()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except pickle.UnpicklingError:  # torch's own message suggests to load it all the same
        raise ValueError(
            f"{path} is damaged or holds Python objects beside tensors; these can run code and are never loaded. "
            "Download it again, or ask its maker for a safetensors file"
        ) from None
    except Exception as error:  # what damage makes of a pickle raises errors of any kind
        raise ValueError(f"{path} is damaged or no torch file; download it again ({_reason(error)})") from None


def _paths() -> list[Any]:
    """Paths, which the reference's checkpoints hold, by the names that Python versions give them."""
    pure = {"PosixPath": pathlib.PurePosixPath, "WindowsPath": pathlib.PureWindowsPath}
    names = {**pure, **{kind.__name__: kind for kind in pure.values()}}
    return [(kind, f"{module}.{name}") for module in ("pathlib", "pathlib._local") for name, kind in names.items()]


def _check_sums(path: Path) -> None:
    """Raise ValueError for a part of an archive that is not what its sum says; older files and others have none."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(item.CRC for item in archive.infolist()) and (name := archive.testzip()):
            raise ValueError(f"the sum of {name} is not the one that was written")


def write_weights(
    weights: Mapping[str, Tensor], path: str | os.PathLike[str], notes: Mapping[str, str] | None = None
) -> None:
    """Write named tensors as safetensors with their sum, whole or not at all; the same weights give the same bytes.

    `notes` are what else the file tells of them, by name. Raises OSError if the disk does not take them.
    """
    with whole_file(path) as temporary:
        plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        told = {**(notes or {}), "format": "pt", SUM: sum_of(plain)}
        try:
            safetensors.torch.save_file(plain, temporary, metadata=told)
        except safetensors.SafetensorError as error:  # a full disk, for instance
            raise OSError(f"could not write {path}: {_reason(error)}") from error
        sort_metadata(temporary)


def read_notes(path: str | os.PathLike[str]) -> dict[str, str]:
    """What a safetensors file tells of its weights, by name."""
    with safetensors.safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def sum_of(weights: Mapping[str, Tensor]) -> str:
    """A hash of names, types, shapes and numbers."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(weights):
        value = weights[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
            f"{_prefix_hint(state, expected)}"
        )


def check_sizes(sizes: Mapping[str, Any], state: Mapping[str, Tensor], origin: str) -> None:
    """Raise ValueError with `origin`, the weights' file, for sizes of a network far beyond them.

    It would take all memory, or never end, to make such a network and compare it with the weights then.
    `sizes` are whole numbers, or lists of them, by their names; layers are those with `layers` in the name.
    """
    listed = [(name, n) for name, value in sizes.items() for n in (value if isinstance(value, list) else [value])]
    counts = [(name, n) for name, n in listed if type(n) is int]
    layers = [(n, name) for name, n in counts if "layers" in name]
    widths = sorted((n, name) for name, n in counts if "layers" not in name)
    if not widths:
        return
    for n, name in (*layers, *widths):
        if n < 0 or (n == 0 and "layers" not in name):
            raise ValueError(f"{origin} does not fit the model: {name} is to be {n}, which is not above 0")
    num_layers, area = sum(n for n, _ in layers), math.prod(n for n, _ in widths[-2:])
    available, widest = (
        sum(x.numel() for x in state.values()),
        max(size for x in state.values() for size in (1, *x.shape)),
    )
    if num_layers > len(state) or widths[-1][0] > 64 * widest or max(num_layers, 1) * area > 8 * available + 2**25:
        n, name = max((*layers, *widths))
        raise ValueError(f"{origin} does not fit the model: {name} is to be {n}, far too large for these weights")


def _read_safetensors(path: Path) -> Weights:
    try:
        state = safetensors.torch.load_file(path)
        expected = read_notes(path).get(SUM)
        if expected is not None and expected != sum_of(state):
            raise ValueError("its numbers are not those that were written")
        return state
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged headers raise errors of several kinds
        raise ValueError(f"{path} is damaged or no safetensors file; download it again ({_reason(error)})") from None


def _prefix_hint(state: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> str:
    """That names would fit without what all of them begin with."""
    first = next(iter(state), "")
    for place in (at for at, character in enumerate(first) if character == "."):
        shared = first[: place + 1]
        fitting = sum(name.startswith(shared) and name.removeprefix(shared) in expected for name in state)
        if 2 * fitting > len(state):
            return f". Its names begin with {shared!r}: store the weights without that"
    return ""


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
