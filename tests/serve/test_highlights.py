"""Highlights: how much of a hit they look at, and when they stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from llara.serve import searching
from llara.serve.engine import Engine
from llara.serve.settings import ServeSettings


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    loaded = Engine.load(ServeSettings(model="llara-mini"))
    loaded.start()
    yield loaded
    loaded.close()


def test_highlights_end_when_nobody_waits_for_them(engine):
    taken: list[int] = []

    def texts() -> Iterator[str]:
        for number in range(1_000):
            taken.append(number)
            time.sleep(0.01)
            yield f"wing {number}"

    async def play() -> int:
        vector_D = np.ones(engine.encoder.dimension, dtype=np.float32)
        await engine.highlights(vector_D, ["the first opens the inspector"])
        running = [asyncio.ensure_future(engine.highlights(vector_D, texts())) for _ in range(2)]
        while len(taken) < 5:
            await asyncio.sleep(0.01)
        for task in running:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*running)
        return len(await engine.highlights(vector_D, ["a", "wing"]))  # waits for a thread of two

    started = time.perf_counter()
    assert asyncio.run(play()) == 2
    assert time.perf_counter() - started < 9  # seconds; a thousand texts take 10
    assert len(taken) < 1_000


def test_highlights_are_of_the_beginning_of_a_long_hit():
    seen: list[list[str]] = []

    async def highlights(_: np.ndarray, texts: list[str]) -> list[list[object]]:
        seen.append(texts)
        return [[] for _ in texts]

    hit = SimpleNamespace(title="a title", text="wing " * 30_000)
    engine = SimpleNamespace(searcher=object(), highlights=highlights)
    found = asyncio.run(vars(searching)["_highlights"](engine, "wing", np.ones((1, 4)), [hit]))
    assert found == [{"title": [], "text": []}]
    assert [len(text) for text in seen[0]] == [7, 10_000]
