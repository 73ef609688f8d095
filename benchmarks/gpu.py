"""What the benchmarks on a GPU share: parts of a run, models, the chip's speed and memory, differences."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from measure import alternate, say, spread
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from llara.files import write_text_atomic

__all__ = [
    "Parts",
    "make_model",
    "peak_gib",
    "peak_product",
    "relative_maximum",
    "relative_norm",
    "synchronize_of",
]


class Parts:
    """The result so far: parts are run one after another, whatever becomes of the ones before."""

    def __init__(self, result: dict[str, Any], options: argparse.Namespace) -> None:
        self.result, self.options, self.started = result, options, time.perf_counter()

    def run(self, place: dict[str, Any], name: str, part: Callable[[], Any]) -> None:
        """Put what ``part`` returns, or its error, at ``place[name]``, and print it."""
        begun = time.perf_counter()
        if begun - self.started > self.options.seconds:
            place[name] = {"left_out": f"{begun - self.started:.0f} s had passed"}
        else:
            try:
                place[name] = part()
            except Exception as error:  # noqa: BLE001 - the other parts are worth having without it
                place[name] = {"error": f"{type(error).__name__}: {error}"[:600]}
        say(f"[{time.perf_counter() - self.started:5.1f} s] {name}: {place[name]}")
        if self.options.out is not None:  # what there is, should the machine go away
            self.options.out.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(self.options.out, json.dumps(self.result, indent=1) + "\n")


def make_model(config: LlamaConfig, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
    """A random model, drawn on the device itself."""
    torch.manual_seed(0)
    with device:
        lm = LlamaForCausalLM(config)
    nn.Module.to(lm, dtype)  # transformers' own wrapper of it has no usable type
    return lm


def synchronize_of(device: torch.device) -> Callable[[], object]:
    """Waits until the device is done."""
    return torch.cuda.synchronize if device.type == "cuda" else int


def peak_product(
    side: int,
    device: torch.device,
    *,
    repetitions: int,
    dtype: torch.dtype = torch.bfloat16,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """FLOP/s of a square matrix product on random data, see ``spread``."""
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    times = 10

    def product() -> None:
        for _ in range(times):
            torch.mm(a, b)

    sides = {"product": product}
    wait = synchronize_of(device)
    seconds = alternate(sides, repetitions=repetitions, synchronize=wait, clock=clock)["product"]
    return spread([times * 2 * side**3 / s for s in seconds])


def peak_gib(device: torch.device) -> float | None:
    """The most memory that was taken on the GPU so far; None elsewhere."""
    return round(torch.cuda.max_memory_allocated() / 2**30, 1) if device.type == "cuda" else None


def relative_maximum(found: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest expected value."""
    return float((found - expected).abs().max() / expected.abs().max())


def relative_norm(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference as a share of the norm of what was expected."""
    return float((found - expected).norm() / expected.norm())
