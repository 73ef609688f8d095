"""Encoding where files are damaged within, scripts have no guard, and processes cannot be forked."""

import json
import multiprocessing
import signal
from typing import Any, cast

import numpy as np
import pytest

from llara.encode import encode_file, verify
from llara.encode.work import Work
from llara.encoder import Encoder
from llara.errors import ConfigError, InputError
from llara.forking import forking_context
from llara.model import MINI
from llara.vectors import VectorsManifest, read_stored

SETTINGS = {"sources": [{"path": "a", "bytes": 1, "sha256": "s", "changed_ns": 2}]}


@pytest.fixture
def encode(retriever, tmp_path):
    source = tmp_path / "c.jsonl"
    source.write_text('{"id": "a", "text": "w1 w2"}\n', encoding="utf-8")

    def call(**settings):
        return encode_file(str(retriever.path), source, tmp_path / "out", role="document", **settings)

    return call


def test_a_header_of_vectors_that_is_no_header_is_damage(encode, tmp_path):
    encode()
    path = tmp_path / "out" / "shard-00000.npy"
    path.write_bytes(path.read_bytes().replace(b"}", b" ", 1))
    assert ["shard-00000.npy" in sentence for sentence in verify(tmp_path / "out")] == [True, True]
    manifest = VectorsManifest.read(tmp_path / "out")
    with pytest.raises(InputError, match="missing or damaged"):
        read_stored(tmp_path / "out", manifest, manifest.shards[0])


def test_what_a_run_knows_and_is_damaged_counts_as_not_there(tmp_path):
    work = Work(tmp_path)
    work.make()
    (tmp_path / "records" / "shard-00000.json").write_text('{"fjrst": 0}', encoding="utf-8")
    (tmp_path / "texts.json").write_text('{"shaqds": []}', encoding="utf-8")
    assert (work.record(0), work.precision_so_far(), work.texts()) == (None, None, None)
    work.write_settings(SETTINGS)
    assert work.settings() == SETTINGS
    (tmp_path / "settings.json").write_text(json.dumps(SETTINGS).replace("sha256", "sha25"), encoding="utf-8")
    with pytest.raises(InputError, match=r"settings\.json is damaged"):
        work.settings()


def test_a_script_that_its_workers_run_again_is_told_so_before_anything_is_written(
    encode, tmp_path, monkeypatch
):
    monkeypatch.setattr(multiprocessing.current_process(), "_inheriting", True, raising=False)
    with pytest.raises(ConfigError, match="if __name__ == '__main__':"):
        encode(workers=2)
    assert not (tmp_path / "out.partial").exists()


def test_where_no_server_can_be_forked_from_processes_are_made_anew(monkeypatch):
    def too_long():
        raise OSError("AF_UNIX path too long")

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr("multiprocessing.forkserver.ensure_running", too_long)
    assert forking_context("json").get_start_method() == "spawn"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_column_of_a_table_is_a_list_of_texts():
    encoder = Encoder(MINI, device="cpu", dtype="float32")
    texts = ["a wing", "a sail"]
    expected = encoder.encode(texts, role="query")
    np.testing.assert_array_equal(encoder.encode(cast(Any, np.array(texts)), role="query"), expected)
    assert encoder.encode(cast(Any, np.array([])), role="query").shape == (0, encoder.dimension)
