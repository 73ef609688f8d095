"""Our BM25 beside Tantivy's (a search engine in Rust, after Lucene), on collections in BEIR's layout.

Needs `pip install tantivy`, which the package itself does not. Both stem English words by Snowball, leave out
Lucene's 33 stop words and use k1 = 1.2 and b = 0.75. Tantivy is asked twice: with its own words, letters and
digits between all other signs, and with ours, which are of two or more. As Lucene does, it rounds lengths of
documents to one byte.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from bm25s.stopwords import STOPWORDS_EN
from measure import machine, make_parser, report, say

from llara.datasets import Collection, read_beir
from llara.encode import document_text
from llara.evaluate.comparison import RunComparison, compare_runs
from llara.search import Bm25, Run

EXAMPLE = (
    "pip install tantivy\n"
    "python benchmarks/bm25_tantivy.py --data DATA/cranfield DATA/cisi DATA/cacm "
    "--out benchmarks/results/bm25_tantivy.json"
)
MEASURES = ("nDCG@10", "RR@10", "R@100")
DEPTH = 100
TINY_QUERIES = 5


def ours(collection: Collection) -> Run:
    bm25 = Bm25(collection.corpus.values())
    run: Run = {}
    for query, text in collection.queries.items():
        positions, scores = bm25.top(text, DEPTH)
        ids = [bm25.documents[position].id for position in positions]
        run[query] = dict(zip(ids, scores.tolist(), strict=True))
    return run


def tantivys(collection: Collection, *, our_words: bool) -> Run:
    import tantivy  # type: ignore[import-not-found]

    words = tantivy.Tokenizer.regex(r"\w{2,}") if our_words else tantivy.Tokenizer.simple()
    analyzer = tantivy.TextAnalyzerBuilder(words)
    for step in (
        tantivy.Filter.lowercase(),
        tantivy.Filter.custom_stopword(list(STOPWORDS_EN)),
        tantivy.Filter.stemmer("English"),
    ):
        analyzer = analyzer.filter(step)
    analyzer = analyzer.build()
    fields = tantivy.SchemaBuilder()
    fields.add_text_field("id", stored=True, tokenizer_name="raw")
    fields.add_text_field("text", tokenizer_name="english", index_option="freq")
    schema = fields.build()
    index = tantivy.Index(schema)
    index.register_tokenizer("english", analyzer)
    writer = index.writer(num_threads=1)  # one segment: statistics are of the whole collection
    for document in collection.corpus.values():
        writer.add_document(tantivy.Document(id=document.id, text=document_text(document, " ")))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()
    run: Run = {}
    for query, text in collection.queries.items():
        terms = [tantivy.Query.term_query(schema, "text", term, "freq") for term in analyzer.analyze(text)]
        any_term = tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])
        hits = searcher.search(any_term, DEPTH).hits
        run[query] = {searcher.doc(address)["id"][0]: score for score, address in hits}
    return run


def summary(found: RunComparison) -> dict[str, Any]:
    """Measure -> the means of all, and ours less each of the others with its 95% interval."""
    means = {run.name: run.means for run in found.runs}
    return {
        measure: {
            **{name: means[name][measure] for name in means},
            "ours_less": {
                each.run: {"difference": -each.difference, "interval": [-end for end in each.interval[::-1]]}
                for each in found.differences
                if each.measure == measure
            },
        }
        for measure in MEASURES
    }


def main() -> None:
    parser = make_parser(__doc__ or "", EXAMPLE)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="collections in BEIR's layout")
    parser.add_argument("--split", default="test", help="whose queries are asked")
    args = parser.parse_args()
    results: dict[str, Any] = {}
    rows = [["collection", "BM25", "queries", *MEASURES]]
    for path in args.data:
        collection = read_beir(path, args.split)
        if args.tiny:
            collection.qrels = dict(list(collection.qrels.items())[:TINY_QUERIES])
            collection.queries = {query: collection.queries[query] for query in collection.qrels}
        runs = {
            "ours": ours(collection),
            "tantivy": tantivys(collection, our_words=False),
            "tantivy, our words": tantivys(collection, our_words=True),
        }
        results[collection.name] = summary(compare_runs(runs, collection.qrels, MEASURES))
        for name in runs:
            means = [f"{results[collection.name][measure][name]:.4f}" for measure in MEASURES]
            rows.append([collection.name, name, str(len(collection.qrels)), *means])
        say(f"{collection.name}: done")
    result = {
        "benchmark": "bm25_tantivy",
        "settings": {"depth": DEPTH, "split": args.split, "k1": 1.2, "b": 0.75},
        "machine": {**machine(), "tantivy": version("tantivy"), "bm25s": version("bm25s")},
        "collections": results,
    }
    report(result, rows, args.out)


if __name__ == "__main__":
    main()
