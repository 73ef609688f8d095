"""Indexes at their edges, on both backends: ids of any characters, disks that fill with the last bytes."""

import json
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np
import pytest

from llara.corpus import Document
from llara.encode import encode_file
from llara.errors import OutputError
from llara.indexes import add_to_index, build_index, delete_from_index, open_index
from llara.indexes.lists import write_array

resource = pytest.importorskip("resource", reason="limits of files are Unix's")
ODD = [
    *("O'Brien", 'say "x"', "a\\b", "trail\\", "notes\\new\\table.txt", "tab\there", "new\nline", "cr\rx"),
    *(
        "x'] or id not in ['",
        'x"] or id not in ["',
        "{x}",
        "a%b_c",
        " lead",
        "\u2028",
        "\x00",
        "\x01",
        "\b\f",
    ),
    *("巴黎 / 東京", "😀", "plain"),
]
BACKENDS = [
    "faiss",
    pytest.param(
        "milvus", marks=pytest.mark.skipif(find_spec("milvus_lite") is None, reason="no Milvus Lite")
    ),
]


@pytest.fixture
def vectors(retriever, tmp_path):
    """``vectors(name, ids)`` encodes documents of those ids."""

    def make(name, ids):
        rows = [{"id": id_, "text": f"w{2 + n % 5} w{3 + n % 4}"} for n, id_ in enumerate(ids)]
        source = tmp_path / f"{name}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        encode_file(str(retriever.path), source, tmp_path / name, role="document")
        return tmp_path / name

    return make


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_document_of_any_id_is_replaced_found_and_deleted_alone(backend, vectors, tmp_path):
    index = build_index(vectors("all", ODD), tmp_path / "index", backend=backend)
    change = add_to_index(index, vectors("again", [*ODD, "new"]))
    assert (change.added, change.replaced) == (1, len(ODD))
    left = {*ODD, "new"}
    for id_ in ODD:
        change = delete_from_index(index, [id_])
        assert (change.deleted, change.missing) == (1, 0), id_
        left.remove(id_)
        opened = open_index(index)
        hits = opened.search(any_vector(opened), 100)[0]
        opened.close()
        assert {hit.document.id for hit in hits} == left, id_
    assert delete_from_index(index, ODD).missing == len(ODD)


def any_vector(opened):
    vector = np.zeros((1, opened.manifest.dimension), np.float32)
    vector[0, 0] = 1
    return vector


@pytest.mark.parametrize("kind", ["hnsw", "sq8", "ivf-flat"])
def test_a_disk_that_fills_with_the_last_bytes_is_an_error_and_the_old_index_stays(
    kind, write_vectors, tmp_path
):
    def made(name, count):
        rows = np.random.default_rng(count).normal(size=(count, 256)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return write_vectors(tmp_path / name, [Document(f"{name}{n}", "x") for n in range(count)], rows)

    few, more = made("few", 40), made("more", 600)
    index = build_index(few, tmp_path / "index", kind=kind)
    grown = build_index(more, tmp_path / "grown", kind=kind)
    largest = max(grown.iterdir(), key=lambda path: path.stat().st_size)
    assert largest.suffix in (".faiss", ".bin")
    for change in (
        lambda: add_to_index(index, more),
        lambda: build_index(more, index, kind=kind, overwrite=True),
    ):
        with (
            no_file_over(largest.stat().st_size - 10),
            pytest.raises(OutputError, match=r"cannot write .*large"),
        ):
            change()
        assert len(open_index(index)) == 40


@pytest.mark.parametrize("short", [1, 100])
def test_an_array_that_a_full_disk_cuts_short_is_an_error(tmp_path, short):
    array = np.arange(500)
    write_array(tmp_path / "whole.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "whole.npy"), array)
    with (
        no_file_over((tmp_path / "whole.npy").stat().st_size - short),
        pytest.raises(OutputError, match=r"cannot write .*short\.npy.*large"),
    ):
        write_array(tmp_path / "short.npy", array)


@contextmanager
def no_file_over(num_bytes):
    """A disk on which a file cannot grow further; Python has the system's signal for that ignored."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
