"""Any collection opened by name: what is checked, what is known as a benchmark, and suites of them."""

import json
import tracemalloc
from pathlib import Path

import pytest

from llara.corpus import Document
from llara.datasets import is_suite, official_measures, open_collection, read_beir, suite
from llara.errors import ConfigError, InputError

CORPUS = [
    {"_id": "d1", "title": "Cats", "text": "Cats purr."},
    {"_id": "d2", "title": "", "text": "狗叫。"},
    {"_id": "d3", "text": "Nobody asks for this."},
]
QUERIES = [
    {"_id": "q1", "text": "what purrs?"},
    {"_id": "q2", "text": "狗?"},
    {"_id": "q3", "text": ""},
]
QRELS = "query-id\tcorpus-id\tscore\nq2\td2\t2\nq1\td1\t1\nq1\td2\t0\n"


def lines(records: list[dict[str, str]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def write_collection(folder: Path, *, split: str = "test") -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(lines(CORPUS), encoding="utf-8")
    (folder / "queries.jsonl").write_text(lines(QUERIES), encoding="utf-8")
    (folder / "qrels" / f"{split}.tsv").write_text(QRELS, encoding="utf-8")
    return folder


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_collection(tmp_path / "pets")


# -- a directory in BEIR's layout


def test_a_directory_is_opened_as_it_is_read_into_memory(pets):
    found, whole = open_collection(str(pets)), read_beir(pets)
    assert (found.name, found.split, found.benchmark) == ("pets", "test", None)
    assert found.queries == whole.queries == {"q2": "狗?", "q1": "what purrs?"}
    assert found.qrels == whole.qrels == {"q2": {"d2": 2}, "q1": {"d1": 1, "d2": 0}}
    assert list(found.documents()) == list(whole.corpus.values())
    assert found.num_documents == 3
    assert not found.ignore_identical_ids


def test_documents_stream_anew_at_each_call(pets):
    found = open_collection(pets)
    first = iter(found.documents())
    assert next(first) == Document("d1", "Cats purr.", "Cats")
    assert [document.id for document in found.documents()] == ["d1", "d2", "d3"]
    assert [document.id for document in first] == ["d2", "d3"]


def test_memory_does_not_grow_with_the_texts(pets):
    text = "word " * 2000
    num_documents = 2000  # 20 MB of text
    with (pets / "corpus.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(lines([{"_id": str(n), "text": text}]) for n in range(num_documents))
    open_collection(pets)  # modules are imported by now
    tracemalloc.start()
    assert sum(len(document.text) for document in open_collection(pets).documents()) > 20e6
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", None, r"no corpus\.jsonl there; expected BEIR's layout"),
        ("corpus.jsonl", "", "the corpus is empty"),
        (
            "corpus.jsonl",
            lines(CORPUS + CORPUS[1:2]),
            r"corpus\.jsonl:4: the id 'd2' comes twice, first at .*corpus\.jsonl:2;",
        ),
        (
            "corpus.jsonl",
            lines(CORPUS[2:]),
            r"no judged document, such as 'd2' \(.*test\.tsv:2\), is in the corpus, where .* such as 'd3'",
        ),
        ("queries.jsonl", None, r"no queries\.jsonl there"),
        ("queries.jsonl", lines(QUERIES[:1]), r"1 query is judged in qrels/test\.tsv, such as 'q2'"),
        (
            "queries.jsonl",
            lines([{"_id": "q1", "text": " "}, *QUERIES]),
            r"queries\.jsonl:1: the query 'q1' is blank",
        ),
        (
            "queries.jsonl",
            lines([*QUERIES, {"_id": "q1", "text": "other"}]),
            r"queries\.jsonl:4: the id 'q1' comes twice, first at .*queries\.jsonl:1;",
        ),
        ("qrels/test.tsv", None, "no split 'test'.*the splits there are: dev"),
        ("qrels/test.tsv", "q1\td1\n", r"test\.tsv:1: .* is no judgement"),
    ],
)
def test_what_is_wrong_with_a_directory_is_said_when_it_is_opened(pets, name, content, message):
    (pets / "qrels" / "dev.tsv").write_text(QRELS, encoding="utf-8")
    (pets / name).unlink()
    if content is not None:
        (pets / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        open_collection(pets)


def test_judged_documents_that_the_corpus_lacks_stay_judged_with_a_warning(pets):
    (pets / "corpus.jsonl").write_text(lines(CORPUS[1:]), encoding="utf-8")
    message = r"1 of 2 judged documents, such as 'd1' \(.*test\.tsv:3\), are not in the corpus"
    with pytest.warns(UserWarning, match=message) as warned:
        found = open_collection(pets)
    assert found.qrels["q1"] == {"d1": 1, "d2": 0}
    assert warned[0].filename == __file__


def test_ids_of_one_hash_are_told_apart(pets, monkeypatch):
    monkeypatch.setattr("llara.datasets.checks.hash", lambda _: 0, raising=False)
    assert open_collection(pets).num_documents == 3
    (pets / "corpus.jsonl").write_text(lines(CORPUS + CORPUS[:1]), encoding="utf-8")
    with pytest.raises(InputError, match="the id 'd1' comes twice"):
        open_collection(pets)


def test_what_is_no_collection_is_an_error(tmp_path):
    (tmp_path / "file.jsonl").write_text("{}\n")
    for name in (tmp_path / "none", tmp_path / "file.jsonl", "a/b/c"):
        with pytest.raises(InputError, match="no such collection; expected a directory in BEIR's layout"):
            open_collection(name)
    with pytest.raises(InputError, match=r"no split 'test'.*the splits there are: none"):
        open_collection(tmp_path)


# -- benchmarks


@pytest.mark.parametrize(
    ("folder", "split", "benchmark", "ignores"),
    [
        ("arguana", "test", "beir/arguana", True),
        ("Quora", "dev", None, True),
        ("cqadupstack/gis", "test", "beir/cqadupstack/gis", True),
        ("msmarco", "dev", "msmarco-passage/dev", False),
        ("gis", "test", None, False),
    ],
)
def test_a_folder_named_as_a_benchmark_is_known_as_one(tmp_path, folder, split, benchmark, ignores):
    found = open_collection(write_collection(tmp_path / folder, split=split), split)
    assert (found.benchmark, found.ignore_identical_ids) == (benchmark, ignores)


@pytest.mark.parametrize(
    ("benchmark", "measures"),
    [
        ("msmarco-passage/dev", ("RR@10", "R@1000")),
        ("msmarco-passage/trec-dl-2019", ("nDCG@10",)),
        ("msmarco-passage/trec-dl-2020", ("nDCG@10",)),
        ("msmarco-document/dev", ("RR@100", "R@100")),
        ("beir/cqadupstack/gis", ("nDCG@10",)),
        ("pets", ()),
        (None, ()),
    ],
)
def test_a_benchmark_has_the_measures_that_papers_report(benchmark, measures):
    assert official_measures(benchmark) == measures


# -- suites


def test_the_thirteen_of_beir_are_the_papers_in_its_order():
    names = [name.split("/")[1] for name in suite("beir-13")]
    assert names == [
        *("trec-covid", "nfcorpus", "nq", "hotpotqa", "fiqa", "arguana", "webis-touche2020", "quora"),
        *("dbpedia-entity", "scidocs", "fever", "climate-fever", "scifact"),
    ]


@pytest.mark.parametrize("name", ["beir-13", "msmarco"])
def test_every_member_of_a_suite_is_judged_in_the_catalogue(name):
    ir_datasets = pytest.importorskip("ir_datasets")
    for identifier in suite(name):
        dataset = ir_datasets.load(identifier)
        assert all(map(dataset.has, ("docs", "queries", "qrels"))), identifier


def test_a_local_suite_is_every_folder_with_the_split(tmp_path):
    for folder, split in (("b", "test"), ("a", "test"), ("c", "dev")):
        write_collection(tmp_path / folder, split=split)
    (tmp_path / "sentences").mkdir()
    assert suite(f"local:{tmp_path}") == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert suite(f"local:{tmp_path}", "dev") == [str(tmp_path / "c")]
    with pytest.raises(InputError, match=r"holds no folder in BEIR's layout with qrels/train\.tsv"):
        suite(f"local:{tmp_path}", "train")


def test_an_unknown_suite_is_refused_with_the_known(tmp_path):
    assert not is_suite("beir")
    with pytest.raises(ConfigError, match="no suite 'beir'; expected beir-13, msmarco or local:DIR"):
        suite("beir")
