"""Training examples: every layout they are read from, what is left out and counted, and writing."""

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llara.corpus import Document
from llara.datasets import DataReport, TrainingExample, check_training_file, read_training, write_training
from llara.datasets.examples import text_id, wanted_passages
from llara.errors import InputError, MissingExtraError, OutputError
from llara.mine.pools import passages_to_search

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


# -- BEIR


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


# -- JSON lines


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


# -- MS MARCO


def msmarco(folder: Path, **files: str) -> Path:
    contents = {
        "collection.tsv": '0\tNot asked for.\n1\tCats "purr".\n2\tDogs bark.\n3\tFish.\n',
        "queries.train.tsv": "10\twhat purrs?\n11\twhat barks?\n",
        "qrels.train.tsv": "10\t0\t1\t1\n11 0 2 1\n",
    } | {name.replace("__", "."): content for name, content in files.items()}
    for name, content in contents.items():
        if content:
            write(folder / name, content)
    return folder


CATS, DOGS, FISH = Document("1", 'Cats "purr".'), Document("2", "Dogs bark."), Document("3", "Fish.")


def test_msmarco_qrels_give_positives(tmp_path):
    assert list(read_training(msmarco(tmp_path))) == [
        TrainingExample("10", "what purrs?", (CATS,)),
        TrainingExample("11", "what barks?", (DOGS,)),
    ]


def test_triples_of_ids_add_negatives_to_the_qrels(tmp_path):
    folder = msmarco(tmp_path)
    (folder / "qidpidtriples.train.full.2.tsv.gz").write_bytes(
        gzip.compress(b"10\t1\t2\n10\t1\t3\n10\t1\t2\n11\t3\t1\n")
    )
    report = DataReport()
    found = list(read_training(folder, report=report))
    assert found == [
        TrainingExample("10", "what purrs?", (CATS,), (DOGS, FISH)),
        TrainingExample("11", "what barks?", (DOGS, FISH), (CATS,)),
    ]
    assert kinds(report) == {}


def test_a_file_of_triples_of_ids_is_a_source_with_the_files_beside_it(tmp_path):
    triples = write(msmarco(tmp_path) / "qidpidtriples.train.small.tsv", "11\t2\t1\n")
    assert list(read_training(triples)) == [TrainingExample("11", "what barks?", (DOGS,), (CATS,))]


def test_triples_of_texts_are_streamed_with_following_lines_of_a_query_as_one(tmp_path):
    triples = write(
        tmp_path / "triples.train.small.tsv",
        "what purrs?\tCats.\tDogs.\nwhat purrs?\tCats.\tFish.\n狗?\t狗叫。\t猫。\n"
        "what purrs?\tCats.\tBirds.\n",
    )
    found = list(read_training(triples))
    assert [(e.query_id, e.query) for e in found] == [
        (f"{triples}:1", "what purrs?"),
        (f"{triples}:3", "狗?"),
        (f"{triples}:4", "what purrs?"),
    ]
    assert [[p.text for p in e.positives] for e in found] == [["Cats."], ["狗叫。"], ["Cats."]]
    assert [[p.text for p in e.negatives] for e in found] == [["Dogs.", "Fish."], ["猫。"], ["Birds."]]
    assert list(read_training(tmp_path)) == found


def test_triples_of_chinese_texts_are_not_taken_for_ids(tmp_path):
    (found,) = read_training(write(tmp_path / "triples.tsv", "狗?\t狗叫\t猫\n"))
    assert found.positives[0].text == "狗叫"


def test_documents_have_titles(tmp_path):
    folder = tmp_path
    write(folder / "msmarco-docs.tsv", "D1\thttps://a.b\tCats\tCats purr.\nD2\thttps://a.b\t\tDogs.\n")
    write(folder / "msmarco-doctrain-queries.tsv", "10\twhat purrs?\n")
    write(folder / "msmarco-doctrain-qrels.tsv", "10 0 D1 1\n10 0 D2 0\n")
    assert list(read_training(folder)) == [
        TrainingExample(
            "10", "what purrs?", (Document("D1", "Cats purr.", "Cats"),), (Document("D2", "Dogs."),)
        )
    ]


def test_msmarco_without_its_collection_takes_the_corpus_given(tmp_path):
    folder = msmarco(tmp_path / "m", collection__tsv="")
    corpus = write(tmp_path / "c.tsv", "1\tCats.\n2\tDogs.\n")
    assert [e.positives[0].text for e in read_training(folder, corpus=corpus)] == ["Cats.", "Dogs."]
    with pytest.raises(InputError, match=r"no collection\.tsv there; add it, or name the corpus"):
        read_training(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"queries.train.tsv": ""}, r"no queries\.train\.tsv there"),
        ({"queries.train.tsv": "10\n"}, r"queries\.train\.tsv:1: 1 tab-separated cells; expected two"),
        ({"qrels.train.tsv": ""}, r"no judgements of the split 'train'"),
        ({"qrels.train.tsv": "10\t1\t1\n"}, r"qrels\.train\.tsv:1: '10\\t1\\t1' is no judgement"),
        ({"collection.tsv": "1\n"}, r"collection\.tsv:1: 1 tab-separated cells"),
        ({"triples.train.tsv": "10\t1\n"}, r"triples\.train\.tsv:1: 2 tab-separated cells; expected three"),
        (
            {"qidpidtriples.train.a.tsv": "10\t1\t2\n", "qidpidtriples.train.b.tsv": "10\t1\t2\n"},
            r"several files of triples \(qidpidtriples\.train\.a\.tsv, qidpidtriples\.train\.b\.tsv\)",
        ),
    ],
)
def test_msmarco_files_that_cannot_be_used_are_errors(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        list(read_training(msmarco(tmp_path, **files)))


# -- names


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_folder_laid_out_as_a_hugging_face_dataset_is_read_by_split(tmp_path, suffix):
    datasets = pytest.importorskip("datasets")
    sides = {"negative_passages": [passage("d2", "Dogs bark.", title="")]}
    for split, query in (("train", "what purrs?"), ("test", "another")):
        rows = datasets.Dataset.from_list([tevatron("q1", query, **sides)])
        path = tmp_path / f"{split}.{suffix}"
        rows.to_json(path) if suffix == "jsonl" else rows.to_parquet(path)
    assert list(read_training(tmp_path)) == [example()]
    assert next(read_training(tmp_path, split="test")).query == "another"
    with pytest.raises(InputError, match="the split 'dev' of the dataset cannot be read"):
        list(read_training(tmp_path, split="dev"))


def test_a_hugging_face_name_is_streamed_and_its_layout_told_by_its_keys(monkeypatch):
    datasets = pytest.importorskip("datasets")
    calls = []

    def load_dataset(name: str, config: str | None, *, split: str, streaming: bool) -> Iterator[dict]:
        calls.append((name, config, split, streaming))
        columns = {"docid": ["d1"], "title": ["Cats"], "text": ["Cats purr."]}
        return iter([tevatron(positive_passages=columns)])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    (found,) = read_training("someone/questions:en", split="dev")
    assert found == example()
    assert found.where == "someone/questions:1"
    assert set(calls) == {("someone/questions", "en", "dev", True)}


def test_without_ir_datasets_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(MissingExtraError, match=r"ir_datasets is not installed.*llara\[ir-datasets\]"):
        list(read_training("ir_datasets:x"))


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    ir_datasets = pytest.importorskip("ir_datasets")
    monkeypatch.setenv("IR_DATASETS_HOME", str(tmp_path / "home"))
    registry = ir_datasets.registry._registered
    before = dict(registry)
    yield ir_datasets
    registry.clear()
    registry.update(before)


def test_a_dataset_of_the_catalogue_is_read_by_id(tmp_path, catalogue):
    dataset = catalogue.create_dataset(
        docs_tsv=str(write(tmp_path / "docs.tsv", "0\tNot asked for.\n1\tCats.\n2\tDogs.\n")),
        queries_tsv=str(write(tmp_path / "queries.tsv", "10\twhat purrs?\n")),
        qrels_trec=str(write(tmp_path / "qrels", "10 0 1 2\n10 0 2 0\n10 0 9 1\n")),
    )
    catalogue.registry.register("pets/train", dataset)
    report = DataReport()
    assert list(read_training("ir_datasets:pets/train", report=report)) == [
        TrainingExample("10", "what purrs?", (Document("1", "Cats."),), (Document("2", "Dogs."),))
    ]
    assert report.first["unknown_passages"] == "ir_datasets:pets/train: qrel 1 ('9')"
    searched = passages_to_search("ir_datasets:pets/train")
    assert [passage.text for passage in searched] == ["Not asked for.", "Cats.", "Dogs."]


def test_a_dataset_of_the_catalogue_that_cannot_be_used_is_an_error(tmp_path, catalogue):
    with pytest.raises(InputError, match="ir_datasets:no/such: no such data set in the catalogue"):
        read_training("ir_datasets:no/such")
    queries = catalogue.create_dataset(queries_tsv=str(write(tmp_path / "queries.tsv", "10\twhat?\n")))
    catalogue.registry.register("pets/queries", queries)
    with pytest.raises(InputError, match="ir_datasets:pets/queries: has no documents"):
        read_training("ir_datasets:pets/queries")


# -- writing


def test_what_is_written_is_read_back_equal(tmp_path):
    examples = [
        example(positive_scores=(1.5,), negative_scores=(-0.1,)),
        example(query_id="q2", query='狗 "x"\t?', negatives=()),
        example(query_id="q3", negative_scores=(1e-30,)),
    ]
    assert write_training(tmp_path / "sub" / "a.jsonl", iter(examples)) == 3
    assert list(read_training(tmp_path / "sub" / "a.jsonl")) == examples
    assert json.loads((tmp_path / "sub" / "a.jsonl").read_text(encoding="utf-8").splitlines()[2]) == {
        "query_id": "q3",
        "query": "what purrs?",
        "positive_passages": [{"docid": "d1", "title": "Cats", "text": "Cats purr."}],
        "negative_passages": [{"docid": "d2", "title": "", "text": "Dogs bark.", "score": 1e-30}],
    }


def test_a_file_is_overwritten_only_if_asked(tmp_path):
    path = tmp_path / "a.jsonl"
    write_training(path, [example()])
    with pytest.raises(OutputError, match=r"a\.jsonl exists; choose another path or pass --overwrite"):
        write_training(path, [example(query="other")])
    assert list(read_training(path)) == [example()]
    write_training(path, [example(query="other")], overwrite=True)
    assert next(read_training(path)).query == "other"


def test_a_failure_leaves_nothing_or_the_file_of_before(tmp_path):
    def failing() -> Iterator[TrainingExample]:
        yield example()
        raise InputError("a.jsonl:2: not JSON")

    path = tmp_path / "a.jsonl"
    with pytest.raises(InputError, match="not JSON"):
        write_training(path, failing())
    assert list(tmp_path.iterdir()) == []
    path.write_text("before", encoding="utf-8")
    with pytest.raises(InputError, match="not JSON"):
        write_training(path, failing(), overwrite=True)
    assert [p.read_text(encoding="utf-8") for p in tmp_path.iterdir()] == ["before"]


def test_no_example_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no example to write"):
        write_training(tmp_path / "a.jsonl", [])
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_told_before_there_is_anything_to_write(tmp_path):
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(OutputError, match="is a directory, expected a file"):
        check_training_file(tmp_path / "folder.jsonl")
    with pytest.raises(OutputError, match=r"name it so, such as a\.jsonl"):
        check_training_file(tmp_path / "a.tsv")
    check_training_file(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positive_scores": (1.0, 2.0)}, "query 'q1': 2 scores for 1 positive passages"),
        ({"negative_scores": (float("inf"),)}, "query 'q1': the score inf of a negative passage"),
    ],
)
def test_an_example_has_a_finite_score_for_each_passage(changes, message):
    with pytest.raises(InputError, match=message):
        example(**changes)


def test_a_side_without_passages_has_no_scores():
    assert example(negatives=(), negative_scores=()).negative_scores is None
