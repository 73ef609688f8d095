"""One process of the service: from a bound socket to the last answer."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import uvicorn

from llara.serve.app import create_app
from llara.serve.engine import Engine
from llara.serve.listening import LOGGER
from llara.serve.protocol import patient_protocol
from llara.serve.settings import ServeSettings

__all__ = ["run_process", "share_cores"]

_OTHER_FILES = 256  # that a process has open besides connections


class _Server(uvicorn.Server):
    """uvicorn's server, which says when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def run_process(
    settings: ServeSettings, sock: socket.socket, *, on_ready: Callable[[], None], parent: Any = None
) -> None:
    """Load the model, answer until SIGTERM or SIGINT, finish what was accepted, return.

    Args:
        on_ready: called once it listens.
        parent: a process (``multiprocessing``) without which this one ends.

    Raises:
        LlaraError: the model or the index cannot be loaded.
    """
    engine = Engine.load(settings)
    limits = replace(settings.limits, connections=_affordable(settings.limits.connections))
    config = uvicorn.Config(
        create_app(engine),
        http=patient_protocol(limits),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]
        timeout_graceful_shutdown=limits.grace_seconds,  # type: ignore[arg-type]
        lifespan="on",
    )
    server = _Server(config, on_ready)
    # uvicorn raises the signal again once it has finished; for us that is the regular end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, server), daemon=True).start()
    server.run(sockets=[sock])


def _affordable(connections: int) -> int:
    """So many connections as the process may have files open, which it is let have more of if that can be."""
    try:
        import resource
    except ImportError:  # Windows
        return connections
    wanted = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < wanted:
        LOGGER.warning("%d connections at most, not %d: ulimit -n is %d", allowed // 2, connections, hard)
        return max(1, allowed // 2)
    return connections


def _end_with(parent: Any, server: uvicorn.Server) -> None:
    parent.join()
    server.should_exit = True


def share_cores(num_processes: int) -> None:
    """Let each of several processes compute on its share of the cores, unless OMP_NUM_THREADS is set."""
    if "OMP_NUM_THREADS" in os.environ or num_processes == 1:
        return
    import faiss
    import torch

    num_threads = max(1, (os.cpu_count() or 1) // num_processes)
    torch.set_num_threads(num_threads)
    faiss.omp_set_num_threads(num_threads)
