"""Before anything is loaded: the address, and where words go. Imports nothing heavy."""

from __future__ import annotations

import logging
import socket
import sys

from llara.errors import ConfigError, OutputError
from llara.serve.settings import ServeSettings

__all__ = ["LOGGER", "bind", "set_up_logging", "url_of"]

LOGGER = logging.getLogger("llara.serve")
_OF_PROBES = ("Unsupported upgrade request", "No supported WebSocket library")  # advice that is not ours


def bind(settings: ServeSettings) -> socket.socket:
    """A socket bound to the address; nobody can connect before a process listens.

    Raises:
        ConfigError: there is no such host name.
        OutputError: the address is taken, or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise ConfigError(f"--host {settings.host}: {error.strerror or error}") from error
    # asyncio switches Nagle's algorithm off (40 ms of every answer) only where the protocol is named.
    sock = socket.socket(family, kind, protocol)
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
    handler.addFilter(lambda record: not record.getMessage().startswith(_OF_PROBES))
