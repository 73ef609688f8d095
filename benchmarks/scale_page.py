"""The tables of docs/scale.md: what was measured of each index, and the arithmetic of larger corpora.

Measured figures come from results/index_kinds.json. What is computed follows from them, from bytes a vector,
from the FLOPs of a pass (``geometry``) and from the assumptions below, which the page states.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geometry import Geometry
from measure import say
from msmarco_costs import PASSAGE, PASSAGE_WORDS, PASSAGES, markdown, short

from llara.files import write_text_atomic

BILLION = 1_000_000_000
TEXT_BYTES = PASSAGE_WORDS * 6 + 80  # of a passage: its words, and its id with what SQLite adds
MODELS = {
    "7B (LLaMA-2), 4096": Geometry(),
    "0.4B (28 layers), 1024": Geometry(hidden=1024, layers=28, ffn=3072),
}
PEAK, UTILISATION, GPUS_OF_A_MACHINE = 989e12, 0.4, 8
MEMORY_BANDWIDTH, GPU_BANDWIDTH = 100e9, 3e12  # bytes a second that one machine, one GPU read
NAMES = {
    "exact": "exact",
    "hnsw": "hnsw",
    "ivf-flat": "ivf-flat",
    "ivf-sq8": "ivf-sq8",
    "ivf-pq": "ivf-pq",
    "ivf-pq-rescore-int8": "ivf-pq, rescore=int8",
    "sq8": "sq8",
    "binary": "binary (rescore=int8)",
    "binary-rescore-float32": "binary, rescore=float32",
    "milvus-exact": "Milvus Lite, exact",
    "milvus-hnsw": "Milvus Lite, hnsw",
}
Results = Mapping[str, Any]


def main() -> None:
    """Put the tables into their places in the page."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("results", type=Path, help="index_kinds.json")
    parser.add_argument("page", type=Path, help="docs/scale.md")
    args = parser.parse_args()
    results = json.loads(args.results.read_text(encoding="utf-8"))
    write_text_atomic(args.page, filled(args.page.read_text(encoding="utf-8"), results))
    say(f"wrote {args.page.name}")


def filled(page: str, results: Results) -> str:
    """The page with each table between ``<!-- NAME -->`` and ``<!-- end -->`` as it is now."""
    for name, table in tables(results).items():
        marks = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = marks.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", page)
    return page


def tables(results: Results) -> dict[str, str]:
    """Name -> table in Markdown."""
    return {
        "measured": markdown(measured(results)),
        "built": markdown(built(results)),
        "bytes": markdown(sizes()),
        "encoding": markdown(encoding()),
        "billion": markdown(billion()),
        "building": markdown(building(results)),
    }


# -- measured


def measured(results: Results) -> list[list[str]]:
    """A row a search: what it found and how fast."""
    rows = [["index", "searched with", "recall@10", "queries/s, a thread", "ms a query alone"]]
    for name, index in results["indexes"].items():
        rows += [
            [
                NAMES[name] if number == 0 else "",
                _settings(index, one),
                f"{one['recall@10']:.3f}".replace("0.", ".", 1),
                short(one["queries_per_second"]),
                short(one["milliseconds_median"]),
            ]
            for number, one in enumerate(index["searches"])
        ]
    return rows


def _settings(index: Mapping[str, Any], search: Mapping[str, Any]) -> str:
    chosen = {**index["settings"], **search["settings"]}
    names = [name for name in ("nprobe", "efSearch", "k_factor") if name in chosen]
    if chosen.get("rescore") == "none":
        names = [name for name in names if name != "k_factor"]
    return ", ".join(f"{name}={chosen[name]}" for name in names)


def built(results: Results) -> list[list[str]]:
    """A row an index: bytes and what building took."""
    rows = [
        [
            "index",
            "vectors",
            "bytes a vector",
            "of these only read to rescore",
            "processor s to build",
            "peak MiB",
        ]
    ]
    rows += [
        [
            NAMES[name],
            f"{index['count']:,}",
            f"{index['bytes_per_vector']:,.0f}",
            f"{index['finer_bytes_per_vector']:,.0f}" if index["finer_bytes_per_vector"] else "",
            f"{index['build_processor_seconds']:,.0f}",
            f"{index['build_peak_mib']:,.0f}",
        ]
        for name, index in results["indexes"].items()
    ]
    return rows


# -- computed


def vector_bytes(kind: str, dimension: int) -> tuple[float, float]:
    """Bytes of a vector that a search reads from memory or disk, and those it reads only to rescore.

    Centroids and codebooks are left out: 4 D bytes to a list, which is 1% of a float32 vector or less.
    """
    positions = 16  # in a list, and where in which list
    return {
        "exact": (4 * dimension, 0),
        "hnsw": (4 * dimension + 8 * 32, 0),
        "ivf-flat": (4 * dimension + positions, 0),
        "ivf-sq8": (dimension + positions, 0),
        "ivf-pq": (dimension / 8 + positions, 0),
        "ivf-pq-rescore-int8": (dimension / 8 + positions, dimension),
        "sq8": (dimension, 0),
        "binary": (dimension / 8, dimension),
        "binary-rescore-float32": (dimension / 8, 4 * dimension),
    }[kind]


KINDS = ("exact", "hnsw", "ivf-flat", "ivf-sq8", "sq8", "ivf-pq", "ivf-pq-rescore-int8", "binary")


def sizes() -> list[list[str]]:
    """GB of MS MARCO's passages and of a billion, by kind and dimension; those to rescore behind a plus."""

    def cell(kind: str, dimension: int, count: int) -> str:
        read, finer = (count * part / 1e9 for part in vector_bytes(kind, dimension))
        return short(read) + (f" + {short(finer)}" if finer else "")

    cases = [(4096, PASSAGES), (1024, PASSAGES), (4096, BILLION), (1024, BILLION), (256, BILLION)]
    names = {PASSAGES: "8.8M", BILLION: "10^9"}
    head = ["GB", *(f"{names[count]} x {dimension}" for dimension, count in cases)]
    rows = [[NAMES[kind], *(cell(kind, dimension, count) for dimension, count in cases)] for kind in KINDS]
    texts = ["texts", *(short(count * TEXT_BYTES / 1e9) for _, count in cases)]
    return [head, *rows, texts]


def encoding() -> list[list[str]]:
    """Tokens, FLOPs and hours of encoding: one pass over every passage."""
    rows = [
        [
            "model, dimensions",
            "passages",
            "tokens, 10^9",
            "FLOPs, 10^21",
            "GPU hours",
            "8 GPUs",
            "10 x 8",
            "100 x 8",
        ]
    ]
    for name, model in MODELS.items():
        for count, shown in ((PASSAGES, "8.8M"), (BILLION, "10^9")):
            flops = model.forward_flops(count, PASSAGE)
            hours = flops / (PEAK * UTILISATION) / 3600
            machines = [short(hours / (machines * GPUS_OF_A_MACHINE)) for machines in (1, 10, 100)]
            rows.append(
                [name, shown, short(count * PASSAGE / 1e9), short(flops / 1e21), short(hours), *machines]
            )
    return rows


def billion() -> list[list[str]]:
    """A billion vectors on N machines: GB on each, and the least seconds that reading them takes."""
    rows = [
        [
            "10^9 passages",
            "GB on each of 10",
            "of 100",
            "s a query, 10 machines",
            "s, 100 machines",
            "s, 100 x 8 GPUs",
        ]
    ]
    for kind, dimension in (
        ("exact", 4096),
        ("exact", 1024),
        ("sq8", 1024),
        ("exact", 256),
        ("binary", 1024),
    ):
        read, finer = vector_bytes(kind, dimension)
        each = [short(BILLION * (read + finer) / machines / 1e9) for machines in (10, 100)]
        scans = [BILLION * read / machines / MEMORY_BANDWIDTH for machines in (10, 100)]
        gpus = BILLION * read / (100 * GPUS_OF_A_MACHINE) / GPU_BANDWIDTH if kind == "exact" else None
        rows.append(
            [f"{NAMES[kind]}, {dimension}", *each, *map(short, scans), "" if gpus is None else short(gpus)]
        )
    return rows


BUILDING = ("exact", "sq8", "binary", "ivf-flat", "ivf-sq8", "ivf-pq-rescore-int8")


def building(results: Results) -> list[list[str]]:
    """A billion vectors on N machines: hours of one core on each, from the processor's seconds a vector."""
    cases = [(dimension, machines) for dimension in (256, 1024) for machines in (10, 100)]
    head = ["10^9 passages", "measured, microseconds a vector of 256"]
    rows = [[*head, *(f"h, {dimension} on {machines} machines" for dimension, machines in cases)]]
    for name in BUILDING:
        index = results["indexes"].get(name)
        if index is not None:
            seconds = index["build_processor_seconds"] / index["count"]
            hours = [_hours_to_build(index, results["settings"]["dimension"], *case) for case in cases]
            rows.append([NAMES[name], short(1e6 * seconds), *map(short, hours)])
    return rows


def _hours_to_build(index: Mapping[str, Any], measured: int, dimension: int, machines: int) -> float:
    """The more vectors, the more lists each is compared with: nlist is 4 sqrt(count)."""
    count = BILLION / machines
    seconds = count * index["build_processor_seconds"] / index["count"] * dimension / measured
    lists = math.sqrt(count / index["count"]) if index["kind"].startswith("ivf") else 1
    return seconds * lists / 3600


if __name__ == "__main__":
    main()
