"""Rankings against float64 brute force, ties included; what a system reads of a document."""

import numpy as np
import pytest

from llara.corpus import Document
from llara.errors import ConfigError
from llara.evaluate.ranking import TopDocuments, exact_scores
from llara.evaluate.reading import Reading, split_words


def brute_force(scores_QN, ids, depth):
    """Every score in one list, sorted as trec_eval does: by score, then by id, descending."""
    return [
        [document for _, document in sorted(zip(row.tolist(), ids, strict=True), reverse=True)[:depth]]
        for row in scores_QN
    ]


@pytest.mark.parametrize("depth", [1, 7, 500])
@pytest.mark.parametrize("block", [1, 13, 400])
def test_blocks_rank_as_float64_brute_force_with_copies_of_vectors_as_ties(depth, block):
    generator = np.random.default_rng(3)
    different = generator.normal(size=(60, 24)).astype(np.float32)
    different /= np.linalg.norm(different, axis=1, keepdims=True)
    vectors = different[generator.integers(0, 60, size=400)]  # each about seven times, scattered
    queries = generator.normal(size=(9, 24)).astype(np.float32)
    ids = [f"d{number}" for number in generator.permutation(400)]
    top = TopDocuments([f"q{n}" for n in range(9)], depth)
    for start in range(0, 400, block):
        scores = exact_scores(queries, vectors[start : start + block])
        for query in range(9):
            top.add(query, scores[query], ids[start : start + block])
    expected_scores = np.einsum("qd,nd->qn", queries.astype(np.float64), vectors.astype(np.float64))
    expected = brute_force(expected_scores.astype(np.float32), ids, depth)
    assert [list(scores) for scores in top.run().values()] == expected


def test_scores_of_few_different_values_rank_as_brute_force():
    generator = np.random.default_rng(4)
    scores = generator.integers(0, 3, size=(5, 200)).astype(np.float32)
    ids = [str(number) for number in generator.permutation(200)]
    top = TopDocuments(list("abcde"), 20)
    for start in range(0, 200, 32):
        for query in range(5):
            top.add(query, scores[query, start : start + 32], ids[start : start + 32])
    assert [list(found) for found in top.run().values()] == brute_force(scores, ids, 20)


def test_minus_infinity_is_no_hit_and_a_query_may_leave_itself_out():
    top = TopDocuments(["a", "b"], 2, ignore_identical_ids=True)
    for query in (0, 1):
        top.add(query, np.array([3.0, 2.0, -np.inf, 1.0], dtype=np.float32), ["a", "b", "c", "d"])
    assert top.run() == {"a": {"b": 2.0, "d": 1.0}, "b": {"a": 3.0, "d": 1.0}}


def test_a_document_is_cut_into_overlapping_passages_under_its_title():
    reading = Reading(passage_words=4, passage_stride=2)
    documents = [
        Document("long", "a b c d e f g", "T"),
        Document("short", "x y", ""),
        Document("none", "", ""),
    ]
    [block] = reading.blocks(documents)
    assert block.ids == ["long", "short", "none"]
    assert block.texts == ["T a b c d", "T c d e f", "T e f g", "x y", ""]
    assert block.starts == [0, 3, 4]


def test_blocks_are_bounded_by_passages_and_no_document_is_split_over_two():
    reading = Reading(passage_words=2, passage_stride=1)
    passages = [3000, 1096, 1, 5000, 4095, 2]  # of each document, one less than its words
    documents = [Document(f"d{n}", "w " * (number + 1)) for n, number in enumerate(passages)]
    blocks = list(reading.blocks(documents))
    assert [block.ids for block in blocks] == [["d0", "d1"], ["d2"], ["d3"], ["d4"], ["d5"]]
    assert [len(block.texts) for block in blocks] == [4096, 1, 5000, 4095, 2]
    assert blocks[0].starts == [0, 3000]
    whole = [Document(str(n), "w " * 500) for n in range(5000)]
    assert [len(block.texts) for block in Reading().blocks(whole)] == [4096, 904]


def test_every_word_is_in_a_passage_and_ideographs_count_as_words():
    for words in range(1, 9):
        for stride in range(1, words + 1):
            for length in range(1, 25):
                text = " ".join(f"w{n}" for n in range(length))
                passages = split_words(text, words, stride)
                assert {word for passage in passages for word in passage.split()} == set(text.split())
                assert all(len(passage.split()) <= words for passage in passages)
                assert len(passages) == len(set(passages))
    assert split_words("题目文字 is here", 3, 3) == ["题目文", "字 is here"]


def test_passages_that_leave_words_out_are_refused():
    with pytest.raises(ConfigError, match="leave words out"):
        Reading(passage_words=10, passage_stride=11)
    with pytest.raises(ConfigError, match="without"):
        Reading(passage_stride=5)
    assert Reading(passage_words=9).settings()["passage_stride"] == 4
