"""Documents by their best passage (MaxP), over more passages than are scored at once, against brute force."""

import math
from collections import Counter

import numpy as np
import pytest

from llara.corpus import Document
from llara.datasets import Collection
from llara.evaluate import Asked, Reading, evaluate

WORDS, STRIDE = 7, 2
STOP_WORDS = {"of", "the", "a"}
ASKED = Asked(reading=Reading(passage_words=WORDS, passage_stride=STRIDE), depth=100)


@pytest.fixture(scope="module")
def collection(retriever):
    """Sixty documents, short ones and long, half of them titled, of some nine thousand passages."""
    generator = np.random.default_rng(8)
    words = retriever.words[2:]

    def text(number):
        return " ".join(generator.choice(words, size=number))

    lengths = [0, 1, WORDS, WORDS + 1, *generator.integers(200, 500, size=56).tolist()]
    corpus = {
        f"d{n}": Document(f"d{n}", text(length), title=text(2) if n % 2 == 0 else "")
        for n, length in enumerate(lengths)
    }
    queries = {f"q{n}": text(3) for n in range(8)}
    return Collection("long", corpus, queries, {query: {"d5": 1} for query in queries})


def passages(document):
    """Those of a document, each under its title."""
    words = document.text.split()
    found, start = [], 0
    while True:
        found.append(f"{document.title} {' '.join(words[start : start + WORDS])}".strip())
        if start + WORDS >= len(words):
            return found
        start += STRIDE


def run_of(model, collection, asked=ASKED):
    [found] = evaluate(models=[model], datasets=[collection], asked=asked)
    return found.run


def test_a_models_score_is_that_of_the_best_passage_of_all_blocks(retriever, collection):
    run = run_of(str(retriever.path), collection)
    cut = {id_: passages(document) for id_, document in collection.corpus.items()}
    assert sum(map(len, cut.values())) > 2 * 4096
    queries = retriever.expected(list(collection.queries.values()), "query")
    best = {
        id_: (queries @ retriever.expected(texts, "document").T).max(axis=1) for id_, texts in cut.items()
    }
    for number, query in enumerate(collection.queries):
        expected = {id_: scores[number] for id_, scores in best.items()}
        assert run[query] == pytest.approx(expected, abs=1e-5)
        assert list(run[query].values()) == sorted(run[query].values(), reverse=True)


def test_bm25s_score_is_that_of_the_best_passage(collection):
    run = run_of("bm25", collection)
    cut = [(id_, text) for id_, document in collection.corpus.items() for text in passages(document)]
    bags = [Counter(word for word in text.split() if word not in STOP_WORDS) for _, text in cut]
    average = sum(bag.total() for bag in bags) / len(bags)
    holding = Counter(word for bag in bags for word in bag)
    for query, text in collection.queries.items():
        expected: dict[str, float] = {}
        for (id_, _), bag in zip(cut, bags, strict=True):
            norm = 1.2 * (1 - 0.75 + 0.75 * bag.total() / average)
            score = sum(
                math.log(1 + (len(bags) - holding[word] + 0.5) / (holding[word] + 0.5))
                * bag[word] / (bag[word] + norm)
                for word in text.split()
                if bag[word]
            )  # fmt: skip
            if score:
                expected[id_] = max(score, expected.get(id_, 0))
        assert run[query] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("system", ["dense", "bm25"])
def test_of_passages_too_the_best_documents_are_kept(system, retriever, collection):
    model = str(retriever.path) if system == "dense" else system
    few = run_of(model, collection, Asked(reading=ASKED.reading, depth=5))
    for query, scores in run_of(model, collection).items():
        assert list(few[query].items()) == list(scores.items())[:5]
