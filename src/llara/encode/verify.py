"""Is a vectors directory what it says it is? Everything is read once; memory holds one shard."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from llara.encode.reading import repeated_ids
from llara.errors import InputError
from llara.files import sha256_of, work_directory
from llara.vectors import Shard, VectorsManifest, read_stored, read_texts, read_words

__all__ = ["verify"]

_BLOCK_ROWS = 8192
_LENGTH_TOLERANCE = {"float32": 1e-4, "float16": 1e-2}  # of a float32 row, and of one rounded to float16
_SHARD_FILE = re.compile(r"shard-\d{5,}\.(npy|parquet|words\.parquet)")


def verify(directory: Path) -> Iterator[str]:
    """Yield everything that is wrong with a vectors directory, one sentence each that names the file.

    Checked are the manifest's counts; each file's checksum, shape and dtype; that every number is finite and
    every row of unit length (or all zeros, which is how a model may answer an empty text); that no id comes
    twice; and that there are no other shards.

    Raises:
        InputError: there is no manifest, or it is damaged.
    """
    if not directory.exists() and (work := work_directory(directory)).is_dir():
        raise InputError(f"{directory} is not done: an unfinished run stands in {work}; go on with --resume")
    manifest = VectorsManifest.read(directory)
    total = sum(shard.count for shard in manifest.shards)
    if total != manifest.count:
        yield f"manifest.json: counts {manifest.count:,} vectors, and its shards {total:,}"
    for shard in manifest.shards:
        yield from _shard_problems(directory, manifest, shard)
    known = {name for shard in manifest.shards for name in shard.checksums}
    for path in sorted(directory.iterdir()):
        if _SHARD_FILE.fullmatch(path.name) and path.name not in known:
            yield f"{path.name}: the manifest does not name it"
    yield from _id_problems(directory, manifest)


def _shard_problems(directory: Path, manifest: VectorsManifest, shard: Shard) -> Iterator[str]:
    for name, sha256 in shard.checksums.items():
        path = directory / name
        if not path.is_file():
            yield f"{name}: is missing"
        elif sha256_of(path) != sha256:
            yield f"{name}: its checksum is not the manifest's; it was cut short or altered"
    try:
        if (directory / shard.vectors).is_file():
            yield from _number_problems(read_stored(directory, manifest, shard), manifest, shard)
        if (directory / shard.texts).is_file():
            read_texts(directory, shard)
        if shard.words is not None and (directory / shard.words).is_file():
            read_words(directory, shard)
    except InputError as error:
        yield str(error)


def _number_problems(stored: np.ndarray, manifest: VectorsManifest, shard: Shard) -> Iterator[str]:
    """What is wrong with the rows of a shard: the first one, and how many there are."""
    if manifest.dtype == "binary":  # any bits are a vector
        return
    for what, bad in (("not finite", _not_finite), ("not of unit length", _not_unit)):
        rows = np.concatenate(
            [bad(stored[start : start + _BLOCK_ROWS]) for start in range(0, len(stored), _BLOCK_ROWS)]
            or [np.zeros(0, bool)]
        )
        if rows.any():
            yield f"{shard.vectors}: {rows.sum():,} rows are {what}, the first is row {int(np.argmax(rows))}"
            return


def _not_finite(rows: np.ndarray) -> np.ndarray:
    bad: np.ndarray = ~np.isfinite(rows).all(axis=1)
    return bad


def _not_unit(rows: np.ndarray) -> np.ndarray:
    """Rows that are neither zero nor of length 1; of int8 rows, those whose greatest number is not 127."""
    if rows.dtype == np.int8:
        peaks = np.abs(rows.astype(np.int16)).max(axis=1)
        return (peaks != 127) & (peaks != 0)
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    bad: np.ndarray = (np.abs(lengths - 1) > _LENGTH_TOLERANCE[rows.dtype.name]) & (lengths != 0)
    return bad


def _id_problems(directory: Path, manifest: VectorsManifest) -> Iterator[str]:
    texts = [directory / shard.texts for shard in manifest.shards]
    try:
        with tempfile.TemporaryDirectory() as place:
            yield from map(str, repeated_ids(texts, within=Path(place)))
    except (OSError, ValueError, KeyError) as error:
        yield f"the ids cannot be compared: {error}"
