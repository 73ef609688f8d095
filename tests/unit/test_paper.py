"""The paper's figures are those that it prints, and their averages agree with the printed ones."""

import pytest

from llara.datasets.benchmarks import suite
from llara.evaluate.paper import AVERAGES, BEIR, published


def test_figures_are_those_printed():
    assert published("beir/scifact", "nDCG@10") == {
        "BM25": 0.679,
        "BERT": 0.533,
        "GTR-XXL": 0.662,
        "CPT-XL": 0.754,
        "Ada-2": 0.736,
        "SGPT": 0.747,
        "RepLLaMA": 0.756,
        "LLaRA": 0.757,
    }
    passages = published("msmarco-passage/dev", "RR@10"), published("msmarco-passage/dev", "R@1000")
    assert [column["LLaRA"] for column in passages] == [0.431, 0.995]
    assert [column["RepLLaMA"] for column in passages] == [0.412, 0.994]
    documents = published("msmarco-document/dev", "RR@100"), published("msmarco-document/dev", "R@100")
    assert [column["LLaRA"] for column in documents] == [0.475, 0.931]


def test_what_the_paper_leaves_out_is_left_out():
    assert "CPT-XL" not in published("beir/nq", "nDCG@10")
    assert "RepLLaMA" not in published("msmarco-document/dev", "R@100")
    assert "CPT-XL" not in AVERAGES
    for benchmark, measure in (("beir/nq", "R@100"), ("cranfield", "nDCG@10"), (None, "nDCG@10")):
        assert published(benchmark, measure) == {}


def test_a_measure_has_its_figures_under_its_other_names():
    assert published("msmarco-passage/dev", "MRR@10") == published("msmarco-passage/dev", "RR@10") != {}
    assert published("msmarco-passage/dev", "Recall@1000") == published("msmarco-passage/dev", "R@1000") != {}


@pytest.mark.parametrize("system", AVERAGES)
def test_the_thirteen_figures_average_to_the_printed_average_within_rounding(system):
    """Each figure is rounded by up to 0.0005, and so may their mean be, and the printed mean once more."""
    figures = [published(benchmark, "nDCG@10")[system] for benchmark in BEIR]
    assert len(figures) == 13
    assert sum(figures) / 13 == pytest.approx(AVERAGES[system], abs=0.001)


def test_benchmarks_are_spelled_as_the_suites_spell_them():
    names = {name.removesuffix("/test").removesuffix("/v2") for name in suite("beir-13")}
    assert names == set(BEIR)
