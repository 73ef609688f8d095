"""On a GPU: is the packed flex-attention path right, and how near does a 7B step come to the chip's speed?

1. Right: packed rows through flex attention against the dense mask, same weights, in float32 (slot states
   and every gradient) and in bfloat16 (no further from float32 than the dense mask in bfloat16 is).
2. Fast: tokens/s of forward and backward of a random model of LLaMA-2-7B's geometry, packed rows of 1,024
   tokens, bfloat16, gradient checkpointing, Eq. 6 included; as a share of a bfloat16 matrix product measured
   in the same run. Two separate passes are timed beside it. The optimizer is not in these figures: one AdamW
   step is timed by itself, and tokens/s with it are given for the batch that was run.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from gpu import make_model, peak_gib, peak_product, relative_maximum, relative_norm, synchronize_of
from measure import alternate, machine, make_parser, ratio, report, say, spread
from torch import Tensor, nn
from transformers import LlamaForCausalLM
from workload import Texts, llama_config

from llara.adapt.losses import AdaptationModel, Batch, combine
from llara.joint import dense_mask, pack

EXAMPLE = "python benchmarks/gpu_adapt.py --out benchmarks/results/gpu_adapt.json"
FLOAT32_TOLERANCE = 1e-4  # of the largest value: sums of a thousand float32 terms in another order
BFLOAT16_FACTOR = 1.5  # flex may be this much further from float32 than the dense mask is, as a norm


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("The packed path on a GPU: its correctness and its speed.", EXAMPLE)
    parser.add_argument("--hidden", type=int, default=4096, help="width of the timed model")
    parser.add_argument("--layers", type=int, default=32, help="layers of the timed model")
    parser.add_argument("--vocabulary", type=int, default=32_000, help="words of the head")
    parser.add_argument("--rows", type=int, default=8, help="packed rows a batch")
    parser.add_argument("--row-tokens", type=int, default=1024, help="length of a packed row")
    parser.add_argument(
        "--text-tokens", type=int, nargs=2, default=[100, 500], help="texts' lengths: least, most"
    )
    parser.add_argument(
        "--weights",
        choices=["float32", "bfloat16"],
        default="float32",
        help="float32 under autocast is what llara adapt trains (7B with AdamW's state: 100 GiB)",
    )
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices of the peak product")
    parser.add_argument("--repetitions", type=int, default=5, help="timed turns, after one warm-up")
    parser.add_argument("--skip-speed", action="store_true", help="correctness only")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.hidden, options.layers, options.vocabulary, options.matrix = 64, 2, 97, 128
        options.rows, options.row_tokens, options.text_tokens, options.repetitions = 2, 128, [5, 60], 2
    elif not torch.cuda.is_available():
        parser.error("no GPU was found; --tiny runs the same code small, on the CPU")
    return options


def packed_texts(options: argparse.Namespace, vocabulary: int) -> tuple[Texts, list[list[int]]]:
    """Texts of random lengths that fill ``rows`` rows, and which text stands in which row."""
    least, most = options.text_tokens
    draw = torch.Generator().manual_seed(0)
    pool = torch.randint(
        least, most + 1, (options.rows * options.row_tokens // least,), generator=draw
    ).tolist()
    around = 1 + 2 * Texts([], vocabulary).prompt_tokens  # BOS and both prompts
    rows = pack([length + around for length in pool], options.row_tokens)[: options.rows]
    lengths = [pool[i] for row in rows for i in row]
    places = count()
    return Texts(lengths, vocabulary), [[next(places) for _ in row] for row in rows]


def loss_of(model: AdaptationModel, batch: Batch) -> Tensor:
    """The paper's loss of a batch."""
    counts = batch.counts().to(batch.lm_labels_P.device)
    return combine(model(batch), counts, task_weight=1.0, lm_weight=0.0)


# -- right ---------------------------------------------------------------------------------------------


def states_and_gradients(
    lm: LlamaForCausalLM, batch: Batch, *, attention: str, dtype: torch.dtype, backward: bool
) -> dict[str, Tensor]:
    """Slot states (float32, ``[tasks x R, D]``) and, if asked, the gradient of every weight."""
    lm = copy.deepcopy(lm)
    nn.Module.to(lm, dtype)
    lm.config._attn_implementation = attention
    model = AdaptationModel(lm)
    with torch.no_grad():
        states = model.slot_states(batch)
    found = {"states": torch.cat([states[task].flatten(0, 1) for task in states]).float()}
    if backward:
        loss_of(model, batch).backward()
        found |= {name: p.grad.float() for name, p in lm.named_parameters() if p.grad is not None}
    return found


def check_right(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Flex against dense in both precisions.

    Raises:
        SystemExit: they differ by more than the tolerance.
    """
    on_gpu = device.type == "cuda"
    width, vocabulary = (512, 1000) if on_gpu else (options.hidden, options.vocabulary)
    config = llama_config(vocabulary=vocabulary, hidden=width, layers=4 if on_gpu else 2)
    lm = make_model(config, device, torch.bfloat16).float().eval()  # weights that bfloat16 holds exactly
    texts, rows = packed_texts(options, vocabulary)
    batch = texts.batch(joint=True, rows=rows, row_tokens=options.row_tokens).to(device)

    def run(attention: str, dtype: torch.dtype) -> dict[str, Tensor]:
        flex_on_cpu = attention == "flex_attention" and not on_gpu
        # On the CPU flex attention has no backward, and compiling it takes a minute and shows no more.
        with torch.compiler.set_stance("force_eager" if flex_on_cpu else "default"):
            return states_and_gradients(lm, batch, attention=attention, dtype=dtype, backward=on_gpu)

    truth = run("sdpa", torch.float32)
    flex, flex_half = run("flex_attention", torch.float32), run("flex_attention", torch.bfloat16)
    dense_half = run("sdpa", torch.bfloat16)
    float32 = max(relative_maximum(flex[name], truth[name]) for name in truth)
    errors = {
        name: (relative_norm(flex_half[name], truth[name]), relative_norm(dense_half[name], truth[name]))
        for name in truth
    }
    worst = max(errors, key=lambda name: errors[name][0] / max(errors[name][1], 1e-9))
    result = {
        "compared": "slot states and all gradients"
        if on_gpu
        else "slot states (no flex backward on the CPU)",
        "documents": batch.num_documents,
        "float32_largest_relative_difference": float32,
        "bfloat16_worst": {
            "tensor": worst,
            "flex_relative_error": errors[worst][0],
            "dense_relative_error": errors[worst][1],
        },
    }
    say(f"flex against dense: {result}")
    if float32 > FLOAT32_TOLERANCE:
        raise SystemExit(f"float32: flex and dense differ by {float32:.2g}, allowed {FLOAT32_TOLERANCE:g}")
    if errors[worst][0] > BFLOAT16_FACTOR * errors[worst][1]:
        raise SystemExit(
            f"bfloat16, {worst}: flex is {errors[worst][0]:.2g} from float32, dense {errors[worst][1]:.2g}"
        )
    return result


# -- fast ----------------------------------------------------------------------------------------------


def step_flops(lm: LlamaForCausalLM, batch: Batch) -> dict[str, float]:
    """FLOP of one joint forward and backward that the result needs: real tokens, visible pairs, slots.

    A multiply-add is two; backward costs twice forward. Recomputing for gradient checkpointing adds one more
    forward of the layers, which ``with_recomputation`` counts.
    """
    (_, joint), config = batch.passes[0], lm.config
    hidden: int = config.hidden_size
    in_layers = sum(p.numel() for p in lm.model.layers.parameters() if p.ndim == 2)
    real = joint.document_BT >= 0
    pairs = int((dense_mask(joint).sum(dim=(1, 3)) * real).sum())
    layers = 2 * in_layers * int(real.sum()) + 4 * hidden * pairs * config.num_hidden_layers
    head = 2 * hidden * config.vocab_size * len(joint.slot_rows_N)
    return {"needed": 3.0 * (layers + head), "with_recomputation": 4.0 * layers + 3.0 * head}


def time_step(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds of forward and backward, joint and in two passes, then of AdamW alone."""
    on_gpu = device.type == "cuda"
    attention = "flex_attention" if on_gpu else "sdpa"
    config = llama_config(
        vocabulary=options.vocabulary, hidden=options.hidden, layers=options.layers, attention=attention
    )
    say("making the model")
    lm = make_model(config, device, getattr(torch, options.weights)).train()
    lm.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model = AdaptationModel(lm)
    texts, rows = packed_texts(options, options.vocabulary)
    batches = {
        "joint": texts.batch(joint=True, rows=rows, row_tokens=options.row_tokens).to(device),
        # The same texts in the same rows, which lack the other branch and so hold a little more padding.
        "two passes": texts.batch(joint=False, rows=rows, row_tokens=options.row_tokens).to(device),
    }

    def forward_backward(batch: Batch) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=options.weights == "float32"):
            loss = loss_of(model, batch)
        loss.backward()
        lm.zero_grad()

    sides: dict[str, Callable[[], object]] = {
        name: lambda batch=batch: forward_backward(batch)  # type: ignore[misc]
        for name, batch in batches.items()
    }
    wait = synchronize_of(device)
    seconds = alternate(sides, repetitions=options.repetitions, synchronize=wait)
    real = batches["joint"].passes[0][1].document_BT >= 0
    return {
        "parameters": sum(p.numel() for p in lm.parameters()),
        "documents": batches["joint"].num_documents,
        "tokens": int(real.sum()),
        "padding": round(1 - real.float().mean().item(), 4),
        "attention": attention,
        "flops": step_flops(lm, batches["joint"]),
        "seconds": seconds,
        "peak_gib_forward_backward": peak_gib(device),
        "optimizer": time_optimizer(lm, options, device),
    }


def time_optimizer(lm: LlamaForCausalLM, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds of one AdamW step over all weights, or that it did not fit."""
    try:
        for parameter in lm.parameters():
            parameter.grad = torch.full_like(parameter, 1e-4)
        adamw = torch.optim.AdamW(lm.parameters(), lr=1e-5, fused=True)
        seconds = alternate(
            {"adamw": adamw.step}, repetitions=options.repetitions, synchronize=synchronize_of(device)
        )["adamw"]
    except torch.OutOfMemoryError:
        say(f"AdamW did not fit beside {options.weights} weights; try --weights bfloat16")
        return {"name": "AdamW (fused)", "seconds": None}
    return {"name": "AdamW (fused)", "seconds": spread(seconds), "peak_gib": peak_gib(device)}


def speed(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """The timed step as tokens/s and as shares of the matrix product."""
    before = peak_product(options.matrix, device, repetitions=options.repetitions)
    step = time_step(options, device)
    after = peak_product(options.matrix, device, repetitions=options.repetitions)
    peak = max(before["median"], after["median"])
    joint = spread(step["seconds"]["joint"])["median"]
    adamw = step["optimizer"]["seconds"]
    with_adamw = step["tokens"] / (joint + adamw["median"]) if adamw else None
    result = {
        "matrix_product_flops": {"before": before, "after": after},
        "tokens_per_second": round(step["tokens"] / joint),
        "tokens_per_second_with_adamw": round(with_adamw) if with_adamw else None,
        "share_of_matrix_product": round(step["flops"]["needed"] / joint / peak, 4),
        "share_with_recomputation": round(step["flops"]["with_recomputation"] / joint / peak, 4),
        "joint_over_two_passes": ratio(step["seconds"]["joint"], step["seconds"]["two passes"]),
        **step,
    }
    return result | {"seconds": {name: spread(values) for name, values in step["seconds"].items()}}


def table(result: dict[str, Any]) -> list[list[str]]:
    """What to print of the result."""
    right = result["right"]
    worst = right["bfloat16_worst"]
    rows = [
        ["what", "value"],
        ["flex against dense, float32", f"{right['float32_largest_relative_difference']:.2g}"],
        [
            "flex from float32, bfloat16",
            f"{worst['flex_relative_error']:.2g} (dense {worst['dense_relative_error']:.2g})",
        ],
    ]
    if "speed" not in result:
        return rows
    fast = result["speed"]
    saved = 1 - fast["joint_over_two_passes"]["median"]
    return [
        *rows,
        ["bfloat16 matrix product", f"{fast['matrix_product_flops']['before']['median'] / 1e12:.3g} TFLOP/s"],
        ["forward and backward", f"{fast['tokens_per_second']:,} tokens/s"],
        ["  as a share of the product", f"{fast['share_of_matrix_product']:.1%}"],
        ["  recomputation counted", f"{fast['share_with_recomputation']:.1%}"],
        ["  saved against two passes", f"{saved:.1%}"],
        ["with one AdamW step", f"{fast['tokens_per_second_with_adamw'] or 'did not fit'} tokens/s"],
        ["peak memory, before AdamW", f"{fast['peak_gib_forward_backward']} GiB"],
    ]


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
