"""The page on scale shows what was measured, and its arithmetic is right."""

import importlib
import json
import re
import subprocess
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
        dimension = RESULTS["settings"]["dimension"]
        centroids = 4 * dimension * index["settings"].get("nlist", 0) / index["count"]
        expected = sum(scale.vector_bytes(name, dimension)) + centroids
        # Codebooks are left out, and what the levels above the lowest take of a graph.
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


def test_a_build_takes_the_measured_time_a_vector_and_lists_more_of_it(scale: Any) -> None:
    index = {"kind": "exact", "count": 2_000_000, "build_processor_seconds": 8.0}
    results = {
        "settings": {"dimension": 256},
        "indexes": {"exact": index, "ivf-flat": {**index, "kind": "ivf-flat"}},
    }
    _, exact, lists = scale.building(results)
    # 8 s / 2e6 = 4 microseconds; 1e8 and 1e7 vectors; 1,024 dimensions are four times 256
    assert exact[1:] == ["4.0", "0.11", "0.011", "0.44", "0.044"]
    # 50 and 5 times the vectors: 7.07 and 2.24 times the lists
    assert lists[1:] == ["4.0", "0.79", "0.025", "3.1", "0.099"]


def test_hits_of_several_indexes_are_merged_by_score_as_the_page_does_it(tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    scores = {"q1": {f"d{n}": n % 7 / 7 for n in range(36)}, "q2": {"d3": 0.5, "d2": 0.5, "d1": 0.9}}
    for part in range(3):
        lines = [
            json.dumps({"query_id": query, "query": "wörds", "rank": 1, "id": id_, "score": score}) + "\n"
            for query, found in scores.items()
            for id_, score in found.items()
            if int(id_[1:]) % 3 == part
        ]
        (tmp_path / f"hits-{part}.jsonl").write_text("".join(lines))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8", check=True
    )
    merged = [json.loads(line) for line in done.stdout.splitlines()]
    assert [hit["id"] for hit in merged if hit["query_id"] == "q2"] == ["d1", "d3", "d2"]
    first = [(hit["rank"], hit["id"], hit["score"]) for hit in merged if hit["query_id"] == "q1"]
    assert [rank for rank, _, _ in first] == list(range(1, 11))
    assert [id_ for _, id_, _ in first[:6]] == [
        "d6",
        "d34",
        "d27",
        "d20",
        "d13",
        "d5",
    ]  # of equals the greater id
