"""Encoding input with everything wrong that there is: bad lines are counted, good ones kept."""

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from llara.corpus import Document, Skipped
from llara.encode import VectorsManifest, encode_file, ids, reading, verify
from llara.encode.reading import repeated_ids
from llara.errors import BadLineError, InputError
from llara.vectors import texts_table

GOOD = 400
HUGE_CHARACTERS = 1_000_000  # 10 MB in the benchmark


def write_bad_input(path: Path) -> dict[str, int]:
    """Good documents, and among them every kind of bad line; how many there are of each."""
    counts = dict.fromkeys(
        ("not JSON", "not UTF-8", "no text", "not text", "no object", "blank", "repeated"), 0
    )
    bad = {
        "not JSON": b'{"id": "x", "text": \n',
        "not UTF-8": b'{"id": "x", "text": "caf\xe9"}\n',
        "no text": b'{"id": "x", "body": "wing"}\n',
        "not text": b'{"id": "x", "text": 7}\n',
        "no object": b'["wing"]\n',
        "blank": b"  \n",
    }
    counts = dict.fromkeys([*bad, "repeated"], 0)
    with path.open("wb") as file:
        for number in range(GOOD):
            text = "" if number % 50 == 7 else f"wing of slab {number}"
            text = "wing " * (HUGE_CHARACTERS // 5) if number == 123 else text
            file.write(json.dumps({"id": f"d{number}", "text": text}).encode() + b"\n")
            if number % 9 == 4:
                kind = list(bad)[number // 9 % len(bad)]
                file.write(bad[kind])
                counts[kind] += 1
            if number % 100 == 30:  # an id from another shard, and one from this
                for again in (number, number // 3):
                    file.write(json.dumps({"id": f"d{again}", "text": "flow"}).encode() + b"\n")
                    counts["repeated"] += 1
    return counts


def test_every_bad_line_is_counted_and_every_good_one_kept(retriever, tmp_path):
    counts = write_bad_input(tmp_path / "bad.jsonl")
    assert min(counts.values()) > 0
    skipped = Skipped()
    manifest = encode_file(
        str(retriever.path),
        tmp_path / "bad.jsonl",
        tmp_path / "out",
        role="document",
        shard_size=64,
        skipped=skipped,
    )
    rows = [
        row for shard in manifest.shards for row in pq.read_table(tmp_path / "out" / shard.texts).to_pylist()
    ]
    assert [row["id"] for row in rows] == [f"d{number}" for number in range(GOOD)]
    assert max(len(row["text"]) for row in rows) == HUGE_CHARACTERS
    lines = len((tmp_path / "bad.jsonl").read_bytes().splitlines())
    assert manifest.skipped == skipped.count == sum(counts.values()) - counts["blank"]
    assert manifest.count + manifest.skipped + counts["blank"] == lines
    assert manifest.empty == sum(number % 50 == 7 for number in range(GOOD))
    assert any("bad.jsonl" in message for message in manifest.skipped_messages)
    assert list(verify(tmp_path / "out")) == []


@pytest.fixture
def no_utf8(tmp_path):
    """A folder of a file whose name is UTF-8, and one whose name is Latin-1."""
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("wing")
    try:
        (folder / os.fsdecode(b"caf\xe9.txt")).write_text("flow")
    except OSError:
        pytest.skip("this file system has names of UTF-8 only")
    return folder


def test_a_text_file_whose_name_is_not_utf8_is_a_bad_record(retriever, no_utf8, tmp_path):
    arguments = str(retriever.path), no_utf8, tmp_path / "out"
    with pytest.raises(BadLineError, match=r"caf\\xe9\.txt: the file's name is not UTF-8.*rename"):
        encode_file(*arguments, role="document")
    skipped = Skipped()
    manifest = encode_file(*arguments, role="document", skipped=skipped)
    assert (manifest.count, skipped.count) == (1, 1)
    assert manifest == VectorsManifest.read(tmp_path / "out")
    assert os.fsencode(manifest.sources[1].path).endswith(b"caf\xe9.txt")


def test_records_of_a_file_whose_name_is_not_utf8_may_have_ids_of_their_own(retriever, no_utf8, tmp_path):
    path = no_utf8 / os.fsdecode(b"caf\xe9.jsonl")
    path.write_text('{"id": "a", "text": "wing"}\n{"text": "no id"}\nno JSON\n')
    skipped = Skipped()
    manifest = encode_file(str(retriever.path), path, tmp_path / "out", role="document", skipped=skipped)
    assert (manifest.count, skipped.count) == (1, 2)
    assert manifest == VectorsManifest.read(tmp_path / "out")


def test_a_repeated_id_is_a_bad_line_that_names_both_documents(retriever, tmp_path):
    rows = [{"id": id_, "text": "wing"} for id_ in ("a", "b", "c", "b", "a")]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(BadLineError, match=r"the id 'b' occurs twice: documents 2 and 4 \(and 1 more"):
        encode_file(
            str(retriever.path), tmp_path / "c.jsonl", tmp_path / "out", role="document", shard_size=2
        )
    skipped = Skipped()
    manifest = encode_file(
        str(retriever.path), tmp_path / "c.jsonl", tmp_path / "out", role="document", skipped=skipped
    )
    assert (manifest.count, skipped.count) == (3, 2)
    assert skipped.messages[1] == "the id 'a' occurs twice: documents 1 and 5"


def test_memory_does_not_grow_with_the_rows_of_a_repeated_id(tmp_path):
    paths = [tmp_path / f"{number}.parquet" for number in range(50)]
    for path in paths:
        pq.write_table(texts_table([Document("same", "")] * 2000), path)
    tracemalloc.start()
    try:
        rows = [again.row for again in repeated_ids(paths, within=tmp_path) if again.row % 1000 == 0]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert rows == list(range(1000, 100_000, 1000))
    assert peak < 4_000_000  # bytes: 100,000 hashes, three times over, and the ids of 2,000 rows


def test_more_repeated_ids_than_can_be_remembered_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "_MOST_REPEATED", 2)
    pq.write_table(texts_table([Document(id_, "") for id_ in "abcabc"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="more than 2 ids occur twice"):
        list(repeated_ids([tmp_path / "a.parquet"], within=tmp_path))


def test_ids_that_are_everywhere_are_stored_twice_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(ids, "_RUN_IDS", 4)
    seen = ids.SeenIds(tmp_path)
    for _ in range(3):
        seen.add(["a", "a", "a", "b"])
    assert [len(np.load(path)) for path in sorted(tmp_path.iterdir())] == [3, 3, 3]
    assert seen.repeated().tolist() == sorted(ids.hash_ids(["a", "b"]).tolist())
