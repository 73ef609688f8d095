"""Figures published in LLaRA's paper (arXiv 2312.15503 v1), to stand beside ours.

As printed there, in percent; ``_`` is a figure that the paper does not have.
"""

from __future__ import annotations

__all__ = ["AVERAGES", "BEIR", "SOURCE", "published"]

SOURCE = "arXiv 2312.15503 v1"

_: None = None
Figures = tuple[float | None, ...]

# MS MARCO, dev: (MRR, recall); of passages MRR@10 and R@1000, of documents MRR@100 and R@100.
_PASSAGES: dict[str, Figures] = {
    "BM25": (18.4, 85.3),
    "ANCE": (33.0, 95.9),
    "RocketQAv2": (38.8, 98.1),
    "GTR-XXL": (38.8, 99.0),
    "SimLM": (41.1, 98.7),  # with distillation
    "RetroMAE": (41.6, 98.8),  # with distillation
    "RepLLaMA": (41.2, 99.4),
    "LLaRA": (43.1, 99.5),
}
_DOCUMENTS: dict[str, Figures] = {
    "BM25": (27.7, 80.9),
    "ANCE": (38.4, 90.6),  # MaxP
    "COSTA": (42.2, 91.9),
    "RepLLaMA": (45.6, _),
    "LLaRA": (47.5, 93.1),
}

# BEIR, zero-shot: nDCG@10.
_BEIR_SYSTEMS = ("BM25", "BERT", "GTR-XXL", "CPT-XL", "Ada-2", "SGPT", "RepLLaMA", "LLaRA")
_BEIR: dict[str, Figures] = {
    "trec-covid": (59.5, 61.5, 50.1, 64.9, 81.3, 87.3, 84.7, 85.3),
    "nfcorpus": (32.2, 26.0, 34.2, 40.7, 35.8, 36.2, 37.8, 37.2),
    "nq": (30.6, 46.7, 56.8, _, 48.2, 52.4, 62.4, 63.9),
    "hotpotqa": (63.3, 48.8, 59.9, 68.8, 65.4, 59.3, 68.5, 70.2),
    "fiqa": (23.6, 25.2, 46.7, 51.2, 41.1, 37.2, 45.8, 45.8),
    "arguana": (39.7, 26.5, 54.0, 43.5, 56.7, 51.4, 48.6, 55.6),
    "webis-touche2020": (44.2, 25.9, 25.6, 29.1, 28.0, 25.4, 30.5, 34.5),
    "quora": (78.9, 78.7, 89.2, 63.8, 87.6, 84.6, 86.8, 87.8),
    "dbpedia-entity": (31.8, 31.4, 40.8, 43.2, 40.2, 39.9, 43.7, 45.1),
    "scidocs": (14.1, 11.3, 16.1, _, 18.6, 19.7, 18.1, 17.2),
    "fever": (65.1, 68.2, 74.0, 77.5, 77.3, 78.3, 83.4, 83.1),
    "climate-fever": (16.5, 18.7, 26.7, 22.3, 23.7, 30.5, 31.0, 27.6),
    "scifact": (67.9, 53.3, 66.2, 75.4, 73.6, 74.7, 75.6, 75.7),
}
_BEIR_AVERAGES: Figures = (43.7, 40.1, 49.3, _, 52.1, 52.1, 55.1, 56.1)

BEIR = tuple(f"beir/{name}" for name in _BEIR)
"""The thirteen collections of BEIR that the paper reports."""


def published(benchmark: str | None, measure: str) -> dict[str, float]:
    """System -> figure, in 0..1, in the paper's order; empty where the paper has none.

    >>> published("msmarco-document/dev", "R@100")["LLaRA"]
    0.931
    >>> published("msmarco-document/dev", "nDCG@10"), published(None, "nDCG@10")
    ({}, {})
    """
    kind, at, cutoff = measure.partition("@")
    figures = _FIGURES.get((benchmark, _OTHER_NAMES.get(kind, kind) + at + cutoff), {})
    return {system: round(figure / 100, 3) for system, figure in figures.items() if figure is not None}


def _column(table: dict[str, Figures], place: int) -> dict[str, float | None]:
    return {system: figures[place] for system, figures in table.items()}


_OTHER_NAMES = {"MRR": "RR", "Recall": "R", "NDCG": "nDCG"}  # as ir_measures knows them, too
_FIGURES: dict[tuple[str | None, str], dict[str, float | None]] = {
    ("msmarco-passage/dev", "RR@10"): _column(_PASSAGES, 0),
    ("msmarco-passage/dev", "R@1000"): _column(_PASSAGES, 1),
    ("msmarco-document/dev", "RR@100"): _column(_DOCUMENTS, 0),
    ("msmarco-document/dev", "R@100"): _column(_DOCUMENTS, 1),
    **{
        (f"beir/{name}", "nDCG@10"): dict(zip(_BEIR_SYSTEMS, figures, strict=True))
        for name, figures in _BEIR.items()
    },
}
AVERAGES = {
    system: round(figure / 100, 3)
    for system, figure in zip(_BEIR_SYSTEMS, _BEIR_AVERAGES, strict=True)
    if figure is not None
}
"""System -> the average over ``BEIR`` as the paper prints it, in 0..1.

Those of BM25 (.437) and BERT (.401) are not quite the means of the printed figures, .436 and .402, but within
what their rounding allows.
"""
