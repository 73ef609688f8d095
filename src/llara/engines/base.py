"""What every engine does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from llara import errors
from llara.errors import LlaraError

__all__ = ["ENGINES", "Engine", "Failure", "MakeWorker", "Place", "num_gpus", "set_threads"]

ENGINES = ("local", "torchrun", "ray")

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where a worker is: its device (None: the worker's choice), and whether it is apart from its maker.

    A worker apart is in a process of its own, and may be on another machine.
    """

    device: str | None = None
    apart: bool = False


MakeWorker = Callable[[Place], Callable[[int], None]]
"""Makes a worker (loads a model, say), which then does pieces by number. Pickled where workers are apart."""


class Engine(Protocol):
    """Runs the pieces of a job. Every process of an engine calls the same methods in the same order."""

    @property
    def leads(self) -> bool:
        """Whether this process is the one that speaks, reads and finishes."""
        ...

    def once(self, function: Callable[[], T]) -> T:
        """Call ``function`` in the leading process only; its result, or its error, in all of them.

        Raises:
            LlaraError: what ``function`` raised, or the leading process is gone.
        """
        ...

    def share(self, pieces: Sequence[int]) -> Sequence[int]:
        """Those of the pieces whose end this process will hear of."""
        ...

    def run(self, make_worker: MakeWorker, pieces: Sequence[int]) -> Iterator[int]:
        """Do every piece once; yields those that this process knows to be done, as they are.

        When the iterator ends, all pieces are done in all processes. Without pieces no worker is made.

        Raises:
            LlaraError: what a worker raised, or a worker died and cannot be replaced.
        """
        ...


@dataclass(frozen=True)
class Failure:
    """An error of ours on its way from one process to another."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: LlaraError) -> Failure:
        return cls(type(error).__name__, str(error))

    def error(self) -> LlaraError:
        """The error again; one that takes more than a message becomes a plain ``LlaraError``."""
        kind = getattr(errors, self.kind, LlaraError)
        return LlaraError(self.message) if kind is errors.MissingExtraError else kind(self.message)


def num_gpus() -> int:
    """How many GPUs this process may use."""
    import torch

    return torch.cuda.device_count()


def set_threads(number: int) -> None:
    """Tell torch, and libraries not yet loaded, the number of threads, unless the environment does."""
    if "torch" in sys.modules and "OMP_NUM_THREADS" not in os.environ:
        sys.modules["torch"].set_num_threads(number)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ.setdefault(name, str(number))
