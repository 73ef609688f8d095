"""The page of the adaptation study shows what its results file holds."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "adaptation_study.json").read_text())


@pytest.fixture(scope="module")
def study() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("study_page")
    sys.path.remove(str(ROOT / "benchmarks"))


def test_every_table_stands_in_the_page_as_the_results_have_it(study: Any) -> None:
    assert study.filled(PAGE, RESULTS) == PAGE
    for name, table in study.tables(RESULTS).items():
        assert f"<!-- {name} -->\n{table}\n<!-- end -->" in PAGE


def test_another_result_would_change_the_page(study: Any) -> None:
    changed = json.loads(json.dumps(RESULTS))
    changed["systems"]["both"]["squad"]["mean"] += 0.01
    assert study.filled(PAGE, changed) != PAGE


def test_the_figures_are_those_of_the_results(study: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    study.draw(RESULTS, tmp_path)
    drawn = {path.name: path.read_bytes() for path in tmp_path.glob("*.svg")}
    kept = {path.name: path.read_bytes() for path in (ROOT / "docs" / "figures").glob("study-*.svg")}
    assert drawn == kept
    assert all(f"figures/{name}" in PAGE for name in kept)
