"""Do the words that vectors hold help to search? Dense, lexical, BM25 and their hybrids, on collections.

One forward pass a text: the lexical index is made of the stored vectors and texts. Hybrids are fused by
reciprocal ranks, as `llara search --mode hybrid` does. For scale, `own words` is the same search with
weight 1 for every word that a document holds: what is left if the vectors say nothing.
"""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, make_parser, report, say

from llara.datasets import Collection, read_beir, write_beir
from llara.encode import encode_file
from llara.evaluate import evaluate_run
from llara.fusion import reciprocal_rank_fusion
from llara.indexes import StoredIndex, best, build_index
from llara.lexical import LexicalIndex
from llara.postings import Postings
from llara.search import Run, Searcher, run_from_hits
from llara.significance import bootstrap_interval, holm, paired_randomization_test
from llara.terms import Analyzer

EXAMPLE = (
    "python benchmarks/lexical.py --dataset DATA/squad:dev DATA/wikiqa:test DATA/covidqa:test "
    "DATA/cranfield:test DATA/cisi:test DATA/cacm:test DATA/medquad:dev --out benchmarks/results/lexical.json"
)
MEASURE = "nDCG@10"
DEPTH = 100
OWN = "own words"
SYSTEMS = ("dense", "lexical", OWN, "dense + lexical", "bm25", "dense + bm25", "bm25 + lexical")
PAIRS = (
    ("lexical", "dense"),
    ("lexical", OWN),
    ("dense + lexical", "dense"),
    ("dense + lexical", "lexical"),
    ("dense + lexical", "dense + bm25"),
    ("bm25 + lexical", "bm25"),
)


def search(model: str, collection: Collection, work: Path) -> dict[str, Run]:
    """What every system finds: system -> run."""
    write_beir(work / "collection", {"test": collection})
    encode_file(model, work / "collection" / "corpus.jsonl", work / "vectors", role="document", batch_size=16)
    build_index(work / "vectors", work / "index", words=["bm25", "lexical"])
    searcher = Searcher.open(work / "index")
    ids, queries = list(collection.queries), list(collection.queries.values())
    runs = {
        mode: run_from_hits(ids, searcher.search(queries, DEPTH, mode=mode))
        for mode in ("dense", "bm25", "lexical")
    }
    runs[OWN] = own_words(searcher, ids, queries)
    for name in SYSTEMS:
        if " + " in name:
            runs[name] = reciprocal_rank_fusion([runs[part] for part in name.split(" + ")], depth=DEPTH)
    return runs


def own_words(searcher: Searcher, ids: list[str], queries: list[str]) -> Run:
    """Every word of a document with weight 1."""
    stored, analyze = searcher.stored, Analyzer()
    assert isinstance(stored, StoredIndex)
    documents = stored.documents(range(len(stored)))
    index = LexicalIndex(
        Postings.build(dict.fromkeys(analyze(f"{d.title} {d.text}"), 1.0) for d in documents)
    )
    run: Run = {}
    for id_, query in zip(ids, queries, strict=True):
        scores, positions = best(index.scores(query), DEPTH, None)
        run[id_] = {documents[p].id: float(s) for p, s in zip(positions, scores, strict=True)}
    return run


def read(dataset: str, *, tiny: bool) -> tuple[str, Collection]:
    """A collection by its path and split; a few of its documents if tiny."""
    path, _, split = dataset.rpartition(":")
    found = read_beir(Path(path), split=split)
    if not tiny:
        return Path(path).name, found
    corpus = dict(islice(found.corpus.items(), 60))
    qrels = {
        q: kept
        for q, judged in found.qrels.items()
        if (kept := {d: r for d, r in judged.items() if d in corpus})
    }
    return Path(path).name, Collection(found.name, corpus, {q: found.queries[q] for q in qrels}, qrels)


def compare(per_query: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Each pair on each collection: difference and p, adjusted by Holm over all that are listed."""
    rows = []
    for first, second in PAIRS:
        for name, systems in per_query.items():
            a, b = systems[first], systems[second]
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "dataset": name,
                    "difference": float(np.mean(list(a.values())) - np.mean(list(b.values()))),
                    "p": paired_randomization_test(a, b),
                }
            )
    adjusted = holm({str(i): row["p"] for i, row in enumerate(rows)})
    return [{**row, "p_holm": adjusted[str(i)]} for i, row in enumerate(rows)]


def main() -> None:
    """Search every collection in every way."""
    parser = make_parser(__doc__ or "", EXAMPLE)
    parser.add_argument("--model", default="llara-mini", help="a retriever")
    parser.add_argument("--dataset", nargs="+", required=True, metavar="PATH:SPLIT", help="BEIR directories")
    args = parser.parse_args()
    per_query: dict[str, dict[str, dict[str, float]]] = {}
    for dataset in args.dataset:
        name, collection = read(dataset, tiny=args.tiny)
        with tempfile.TemporaryDirectory() as work:
            runs = search(args.model, collection, Path(work))
        per_query[name] = {
            system: evaluate_run(run, collection.qrels, [MEASURE])[1][MEASURE] for system, run in runs.items()
        }
        say(
            f"{name}: "
            + ", ".join(f"{s} {np.mean(list(v.values())):.3f}" for s, v in per_query[name].items())
        )
    results = {
        "machine": machine(),
        "settings": {"model": Path(args.model).name, "measure": MEASURE, "depth": DEPTH},
        "systems": {
            system: {
                name: {
                    "mean": float(np.mean(list(systems[system].values()))),
                    "interval": bootstrap_interval(systems[system]),
                }
                for name, systems in per_query.items()
            }
            for system in SYSTEMS
        },
        "differences": compare(per_query),
    }
    report(results, rows_of(results), args.out)


def rows_of(results: dict[str, Any]) -> list[list[str]]:
    """The table: systems down, collections across."""
    datasets = list(next(iter(results["systems"].values())))
    rows = [[MEASURE, *datasets, "mean"]]
    for system, found in results["systems"].items():
        means = [found[name]["mean"] for name in datasets]
        rows.append([system, *(f"{mean:.3f}" for mean in means), f"{np.mean(means):.3f}"])
    return rows


if __name__ == "__main__":
    main()
