"""Is the difference between two systems larger than chance? Paired tests over per-query values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from llara.errors import InputError

__all__ = ["bootstrap_interval", "paired_randomization_test"]

_BLOCK_ELEMENTS = 4_000_000  # numbers drawn at once: 32 MB of float64


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
        a: query id -> value of the first system.
        b: query id -> value of the second system, for the same queries.
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
    if a.keys() != b.keys():
        unpaired = sorted(a.keys() ^ b.keys())
        raise InputError(
            f"a paired test needs the same queries on both sides; {len(unpaired)} are on one side only, "
            f"such as {unpaired[0]!r}. Evaluate both systems on the same split."
        )
    if not a:
        raise InputError("a paired test needs at least one query, got none")
    differences = np.array([a[query] - b[query] for query in sorted(a)], dtype=np.float64)
    differences = differences[differences != 0]
    num_differences = len(differences)
    if num_differences == 0:
        return 1.0
    # Sums that are equal on paper may differ in their last bits, and must count as equally extreme.
    threshold = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
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

    Says how far the mean would move with another sample of queries. To compare two systems use
    ``paired_randomization_test``: intervals ignore that both saw the same queries.

    Raises:
        InputError: there are no values.

    >>> bootstrap_interval({"q1": 0.5, "q2": 0.5})
    (0.5, 0.5)
    """
    if not values:
        raise InputError("an interval needs at least one query, got none")
    sample = np.array([values[query] for query in sorted(values)], dtype=np.float64)
    generator = np.random.default_rng(seed)
    means = [
        sample[generator.integers(0, len(sample), size=(rounds, len(sample)))].mean(axis=1)
        for rounds in _blocks(num_rounds, len(sample))
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
