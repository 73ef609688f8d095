"""What the benchmarks share: facts of the machine, alternating timings, and how results are written."""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any

from llara.files import write_text_atomic

__all__ = [
    "alternate",
    "in_fresh_process",
    "machine",
    "make_parser",
    "peak_mib",
    "ratio",
    "report",
    "say",
    "spread",
]

_MIB = 2**20


def make_parser(description: str, example: str) -> argparse.ArgumentParser:
    """A parser whose help begins with an example, with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        usage=f"{example}\n\n{description}",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, default=None, help="also write the result here, as JSON")
    parser.add_argument(
        "--tiny", action="store_true", help="sizes that run in seconds; the numbers mean nothing"
    )
    return parser


def machine() -> dict[str, Any]:
    """The processor, its cores and memory, and the versions that matter; nothing that names this computer."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers")},
    }


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if not facts.exists():
        return platform.processor() or platform.machine()
    first_core = facts.read_text(encoding="utf-8").split("\n\n")[0]
    pairs = (line.partition(":") for line in first_core.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    if "model name" not in fields:  # Arm
        return platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"


def alternate(
    sides: Mapping[str, Callable[[], object]],
    *,
    repetitions: int,
    synchronize: Callable[[], object] = int,
    warm_ups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each side, ``repetitions`` times, after the warm-ups of each.

    The sides take turns, and every other turn runs in the opposite order, so that what else the machine
    does falls on all of them alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-warm_ups, repetitions):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            synchronize()
            started = clock()
            sides[name]()
            synchronize()
            if turn >= 0:
                seconds[name].append(clock() - started)
        say(f"turn {turn + 1} of {repetitions}" if turn >= 0 else "warmed up")
    return seconds


def in_fresh_process(part: Callable[..., dict[str, Any]], *arguments: object) -> dict[str, Any]:
    """What ``part(*arguments)`` returns in a process of its own, whose peak of memory is its own too.

    It is forked, to import torch once; this process must hold no model and have started no thread of torch's.
    """
    method = "fork" if "fork" in get_all_start_methods() else None
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as executor:
        return executor.submit(part, *arguments).result()


def peak_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak * 1024 / _MIB


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest, to four digits.

    >>> spread([3.0, 1.0, 2.0])
    {'median': 2.0, 'min': 1.0, 'max': 3.0}
    """
    summary = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: float(f"{value:.4g}") for name, value in summary.items()}


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Our time over theirs, turn by turn: both halves of a turn met the same machine.

    >>> ratio([1.0, 2.0, 6.0], [2.0, 4.0, 8.0])
    {'median': 0.5, 'min': 0.5, 'max': 0.75}
    """
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def say(text: str) -> None:
    """One line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def report(result: dict[str, Any], rows: Sequence[Sequence[str]], out: Path | None) -> None:
    """Print a table (its first row is the head) on stdout, and write the result as JSON if asked."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(out, json.dumps(result, indent=1) + "\n")
        say(f"wrote {out.name}")
