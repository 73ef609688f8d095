"""One suite over every kind of index on both backends, with brute force in float64 as the oracle."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llara.corpus import Document
from llara.errors import InputError
from llara.indexes import StoredIndex, add_to_index, build_index, delete_from_index, open_index

COUNT, DIMENSION = 1200, 32

# What is built, and how many of the ten nearest it must find: as measured on these vectors, less a little.
CASES: dict[str, tuple[Any, Any, list[str], float]] = {
    "exact": ("faiss", "exact", [], 1.0),
    "hnsw": ("faiss", "hnsw", [], 0.99),
    "ivf-flat": ("faiss", "ivf-flat", ["nprobe=8"], 0.9),
    "ivf-sq8": ("faiss", "ivf-sq8", ["nprobe=8"], 0.9),
    "ivf-sq8, int8": ("faiss", "ivf-sq8", ["nprobe=8", "rescore=int8"], 0.9),
    "ivf-sq8, float32": ("faiss", "ivf-sq8", ["nprobe=8", "rescore=float32"], 0.9),
    "ivf-pq": ("faiss", "ivf-pq", ["M=16", "nbits=4"], 0.5),
    "ivf-pq, int8": ("faiss", "ivf-pq", ["M=16", "nbits=4", "rescore=int8"], 0.95),
    "sq8": ("faiss", "sq8", [], 0.95),
    "sq8, float32": ("faiss", "sq8", ["rescore=float32"], 1.0),
    "binary": ("faiss", "binary", [], 0.7),
    "binary, float32": ("faiss", "binary", ["rescore=float32"], 0.7),
    "binary, signs alone": ("faiss", "binary", ["rescore=none"], 0.1),
    "milvus exact": ("milvus", "exact", [], 1.0),
    "milvus hnsw": ("milvus", "hnsw", [], 0.98),
    "milvus ivf-flat": ("milvus", "ivf-flat", ["nprobe=8"], 0.9),
    "milvus ivf-sq8": ("milvus", "ivf-sq8", ["nprobe=8"], 0.9),
}
LOSSLESS = [
    *("exact", "hnsw", "ivf-flat", "ivf-sq8, float32", "sq8, float32", "binary, float32"),
    *("milvus exact", "milvus hnsw", "milvus ivf-flat"),
]
ON_FAISS = [name for name, case in CASES.items() if case[0] == "faiss"]


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def clustered(seed, count):
    """Unit vectors around 40 centres, as texts on some subjects are."""
    centres = np.random.default_rng(0).normal(size=(40, DIMENSION))
    generator = np.random.default_rng([1, seed])
    return unit(centres[generator.integers(40, size=count)] + 0.6 * generator.normal(size=(count, DIMENSION)))


def documents_of(start, count, tag="old"):
    return [
        Document(
            id=f"d{n:05d}",
            title="" if n % 2 else f"title {n}",
            text=f"text {n} {tag}",
            metadata=None if n % 10 == 9 else {"year": 1990 + n % 30, "lang": ("en", "de", "zh")[n % 3]},
        )
        for n in range(start, start + count)
    ]


STORED = clustered(1, COUNT)
STORED[[5, 500, 900]] = STORED[300]  # copies
QUERIES = clustered(2, 60)
COSINES = (QUERIES.astype(np.float64) @ STORED.astype(np.float64).T).astype(np.float32)
BEST = np.argsort(-COSINES, axis=1, kind="stable")  # of equal ones the earlier first


def ids_of(hits):
    return [hit.document.id for hit in hits]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory, write_vectors):
    folder = tmp_path_factory.mktemp("vectors")
    return write_vectors(folder / "v", documents_of(0, COUNT), STORED, shard_size=500)


@pytest.fixture(scope="module")
def later(tmp_path_factory, write_vectors):
    """Sixty more documents, of which the first twenty have ids that are there: 1180 to 1239."""
    folder = tmp_path_factory.mktemp("later")
    return write_vectors(folder / "v", documents_of(COUNT - 20, 60, "new"), clustered(3, 60), shard_size=25)


@pytest.fixture(scope="module")
def built(vectors, tmp_path_factory):
    """An index directory of a case, built once."""
    done: dict[str, Path] = {}

    def get(name):
        backend, kind, settings, _ = CASES[name]
        if backend == "milvus" and find_spec("pymilvus") is None:
            pytest.skip("pymilvus is not installed")
        if name not in done:
            out = tmp_path_factory.mktemp("index") / "index"
            done[name] = build_index(vectors, out, kind=kind, settings=settings, backend=backend)
        return done[name]

    return get


def opened(path) -> Any:
    return open_index(path)


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture
def index(name, built):
    found = opened(built(name))
    yield found
    found.close()


@pytest.fixture
def changed(name, built, tmp_path):
    """A copy of the index, for the test to change."""
    return Path(shutil.copytree(built(name), tmp_path / "copy"))


def test_enough_of_the_ten_nearest_are_found(name, index):
    found = [ids_of(hits) for hits in index.search(QUERIES, 10)]
    tenth = np.sort(COSINES, axis=1)[:, -10]  # of equals on the tenth place any will do
    near = [
        [row[int(id_[1:])] >= least for id_ in ids]
        for row, least, ids in zip(COSINES, tenth, found, strict=True)
    ]
    assert np.mean(near) >= CASES[name][3]
    assert all(len(set(ids)) == 10 for ids in found)


@pytest.mark.parametrize("name", ["exact", "sq8, float32"])
def test_the_exact_index_orders_equals_by_position_when_it_chooses(index):
    _, positions = index.nearest(QUERIES, 10)
    np.testing.assert_array_equal(positions, BEST[:, :10])
    _, positions = index.nearest(STORED[300:301], 2)
    assert positions.tolist() == [[5, 300]]


def test_scores_are_the_cosines_as_well_as_the_index_knows_them(name, index):
    tolerance = 1e-6 if name in LOSSLESS else 0.02 if "signs" not in name and name != "ivf-pq" else 0.5
    for row, hits in zip(COSINES, index.search(QUERIES, 10), strict=True):
        for hit in hits:
            assert hit.score == pytest.approx(row[int(hit.document.id[1:])], abs=tolerance)


def test_hits_come_with_their_documents_by_score_and_of_equals_the_greater_id_first(index):
    all_documents = {document.id: document for document in documents_of(0, COUNT)}
    for hits in index.search(QUERIES[:10], 20):
        assert [hit.document for hit in hits] == [all_documents[id_] for id_ in ids_of(hits)]
        keys = [(hit.score, hit.document.id) for hit in hits]
        assert keys == sorted(keys, reverse=True)


def test_copies_of_a_vector_have_one_score(index):
    (hits,) = index.search(STORED[300:301], 4)
    assert ids_of(hits) == ["d00900", "d00500", "d00300", "d00005"]
    assert len({hit.score for hit in hits}) == 1


@pytest.mark.parametrize("name", [each for each in CASES if each != "milvus hnsw"])
def test_more_hits_than_documents_are_all_documents(index):
    (hits,) = index.search(QUERIES[:1], COUNT + 100)
    assert len(index) == len(hits) == len(set(ids_of(hits))) == COUNT


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("year >= 2010", lambda data: data["year"] >= 2010),
        ("lang in ['de', 'zh'] and year < 2000", lambda data: data["lang"] != "en" and data["year"] < 2000),
    ],
)
def test_a_filter_lets_those_through_whose_metadata_match(name, index, where, passes):
    matching = [n for n, one in enumerate(documents_of(0, COUNT)) if one.metadata and passes(one.metadata)]
    results = index.search(QUERIES, 10, where=where)
    assert all(passes(hit.document.metadata) and len(hits) == 10 for hits in results for hit in hits)
    if isinstance(index, StoredIndex) and name in LOSSLESS:  # few match, so that faiss compares all of them
        for row, hits in zip(COSINES, results, strict=True):
            best = sorted(matching, key=lambda n: -row[n])[:10]
            assert {hit.score for hit in hits} == {row[n] for n in best}


@pytest.mark.parametrize("name", ON_FAISS)
@pytest.mark.parametrize("where", [None, "lang in ['de', 'zh']"])
def test_faiss_passes_over_what_is_deleted_or_filtered_out_and_finds_as_many_of_the_rest(
    name, where, changed, monkeypatch
):
    """As with more than 4,096 documents left: fewer are compared one by one, whatever the kind."""
    monkeypatch.setattr("llara.indexes.stored._FEW", 0)
    monkeypatch.setattr("llara.indexes.stored.search_among", None)
    delete_from_index(changed, [f"d{n:05d}" for n in range(0, COUNT, 4)])
    left = [
        n % 4 != 0 and (where is None or (one.metadata or {}).get("lang") in ("de", "zh"))
        for n, one in enumerate(documents_of(0, COUNT))
    ]
    found = opened(changed)
    rows = [[int(id_[1:]) for id_ in ids_of(hits)] for hits in found.search(QUERIES, 10, where=where)]
    assert all(len(set(row)) == 10 and all(left[n] for n in row) for row in rows)
    tenth = np.sort(COSINES[:, left], axis=1)[:, -10]
    near = [cosines[row] >= least for cosines, row, least in zip(COSINES, rows, tenth, strict=True)]
    assert np.mean(near) >= CASES[name][3]


def test_what_is_added_is_found_and_takes_the_place_of_what_had_its_id(name, changed, later):
    change = add_to_index(changed, later)
    assert (change.added, change.replaced) == (40, 20)
    added = clustered(3, 60)
    found = opened(changed)
    assert len(found) == COUNT + 40
    results = found.search(added, 1)
    if "signs" not in name and name != "ivf-pq":
        assert [ids_of(hits)[0] for hits in results] == [f"d{n:05d}" for n in range(COUNT - 20, COUNT + 40)]
        assert all(hits[0].document.text.endswith("new") for hits in results)
    replaced = found.search(STORED[COUNT - 20 :], 30)
    assert all(
        hit.document.text.endswith("new") for hits in replaced for hit in hits if hit.document.id >= "d01180"
    )
    found.close()


def test_what_is_deleted_is_not_found_and_what_is_not_there_is_counted(name, changed):
    gone = [f"d{n:05d}" for n in range(0, COUNT, 3)]
    change = delete_from_index(changed, [*gone, "d00000", "nothing"])
    assert (change.deleted, change.missing) == (len(gone), 1)
    found = opened(changed)
    assert len(found) == COUNT - len(gone)
    results = found.search(QUERIES, 10)
    assert all(len(hits) == 10 for hits in results)
    assert not set(gone) & {id_ for hits in results for id_ in ids_of(hits)}
    change = delete_from_index(changed, [f"d{n:05d}" for n in range(COUNT)])
    assert (change.deleted, change.missing) == (COUNT - len(gone), len(gone))
    found.close()
    found = opened(changed)
    assert (len(found), found.search(QUERIES[:2], 5)) == (0, [[], []])
    found.close()


def test_queries_of_another_dimension_or_not_finite_are_refused(index):
    with pytest.raises(InputError, match=r"\[1, 31\].*vectors of 32"):
        index.search(QUERIES[:1, :-1], 3)
    with pytest.raises(InputError, match="not finite"):
        index.search(np.where(np.arange(DIMENSION) == 3, np.nan, QUERIES[:1]), 3)
    assert index.search(np.zeros((0, DIMENSION), np.float32), 3) == []


def test_vectors_that_are_not_finite_make_no_index_and_leave_nothing(name, tmp_path, write_vectors):
    backend, kind, settings, _ = CASES[name]
    bad = STORED[:300].copy()
    bad[280, 3] = np.inf
    source = write_vectors(tmp_path / "v", documents_of(0, 300), bad)
    with pytest.raises(InputError, match=r"shard-00002.*not finite"):
        build_index(source, tmp_path / "i", kind=kind, settings=[*settings, *few(kind)], backend=backend)
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def few(kind):
    return ["nbits=2"] if kind == "ivf-pq" else []


def test_another_process_finds_the_same(built):
    paths = {name: str(built(name)) for name in CASES}
    found = {name: opened(Path(path)) for name, path in paths.items()}
    here = {
        name: [[(hit.document.id, hit.score) for hit in hits] for hits in index.search(QUERIES[:5], 5)]
        for name, index in found.items()
    }
    for index in found.values():
        index.close()
    code = (
        "import json, sys, numpy as np\nfrom pathlib import Path\nfrom llara.indexes import open_index\n"
        "paths, queries = json.loads(sys.stdin.read())\nqueries = np.array(queries, np.float32)\n"
        "found = {n: open_index(Path(p)).search(queries, 5) for n, p in paths.items()}\n"
        "pairs = {n: [[(h.document.id, h.score) for h in hits] for hits in r] for n, r in found.items()}\n"
        "print(json.dumps(pairs))"
    )
    told = json.dumps([paths, QUERIES[:5].tolist()])
    done = subprocess.run(
        [sys.executable, "-c", code], input=told, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    there = {
        name: [[tuple(hit) for hit in hits] for hits in rows]
        for name, rows in json.loads(done.stdout).items()
    }
    assert there == here


@pytest.mark.parametrize("name", ON_FAISS)
def test_a_damaged_file_is_an_input_error_that_says_what_to_do(changed):
    for path in sorted(changed.iterdir()):
        content = path.read_bytes()
        for keep in (None, 0, 40, len(content) - 20):
            path.unlink()
            if keep is not None:
                path.write_bytes(content[:keep])
            with pytest.raises(InputError, match="llara index"):
                opened(changed)
            path.write_bytes(content)
    assert len(opened(changed)) == COUNT


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux what is mapped")
@pytest.mark.parametrize("name", ON_FAISS)
def test_vectors_are_mapped_from_disk(index):
    index.search(QUERIES[:1], 1)
    mapped = Path("/proc/self/maps").read_text()
    for path in index.path.iterdir():
        if path.suffix in (".f32", ".i8", ".bin") or path.name.startswith("index-"):
            assert str(path) in mapped


@pytest.mark.parametrize("name", ON_FAISS)
def test_positions_have_the_vectors_and_the_documents_that_were_added(name, index):
    assert index.documents([7, 0, 1199]) == [documents_of(0, COUNT)[n] for n in (7, 0, 1199)]
    assert index.positions(["d00007", "none", "d00003", "d00003"]) == {"d00003": 3, "d00007": 7}
    assert index.positions([]) == {}
    held = index.index.vectors(np.array([7, 0, 1199]))
    if name in LOSSLESS:
        np.testing.assert_array_equal(held, STORED[[7, 0, 1199]])
    else:
        assert (np.sum(held * STORED[[7, 0, 1199]], axis=1) > (0.7 if "signs" in name else 0.8)).all()


@pytest.mark.parametrize("name", ON_FAISS)
def test_a_query_has_the_same_hits_alone_and_among_others(index):
    scores, positions = index.nearest(QUERIES, 10)
    for row in range(len(QUERIES)):
        alone_scores, alone_positions = index.nearest(QUERIES[row : row + 1], 10)
        np.testing.assert_array_equal(alone_scores[0], scores[row])
        np.testing.assert_array_equal(alone_positions[0], positions[row])
