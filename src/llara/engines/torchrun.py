"""Workers that torchrun started, on one machine or several that share a file system.

torchrun starts the same command once for each worker. The first process leads; the processes agree through
torch.distributed (gloo, over the network's CPU side), so one that dies ends them all instead of leaving the
others waiting.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from llara.engines.base import Failure, MakeWorker, Place, num_gpus
from llara.errors import ConfigError, LlaraError

__all__ = ["TorchrunEngine"]

T = TypeVar("T")

_NEEDED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = timedelta(days=30)  # to wait for a slower process; one that is dead is noticed at once


class TorchrunEngine:
    """This process is one of WORLD_SIZE workers; it does every WORLD_SIZE-th piece, from the RANK-th on.

    Raises:
        ConfigError: torchrun's environment is not there.
    """

    def __init__(self) -> None:
        missing = [name for name in _NEEDED if name not in os.environ]
        if missing:
            raise ConfigError(
                f"the engine torchrun finds no {missing[0]} in the environment; start the command by "
                "torchrun, such as: torchrun --nproc-per-node 8 -m llara encode --engine torchrun ..."
            )
        self.rank, self.world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        self._group: Any = None

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def once(self, function: Callable[[], T]) -> T:
        with _peers_alive():
            self._joined()  # by all, before the first goes to work that may take hours
        if not self.leads:
            return self._heard()
        try:
            result: Any = function()
        except LlaraError as error:
            self._broadcast(Failure.of(error))
            raise
        except BaseException:
            self._broadcast(Failure("LlaraError", "the first process ended early; its message says why"))
            raise
        self._broadcast(result)
        return result

    def share(self, pieces: Sequence[int]) -> Sequence[int]:
        return pieces[self.rank :: self.world]

    def run(self, make_worker: MakeWorker, pieces: Sequence[int]) -> Iterator[int]:
        mine = self.share(pieces)
        if mine:
            gpus = num_gpus()
            device = f"cuda:{int(os.environ['LOCAL_RANK']) % gpus}" if gpus else None
            work = make_worker(Place(device=device, apart=True))
            for piece in mine:
                work(piece)
                yield piece
        with _peers_alive():
            import torch.distributed as dist

            dist.barrier(self._joined())

    def _heard(self) -> Any:
        result = self._broadcast(None)
        if isinstance(result, Failure):
            error = result.error()
            error.said = True  # type: ignore[attr-defined]  # by the first process; once is enough
            raise error
        return result

    def _broadcast(self, message: Any) -> Any:
        import torch.distributed as dist

        box = [message]
        with _peers_alive():
            dist.broadcast_object_list(box, src=0, group=self._joined())
        return box[0]

    def _joined(self) -> Any:
        """The group of all processes, which is made at the first call."""
        if self._group is None:
            import torch.distributed as dist

            if not dist.is_initialized():
                dist.init_process_group("gloo", timeout=_PATIENCE)
            self._group = dist.new_group(backend="gloo", timeout=_PATIENCE)
        return self._group


@contextmanager
def _peers_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's, for a connection that is closed
        raise LlaraError("another process of this run ended early; its message says why") from error
