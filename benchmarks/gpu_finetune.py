"""On a GPU: is a contrastive step through GradCache right, and how near to the chip's speed is a 7B one?

1. Right: loss and every adapter's gradient of a small model, GradCache against all texts at once: in float32
   the same to rounding, in bfloat16 no further from float32 than all texts at once are. With dropout, one
   part that holds all texts gives the same: the second forward pass draws what the first drew.
2. Fast: one LoRA step of a random model of LLaMA-2-7B's geometry at the paper's batch (128 queries x 16
   passages of 32 and 196 tokens): forward, backward, AdamW on the adapters of ``llama2-7b-passage``, frozen
   bfloat16 base, autocast. Seconds and peak memory without and with gradient checkpointing, and the share of
   a bfloat16 matrix product measured in the same run.

Sized for 80 GB; with 140 GB ``--texts-at-once 32 64`` shows what larger parts bring. What does not fit is
said and left out. It needs no data, and neither faiss nor Hugging Face's datasets.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from geometry import Geometry
from gpu import make_model, peak_gib, peak_product, relative_norm, synchronize_of
from measure import alternate, machine, make_parser, report, say, spread
from pairs import LastToken, PairBatch, random_pairs
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from workload import llama_config, set_checkpointing

from llara.config import ContrastConfig, LoraConfig
from llara.finetune.loss import ContrastiveLoss
from llara.training import with_lora

EXAMPLE = "python benchmarks/gpu_finetune.py --out benchmarks/results/gpu_finetune.json"
SIX_PROJECTIONS = ("q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")  # RepLLaMA's
FLOAT32_TOLERANCE = 1e-3  # of a gradient's norm; a score's rounding counts a hundredfold at t = .01
BFLOAT16_FACTOR = 1.5  # GradCache may be this much further from float32 than all texts at once are


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("A contrastive LoRA step on a GPU: its correctness and its speed.", EXAMPLE)
    parser.add_argument("--hidden", type=int, default=4096, help="width of the timed model")
    parser.add_argument("--layers", type=int, default=32, help="layers of the timed model")
    parser.add_argument("--vocabulary", type=int, default=32_000, help="words of the model")
    parser.add_argument("--rank", type=int, default=32, help="rank of the adapters")
    parser.add_argument("--dropout", type=float, default=0.1, help="dropout of the adapters")
    parser.add_argument("--queries", type=int, default=128, help="queries a step")
    parser.add_argument("--negatives", type=int, default=15, help="hard negatives a query")
    lengths = {"type": int, "nargs": 2}
    parser.add_argument("--query-tokens", default=[32, 32], help="lengths: least, most", **lengths)
    parser.add_argument("--passage-tokens", default=[196, 196], help="lengths: least, most", **lengths)
    parser.add_argument("--texts-at-once", type=int, nargs="+", default=[32], help="parts of GradCache")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices of the peak product")
    parser.add_argument(
        "--repetitions", type=int, default=1, help="timed steps, after a small one to warm up"
    )
    parser.add_argument(
        "--checkpointing", choices=("off", "on", "both"), default="both", help="ways of the timed step"
    )
    parser.add_argument("--skip-speed", action="store_true", help="correctness only")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.hidden, options.layers, options.vocabulary, options.matrix = 64, 2, 97, 128
        options.rank, options.queries, options.negatives, options.texts_at_once = 4, 4, 2, [5]
        options.query_tokens, options.passage_tokens = [8, 8], [16, 32]
    elif not torch.cuda.is_available():
        parser.error("no GPU was found; --tiny runs the same code small, on the CPU")
    return options


def with_adapters(lm: LlamaForCausalLM, *, rank: int, dropout: float) -> Any:
    """Adapters on six projections; their second factor is random, not 0, so that the first has a gradient."""
    lora = LoraConfig(rank=rank, alpha=2.0 * rank, dropout=dropout, projections=SIX_PROJECTIONS)
    adapted = with_lora(lm, lora, new_ids=())
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.02)
    return adapted.train()


def backward(encoder: LastToken, batch: PairBatch, texts: int | None) -> Tensor:
    """The loss, after its backward."""
    loss = ContrastiveLoss(encoder, ContrastConfig(), grad_cache_texts=texts)(batch.features, batch.labels)
    loss.backward()
    return loss.detach()


# -- right ---------------------------------------------------------------------------------------------


def check_right(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """GradCache against all texts at once.

    Raises:
        SystemExit: they differ by more than the tolerance.
    """
    on_gpu = device.type == "cuda"
    width, layers = (512, 4) if on_gpu else (options.hidden, 2)
    config = llama_config(vocabulary=1000, hidden=width, layers=layers)
    lm = make_model(config, device, torch.bfloat16).float()  # weights that bfloat16 holds exactly
    trunk = lm.base_model
    batch = random_pairs(
        queries=8, passages=4, query_tokens=[8, 32], passage_tokens=[16, 96], vocabulary=1000
    ).to(device)
    adapted = with_adapters(lm, rank=8, dropout=0.1)
    everything = len(batch.lengths)

    def run(texts: int | None, *, half: bool = False, checkpointing: bool = False) -> tuple[float, Tensor]:
        """The loss, and the gradients of all adapters end to end."""
        set_checkpointing(trunk, checkpointing)
        adapted.zero_grad()
        torch.manual_seed(1)  # of dropout
        loss = backward(LastToken(trunk, autocast=half), batch, texts).item()
        found = [p.grad.float().flatten() for p in adapted.parameters() if p.grad is not None]
        return loss, torch.cat(found)

    dropped = run(None)
    compared = {
        "dropout, one part": (run(everything), dropped),
        "dropout, one part, checkpointing": (run(everything, checkpointing=True), dropped),
    }
    for module in adapted.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # from here on, for parts draw other masks; in eval() nothing would be recomputed
    ways = {"GradCache": (5, False), "GradCache, checkpointing": (5, True)}
    truth, half = run(None), run(None, half=True)
    if truth[0] == dropped[0]:
        raise SystemExit("dropout changed nothing: it was not on")
    compared |= {name: (run(texts, checkpointing=on), truth) for name, (texts, on) in ways.items()}
    float32 = {
        name: {
            "loss_relative_difference": abs(found[0] / expected[0] - 1),
            "gradient_relative_difference": relative_norm(found[1], expected[1]),
        }
        for name, (found, expected) in compared.items()
    }
    plain_error = relative_norm(half[1], truth[1])
    halves = {name: run(texts, half=True, checkpointing=on) for name, (texts, on) in ways.items()}
    bfloat16 = {name: relative_norm(found[1], truth[1]) for name, found in halves.items()}
    result = {
        "loss": truth[0],
        "bfloat16_losses": {"all texts at once": half[0]}
        | {name: found[0] for name, found in halves.items()},
        "float32": float32,
        "bfloat16_gradient_from_float32": {"all texts at once": plain_error, **bfloat16},
    }
    say(f"GradCache against all texts at once: {result}")
    for name, numbers in float32.items():
        worst = max(numbers.values())
        if not worst <= FLOAT32_TOLERANCE:
            raise SystemExit(f"float32, {name}: differs by {worst:.2g}, allowed {FLOAT32_TOLERANCE:g}")
    for name, error in bfloat16.items():
        if not error <= BFLOAT16_FACTOR * plain_error:
            raise SystemExit(
                f"bfloat16, {name}: {error:.2g} from float32, all texts at once only {plain_error:.2g}"
            )
    return result


# -- fast ----------------------------------------------------------------------------------------------


class Steps:
    """The timed model with its adapters, optimizer and batch."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        config = llama_config(vocabulary=options.vocabulary, hidden=options.hidden, layers=options.layers)
        say("making the model")
        lm = make_model(config, device, torch.bfloat16)
        self.trunk = lm.base_model
        self.geometry = Geometry(
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            ffn=config.intermediate_size,
            vocabulary=config.vocab_size,
        )
        adapted = with_adapters(lm, rank=options.rank, dropout=options.dropout)
        self.trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, fused=device.type == "cuda")
        self.encoder = LastToken(self.trunk, autocast=True)
        self.batch, self.small_batch = (
            random_pairs(
                queries=queries,
                passages=1 + options.negatives,
                query_tokens=options.query_tokens,
                passage_tokens=options.passage_tokens,
                vocabulary=options.vocabulary,
            ).to(device)
            for queries in (options.queries, max(2, options.queries // 32))
        )

    def step(self, texts: int, checkpointing: bool, *, small: bool = False) -> None:
        """Forward, backward, AdamW."""
        set_checkpointing(self.trunk, checkpointing)
        self.optimizer.zero_grad()
        backward(self.encoder, self.small_batch if small else self.batch, texts)
        self.optimizer.step()

    def flops(self, forwards: int) -> float:
        """FLOP of a step with so many forward passes: 1 is what the result needs, GradCache makes 2."""
        adapters = sum(parameter.numel() for parameter in self.trained)
        return sum(
            self.geometry.lora_training_flops(1, length, forwards=forwards, adapters=adapters)
            for length in self.batch.lengths
        )


def measured_way(
    steps: Steps, texts: int, checkpointing: bool, options: argparse.Namespace, device: torch.device
) -> dict[str, Any] | None:
    """Seconds and peak memory of one way to step, after a small step of it; None if it does not fit."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    sides: dict[str, Callable[[], object]] = {"step": lambda: steps.step(texts, checkpointing)}
    try:
        steps.step(texts, checkpointing, small=True)
        seconds = alternate(
            sides, repetitions=options.repetitions, synchronize=synchronize_of(device), warm_ups=0
        )
    except torch.OutOfMemoryError:
        say(f"{texts} texts at once, checkpointing {checkpointing}: did not fit")
        return None
    return {"seconds": spread(seconds["step"]), "peak_gib": peak_gib(device)}


def speed(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Every way as seconds, memory and shares of the matrix product."""
    before = peak_product(options.matrix, device, repetitions=5)
    steps = Steps(options, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    loaded = peak_gib(device)
    ways: dict[str, Any] = {}
    for texts in options.texts_at_once:
        for checkpointing in {"off": [False], "on": [True], "both": [False, True]}[options.checkpointing]:
            name = f"{texts} texts at once" + (", checkpointing" if checkpointing else "")
            found = measured_way(steps, texts, checkpointing, options, device)
            ways[name] = found and {**found, "forwards": 3 if checkpointing else 2}
            say(f"{name}: {ways[name]}")
    after = peak_product(options.matrix, device, repetitions=5)
    peak = max(before["median"], after["median"])
    for way in filter(None, ways.values()):
        seconds = way["seconds"]["median"]
        way["share_of_matrix_product"] = round(steps.flops(1) / seconds / peak, 4)
        way["share_with_repeated_passes"] = round(steps.flops(way["forwards"]) / seconds / peak, 4)
        way["tokens_per_second"] = round(sum(steps.batch.lengths) / seconds)
    return {
        "matrix_product_flops": {"before": before, "after": after},
        "parameters": steps.geometry.parameters,
        "trained_parameters": sum(parameter.numel() for parameter in steps.trained),
        "texts": len(steps.batch.lengths),
        "tokens": sum(steps.batch.lengths),
        "flops_needed": steps.flops(1),
        "loaded_gib": loaded,
        "ways": ways,
    }


def table(result: dict[str, Any]) -> list[list[str]]:
    """What to print of the result."""
    right = result["right"]
    rows = [["what", "value", "", "", ""]]
    for name, numbers in right["float32"].items():
        rows.append(
            [f"{name}: gradient off, float32", f"{numbers['gradient_relative_difference']:.2g}", "", "", ""]
        )
    for name, error in right["bfloat16_gradient_from_float32"].items():
        rows.append([f"{name}: gradient from float32, bfloat16", f"{error:.2g}", "", "", ""])
    if "speed" not in result:
        return rows
    fast = result["speed"]
    product = fast["matrix_product_flops"]["before"]["median"] / 1e12
    rows.append(["bfloat16 matrix product", f"{product:.3g} TFLOP/s", "", "", ""])
    rows.append(["a step", "median s", "peak GiB", "share of the product", "repeated passes counted"])
    for name, way in fast["ways"].items():
        if way is None:
            rows.append([name, "did not fit", "", "", ""])
            continue
        shares = [f"{way[key]:.1%}" for key in ("share_of_matrix_product", "share_with_repeated_passes")]
        rows.append([name, f"{way['seconds']['median']:.3g}", f"{way['peak_gib']}", *shares])
    return rows


def main() -> None:
    """Check, measure, print, write."""
    options = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result: dict[str, Any] = {
        "benchmark": Path(__file__).stem,
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        "machine": {**machine(), "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None},
        "right": check_right(options, device),
    }
    if not options.skip_speed:
        result["speed"] = speed(options, device)
    report(result, table(result), options.out)


if __name__ == "__main__":
    main()
