"""Updates are whole or nothing: killed at chosen moments, refused while another runs, seen when done."""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llara.corpus import Document
from llara.errors import InputError, OutputError
from llara.indexes import StoredIndex, add_to_index, build_index, delete_from_index, open_index, updates
from llara.indexes.documents import Documents

DIMENSION = 16
# An update in a process of its own, which kills itself at one moment: no handler runs, nothing is tidied up.
KILLED = """
import os, signal, sys
from pathlib import Path
from llara.indexes import add_to_index, delete_from_index, documents, source

def then_die(function):
    def dying(*arguments, **options):
        function(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)
    return dying

def one_block(blocks):
    def dying(self):
        yield next(blocks(self))
        os.kill(os.getpid(), signal.SIGKILL)
    return dying

index, vectors, moment = sys.argv[1:]
if moment == "after a block of vectors":
    source.VectorSource.blocks = one_block(source.VectorSource.blocks)
if moment == "after the documents":
    documents._insert = then_die(documents._insert)
if moment == "before it counts":
    documents._write_facts = then_die(documents._write_facts)
if moment == "while deleting":
    documents.Documents.delete = then_die(documents.Documents.delete)
    delete_from_index(Path(index), ["d1", "d2", "d3"])
add_to_index(Path(index), Path(vectors))
"""


def open_any(path) -> Any:
    return open_index(path)


def documents_of(index):
    (path,) = index.glob("documents-*.sqlite")
    return path


@contextmanager
def update_under_way(index):
    """An update that has written some of its changes, and with them the journal that undoes them."""
    connection = sqlite3.connect(documents_of(index), isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # so that it writes before it commits
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("UPDATE documents SET text = text || hex(randomblob(2000))")
    assert (index / f"{documents_of(index).name}-journal").read_bytes()[:1] != b"\0"
    yield
    connection.execute("COMMIT")
    connection.close()


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


STORED = unit(np.random.default_rng(0).normal(size=(500, DIMENSION)))
ADDED = unit(np.random.default_rng(1).normal(size=(90, DIMENSION)))


@pytest.fixture
def vectors(tmp_path, write_vectors):
    documents = [Document(id=f"d{n}", text="old", metadata={"year": n}) for n in range(500)]
    return write_vectors(tmp_path / "vectors", documents, STORED)


@pytest.fixture
def later(tmp_path, write_vectors):
    documents = [Document(id=f"d{n}", text="new", metadata={"year": n}) for n in range(450, 540)]
    return write_vectors(tmp_path / "later", documents, ADDED, shard_size=40)


def state(index):
    """What a user sees of an index: every document with its score, and what a filter lets through."""
    opened = open_index(index)
    everything = opened.search(STORED[:3], 1000)
    filtered = opened.search(STORED[:3], 1000, where="year >= 440")
    return [
        [(hit.document.id, hit.document.text, hit.score) for hit in hits] for hits in everything + filtered
    ]


@pytest.mark.parametrize(
    ("kind", "moment"),
    [
        ("exact", "after a block of vectors"),
        ("exact", "after the documents"),
        ("exact", "before it counts"),
        ("exact", "while deleting"),
        ("hnsw", "after a block of vectors"),
        ("ivf-flat", "before it counts"),
        ("binary", "after a block of vectors"),
        ("binary", "after the documents"),
    ],
)
def test_a_killed_update_leaves_the_index_as_it_was_and_can_be_run_again(
    vectors, later, tmp_path, kind, moment
):
    index = build_index(vectors, tmp_path / "index", kind=kind)
    before = state(index)
    command = [sys.executable, "-c", KILLED, str(index), str(later), moment]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert state(index) == before
    if moment == "while deleting":
        assert delete_from_index(index, ["d1", "d2", "d3"]).deleted == 3
        return
    change = add_to_index(index, later)
    assert (change.added, change.replaced) == (40, 50)
    found = open_index(index)
    assert len(found) == 540
    assert [hits[0].document for hits in found.search(ADDED, 1)] == [
        Document(id=f"d{n}", text="new", metadata={"year": n}) for n in range(450, 540)
    ]


def test_an_update_that_fails_leaves_the_index_and_its_folder_as_they_were(vectors, later, tmp_path):
    for kind in ("exact", "ivf-flat", "hnsw", "sq8", "binary"):
        index = build_index(vectors, tmp_path / kind, kind=kind)
        before, files = state(index), sorted(path.name for path in index.iterdir())
        bad = ADDED[80:].copy()
        bad[5, 3] = np.nan
        content = (later / "shard-00002.npy").read_bytes()
        np.save(later / "shard-00002.npy", bad)
        with pytest.raises(InputError, match=r"shard-00002.*not finite"):
            add_to_index(index, later)
        (later / "shard-00002.npy").write_bytes(content)
        assert state(index) == before
        assert sorted(path.name for path in index.iterdir()) == files


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf-pq", "sq8"])
def test_many_updates_leave_no_files_of_earlier_ones(vectors, later, tmp_path, kind):
    index = build_index(vectors, tmp_path / "index", kind=kind)
    num_files = len(list(index.iterdir()))
    for _ in range(3):
        add_to_index(index, later)
    assert len(list(index.iterdir())) == num_files
    assert len(open_index(index)) == 540
    assert open_any(index).num_deleted == 50 + 90 + 90


def test_two_updates_at_a_time_are_refused_and_readers_are_not(vectors, later, tmp_path):
    index = build_index(vectors, tmp_path / "index")
    before = state(index)
    with Documents.updating(documents_of(index)) as documents:
        documents.delete(["d7"])
        with pytest.raises(OutputError, match="is being updated or searched by another process"):
            add_to_index(index, later)
        assert state(index) == before
    assert len(open_index(index)) == 499


@pytest.mark.parametrize("kind", ["exact", "ivf-flat", "hnsw"])
def test_who_has_opened_an_index_searches_what_each_update_left(vectors, later, tmp_path, kind):
    index = build_index(vectors, tmp_path / kind, kind=kind)
    opened = open_index(index)
    assert len(opened.search(STORED[:1], 600)[0]) == 500
    add_to_index(index, later)
    delete_from_index(index, ["d0"])
    (hits,) = opened.search(STORED[:1], 600)
    assert {hit.document.id for hit in hits} == {f"d{n}" for n in range(1, 540)}
    assert len(opened) == 539
    (hits,) = opened.search(ADDED[89:], 1, where="year == 539")
    assert [hit.document.id for hit in hits] == ["d539"]


def test_an_update_between_the_names_of_the_files_and_their_opening_is_seen(
    vectors, later, tmp_path, monkeypatch
):
    index = build_index(vectors, tmp_path / "index", kind="hnsw")
    snapshot = Documents.snapshot

    def then_updated(self):
        found = snapshot(self)
        monkeypatch.setattr(Documents, "snapshot", snapshot)
        add_to_index(index, later)  # removes the files that have just been named
        return found

    monkeypatch.setattr(Documents, "snapshot", then_updated)
    assert len(open_index(index)) == 540


def test_an_index_is_not_updated_while_it_is_built_anew(vectors, later, tmp_path, monkeypatch):
    index = build_index(vectors, tmp_path / "index")
    create = vars(updates)["write_words"]
    refused = []

    def meanwhile(*arguments):
        with pytest.raises(OutputError, match="is being updated"):
            add_to_index(index, later)
        with pytest.raises(OutputError, match="is being updated"):
            build_index(later, index, overwrite=True)
        refused.append(True)
        return create(*arguments)

    monkeypatch.setattr(updates, "write_words", meanwhile)
    build_index(vectors, index, overwrite=True)
    monkeypatch.undo()
    assert refused == [True]
    assert len(open_index(index)) == 500
    add_to_index(index, later)
    assert len(open_index(index)) == 540


def test_who_has_an_index_open_that_was_built_anew_goes_on_with_it_and_leaves_the_new_one_alone(
    vectors, later, tmp_path
):
    index = build_index(vectors, tmp_path / "index")
    opened = open_any(index)
    before = opened.search(STORED[:3], 500)
    build_index(later, index, overwrite=True)
    with update_under_way(index):
        assert opened.search(STORED[:3], 500) == before
    assert opened.search(STORED[:3], 500) == before
    assert len(opened) == 500
    assert len(open_index(index)) == 90
    with sqlite3.connect(documents_of(index)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT min(length(text)) FROM documents").fetchone() == (4003,)
    connection.close()


@pytest.mark.parametrize("kind", ["exact", "hnsw"])
def test_a_copy_of_an_index_that_takes_its_place_is_searched(vectors, later, tmp_path, kind):
    index = build_index(vectors, tmp_path / "index", kind=kind)
    opened = open_any(index)
    opened.search(STORED[:1], 500, where="year >= 440")
    copy = Path(shutil.copytree(index, tmp_path / "copy"))
    add_to_index(index, later)
    assert len(opened) == 540
    delete_from_index(copy, [f"d{n}" for n in range(400)])
    index.rename(tmp_path / "old")
    assert len(opened) == 540  # nothing stands there; nobody has replaced it
    copy.rename(index)
    with pytest.raises(InputError, match="was replaced just now; try again"):
        opened._last.documents.get([0])
    assert len(opened) == 100
    assert {hit.document.text for hit in opened.search(ADDED, 500, where="year >= 440")[0]} == {"old"}
    assert opened.search(STORED[:3], 500) == open_index(index).search(STORED[:3], 500)
    add_to_index(index, later)
    assert {hit.document.text for hit in opened.search(ADDED, 1)[0]} == {"new"}


def test_another_index_of_before_builds_had_names_that_takes_its_place_is_not_read(vectors, later, tmp_path):
    indexes = [build_index(vectors, tmp_path / "index"), build_index(later, tmp_path / "other", kind="hnsw")]
    for index in indexes:
        manifest = json.loads((index / "manifest.json").read_text())
        documents_of(index).rename(index / "documents.sqlite")
        del manifest["build"]
        (index / "manifest.json").write_text(json.dumps(manifest))
    index, other = indexes
    opened = open_any(index)
    assert len(opened) == 500
    add_to_index(index, later)
    assert len(opened) == 540
    index.rename(tmp_path / "old")
    other.rename(index)
    for _ in range(2):
        with pytest.raises(InputError, match="was replaced by another index; open it again"):
            opened.search(ADDED, 1)
    assert len(open_index(index)) == 90


def test_an_index_that_is_built_anew_while_it_is_opened_is_opened(vectors, later, tmp_path, monkeypatch):
    index = build_index(vectors, tmp_path / "index")
    opening = StoredIndex.open

    def then_replaced(*arguments):
        monkeypatch.undo()
        build_index(later, index, overwrite=True)
        return opening(*arguments)

    monkeypatch.setattr(StoredIndex, "open", then_replaced)
    assert len(open_index(index)) == 90


def test_a_damaged_index_is_built_anew(vectors, tmp_path):
    index = build_index(vectors, tmp_path / "index")
    (documents_of(index)).write_bytes(b"no database at all")
    build_index(vectors, index, overwrite=True)
    assert len(open_index(index)) == 500


def test_the_files_of_an_update_that_was_killed_before_it_tidied_up_are_removed_by_the_next(
    vectors, later, tmp_path, monkeypatch
):
    index = build_index(vectors, tmp_path / "index", kind="hnsw")
    num_files = len(list(index.iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(updates, "_remove", lambda *_: None)
        add_to_index(index, later)
    assert len(list(index.iterdir())) > num_files
    (index / "notes-1.txt").write_text("of somebody else")
    add_to_index(index, later)
    assert len(list(index.iterdir())) == num_files + 1
    assert (index / "notes-1.txt").exists()


def test_an_index_that_is_locked_for_long_is_not_said_to_be_damaged(vectors, tmp_path, monkeypatch):
    index = build_index(vectors, tmp_path / "index")
    monkeypatch.setattr("llara.indexes.documents._SECONDS_TO_WAIT", 0.1)
    other = sqlite3.connect(documents_of(index), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match="is being updated by another process; try again"):
        open_index(index)
    other.close()


def test_an_id_may_hold_u_0000_and_is_not_another(tmp_path, write_vectors):
    documents = [Document(id=id_, text=repr(id_)) for id_ in ("a", "a\0b")]
    index = build_index(write_vectors(tmp_path / "vectors", documents, STORED[:2]), tmp_path / "index")
    assert open_any(index).positions(["a\0b", "a", "a\0"]) == {"a": 0, "a\0b": 1}
    delete_from_index(index, ["a\0b"])
    assert [hit.document.id for hit in open_index(index).search(STORED[:1], 5)[0]] == ["a"]


def test_a_field_is_found_whatever_else_its_record_holds(tmp_path, write_vectors):
    records: list[dict[str, Any]] = [
        {"année": 1999},
        {"année": 1999, "score": float("nan")},
        {"année": 1999, "half": "\ud800"},
    ]
    documents = [Document(id=f"d{n}", text="x", metadata=record) for n, record in enumerate(records)]
    index = build_index(write_vectors(tmp_path / "vectors", documents, STORED[:3]), tmp_path / "index")
    found = open_index(index).search(STORED[:1], 5, where="année == 1999")
    assert {hit.document.id for hit in found[0]} == {"d0", "d1", "d2"}


def test_an_index_on_a_disk_that_cannot_be_written_is_searched(vectors, tmp_path):
    index = build_index(vectors, tmp_path / "index")
    before = state(index)
    for path in (*index.iterdir(), index):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert state(index) == before
    index.chmod(0o755)


def test_a_position_whose_document_is_gone_is_an_error_and_not_another_document(vectors, tmp_path):
    index = build_index(vectors, tmp_path / "index")
    delete_from_index(index, ["d3"])
    with pytest.raises(InputError, match="document 3 has been deleted"):
        open_any(index).documents([2, 3])
    assert open_any(index).documents([2, 4])[1].id == "d4"


def test_the_documents_are_a_table_that_sqlite_reads(vectors, tmp_path):
    index = build_index(vectors, tmp_path / "index")
    with sqlite3.connect(documents_of(index)) as connection:
        query = "SELECT id FROM documents JOIN metadata USING (position) WHERE metadata ->> 'year' > 497"
        assert connection.execute(query).fetchall() == [("d498",), ("d499",)]
    connection.close()
