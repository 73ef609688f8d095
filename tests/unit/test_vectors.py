"""Vectors directories: what is stored of each dtype, what reading gives back, and what verifying finds."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llara.corpus import Document
from llara.encode import encode_file, ids, verify
from llara.encode.ids import SeenIds, hash_ids
from llara.errors import ConfigError, InputError
from llara.vectors import VectorsManifest, metadata_text, read_texts, read_vectors

TEXTS = [
    "wing slipstream",
    "heat of the slab",
    "flow",
    "shear flow of a wing nozzle",
    "slab shear",
    "heat flow",
]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def corpus(tmp_path):
    return write_lines(tmp_path / "c.jsonl", [{"id": f"d{n}", "text": text} for n, text in enumerate(TEXTS)])


@pytest.fixture
def encoded(retriever, corpus, tmp_path):
    """``encoded(...)`` gives the directory of the corpus's vectors, three shards of two."""

    def encode(**settings):
        out = tmp_path / "vectors"
        encode_file(str(retriever.path), corpus, out, role="document", shard_size=2, **settings)
        return out

    return encode


def read_back(directory):
    manifest = VectorsManifest.read(directory)
    return manifest, np.concatenate([read_vectors(directory, manifest, shard) for shard in manifest.shards])


# By hand: the stored form of x (length 1), and how far from it what is read back may be.
STORED = {
    "float32": (lambda x: x, 1e-6),
    "float16": (lambda x: x.astype(np.float16), 1e-3),
    "int8": (lambda x: np.rint(x * (127 / np.abs(x).max(axis=1, keepdims=True))).astype(np.int8), 2e-2),
    "binary": (lambda x: np.packbits(x > 0, axis=1), None),
}


@pytest.mark.parametrize("dtype", STORED)
@pytest.mark.parametrize("dimensions", [None, 8])
def test_every_dtype_stores_what_it_says_and_reads_back_unit_vectors(retriever, encoded, dtype, dimensions):
    directory = encoded(dtype=dtype, dimensions=dimensions)
    full = retriever.expected(TEXTS, "document")[:, :dimensions]
    expected = full / np.linalg.norm(full, axis=1, keepdims=True)
    stored_form, tolerance = STORED[dtype]
    stored = np.concatenate([np.load(directory / f"shard-0000{n}.npy") for n in range(3)])
    atol = 1e-6 if dtype == "float32" else 0
    np.testing.assert_allclose(stored, stored_form(expected), atol=atol, rtol=1e-3)
    manifest, vectors = read_back(directory)
    assert (manifest.dtype, manifest.dimension, manifest.model_dimension) == (dtype, dimensions or 16, 16)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    if tolerance is None:
        assert np.array_equal(vectors > 0, expected > 0)
    else:
        np.testing.assert_allclose(vectors, expected, atol=tolerance)
    assert list(verify(directory)) == []


def test_float32_vectors_are_mapped_not_read(encoded):
    directory = encoded()
    manifest = VectorsManifest.read(directory)
    assert isinstance(read_vectors(directory, manifest, manifest.shards[0]), np.memmap)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "float64"}, "float64"),
        ({"dimensions": 0}, "dimensions is 0"),
        ({"dimensions": 17}, "expected 1 to 16"),
        ({"dimensions": 12, "dtype": "binary"}, "multiple of 8"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(encoded, tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        encoded(**settings)
    assert not list(tmp_path.glob("vectors*"))


# -- metadata


def test_other_fields_are_kept_as_metadata(retriever, tmp_path):
    rows = [
        {"id": "a", "text": "wing", "year": 1958, "tags": ["x", "y"]},
        {"id": "b", "text": "flow"},
        {"_id": "c", "text": "heat", "metadata": {"url": "http://c"}, "year": 1960},
        {"id": "d", "text": "slab", "metadata": {}},
    ]
    corpus = write_lines(tmp_path / "m.jsonl", rows)
    encode_file(str(retriever.path), corpus, tmp_path / "out", role="document")
    manifest = VectorsManifest.read(tmp_path / "out")
    texts = read_texts(tmp_path / "out", manifest.shards[0])
    kept = [text and json.loads(text) for text in texts.column("metadata").to_pylist()]
    assert kept == [{"year": 1958, "tags": ["x", "y"]}, None, {"url": "http://c", "year": 1960}, None]
    encode_file(str(retriever.path), corpus, tmp_path / "bare", role="document", metadata=False)
    manifest = VectorsManifest.read(tmp_path / "bare")
    assert read_texts(tmp_path / "bare", manifest.shards[0]).column("metadata").null_count == 4


def test_columns_of_parquet_are_metadata_but_for_bytes(retriever, tmp_path):
    import datetime

    table = {
        "id": ["a"],
        "text": ["wing"],
        "day": [datetime.date(1958, 1, 2)],
        "image": [{"bytes": b"\x00", "path": "x"}],
        "raw": [b"\x00"],
    }
    pq.write_table(pa.table(table), tmp_path / "c.parquet")
    encode_file(str(retriever.path), tmp_path / "c.parquet", tmp_path / "out", role="document")
    row = pq.read_table(tmp_path / "out" / "shard-00000.parquet").to_pylist()[0]
    assert json.loads(row["metadata"]) == {"day": "1958-01-02"}


def test_half_a_surrogate_pair_in_metadata_is_escaped():
    assert metadata_text({"a": "\ud800"}) == '{"a": "\\ud800"}'
    assert metadata_text({"a": "é"}) == '{"a": "é"}'


# -- ids


@pytest.mark.parametrize("num_ids", [0, 1, 1000])
def test_repeated_ids_are_those_that_counting_finds(tmp_path, monkeypatch, num_ids):
    monkeypatch.setattr(ids, "_RUN_IDS", 64)  # many runs and ranges, as of a billion ids
    monkeypatch.setattr(ids, "_RANGE_IDS", 100)
    rng = np.random.default_rng(0)
    words = [f"id {number}" for number in rng.integers(0, 3000, num_ids)]
    seen = SeenIds(tmp_path)
    for start in range(0, num_ids, 37):
        seen.add(words[start : start + 37])
    twice = [word for word, count in Counter(words).items() if count > 1]
    assert np.array_equal(seen.repeated(), np.sort(hash_ids(twice)))


# -- verify


def test_a_directory_as_it_was_written_has_nothing_wrong(encoded):
    assert list(verify(encoded())) == []


def damage_manifest(directory, **changes):
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def shard_with(directory, number, change):
    """Rewrite a shard's vectors, checksum included, so that only what they hold is wrong."""
    import hashlib

    path = directory / f"shard-0000{number}.npy"
    rows = np.load(path)
    np.save(path, change(rows))
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["shards"][number]["vectors_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (directory / "manifest.json").write_text(json.dumps(manifest))


def cut_short(directory):
    path = directory / "shard-00001.npy"
    path.write_bytes(path.read_bytes()[:-4])


def flip_a_bit(directory):
    path = directory / "shard-00002.npy"
    content = bytearray(path.read_bytes())
    content[-4] ^= 1  # the last of a number's mantissa
    path.write_bytes(content)


DAMAGE = {
    "a file cut short": (
        cut_short,
        ["shard-00001.npy: its checksum", "shard-00001.npy is missing or damaged"],
    ),
    "a bit flipped": (flip_a_bit, ["shard-00002.npy: its checksum"]),
    "vectors missing": (lambda d: (d / "shard-00000.npy").unlink(), ["shard-00000.npy: is missing"]),
    "texts missing": (
        lambda d: (d / "shard-00000.parquet").unlink(),
        ["shard-00000.parquet: is missing", "the ids cannot be compared"],
    ),
    "not finite": (
        lambda d: shard_with(d, 1, lambda rows: np.where([[False], [True]], np.float32("nan"), rows)),
        ["shard-00001.npy: 1 rows are not finite, the first is row 1"],
    ),
    "not of unit length": (
        lambda d: shard_with(d, 1, lambda rows: rows * np.float32(1.01)),
        ["shard-00001.npy: 2 rows are not of unit length, the first is row 0"],
    ),
    "another dtype": (
        lambda d: shard_with(d, 1, lambda rows: rows.astype(np.float64)),
        [r"shard-00001.npy holds float64 [2, 16], the manifest says float32 [2, 16]"],
    ),
    "a wrong count": (lambda d: damage_manifest(d, count=7), ["counts 7 vectors, and its shards 6"]),
    "a shard too many": (
        lambda d: (d / "shard-00009.npy").write_bytes((d / "shard-00000.npy").read_bytes()),
        ["shard-00009.npy: the manifest does not name it"],
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_verifying_finds_each_kind_of_damage_and_names_the_shard(encoded, what):
    directory = encoded()
    damage, expected = DAMAGE[what]
    damage(directory)
    found = list(verify(directory))
    assert len(found) == len(expected), found
    for sentence, part in zip(found, expected, strict=True):
        assert part in sentence


def test_verifying_finds_an_id_that_two_shards_have(tmp_path, write_vectors):
    documents = [Document(id_, "text") for id_ in ("a", "b", "c", "a")]
    directory = write_vectors(tmp_path / "v", documents, np.eye(4, dtype=np.float32), shard_size=2)
    assert list(verify(directory)) == ["the id 'a' occurs twice: documents 1 and 4"]


def test_what_is_no_vectors_directory_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json"):
        list(verify(tmp_path))
