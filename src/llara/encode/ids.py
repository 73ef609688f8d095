"""Ids that come twice, found among any number of them in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

__all__ = ["SeenIds", "hash_ids"]

_RUN_IDS = 1 << 20  # ids sorted and written at a time: 8 MiB
_RANGE_IDS = 1 << 22  # ids compared at a time: 32 MiB


def hash_ids(ids: Sequence[str]) -> np.ndarray:
    """Eight bytes of each id's BLAKE2b: uint64 [N]."""
    digests = b"".join(hashlib.blake2b(id_.encode(), digest_size=8).digest() for id_ in ids)
    return np.frombuffer(digests, dtype=np.uint64)


class SeenIds:
    """Hashes of ids in sorted runs on disk, eight bytes an id; memory holds 40 MiB, however many there are.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as place:
    ...     seen = SeenIds(Path(place))
    ...     seen.add(["a", "b"])
    ...     seen.add(["c", "b"])
    ...     np.array_equal(seen.repeated(), hash_ids(["b"]))
    True
    """

    def __init__(self, directory: Path) -> None:
        """``directory`` exists, is empty, and is the caller's to remove."""
        self._directory = directory
        self._runs: list[Path] = []
        self._pending: list[np.ndarray] = []
        self._num_pending = self._total = 0

    def add(self, ids: Sequence[str]) -> None:
        """Remember ``ids``.

        Raises:
            OSError: the disk is full.
        """
        self._pending.append(hash_ids(ids))
        self._num_pending += len(ids)
        if self._num_pending >= _RUN_IDS:
            self._write_run()

    def repeated(self, *, most: int | None = None) -> np.ndarray:
        """Sorted hashes that were added more than once: uint64 [R].

        If there are more than ``most``, only so many that this is plain.

        Two different ids may share one (a billion ids: once in 37 times), so the ids themselves are still to
        be compared.

        Raises:
            OSError: the disk is full.
        """
        self._write_run()
        runs = [np.load(path, mmap_mode="r") for path in self._runs]
        starts = [0] * len(runs)
        num_ranges = -(-self._total // _RANGE_IDS)
        found: list[np.ndarray] = []
        for number in range(1, num_ranges + 1):
            highest = np.uint64(number * (1 << 64) // num_ranges - 1)
            ends = [int(np.searchsorted(run, highest, side="right")) for run in runs]
            part = np.sort(np.concatenate([run[a:b] for run, a, b in zip(runs, starts, ends, strict=True)]))
            found.append(np.unique(part[1:][part[1:] == part[:-1]]))
            if most is not None and sum(map(len, found)) > most:
                break
            starts = ends
        return np.concatenate(found) if found else np.zeros(0, dtype=np.uint64)

    def _write_run(self) -> None:
        if not self._num_pending:
            return
        path = self._directory / f"ids-{len(self._runs):06d}.npy"
        hashes = np.sort(np.concatenate(self._pending))
        told = np.ones(len(hashes), dtype=bool)
        told[2:] = hashes[2:] != hashes[:-2]  # two of a kind say all; an id that is everywhere fills no range
        np.save(path, hashes[told])
        self._total += int(told.sum())
        self._runs.append(path)
        self._pending, self._num_pending = [], 0
