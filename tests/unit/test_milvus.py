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
