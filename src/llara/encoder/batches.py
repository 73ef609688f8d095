"""Texts put into batches by the tokens they cost, and batches laid out as tensors. Pure functions.

Shape legend: B rows, T tokens of a row, N texts, S slots of a text.

On a CPU a batch is padded rows of nearly equal length. Padding stands on the right and attention is causal,
so no real token sees it and no mask is needed. On a GPU a batch is one packed row without padding: texts one
after another, positions from 0 in each, and attention told where each begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Packed", "Padded", "lay_out_packed", "lay_out_padded", "token_batches"]


@dataclass(frozen=True, slots=True)
class Padded:
    """Rows ``[B, T]`` of one text each.

    Attributes:
        input_ids_BT: int64.
        slots_NS: int64, where each text's slots stand in the flattened ``[B x T]``.
    """

    input_ids_BT: Tensor
    slots_NS: Tensor


@dataclass(frozen=True, slots=True)
class Packed:
    """One row ``[1, T]`` of many texts.

    Attributes:
        input_ids_1T, position_ids_1T: int64.
        starts: int32 ``[N + 1]``, where each text starts, and the end of the last.
        slots_NS: int64, columns of each text's slots.
        longest: an upper bound of a text's length: the next power of two, so that few values occur and a
            compiled layer is not compiled anew.
    """

    input_ids_1T: Tensor
    position_ids_1T: Tensor
    starts: Tensor
    slots_NS: Tensor
    longest: int


def token_batches(
    lengths: Sequence[int], *, budget_tokens: int, padded: bool, most_texts: int | None = None
) -> list[list[int]]:
    """Indices of texts by batch, longest first: a batch costs at most the budget, or holds one text.

    A padded batch costs as many tokens as its rows have places, a packed one as many as its texts have.

    >>> token_batches([3, 9, 4, 2], budget_tokens=9, padded=True)
    [[1], [2, 0], [3]]
    >>> token_batches([3, 9, 4, 2], budget_tokens=9, padded=False)
    [[1], [2, 0, 3]]
    """
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        cost = lengths[batches[-1][0]] if padded and batches else lengths[index]
        if not batches or cost > room or len(batches[-1]) == most_texts:
            batches.append([])
            room, cost = budget_tokens, lengths[index]
        batches[-1].append(index)
        room -= cost
    return batches


def lay_out_padded(rows: Sequence[Sequence[int]], num_slots: int) -> Padded:
    """Pad rows on the right, with the token 0, which nothing sees."""
    lengths_N = np.array([len(row) for row in rows])
    width = int(lengths_N.max())
    ids_BT = np.zeros((len(rows), width), dtype=np.int64)
    for place, row in zip(ids_BT, rows, strict=True):
        place[: len(row)] = row
    ends_N = np.arange(len(rows)) * width + lengths_N
    return Padded(torch.from_numpy(ids_BT), torch.from_numpy(_slots(ends_N, num_slots)))


def lay_out_packed(rows: Sequence[Sequence[int]], num_slots: int) -> Packed:
    """Put rows one after another."""
    lengths_N = np.array([len(row) for row in rows])
    starts = np.concatenate([[0], lengths_N.cumsum()])
    ids_T = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
    positions_T = np.arange(len(ids_T)) - np.repeat(starts[:-1], lengths_N)
    return Packed(
        torch.from_numpy(ids_T)[None],
        torch.from_numpy(positions_T)[None],
        torch.from_numpy(starts.astype(np.int32)),
        torch.from_numpy(_slots(starts[1:], num_slots)),
        1 << (int(lengths_N.max()) - 1).bit_length(),
    )


def _slots(ends_N: np.ndarray, num_slots: int) -> np.ndarray:
    """The last ``num_slots`` places before each end, int64 ``[N, S]``."""
    places_NS: np.ndarray = ends_N[:, None] + np.arange(-num_slots, 0)
    return places_NS
