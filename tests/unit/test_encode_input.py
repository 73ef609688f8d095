"""Encoding input with everything wrong that there is: bad lines are counted, good ones kept."""

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from llara.corpus import Skipped
from llara.encode import VectorsManifest, encode_file, verify
from llara.errors import BadLineError

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
