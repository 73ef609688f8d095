"""The page about a fine-tuned model: ``report.html`` in its directory."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from shlex import quote
from typing import Any

from llara.config import FinetuneConfig
from llara.report import (
    Block,
    Cell,
    Column,
    Curve,
    Curves,
    Facts,
    Report,
    Row,
    Section,
    Table,
    shortened,
    significant,
    told_apart,
)
from llara.report.runs import (
    Log,
    curve_of,
    loss_charts,
    made_with,
    pace_chart,
    rate_charts,
    settings_section,
    time_words,
)

__all__ = ["best_step", "mined_before", "page"]


def page(
    training: Mapping[str, Any],
    config: FinetuneConfig,
    *,
    log: Log,
    run: Mapping[str, str],
    out: Path,
    mined: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """The page, from the content of ``training.json`` and what is known besides.

    Args:
        log: the last round's log with the seconds since its training began, which ``training.json`` leaves
            out so that two equal runs give equal files.
        run: what else is known of this run, such as its time; ``out``: where the model stands.
        mined: what was mined before, as :func:`mined_before` gives it.
    """
    rounds = _rounds(training["log"])
    last = rounds[-1] if rounds else []
    seconds = curve_of(log, "seconds")
    queries = {step: step * training["queries_per_step"] for step, _ in seconds}
    return Report(
        title=f"Fine-tuned from {training['model']}",
        finding=_finding(training, config, last),
        key_figures=_key_figures(training, config, last, seconds),
        sections=[
            Section(
                "What training learned",
                loss_charts(
                    {_title("Loss", n, rounds): each for n, each in enumerate(rounds, start=1)},
                    [
                        *_held_out_charts(rounds, config),
                        *rate_charts(last),
                        *pace_chart(seconds, queries, "queries"),
                    ],
                    contrast=_loss_name(config),
                ),
            ),
            Section("What it learned from", _data(training, config)),
            Section("What mining removed", _mining([*training.get("mining", ()), *mined])),
            settings_section(config, table="finetune"),
            *made_with(
                run,
                training["versions"],
                [f"llara evaluate --model {quote(str(out))} --dataset DATA --out results"],
            ),
        ],
    )


def best_step(log: Log) -> tuple[float, float] | None:
    """(step, value) of the best held-out measure, the first of several that are equal; None without any.

    >>> best_step([{"step": 2, "held_out": 0.5}, {"step": 4, "held_out": 0.5}])
    (2, 0.5)
    """
    return max(curve_of(log, "held_out"), key=lambda point: point[1], default=None)


def mined_before(train: Sequence[str | Path]) -> list[dict[str, Any]]:
    """What ``llara mine`` left beside the training files that it wrote.

    Raises:
        OSError, ValueError: what stands there cannot be read.
    """
    found = []
    for source in map(Path, train):
        facts = source.with_suffix(".mining.json")
        if source.is_file() and facts.is_file():
            counts = json.loads(facts.read_text(encoding="utf-8"))["counts"]
            found.append({"data": [str(source)], "counts": counts})
    return found


def _rounds(log: Log) -> list[Log]:
    """The log of each round."""
    return [list(entries) for _, entries in groupby(log, key=lambda entry: entry.get("round", 1))]


def _title(name: str, number: int, rounds: Sequence[Log]) -> str:
    return f"{name}, round {number}" if len(rounds) > 1 else name


def _loss_name(config: FinetuneConfig) -> str:
    """InfoNCE where that is all of the loss."""
    contrast = config.contrast
    is_alone = contrast.distillation == "none" and contrast.contrast_weight == 1 and not contrast.matryoshka
    return "InfoNCE" if is_alone else "loss"


def _finding(training: Mapping[str, Any], config: FinetuneConfig, log: Log) -> str:
    """What the loss did between the first and the last entry of the log, and the best checkpoint."""
    losses, best = curve_of(log, "loss"), best_step(log)
    said = "Trained"
    if losses:
        first, end = losses[0][1], losses[-1][1]
        verb = "fell" if end < first else "rose" if end > first else "stayed"
        said = f"{_loss_name(config)} {verb} from {' to '.join(told_apart(first, end))} nats a query"
    rounds = f" in the last of {config.rounds} rounds" if config.rounds > 1 else ""
    said += f" over {training['steps']:,} steps of {training['queries_per_step']:,} queries{rounds}."
    if best:
        said += (
            f" {config.held_out.measure} on queries held out was best at step {best[0]:,.0f}: {best[1]:.3f}."
        )
    return said


def _key_figures(
    training: Mapping[str, Any], config: FinetuneConfig, log: Log, seconds: Sequence[tuple[float, float]]
) -> dict[str, str]:
    losses, best = curve_of(log, "loss"), best_step(log)
    figures = {"steps": f"{training['steps']:,}", "queries": f"{training['queries']:,}"}
    if seconds and (taken := seconds[-1][1]) > 0:
        drawn = seconds[-1][0] * training["queries_per_step"]
        figures |= {
            "last round took" if config.rounds > 1 else "training took": time_words(taken),
            "queries a second": f"{drawn / taken:,.1f}",
        }
    if losses:
        figures["loss, last"] = significant(losses[-1][1])
    if best:
        figures[f"{config.held_out.measure}, held out"] = f"{best[1]:.3f}"
    return figures


def _held_out_charts(rounds: Sequence[Log], config: FinetuneConfig) -> list[Curves]:
    """The held-out measure of each round over its steps, the best checkpoint marked."""
    charts = []
    for number, log in enumerate(rounds, start=1):
        best = best_step(log)
        if best is not None:
            marked = (best[0], f"{best[1]:.3f} at step {best[0]:,.0f}, kept")
            curve = Curve("", curve_of(log, "held_out"), marked=marked, is_smoothed=False)
            charts.append(
                Curves(_title("Queries held out", number, rounds), [curve], "step", config.held_out.measure)
            )
    return charts


def _data(training: Mapping[str, Any], config: FinetuneConfig) -> list[Block]:
    held = training.get("held_out")
    drawn = training["steps"] * training["queries_per_step"]
    return [
        Facts(
            {
                "Sources": "; ".join(
                    f"{each['data']}: {each['queries']:,} queries" for each in training["sources"]
                ),
                "Queries": f"{training['queries']:,}; {drawn:,} draws of them were trained on"
                f"{' in the last round' if config.rounds > 1 else ''}{', none held out' if held else ''}",
                "Passages": f"{training['passages']:,} distinct ones",
                "Hard negatives": f"{training['negatives_a_query']:.1f} a query in the data; "
                f"up to {config.pairs.negatives} a query and step",
                "Held out": f"{held['queries']:,} queries among {held['passages']:,} passages"
                if held
                else "",
            }
        )
    ]


def _mining(mined: Sequence[Mapping[str, Any]]) -> list[Block]:
    """A column a mining: the candidates, what each filter removed of them, and what was kept."""
    if not mined:
        return []
    columns = []
    for each in mined:
        data = ", ".join(shortened(Path(name).name, 40) for name in each["data"])
        columns.append(Column(f"{data}, round {each['round']}" if "round" in each else data))
    names = list(dict.fromkeys(name for each in mined for name in each["counts"]))
    rows = [
        Row(name, [Cell(f"{each['counts'].get(name, 0):,}") for each in mined], is_ours=name == "kept")
        for name in names
    ]
    note = (
        "Candidates are the sum of what each filter removed, of those outside the sample and of those kept; "
        "a candidate counts for the first filter that removes it."
    )
    return [Table("", "Candidates", columns, rows, notes=[note])]
