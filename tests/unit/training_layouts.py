"""Training data written in each layout, and the example that it holds."""

import json
from pathlib import Path
from typing import Any

from llara.corpus import Document
from llara.datasets import DataReport, TrainingExample

D1, D2 = Document("d1", "Cats purr.", "Cats"), Document("d2", "Dogs bark.")
QRELS_HEADER = "query-id\tcorpus-id\tscore\n"


def jsonl(*records: dict) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def beir(folder: Path, *, qrels: str = "q1\td1\t1\nq1\td2\t0\n", queries: str = "", corpus: str = "") -> Path:
    write(folder / "qrels" / "train.tsv", QRELS_HEADER + qrels)
    write(folder / "queries.jsonl", queries or jsonl({"_id": "q1", "text": "what purrs?"}))
    write(
        folder / "corpus.jsonl",
        corpus
        or jsonl(
            {"_id": "d1", "title": "Cats", "text": "Cats purr."},
            {"_id": "d2", "title": "", "text": "Dogs bark."},
        ),
    )
    return folder


def passage(identifier: Any, text: str, **more: Any) -> dict:
    return {"docid": identifier, "text": text, **more}


def tevatron(query_id: str = "q1", query: str = "what purrs?", **sides: Any) -> dict:
    return {
        "query_id": query_id,
        "query": query,
        "positive_passages": [passage("d1", "Cats purr.", title="Cats")],
        "negative_passages": [passage("d2", "Dogs bark.")],
    } | sides


def example(**changes: Any) -> TrainingExample:
    parts: dict[str, Any] = {
        "query_id": "q1",
        "query": "what purrs?",
        "positives": (D1,),
        "negatives": (D2,),
    }
    return TrainingExample(**(parts | changes))


def kinds(report: DataReport) -> dict[str, int]:
    """The counts that are not 0, without those of what is kept."""
    numbers = {name: value for name, value in vars(report).items() if isinstance(value, int) and value}
    return {
        name: number for name, number in numbers.items() if name not in ("queries", "positives", "negatives")
    }
