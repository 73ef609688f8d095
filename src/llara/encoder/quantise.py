"""Smaller vectors: fewer dimensions, or fewer bits a dimension. Pure functions of numpy arrays.

Shape legend: N vectors, D dimensions.

    dtype     bytes a vector   what is stored
    float32   4 D              the unit vector
    float16   2 D              the unit vector
    int8      D                the direction: each row times 127 / max|x|, rounded
    binary    D / 8            the signs: a bit is 1 where x > 0, the first dimension in the highest bit

Only directions are kept, so what is read back is scaled to length 1 again, whatever the dtype: inner products
of it are cosines. A row of zeros stays a row of zeros, except in binary, which cannot say it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from llara.errors import ConfigError

__all__ = [
    "VectorDtype",
    "check_dtype",
    "cut",
    "from_binary",
    "from_int8",
    "quantise",
    "restore",
    "to_binary",
    "to_int8",
    "unit",
]

VectorDtype = Literal["float32", "float16", "int8", "binary"]

_BLOCK_NUMBERS = 1 << 20  # of vectors changed at a time: 8 MiB in float64


def unit(vectors_ND: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a row of zeros stays as it is.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]]))
    array([[0.6, 0.8],
           [0. , 0. ]], dtype=float32)
    """
    return _in_blocks(_unit_rows, np.asarray(vectors_ND))


def _unit_rows(vectors_ND: np.ndarray) -> np.ndarray:
    wide_ND = np.asarray(vectors_ND, dtype=np.float64)  # a float16 row's squares would overflow
    lengths_N1 = np.linalg.norm(wide_ND, axis=1, keepdims=True)
    scaled_ND: np.ndarray = (wide_ND / np.where(lengths_N1 > 0, lengths_N1, 1.0)).astype(np.float32)
    return scaled_ND


def _in_blocks(change: Callable[[np.ndarray], np.ndarray], rows_ND: np.ndarray) -> np.ndarray:
    """``change(rows)`` of a function that takes each row for itself, without its temporaries of all rows."""
    step = max(1, _BLOCK_NUMBERS // max(1, rows_ND.shape[1]))
    first = change(rows_ND[:step])
    changed = np.empty((len(rows_ND), *first.shape[1:]), dtype=first.dtype)
    changed[:step] = first
    for start in range(step, len(rows_ND), step):
        changed[start : start + step] = change(rows_ND[start : start + step])
    return changed


def cut(vectors_ND: np.ndarray, dimensions: int | None) -> np.ndarray:
    """The first ``dimensions`` of each row at length 1 again (Matryoshka); all of them for None.

    >>> cut(np.array([[3.0, 4.0, 12.0]], dtype=np.float32), 2)
    array([[0.6, 0.8]], dtype=float32)

    Raises:
        ConfigError: the vectors have fewer dimensions.
    """
    available = vectors_ND.shape[1]
    if dimensions is None or dimensions == available:
        return vectors_ND
    if not 1 <= dimensions <= available:
        raise ConfigError(f"dimensions is {dimensions}, expected 1 to {available}, which the model has")
    return unit(vectors_ND[:, :dimensions])


def to_int8(vectors_ND: np.ndarray) -> np.ndarray:
    """Each row times 127 / max|x|, rounded: int8 ``[N, D]``; the scale is not kept.

    >>> to_int8(np.array([[0.6, -0.8, 0.0], [0.0, 0.0, 0.0]]))
    array([[  95, -127,    0],
           [   0,    0,    0]], dtype=int8)
    """
    return _in_blocks(_int8_rows, vectors_ND)


def _int8_rows(vectors_ND: np.ndarray) -> np.ndarray:
    peak_N1 = np.abs(vectors_ND).max(axis=1, keepdims=True).astype(np.float32)
    scale_N1 = np.float32(127) / np.where(peak_N1 > 0, peak_N1, np.float32(1))
    whole_ND: np.ndarray = np.rint(vectors_ND * scale_N1).astype(np.int8)
    return whole_ND


def from_int8(whole_ND: np.ndarray) -> np.ndarray:
    """The unit vectors, float32 ``[N, D]``, of what :func:`to_int8` stored.

    >>> from_int8(np.array([[95, -127, 0]], dtype=np.int8)).round(3)
    array([[ 0.599, -0.801,  0.   ]], dtype=float32)
    """
    return unit(whole_ND)


def to_binary(vectors_ND: np.ndarray) -> np.ndarray:
    """The signs, eight to a byte: uint8 ``[N, D / 8]``, as faiss and sentence-transformers pack them.

    >>> to_binary(np.array([[0.5, -0.1, 0.0, 0.2, -0.3, -0.3, -0.3, 0.1]]))
    array([[145]], dtype=uint8)

    Raises:
        ConfigError: D is not a multiple of 8.
    """
    dimensions = vectors_ND.shape[1]
    if dimensions % 8:
        raise ConfigError(
            f"binary vectors need a multiple of 8 dimensions, not {dimensions}; "
            f"cut them to {dimensions // 8 * 8} or store them as int8"
        )
    return np.packbits(vectors_ND > 0, axis=1)


def from_binary(packed_NC: np.ndarray) -> np.ndarray:
    """Signs as unit vectors, float32 ``[N, 8 C]``: every number is plus or minus 1/sqrt(D).

    >>> from_binary(np.array([[145]], dtype=np.uint8)).round(3)
    array([[ 0.354, -0.354, -0.354,  0.354, -0.354, -0.354, -0.354,  0.354]],
          dtype=float32)
    """
    bits_ND = np.unpackbits(packed_NC, axis=1)
    size = np.float32(1 / np.sqrt(bits_ND.shape[1]))
    return np.where(bits_ND == 1, size, -size)


def check_dtype(dtype: str) -> None:
    """Refuse a name that is not one of ``VectorDtype``'s.

    Raises:
        ConfigError: it is not.
    """
    if dtype not in get_args(VectorDtype):
        raise ConfigError(f"vector dtype is {dtype!r}, expected one of {', '.join(get_args(VectorDtype))}")


def quantise(vectors_ND: np.ndarray, dtype: VectorDtype) -> np.ndarray:
    """Unit vectors, float32 ``[N, D]``, as they are stored; :func:`restore` reads them back.

    >>> quantise(np.array([[0.6, 0.8]], dtype=np.float32), "float16")
    array([[0.6, 0.8]], dtype=float16)

    Raises:
        ConfigError: no such dtype, or one that cannot hold D dimensions.
    """
    check_dtype(dtype)
    if dtype == "int8":
        return to_int8(vectors_ND)
    if dtype == "binary":
        return to_binary(vectors_ND)
    return vectors_ND.astype(dtype, copy=False)


def restore(stored: np.ndarray, dtype: VectorDtype) -> np.ndarray:
    """Unit vectors, float32 ``[N, D]``, of what :func:`quantise` stored; float32 is handed back as it is.

    >>> restore(np.array([[0, 127]], dtype=np.int8), "int8")
    array([[0., 1.]], dtype=float32)

    Raises:
        ConfigError: no such dtype.
    """
    check_dtype(dtype)
    if dtype == "int8":
        return from_int8(stored)
    if dtype == "binary":
        return from_binary(stored)
    return stored if dtype == "float32" else unit(stored)
