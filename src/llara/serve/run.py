"""What ``llara serve`` calls."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from llara.errors import MissingExtraError
from llara.serve.settings import ServeSettings

__all__ = ["serve"]

_NEEDED = (("fastapi", "fastapi"), ("uvicorn", "uvicorn"), ("prometheus_client", "prometheus-client"))


def serve(settings: ServeSettings, *, say: Callable[[str], None], on_ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; what was accepted by then is finished.

    Args:
        say: told what happens, in words.
        on_ready: told the service's URL once it answers.

    Raises:
        MissingExtraError: FastAPI, uvicorn or prometheus_client is not installed.
        LlaraError: the model or the index cannot be loaded.
        OutputError: the address is taken.
    """
    for module, package in _NEEDED:
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError(package, "serve")
    from llara.serve.listening import bind, set_up_logging, url_of

    set_up_logging()
    sock = bind(settings)
    url = url_of(settings, sock)
    with sock:
        if settings.workers == 1:
            from llara.serve.server import run_process

            run_process(settings, sock, on_ready=lambda: on_ready(url))
        else:
            from llara.serve.supervisor import Supervisor

            Supervisor(settings, sock, say).run(lambda: on_ready(url))
