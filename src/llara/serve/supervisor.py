"""Several processes on one socket: started, watched, replaced when they die, ended together.

All of them accept from the same listening socket, so a connection that waits when one dies is taken by
another. Each has its own copy of the model; index files are mapped, so memory holds them once. They are
forked from a process that has imported the libraries and computed nothing (``forkserver``), so one that is
replaced is back as soon as its model is loaded.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from llara.errors import LlaraError
from llara.forking import forking_context
from llara.serve.settings import ServeSettings

__all__ = ["Supervisor"]

_METRICS = "PROMETHEUS_MULTIPROC_DIR"
_LONGEST_PAUSE_SECONDS = 30.0
_SOUND_SECONDS = 60.0  # a process that lived so long did not die of its start
_KILL_SECONDS = 5.0  # beyond the grace that a process gives its requests


class Supervisor:
    """``settings.workers`` processes.

    Args:
        say: told what happens, in words.
    """

    def __init__(self, settings: ServeSettings, sock: socket.socket, say: Callable[[str], None]) -> None:
        self._settings, self._sock, self._say = settings, sock, say
        self._context: Any = None
        self._processes: dict[int, tuple[BaseProcess, Connection, float]] = {}  # by sentinel
        self._pause_seconds = 0.0
        self._num_ready = 0
        self._said_ready = self._interrupted = self._ending = False

    def run(self, on_ready: Callable[[], None]) -> None:
        """Run them until SIGTERM or SIGINT.

        Args:
            on_ready: called once all of them listen.

        Raises:
            LlaraError: a process could not even start for the first time; it has said why.
            KeyboardInterrupt: SIGINT came before all of them listened.
        """
        folder = os.environ.get(_METRICS)
        os.environ[_METRICS] = tempfile.mkdtemp(prefix="llara-metrics-") if folder is None else folder
        try:
            self._context = forking_context("llara.serve.server")
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._end)
            for _ in range(self._settings.workers):
                if not self._ending:
                    self._start()
            self._watch(on_ready)
        finally:
            self._stop_all()
            if folder is None:
                shutil.rmtree(os.environ.pop(_METRICS), ignore_errors=True)
        if self._interrupted:
            raise KeyboardInterrupt

    def _end(self, number: int, _: object) -> None:
        self._ending = True
        self._interrupted |= number == signal.SIGINT and not self._said_ready

    def _start(self) -> None:
        ours, theirs = self._context.Pipe(duplex=False)
        told = (self._settings, self._sock, theirs, os.environ[_METRICS])
        process = self._context.Process(target=_work, args=told, name="llara")
        process.start()
        theirs.close()
        self._processes[process.sentinel] = (process, ours, time.monotonic())

    def _watch(self, on_ready: Callable[[], None]) -> None:
        while not self._ending:
            pipes = [pipe for _, pipe, _ in self._processes.values() if not pipe.closed]
            for found in wait([*self._processes, *pipes], timeout=0.5):
                if isinstance(found, int):
                    self._replace(found, first=not self._said_ready)
                elif isinstance(found, Connection):
                    self._hear(found)
            if not self._said_ready and self._num_ready >= self._settings.workers:
                self._said_ready = True
                on_ready()

    def _hear(self, pipe: Connection) -> None:
        """A process says that it is ready, or has died without a word."""
        with suppress(EOFError, OSError):
            pipe.recv()
            self._num_ready += 1
        pipe.close()

    def _replace(self, sentinel: int, *, first: bool) -> None:
        process, pipe, started = self._processes.pop(sentinel)
        pipe.close()
        process.join()
        self._forget_metrics(process.pid)
        if self._ending:
            return
        if first and process.exitcode == 1:
            error = LlaraError("a process could not start")
            error.said = True  # type: ignore[attr-defined]
            raise error
        if time.monotonic() - started > _SOUND_SECONDS:
            self._pause_seconds = 0.0
        self._say(f"process {process.pid} died ({_how(process.exitcode)}); starting another")
        self._sleep(self._pause_seconds)
        self._pause_seconds = min(_LONGEST_PAUSE_SECONDS, max(0.5, 2 * self._pause_seconds))
        if not self._ending:
            self._start()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._ending and time.monotonic() < until:
            time.sleep(0.1)

    def _forget_metrics(self, pid: int | None) -> None:
        from prometheus_client import multiprocess

        if pid is not None:
            multiprocess.mark_process_dead(pid, os.environ[_METRICS])  # type: ignore[no-untyped-call]

    def _stop_all(self) -> None:
        """End all processes: each finishes what it accepted."""
        self._sock.close()
        processes = [process for process, _, _ in self._processes.values()]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + self._settings.limits.grace_seconds + _KILL_SECONDS
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                self._say(f"process {process.pid} did not end in time and is killed")
                process.kill()
                process.join()


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            return signal.Signals(-exit_code).name
    return f"exit code {exit_code}"


def _work(settings: ServeSettings, sock: socket.socket, ready: Connection, metrics: str) -> None:
    """What a process does."""
    os.environ[_METRICS] = metrics
    from llara.serve.listening import set_up_logging
    from llara.serve.server import run_process, share_cores

    def say_ready() -> None:
        ready.send(None)
        ready.close()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # until it listens; in order, as libraries tidy up
    set_up_logging()
    share_cores(settings.workers)
    try:
        run_process(settings, sock, on_ready=say_ready, parent=multiprocessing.parent_process())
    except LlaraError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
