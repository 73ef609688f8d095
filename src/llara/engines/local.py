"""Workers on this machine: one in this process, or several in processes of their own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from llara.engines.base import Failure, MakeWorker, Place, num_gpus, set_threads
from llara.errors import LlaraError
from llara.forking import forking_context

__all__ = ["LocalEngine"]

T = TypeVar("T")


@dataclass(frozen=True)
class LocalEngine:
    """``workers`` processes, each with a GPU (in turn, if there are fewer) or a share of the cores.

    One worker runs in this process. None: one for each GPU, or one.
    """

    workers: int | None = None

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
        gpus = num_gpus()
        workers = min(self.workers or max(1, gpus), len(pieces))
        if workers == 1:
            work = make_worker(Place())
            for piece in pieces:
                work(piece)
                yield piece
            return
        devices = [f"cuda:{number % gpus}" if gpus else None for number in range(workers)]
        threads = max(1, _cores() // workers)
        yield from _run_apart(make_worker, pieces, devices, threads)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Process:
    """A worker's process and this end of the pipe to it."""

    def __init__(self, make_worker: MakeWorker, device: str | None, threads: int) -> None:
        # a fork may share a GPU's state, if a library has asked for it while imported
        context = forking_context("llara.encoder.encoder") if device is None else get_context("spawn")
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        told = (make_worker, device, threads, theirs, dict(os.environ))
        self.process = context.Process(target=_work, args=told)
        self.process.start()
        theirs.close()  # so that the pipe ends when the process does
        self.piece: int | None = None

    def give(self, piece: int | None) -> None:
        """Hand it a piece, or None: there are no more."""
        self.piece = piece
        with suppress(OSError):  # it is dead; the next ``answer`` says so
            self.connection.send(piece)

    def answer(self) -> int:
        """The piece that it has done.

        Raises:
            LlaraError: what it raised, or it died.
        """
        try:
            answer: Any = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise LlaraError(
                f"a worker process died ({_how(self.process.exitcode)}) in piece {self.piece} of the work"
            ) from None
        if isinstance(answer, Failure):
            raise answer.error()
        assert answer == self.piece
        return answer


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        return f"{name}, which is how a machine short of memory ends one" if name == "SIGKILL" else name
    return f"exit code {exit_code}; its message stands above"


def _run_apart(
    make_worker: MakeWorker, pieces: Sequence[int], devices: Sequence[str | None], threads: int
) -> Iterator[int]:
    waiting = iter(pieces)
    processes: list[_Process] = []
    try:
        for device in devices:
            processes.append(_Process(make_worker, device, threads))  # noqa: PERF401 - each must be ended below
        by_connection = {process.connection: process for process in processes}
        for process in processes:
            process.give(next(waiting))
        while by_connection:
            for ready in wait(list(by_connection)):
                process = by_connection[ready]  # type: ignore[index]
                done = process.answer()
                following = next(waiting, None)
                process.give(following)
                if following is None:
                    del by_connection[process.connection]
                yield done
    except BaseException:
        for process in processes:
            process.process.terminate()
        raise
    finally:
        for process in processes:
            process.process.join()
            process.connection.close()


def _work(
    make_worker: MakeWorker,
    device: str | None,
    threads: int,
    connection: Connection,
    environment: Mapping[str, str],
) -> None:
    """The life of a worker's process, until there are no more pieces."""
    os.environ.update(environment)  # what it was forked from has that of an earlier time
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the maker hears it, too, and ends this process
    threading.Thread(target=_end_with_maker, daemon=True).start()
    if device is None:
        set_threads(threads)
    with suppress(EOFError, BrokenPipeError):
        try:
            work = make_worker(Place(device=device, apart=True))
            while (piece := connection.recv()) is not None:
                work(piece)
                connection.send(piece)
        except LlaraError as error:
            connection.send(Failure.of(error))


def _end_with_maker() -> None:
    """End this process at once when its maker is dead: another run may begin in the same place."""
    maker = parent_process()
    assert maker is not None
    maker.join()
    os._exit(1)
