"""The figures and tables of docs/study.md, from the study's results: bars, losses, quality against steps."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import say

from llara.files import write_text_atomic
from llara.report.figures import Points, Value, bars, lines

AVERAGE = "average"
WAYS = ("un-adapted", "centred", "next-token", "ebar", "ebae", "both")
BARS = ("un-adapted", "next-token", "ebar", "ebae", "both")
NAMES = {
    "centred": "un-adapted, centred",
    "next-token": "next token",
    "ebar": "EBAR",
    "ebae": "EBAE",
    "both": "both, one pass",
    "lm": "next token",
    "squad": "SQuAD",
    "wikiqa": "WikiQA",
    "covidqa": "CovidQA",
    "cranfield": "Cranfield",
    "cisi": "CISI",
    "cacm": "CACM",
    "stsb": "STS-B",
    "medquad": "MedQuAD",
    "drcd": "DRCD",
    "cmrc2018": "CMRC",
    "stsb-zh": "STS-zh",
}
USES = {"zero-shot": "", "fine-tuned": ", fine-tuned", "SELF/SELF": ", SELF/SELF"}
Results = Mapping[str, Any]


def main() -> None:
    """Read the results, write the figures, and put the tables into their places in the page."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("results", type=Path, help="adaptation_study.json")
    parser.add_argument(
        "page", type=Path, help="docs/study.md; the figures go to the folder figures beside it"
    )
    args = parser.parse_args()
    results = json.loads(args.results.read_text(encoding="utf-8"))
    folder = args.page.with_name("figures")
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, folder)
    write_text_atomic(args.page, filled(args.page.read_text(encoding="utf-8"), results))
    say(f"wrote {args.page.name}, {', '.join(sorted(path.name for path in folder.glob('study-*.svg')))}")


def filled(page: str, results: Results) -> str:
    """The page with each table between ``<!-- NAME -->`` and ``<!-- end -->`` as the results have it."""
    for name, table in tables(results).items():
        marks = re.compile(rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        page = marks.sub(lambda match, table=table: f"{match[1]}{table}\n{match[2]}", page)
    return page


def draw(results: Results, folder: Path) -> None:
    """Write the figures that the results suffice for."""
    for name in ("zero-shot", "fine-tuned"):
        values: dict[str, dict[str, Value]] = {}
        for way in BARS:
            for data, one in results["systems"].get(way + USES[name], {}).items():
                if one["measure"] == "Spearman":
                    continue  # its values are of another size
                label = NAMES.get(way, way)
                values.setdefault(NAMES.get(data, data), {})[label] = (one["mean"], *one["interval"])
        bars(folder / f"study-{name}.svg", values, measure="nDCG@10")
    lines(folder / "study-losses.svg", _losses(results["losses"]), x="step", y="loss")
    panels = _over_steps(results)
    if any(len(points) > 1 for each in panels.values() for points in each.values()):
        lines(folder / "study-steps.svg", panels, x="steps", y="nDCG@10")


def tables(results: Results) -> dict[str, str]:
    """Title -> table in Markdown."""
    found = {name: _means(results["systems"], after) for name, after in USES.items()}
    if results["seconds_per_step"]:
        found["seconds"] = _seconds(results["seconds_per_step"])
    apart = {"own corpus, tested": "-then-on-", "Chinese, tested": "-zh"}
    for name, part in apart.items():
        chosen = [one for one in results["comparisons"] if part in one["first"]]
        if chosen:
            found[name] = _differences(chosen)
    others = [
        one for one in results["comparisons"] if not any(part in one["first"] for part in apart.values())
    ]
    found["claims"] = _claims(others)
    patterns = {
        "steps": r"-\d+-steps(, SELF/SELF)?$",
        "own corpus": r"^llara-mini(, SELF/SELF)?$|-then-on-",
        "settings": r"^settings-",
        "Chinese": r"-zh(, SELF/SELF)?$",
    }
    for name, pattern in patterns.items():
        runs = {run: means for run, means in results["runs"].items() if re.search(pattern, run)}
        if runs:
            found[name] = _runs(runs)
    return found


def _means(systems: Mapping[str, Any], after: str) -> str:
    """A row a way to adapt: means, with the standard deviation over seeds where there are several."""
    rows = [way for way in WAYS if way + after in systems]
    data_sets = list(dict.fromkeys(data for way in rows for data in systems[way + after]))

    def cell(measured: Mapping[str, Any] | None) -> str:
        if measured is None:
            return ""
        spread = measured["spread"]
        return _short(measured["mean"]) + (f" ± {_short(spread)}" if spread is not None else "")

    body = [
        [NAMES.get(way, way), str(len(next(iter(systems[way + after].values()))["seeds"]))]
        + [cell(systems[way + after].get(data)) for data in data_sets]
        for way in rows
    ]
    return _markdown([["", "seeds", *(NAMES.get(data, data) for data in data_sets)], *body])


def _claims(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """A row a claim: the average's difference, and on how many data sets the first is higher, or lower."""
    by_claim: dict[tuple[str, str], dict[str, Mapping[str, Any]]] = {}
    for one in comparisons:
        by_claim.setdefault((one["first"], one["second"]), {})[one["data"]] = one
    rows = [
        [
            "first",
            "less second",
            "average nDCG@10",
            "p (Holm)",
            "higher on",
            "of these p < .05",
            "lower, p < .05",
        ]
    ]
    for (first, second), found in by_claim.items():
        average = found.pop(AVERAGE, None)
        higher = [one for one in found.values() if one["difference"] > 0]
        sure = [one for one in found.values() if one["p_holm"] < 0.05]
        low, high = average["interval"] if average else (0.0, 0.0)
        rows.append(
            [
                _name(first),
                _name(second),
                f"{_signed(average['difference'])} [{_signed(low)}, {_signed(high)}]" if average else "",
                f"{average['p_holm']:.4f}" if average else "",
                f"{len(higher)} of {len(found)}",
                str(sum(one["difference"] > 0 for one in sure)),
                str(sum(one["difference"] < 0 for one in sure)),
            ]
        )
    return _markdown(rows)


def _differences(comparisons: Sequence[Mapping[str, Any]]) -> str:
    """A row a comparison on one data set."""
    body = [
        [
            one["first"],
            one["second"],
            NAMES.get(one["data"], one["data"]),
            f"{_signed(one['difference'])} [{', '.join(map(_signed, one['interval']))}]",
            f"{one['p_holm']:.4f}",
        ]
        for one in comparisons
    ]
    return _markdown([["first", "less second", "on", "difference", "p (Holm)"], *body])


def _seconds(taken: Mapping[str, float]) -> str:
    ways = [way for way in WAYS if way in taken]
    seconds = ["seconds a step", *(f"{taken[way]:.2f}" for way in ways)]
    shares = ["of one pass", *(f"{taken[way] / taken['both']:.2f}" for way in ways)]
    return _markdown([["", *(NAMES[way] for way in ways)], seconds, shares])


def _runs(runs: Mapping[str, Mapping[str, float]]) -> str:
    data_sets = list(dict.fromkeys(data for means in runs.values() for data in means))
    body = [
        [name, *(_short(means[data]) if data in means else "" for data in data_sets)]
        for name, means in runs.items()
    ]
    return _markdown([["", *(NAMES.get(data, data) for data in data_sets)], *body])


def _name(system: str) -> str:
    way, comma, rest = system.partition(",")
    return NAMES.get(way, way) + comma + rest


def _losses(logs: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, Points]]:
    """The first seed's loss terms over the steps, a panel a term; the first steps would flatten the rest."""
    panels: dict[str, dict[str, Points]] = {}
    for name, log in logs.items():
        way, _, seed = name.rpartition("-")
        if seed != "1":
            continue
        for term in ("ebae", "ebar", "lm"):
            points = {entry["step"]: entry[term] for entry in log if term in entry and entry["step"] >= 100}
            if points:
                panels.setdefault(NAMES[term], {})[NAMES[way]] = points
    return panels


def _over_steps(results: Results) -> dict[str, dict[str, Points]]:
    """The first seed's quality over steps, a panel a collection and a line for each way to adapt."""
    panels: dict[str, dict[str, dict[int, Value]]] = {}
    for name, run in results["runs"].items():
        match = re.fullmatch(r"(both|ebae)-(?:(\d+)-steps|1)", name)
        if match is None:
            continue
        steps = int(match[2] or results["settings"]["steps"])
        for data, mean in run.items():
            if data != "stsb":
                panels.setdefault(NAMES[data], {}).setdefault(NAMES[match[1]], {})[steps] = mean
    return {title: dict(series) for title, series in panels.items()}


def _short(value: float) -> str:
    """Three digits without the zero.

    >>> _short(0.0626), _short(-0.01)
    ('.063', '-.010')
    """
    return f"{value:.3f}".replace("0.", ".", 1)


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".", 1)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    rule = "|" + "---|" + "--:|" * (len(rows[0]) - 1)
    return "\n".join([head, rule, *body])


if __name__ == "__main__":
    main()
