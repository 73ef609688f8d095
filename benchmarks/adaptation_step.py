"""A whole training step, ours against the plain way: time and peak memory.

ours       one joint pass; the head meets the slots only (``AdaptationModel``, what ``llara adapt`` runs)
plain      two passes through the model's own forward, head included: logits at every position

Two passes with slots only show which part of the saving is whose. A step is forward, backward and AdamW. The
plain way runs backward after each pass. Adding the two losses first, as a plain training loop does, is the
same work held in more memory: only its memory is measured. All ways are shown to give the same loss. Memory
is the peak of a fresh process that does nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import alternate, in_fresh_process, machine, make_parser, peak_mib, ratio, report, say, spread
from torch import Tensor
from transformers import LlamaForCausalLM
from workload import Texts, llama_config

from llara.adapt.losses import AdaptationModel, Batch, combine
from llara.objective import bag_of_words_loss

EXAMPLE = "python benchmarks/adaptation_step.py --out benchmarks/results/adaptation_step.json"
OURS, TWO_PASSES, PLAIN = (
    "ours: joint, slots only",
    "two passes, slots only",
    "plain: two passes, full logits",
)
PLAIN_ADDED = "plain, one backward at the end"
TIMED = (OURS, TWO_PASSES, PLAIN)
WAYS = (*TIMED, PLAIN_ADDED)
SAME = 1e-4  # relative, float32
MIB = 2**20


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("A training step against the plain way: time and peak memory.", EXAMPLE)
    parser.add_argument("--text-tokens", type=int, default=512, help="length of every text")
    parser.add_argument("--prompt-tokens", type=int, default=6, help="length of each prompt, slot included")
    parser.add_argument("--texts", type=int, default=4, help="texts a batch")
    parser.add_argument("--vocabulary", type=int, default=32_000, help="words of the head")
    parser.add_argument("--hidden", type=int, default=384, help="width of the model, in heads of 64")
    parser.add_argument("--layers", type=int, default=6, help="layers of the model")
    parser.add_argument("--repetitions", type=int, default=4, help="timed turns, after one warm-up")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.text_tokens, options.hidden, options.layers, options.repetitions = 32, 64, 2, 2
    return options


class Steps:
    """One model, its optimizer, and the ways to take a step with it."""

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        config = llama_config(vocabulary=options.vocabulary, hidden=options.hidden, layers=options.layers)
        self.lm = LlamaForCausalLM(config).train()
        self.optimizer = torch.optim.AdamW(self.lm.parameters(), lr=1e-5)
        texts = Texts([options.text_tokens] * options.texts, options.vocabulary, options.prompt_tokens)
        self.batches = {way: texts.batch(joint=way == OURS) for way in WAYS}

    def losses(self, way: str) -> list[Callable[[], Tensor]]:
        """Functions whose values add up to the loss; each may run backward before the next is called."""
        batch = self.batches[way]
        if way == PLAIN:
            return [lambda: self._plain_loss(batch, 0), lambda: self._plain_loss(batch, 1)]
        if way == PLAIN_ADDED:
            return [lambda: self._plain_loss(batch, 0) + self._plain_loss(batch, 1)]
        return [lambda: self._loss(batch)]

    def _loss(self, batch: Batch) -> Tensor:
        sums = AdaptationModel(self.lm)(batch)
        return combine(sums, batch.counts(), task_weight=1.0, lm_weight=0.0)

    def _plain_loss(self, batch: Batch, number: int) -> Tensor:
        """Half the loss: one task's."""
        (task,), joint = batch.passes[number]
        logits = self.lm(input_ids=joint.input_ids_BT, use_cache=False).logits  # [B, T, V]
        return bag_of_words_loss(logits[:, -1], batch.targets[task]) / (2 * batch.num_documents)

    @torch.no_grad()
    def check_same_loss(self) -> float:
        """The loss, which must be the same in all ways."""
        values = [sum(part().item() for part in self.losses(way)) for way in WAYS]
        if max(values) - min(values) > SAME * max(values):
            raise RuntimeError(f"the ways give different losses {values}: nothing to compare")
        say(f"same loss in all ways ({values[0]:.4f})")
        return values[0]

    def step(self, way: str) -> None:
        """Forward, backward, AdamW."""
        self.optimizer.zero_grad()
        for part in self.losses(way):
            part().backward()
        self.optimizer.step()


def time_part(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step each way, taking turns in one process."""
    steps = Steps(options)
    loss = steps.check_same_loss()
    sides: dict[str, Callable[[], object]] = {
        way: lambda way=way: steps.step(way)  # type: ignore[misc]
        for way in TIMED
    }
    parameters = sum(parameter.numel() for parameter in steps.lm.parameters())
    return {
        "loss": loss,
        "parameters": parameters,
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
        "loss": timed["loss"],
        "seconds": {way: spread(values) for way, values in seconds.items()},
        "memory": memory,
        "ours_over": {
            way: {
                "time": ratio(seconds[OURS], seconds[way]) if way in seconds else None,
                "peak_memory": round(memory[OURS]["peak_mib"] / memory[way]["peak_mib"], 3),
                "added_memory": round(memory[OURS]["added_mib"] / memory[way]["added_mib"], 3),
            }
            for way in WAYS[1:]
        },
    }


def main() -> None:
    """Measure, print, write."""
    options = parse()
    result = measure(options)
    rows = [["step", "median s", "min", "max", "ours / this", "peak MiB", "over loaded", "ours / this"]]
    for way, memory in result["memory"].items():
        times, share = result["seconds"].get(way), result["ours_over"].get(way)
        compared = share["time"] if share else None
        rows.append(
            [
                way,
                *(f"{times[key]:.3f}" if times else "" for key in ("median", "min", "max")),
                f"{compared['median']:.3f}" if compared else "",
                f"{memory['peak_mib']:,}",
                f"{memory['added_mib']:,}",
                f"{share['added_memory']:.3f}" if share else "",
            ]
        )
    report(result, rows, options.out)


if __name__ == "__main__":
    main()
