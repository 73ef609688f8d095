"""One process of the service: from a bound socket to the last answer."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import uvicorn

from llara.errors import ConfigError, OutputError
from llara.serve.app import create_app
from llara.serve.engine import Engine
from llara.serve.gate import LOGGER
from llara.serve.protocol import patient_protocol
from llara.serve.settings import ServeSettings

__all__ = ["bind", "run_process", "set_up_logging", "share_cores", "url_of"]


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
    limits = settings.limits
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
        signal.signal(number, lambda *_: None)
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, server), daemon=True).start()
    server.run(sockets=[sock])


def _end_with(parent: Any, server: uvicorn.Server) -> None:
    parent.join()
    server.should_exit = True


def bind(settings: ServeSettings) -> socket.socket:
    """A socket bound to the address; nobody can connect before a process listens.

    Raises:
        ConfigError: there is no such host name.
        OutputError: the address is taken, or not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"--host {settings.host}: {error.strerror or error}") from error
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise OutputError(
            f"cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; "
            "choose another with --port, or 0 for any that is free"
        ) from error
    sock.set_inheritable(True)
    return sock


def url_of(settings: ServeSettings, sock: socket.socket) -> str:
    """Where the service is found."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{sock.getsockname()[1]}"


def set_up_logging() -> None:
    """Our lines, and uvicorn's warnings, to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for logger, level in ((LOGGER, logging.INFO), (logging.getLogger("uvicorn.error"), logging.WARNING)):
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


def share_cores(num_processes: int) -> None:
    """Let each of several processes compute on its share of the cores, unless OMP_NUM_THREADS is set."""
    if "OMP_NUM_THREADS" in os.environ or num_processes == 1:
        return
    import faiss
    import torch

    num_threads = max(1, (os.cpu_count() or 1) // num_processes)
    torch.set_num_threads(num_threads)
    faiss.omp_set_num_threads(num_threads)
