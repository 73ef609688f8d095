"""The page on scale shows what was measured, and its arithmetic is right."""

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "index_kinds.json").read_text())


@pytest.fixture(scope="module")
def scale() -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("scale_page")
    sys.path.remove(str(ROOT / "benchmarks"))


def test_every_table_stands_in_the_page_as_the_results_have_it(scale: Any) -> None:
    assert scale.filled(PAGE, RESULTS) == PAGE
    for name, table in scale.tables(RESULTS).items():
        assert f"<!-- {name} -->\n{table}\n<!-- end -->" in PAGE


def test_another_result_would_change_the_page(scale: Any) -> None:
    changed = json.loads(json.dumps(RESULTS))
    changed["indexes"]["exact"]["searches"][0]["recall@10"] -= 0.01
    assert scale.filled(PAGE, changed) != PAGE


def test_bytes_a_vector_are_computed_as_they_were_measured(scale: Any) -> None:
    measured = {name: index for name, index in RESULTS["indexes"].items() if index["backend"] == "faiss"}
    assert "exact" in measured
    for name, index in measured.items():
        expected = sum(scale.vector_bytes(name, RESULTS["settings"]["dimension"]))
        # Centroids and codebooks are left out, and what the levels above the lowest take of a graph.
        assert index["bytes_per_vector"] == pytest.approx(expected, rel=0.06), name


def test_memory_while_building_stays_under_the_data_where_the_kind_allows_it() -> None:
    for name, index in RESULTS["indexes"].items():
        if index["backend"] == "faiss" and index["kind"] != "hnsw":
            assert index["build_peak_mib"] < 0.5 * RESULTS["data_mib"], name


def test_a_billion_float32_vectors_of_4096_numbers_are_16_terabytes(scale: Any) -> None:
    exact = scale.sizes()[1]
    assert exact[0] == "exact"
    assert exact[1] == "145"  # 8,841,823 x 16,384 = 144.86 GB
    assert exact[3] == "16,384"


def test_encoding_takes_two_flops_a_weight_and_token_and_some_for_attention(scale: Any) -> None:
    seven, *_ = scale.MODELS.values()
    flops = seven.forward_flops(scale.PASSAGES, scale.PASSAGE)
    assert flops / (2 * seven.layer_products * scale.PASSAGES * scale.PASSAGE) == pytest.approx(1.0, abs=0.02)
    hours = float(scale.encoding()[1][4])
    assert hours == pytest.approx(flops / (989e12 * 0.4) / 3600, rel=0.01)


def test_a_query_cannot_be_quicker_than_reading_the_vectors(scale: Any) -> None:
    row = scale.billion()[1]
    assert row[:4] == ["exact, 4096", "1,638", "164", "16.4"]  # 1.6384e12 bytes at 100 GB/s
