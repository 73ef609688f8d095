"""On a GPU: is exact search by torch right, and how near does it come to the card's own speed?

1. Right: ``TorchVectors`` streamed, the first time and the second time of vectors that stay on the card, with
   and without a filter, against a brute force in float64 by numpy; and a whole ``ExactIndex`` on the device
   against the same on the processor, hit for hit.
2. Fast: batches of queries, streamed and resident. Queries/s; GB/s of vectors that passed, against a copy on
   the card (bytes read and written) or, for streaming, a pinned copy to it; FLOP/s against a float32 matrix
   product.

Vectors are random, unit and in memory; reading them from disk is not measured. Every part is printed when it
is done; one that fails is recorded with its error, and the next one begins. Parts that would begin after
``--seconds`` are left out, and said so.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu import Parts, peak_gib, peak_product, synchronize_of
from measure import alternate, machine, make_parser, report, spread

from llara.indexes.blocks import TorchVectors
from llara.indexes.exact import ExactIndex

EXAMPLE = "python benchmarks/gpu_search.py --out benchmarks/results/gpu_search.json"
K = 100
TOLERANCE = 1e-5  # of a score of unit vectors, added up in float32 in any order; ``ExactIndex`` counts on it
WAYS = {"streamed": False, "resident": True}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("Exact search by torch on a GPU: its correctness and its speed.", EXAMPLE)
    parser.add_argument("--count", type=int, default=2_000_000, help="vectors")
    parser.add_argument("--dimension", type=int, default=1024, help="numbers per vector")
    parser.add_argument("--check-count", type=int, default=200_000, help="vectors of the checks")
    parser.add_argument("--block-rows", type=int, default=None, help="of a block; none: 512 MiB")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 50, 1000], help="queries at once")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices of the peak product")
    parser.add_argument("--repetitions", type=int, default=3, help="timed turns, after a warm-up")
    parser.add_argument("--seconds", type=float, default=240, help="no part begins later than this")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.count, options.dimension, options.check_count = 3000, 32, 1000
        options.block_rows, options.batches, options.matrix, options.repetitions = 256, [1, 20], 128, 1
    elif not torch.cuda.is_available():
        parser.error("no GPU was found; --tiny runs the same code small, on the CPU")
    return options


def unit(count: int, dimension: int, device: torch.device, seed: int) -> np.ndarray:
    """Random unit vectors float32 [count, dimension], drawn on the device in parts of up to 2^18 rows."""
    generator = torch.Generator(device).manual_seed(seed)
    rows = np.empty((count, dimension), dtype=np.float32)
    for start in range(0, count, 2**18):
        shape = (min(2**18, count - start), dimension)
        drawn = torch.randn(shape, generator=generator, device=device)
        rows[start : start + shape[0]] = torch.nn.functional.normalize(drawn, dim=1).cpu().numpy()
    return rows


def searcher(
    vectors: np.ndarray, device: torch.device, block_rows: int | None, *, resident: bool
) -> TorchVectors:
    """The search of one way; on the CPU, where nothing is copied, there is no difference."""
    found = TorchVectors(vectors, str(device), block_rows=block_rows)
    found._may_stay = resident and device.type == "cuda"
    return found


# -- right ---------------------------------------------------------------------------------------------


class Right:
    """Some vectors and queries, and all their scores by numpy in float64."""

    def __init__(self, options: argparse.Namespace, device: torch.device) -> None:
        self.device = device
        self.vectors = unit(options.check_count, options.dimension, device, seed=1)
        self.queries = unit(20, options.dimension, device, seed=2)
        self.scores = self.queries.astype(np.float64) @ self.vectors.astype(np.float64).T
        self.block_rows = options.block_rows or max(1, options.check_count // 7)  # the last block is small
        self.allowed = np.random.default_rng(3).random(options.check_count) < 0.1

    def check(self, *, resident: bool, filtered: bool) -> dict[str, Any]:
        """Two searches, of which the second finds the vectors on the card if they may stay.

        ``error`` is the most by which a score is off, or its rank's score is (so that equals may change
        places).

        Raises:
            RuntimeError: the vectors did not stay, or did; or what was filtered out was found.
        """
        torch_vectors = searcher(self.vectors, self.device, self.block_rows, resident=resident)
        allowed = self.allowed if filtered else None
        open_scores = self.scores if allowed is None else np.where(allowed, self.scores, -np.inf)
        best = -np.sort(-open_scores, axis=1)[:, :K]
        error = 0.0
        for _ in range(2):
            scores, positions = torch_vectors.search(self.queries, K, allowed)
            error = max(error, float(np.abs(scores - best).max()))
            error = max(error, float(np.abs(np.take_along_axis(open_scores, positions, 1) - best).max()))
        stayed = torch_vectors._resident is not None
        if stayed != (resident and self.device.type == "cuda"):
            raise RuntimeError(f"the vectors {'stayed' if stayed else 'did not stay'} on the card")
        return {"error": error}

    def index(self) -> dict[str, Any]:
        """``ExactIndex`` on the device and on the processor: the share of hits that differ."""
        on_device = ExactIndex(self.vectors, device=str(self.device)).search(self.queries, K)
        here = ExactIndex(self.vectors).search(self.queries, K)
        differ = [float(np.mean(a != b)) for a, b in zip(on_device, here, strict=True)]
        return {"error": max(differ)}


def check_right(parts: Parts, device: torch.device) -> None:
    """Fill ``right``."""
    right = parts.result.setdefault("right", {})
    checks = Right(parts.options, device)
    for way, resident in WAYS.items():
        for filtered in (False, True):
            name = f"{way}{', filtered' if filtered else ''}"
            parts.run(right, name, lambda r=resident, f=filtered: checks.check(resident=r, filtered=f))
    parts.run(right, "index, hits that differ from the processor's", checks.index)


def verdicts(right: dict[str, Any]) -> list[str]:
    """What is wrong in ``right``; nothing, it is to be hoped."""
    wrong = []
    for name, found in right.items():
        limit = 0.0 if name.startswith("index") else TOLERANCE
        error = found.get("error")
        if "left_out" not in found and not (isinstance(error, float) and error <= limit):
            wrong.append(f"{name}: {error}, allowed {limit:.2g}")
    return wrong


# -- fast ----------------------------------------------------------------------------------------------


def copies(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Bytes/s of a block copied on the card (each byte read and written), and of one copied to it, pinned."""
    numbers = 2**27 if device.type == "cuda" else 2**20
    source = torch.randn(numbers, device=device)
    target = torch.empty_like(source)
    host = torch.randn(numbers)
    if device.type == "cuda":
        host = host.pin_memory()
    sides = {"on_card": lambda: target.copy_(source), "to_card": lambda: target.copy_(host)}
    wait = synchronize_of(device)
    seconds = alternate(sides, repetitions=options.repetitions, synchronize=wait)
    times = {"on_card": 2, "to_card": 1}
    return {name: spread([times[name] * 4 * numbers / s for s in seconds[name]]) for name in sides}


class Race:
    """The vectors on their two ways, which take turns at each size of batch."""

    def __init__(self, options: argparse.Namespace, device: torch.device, speeds: dict[str, Any]) -> None:
        self.options, self.device, self.speeds = options, device, speeds
        self.vectors = unit(options.count, options.dimension, device, seed=4)
        self.queries = unit(max(options.batches), options.dimension, device, seed=5)
        self.ways = {
            name: searcher(self.vectors, device, options.block_rows, resident=resident)
            for name, resident in WAYS.items()
        }

    def run(self, batch: int) -> dict[str, Any]:
        """Both ways at one size."""
        queries = self.queries[:batch]
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        sides = {name: lambda way=way: way.search(queries, K) for name, way in self.ways.items()}
        wait = synchronize_of(self.device)
        seconds = alternate(sides, repetitions=self.options.repetitions, synchronize=wait)
        found = {name: self.described(name, spread(seconds[name]), batch) for name in sides}
        return {"ways": found, "peak_gib": peak_gib(self.device)}

    def described(self, name: str, seconds: dict[str, float], batch: int) -> dict[str, Any]:
        """Seconds, and what they are next to the card's own speed."""
        median = seconds["median"]
        bytes_per_second = self.vectors.nbytes / median
        flops = 2 * batch * self.vectors.size / median
        copy, product = self.speeds.get("copies", {}), self.speeds.get("matrix_product", {})
        peak_copy = copy.get("on_card" if name == "resident" else "to_card", {}).get("median", float("nan"))
        return {
            "seconds": seconds,
            "queries_per_second": float(f"{batch / median:.4g}"),
            "gb_per_second": float(f"{bytes_per_second / 1e9:.4g}"),
            "share_of_copy": round(bytes_per_second / peak_copy, 4),
            "share_of_matrix_product": round(flops / product.get("median", float("nan")), 4),
        }


def speed(parts: Parts, device: torch.device) -> None:
    """Fill ``speed``: the card's own, then every size of batch."""
    options = parts.options
    fast = parts.result.setdefault("speed", {})

    def product() -> dict[str, float]:
        return peak_product(options.matrix, device, repetitions=options.repetitions, dtype=torch.float32)

    parts.run(fast, "matrix_product", product)
    parts.run(fast, "copies", lambda: copies(options, device))
    races: list[Race] = []

    def race(batch: int) -> dict[str, Any]:
        if not races:
            races.append(Race(options, device, fast))
        return races[0].run(batch)

    for batch in options.batches:
        parts.run(fast, f"{batch} at once", lambda b=batch: race(b))


def table(result: dict[str, Any]) -> list[list[str]]:
    """What to print of the result."""
    rows = [["what", "value", "queries/s", "GB/s", "share of a copy", "share of the product"]]
    for name, found in result["right"].items():
        error = found.get("error")
        said = f"off by {error:.2g}" if isinstance(error, float) else str(found)[:70]
        rows.append([f"right: {name}", said])
    for name, part in result["speed"].items():
        for way, side in part.get("ways", {}).items():
            shares = [f"{side[share]:.1%}" for share in ("share_of_copy", "share_of_matrix_product")]
            numbers = [f"{side[key]:,}" for key in ("queries_per_second", "gb_per_second")]
            rows.append([f"{name}: {way}", "", *numbers, *shares])
        if "on_card" in part:
            rows += [[f"copy {side}", f"{part[side]['median'] / 1e9:,.4g} GB/s"] for side in part]
        elif "median" in part:
            rows.append([name, f"{part['median'] / 1e12:.3g} TFLOP/s"])
        elif "ways" not in part:
            rows.append([name, str(part)[:70]])
    return [[*row, *[""] * (6 - len(row))] for row in rows]


def main() -> None:
    """Check, measure, print, write."""
    options = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result: dict[str, Any] = {
        "benchmark": Path(__file__).stem,
        "settings": {"k": K, **{key: value for key, value in vars(options).items() if key != "out"}},
        "machine": {**machine(), "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None},
    }
    parts = Parts(result, options)
    check_right(parts, device)
    speed(parts, device)
    result["wrong"] = verdicts(result["right"])
    report(result, table(result), options.out)
    if result["wrong"]:
        raise SystemExit("\n".join(["not right:", *result["wrong"]]))


if __name__ == "__main__":
    main()
