"""Every kind of index against brute force in float64; index directories that are whole or refused."""

import json

import numpy as np
import pytest

from llara.corpus import Document
from llara.errors import ConfigError, InputError, OutputError
from llara.indexes import ExactIndex, HnswIndex, HnswSettings, build_index, open_index


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(stored, queries, k):
    """Order by the float64 inner product rounded to float32, then by position."""
    scores = (queries.astype(np.float64) @ stored.astype(np.float64).T).astype(np.float32)
    order = np.lexsort((np.broadcast_to(np.arange(len(stored)), scores.shape), -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def clustered(generator, count, dimension):
    """Unit vectors around 50 centres, as texts on some subjects are."""
    centres = generator.normal(size=(50, dimension))
    return unit(centres[generator.integers(50, size=count)] + 0.4 * generator.normal(size=(count, dimension)))


@pytest.fixture(params=[ExactIndex, HnswIndex])
def kind(request):
    return request.param


def filled(kind, stored):
    index = kind(stored.shape[1])
    index.add(stored)
    return index


@pytest.mark.parametrize("k", [1, 10, 3000, 5000])
def test_search_equals_brute_force_in_float64(k):
    generator = np.random.default_rng(0)
    stored, queries = unit(generator.normal(size=(3000, 48))), unit(generator.normal(size=(40, 48)))
    scores, positions = ExactIndex.from_vectors(stored).search(queries, k)
    expected_scores, expected_positions = brute_force(stored, queries, k)
    assert scores.dtype == np.float32
    np.testing.assert_array_equal(positions, expected_positions)
    np.testing.assert_array_equal(scores, expected_scores)


def test_search_equals_brute_force_when_all_vectors_are_nearly_the_same():
    # An un-adapted language model: cosines that differ in the last bits of float32.
    generator = np.random.default_rng(1)
    centre = generator.normal(size=(1, 256))
    stored = unit(centre + 1e-3 * generator.normal(size=(2000, 256)))
    queries = unit(centre + 1e-3 * generator.normal(size=(30, 256)))
    scores, positions = ExactIndex.from_vectors(stored).search(queries, 10)
    expected_scores, expected_positions = brute_force(stored, queries, 10)
    np.testing.assert_array_equal(positions, expected_positions)
    np.testing.assert_array_equal(scores, expected_scores)


def test_copies_of_a_vector_come_in_the_order_of_their_positions():
    generator = np.random.default_rng(2)
    stored = unit(generator.normal(size=(2000, 32)))
    copies = np.sort(generator.choice(2000, size=70, replace=False))
    stored[copies] = stored[copies[0]]
    scores, positions = ExactIndex.from_vectors(stored).search(np.repeat(stored[copies[:1]], 30, axis=0), 50)
    np.testing.assert_array_equal(positions, np.tile(copies[:50], (30, 1)))
    assert len(np.unique(scores)) == 1


def test_hnsw_finds_most_of_the_ten_nearest():
    generator = np.random.default_rng(5)
    stored, queries = clustered(generator, 4000, 48), clustered(generator, 200, 48)
    _, found = filled(HnswIndex, stored).search(queries, 10)
    _, expected = brute_force(stored, queries, 10)
    shares = [len({*row} & {*best}) / 10 for row, best in zip(found.tolist(), expected.tolist(), strict=True)]
    assert np.mean(shares) > 0.95


def test_hnsw_with_a_wide_search_finds_more_than_with_a_narrow_one():
    generator = np.random.default_rng(6)
    stored, queries = unit(generator.normal(size=(4000, 64))), unit(generator.normal(size=(100, 64)))
    _, expected = brute_force(stored, queries, 1)
    hits = []
    for width in (1, 400):
        index = HnswIndex(64, HnswSettings(efSearch=width))
        index.add(stored)
        hits.append((index.search(queries, 1)[1] == expected).mean())
    assert hits[0] < 0.9 < 0.98 < hits[1]


@pytest.mark.parametrize("k", [1, 7, 300, 500])
def test_any_kind_gives_k_hits_with_exact_scores_in_order(kind, k):
    generator = np.random.default_rng(7)
    stored, queries = clustered(generator, 300, 24), clustered(generator, 20, 24)
    stored[[5, 250]] = stored[100]
    scores, positions = filled(kind, stored).search(queries, k)
    assert scores.shape == positions.shape == (20, min(k, 300))
    assert (scores.dtype, positions.dtype) == (np.float32, np.int64)
    every = (queries.astype(np.float64) @ stored.astype(np.float64).T).astype(np.float32)
    np.testing.assert_array_equal(scores, np.take_along_axis(every, positions, axis=1))
    for row in range(20):
        assert len(set(positions[row].tolist())) == min(k, 300)
        ranking = sorted(zip(-scores[row], positions[row], strict=True))
        assert ranking == list(zip(-scores[row], positions[row], strict=True))


def test_any_kind_gives_back_the_vectors_it_holds(kind):
    stored = unit(np.random.default_rng(8).normal(size=(30, 6)))
    np.testing.assert_array_equal(filled(kind, stored).vectors(np.array([29, 0, 3])), stored[[29, 0, 3]])


@pytest.mark.parametrize("name", ["M", "efConstruction", "efSearch"])
def test_a_setting_of_hnsw_that_is_too_small_is_refused(name):
    with pytest.raises(ConfigError, match=f"{name} is 0"):
        HnswSettings(**{name: 0})


def test_a_query_has_the_same_hits_alone_and_among_others(kind):
    generator = np.random.default_rng(3)
    stored, queries = unit(generator.normal(size=(2500, 100))), unit(generator.normal(size=(64, 100)))
    index = filled(kind, stored)
    scores, positions = index.search(queries, 20)
    for row in range(len(queries)):
        alone_scores, alone_positions = index.search(queries[row : row + 1], 20)
        np.testing.assert_array_equal(alone_scores[0], scores[row])
        np.testing.assert_array_equal(alone_positions[0], positions[row])


def test_no_queries_have_no_hits(kind):
    scores, positions = filled(kind, np.eye(3, dtype=np.float32)).search(np.zeros((0, 3), np.float32), 2)
    assert scores.shape == positions.shape == (0, 2)


@pytest.fixture
def vectors(tmp_path, write_vectors):
    """Three shards of documents."""
    stored = unit(np.random.default_rng(4).normal(size=(7, 5)))
    documents = [
        Document(id=f"d{n}", text=f"text {n}", title="" if n % 2 else f"title {n}") for n in range(7)
    ]
    return write_vectors(tmp_path / "vectors", documents, stored, shard_size=3), documents, stored


@pytest.mark.parametrize("name", ["exact", "hnsw"])
def test_an_index_directory_gives_back_vectors_and_texts_in_order(vectors, tmp_path, name):
    directory, documents, stored = vectors
    opened = open_index(build_index(directory, tmp_path / "index", kind=name))
    assert opened.manifest.kind == name
    np.testing.assert_array_equal(opened.index.vectors(np.arange(7)), stored)
    _, positions = opened.index.search(stored, 1)
    np.testing.assert_array_equal(positions[:, 0], np.arange(7))
    assert opened.documents([6, 0, 3]) == [documents[6], documents[0], documents[3]]
    assert (opened.manifest.count, opened.manifest.dimension) == (7, 5)
    assert (opened.manifest.model, opened.manifest.fingerprint) == ("some/model", "f" * 64)


def test_documents_are_found_by_their_ids(vectors, tmp_path):
    opened = open_index(build_index(vectors[0], tmp_path / "index"))
    assert opened.positions(["d6", "d0", "none", "d3", "d3"]) == {"d0": 0, "d3": 3, "d6": 6}
    assert opened.positions([]) == {}


def test_the_settings_of_hnsw_are_kept(vectors, tmp_path):
    opened = open_index(build_index(vectors[0], tmp_path / "i", kind="hnsw", hnsw=HnswSettings(8, 50, 60)))
    assert opened.manifest.hnsw == {"M": 8, "efConstruction": 50, "efSearch": 60}
    graph = opened.index._index.hnsw  # type: ignore[attr-defined]
    assert (graph.efConstruction, graph.efSearch, graph.nb_neighbors(0)) == (50, 60, 16)


def test_an_index_made_before_there_were_kinds_to_choose_from_opens(vectors, tmp_path):
    index = build_index(vectors[0], tmp_path / "index")
    manifest = json.loads((index / "manifest.json").read_text())
    del manifest["hnsw"]
    (index / "manifest.json").write_text(json.dumps(manifest))
    assert len(open_index(index).index) == 7


def test_an_index_of_a_kind_from_the_future_is_refused(vectors, tmp_path):
    index = build_index(vectors[0], tmp_path / "index")
    manifest = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps({**manifest, "kind": "ivf"}))
    with pytest.raises(InputError, match=r"'ivf', expected one of exact, hnsw"):
        open_index(index)


def test_an_index_is_not_overwritten_unless_told(vectors, tmp_path):
    directory, *_ = vectors
    build_index(directory, tmp_path / "index")
    with pytest.raises(OutputError, match="--overwrite"):
        build_index(directory, tmp_path / "index")
    build_index(directory, tmp_path / "index", overwrite=True)


def test_query_vectors_make_no_index(tmp_path, write_vectors):
    directory = write_vectors(
        tmp_path / "q", [Document(id="q", text="t")], np.eye(1, dtype=np.float32), role="query"
    )
    with pytest.raises(InputError, match="--role document"):
        build_index(directory, tmp_path / "index")


def test_an_unknown_kind_is_refused(vectors, tmp_path):
    with pytest.raises(ConfigError, match=r"'fast'.*exact, hnsw"):
        build_index(vectors[0], tmp_path / "index", kind="fast")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b"{"),
        ("manifest.json", b'{"format": "llara-vectors/1", "count": 7}'),
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


def test_a_shard_of_another_shape_is_refused(vectors, tmp_path):
    directory, _, stored = vectors
    np.save(directory / "shard-00001.npy", stored[:2])
    with pytest.raises(InputError, match=r"\(2, 5\).*expected \(3, 5\)"):
        build_index(directory, tmp_path / "index")


@pytest.mark.parametrize("name", ["index.faiss", "documents.arrow", "manifest.json"])
@pytest.mark.parametrize("keep", [None, 0, 40, -20])
@pytest.mark.parametrize("which", ["exact", "hnsw"])
def test_a_damaged_index_is_an_input_error(vectors, tmp_path, name, keep, which):
    index = build_index(vectors[0], tmp_path / "index", kind=which)
    content = (index / name).read_bytes()
    (index / name).unlink()
    if keep is not None:
        (index / name).write_bytes(content[:keep])
    with pytest.raises(InputError, match="llara index"):
        open_index(index)


def test_an_index_with_other_texts_is_an_input_error(vectors, tmp_path):
    index = build_index(vectors[0], tmp_path / "index")
    manifest = json.loads((index / "manifest.json").read_text())
    (index / "manifest.json").write_text(json.dumps({**manifest, "count": 8}))
    with pytest.raises(InputError, match="8 documents"):
        open_index(index)
