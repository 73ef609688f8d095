"""The page about an adapted model: ``report.html`` in its directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from llara.config import AdaptConfig
from llara.report import Block, Charts, Facts, Histogram, Report, Section, significant, told_apart
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

__all__ = ["Reading", "page"]

_NAMES = {"ebae": "EBAE", "ebar": "EBAR", "lm": "next token"}
_BARS = 24


@dataclass(frozen=True)
class Reading:
    """What was read: every segment's length in tokens, and the order in which the run read them.

    ``lengths_S`` is int64 ``[segments]``, ``order_E`` int64 ``[examples]``; ``step_size`` is examples a step.
    """

    lengths_S: np.ndarray
    order_E: np.ndarray
    step_size: int

    def tokens(self, steps: Sequence[float]) -> dict[float, float]:
        """How many tokens of text were read up to the end of each of these steps."""
        ends_E = np.cumsum(self.lengths_S[self.order_E])
        return {step: float(ends_E[min(int(step) * self.step_size, len(ends_E)) - 1]) for step in steps}


def page(
    training: Mapping[str, Any],
    config: AdaptConfig,
    reading: Reading,
    *,
    log: Log,
    run: Mapping[str, str],
    out: Path,
) -> Report:
    """The page, from the content of ``training.json`` and what is known besides.

    Args:
        log: the log with the seconds since training began, which ``training.json`` leaves out so that two
            equal runs give equal files.
        run: what else is known of this run, such as its time; ``out``: where the model stands.
    """
    seconds = curve_of(log, "seconds")
    steps = training["steps"]
    tokens = reading.tokens([step for step, _ in seconds])
    read = reading.tokens([steps])[steps] if steps else 0.0
    taken = seconds[-1][1] if seconds else 0.0
    terms = [term for term in _NAMES if curve_of(log, term)]
    return Report(
        title=f"Adapted from {training['base']}",
        finding=_finding(log, terms, steps=steps, tokens=read),
        key_figures={
            "steps": f"{steps:,}",
            "tokens read": _short(read),
            **(
                {"training took": time_words(taken), "tokens a second": f"{read / taken:,.0f}"}
                if taken
                else {}
            ),
            **{f"{_NAMES[term]}, last": significant(curve_of(log, term)[-1][1]) for term in terms},
        },
        sections=[
            Section(
                "What training learned",
                loss_charts({"Losses": log}, [*rate_charts(log), *pace_chart(seconds, tokens, "tokens")]),
            ),
            Section("What it read", _corpus(training, config, reading, read=read)),
            settings_section(config, table="adapt"),
            *made_with(
                run,
                training["versions"],
                [f"llara encode --model {quote(str(out))} --input SOURCE --role document --out vectors"],
            ),
        ],
    )


def _finding(log: Log, terms: Sequence[str], *, steps: int, tokens: float) -> str:
    """What each loss did between the first and the last entry of the log."""
    changes = []
    for term in terms:
        first, last = curve_of(log, term)[0][1], curve_of(log, term)[-1][1]
        verb = "fell" if last < first else "rose" if last > first else "stayed"
        changes.append(f"{_NAMES[term]} {verb} from {' to '.join(told_apart(first, last))}")
    said = f"{_listed(changes)} nats a token" if changes else "Trained, without a log of losses,"
    return f"{said} over {steps:,} steps and {_short(tokens)} tokens of text, without a label."


def _corpus(
    training: Mapping[str, Any], config: AdaptConfig, reading: Reading, *, read: float
) -> list[Block]:
    corpus, lengths_S = training["corpus"], reading.lengths_S
    least = config.corpus.min_segment_tokens
    num_short = int((lengths_S < max(1, least)).sum())
    facts = {
        "Sources": ", ".join(corpus["sources"]),
        "Documents": f"{corpus['documents']:,}" if "documents" in corpus else "",
        "Bad lines left out": f"{corpus['skipped']:,}" if corpus.get("skipped") else "",
        "Segments": f"{training['segments']:,}; another follows {corpus['with_successor']:,} of them",
        "Too short to train on": f"{num_short:,} segments of fewer than {least} tokens" if num_short else "",
        "Tokens": f"{training['tokens']:,}, {training['tokens'] / training['segments']:.1f} a segment",
        "Read in training": f"{read / training['tokens']:.2f} times",
    }
    counts, edges = np.histogram(lengths_S, bins=_edges(lengths_S))
    lengths = Histogram("Lengths of segments", edges.tolist(), counts.tolist(), "tokens", "segments")
    return [Facts(facts), Charts([lengths])]


def _edges(lengths_S: np.ndarray) -> np.ndarray:
    """Edges between whole numbers, so that a bar holds as many lengths as the next."""
    low, high = int(lengths_S.min()), int(lengths_S.max())
    width = -(-(high - low + 1) // _BARS)
    edges: np.ndarray = np.arange(low, high + width + 1, width) - 0.5
    return edges


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def _short(number: float) -> str:
    """A large number in three digits or so.

    >>> _short(912), _short(12_345_678)
    ('912', '12.3 million')
    """
    return f"{number / 1e6:,.1f} million" if number >= 1e6 else f"{number:,.0f}"
