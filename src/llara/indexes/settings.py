"""The settings of each kind of index, named as in faiss; what is left open is chosen by size."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import ClassVar, Literal, Self

from llara.errors import ConfigError
from llara.settings import setting

__all__ = [
    "BinarySettings",
    "ExactSettings",
    "HnswSettings",
    "IndexSettings",
    "IvfFlatSettings",
    "IvfPqSettings",
    "IvfSettings",
    "IvfSq8Settings",
    "Rescore",
    "Sq8Settings",
]

Rescore = Literal["none", "int8", "float32"]

_RESCORE_ABOUT = "finer vectors, on disk, that order the candidates: int8, float32, none"
_LEAST_PER_LIST = 39  # fewer training vectors to a centroid make faiss warn
_SAMPLE_PER_LIST = 40


@dataclass(frozen=True)
class IndexSettings:
    """Settings of one kind; those in ``SEARCH`` may differ from search to search.

    Raises:
        ConfigError: a number is out of its range.
    """

    SEARCH: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for item in fields(self):
            value, least = getattr(self, item.name), item.metadata["at_least"]
            if value is not None and least is not None and value < least:
                raise ConfigError(f"{item.name} is {value}, expected at least {least:g}")

    def resolved(self, count: int, dimension: int) -> Self:  # noqa: ARG002 - what subclasses go by
        """The same settings with a number for all that is None, for ``count`` vectors.

        Raises:
            ConfigError: these settings do not fit so many vectors of this dimension.
        """
        return self


@dataclass(frozen=True)
class ExactSettings(IndexSettings):
    """The exact index has no settings."""


@dataclass(frozen=True)
class HnswSettings(IndexSettings):
    """A graph: ``M`` and ``efConstruction`` decide its links, ``efSearch`` how widely it is walked.

    More of each: fewer misses, more time. ``M`` also costs 8 M bytes a vector.
    """

    SEARCH: ClassVar[tuple[str, ...]] = ("efSearch",)

    M: int = setting(32, "links of a vector; twice as many at the lowest level", at_least=2)
    efConstruction: int = setting(200, "candidates held while linking", at_least=1)
    efSearch: int = setting(128, "candidates held while searching, or k if that is more", at_least=1)


@dataclass(frozen=True)
class IvfSettings(IndexSettings):
    """Lists of vectors around centroids, of which a search reads the nearest few."""

    SEARCH: ClassVar[tuple[str, ...]] = ("nprobe",)

    nlist: int | None = setting(None, "lists; none: 4 sqrt(count), each of 39 vectors or more", at_least=1)
    nprobe: int | None = setting(
        None, "lists that a search reads; none: nlist / 128, at least 16", at_least=1
    )
    sample: int | None = setting(None, "vectors to train on; none: 40 to a list", at_least=1)

    def resolved(self, count: int, dimension: int) -> Self:  # noqa: ARG002
        """See ``IndexSettings.resolved``."""
        nlist = self.nlist or max(1, min(round(4 * math.sqrt(count)), count // _LEAST_PER_LIST))
        if nlist > count:
            raise ConfigError(
                f"nlist is {nlist}, and there are {count} vectors; choose at most a vector to a list"
            )
        nprobe = min(nlist, self.nprobe or max(16, nlist // 128))
        sample = min(count, max(nlist, self.sample or self._least_sample(nlist)))
        return replace(self, nlist=nlist, nprobe=nprobe, sample=sample)

    def _least_sample(self, nlist: int) -> int:
        return _SAMPLE_PER_LIST * nlist


@dataclass(frozen=True)
class IvfFlatSettings(IvfSettings):
    """IVF over whole vectors."""


@dataclass(frozen=True)
class IvfSq8Settings(IvfSettings):
    """IVF over vectors of a byte a dimension."""

    SEARCH: ClassVar[tuple[str, ...]] = ("nprobe", "k_factor")

    rescore: Rescore = setting("none", _RESCORE_ABOUT)  # noqa: RUF009
    k_factor: int = setting(4, "candidates to rescore for each hit asked for", at_least=1)

    def _least_sample(self, nlist: int) -> int:
        return max(_SAMPLE_PER_LIST * nlist, 10_000)


@dataclass(frozen=True)
class IvfPqSettings(IvfSettings):
    """IVF over product-quantised residuals: M codes of nbits bits to a vector."""

    SEARCH: ClassVar[tuple[str, ...]] = ("nprobe", "k_factor")

    M: int | None = setting(
        None, "codes of a vector, a divisor of its dimension; none: dimension / 8", at_least=1
    )
    nbits: int | None = setting(None, "bits of a code; none: 8, fewer for few vectors", at_least=1, at_most=8)
    rescore: Rescore = setting("none", _RESCORE_ABOUT)  # noqa: RUF009
    k_factor: int = setting(10, "candidates to rescore for each hit asked for", at_least=1)

    def resolved(self, count: int, dimension: int) -> Self:
        """See ``IndexSettings.resolved``."""
        lists = super().resolved(count, dimension)
        M = self.M or max(part for part in range(1, max(1, dimension // 8) + 1) if dimension % part == 0)
        if dimension % M:
            raise ConfigError(f"M is {M}, expected a divisor of the dimension {dimension}")
        nbits = self.nbits or max(1, min(8, int(math.log2(max(2, count / _LEAST_PER_LIST)))))
        if count < 2:
            raise ConfigError("an index of one vector cannot learn codes; choose another kind, such as exact")
        if 2**nbits > count:
            raise ConfigError(
                f"nbits is {nbits}: {2**nbits} centroids cannot be trained on {count} vectors; choose "
                "fewer bits"
            )
        sample = min(count, max(lists.sample or 0, 2**nbits))
        return replace(lists, M=M, nbits=nbits, sample=sample)

    def _least_sample(self, nlist: int) -> int:
        return max(_SAMPLE_PER_LIST * nlist, 256 * _SAMPLE_PER_LIST)


@dataclass(frozen=True)
class Sq8Settings(IndexSettings):
    """A byte a dimension, every vector compared."""

    SEARCH: ClassVar[tuple[str, ...]] = ("k_factor",)

    sample: int | None = setting(None, "vectors whose ranges are taken; none: 100,000", at_least=1)
    rescore: Rescore = setting("none", _RESCORE_ABOUT)  # noqa: RUF009
    k_factor: int = setting(4, "candidates to rescore for each hit asked for", at_least=1)

    def resolved(self, count: int, dimension: int) -> Self:  # noqa: ARG002
        """See ``IndexSettings.resolved``."""
        return replace(self, sample=min(count, self.sample or 100_000))


@dataclass(frozen=True)
class BinarySettings(IndexSettings):
    """A bit a dimension: every vector is compared by Hamming distance, the nearest are rescored."""

    SEARCH: ClassVar[tuple[str, ...]] = ("k_factor",)

    rescore: Rescore = setting("int8", _RESCORE_ABOUT)  # noqa: RUF009
    k_factor: int = setting(20, "candidates to rescore for each hit asked for", at_least=1)

    def resolved(self, count: int, dimension: int) -> Self:  # noqa: ARG002
        """See ``IndexSettings.resolved``."""
        if dimension % 8:
            raise ConfigError(
                f"a binary index needs a multiple of 8 dimensions, not {dimension}; choose another kind"
            )
        return self
