"""What is no list of texts is refused wherever texts are taken, in our own words."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llara.corpus import Document
from llara.encode import encode_file, encode_texts
from llara.encoder import Encoder
from llara.errors import InputError
from llara.indexes import build_index, delete_from_index, open_index
from llara.lexical import Bm25Index
from llara.search import Bm25, Searcher
from llara.unicode import check_texts

Taker = Callable[[Any], Any]
TAKERS = ("encode_texts", "encoder", "dense", "bm25", "hybrid", "index_words", "memory")
BAD: dict[str, tuple[Any, str]] = {
    "one string": ("wing lift", r"is the string 'wing lift', expected a list; write \['wing lift'\]"),
    "bytes": (b"wing", r"is the string b'wing', expected a list"),
    "half a pair": (["wing", "a\ud800"], r"\[1\] is not Unicode text \(.*surrogates.*\); expected UTF-8"),
    "half of many": (["wing"] * 3000 + ["翼\udcff"], r"\[3000\] is not Unicode text"),
    "none": (["wing", None], r"\[1\] is None, expected a string"),
    "number": ([5], r"\[0\] is 5, expected a string"),
    "nothing": (None, r"is a NoneType, expected a list"),
    "set": ({"wing"}, r"is a set, expected a list"),
    "generator": ((each for each in ["wing"]), r"is a generator, expected a list"),
    "mapping": ({"q1": "wing"}, r"is a dict, expected a list"),
}


@pytest.fixture(scope="module")
def place(retriever, tmp_path_factory) -> Path:
    place: Path = tmp_path_factory.mktemp("texts")
    rows = [{"id": id_, "text": text} for id_, text in {"d1": "wing slipstream", "d": "heat"}.items()]
    (place / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    encode_file(str(retriever.path), place / "corpus.jsonl", place / "vectors", role="document")
    return build_index(place / "vectors", place / "index", words=["bm25"])


@pytest.fixture(scope="module")
def takers(retriever, place) -> dict[str, Taker]:
    searcher, encoder = Searcher.open(place), Encoder(retriever.model)
    memory = Bm25([Document("d1", "wing slipstream")])
    return {
        "encode_texts": lambda texts: encode_texts(retriever.model, texts, role="query"),
        "encoder": lambda texts: encoder.encode(texts, role="document"),
        "dense": searcher.search,
        "bm25": partial(searcher.search, mode="bm25"),
        "hybrid": partial(searcher.search, mode="hybrid"),
        "index_words": lambda texts: searcher.stored.search_words("bm25", texts, 1),  # type: ignore[attr-defined]
        "memory": memory.search,
    }


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("case", BAD)
def test_what_is_no_list_of_texts_is_refused(takers: dict[str, Taker], taker: str, case: str) -> None:
    given, message = BAD[case]
    with pytest.raises(InputError, match=message):
        takers[taker](given)


@pytest.mark.parametrize("taker", TAKERS)
def test_other_sequences_of_texts_are_taken(takers: dict[str, Taker], taker: str) -> None:
    for given in (["wing", "翼 😀"], ("wing", ""), np.array(["wing", "heat"]), []):
        assert len(takers[taker](given)) == len(given)


def test_one_string_is_no_collection_of_texts_and_no_list_of_ids(place: Path) -> None:
    with pytest.raises(InputError, match="texts is the string 'wing lift'"):
        Bm25Index("wing lift")
    with pytest.raises(InputError, match=r"ids is the string 'd1', expected a list; write \['d1'\]"):
        delete_from_index(place, "d1")
    assert len(open_index(place)) == 2  # the document "d" too


def test_a_long_string_is_not_printed_whole() -> None:
    for given in ("wing " * 1000, [["wing"] * 1000]):
        with pytest.raises(InputError) as caught:
            check_texts(given)  # type: ignore[arg-type]
        assert len(str(caught.value)) < 200
