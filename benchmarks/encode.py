"""Encoding on a CPU: the encoder against sentence-transformers' own, same model, texts and number format.

Texts of log-normal length, about 60 words on average, are encoded as documents by the library's
``encode_document`` (at its default of 32 texts a batch, and at others) and by the encoder, in turns. Tokens/s
and FLOP that the vectors need (real tokens, visible pairs) as a share of a matrix product measured in the
same run and format. Peak memory is that of a process which does only that. The vectors are compared first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoding import needed_flops, num_tokens, stock_encode, stock_padding, word_texts
from gpu import peak_product
from measure import alternate, in_fresh_process, machine, make_parser, peak_mib, ratio, report, say, spread

from llara.encoder import Encoder
from llara.model import load

EXAMPLE = "python benchmarks/encode.py --out benchmarks/results/encode.json"
TOLERANCE = {"float32": 1e-5, "bfloat16": 0.05}  # of unit vectors; bfloat16 keeps two to three digits
OURS = "encoder"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("The encoder against sentence-transformers, on a CPU.", EXAMPLE)
    parser.add_argument("--model", default="llara-mini", help="a model directory or name")
    parser.add_argument("--texts", type=int, default=600, help="texts of about 60 words")
    parser.add_argument(
        "--stock-batches", type=int, nargs="+", default=[32, 8], help="its batch sizes; 32 is its default"
    )
    parser.add_argument(
        "--dtypes", nargs="+", choices=list(TOLERANCE), default=list(TOLERANCE), help="number formats"
    )
    parser.add_argument("--batch-tokens", type=int, default=None, help="tokens of one of our batches")
    parser.add_argument("--matrix", type=int, default=2048, help="side of the matrices of the peak product")
    parser.add_argument("--repetitions", type=int, default=3, help="timed turns, after one warm-up")
    parser.add_argument("--threads", type=int, default=None, help="threads of torch")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="seconds of the processor instead of the clock's, on one thread: for a machine that is busy",
    )
    options = parser.parse_args(arguments)
    if options.processor_time:
        options.threads = 1
    if options.tiny:
        options.texts, options.stock_batches, options.matrix, options.repetitions = 12, [32, 8], 128, 1
        options.dtypes = ["float32"]
    return options


def side(name: str, options: argparse.Namespace, dtype: str) -> tuple[Callable[[], Any], Encoder | None]:
    """One side, loaded: what encodes all texts. ``name`` is ours, or the library's batch size."""
    if options.threads:
        torch.set_num_threads(options.threads)
    texts = word_texts(options.texts)
    if name == OURS:
        encoder = Encoder(
            options.model, device="cpu", dtype=dtype, batch_tokens=options.batch_tokens  # type: ignore[arg-type]
        )  # fmt: skip
        return lambda: encoder.encode(texts, role="document"), encoder
    model = load(options.model, device="cpu", dtype=getattr(torch, dtype))
    return stock_encode(model, texts, int(name.rpartition(" ")[2])), None


def memory_of(name: str, options: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """Peak memory of this process: once loaded, and once all is encoded."""
    encode, _ = side(name, options, dtype)
    loaded = peak_mib()
    encode()
    return {"loaded_mib": round(loaded, 1), "peak_mib": round(peak_mib(), 1)}


def measure(options: argparse.Namespace, dtype: str, memory: dict[str, Any]) -> dict[str, Any]:
    """All sides in turns.

    Raises:
        SystemExit: the vectors differ by more than the tolerance, or the fast path was not taken.
    """
    names = [f"sentence-transformers, batches of {size}" for size in options.stock_batches]
    sides = {name: side(name, options, dtype) for name in [*names, OURS]}
    encoder = sides[OURS][1]
    assert encoder is not None
    if encoder.path is None:
        raise SystemExit(encoder.how)
    differ = float(np.abs(sides[OURS][0]() - sides[names[0]][0]()).max())
    if not differ <= TOLERANCE[dtype]:
        raise SystemExit(f"{dtype}: the vectors differ by {differ:.2g}, allowed {TOLERANCE[dtype]:g}")
    say(f"{dtype}: same vectors (largest difference {differ:.2g}); {encoder.how}")
    texts = word_texts(options.texts)
    lengths = num_tokens(encoder, texts)
    flops = needed_flops(encoder, lengths)
    cpu, number_format = torch.device("cpu"), getattr(torch, dtype)
    clock = time.process_time if options.processor_time else time.perf_counter
    repetitions = options.repetitions
    seconds = alternate({name: run for name, (run, _) in sides.items()}, repetitions=repetitions, clock=clock)
    product = peak_product(options.matrix, cpu, repetitions=repetitions, dtype=number_format, clock=clock)
    ways: dict[str, Any] = {}
    for name, values in seconds.items():
        middle = spread(values)["median"]
        ways[name] = {
            "seconds": spread(values),
            "tokens_per_second": round(sum(lengths) / middle),
            "share_of_matrix_product": round(flops / middle / product["median"], 4),
            **memory[f"{name}, {dtype}"],
        }
        if name != OURS:
            size = int(name.rpartition(" ")[2])
            ways[name]["encoder_is_faster_by"] = ratio(values, seconds[OURS])
            ways[name]["places_per_token"] = round(stock_padding(texts, lengths, size), 3)
    return {
        "how": encoder.how,
        "largest_difference": differ,
        "tokens": sum(lengths),
        "flops": flops,
        "matrix_product_flops": product,
        "ways": ways,
    }


def main() -> None:
    """Measure, print, write."""
    options = parse()
    names = [f"sentence-transformers, batches of {size}" for size in options.stock_batches]
    memory = {}  # first: processes are forked before this one holds a model
    for dtype in options.dtypes:
        for name in [*names, OURS]:
            memory[f"{name}, {dtype}"] = in_fresh_process(memory_of, name, options, dtype)
            say(f"{name}, {dtype}: {memory[f'{name}, {dtype}']}")
    found = {dtype: measure(options, dtype, memory) for dtype in options.dtypes}
    rows = [["", "median s", "tokens/s", "share of the product", "peak MiB", "encoder is faster by"]]
    for dtype, part in found.items():
        for name, way in part["ways"].items():
            faster = way.get("encoder_is_faster_by")
            rows.append(
                [
                    f"{dtype}: {name}",
                    f"{way['seconds']['median']:.3g}",
                    f"{way['tokens_per_second']:,}",
                    f"{way['share_of_matrix_product']:.1%}",
                    f"{way['peak_mib']:,}",
                    f"{faster['median']:.2f} ({faster['min']:.2f} to {faster['max']:.2f})" if faster else "",
                ]
            )
    result = {
        "benchmark": Path(__file__).stem,
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        "machine": {**machine(), "threads": torch.get_num_threads()},
        "formats": found,
    }
    report(result, rows, options.out)


if __name__ == "__main__":
    main()
