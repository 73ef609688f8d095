"""The exact index against brute force, settings by size, directories that are whole or refused."""

import json
from typing import Any

import faiss
import numpy as np
import pytest

from llara.corpus import Document
from llara.encoder.quantise import quantise, restore
from llara.errors import ConfigError, InputError, OutputError
from llara.indexes import (
    ExactIndex,
    HnswSettings,
    IvfFlatSettings,
    IvfPqSettings,
    Kind,
    add_to_index,
    build_index,
    open_index,
)
from llara.indexes.blocks import TorchVectors
from llara.indexes.source import VectorSource


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(stored, queries, k):
    """Order by the float64 inner product rounded to float32, then by position."""
    scores = (queries.astype(np.float64) @ stored.astype(np.float64).T).astype(np.float32)
    order = np.lexsort((np.broadcast_to(np.arange(len(stored)), scores.shape), -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def opened_index(path, **options) -> Any:
    return open_index(path, **options)


@pytest.fixture(params=[None, "cpu"], ids=["faiss", "torch"])
def exact(request):
    """An exact index of vectors, on faiss and on torch."""
    return lambda vectors: ExactIndex(vectors, device=request.param)


@pytest.mark.parametrize("num_queries", [3, 40])  # few are compared one by one, many by matrix products
@pytest.mark.parametrize("k", [1, 10, 3000, 5000])
def test_search_equals_brute_force_in_float64(exact, k, num_queries):
    generator = np.random.default_rng(0)
    stored, queries = unit(generator.normal(size=(3000, 48))), unit(generator.normal(size=(num_queries, 48)))
    scores, positions = exact(stored).search(queries, k)
    expected_scores, expected_positions = brute_force(stored, queries, k)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(positions, expected_positions)
    np.testing.assert_array_equal(scores, expected_scores)


def test_search_equals_brute_force_when_all_vectors_are_nearly_the_same(exact):
    # An un-adapted language model: cosines that differ in the last bits of float32.
    generator = np.random.default_rng(1)
    centre = generator.normal(size=(1, 256))
    stored = unit(centre + 1e-3 * generator.normal(size=(2000, 256)))
    queries = unit(centre + 1e-3 * generator.normal(size=(30, 256)))
    scores, positions = exact(stored).search(queries, 10)
    expected_scores, expected_positions = brute_force(stored, queries, 10)
    np.testing.assert_array_equal(positions, expected_positions)
    np.testing.assert_array_equal(scores, expected_scores)


def test_copies_of_a_vector_come_in_the_order_of_their_positions(exact):
    generator = np.random.default_rng(2)
    stored = unit(generator.normal(size=(2000, 32)))
    copies = np.sort(generator.choice(2000, size=70, replace=False))
    stored[copies] = stored[copies[0]]
    scores, positions = exact(stored).search(np.repeat(stored[copies[:1]], 30, axis=0), 50)
    np.testing.assert_array_equal(positions, np.tile(copies[:50], (30, 1)))
    assert len(np.unique(scores)) == 1


@pytest.mark.parametrize("k", [5, 400])
def test_only_what_is_allowed_is_found_and_all_of_it_if_asked(exact, k):
    generator = np.random.default_rng(3)
    stored, queries = unit(generator.normal(size=(1000, 24))), unit(generator.normal(size=(20, 24)))
    allowed = generator.random(1000) < 0.3
    kept = np.flatnonzero(allowed)
    scores, positions = exact(stored).search(queries, k, allowed=allowed)
    expected_scores, expected = brute_force(stored[kept], queries, k)
    np.testing.assert_array_equal(positions, kept[expected])
    np.testing.assert_array_equal(scores, expected_scores)


def test_nothing_asked_nothing_allowed_nothing_found(exact):
    index = exact(np.eye(3, dtype=np.float32))
    assert index.search(np.zeros((0, 3), np.float32), 2)[1].shape == (0, 2)
    assert index.search(np.eye(3, dtype=np.float32), 2, allowed=np.zeros(3, bool))[1].shape == (3, 0)


@pytest.mark.parametrize("block_rows", [1, 7, 64, 1000])
def test_vectors_that_pass_in_blocks_are_searched_as_if_at_once(block_rows, tmp_path):
    generator = np.random.default_rng(4)
    stored, queries = unit(generator.normal(size=(300, 16))), unit(generator.normal(size=(9, 16)))
    stored.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=(300, 16))
    scores, found = TorchVectors(mapped, "cpu", block_rows=block_rows).search(queries, 20)
    expected_scores, expected = brute_force(stored, queries, 20)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-6)  # added up in float32
    few = np.isin(np.arange(300), [250, 3])
    scores, found = TorchVectors(mapped, "cpu", block_rows=block_rows).search(queries, 4, few)
    assert [set(row[:2]) for row in found.tolist()] == [{3, 250}] * 9
    assert (found[:, 2:] == -1).all()
    assert np.isneginf(scores[:, 2:]).all()


@pytest.mark.parametrize(
    ("count", "nlist", "nprobe", "sample"),
    [(7, 1, 1, 7), (1000, 25, 16, 1000), (2_000_000, 5657, 44, 226_280), (8_841_823, 11_894, 92, 475_760)],
)
def test_the_lists_of_ivf_grow_with_the_root_of_the_vectors(count, nlist, nprobe, sample):
    # 4 sqrt(n) lists of 39 or more; a 128th of them read, at least 16; 40 vectors a list to train on
    found = IvfFlatSettings().resolved(count, 64)
    assert (found.nlist, found.nprobe, found.sample) == (nlist, nprobe, sample)


@pytest.mark.parametrize(
    ("count", "dimension", "M", "nbits"),
    [(10**6, 256, 32, 8), (10**6, 100, 10, 8), (1000, 16, 2, 4), (7, 5, 1, 1)],
)
def test_the_codes_of_pq_follow_from_dimension_and_count(count, dimension, M, nbits):
    found = IvfPqSettings().resolved(count, dimension)
    assert (found.M, found.nbits) == (M, nbits)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("exact", ["nlist=3"], "nlist: an index of the kind exact has no such setting; it has none$"),
        ("hnsw", ["M=1"], "M = 1, expected at least 2"),
        ("hnsw", ["efsearch=9"], "it has M, efConstruction, efSearch; did you mean efSearch"),
        ("ivf-flat", ["nlist=8"], "nlist is 8, and there are 7 vectors"),
        ("ivf-pq", ["M=3"], "M is 3, expected a divisor of the dimension 5"),
        ("ivf-pq", ["nbits=3"], "8 centroids cannot be trained on 7 vectors"),
        ("ivf-pq", ["rescore=int4"], "one of none, int8, float32"),
        ("binary", [], "multiple of 8 dimensions, not 5"),
        ("fast", [], "'fast', expected one of exact, hnsw"),
        ("exact", HnswSettings(), "no settings of the kind exact; expected ExactSettings"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(vectors, tmp_path, kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        build_index(vectors[0], tmp_path / "index", kind=kind, settings=settings)
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


def test_a_setting_out_of_range_is_refused_in_python_too():
    with pytest.raises(ConfigError, match="efSearch is 0, expected at least 1"):
        HnswSettings(efSearch=0)


@pytest.fixture
def vectors(tmp_path, write_vectors):
    """Three shards of documents."""
    stored = unit(np.random.default_rng(4).normal(size=(7, 5)))
    documents = [
        Document(id=f"d{n}", text=f"text {n}", title="" if n % 2 else f"title {n}") for n in range(7)
    ]
    return write_vectors(tmp_path / "vectors", documents, stored, shard_size=3), documents, stored


@pytest.mark.parametrize("kind", ["exact", "hnsw", "ivf-flat", "ivf-sq8", "ivf-pq", "sq8"])
def test_every_kind_is_built_of_seven_vectors(vectors, tmp_path, kind):
    directory, documents, stored = vectors
    opened = opened_index(build_index(directory, tmp_path / "index", kind=kind))
    (hits,) = opened.search(stored[:1], 10)
    assert {hit.document.id: hit.document for hit in hits} == {one.id: one for one in documents}
    assert (opened.manifest.kind, opened.manifest.dimension, len(opened)) == (kind, 5, 7)
    assert (opened.manifest.model, opened.manifest.fingerprint) == ("some/model", "f" * 64)


@pytest.mark.parametrize("kind", ["sq8", "binary"])
def test_codes_that_are_written_block_by_block_are_the_file_that_faiss_writes(
    kind, tmp_path, write_vectors, monkeypatch
):
    monkeypatch.setattr("llara.indexes.source._BLOCK_BYTES", 4 * 16 * 7)  # seven vectors
    stored = unit(np.random.default_rng(6).normal(size=(90, 16)))
    documents = [Document(id=f"d{n}", text="") for n in range(90)]
    first = write_vectors(tmp_path / "first", documents[:60], stored[:60], shard_size=25)
    later = write_vectors(tmp_path / "later", documents[60:], stored[60:], shard_size=25)
    out = build_index(first, tmp_path / "index", kind=kind, settings=["rescore=none"])
    index: Any = faiss.IndexBinaryFlat(16)
    rows: Any = np.packbits(stored > 0, axis=1)
    write: Any = faiss.write_index_binary
    if kind == "sq8":
        index = faiss.IndexScalarQuantizer(16, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        index.train(stored[:60])
        rows, write = stored, faiss.write_index
    for count in (60, 90):
        index.add(rows[index.ntotal : count])
        write(index, str(tmp_path / "by faiss"))
        (path,) = out.glob("index-*.faiss")
        assert path.read_bytes() == (tmp_path / "by faiss").read_bytes()
        if count == 60:
            add_to_index(out, later)


@pytest.mark.parametrize("dtype", ["float16", "int8", "binary"])
def test_vectors_are_indexed_as_they_are_stored(tmp_path, write_vectors, dtype):
    stored = unit(np.random.default_rng(5).normal(size=(40, 16)))
    documents = [Document(id=f"d{n}", text="") for n in range(40)]
    directory = write_vectors(tmp_path / "vectors", documents, quantise(stored, dtype), shard_size=15)
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "dtype": dtype, "dimension": 16}))
    opened = opened_index(build_index(directory, tmp_path / "index"))
    np.testing.assert_array_equal(
        opened.index.vectors(np.arange(40)), restore(quantise(stored, dtype), dtype)
    )


def test_a_sample_is_of_the_vectors_each_at_most_once(vectors):
    source = VectorSource(vectors[0])
    rows = [vectors[2].tolist().index(row) for row in source.sample(5).tolist()]
    assert rows == sorted(set(rows))
    assert len(rows) == 5
    np.testing.assert_array_equal(source.sample(100), vectors[2])


def test_settings_are_kept_and_those_of_searches_can_be_changed_when_opening(vectors, tmp_path):
    index = build_index(vectors[0], tmp_path / "i", kind="hnsw", settings=HnswSettings(8, 50, 60))
    assert opened_index(index).manifest.settings == {"M": 8, "efConstruction": 50, "efSearch": 60}
    opened = opened_index(index)
    graph = opened.index._index.hnsw
    assert (graph.efConstruction, graph.nb_neighbors(0)) == (50, 16)
    assert opened_index(index, settings=["efSearch=7"]).index._settings == HnswSettings(8, 50, 7)
    with pytest.raises(ConfigError, match=r"M is decided when an index is built.*can set efSearch"):
        opened_index(index, settings=["M=9"])
    none_such = r"nprobe: an index of the kind hnsw has no such setting; .* a search can set efSearch$"
    with pytest.raises(ConfigError, match=none_such):
        opened_index(index, settings=["nprobe=9"])
    exact = build_index(vectors[0], tmp_path / "exact")
    with pytest.raises(ConfigError, match=r"kind exact has no such setting; it has none$"):
        opened_index(exact, settings=["nprobe=9"])


def test_a_wider_search_finds_more(tmp_path, write_vectors):
    generator = np.random.default_rng(6)
    stored, queries = unit(generator.normal(size=(3000, 32))), unit(generator.normal(size=(100, 32)))
    documents = [Document(id=f"d{n}", text="") for n in range(3000)]
    directory = write_vectors(tmp_path / "vectors", documents, stored, shard_size=3000)
    expected = brute_force(stored, queries, 1)[1]
    cases: list[tuple[Kind, str, str]] = [
        ("hnsw", "efSearch=1", "efSearch=400"),
        ("ivf-flat", "nprobe=1", "nprobe=60"),
    ]
    for kind, narrow, wide in cases:
        index = build_index(directory, tmp_path / kind, kind=kind)
        shares = [
            (opened_index(index, settings=[chosen]).nearest(queries, 1)[1] == expected).mean()
            for chosen in (narrow, wide)
        ]
        assert shares[0] < 0.9 < 0.98 < shares[1], kind


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "ivf"}, "'ivf', expected one of exact, hnsw"),
        ({"backend": "lucene"}, "'lucene', expected one of faiss, milvus"),
        ({"format": "llara-index/1"}, "llara-index/2"),
        ({"settings": {"nlist": 3}}, "nlist"),
        ({"dimension": 6}, "damaged"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_manifest_that_is_not_of_this_index_is_refused(vectors, tmp_path, change, message):
    index = build_index(vectors[0], tmp_path / "index")
    manifest = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(InputError, match=message) as caught:
        opened_index(index)
    assert "llara index" in str(caught.value)


def test_an_index_is_not_overwritten_unless_told(vectors, tmp_path):
    directory, *_ = vectors
    build_index(directory, tmp_path / "index")
    with pytest.raises(OutputError, match="--overwrite"):
        build_index(directory, tmp_path / "index")
    build_index(directory, tmp_path / "index", overwrite=True)


def test_query_vectors_and_no_vectors_make_no_index(tmp_path, write_vectors):
    queries = write_vectors(
        tmp_path / "q", [Document(id="q", text="t")], np.eye(1, dtype=np.float32), role="query"
    )
    with pytest.raises(InputError, match="--role document"):
        build_index(queries, tmp_path / "index")
    with pytest.raises(InputError, match="holds no vectors"):
        build_index(write_vectors(tmp_path / "e", [], np.zeros((0, 5), np.float32)), tmp_path / "index")


def test_an_id_that_comes_twice_makes_no_index(tmp_path, write_vectors):
    documents = [Document(id="same", text="one"), Document(id="same", text="two")]
    directory = write_vectors(tmp_path / "v", documents, np.eye(2, dtype=np.float32))
    with pytest.raises(InputError, match="an id occurs twice"):
        build_index(directory, tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b"{"),
        ("manifest.json", b'{"format": "llara-vectors/2", "count": 7}'),
        ("manifest.json", b'{"format": "something-else"}'),
        ("manifest.json", None),
        ("shard-00001.npy", b"\x93NUMPY"),
        ("shard-00001.npy", None),
        ("shard-00001.parquet", b"PAR1"),
        ("shard-00002.parquet", None),
    ],
)
def test_damaged_vectors_make_an_input_error_and_leave_nothing(vectors, tmp_path, name, content):
    directory, *_ = vectors
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)
    with pytest.raises(InputError, match="vectors"):
        build_index(directory, tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["vectors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fingerprint": "0" * 64}, "another model.*build a new index"),
        ({"dimension": 4}, "another dimension"),
        ({"title_separator": None}, "another title separator"),
    ],
)
def test_vectors_that_cannot_be_compared_are_not_added(vectors, tmp_path, change, message):
    index = build_index(vectors[0], tmp_path / "index")
    manifest = json.loads((vectors[0] / "manifest.json").read_text())
    (vectors[0] / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(InputError, match=message):
        add_to_index(index, vectors[0])
    assert len(opened_index(index)) == 7
