"""Training examples of JSON lines, in the layouts of FlagEmbedding and of Tevatron."""

import gzip

import pytest
from training_layouts import D1, D2, example, jsonl, kinds, passage, tevatron, write

from llara.corpus import Document
from llara.datasets import DataReport, TrainingExample, read_training
from llara.datasets.examples import text_id
from llara.errors import InputError


def test_flagembedding_passages_get_digests_and_queries_their_places_for_ids(tmp_path):
    path = write(
        tmp_path / "a.jsonl", "\n" + jsonl({"query": "what purrs?", "pos": ["Cats."], "neg": ["Dogs."]})
    )
    (found,) = read_training(path)
    assert found.query_id == found.where == f"{path}:2"
    assert found.positives == (Document(text_id("Cats."), "Cats."),)
    assert found.negatives == (Document(text_id("Dogs."), "Dogs."),)
    assert found.positive_scores is None
    assert found.negative_scores is None


def test_flagembedding_scores_and_ids_are_read(tmp_path):
    record = {
        "id": 7,
        "query": "q",
        "pos": ["a"],
        "neg": ["b", "c"],
        "pos_scores": [2],
        "neg_scores": [0.5, -1],
    }
    (found,) = read_training(write(tmp_path / "a.jsonl", jsonl(record)))
    assert found.query_id == "7"
    assert (found.positive_scores, found.negative_scores) == ((2.0,), (0.5, -1.0))


def test_tevatron_passages_have_ids_titles_and_scores(tmp_path):
    record = tevatron(
        positive_passages=[passage(1, "Cats purr.", title="Cats", score=3)],
        negative_passages=[
            passage("2", "a", title="-", score=0.5),
            passage("3", "b", title=None, score=0.25),
        ],
    )
    assert list(read_training(write(tmp_path / "a.jsonl", jsonl(record)))) == [
        example(
            positives=(Document("1", "Cats purr.", "Cats"),),
            negatives=(Document("2", "a"), Document("3", "b")),
            positive_scores=(3.0,),
            negative_scores=(0.5, 0.25),
        )
    ]


def test_a_compressed_file_is_read(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(jsonl(tevatron()).encode()))
    assert list(read_training(tmp_path / "a.jsonl.gz")) == [example()]


@pytest.mark.parametrize(("text_key", "id_key"), [("query_text", "docid"), ("query", "_id")])
def test_ids_are_looked_up_in_the_corpus_given(tmp_path, text_key, id_key):
    record = {
        "query_id": 1,
        text_key: "q",
        "positive_document_ids": ["d1"],
        "negative_document_ids": [2, "d9"],
    }
    corpus = write(
        tmp_path / "corpus.jsonl",
        jsonl({id_key: "d1", "title": "Cats", "text": "Cats purr."}, {id_key: 2, "text": "x"}),
    )
    report = DataReport()
    path = write(tmp_path / "a.jsonl", jsonl(record))
    assert list(read_training(path, corpus=corpus, report=report)) == [
        TrainingExample("1", "q", (D1,), (Document("2", "x"),))
    ]
    assert kinds(report) == {"unknown_passages": 1}
    assert report.first["unknown_passages"] == f"{path}:1 ('d9')"


def test_passages_of_a_side_and_their_scores_stay_together_when_some_are_left_out(tmp_path):
    record = tevatron(
        positive_passages=[passage("d1", "Cats purr.", title="Cats", score=9)],
        negative_passages=[
            passage("d0", " ", score=1),
            passage("d2", "Dogs bark.", score=2),
            passage("d1", "Cats purr.", title="Cats", score=3),
            passage("d5", "Cats purr.", title="Cats", score=4),
            passage("d2", "Dogs bark.", score=5),
            passage("d3", "Fish.", score=6),
        ],
    )
    report = DataReport()
    assert list(read_training(write(tmp_path / "a.jsonl", jsonl(record)), report=report)) == [
        example(negatives=(D2, Document("d3", "Fish.")), positive_scores=(9.0,), negative_scores=(2.0, 6.0))
    ]
    assert kinds(report) == {"blank_passages": 1, "positive_negatives": 2, "repeated_passages": 1}


def test_a_query_that_comes_again_is_left_out_and_one_without_negatives_kept(tmp_path):
    report = DataReport()
    lines = jsonl(
        tevatron(),
        tevatron(),
        tevatron("q2", "?", negative_passages=[]),
        tevatron("q3", positive_passages=[]),
        tevatron("q4", " "),
    )
    found = list(read_training(write(tmp_path / "a.jsonl", lines), report=report))
    assert [e.query_id for e in found] == ["q1", "q2"]
    assert kinds(report) == {
        "repeated_queries": 1,
        "without_negative": 1,
        "without_positive": 1,
        "blank_queries": 1,
    }
    assert str(report).splitlines() == [
        "2 queries with 2 positives and 1 negative",
        f"  queries without a negative, kept: 1, the first at {tmp_path}/a.jsonl:3",
        f"  queries without a positive, left out: 1, the first at {tmp_path}/a.jsonl:4",
        f"  blank queries, left out: 1, the first at {tmp_path}/a.jsonl:5",
        f"  queries whose id and text came before, left out: 1, the first at {tmp_path}/a.jsonl:2",
    ]


def test_lines_are_read_as_they_are_asked_for(tmp_path):
    path = write(tmp_path / "a.jsonl", jsonl(tevatron()) + "{")
    examples = read_training(path)
    assert next(examples) == example()
    with pytest.raises(InputError, match=r"a\.jsonl:2: not JSON"):
        next(examples)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; expected records"),
        ("[1]", r"a\.jsonl:1: holds a JSON list"),
        ('{"query": ' + "9" * 4301 + "}", r"a\.jsonl:1: holds a whole number of more than 4,300 digits"),
        (
            jsonl({"question": "q", "answers": []}),
            r"1: the keys 'question', 'answers' are of no known layout; expected query, pos, neg \(Flag.*",
        ),
        (
            jsonl({"query": "q", "pos": ["a"], "pos_scores": [1, 2]}),
            r"a\.jsonl:1: 2 scores for 1 positive passages",
        ),
        (jsonl({"query": "q", "pos": ["a"], "neg": ["b"], "neg_scores": []}), "0 scores for 1 negative"),
        (
            jsonl({"query": "q", "pos": ["a"], "pos_scores": ["1"]}),
            r"1: pos_scores\[0\] holds '1'; expected a num",
        ),
        (
            jsonl({"query": "q", "pos": ["a"], "pos_scores": [float("nan")]}),
            "the score nan of a positive passage",
        ),
        (jsonl({"query": "q", "pos": "a"}), r"a\.jsonl:1: pos holds 'a'; expected a list"),
        (jsonl({"query": "q", "pos": [None]}), r"a\.jsonl:1: pos\[0\]: the field 'text' holds None"),
        (jsonl({"query": "q", "pos": ["a"]}, {"pos": ["a"]}), r"a\.jsonl:2: no key 'query'"),
        (jsonl({"query": "q", "pos": ["a"]}, {"query": "p"}), r"a\.jsonl:2: no key 'pos'"),
        (
            jsonl(tevatron(), tevatron(query="another")),
            r"a\.jsonl:2: the query id 'q1' has another text above",
        ),
        (
            jsonl(tevatron(positive_passages=["d1"])),
            r"1: positive_passages\[0\] holds 'd1'; expected an object",
        ),
        (
            jsonl(tevatron(positive_passages=[{"docid": "1"}])),
            r"positive_passages\[0\]: the keys are 'docid'; exp",
        ),
        (
            jsonl(tevatron(negative_passages=[passage("1", "a", score=1), passage("2", "b")])),
            r"the scores of negative_passages\[1\] holds None; expected a number for each passage or",
        ),
        (jsonl({"query": "q", "positive_document_ids": ["1"]}), "the passages are ids; name the corpus"),
        (jsonl(tevatron(positive_passages=[])), "no query there can be trained on; 0 queries"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_with_its_place(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        list(read_training(write(tmp_path / "a.jsonl", content)))


def test_a_passage_id_that_is_none_is_an_error(tmp_path):
    corpus = write(tmp_path / "c.jsonl", jsonl({"docid": "1", "text": "x"}))
    path = write(tmp_path / "a.jsonl", jsonl({"query_id": "1", "query": "q", "positive_document_ids": [1.5]}))
    with pytest.raises(
        InputError, match=r"a\.jsonl:1: positive_document_ids\[0\] holds 1\.5; expected the id"
    ):
        list(read_training(path, corpus=corpus))


@pytest.mark.parametrize("name", ["none.jsonl", "none/at/all", "x" * 300])
def test_a_source_that_is_not_there_is_an_error(tmp_path, name):
    with pytest.raises(
        InputError, match=r"no such file or folder; expected a directory in BEIR's|cannot be read"
    ):
        read_training(tmp_path / name)


def test_a_file_or_folder_of_another_kind_is_an_error(tmp_path):
    write(tmp_path / "a.txt", "x")
    for source in (tmp_path, tmp_path / "a.txt"):
        with pytest.raises(InputError, match="in no known layout; expected a directory in BEIR's layout"):
            read_training(source)
