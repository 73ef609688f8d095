"""Evaluating the words that vectors hold: what an index with them finds, alone and in hybrids."""

import pytest

from llara.corpus import Document
from llara.datasets import Collection, write_beir
from llara.encode import encode_file
from llara.errors import ConfigError, ModelError
from llara.evaluate import Asked, Reading, evaluate
from llara.fusion import reciprocal_rank_fusion
from llara.indexes import build_index
from llara.model import MINI
from llara.search import Mode, Searcher, run_from_hits

LEXICAL = f"lexical:{MINI}"
TEXTS = {
    "wing": ("Wings", "The wing of an aircraft creates lift in the stream of a propeller."),
    "yeast": ("", "Yeast lives on sugar, and bread rises."),
    "kite": ("Kites", "A kite has no engine: the wind lifts its wing."),
    "river": ("", "The river carries sand to the sea. " * 100 + "Behind what is read: zebra."),
    "none": ("", "..."),
}


@pytest.fixture(scope="module")
def collection():
    return Collection(
        name="c",
        corpus={id_: Document(id=id_, title=title, text=text) for id_, (title, text) in TEXTS.items()},
        queries={"1": "what lifts a wing", "2": "bread and sugar", "3": "sand by the sea", "4": "a zebra"},
        qrels={"1": {"wing": 1, "kite": 1}, "2": {"yeast": 1}, "3": {"river": 1}, "4": {"none": 1}},
    )


@pytest.fixture(scope="module")
def indexed(collection, tmp_path_factory):
    """What an index of the collection finds, by mode."""
    folder = tmp_path_factory.mktemp("indexed")
    write_beir(folder / "data", {"test": collection})
    encode_file(MINI, folder / "data" / "corpus.jsonl", folder / "vectors", role="document")
    searcher = Searcher.open(build_index(folder / "vectors", folder / "index", words=["lexical"]))
    ids, queries = list(collection.queries), list(collection.queries.values())
    modes: tuple[Mode, ...] = ("dense", "lexical")
    return {mode: run_from_hits(ids, searcher.search(queries, 5, mode=mode)) for mode in modes}


def same(run, expected):
    assert run.keys() == expected.keys()
    for query, found in run.items():
        assert found == pytest.approx(expected[query], abs=1e-5)


def test_lexical_rows_are_what_an_index_with_them_finds(collection, indexed):
    [row] = evaluate(models=[LEXICAL], datasets=[collection])
    assert row.name == LEXICAL
    same(row.run, indexed["lexical"])
    assert row.run["4"] == {}  # the model does not read so far
    assert row.settings["model"] == MINI


def test_a_hybrid_with_words_fuses_a_model_with_its_own(collection, indexed):
    rows = evaluate(models=[MINI, "bm25"], datasets=[collection], hybrid="rrf", words="lexical")
    assert [row.name for row in rows] == [MINI, LEXICAL, f"{MINI} + {LEXICAL}", "BM25"]
    dense, lexical, fused, _ = (row.run for row in rows)
    same(dense, indexed["dense"])
    same(lexical, indexed["lexical"])
    same(fused, reciprocal_rank_fusion([dense, lexical], depth=rows[2].settings["depth"]))


def test_of_passages_the_best_one_counts(collection):
    asked = Asked(reading=Reading(passage_words=20))
    [row] = evaluate(models=[LEXICAL], datasets=[collection], asked=asked)
    assert list(row.run["4"]) == ["river"]  # its last passage is read


def test_what_holds_no_words_is_refused(collection, tmp_path):
    for spec in (f"cls:{MINI}", "run:x.trec"):
        with pytest.raises(ConfigError, match=r"holds no words of its own.*--words bm25"):
            evaluate(models=[spec], datasets=[collection], hybrid="rrf", words="lexical")
    (tmp_path / "plain").mkdir()
    with pytest.raises(ModelError, match=r"plain"):
        evaluate(models=[f"lexical:{tmp_path / 'plain'}"], datasets=[collection])
    with pytest.raises(ConfigError, match="after the colon"):
        evaluate(models=["lexical:"], datasets=[collection])
