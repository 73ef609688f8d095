"""Which data sets names mean when they are evaluated, and where they are looked for."""

import pytest

from llara.corpus import Document
from llara.datasets import Collection, StreamedCollection, suite, write_beir
from llara.errors import InputError
from llara.evaluate import evaluate
from llara.evaluate.tasks import RetrievalTask, open_tasks


def small(name, split=None):
    """A collection of that name, as if it had been fetched, with one query, whose id is the name."""
    return StreamedCollection(
        name, {name: "wing"}, {name: {"d": 1}}, lambda: [Document("d", "a wing")], split
    )


@pytest.fixture
def no_hub(monkeypatch):
    """Fails where the Hub is asked."""

    def asked(name, config, split):
        raise AssertionError(f"the Hub was asked for {name}")

    monkeypatch.setattr("llara.evaluate.similarity.hub_records", asked)


@pytest.mark.parametrize("name", ["beir/nq", "beir/trec-covid", "beir/scidocs", "msmarco-document/dev"])
def test_an_id_of_the_catalogue_is_never_asked_of_the_hub(name, no_hub, monkeypatch):
    pytest.importorskip("ir_datasets")
    monkeypatch.setattr("llara.evaluate.tasks.open_collection", small)
    [task] = open_tasks([name], None)
    assert isinstance(task, RetrievalTask)
    assert task.name == name


def test_a_name_that_is_not_in_the_catalogue_is_asked_of_the_hub(monkeypatch):
    asked = []

    def refuse(name, config, split):
        asked.append((name, config, split))
        raise InputError("no such dataset")

    monkeypatch.setattr("llara.evaluate.similarity.hub_records", refuse)
    monkeypatch.setattr("llara.evaluate.tasks.open_collection", small)
    open_tasks(["owner/name:part"], "dev")
    assert asked == [("owner/name", "part", "dev")]


# -- the split that weights are chosen by


@pytest.fixture
def catalogue(monkeypatch):
    pytest.importorskip("ir_datasets")
    monkeypatch.setattr("llara.evaluate.tasks.open_collection", small)


@pytest.mark.parametrize(
    ("name", "split", "tuning"),
    [
        ("beir/fiqa/test", "dev", "beir/fiqa/dev"),
        ("beir/fiqa", "dev", "beir/fiqa/dev"),
        ("ir_datasets:beir/scifact/test", "train", "beir/scifact/train"),
        ("msmarco-passage/dev/small", "train", "msmarco-passage/train"),
        ("msmarco-passage/trec-dl-2019/judged", "dev/2", "msmarco-passage/dev/2"),
        ("msmarco-document/dev", "train", "msmarco-document/train"),
    ],
)
def test_the_tuning_split_of_an_id_that_names_its_own_is_that_of_its_corpus(catalogue, name, split, tuning):
    [task] = open_tasks([name], None, tune_split=split)
    assert isinstance(task, RetrievalTask)
    assert (list(task.collection.queries), list(task.tuning_queries)) == ([name], [tuning])


def test_members_of_a_suite_that_lack_the_tuning_split_are_named_and_have_no_weights(catalogue):
    without = ["beir/trec-covid", "beir/nq", "beir/arguana", "beir/webis-touche2020/v2", "beir/scidocs"]
    without += ["beir/climate-fever", "beir/scifact/test"]
    with pytest.warns(UserWarning, match=f"^no hybrid on {', '.join(without)}: no split 'dev' there"):
        tasks = open_tasks(["beir-13"], None, tune_split="dev")
    assert [task.name for task in tasks] == suite("beir-13")
    assert [
        task.name for task in tasks if isinstance(task, RetrievalTask) and not task.tuning_qrels
    ] == without


def test_data_sets_that_were_named_and_lack_the_tuning_split_are_refused_all_at_once(catalogue):
    names = ["beir/nq", "beir/fiqa/test", "beir/arguana"]
    with pytest.raises(
        InputError, match=r"no split 'dev' to choose weights by in beir/nq, beir/arguana; .*rrf"
    ):
        open_tasks(names, None, tune_split="dev")
    with pytest.raises(InputError, match="no split 'nightly' to choose weights by in beir/trec-covid, "):
        open_tasks(["beir-13"], None, tune_split="nightly")


def test_only_members_of_a_suite_that_have_the_tuning_split_get_a_hybrid(retriever, tmp_path):
    def split(query):
        corpus = {"d1": Document("d1", "wing flow"), "d2": Document("d2", "heat slab")}
        return Collection("", corpus, {query: "wing"}, {query: {"d1": 1}})

    write_beir(tmp_path / "both", {"test": split("q1"), "train": split("q2")})
    write_beir(tmp_path / "one", {"test": split("q1")})
    model = str(retriever.path)
    with pytest.warns(UserWarning, match="no hybrid on .*one: no split 'train'"):
        found = evaluate(
            models=[model], datasets=[f"local:{tmp_path}"], hybrid="weighted", tune_split="train"
        )
    assert [(each.name, each.dataset) for each in found] == [
        ("BM25", "both"),
        ("BM25", "one"),
        (model, "both"),
        (f"{model} + BM25", "both"),
        (model, "one"),
    ]
    assert "weights" in found[3].settings
