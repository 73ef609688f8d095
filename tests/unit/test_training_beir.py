"""Training examples of BEIR directories: splits, titles, what is left out and counted, and errors."""

import pytest
from training_layouts import D1, D2, beir, example, jsonl, kinds, write

from llara.corpus import Document
from llara.datasets import DataReport, read_training
from llara.datasets.examples import wanted_passages
from llara.errors import InputError


def test_a_beir_directory_gives_its_split_with_titles_apart(tmp_path):
    report = DataReport()
    assert list(read_training(beir(tmp_path), report=report)) == [example()]
    assert (report.queries, report.positives, report.negatives) == (1, 1, 1)
    assert kinds(report) == {}


def test_what_is_judged_0_or_less_is_a_negative(tmp_path):
    (found,) = read_training(beir(tmp_path, qrels="q1\td2\t-1\nq1\td1\t3\n"))
    assert (found.positives, found.negatives) == ((D1,), (D2,))
    assert found.where == f"{tmp_path}/qrels/train.tsv:2"


def test_another_split_is_read_by_name(tmp_path):
    write(beir(tmp_path) / "qrels" / "dev.tsv", "q1\td2\t1\n")
    (found,) = read_training(tmp_path, split="dev")
    assert (found.positives, found.negatives) == ((D2,), ())


def test_a_beir_directory_without_a_corpus_takes_the_one_given(tmp_path):
    folder = beir(tmp_path / "questions")
    corpus = folder.joinpath("corpus.jsonl").rename(tmp_path / "elsewhere.jsonl")
    assert list(read_training(folder, corpus=corpus)) == [example()]
    with pytest.raises(InputError, match=r"no corpus\.jsonl there"):
        read_training(folder)


def test_its_own_corpus_comes_before_the_one_given(tmp_path):
    other = write(tmp_path / "other.jsonl", jsonl({"_id": "d1", "text": "another"}))
    assert list(read_training(beir(tmp_path / "own"), corpus=other)) == [example()]


@pytest.mark.parametrize(
    ("changes", "kind", "first"),
    [
        ({"qrels": "q1\td1\t1\nq1\td9\t1\nq1\td2\t0\n"}, "unknown_passages", "qrels/train.tsv:2 ('d9')"),
        ({"qrels": "q1\td1\t1\nq1\td2\t0\nq7\td2\t1\n"}, "unknown_queries", "qrels/train.tsv:4 ('q7')"),
        ({"qrels": "q1\td1\t1\nq1\td2\t0\nq1\td1\t1\n"}, "repeated_passages", "qrels/train.tsv:2 ('d1')"),
        ({"qrels": "q1\td1\t1\nq1\td2\t0\nq1\td1\t0\n"}, "positive_negatives", "qrels/train.tsv:2 ('d1')"),
        (
            {"queries": jsonl({"_id": "q1", "text": "what purrs?"}) * 2},
            "repeated_queries",
            "queries.jsonl ('q1')",
        ),
        (
            {
                "queries": jsonl({"_id": "q1", "text": "what purrs?"}, {"_id": "q2", "text": "?"}),
                "qrels": "q1\td1\t1\nq1\td2\t0\nq2\td1\t0\n",
            },
            "without_positive",
            "qrels/train.tsv:4",
        ),
        (
            {
                "queries": jsonl({"_id": "q1", "text": "what purrs?"}, {"_id": "q2", "text": " "}),
                "qrels": "q1\td1\t1\nq1\td2\t0\nq2\td1\t1\n",
            },
            "blank_queries",
            "qrels/train.tsv:4",
        ),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted_with_its_first_place(tmp_path, changes, kind, first):
    report = DataReport()
    assert list(read_training(beir(tmp_path, **changes), report=report)) == [example()]
    assert kinds(report) == {kind: 1}
    assert report.first[kind].endswith(first)


def test_blank_passages_are_left_out_unless_they_have_a_title(tmp_path):
    corpus = jsonl(
        {"_id": "d1", "title": "Cats", "text": ""}, {"_id": "d2", "text": " \n"}, {"_id": "d3", "text": "x"}
    )
    report = DataReport()
    folder = beir(tmp_path, corpus=corpus, qrels="q1\td1\t1\nq1\td2\t1\n")
    (found,) = read_training(folder, report=report)
    assert found.positives == (Document("d1", "", "Cats"),)
    assert kinds(report) == {"blank_passages": 1, "without_negative": 1}


def test_a_passage_that_comes_twice_in_the_corpus_is_kept_once(tmp_path):
    corpus = jsonl({"_id": "d1", "title": "Cats", "text": "Cats purr."}) * 2
    report = DataReport()
    (found,) = read_training(beir(tmp_path, corpus=corpus, qrels="q1\td1\t1\n"), report=report)
    assert found.positives == (D1,)
    assert kinds(report) == {"repeated_passages": 1, "without_negative": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"qrels": "q1\td1\n"}, r"train\.tsv:2: .* is no judgement"),
        ({"corpus": jsonl({"_id": "d9", "text": "x"})}, "no query there can be trained on"),
        ({"queries": jsonl({"_id": "q9", "text": "x"})}, "no query there can be trained on"),
        ({"queries": "{"}, r"queries\.jsonl:1: not JSON"),
        (
            {"queries": jsonl({"_id": "q1", "text": "a"}, {"_id": "q1", "text": "b"})},
            "the query id 'q1' has two texts",
        ),
        (
            {"corpus": jsonl({"_id": "d1", "text": "a"}, {"_id": "d1", "text": "b"})},
            "the passage 'd1' has two texts in the corpus",
        ),
    ],
)
def test_a_directory_that_cannot_be_used_is_an_error(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        list(read_training(beir(tmp_path, **changes)))


def test_a_missing_split_is_an_error_at_the_call(tmp_path):
    with pytest.raises(InputError, match=r"no split 'dev'.*the splits there are: train"):
        read_training(beir(tmp_path), split="dev")


def test_only_passages_that_are_wanted_are_kept():
    made = (Document(str(n), f"Text {n}.") for n in range(1000))
    assert wanted_passages(made, {"7", "1001"}, DataReport()) == {"7": Document("7", "Text 7.")}
