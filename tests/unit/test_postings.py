"""Postings against dictionaries: built, written, opened, one behind the other."""

import os
from collections import Counter

import numpy as np
import pytest

from llara.errors import InputError
from llara.postings import Postings


def counted(number: int, seed: int) -> list[Counter[str]]:
    generator = np.random.default_rng(seed)
    letters = [
        "wing",
        "lift",
        "流",
        "é",
        "a" * 40,
        "\ud800",
    ]  # the last is half a character, as JSON can hold
    return [Counter(generator.choice(letters, size=generator.integers(0, 12))) for _ in range(number)]


def as_dictionaries(postings: Postings) -> list[Counter[str]]:
    found: list[Counter[str]] = [Counter() for _ in range(len(postings))]
    for term in postings.terms():
        word = term.decode("utf-8", "surrogatepass")
        positions, values = postings[word]
        assert positions.tolist() == sorted(set(positions.tolist()))
        for position, value in zip(positions.tolist(), values.tolist(), strict=True):
            found[position][word] = int(value)
    return found


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_postings_hold_what_the_documents_hold(monkeypatch, at_once):
    monkeypatch.setattr("llara.postings._DOCUMENTS_AT_ONCE", at_once)
    documents = counted(50, seed=1)
    postings = Postings.build(documents)
    assert as_dictionaries(postings) == documents
    assert postings.lengths.tolist() == [document.total() for document in documents]
    assert postings["unheard"][0].tolist() == []


def test_what_was_written_is_what_is_opened(tmp_path):
    documents = counted(50, seed=2)
    Postings.build(documents).write(tmp_path / "words.safetensors")
    opened = Postings.open(tmp_path / "words.safetensors")
    assert as_dictionaries(opened) == documents
    assert opened.lengths.tolist() == [document.total() for document in documents]


def test_postings_behind_others_are_those_of_all_documents(tmp_path):
    first, second = counted(30, seed=3), counted(20, seed=4)
    Postings.build(first).write(tmp_path / "first.safetensors")
    both = Postings.open(tmp_path / "first.safetensors").followed_by(Postings.build(second))
    assert as_dictionaries(both) == first + second


def test_a_file_cut_short_is_refused_by_name(tmp_path):
    path = tmp_path / "words.safetensors"
    Postings.build(counted(50, seed=5)).write(path)
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(InputError, match=r"words\.safetensors is missing or damaged"):
        Postings.open(path)
