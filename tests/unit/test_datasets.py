"""Collections in BEIR's layout, and files of queries."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from llara.corpus import Document
from llara.datasets import Collection, read_beir, read_qrels, read_queries, write_beir
from llara.errors import InputError, OutputError

CORPUS = [
    {"_id": "d1", "title": "Cats", "text": "Cats purr."},
    {"_id": "d2", "title": "", "text": "狗叫。"},
    {"_id": "d3", "text": "Nobody asks for this."},
]
QUERIES = [
    {"_id": "q1", "text": "what purrs?"},
    {"_id": "q2", "text": "狗?"},
    {"_id": "q3", "text": "judged elsewhere"},
]
QRELS = "query-id\tcorpus-id\tscore\nq2\td2\t2\nq1\td1\t1\nq1\td2\t0\n"


def lines(records: list[dict]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    (tmp_path / "corpus.jsonl").write_text(lines(CORPUS), encoding="utf-8")
    (tmp_path / "queries.jsonl").write_text(lines(QUERIES), encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text(QRELS, encoding="utf-8")
    return tmp_path


def collection(**changes: Any) -> Collection:
    parts: dict[str, Any] = {
        "name": "pets",
        "corpus": {"d1": Document("d1", "Cats purr.", "Cats"), "d2": Document("d2", "狗叫。")},
        "queries": {"q1": "what purrs?"},
        "qrels": {"q1": {"d1": 1}},
    }
    return Collection(**(parts | changes))


# -- reading


def test_a_split_has_its_judged_queries_and_the_whole_corpus(beir):
    found = read_beir(beir, "test")
    assert found.name == beir.name
    assert found.qrels == {"q2": {"d2": 2}, "q1": {"d1": 1, "d2": 0}}
    assert found.queries == {"q2": "狗?", "q1": "what purrs?"}
    assert list(found.corpus) == ["d1", "d2", "d3"]
    assert found.corpus["d1"] == Document("d1", "Cats purr.", "Cats")


def test_compressed_files_are_found(beir):
    for name in ("corpus.jsonl", "queries.jsonl"):
        (beir / f"{name}.gz").write_bytes(gzip.compress((beir / name).read_bytes()))
        (beir / name).unlink()
    assert len(read_beir(beir).corpus) == 3


def test_passages_of_one_title_stay_apart(beir):
    (beir / "corpus.jsonl").write_text(
        lines([{"_id": f"d{n}", "title": "Same", "text": "x"} for n in (1, 2)]), encoding="utf-8"
    )
    assert not any(document.continues for document in read_beir(beir).corpus.values())


def test_judgements_are_read_without_a_header_too(tmp_path):
    (tmp_path / "q.tsv").write_bytes(b"q1\td1\t1\r\n\r\nq1\td2\t-1\r\n")
    assert read_qrels(tmp_path / "q.tsv") == {"q1": {"d1": 1, "d2": -1}}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("corpus.jsonl", None, r"no corpus\.jsonl there; expected BEIR's layout"),
        (
            "corpus.jsonl",
            lines(CORPUS + CORPUS[:1]),
            r"corpus\.jsonl:4: the id 'd1' comes twice, first at .*corpus\.jsonl:1;",
        ),
        (
            "corpus.jsonl",
            lines([{"_id": "7", "text": "x"}]),
            r"no judged document, such as 'd2' \(.*test\.tsv:2\), is in the corpus, where .* such as '7'",
        ),
        ("queries.jsonl", None, r"no queries\.jsonl there"),
        ("queries.jsonl", lines(QUERIES[:1]), "1 query is judged in qrels/test.tsv, such as 'q2'"),
        (
            "queries.jsonl",
            lines([*QUERIES, {"_id": "q1", "text": "other"}]),
            r"queries\.jsonl:4: the id 'q1' comes twice, first at .*queries\.jsonl:1;",
        ),
        (
            "queries.jsonl",
            lines([QUERIES[0], {"_id": "q2", "text": " "}]),
            r"queries\.jsonl:2: the query 'q2' is blank; expected some words",
        ),
        ("qrels/test.tsv", None, "no split 'test'.*the splits there are: dev"),
        ("qrels/test.tsv", "q1\td1\n", r"test\.tsv:1: 'q1\\td1' is no judgement"),
        ("qrels/test.tsv", "q1\td1\t0.5\n", r"test\.tsv:1: .* is no judgement"),
        ("qrels/test.tsv", QRELS + "q1\td1\t0\n", r"test\.tsv:5: .*judged otherwise above"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\n", "holds no judgement"),
    ],
)
def test_what_is_wrong_with_a_collection_is_said(beir, name, content, message):
    (beir / "qrels" / "dev.tsv").write_text(QRELS, encoding="utf-8")
    (beir / name).unlink()
    if content is not None:
        (beir / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_beir(beir, "test")


def test_a_missing_directory_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such directory; expected one in BEIR's layout"):
        read_beir(tmp_path / "none")


def test_a_blank_query_that_is_not_judged_is_left_out(beir):
    (beir / "queries.jsonl").write_text(lines([*QUERIES, {"_id": "q4", "text": ""}]), encoding="utf-8")
    assert list(read_beir(beir).queries) == ["q2", "q1"]


def test_judged_documents_that_the_corpus_lacks_stay_judged_with_a_warning(beir):
    (beir / "corpus.jsonl").write_text(lines(CORPUS[1:]), encoding="utf-8")
    with pytest.warns(UserWarning, match=r"1 of 2 judged documents, such as 'd1' \(.*test\.tsv:3\)"):
        found = read_beir(beir)
    assert found.qrels["q1"] == {"d1": 1, "d2": 0}


# -- queries


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "q.jsonl",
            '{"_id": "a", "text": "one?"}\n{"_id": "b", "text": "two?"}\n',
            {"a": "one?", "b": "two?"},
        ),
        ("q.tsv", "7\tone?\n8\ttwo?\n", {"7": "one?", "8": "two?"}),
        ("q.tsv", "text\tid\none?\t7\n", {"7": "one?"}),
        ("q.txt", "one?\n\n  two? \n", {"1": "one?", "3": "two?"}),
    ],
)
def test_queries_are_read_from_json_lines_tsv_and_plain_lines(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_queries(tmp_path / name) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.jsonl", '{"_id": "a", "text": " "}', r"q\.jsonl:1: the query 'a' is blank"),
        ("q.tsv", "1\ta\n1\tb\n", r"q\.tsv:2: the id '1' comes twice, first at .*q\.tsv:1;"),
        ("q.txt", "\n", "holds no query; expected one a line"),
        ("q.jsonl", "", "is empty"),
        ("q.jsonl", "{", r"q\.jsonl:1: not JSON"),
    ],
)
def test_a_bad_file_of_queries_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_queries(tmp_path / name)


def test_a_missing_or_wrong_path_of_queries_is_an_error(tmp_path):
    for name in ("none.jsonl", "none.txt"):
        with pytest.raises(InputError, match="no such file"):
            read_queries(tmp_path / name)
    with pytest.raises(InputError, match="is a directory; expected a file of queries"):
        read_queries(tmp_path)


# -- writing


def test_what_is_written_is_read_back_split_by_split(tmp_path):
    train = collection(queries={"q9": "谁?"}, qrels={"q9": {"d2": 3}})
    write_beir(tmp_path / "pets", {"test": collection(), "train": train})
    assert read_beir(tmp_path / "pets", "test") == collection()
    assert read_beir(tmp_path / "pets", "train") == train


def test_nothing_is_overwritten_unless_asked(tmp_path):
    write_beir(tmp_path / "pets", {"test": collection()})
    with pytest.raises(OutputError, match="exists"):
        write_beir(tmp_path / "pets", {"dev": collection()})
    write_beir(tmp_path / "pets", {"dev": collection()}, overwrite=True)
    assert [path.name for path in (tmp_path / "pets" / "qrels").iterdir()] == ["dev.tsv"]


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({}, "no collection to write"),
        ({"a/b": collection()}, "the split 'a/b' cannot name a file"),
        ({"test": collection(qrels={"q7": {"d1": 1}})}, "judges the query 'q7', which its collection lacks"),
        (
            {"test": collection(qrels={"q1": {"d7": 1}})},
            "judges the document 'd7', which its collection lacks",
        ),
        ({"test": collection(queries={"q1": "x", "q\t2": "y"})}, r"the id 'q\\t2' holds a tab or line end"),
        (
            {"test": collection(), "dev": collection(queries={"q1": "other"})},
            "the query 'q1' differs between splits",
        ),
    ],
)
def test_a_collection_that_does_not_hold_together_is_not_written(tmp_path, splits, message):
    with pytest.raises(InputError, match=message):
        write_beir(tmp_path / "pets", splits)
    assert list(tmp_path.iterdir()) == []
