"""The figures of docs/lexical.md are those of the results file."""

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_mean_and_interval_of_the_page_is_in_the_results():
    systems = json.loads((ROOT / "benchmarks" / "results" / "lexical.json").read_text())["systems"]
    page = (ROOT / "docs" / "lexical.md").read_text(encoding="utf-8").splitlines()
    rows = {cells[0]: cells[1:] for line in page if len(cells := line.strip("| ").split(" | ")) == 9}

    def short(value: float) -> str:
        return f"{value:.3f}".removeprefix("0")

    for system, found in systems.items():
        means = [each["mean"] for each in found.values()]
        expected = [
            f"{short(each['mean'])}<br><small>{'-'.join(map(short, each['interval']))}</small>"
            for each in found.values()
        ]
        assert rows[system] == [*expected, short(sum(means) / len(means))]
