"""Vectors cut and quantised against independent libraries, and what is lost."""

import tracemalloc

import faiss
import numpy as np
import pytest
from sentence_transformers.util.quantization import quantize_embeddings

from llara.encoder.quantise import cut, from_binary, quantise, restore, to_binary, unit
from llara.errors import ConfigError

VECTORS = unit(np.random.default_rng(0).normal(size=(50, 64)))


def test_binary_is_packed_as_sentence_transformers_packs_it():
    expected = quantize_embeddings(VECTORS, precision="ubinary")
    np.testing.assert_array_equal(to_binary(VECTORS), expected)


def test_inner_products_of_binary_vectors_order_as_faiss_orders_by_hamming_distance():
    index = faiss.IndexBinaryFlat(64)
    index.add(to_binary(VECTORS))
    distances, order = index.search(to_binary(VECTORS[:5]), 50)
    scores = from_binary(to_binary(VECTORS[:5])) @ from_binary(to_binary(VECTORS)).T
    expected = 1 - 2 * distances / 64  # cosine of sign vectors that differ at so many of 64 places
    np.testing.assert_allclose(np.take_along_axis(scores, order, axis=1), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "kind", "width", "error"),
    [
        ("float32", np.float32, 64, 0.0),
        ("float16", np.float16, 64, 8 * 2**-11),  # half a unit in the last place of 64 numbers below 1
        ("int8", np.int8, 64, 8 * 0.5 / 127),  # half a step of 1/127 of the largest, in 64 places
        ("binary", np.uint8, 8, 1.0),
    ],
)
def test_what_is_read_back_is_a_unit_vector_near_the_original(dtype, kind, width, error):
    stored = quantise(VECTORS, dtype)
    assert (stored.dtype, stored.shape) == (kind, (50, width))
    found = restore(stored, dtype)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.astype(np.float64), axis=1), 1, atol=1e-6)
    assert np.linalg.norm(found - VECTORS, axis=1).max() <= error


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("rows", [0, 1, 3, 50])
def test_vectors_changed_in_blocks_are_the_same_in_every_bit(monkeypatch, dtype, rows):
    vectors = np.random.default_rng(1).normal(size=(rows, 64)).astype(np.float32)
    whole = unit(vectors), quantise(vectors, dtype), restore(quantise(vectors, dtype), dtype)
    monkeypatch.setattr("llara.encoder.quantise._BLOCK_NUMBERS", 3 * 64 + 1)  # three rows
    blocks = unit(vectors), quantise(vectors, dtype), restore(quantise(vectors, dtype), dtype)
    for one, other in zip(blocks, whole, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_what_is_read_back_takes_little_more_memory_than_it_is_large(monkeypatch, dtype):
    monkeypatch.setattr("llara.encoder.quantise._BLOCK_NUMBERS", 1 << 14)
    stored = quantise(unit(np.random.default_rng(0).normal(size=(20_000, 64))), dtype)
    tracemalloc.start()
    try:
        found = restore(stored, dtype)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.nbytes <= peak < 1.2 * found.nbytes  # a block is 1.3% of it; of float64, in several copies


def test_a_cut_vector_has_the_directions_of_its_first_numbers():
    found = cut(VECTORS, 16)
    expected = VECTORS[:, :16].astype(np.float64)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-6)
    assert cut(VECTORS, None) is VECTORS


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_vector_of_zeros_stays_one(dtype):
    zeros = np.zeros((2, 8), dtype=np.float32)
    np.testing.assert_array_equal(restore(quantise(zeros, dtype), dtype), zeros)


@pytest.mark.parametrize("dimensions", [0, -3, 65])
def test_dimensions_that_a_model_does_not_have_are_refused(dimensions):
    with pytest.raises(ConfigError, match=f"dimensions is {dimensions}, expected 1 to 64"):
        cut(VECTORS, dimensions)


def test_binary_needs_whole_bytes():
    with pytest.raises(ConfigError, match="multiple of 8 dimensions, not 20; cut them to 16"):
        quantise(VECTORS[:, :20], "binary")


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ConfigError, match="'float64', expected one of float32, float16, int8, binary"):
        quantise(VECTORS, "float64")  # type: ignore[arg-type]
