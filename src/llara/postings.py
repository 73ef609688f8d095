"""Postings: term -> the documents that hold it, each with a value; what every search by words reads.

A document is known by its position (0, 1, ...). On disk it is one safetensors file, which is mapped: a search
reads the terms and the postings of its own words.

Shape legend: N documents, P postings of all terms together, T terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from llara.errors import InputError

__all__ = ["Postings"]

_DOCUMENTS_AT_ONCE = 10_000  # counted at once; takes some 50 MB for passages

Part = Callable[[int, int], np.ndarray]


class Postings:
    """Terms with their documents and values.

    Attributes:
        lengths: float32 [N], the sum of each document's values.
    """

    def __init__(
        self,
        terms: np.ndarray,
        term_ends: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        documents: Part,
        values: Part,
    ) -> None:
        self._terms, self._term_ends, self._starts = terms, term_ends, starts
        self.lengths = lengths
        self._documents, self._values = documents, values

    @classmethod
    def build(cls, documents: Iterable[Mapping[str, float]]) -> Postings:
        """Of documents as their terms and values.

        Memory: 8 bytes for each term of each document, 20 while it is built, and the terms.

        >>> postings = Postings.build([{"wing": 2, "lift": 1}, {"wing": 1}])
        >>> postings["wing"][0].tolist(), postings["wing"][1].tolist(), postings.lengths.tolist()
        ([0, 1], [2.0, 1.0], [3.0, 1.0])
        """
        return _merged([_counted(some) for some in _batches(documents)])

    @classmethod
    def open(cls, path: Path) -> Postings:
        """What ``write`` wrote; terms are read, postings mapped.

        Raises:
            InputError: the file is missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        try:
            file = safe_open(path, framework="np")
            terms, term_ends, starts, lengths = (
                file.get_tensor(name) for name in ("terms", "term_ends", "starts", "lengths")
            )
            documents, values = file.get_slice("documents"), file.get_slice("values")
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"{path} is missing or damaged ({error}); build the index again with llara index"
            ) from error
        return cls(terms, term_ends, starts, lengths, lambda a, b: documents[a:b], lambda a, b: values[a:b])

    def write(self, path: Path) -> None:
        """Write one file.

        Raises:
            OSError: the disk is full or read-only.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import save_file

        count = int(self._starts[-1])
        arrays = {
            "terms": self._terms,
            "term_ends": self._term_ends,
            "starts": self._starts,
            "lengths": self.lengths,
            "documents": self._documents(0, count),
            "values": self._values(0, count),
        }
        try:
            save_file(arrays, path)
        except SafetensorError as error:  # its way to say that a write failed
            raise OSError(str(error)) from error
        path.chmod(0o644)  # it lets nobody else read

    def followed_by(self, other: Postings) -> Postings:
        """These documents, and behind them those of ``other``."""
        return _merged([self, other])

    def __len__(self) -> int:
        """Documents, N."""
        return len(self.lengths)

    def __getitem__(self, term: str) -> tuple[np.ndarray, np.ndarray]:
        """Positions int64 [n], ascending, and values float32 [n] of the documents that hold a term."""
        at = self._find(term.encode("utf-8", "surrogatepass"))
        if at is None:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        first, last = int(self._starts[at]), int(self._starts[at + 1])
        return self._documents(first, last).astype(np.int64), self._values(first, last)

    def terms(self) -> list[bytes]:
        """All terms, UTF-8, in order."""
        return [self._term(i) for i in range(len(self._term_ends))]

    def _term(self, at: int) -> bytes:
        start = 0 if at == 0 else int(self._term_ends[at - 1])
        return self._terms[start : int(self._term_ends[at])].tobytes()

    def _find(self, term: bytes) -> int | None:
        low, high = 0, len(self._term_ends)
        while low < high:
            middle = (low + high) // 2
            if self._term(middle) < term:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self._term_ends) and self._term(low) == term else None


def _batches(documents: Iterable[Mapping[str, float]]) -> Iterator[list[Mapping[str, float]]]:
    rest = iter(documents)
    while batch := list(islice(rest, _DOCUMENTS_AT_ONCE)):
        yield batch


def _counted(documents: Sequence[Mapping[str, float]]) -> Postings:
    """Postings of few documents."""
    terms = sorted({term.encode("utf-8", "surrogatepass") for document in documents for term in document})
    number = {term.decode("utf-8", "surrogatepass"): i for i, term in enumerate(terms)}
    sizes = [len(document) for document in documents]
    ids = np.array([number[term] for document in documents for term in document], dtype=np.int64)
    values = np.array([value for document in documents for value in document.values()], dtype=np.float32)
    positions = np.repeat(np.arange(len(documents), dtype=np.int32), sizes)
    order = np.argsort(ids, kind="stable")  # within a term, documents stay in order
    lengths = np.array([sum(document.values()) for document in documents], dtype=np.float32)
    counts = np.bincount(ids, minlength=len(terms))
    return _in_memory(terms, counts, lengths, positions[order], values[order])


def _merged(parts: Sequence[Postings]) -> Postings:
    """Postings of the documents of all parts, one part behind the other."""
    terms = sorted({term for part in parts for term in part.terms()})
    number = {term: i for i, term in enumerate(terms)}
    counts = np.zeros(len(terms), dtype=np.int64)
    for part in parts:
        counts[[number[term] for term in part.terms()]] += np.diff(part._starts)
    free = np.concatenate([[0], np.cumsum(counts)])  # the first empty place of each term
    documents, values = np.empty(free[-1], np.int32), np.empty(free[-1], np.float32)
    lengths = np.concatenate([part.lengths for part in parts]) if parts else np.empty(0, np.float32)
    first = 0
    for part in parts:
        sizes = np.diff(part._starts)
        ids = np.array([number[term] for term in part.terms()], dtype=np.int64)
        count = int(part._starts[-1])
        places = np.repeat(free[ids] - part._starts[:-1], sizes) + np.arange(count)
        documents[places] = part._documents(0, count) + first
        values[places] = part._values(0, count)
        free[ids] += sizes
        first += len(part)
    return _in_memory(terms, counts, lengths, documents, values)


def _in_memory(
    terms: Sequence[bytes], counts: np.ndarray, lengths: np.ndarray, documents: np.ndarray, values: np.ndarray
) -> Postings:
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    ends = np.cumsum([len(term) for term in terms], dtype=np.int64)
    blob = np.frombuffer(b"".join(terms), dtype=np.uint8)
    both: list[Any] = [documents, values]
    return Postings(blob, ends, starts, lengths, lambda a, b: both[0][a:b], lambda a, b: both[1][a:b])
