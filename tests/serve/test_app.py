"""The application around an engine that is made by hand: mistakes of ours, and its end."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import httpx

from llara.indexes.base import IndexManifest
from llara.indexes.manifests import write_index_manifest
from llara.serve.admission import Admission
from llara.serve.app import create_app
from llara.serve.metrics import Metrics
from llara.serve.settings import Limits, ServeSettings


class HandEngine(SimpleNamespace):
    """Has what the application asks for before any request, and ``facts`` that fail."""

    def __init__(self) -> None:
        limits, metrics = Limits(), Metrics()
        super().__init__(
            settings=ServeSettings(model="m"),
            metrics=metrics,
            admission=Admission(limits, metrics),
            name="m",
            encoder=SimpleNamespace(dimension=4),
            tokens=SimpleNamespace(vocabulary=10),
            modes=(),
            searcher=None,
            can_inspect=True,
            text="a secret of somebody",
        )
        self.closing = threading.Event()

    def facts(self) -> dict[str, Any]:
        raise RuntimeError(self.text)

    async def in_thread(self, function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    def start(self) -> None:
        pass

    def close(self) -> None:
        assert self.closing.wait(10), "the event loop stood still"


def test_a_mistake_of_ours_has_the_shape_of_every_error_and_tells_nothing(caplog):
    async def play() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(HandEngine()))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/info")

    answer = asyncio.run(play())
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["code"] == "internal"
    assert "RuntimeError" in caplog.text
    assert "secret" not in answer.text + caplog.text


def test_while_the_engine_ends_the_event_loop_goes_on():
    engine = HandEngine()
    app: Any = vars(create_app(engine))["_app"]  # type: ignore[arg-type]

    async def play() -> None:
        async with app.router.lifespan_context(app):
            asyncio.get_running_loop().call_later(0.1, engine.closing.set)

    asyncio.run(play())
    assert engine.closing.is_set()


def test_metrics_tell_that_another_index_stands_where_the_served_one_was(tmp_path):
    def manifest(build: str) -> IndexManifest:
        return IndexManifest("faiss", "exact", 4, "m", "f", "document", " ", None, {}, build=build)

    engine = HandEngine()
    engine.settings = ServeSettings(index=tmp_path)
    engine.modes = ("dense",)
    engine.searcher = SimpleNamespace(stored=SimpleNamespace(manifest=manifest("1")))

    async def ask() -> str:
        transport = httpx.ASGITransport(create_app(engine))  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/metrics")).text

    for build, expected in (("1", "0.0"), ("2", "1.0")):
        write_index_manifest(tmp_path, manifest(build))
        assert f"\nllara_index_replaced {expected}\n" in asyncio.run(ask())
