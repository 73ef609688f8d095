"""A small collection to mine, and what is read of the outcome."""

import json
from typing import Literal

from llara.datasets import read_training
from llara.mine.filters import REASONS

QUERIES = {
    "q1": "what makes a wing stall",
    "q2": "heat flow through a slab",
    "q3": "shape of a rocket nozzle",
    "q4": "who invented the telescope",
}
PASSAGES = {
    "p0": "a wing stalls when the flow leaves its upper side",
    "p1": "A wing stalls, when the flow leaves its upper  side.",
    "p2": "the lift of a wing grows with its angle until it stalls",
    "p3": "heat flows through a slab from its warm to its cold side",
    "p4": "the heat that flows through a slab grows with the difference of temperature",
    "p5": "a rocket nozzle narrows and widens again",
    "p6": "the throat of a nozzle is where the flow reaches the speed of sound",
    "p7": "a dutch maker of spectacles asked for a patent of the telescope",
    "p8": "galileo pointed a telescope at jupiter",
    "p9": "bread rises because yeast makes gas",
    "p10": "the slipstream of a propeller hits the wing behind it",
    "p11": "galileo  pointed a Telescope at Jupiter",
}
SOURCES: list[Literal["dense", "bm25", "mixed"]] = ["dense", "bm25", "mixed"]
QRELS = {"q1": ["p0"], "q2": ["p3", "p4"], "q3": ["p5"], "q4": ["p7"]}


def write_beir(folder, *, queries=QUERIES, passages=PASSAGES, qrels=QRELS):
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", passages), ("queries", queries)):
        lines = [json.dumps({"_id": id_, "title": "", "text": text}) + "\n" for id_, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    rows = [f"{query}\t{passage}\t1\n" for query in queries for passage in qrels[query]]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return folder


def negatives_of(path):
    return {example.query_id: [d.id for d in example.negatives] for example in read_training(path)}


def check_sum(counts):
    removed = sum(counts[reason] for reason in REASONS)
    assert counts["candidates"] == removed + counts["outside the sample"] + counts["kept"]
