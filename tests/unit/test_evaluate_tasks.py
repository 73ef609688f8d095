"""Which data sets names mean when they are evaluated, and where they are looked for."""

import pytest

from llara.corpus import Document
from llara.datasets import StreamedCollection
from llara.errors import InputError
from llara.evaluate.tasks import RetrievalTask, open_tasks


def small(name, split=None):
    """A collection of that name, as if it had been fetched."""
    return StreamedCollection(name, {"q": "wing"}, {"q": {"d": 1}}, lambda: [Document("d", "a wing")], split)


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
