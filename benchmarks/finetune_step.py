"""A contrastive training step with and without GradCache and gradient checkpointing: time and peak memory.

plain      every text of the step is embedded at once; activations of all of them are held for backward
GradCache  so many texts at once, first without and then with gradients: one forward pass more

A step is forward, backward and AdamW over all weights, with ``ContrastiveLoss``, what ``llara finetune``
runs. All ways are shown to give the same loss and gradient first. Texts are of mixed length, and a part of
them is padded to its own longest only. Memory is the peak of a fresh process that does nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import alternate, in_fresh_process, machine, make_parser, peak_mib, ratio, report, say, spread
from pairs import LastToken, random_pairs
from torch import Tensor
from transformers import LlamaModel
from workload import llama_config, set_checkpointing

from llara.config import ContrastConfig
from llara.finetune.loss import ContrastiveLoss

EXAMPLE = "python benchmarks/finetune_step.py --out benchmarks/results/finetune_step.json"
PLAIN = "plain: all texts at once"
WAYS: dict[str, tuple[int | None, bool]] = {  # texts at once, gradient checkpointing
    PLAIN: (None, False),
    "plain, checkpointing": (None, True),
    "GradCache, 32 texts": (32, False),
    "GradCache, 8 texts": (8, False),
    "GradCache, 32 texts, checkpointing": (32, True),
}
SAME_LOSS, SAME_GRADIENT = 1e-5, 1e-3  # relative, float32; a score's rounding counts a hundredfold at t = .01
MIB = 2**20


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("A contrastive step with and without GradCache: time and peak memory.", EXAMPLE)
    parser.add_argument("--queries", type=int, default=32, help="queries a step")
    parser.add_argument("--negatives", type=int, default=3, help="hard negatives a query")
    lengths = {"type": int, "nargs": 2}
    parser.add_argument("--query-tokens", default=[8, 32], help="lengths: least, most", **lengths)
    parser.add_argument("--passage-tokens", default=[32, 128], help="lengths: least, most", **lengths)
    parser.add_argument("--vocabulary", type=int, default=8192, help="words of the embedding")
    parser.add_argument("--hidden", type=int, default=256, help="width of the model, in heads of 64")
    parser.add_argument("--layers", type=int, default=6, help="layers of the model")
    parser.add_argument("--repetitions", type=int, default=4, help="timed turns, after one warm-up")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.queries, options.negatives, options.vocabulary, options.repetitions = 10, 1, 97, 2
        options.passage_tokens, options.hidden, options.layers = [8, 32], 64, 2
    return options


class Steps:
    """One model, its optimizer, one batch, and the ways to take a step."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        config = llama_config(vocabulary=options.vocabulary, hidden=options.hidden, layers=options.layers)
        self.trunk = LlamaModel(config).train()
        self.optimizer = torch.optim.AdamW(self.trunk.parameters(), lr=1e-5)
        self.encoder = LastToken(self.trunk)
        self.batch = random_pairs(
            queries=options.queries,
            passages=1 + options.negatives,
            query_tokens=options.query_tokens,
            passage_tokens=options.passage_tokens,
            vocabulary=options.vocabulary,
        )

    def backward(self, way: str) -> Tensor:
        """The loss, after its backward."""
        texts, checkpointing = WAYS[way]
        set_checkpointing(self.trunk, checkpointing)
        loss = ContrastiveLoss(self.encoder, ContrastConfig(), grad_cache_texts=texts)
        value = loss(self.batch.features, self.batch.labels)
        value.backward()
        return value.detach()

    def step(self, way: str) -> None:
        """Forward, backward, AdamW."""
        self.optimizer.zero_grad()
        self.backward(way)
        self.optimizer.step()

    def check_same(self) -> dict[str, float]:
        """The loss, and how far the ways are from the plain one at most; they must be the same to rounding.

        Raises:
            RuntimeError: they are not.
        """
        losses, gradients = {}, {}
        for way in WAYS:
            self.optimizer.zero_grad()
            losses[way] = self.backward(way).item()
            found = [p.grad.flatten() for p in self.trunk.parameters() if p.grad is not None]
            gradients[way] = torch.cat(found)
        truth = gradients[PLAIN]
        loss_off = max(abs(value / losses[PLAIN] - 1) for value in losses.values())
        gradient_off = max(float((found - truth).norm() / truth.norm()) for found in gradients.values())
        difference = f"loss {losses[PLAIN]:.4f} to {loss_off:.1g}, gradients to {gradient_off:.1g}"
        if loss_off > SAME_LOSS or gradient_off > SAME_GRADIENT:
            raise RuntimeError(f"the ways differ ({difference}): nothing to compare")
        say(f"same in all ways: {difference}")
        return {
            "loss": losses[PLAIN],
            "loss_relative_difference": loss_off,
            "gradient_relative_difference": gradient_off,
        }


def time_part(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step each way, taking turns in one process."""
    steps = Steps(options)
    same = steps.check_same()
    sides: dict[str, Callable[[], object]] = {
        way: lambda way=way: steps.step(way)  # type: ignore[misc]
        for way in WAYS
    }
    return {
        "same": same,
        "parameters": sum(parameter.numel() for parameter in steps.trunk.parameters()),
        "texts": len(steps.batch.lengths),
        "tokens": sum(steps.batch.lengths),
        "threads": torch.get_num_threads(),
        "seconds": alternate(sides, repetitions=options.repetitions),
    }


def memory_part(options: argparse.Namespace, way: str) -> dict[str, Any]:
    """Peak MiB of this process before the first step and after the second, which has all of AdamW's state."""
    steps = Steps(options)
    loaded = peak_mib()
    for _ in range(2):
        steps.step(way)
    return {"loaded_mib": round(loaded), "peak_mib": round(peak_mib())}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; the keys say what."""
    memory = {way: in_fresh_process(memory_part, options, way) for way in WAYS}
    for way, numbers in memory.items():
        numbers["added_mib"] = numbers["peak_mib"] - numbers["loaded_mib"]
        say(f"{way}: {numbers['peak_mib']:,} MiB")
    timed = in_fresh_process(time_part, options)
    seconds = timed["seconds"]
    return {
        "benchmark": Path(__file__).stem,
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        "machine": {**machine(), "threads": timed["threads"]},
        "parameters": timed["parameters"],
        "gradients_and_adamw_mib": round(3 * 4 * timed["parameters"] / MIB),
        "texts": timed["texts"],
        "tokens": timed["tokens"],
        "same": timed["same"],
        "seconds": {way: spread(values) for way, values in seconds.items()},
        "memory": memory,
        "over_plain": {
            way: {
                "time": ratio(seconds[way], seconds[PLAIN]),
                "peak_memory": round(memory[way]["peak_mib"] / memory[PLAIN]["peak_mib"], 3),
                "added_memory": round(memory[way]["added_mib"] / memory[PLAIN]["added_mib"], 3),
            }
            for way in list(WAYS)[1:]
        },
    }


def main() -> None:
    """Measure, print, write."""
    options = parse()
    result = measure(options)
    rows = [["step", "median s", "min", "max", "this / plain", "peak MiB", "over loaded", "this / plain"]]
    for way, memory in result["memory"].items():
        times, share = result["seconds"][way], result["over_plain"].get(way)
        rows.append(
            [
                way,
                *(f"{times[key]:.3f}" for key in ("median", "min", "max")),
                f"{share['time']['median']:.3f}" if share else "",
                f"{memory['peak_mib']:,}",
                f"{memory['added_mib']:,}",
                f"{share['added_memory']:.3f}" if share else "",
            ]
        )
    report(result, rows, options.out)


if __name__ == "__main__":
    main()
