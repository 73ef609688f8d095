"""One joint pass against two separate ones, forward and backward: what Fig. 2 of the paper saves.

The peer is the fastest two-pass way there is: two ordinary causal passes of the same model, which need no
mask of ours. All ways are shown to give the same states first. The head takes no part, and laying out the
batch (the data loader's work) is not timed; building the masks is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import alternate, machine, make_parser, ratio, report, say, spread
from torch import Tensor
from transformers import LlamaModel
from workload import Texts, llama_config

from llara.joint import Joint, attention_argument, forward_slots, lay_out

EXAMPLE = "python benchmarks/joint_pass.py --out benchmarks/results/joint_pass.json"
VOCABULARY = 8192
SAME = 1e-4  # float32 states of order one, through a few layers

Passes = list[Callable[[], Tensor]]  # each gives states [N, D]


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("One joint pass against two separate passes, forward and backward.", EXAMPLE)
    parser.add_argument("--text-tokens", type=int, default=512, help="length of every text")
    parser.add_argument("--prompt-tokens", type=int, default=6, help="length of each prompt, slot included")
    parser.add_argument("--texts", type=int, default=2, help="texts a batch")
    parser.add_argument("--hidden", type=int, default=384, help="width of the model, in heads of 64")
    parser.add_argument("--layers", type=int, default=6, help="layers of the model")
    parser.add_argument("--repetitions", type=int, default=8, help="timed turns, after one warm-up")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.text_tokens, options.hidden, options.layers, options.repetitions = 32, 64, 2, 2
    return options


def ways_to_run(model: LlamaModel, texts: Texts) -> dict[str, Passes]:
    """Each way as its passes."""
    both = lay_out(texts.trunks, texts.branches, pad_id=0)
    single = [lay_out(texts.trunks, [branch], pad_id=0) for branch in texts.branches]

    def masked(joint: Joint) -> Callable[[], Tensor]:
        return lambda: forward_slots(model, joint)

    def plain(joint: Joint) -> Callable[[], Tensor]:  # texts are of one length: the slot stands last
        return lambda: model(input_ids=joint.input_ids_BT, use_cache=False).last_hidden_state[:, -1]

    return {
        "joint": [masked(both)],
        "two plain passes": [plain(joint) for joint in single],
        "two passes, our mask": [masked(joint) for joint in single],
    }


@torch.no_grad()
def largest_difference(ways: dict[str, Passes]) -> float:
    """Between the joint states and those of every other way."""
    (joint_pass,) = ways["joint"]
    joint_states = joint_pass()  # [B * branch, D]
    others = [torch.stack([run() for run in ways[name]], dim=1) for name in list(ways)[1:]]  # [B, branch, D]
    return max((other.flatten(0, 1) - joint_states).abs().max().item() for other in others)


def forward_backward(model: LlamaModel, passes: Passes) -> None:
    """Each pass forward and backward, its gradients added to those of the passes before it."""
    model.zero_grad()
    for run in passes:
        run().square().sum().backward()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; the keys say what."""
    torch.manual_seed(0)
    model = LlamaModel(llama_config(vocabulary=VOCABULARY, hidden=options.hidden, layers=options.layers))
    texts = Texts([options.text_tokens] * options.texts, VOCABULARY, options.prompt_tokens)
    ways = ways_to_run(model.train(), texts)
    difference = largest_difference(ways)
    if difference > SAME:
        raise SystemExit(f"the ways differ by {difference:.2g}, more than {SAME:g}: nothing to compare")
    say(f"same states in all ways (largest difference {difference:.1g})")
    sides: dict[str, Callable[[], object]] = {
        name: lambda passes=passes: forward_backward(model, passes)  # type: ignore[misc]
        for name, passes in ways.items()
    }
    both = lay_out(texts.trunks, texts.branches, pad_id=0)
    sides["of the joint pass, the mask"] = lambda: attention_argument(both, model.config, torch.float32)
    seconds = alternate(sides, repetitions=options.repetitions)
    return {
        "benchmark": Path(__file__).stem,
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        "machine": {**machine(), "threads": torch.get_num_threads()},
        "largest_difference": difference,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "joint_over": {name: ratio(seconds["joint"], seconds[name]) for name in list(ways)[1:]},
    }


def main() -> None:
    """Measure, print, write."""
    options = parse()
    result = measure(options)
    rows = [["forward and backward", "median s", "min", "max", "joint / this", "saved"]]
    for name, times in result["seconds"].items():
        share = result["joint_over"].get(name)
        compared = [f"{share['median']:.3f}", f"{1 - share['median']:.1%}"] if share else ["", ""]
        rows.append([name, *(f"{times[key]:.3f}" for key in ("median", "min", "max")), *compared])
    report(result, rows, options.out)


if __name__ == "__main__":
    main()
