"""Memory and seconds of evaluating on a corpus of many passages: reading it, a dense search, BM25.

A collection in BEIR's layout is generated: short lines of made-up words whose frequencies fall as those of
words do (Zipf's law), and queries that are the first words of one document each, which alone is judged. The
evaluation's own code opens it, checks it, and searches it, each part in a process of its own, so that peaks
of memory do not mix. The dense search has a stand-in for a model: it adds up 64 numbers hashed from each
word, which costs next to nothing, so that what is measured is the evaluation and not a model. Seconds are
the processor's, which a busy machine spoils less than the clock's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import in_fresh_process, machine, make_parser, peak_mib, report, say

from llara.datasets import StreamedCollection, open_collection
from llara.evaluate import Bm25System, DenseSystem, System, measure

EXAMPLE = "nice -n 5 python benchmarks/evaluation_memory.py --out benchmarks/results/evaluation_memory.json"
DIMENSION = 64
MEASURES = ("RR@10", "R@1000")
_DOCUMENTS_AT_ONCE = 100_000


def main() -> None:
    parser = make_parser(__doc__.partition("\n\n")[0], EXAMPLE)
    parser.add_argument("--documents", type=int, default=8_800_000, help="documents of the corpus")
    parser.add_argument("--queries", type=int, default=200, help="judged queries")
    parser.add_argument("--words", type=int, default=10, help="words of a document")
    parser.add_argument("--vocabulary", type=int, default=500_000, help="different words to draw from")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument(
        "--folder", type=Path, default=None, help="generate the corpus under here (default: /tmp)"
    )
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.documents, arguments.queries, arguments.vocabulary = 3000, 20, 2000
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        result = run(Path(folder), arguments)
    report(result, table(result), arguments.out)


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All parts, one after the other."""
    settings = {name: getattr(arguments, name) for name in ("documents", "queries", "words", "vocabulary")}
    say(f"writing {arguments.documents:,} documents")
    in_fresh_process(generate, folder, *settings.values())
    parts: dict[str, Any] = {}
    for name in arguments.parts:
        parts[name] = in_fresh_process(PARTS[name][1], folder)
        say(f"{name}: {parts[name]}")
    return {
        "benchmark": "evaluation_memory",
        "settings": {**settings, "dimension": DIMENSION, "stand_in": "words hashed to 64 numbers, no model"},
        "corpus_mib": round((folder / "corpus.jsonl").stat().st_size / 2**20, 1),
        "shared_mib": round(peak_mib(), 1),  # of the process that the others are forked from
        "parts": parts,
        "machine": machine(),
    }


def table(result: dict[str, Any]) -> list[list[str]]:
    """What is printed."""
    head = ["part", "peak MiB", "CPU s to open", "CPU s", *MEASURES]
    keys = ("peak_mib", "open_cpu_seconds", "cpu_seconds", *MEASURES)
    return [head] + [
        [PARTS[name][0], *(f"{part[key]:,.4g}" if key in part else "" for key in keys)]
        for name, part in result["parts"].items()
    ]


# -- the collection


def generate(folder: Path, documents: int, queries: int, words: int, vocabulary: int) -> dict[str, Any]:
    """Write the collection; a document's words are drawn log-uniformly from the vocabulary's ranks."""
    rng = np.random.default_rng(0)
    names = np.array([_word(rank) for rank in range(vocabulary)], dtype=object)
    judged = set(rng.choice(documents, size=queries, replace=False).tolist())
    (folder / "qrels").mkdir()
    with (
        (folder / "corpus.jsonl").open("w", encoding="utf-8") as corpus,
        (folder / "queries.jsonl").open("w", encoding="utf-8") as asked,
        (folder / "qrels" / "test.tsv").open("w", encoding="utf-8") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for start in range(0, documents, _DOCUMENTS_AT_ONCE):
            count = min(_DOCUMENTS_AT_ONCE, documents - start)
            ranks = (vocabulary ** rng.random((count, words))).astype(np.int64) - 1
            for number, row in enumerate(names[ranks].tolist(), start=start):
                corpus.write(json.dumps({"_id": str(number), "title": "", "text": " ".join(row)}) + "\n")
                if number in judged:
                    asked.write(json.dumps({"_id": f"q{number}", "text": " ".join(row[: words // 2])}) + "\n")
                    qrels.write(f"q{number}\t{number}\t1\n")
    return {}


def _word(rank: int) -> str:
    """A word of its own for each rank.

    >>> [_word(rank) for rank in (0, 19, 20, 400)]
    ['ba', 'cu', 'bade', 'babide']
    """
    consonants, vowels = "bdfgjklmnprstvwxzhqc", "aeiou"
    syllables = [consonants[rank % 20] + vowels[rank // 4 % 5]]
    while rank := rank // 20:
        syllables.append(consonants[rank % 20] + vowels[rank % 3])
    return "".join(syllables)


# -- the parts


def reading(folder: Path) -> dict[str, Any]:
    """Open the collection, which reads the corpus once to check it, and read it once more."""
    collection, opened = _open(folder)
    started = time.process_time()
    num_documents = sum(1 for _ in collection.documents())
    assert num_documents == collection.num_documents
    return {**opened, "cpu_seconds": _since(started), "peak_mib": round(peak_mib(), 1)}


def dense(folder: Path) -> dict[str, Any]:
    """Search with the stand-in for a model."""
    return _searched(folder, DenseSystem("hashed words", HashedWords(), batch_size=4096))  # type: ignore[arg-type]


def bm25(folder: Path) -> dict[str, Any]:
    """Index and search with BM25."""
    return _searched(folder, Bm25System())


def _searched(folder: Path, system: System) -> dict[str, Any]:
    collection, opened = _open(folder)
    started = time.process_time()
    found = measure(system, collection, MEASURES)
    return {
        **opened,
        "cpu_seconds": _since(started),
        "peak_mib": round(peak_mib(), 1),
        **{name: round(value, 4) for name, value in found.metrics.items()},
    }


def _open(folder: Path) -> tuple[StreamedCollection, dict[str, float]]:
    started = time.process_time()
    return open_collection(folder), {"open_cpu_seconds": _since(started)}


def _since(started: float) -> float:
    return round(time.process_time() - started, 2)


class HashedWords:
    """What the evaluation asks of a model, from a table of random numbers: where equal words meet."""

    similarity_fn_name = "cosine"
    max_seq_length = None

    def __init__(self, rows: int = 1 << 16) -> None:
        self._table = np.random.default_rng(1).standard_normal((rows, DIMENSION)).astype(np.float32)

    def get_embedding_dimension(self) -> int:
        return DIMENSION

    def encode_document(self, texts: Sequence[str], **_: object) -> np.ndarray:
        """Sums of the words' rows, float32 [N, 64]."""
        words = [text.split() for text in texts]
        rows = [zlib.crc32(word.encode()) % len(self._table) for text in words for word in text]
        starts = np.cumsum([0, *(len(text) for text in words)])[:-1]
        sums: np.ndarray = np.add.reduceat(self._table[rows], starts, axis=0)
        return sums

    encode_query = encode_document


PARTS = {
    "reading": ("open and check, and read once more", reading),
    "dense": ("dense search, 64 numbers, no model", dense),
    "bm25": ("BM25, index and search", bm25),
}

if __name__ == "__main__":
    main()
