"""Which of the candidates left become negatives."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

__all__ = ["draw_order", "sample", "shares"]


def draw_order(seed: int, query_id: str, passage_ids: Sequence[str]) -> np.ndarray:
    """A random number for each passage, uint64 [C], from nothing but seed, query id and passage id.

    So a query draws the same whatever other queries there are, and a candidate that comes or goes changes
    no other's number.
    """
    start = hashlib.blake2b(f"{seed}\0{query_id}\0".encode(), digest_size=8)
    numbers = []
    for passage_id in passage_ids:
        digest = start.copy()
        digest.update(passage_id.encode())
        numbers.append(int.from_bytes(digest.digest(), "big"))
    return np.array(numbers, dtype=np.uint64)


def shares(negatives: int, bm25_share: float, *, mixed: bool) -> tuple[int, ...]:
    """How many negatives each search gives: one number, or with ``mixed`` the dense search's and BM25's.

    >>> shares(15, 0.2, mixed=True), shares(15, 0.2, mixed=False)
    ((12, 3), (15,))
    """
    num_bm25 = round(negatives * bm25_share)
    return (negatives - num_bm25, num_bm25) if mixed else (negatives,)


def sample(
    ranks: np.ndarray,
    draws: np.ndarray,
    wanted: Sequence[int],
    sampling: Literal["random", "top"],
) -> np.ndarray:
    """The candidates taken: their numbers, int64 [at most sum(wanted)].

    The last search chooses first, each passes over what was taken before, and what one is short of is filled
    up from the others, the first first. They come in the order of their draws (any beginning is a random
    sample, too) or, with ``top``, of their best ranks.

    Args:
        ranks: int [S, C]: each search's rank of each candidate, 0 where it did not find it.
        draws: uint64 [C], see ``draw_order``.
        wanted: how many are taken of each of the S searches.

    >>> ranks = np.array([[1, 2, 3, 0, 0], [2, 0, 0, 1, 3]])
    >>> sample(ranks, np.arange(5, dtype=np.uint64), (2, 1), "top")
    array([0, 3, 1])
    """
    orders = []
    for row in ranks:
        found = np.flatnonzero(row)
        keys = draws[found] if sampling == "random" else row[found]
        orders.append(found[np.argsort(keys, kind="stable")].tolist())
    taken: dict[int, None] = {}
    for order, number in reversed(list(zip(orders, wanted, strict=True))):
        left = [candidate for candidate in order if candidate not in taken]
        taken.update(dict.fromkeys(left[:number]))
    left = [candidate for order in orders for candidate in order if candidate not in taken]
    taken.update(dict.fromkeys(list(dict.fromkeys(left))[: sum(wanted) - len(taken)]))
    chosen = np.array(sorted(taken), dtype=np.int64)
    best_rank = np.where(ranks > 0, ranks, np.iinfo(np.int64).max).min(axis=0)
    keys = draws if sampling == "random" else best_rank
    return chosen[np.argsort(keys[chosen], kind="stable")]
