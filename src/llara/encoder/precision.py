"""In which number format a model is opened for encoding."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from llara.errors import ConfigError
from llara.training import cpu_has_bfloat16

__all__ = ["ComputeDtype", "choose_dtype"]

ComputeDtype = Literal["auto", "stored", "float32", "bfloat16", "float16"]


def choose_dtype(asked: str, device: torch.device) -> tuple[torch.dtype | None, str]:
    """The dtype of the weights (None: that of the files), and why.

    ``auto`` is bfloat16 where the device multiplies it faster than float32: GPUs from Ampere on, processors
    with AVX512-BF16 or AMX. ``stored`` is what ``llara.model.load`` takes: float32 on a CPU, else the files'.

    Raises:
        ConfigError: no such dtype.
    """
    if asked not in get_args(ComputeDtype):
        raise ConfigError(f"dtype is {asked!r}, expected one of {', '.join(get_args(ComputeDtype))}")
    if asked == "stored":
        return (torch.float32, "as stored, on a CPU") if device.type == "cpu" else (None, "as stored")
    if asked != "auto":
        return getattr(torch, asked), "as asked"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16, "the GPU multiplies it fast"
        return torch.float16, "the GPU has no bfloat16"
    if device.type == "cpu" and cpu_has_bfloat16():
        return torch.bfloat16, "the processor has bfloat16 products"
    return torch.float32, "no faster format is known for this device"
