"""BM25 against Lucene's formula in float64, over terms of an analysis that shares nothing with ours."""

import json
import math
from collections import Counter
from pathlib import Path

import bm25s
import numpy as np
import pytest
import pytrec_eval
import Stemmer

from llara.corpus import Document
from llara.datasets import read_beir
from llara.lexical import Bm25Index
from llara.search import Bm25

CRANFIELD = Path(__file__).parents[2].parent / "shared" / "data" / "cranfield"
K1, B = 1.2, 0.75
# Of Lucene's EnglishAnalyzer.
STOP_WORDS = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these "
    "they this to was will with"
)


def lucene(documents):
    """A function from the terms of a query to a float64 score for each of ``documents``, lists of terms.

    Robertson's formula with Lucene's idf, which is never below 0.
    """
    average = sum(map(len, documents)) / len(documents)
    norms = [K1 * (1 - B + B * len(terms) / average) for terms in documents]
    postings: dict[str, dict[int, int]] = {}
    for place, terms in enumerate(documents):
        for term, count in Counter(terms).items():
            postings.setdefault(term, {})[place] = count

    def scores(query):
        totals = [0.0] * len(documents)
        for term in query:
            found = postings.get(term, {})
            idf = math.log(1 + (len(documents) - len(found) + 0.5) / (len(found) + 0.5))
            for place, count in found.items():
                totals[place] += idf * count / (count + norms[place])
        return totals

    return scores


def test_scores_are_lucenes_formula_to_single_precision():
    generator = np.random.default_rng(11)
    words = [f"{letter}{other}" for letter in "bcdfgk" for other in "xzqjv"]  # no stop words, no endings
    shares = 1 / np.arange(1, len(words) + 1)
    documents = [
        generator.choice(words, size=generator.integers(1, 40), p=shares / shares.sum()).tolist()
        for _ in range(120)
    ]
    bm25 = Bm25([Document(id=str(n), text=" ".join(terms)) for n, terms in enumerate(documents)])
    by_hand = lucene(documents)
    for _ in range(20):
        query = generator.choice(words, size=generator.integers(1, 6)).tolist()
        expected = by_hand(query)
        assert bm25.scores(" ".join(query)) == pytest.approx(expected, rel=1e-5, abs=1e-6)
        assert max(expected) > 0.5


def test_a_word_in_every_document_still_scores_above_zero():
    documents = [["bx", "cz"], ["bx"], ["bx", "dq", "dq"]]
    bm25 = Bm25([Document(id=str(n), text=" ".join(terms)) for n, terms in enumerate(documents)])
    scores = bm25.scores("bx")
    assert scores == pytest.approx(lucene(documents)(["bx"]), rel=1e-6)
    assert scores.min() > 0


def analyze(text):
    """Lower-case runs of letters and digits less stop words, by Porter's first stemmer (ours is Porter2)."""
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    stop_words = STOP_WORDS.split()
    return Stemmer.Stemmer("porter").stemWords([word for word in words if word not in stop_words])


def ndcg_at_10(run):
    qrels: dict[str, dict[str, int]] = {}
    for line in (CRANFIELD / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, relevance = line.split("\t")
        qrels.setdefault(query, {})[document] = int(relevance)
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut_10"}).evaluate(run)
    return sum(values["ndcg_cut_10"] for values in found.values()) / len(qrels)


def records(name):
    return [json.loads(line) for line in (CRANFIELD / name).read_text().splitlines()]


@pytest.mark.skipif(not CRANFIELD.exists(), reason="shared/data/cranfield is not here")
def test_bm25_on_cranfield_is_within_a_hundredth_of_an_independent_implementation():
    ids = [record["_id"] for record in records("corpus.jsonl")]
    by_hand = lucene([analyze(f"{record['title']} {record['text']}") for record in records("corpus.jsonl")])
    expected = {
        query["_id"]: {
            id_: score for id_, score in zip(ids, by_hand(analyze(query["text"])), strict=True) if score
        }
        for query in records("queries.jsonl")
    }
    collection = read_beir(CRANFIELD)
    bm25 = Bm25(collection.corpus.values())
    run = {}
    for query, text in collection.queries.items():
        positions, scores = bm25.top(text, 100)
        run[query] = {
            bm25.documents[place].id: score
            for place, score in zip(positions.tolist(), scores.tolist(), strict=True)
        }
    assert ndcg_at_10(expected) > 0.3
    assert ndcg_at_10(run) == pytest.approx(ndcg_at_10(expected), abs=0.01)


@pytest.mark.parametrize("at_once", [3, 50_000])
def test_scores_are_bm25s_own_bit_for_bit(monkeypatch, at_once):
    monkeypatch.setattr("llara.postings._DOCUMENTS_AT_ONCE", at_once)
    generator = np.random.default_rng(5)
    texts = [[f"w{n}" for n in generator.geometric(0.05, size=generator.integers(0, 60))] for _ in range(100)]
    index = Bm25Index(" ".join(words) for words in texts)
    vocabulary: dict[str, int] = {}
    ids = [[vocabulary.setdefault(word, len(vocabulary)) for word in words] for words in texts]
    peer = bm25s.BM25(method="lucene", k1=K1, b=B)
    peer.index((ids, vocabulary), create_empty_token=False, show_progress=False)
    for query in [*texts[:20], ["w1", "w1", "w2"], ["w999"]]:
        expected = peer.get_scores_from_ids([vocabulary[word] for word in query if word in vocabulary])
        np.testing.assert_array_equal(index.scores(" ".join(query)), expected)
