# SPDX-License-Identifier: Apache-2.0
"""The PyTorch runtime: the networks on one device, in float32, half precision or with products in 8 bits."""

import contextlib
import os
from typing import Any

import torch
from torch import Tensor, nn

from zipvoice.config.model import Variant
from zipvoice.config.model_file import ModelFile
from zipvoice.config.strict_json import suggestion
from zipvoice.cores import num_cores
from zipvoice.model.condition import Condition, padding_mask
from zipvoice.model.guidance import guided_velocity
from zipvoice.model.kernels.bf16 import HAS_BF16, Bf16Linear
from zipvoice.model.kernels.int8 import HAS_VNNI, Int8Linear
from zipvoice.model.kernels.linear import replace_linear
from zipvoice.model.layers import Convolution, FeedForward
from zipvoice.model.zipvoice import ZipVoice
from zipvoice.pretrained import ModelDirectory, load_network
from zipvoice.runtime.base import DTYPES, NARROW, ComputedBy, Floats, Integers, ModelDescription
from zipvoice.vocoder.other_vocos import load_any_vocos

# On a CPU torch and oneDNN keep the code made for each new shape, 1024 pieces each, which grew to 700 MB over texts of
# all lengths. The limits are read when the caches are first used.
for _cache in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
    os.environ.setdefault(_cache, "128")


class TorchModel:
    """A network as an acoustic model; see `zipvoice.runtime.base.AcousticModel`.

    Args:
        network: any variant; it is moved to the device, put into evaluation mode, and its weights rounded to the dtype.
        file: the model.json that goes with it.
        device: cpu, cuda, cuda:1, mps; by default the best there is.
        dtype: arithmetic of products, one of `DTYPES`; what needs float32 stays in it. "auto" is `best_dtype`, and
            "int8", of the decoder's layers, is for a CPU.

    Raises:
        ValueError: a dtype or a device that is not known, or int8 elsewhere than on a CPU.

    Example:
        >>> model = TorchModel(load_network(read_directory("exp/run")), ModelFile(), device="cuda", dtype="bfloat16")
    """

    evaluations_at_once = 1  # which has the whole device, or all cores

    def __init__(self, network: ZipVoice, file: ModelFile, device: str | None = None, dtype: str = "float32") -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is not known{suggestion(dtype, DTYPES)}")
        self.description = ModelDescription.of(file, network.variant, network.vocabulary)
        self.device = find_device(device)
        if self.device.type == "cpu":
            fit_threads()
        dtype = best_dtype(self.device, network.config.fm_decoder_dim) if dtype == "auto" else dtype
        self.computed_by = ComputedBy("torch", str(self.device), dtype)
        self.network = network.to(self.device).eval()
        self._autocast_dtype: torch.dtype | None = None
        if dtype == "int8":
            if self.device.type != "cpu":
                raise ValueError(f"dtype int8 is for a CPU, and this is {self.device}; take bfloat16 or --device cpu")
            if not torch.backends.mkldnn.is_available():
                raise ValueError("dtype int8 needs oneDNN, which this PyTorch lacks; take --dtype float32")
            round_to_int8(self.network)
        elif dtype == "bfloat16" and self.device.type == "cpu" and HAS_BF16:
            replace_linear(self.network, Bf16Linear)  # sums between layers and all else stay in float32
            round_weights(self.network, nn.Conv1d, torch.bfloat16)
        elif dtype != "float32":
            self._autocast_dtype = getattr(torch, dtype)
            round_weights(self.network, nn.Linear | nn.Conv1d, self._autocast_dtype)

    @property
    def num_threads(self) -> int:
        return torch.get_num_threads()

    @torch.inference_mode()
    def condition(self, tokens: Integers, num_tokens: Integers, num_frames: Integers, speech: Floats) -> Condition:
        with self._autocast():
            ids, lengths, frames = map(self.array, (tokens, num_tokens, num_frames))
            text = self.network.frame_text(ids, lengths, frames, speech.shape[1])
        is_padded = num_frames.min() < speech.shape[1]
        mask = self.array(padding_mask(num_frames, speech.shape[1])) if is_padded else None
        return Condition(text, self.array(speech), mask)

    @torch.inference_mode()
    def velocity(
        self,
        t: float | Tensor,
        x: Tensor,
        condition: Condition,
        guidance_scale: float | Tensor,
        t_next: float | Tensor | None = None,
    ) -> Tensor:
        end = {} if t_next is None else {"t_next": t_next}
        with self._autocast():
            velocity: Tensor = guided_velocity(self.network, guidance_scale)(t, x, condition, **end)
            return velocity

    def array(self, values: Any) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)

    def numpy(self, array: Tensor) -> Floats:
        values: Floats = array.float().cpu().numpy()
        return values

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._autocast_dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self._autocast_dtype)


class TorchVocoder:
    """A network as a vocoder; see `zipvoice.runtime.base.Vocoder`.

    Args:
        network: log-mel features (B, F, T) to samples (B, N).
        device: as for `TorchModel`.
    """

    def __init__(self, network: nn.Module, device: str | None = None) -> None:
        self.device = find_device(device)
        self.network = network.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, log_mel: Floats) -> Floats:
        samples: Floats = self.network(torch.from_numpy(log_mel).to(self.device)).float().cpu().numpy()
        return samples


def load_model(
    directory: ModelDirectory,
    *,
    device: str | None = None,
    dtype: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    variant: Variant | None = None,
) -> TorchModel:
    """See `zipvoice.runtime.select.load_model`."""
    network = load_network(directory, weights, variant)
    for module in network.modules():
        if isinstance(module, FeedForward | Convolution):
            module.fold_constants()
    return TorchModel(network, directory.file, device, dtype or "float32")


def load_vocoder(folder: str | os.PathLike[str], *, device: str | None = None) -> TorchVocoder:
    """Vocos from a folder, of any layout; see `zipvoice.vocoder.other_vocos.load_any_vocos`."""
    return TorchVocoder(load_any_vocos(folder), device)


def round_to_int8(network: ZipVoice) -> None:
    """Give the layers of the decoder products in 8 bits.

    What comes after a Swoosh is above zero, once its offset is in the layer's bias.
    """
    replace_linear(network.fm_decoder, Int8Linear, but=["linear_pos"])
    for module in network.fm_decoder.modules():
        if isinstance(module, FeedForward | Convolution):
            assert isinstance(module.out_proj, Int8Linear)
            module.out_proj.positive = module.swoosh.offset == 0


def round_weights(network: nn.Module, kinds: Any, dtype: torch.dtype) -> None:
    """Give the layers of some kinds another dtype, once, where autocast would do it at every step."""
    for layer in network.modules():
        if isinstance(layer, kinds):
            layer.to(dtype)


def best_dtype(device: torch.device, width: int) -> str:
    """The fastest of `DTYPES` that a device computes with by itself for a decoder of a width, else float32.

    bfloat16 on GPUs and, for networks that are not narrow, on processors with AMX, else int8 on processors with VNNI.
    By AVX512-BF16 alone a product in bfloat16 takes as long as one in float32.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device.type != "cpu" or width < NARROW:
        return "float32"
    if getattr(torch.cpu, "_is_amx_tile_supported", bool)():
        return "bfloat16"
    return "int8" if HAS_VNNI else "float32"


def fit_threads() -> None:
    """Let PyTorch compute with no more threads than there are cores to use; of a container's quota it knows nothing."""
    torch.set_num_threads(min(torch.get_num_threads(), num_cores()))


def find_device(name: str | None = None) -> torch.device:
    """The device of a name, by default the best there is. Raises ValueError for one that PyTorch has not here."""
    try:
        device = torch.device(name or best_device())
        torch.empty(0, device=device)
        if device.type == "meta":
            raise RuntimeError("it has sizes without numbers")
    except (RuntimeError, AssertionError) as error:  # the latter from builds of PyTorch without CUDA
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"PyTorch has no device {name!r} here ({reason}); --device {best_device()} is the best there is"
        ) from None
    return device


def best_device() -> str:
    """CUDA, and under torchrun a GPU for each process of a computer; else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % torch.cuda.device_count()}"
    return "mps" if torch.backends.mps.is_available() else "cpu"
