"""Workers on a Ray cluster: an existing one, or one that is started on this machine.

The pieces are a data set of Ray Data, mapped by a pool of actors. Where a worker goes, and what
happens when it or its machine dies, is Ray's business: it makes another and gives it the piece again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

from llara.engines.base import Failure, MakeWorker, Place
from llara.errors import LlaraError, MissingExtraError

__all__ = ["RayEngine"]

T = TypeVar("T")


@dataclass
class RayEngine:
    """``workers`` actors, each with a GPU if the cluster has any, else with a share of its cores.

    None: one for each GPU, or one for each machine. The cluster is the one of RAY_ADDRESS or of this machine;
    if there is neither, Ray is started here for as long as this process lasts.

    Raises:
        MissingExtraError: Ray is not installed.
        LlaraError: the cluster cannot be reached (when the work begins).
    """

    workers: int | None = None

    def __post_init__(self) -> None:
        _ray()

    @property
    def leads(self) -> bool:
        return True

    def once(self, function: Callable[[], T]) -> T:
        return function()

    def share(self, pieces: Sequence[int]) -> Sequence[int]:
        return pieces

    def run(self, make_worker: MakeWorker, pieces: Sequence[int]) -> Iterator[int]:
        if not pieces:
            return
        ray = _connected()
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = int(sum(node.get("GPU", 0) for node in nodes))
        workers = min(self.workers or gpus or len(nodes), len(pieces))
        share = {"num_gpus": 1, "num_cpus": 1} if gpus else {"num_cpus": _cores_each(nodes, workers)}
        done = ray.data.from_items(
            [{"piece": piece} for piece in pieces], override_num_blocks=len(pieces)
        ).map_batches(
            _Actor,
            fn_constructor_args=(make_worker, "cuda" if gpus else None),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            **share,
        )
        try:
            for row in done.iter_rows():
                if row["failure"]:
                    raise Failure(row["failure"], row["message"]).error()
                yield int(row["piece"])
        except ray.exceptions.RayError as error:
            raise LlaraError(f"Ray could not do the work: {_first_line(error)}") from error


class _Actor:
    """A worker as Ray Data calls it: a batch of one piece in, the piece or what went wrong out.

    An error of ours is handed back and ends the run: Ray must not try a wrong setting or a full disk again.
    """

    def __init__(self, make_worker: MakeWorker, device: str | None) -> None:
        self._make, self._device = make_worker, device
        self._work: Callable[[int], None] | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        pieces = [int(piece) for piece in batch["piece"]]
        failure = Failure("", "")
        try:
            if self._work is None:
                self._work = self._make(Place(device=self._device, apart=True))
            for piece in pieces:
                self._work(piece)
        except LlaraError as error:
            failure = Failure.of(error)
        rows = len(pieces)
        return {"piece": pieces, "failure": [failure.kind] * rows, "message": [failure.message] * rows}


def _ray() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would phone home
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it warns of how Ray Data uses Ray
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("Ray", "ray") from error
    return ray


def _connected() -> Any:
    ray: Any = _ray()
    if not ray.is_initialized():
        try:
            _start(ray)
        except (ConnectionError, ray.exceptions.AuthenticationError) as error:
            where = os.environ.get("RAY_ADDRESS", "that this machine belongs to")
            raise LlaraError(
                f"cannot reach the Ray cluster {where}: {_first_line(error)}; start it with "
                "ray start --head, or unset RAY_ADDRESS; a cluster that asks for a token wants "
                "RAY_AUTH_MODE=token here, too"
            ) from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # stderr is ours; its files keep everything
            handler.setLevel(logging.ERROR)
    return ray


def _start(ray: Any) -> None:
    """Connect, or start Ray here: twice if its processes were not there within the 30 seconds it allows them.

    Read from a cold disk on a busy machine they may take longer; the second time they are in memory.
    """
    for last in (False, True):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:  # a bare Exception is what Ray raises then
            if "timed out during startup" not in str(error):
                raise
            if last:
                raise LlaraError(
                    f"Ray did not start on this machine: {_first_line(error)} Its logs are in "
                    "/tmp/ray/session_latest/logs; --engine local needs no Ray"
                ) from error


def _cores_each(nodes: Sequence[Mapping[str, float]], workers: int) -> int:
    """A worker's share of all cores, but never more than one machine has.

    >>> _cores_each([{"CPU": 8.0}, {"CPU": 8.0}], 4), _cores_each([{"CPU": 8.0}, {"CPU": 8.0}], 1)
    (4, 8)
    """
    cores = [int(node.get("CPU", 0)) for node in nodes]
    return max(1, min(sum(cores) // workers, max(cores)))


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
