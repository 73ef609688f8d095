"""Is the difference between two systems larger than chance, and how large? From paired per-query values.

Everywhere ``a`` and ``b`` are query id -> value of two systems, for the same queries, and a difference is a
value of ``a`` less that of ``b``; below 1e-12 it is rounding, and counts as none.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

import numpy as np

from llara.errors import InputError

__all__ = [
    "WinsTiesLosses",
    "bootstrap_interval",
    "effect_size",
    "holm",
    "paired_bootstrap_interval",
    "paired_bootstrap_test",
    "paired_randomization_test",
    "wins_ties_losses",
]

_BLOCK_ELEMENTS = 4_000_000  # numbers drawn at once: 32 MB of float64
_ROUNDING = 1e-12

Key = TypeVar("Key", bound=Hashable)


def paired_randomization_test(
    a: Mapping[str, float], b: Mapping[str, float], *, num_rounds: int = 10_000, seed: int = 0
) -> float:
    """The two-sided p-value of Fisher's paired randomisation test for the mean difference of two systems.

    Under the null hypothesis a query's two values could as well be swapped, so each round flips the sign of
    every difference with probability one half; p is the share of rounds whose mean is at least as far from 0
    as the observed one (Smucker, Allan and Carterette, CIKM 2007). Queries on which the systems agree change
    nothing and are left out. With few enough of the others (2**n <= num_rounds) all sign patterns are counted
    and p is exact; otherwise p = (count + 1) / (num_rounds + 1), which is never 0.

    Args:
        num_rounds: random sign patterns drawn; the smallest p they can show is about 1 / num_rounds.
        seed: of the random signs; the same seed gives the same p.

    Raises:
        InputError: the two do not hold the same queries, or hold none.

    >>> a = {"q1": 0.9, "q2": 0.8, "q3": 0.7}
    >>> paired_randomization_test(a, {"q1": 0.1, "q2": 0.2, "q3": 0.3})  # only +++ and --- of 8 reach it
    0.25
    >>> paired_randomization_test(a, a)
    1.0
    """
    differences = _differences(a, b)
    differences = differences[differences != 0]
    num_differences = len(differences)
    if num_differences == 0:
        return 1.0
    # Sums that are equal on paper may differ in their last bits, and must count as equally extreme.
    threshold = abs(differences.sum()) - _ROUNDING * np.abs(differences).sum()
    if num_differences < 63 and 2**num_differences <= num_rounds:
        patterns = np.arange(2**num_differences)
        flips = (patterns[:, None] >> np.arange(num_differences)) & 1  # [patterns, queries]
        return float(np.mean(_flipped_sums(differences, flips) >= threshold))
    generator = np.random.default_rng(seed)
    count = 0
    for rounds in _blocks(num_rounds, num_differences):
        flips = generator.integers(0, 2, size=(rounds, num_differences), dtype=np.uint8)  # [rounds, queries]
        count += int(np.count_nonzero(_flipped_sums(differences, flips) >= threshold))
    return (count + 1) / (num_rounds + 1)


def bootstrap_interval(
    values: Mapping[str, float], *, level: float = 0.95, num_rounds: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean over queries: (low, high).

    Says how far the mean would move with another sample of queries. To compare two systems use the paired
    functions: two such intervals ignore that both systems saw the same queries.

    Raises:
        InputError: there are no values.

    >>> bootstrap_interval({"q1": 0.5, "q2": 0.5})
    (0.5, 0.5)
    """
    if not values:
        raise InputError("an interval needs at least one query, got none")
    sample = np.array([values[query] for query in sorted(values)], dtype=np.float64)
    return _interval(sample, level, num_rounds, seed)


def paired_bootstrap_test(
    a: Mapping[str, float], b: Mapping[str, float], *, num_rounds: int = 10_000, seed: int = 0
) -> float:
    """The two-sided p-value of the paired bootstrap (shift method) for the mean difference of two systems.

    The differences are shifted to a mean of 0, the null hypothesis, and queries drawn from them with
    replacement; p = (count + 1) / (num_rounds + 1), the count being of the samples whose mean is at least as
    far from 0 as the observed one (Smucker, Allan and Carterette, CIKM 2007). With few queries prefer
    ``paired_randomization_test``: a sample of them varies less than the queries do, so this p is too small.

    Raises:
        InputError: the two do not hold the same queries, or hold none.

    >>> paired_bootstrap_test({"q1": 0.5, "q2": 0.5}, {"q1": 0.5, "q2": 0.5})
    1.0
    """
    differences = _differences(a, b)
    observed = differences.mean()
    means = _bootstrap_means(differences - observed, num_rounds, seed)
    threshold = abs(observed) - _ROUNDING * np.abs(differences).mean()
    count = int(np.count_nonzero(np.abs(means) >= threshold))
    return (count + 1) / (num_rounds + 1)


def paired_bootstrap_interval(
    a: Mapping[str, float],
    b: Mapping[str, float],
    *,
    level: float = 0.95,
    num_rounds: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """The percentile bootstrap interval of the mean difference: (low, high).

    Raises:
        InputError: the two do not hold the same queries, or hold none.

    >>> paired_bootstrap_interval({"q1": 1.0, "q2": 0.5}, {"q1": 0.75, "q2": 0.25})
    (0.25, 0.25)
    """
    return _interval(_differences(a, b), level, num_rounds, seed)


def effect_size(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Cohen's d for paired values (d_z): the mean difference by the standard deviation of the differences.

    The deviation is that of a sample (n - 1). Where the differences do not vary, or there is but one, the
    result is 0 if they are 0 and infinite otherwise.

    Raises:
        InputError: the two do not hold the same queries, or hold none.

    >>> effect_size({"q1": 0.5, "q2": 0.75, "q3": 1.0}, {"q1": 0.25, "q2": 0.25, "q3": 0.25})
    2.0
    """
    differences = _differences(a, b)
    mean = float(differences.mean())
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if deviation <= _ROUNDING:
        return math.copysign(math.inf, mean) if mean else 0.0
    return mean / deviation


class WinsTiesLosses(NamedTuple):
    """On how many queries the first system is better, equal and worse."""

    wins: int
    ties: int
    losses: int


def wins_ties_losses(a: Mapping[str, float], b: Mapping[str, float]) -> WinsTiesLosses:
    """On how many queries ``a`` is better than ``b``, as good and worse.

    Raises:
        InputError: the two do not hold the same queries, or hold none.

    >>> wins_ties_losses({"q1": 0.9, "q2": 0.5, "q3": 0.3}, {"q1": 0.5, "q2": 0.5, "q3": 0.1})
    WinsTiesLosses(wins=2, ties=1, losses=0)
    """
    signs = np.sign(_differences(a, b))
    return WinsTiesLosses(*(int(np.count_nonzero(signs == sign)) for sign in (1, 0, -1)))


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """p-values of several tests, each raised so that all of them together err with the stated probability.

    Holm's step-down method (1979): the k-th smallest of m is multiplied by m - k + 1, is at least the one
    before it, and at most 1. In the order given.

    >>> holm({"a": 0.03, "b": 0.01, "c": 0.04})
    {'a': 0.06, 'b': 0.03, 'c': 0.06}
    """
    adjusted: dict[Key, float] = {}
    least = 0.0
    for place, key in enumerate(sorted(p_values, key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[key]))
        adjusted[key] = least
    return {key: adjusted[key] for key in p_values}


def _differences(a: Mapping[str, float], b: Mapping[str, float]) -> np.ndarray:
    """a - b, float64 [Q], in the order of the sorted query ids."""
    if a.keys() != b.keys():
        unpaired = sorted(a.keys() ^ b.keys())
        raise InputError(
            f"a paired test needs the same queries on both sides; {len(unpaired)} are on one side only, "
            f"such as {unpaired[0]!r}. Evaluate both systems on the same split."
        )
    if not a:
        raise InputError("a paired test needs at least one query, got none")
    differences = np.array([a[query] - b[query] for query in sorted(a)], dtype=np.float64)
    differences[np.abs(differences) < _ROUNDING] = 0
    return differences


def _interval(sample: np.ndarray, level: float, num_rounds: int, seed: int) -> tuple[float, float]:
    """The quantiles of bootstrap means between which the middle ``level`` of them lies."""
    means = _bootstrap_means(sample, num_rounds, seed)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _bootstrap_means(sample: np.ndarray, num_rounds: int, seed: int) -> np.ndarray:
    """Means of ``num_rounds`` samples as large as ``sample`` [Q], drawn from it with replacement: float64."""
    generator = np.random.default_rng(seed)
    means = [
        sample[generator.integers(0, len(sample), size=(rounds, len(sample)))].mean(axis=1)
        for rounds in _blocks(num_rounds, len(sample))
    ]
    return np.concatenate(means)


def _flipped_sums(differences: np.ndarray, flips: np.ndarray) -> np.ndarray:
    """|sum of the differences [Q]| with the signs marked 1 in ``flips`` [P, Q] flipped: float64 [P]."""
    sums: np.ndarray = np.abs(differences.sum() - 2.0 * (flips.astype(np.float64) @ differences))
    return sums


def _blocks(num_rounds: int, width: int) -> list[int]:
    """Split rounds of ``width`` numbers each into blocks that fit in memory.

    >>> _blocks(10, 1_000_000)
    [4, 4, 2]
    """
    size = max(1, _BLOCK_ELEMENTS // width)
    return [min(size, num_rounds - start) for start in range(0, num_rounds, size)]
