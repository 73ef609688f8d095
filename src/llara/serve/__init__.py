"""The service: ``llara serve``. Embeddings as OpenAI's clients ask for them, and search, over HTTP.

Read in this order; what is below builds on what is above:

    settings     what can be said on the command line, the limits, the keys
    listening    the address, and the log
    errors       what a client is told when something is wrong
    metrics      what is counted
    bodies       the bodies that requests have, within this server's limits
    schemas      those of responses
    tokens       counting a text's tokens, and reading token ids
    batching     the one thread that computes, and the queue before it
    admission    how many requests at once
    engine       the model and the index behind the service
    protocol     one connection: clients that are slow to send or to read
    security     keys, host names, headers
    intake       one body: its size, its time, a client that leaves
    gate         all of that around the routes, and what is logged
    answers      JSON out
    openapi      the description of the service
    paths        paths that end in an id
    embeddings, searching, inspecting, facts, pages     the routes
    app          the application
    server       one process
    supervisor   several processes on one socket
    run          what the command line calls

Nothing here is imported by ``import llara``; FastAPI and uvicorn come with ``pip install 'llara[serve]'``.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Limits", "ServeSettings", "serve"]


def __getattr__(name: str) -> Any:
    if name in ("Limits", "ServeSettings"):
        from llara.serve import settings

        return getattr(settings, name)
    if name == "serve":
        from llara.serve.run import serve

        return serve
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
