"""What every index can do."""

from __future__ import annotations

from typing import Protocol

import numpy as np

__all__ = ["Index"]


class Index(Protocol):
    """Vectors that can be searched by inner product; a vector is known by its position (0, 1, ...)."""

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        ...

    def __len__(self) -> int:
        """Vectors held."""
        ...

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The ``k`` nearest vectors of each query, best first (all of them if there are fewer).

        Args:
            vectors: float32 [Q, D].

        Returns:
            scores float32 [Q, K] and positions int64 [Q, K], K = min(k, len(self)).
        """
        ...
