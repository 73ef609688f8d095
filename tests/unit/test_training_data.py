"""Training examples by the name of a dataset, and writing them."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from training_layouts import example, passage, tevatron, write

from llara.corpus import Document
from llara.datasets import DataReport, TrainingExample, check_training_file, read_training, write_training
from llara.errors import InputError, MissingExtraError, OutputError
from llara.mine.pools import passages_to_search

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
    monkeypatch.setattr(datasets, "get_dataset_config_names", lambda _: ["de", "en"])
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
