"""How far a run is: a bar on a terminal, a line a minute in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from types import TracebackType

from llara.encode.work import Texts

__all__ = ["Progress"]

_SECONDS = 60.0  # between lines in a log


class Progress:
    """Counts the documents of finished shards."""

    def __init__(
        self, texts: Texts, pending: Sequence[int], *, bar: bool, tell: Callable[[str], object]
    ) -> None:
        from tqdm import tqdm  # type: ignore[import-untyped]

        self._counts = [shard.count for shard in texts.shards]
        self._total = sum(self._counts[number] for number in pending)
        self._documents = 0
        self._tell = tell
        self._started = self._told = time.monotonic()
        terminal = sys.stderr.isatty()
        self._speaks = not terminal
        self._bar = tqdm(
            total=self._total,
            desc="encode",
            unit="text",
            leave=False,
            disable=not (bar and terminal and len(pending) > 1),
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def done(self, number: int) -> None:
        """A shard is done."""
        self._documents += self._counts[number]
        self._bar.update(self._counts[number])
        now = time.monotonic()
        if self._speaks and now - self._told >= _SECONDS:
            self._told = now
            rate = self._documents / (now - self._started)
            left = _duration((self._total - self._documents) / rate)
            self._tell(
                f"{self._documents:,} of {self._total:,} texts, {_figures(rate)} a second, {left} left"
            )


def _duration(seconds: float) -> str:
    """
    >>> _duration(90_000), _duration(600), _duration(5)
    ('25.0 h', '10 min', '5 s')
    """
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _figures(rate: float) -> str:
    """
    >>> _figures(12_345.6), _figures(0.0421)
    ('12,346', '0.042')
    """
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
