"""Draw the figures of docs/study.md from the study's results: bars, loss curves, quality against steps."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from measure import say

from llara.report.figures import Points, Value, bars, lines

ZERO_SHOT = ("un-adapted", "centred", "next-token", "ebar", "ebae", "both")
FINETUNED = ("un-adapted", "next-token", "ebar", "ebae", "both")
NAMES = {"ebae": "EBAE", "ebar": "EBAR", "lm": "next token", "next-token": "next token"}


def main() -> None:
    """Read the results, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="adaptation_study.json")
    parser.add_argument("folder", type=Path, help="where the SVG files go")
    args = parser.parse_args()
    results = json.loads(args.results.read_text(encoding="utf-8"))
    args.folder.mkdir(parents=True, exist_ok=True)
    for name, systems, after in (("zero-shot", ZERO_SHOT, ""), ("finetuned", FINETUNED, ", fine-tuned")):
        values = by_data_set(results["systems"], systems, after)
        bars(args.folder / f"study-{name}.svg", values, measure="nDCG@10, Spearman (stsb)")
    lines(args.folder / "study-losses.svg", losses(results["losses"]), x="step", y="loss")
    panels = over_steps(results)
    if panels:
        lines(args.folder / "study-steps.svg", panels, x="steps", y="nDCG@10")
    say(f"wrote {', '.join(sorted(path.name for path in args.folder.glob('study-*.svg')))}")


def by_data_set(
    found: Mapping[str, Any], systems: tuple[str, ...], after: str
) -> dict[str, dict[str, Value]]:
    """Data set -> way to adapt -> mean and interval."""
    values: dict[str, dict[str, Value]] = {}
    for system in systems:
        for data, one in found.get(system + after, {}).items():
            values.setdefault(data, {})[NAMES.get(system, system)] = (one["mean"], *one["interval"])
    return values


def losses(logs: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, Points]]:
    """The first seed's loss terms over the steps, a panel a term; the first steps would flatten the rest."""
    panels: dict[str, dict[str, Points]] = {}
    for name, log in logs.items():
        variant, _, seed = name.rpartition("-")
        if seed != "1" or variant == "two-passes":
            continue
        for term in ("ebae", "ebar", "lm"):
            points = {entry["step"]: entry[term] for entry in log if term in entry and entry["step"] >= 100}
            if points:
                panels.setdefault(NAMES[term], {})[NAMES.get(variant, variant)] = points
    return panels


def over_steps(results: Mapping[str, Any]) -> dict[str, dict[str, Points]]:
    """Seed 1's quality over steps, a panel a collection and a line for each way to adapt and its roles."""
    panels: dict[str, dict[str, dict[int, Value]]] = {}
    steps_of = re.compile(r"^(both|ebae)-(?:(\d+)-steps|1)(, SELF/SELF)?$")
    for name, run in results["runs"].items():
        match = steps_of.match(name)
        if match is None:
            continue
        variant, number, roles = match.groups()
        steps = int(number or results["settings"]["steps"])
        for data, mean in run.items():
            if data != "stsb":
                line = NAMES.get(variant, variant) + (roles or "")
                panels.setdefault(data, {}).setdefault(line, {})[steps] = mean
    return panels if any(len(points) > 1 for each in panels.values() for points in each.values()) else {}


if __name__ == "__main__":
    main()
