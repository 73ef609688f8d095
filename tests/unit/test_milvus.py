"""Milvus: the same commands against a server, what it cannot do, and what is written where."""

import json
import re
import socket
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest

from llara.corpus import Document
from llara.errors import ConfigError, InputError, MissingExtraError, OutputError
from llara.indexes import add_to_index, build_index, delete_from_index, open_index

pytest.importorskip("pymilvus")
pytest.importorskip("milvus_lite")

STORED = np.eye(8, dtype=np.float32)
MOST_MESSAGE_BYTES, MOST_ROWS = 67_108_864, 16_384  # of a server, as it is shipped


@pytest.fixture
def vectors(tmp_path, write_vectors):
    documents = [Document(id=f"d{n}", text=f"text {n}", metadata={"year": 2000 + n}) for n in range(8)]
    return write_vectors(tmp_path / "vectors", documents, STORED)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The uri of a server in a process of its own; Milvus Lite's, which speaks the protocol of Milvus."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    code = "import sys; from milvus_lite.cmdline import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "server", "--data-dir", str(folder / "data"), "--port", str(port)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait()


def ids(index, query, k=8, **options):
    return [hit.document.id for hit in index.search(query, k, **options)[0]]


def test_a_server_holds_what_the_directory_points_to(vectors, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", "root:secret")
    out = build_index(vectors, tmp_path / "my index", backend="milvus", uri=server)
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
    content = (out / "manifest.json").read_text()
    manifest = json.loads(content)
    name = manifest["collection"]
    assert manifest["uri"] == server
    assert re.fullmatch("llara_my_index_[0-9a-f]{8}", name)
    assert "secret" not in content
    index = open_index(out)
    assert ids(index, STORED[3:4], 1) == ["d3"]
    assert ids(index, STORED[3:4], where="year >= 2005") == ["d7", "d6", "d5"]
    assert delete_from_index(out, ["d3", "d9"]).deleted == 1
    assert add_to_index(out, vectors).replaced == 7
    assert len(index) == 8
    with pytest.raises(OutputError, match=rf"the collection {name} exists at.*--collection"):
        build_index(vectors, tmp_path / "other", backend="milvus", uri=server, collection=name)
    build_index(vectors, tmp_path / "other", backend="milvus", uri=server, collection="mine")
    assert ids(open_index(tmp_path / "other"), STORED[2:3], 1) == ["d2"]
    build_index(vectors, tmp_path / "my index", backend="milvus", uri=server, overwrite=True)


def test_a_rebuild_that_fails_leaves_the_collection_that_was_there(vectors, server, tmp_path, write_vectors):
    out = build_index(vectors, tmp_path / "kept", backend="milvus", uri=server)
    documents = [Document(id=f"d{n}", text="new") for n in range(8)]
    damaged = write_vectors(tmp_path / "damaged", documents, STORED, shard_size=4)
    (damaged / "shard-00001.npy").write_bytes(b"")
    with pytest.raises(InputError, match="shard-00001"):
        build_index(damaged, out, backend="milvus", uri=server, overwrite=True)
    assert open_index(out).search(STORED[3:4], 1)[0][0].document.text == "text 3"
    again = write_vectors(tmp_path / "whole", documents, STORED)
    build_index(again, out, backend="milvus", uri=server, overwrite=True)
    assert open_index(out).search(STORED[3:4], 1)[0][0].document.text == "new"


def test_a_collection_that_is_gone_and_a_server_that_is_away_are_said(vectors, server, tmp_path):
    out = build_index(vectors, tmp_path / "gone", backend="milvus", uri=server)
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "collection": "nothing"}))
    with pytest.raises(InputError, match=r"no collection nothing at http.*llara index"):
        open_index(out)
    lite = build_index(vectors, tmp_path / "lite", backend="milvus")
    (lite / "milvus.db").rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"has no milvus\.db; build it again"):
        open_index(lite)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "binary"}, "Milvus Lite has no index of the kind binary"),
        ({"kind": "ivf-pq"}, "Milvus Lite has no index of the kind ivf-pq"),
        ({"kind": "sq8", "uri": "http://here"}, "Milvus has no index of the kind sq8"),
        ({"kind": "ivf-sq8", "settings": ["rescore=int8"]}, "no finer vectors"),
        ({"uri": "http://me:secret@here"}, "MILVUS_TOKEN"),
        ({"backend": "faiss", "collection": "c"}, "add --backend milvus"),
    ],
)
def test_what_milvus_cannot_do_is_refused_before_anything_is_written(vectors, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        build_index(vectors, tmp_path / "index", **{"backend": "milvus", **options})
    assert "secret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def test_long_texts_are_cut_with_a_warning_and_their_letters_stay_whole(tmp_path, write_vectors):
    text = "a" + "ö" * 40_000
    vectors = write_vectors(tmp_path / "v", [Document(id="long", text=text)], np.eye(1, 8, dtype=np.float32))
    with pytest.warns(UserWarning, match="1 texts have over 65,535 bytes"):
        out = build_index(vectors, tmp_path / "index", backend="milvus")
    index = open_index(out)
    ((hit,),) = index.search(np.eye(1, 8, dtype=np.float32), 1)
    assert hit.document.text == "a" + "ö" * 32_767
    index.close()


def ids_in(expression):
    """The ids that an expression asks for; JSON has the escapes of Milvus, and more."""
    assert len(expression.encode()) <= MOST_MESSAGE_BYTES
    return json.loads(expression.removeprefix("id in "), strict=False)


class StrictClient:
    """Stands in for the client of a server, and refuses what a server would."""

    def __init__(self):
        self.ids, self.made, self.metadata_bytes = set(), False, []

    def create_collection(self, *_, **__):
        self.made = True

    def insert(self, name, rows):
        from pymilvus.client.entity_helper import convert_to_json

        metadata = [len(convert_to_json(row["metadata"])) for row in rows if row["metadata"] is not None]
        texts = sum(len(row[field].encode()) for row in rows for field in ("id", "title", "text"))
        names_and_lengths = 32 * len(rows)
        vectors = sum(row["vector"].nbytes for row in rows)
        assert vectors + texts + sum(metadata) + names_and_lengths <= MOST_MESSAGE_BYTES
        self.metadata_bytes += metadata
        self.ids |= {row["id"] for row in rows}

    upsert = insert

    def query(self, name, *, limit, **options):
        assert limit <= MOST_ROWS
        return [{"id": id_} for id_ in ids_in(options["filter"]) if id_ in self.ids]

    def delete(self, name, **options):
        self.ids -= set(ids_in(options["filter"]))

    def search(self, name, data, limit, **_):
        assert len(data) * limit <= MOST_ROWS
        entity = {"title": "", "text": "", "metadata": None}
        return [[{"id": "d", "distance": 1.0, "entity": entity}] * limit for _ in data]

    def prepare_index_params(self):
        from pymilvus import MilvusClient

        return MilvusClient.prepare_index_params()

    def has_collection(self, name):
        return self.made

    def describe_collection(self, name):
        return {}

    def ignore(self, *_):
        """What has no limits."""

    drop_collection = rename_collection = load_collection = flush = ignore

    def close(self):
        """Nothing to end."""


@pytest.fixture
def strict(monkeypatch):
    client = StrictClient()
    monkeypatch.setattr("llara.indexes.milvus._client", lambda *_: client)
    return client


def test_no_request_is_more_than_a_server_takes(strict, tmp_path, write_vectors):
    documents = [Document(id=f"long {n}", title="t" * 20_000, text="x" * 60_000) for n in range(900)]
    documents += [Document(id=f"d{n}", text="short", metadata={"year": n}) for n in range(18_000)]
    ones = np.zeros((len(documents), 8), np.float32)
    ones[:, 0] = 1
    source = write_vectors(tmp_path / "v", documents, ones, shard_size=len(documents))
    out = build_index(source, tmp_path / "index", backend="milvus", uri="http://strict")
    assert strict.ids == {document.id for document in documents}
    assert add_to_index(out, source).replaced == len(documents)
    index = open_index(out)
    assert [len(hits) for hits in index.search(ones[:40], 1000)] == [1000] * 40
    assert delete_from_index(out, [document.id for document in documents]).deleted == len(documents)
    assert not strict.ids


def test_what_a_server_finds_that_was_not_asked_for_is_not_deleted(strict, vectors, tmp_path, monkeypatch):
    """As of an ideograph beyond U+FFFF, of which the grammar of servers keeps 16 bits."""
    out = build_index(vectors, tmp_path / "index", backend="milvus", uri="http://strict")
    monkeypatch.setattr(strict, "query", lambda *_, **__: [{"id": "d1"}])
    assert delete_from_index(out, ["𠮷"]).missing == 1
    assert len(strict.ids) == 8


def test_metadata_that_milvus_cannot_keep_are_refused_before_anything_is_written(
    strict, tmp_path, write_vectors
):
    most = {"note": "ö" * 32_762 + "x"}  # 11 bytes of braces, quotes and name, and 65,525 of text
    documents = [Document(id=f"d{n}", text="text", metadata=most) for n in range(3)]
    fits = write_vectors(tmp_path / "fits", documents, STORED[:3])
    out = build_index(fits, tmp_path / "index", backend="milvus", uri="http://strict")
    assert strict.metadata_bytes == [65_536] * 3
    documents.append(Document(id="too much", text="text", metadata={"note": most["note"] + "x"}))
    source = write_vectors(tmp_path / "more", documents, STORED[:4], shard_size=1)
    message = r"metadata of the document 'too much' have 65,537 bytes.* 65,536;.*--no-metadata"
    with pytest.raises(InputError, match=message):
        add_to_index(out, source)
    with pytest.raises(InputError, match=message):
        build_index(source, tmp_path / "other", backend="milvus", uri="http://strict", collection="other")
    assert (len(strict.metadata_bytes), (tmp_path / "other").exists()) == (3, False)


def test_an_id_that_milvus_cannot_keep_is_refused_before_anything_is_written(strict, tmp_path, write_vectors):
    documents = [Document(id="d", text="text"), Document(id="i" * 65_536, text="text")]
    source = write_vectors(tmp_path / "v", documents, STORED[:2], shard_size=1)
    with pytest.raises(InputError, match=r"the id i{40}\.\.\. has over 65,535 bytes.*shorten it"):
        build_index(source, tmp_path / "index", backend="milvus", uri="http://strict")
    assert not strict.ids


def test_a_collection_that_is_built_again_is_a_new_one(vectors, tmp_path):
    out = build_index(vectors, tmp_path / "index", backend="milvus")
    assert delete_from_index(out, ["d3", "d4"]).deleted == 2
    build_index(vectors, tmp_path / "index", backend="milvus", overwrite=True)
    index = open_index(out)
    assert len(index) == 8
    index.close()


def test_without_pymilvus_the_message_says_what_to_install(vectors, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "pymilvus" else find_spec(name)
    )
    with pytest.raises(MissingExtraError, match=r"llara\[milvus\]"):
        build_index(vectors, tmp_path / "index", backend="milvus")


def test_milvus_lite_is_one_processs_at_a_time(vectors, tmp_path):
    out = build_index(vectors, tmp_path / "index", backend="milvus")
    index = open_index(out)
    code = (
        "import sys\nfrom pathlib import Path\nfrom llara.errors import InputError\n"
        "from llara.indexes import open_index\n"
        "try:\n    open_index(Path(sys.argv[1]))\nexcept InputError as error:\n    print(error)\n"
    )
    command = [sys.executable, "-c", code, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "one process can open at a time" in done.stdout
    index.close()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("kept", ["f" * 64, "0" * 64])
def test_a_collection_that_says_it_is_another_models_is_refused(vectors, tmp_path, monkeypatch, kept):
    """Milvus Lite forgets a collection's description, so what a server answers stands in here."""
    from pymilvus import MilvusClient

    asked = []

    def describe(self, name):
        asked.append(name)
        return {"collection_name": name, "description": f"llara, model {kept}"}

    index = build_index(vectors, tmp_path / "index", backend="milvus")
    monkeypatch.setattr(MilvusClient, "describe_collection", describe)
    if kept == "f" * 64:  # as the fixture's vectors have it
        open_index(index).close()
    else:
        with pytest.raises(InputError, match="holds vectors of another model"):
            open_index(index)
    assert asked
