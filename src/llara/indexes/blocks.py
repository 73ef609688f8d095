"""Exact search by torch over vectors that need not fit on the device: they pass through it in blocks.

Shape legend: Q queries, N vectors, D dimensions, B rows of a block, K hits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

__all__ = ["TorchVectors"]

_BLOCK_BYTES = 512 * 2**20  # two of them are on the device at a time
_SCORES_BYTES = 512 * 2**20
_RESIDENT_SHARE = 0.5  # of the device's free memory


class TorchVectors:
    """Vectors [N, D] on disk or in memory, searched by inner product on a torch device.

    On a GPU, vectors that take less than half of the free memory are copied there by the first search and
    stay; more are streamed through it, block by block, for each batch of queries, through pinned memory, so
    that the next block is read from disk while the GPU copies and searches this one.
    """

    def __init__(self, vectors_ND: np.ndarray, device: str, *, block_rows: int | None = None) -> None:
        self._vectors_ND = vectors_ND
        self.device = torch.device(device)
        row_bytes = 4 * vectors_ND.shape[1]
        self._block_rows = block_rows or max(1, _BLOCK_BYTES // row_bytes)
        self._resident: list[torch.Tensor] | None = None
        self._may_stay = False
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            self._may_stay = len(vectors_ND) * row_bytes < _RESIDENT_SHARE * free

    @torch.inference_mode()
    def search(
        self, queries_QD: np.ndarray, k: int, allowed_N: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` best of each query: scores float32 [Q, K] and positions int64 [Q, K], best first.

        Scores are added up in float32; where fewer than ``k`` are allowed, a row ends in positions of -1.

        Args:
            queries_QD: float32.
            allowed_N: bool, the positions that may be found.
        """
        count = len(queries_QD)
        best_QK = torch.full((count, k), -torch.inf, device=self.device)
        found_QK = torch.full((count, k), -1, dtype=torch.long, device=self.device)
        queries = torch.from_numpy(queries_QD).to(self.device)
        at_once = max(1, _SCORES_BYTES // (4 * self._block_rows))
        start = 0
        for block_BD in self._blocks():
            rows = len(block_BD)
            allowed_B = None
            if allowed_N is not None:
                allowed_B = torch.from_numpy(allowed_N[start : start + rows]).to(self.device)
            for first in range(0, count, at_once):
                part = slice(first, first + at_once)
                scores_QB = queries[part] @ block_BD.T
                if allowed_B is not None:
                    scores_QB.masked_fill_(~allowed_B, -torch.inf)
                scores, places = scores_QB.topk(min(k, rows), dim=1)
                places = torch.where(scores > -torch.inf, places + start, -1)
                best_QK[part], order = torch.cat([best_QK[part], scores], dim=1).topk(k, dim=1)
                found_QK[part] = torch.cat([found_QK[part], places], dim=1).gather(1, order)
            start += rows
        return best_QK.cpu().numpy(), found_QK.cpu().numpy()

    def _blocks(self) -> Iterator[torch.Tensor]:
        """All vectors in order, on the device: float32 [B, D] each."""
        if self._resident is not None:
            yield from self._resident
            return
        resident = []
        copied: list[tuple[torch.Tensor, torch.cuda.Event]] = []  # pinned blocks until their copy has ended
        for start in range(0, len(self._vectors_ND), self._block_rows):
            host = torch.from_numpy(np.array(self._vectors_ND[start : start + self._block_rows], np.float32))
            if self.device.type != "cuda":
                yield host.to(self.device)
                continue
            host = host.pin_memory()
            block = host.to(self.device, non_blocking=True)
            ended = torch.cuda.Event()
            ended.record()
            copied.append((host, ended))
            if len(copied) > 1:
                copied.pop(0)[1].synchronize()
            if self._may_stay:
                resident.append(block)
            yield block
        if self._may_stay:
            self._resident = resident
