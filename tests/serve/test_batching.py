"""The queue before the model: what is computed together, in which order, and what happens to who waits."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from llara.serve.batching import Batcher
from llara.serve.errors import ApiError
from llara.serve.metrics import Metrics


class HandModel:
    """Gives each text a vector that says its length and its role; keeps what it was asked for.

    It computes nothing before ``go`` is set, so that a test decides what waits meanwhile.
    """

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[str]]] = []
        self.go = threading.Event()
        self.begun = threading.Event()

    def encode(self, texts: Sequence[str], role: str) -> np.ndarray:
        self.batches.append((role, list(texts)))
        self.begun.set()
        assert self.go.wait(20)
        if any(text == "bad" for text in texts):
            raise ValueError("a bad text")
        return self.vectors(texts, role)

    @staticmethod
    def vectors(texts: Sequence[str], role: str) -> np.ndarray:
        return np.array([[len(text), role == "query"] for text in texts], dtype=np.float32)


def make_batcher(
    model: HandModel,
    *,
    batch_tokens: int = 4,
    queue_texts: int = 100,
    wait_seconds: float = 0.0,
    expecting: Callable[[int], bool] = lambda _: False,
    metrics: Metrics | None = None,
) -> Batcher:
    return Batcher(
        model.encode,
        metrics or Metrics(),
        expecting,
        dimension=2,
        batch_tokens=batch_tokens,
        queue_texts=queue_texts,
        wait_seconds=wait_seconds,
    )


def ask(batcher: Batcher, texts: list[str], role: str = "document") -> asyncio.Task[np.ndarray]:
    return asyncio.ensure_future(batcher.vectors(texts, [1] * len(texts), role))  # type: ignore[arg-type]


async def begun(model: HandModel) -> None:
    while not model.begun.is_set():
        await asyncio.sleep(0.001)


def test_what_waits_while_the_model_computes_is_computed_together():
    model = HandModel()
    batcher = make_batcher(model)

    async def play() -> list[np.ndarray]:
        batcher.start()
        first = ask(batcher, ["a"])
        await begun(model)
        others = [ask(batcher, ["b" * size]) for size in (2, 3, 4)]
        await asyncio.sleep(0.05)
        model.go.set()
        return await asyncio.gather(first, *others)

    vectors = asyncio.run(play())
    batcher.stop()
    assert model.batches == [("document", ["a"]), ("document", ["bb", "bbb", "bbbb"])]
    assert [vector.tolist() for vector in vectors] == [[[1, 0]], [[2, 0]], [[3, 0]], [[4, 0]]]


def test_a_short_request_is_not_kept_waiting_by_a_long_one():
    model = HandModel()
    batcher = make_batcher(model, batch_tokens=4)
    long = [f"long{number}" for number in range(12)]

    async def play() -> None:
        batcher.start()
        first = ask(batcher, long)
        await begun(model)
        others = [ask(batcher, ["short"]), ask(batcher, ["query"], "query")]
        await asyncio.sleep(0.05)
        model.go.set()
        vectors = await asyncio.gather(first, *others)
        assert vectors[0].tolist() == HandModel.vectors(long, "document").tolist()

    asyncio.run(play())
    batcher.stop()
    assert model.batches[0] == ("document", long[:4])
    # The short ones came while that was computed: both come before the rest of the long one is done.
    assert {text for _, texts in model.batches[1:3] for text in texts} >= {"short", "query"}
    assert all(len(texts) <= 4 for _, texts in model.batches)
    assert all(len({text == "query" for text in texts}) == 1 for _, texts in model.batches)


def test_an_idle_model_waits_a_moment_only_while_more_is_expected():
    def seconds(expecting: bool) -> float:
        model = HandModel()
        model.go.set()
        batcher = make_batcher(model, wait_seconds=0.3, expecting=lambda _: expecting)

        async def play() -> float:
            batcher.start()
            await ask(batcher, ["warm"])
            started = time.monotonic()
            await ask(batcher, ["a"])
            return time.monotonic() - started

        taken = asyncio.run(play())
        batcher.stop()
        return taken

    assert seconds(expecting=True) >= 0.3
    assert seconds(expecting=False) < 0.2


def test_a_full_queue_refuses_and_says_when_to_come_again():
    model = HandModel()
    batcher = make_batcher(model, queue_texts=5)

    async def play() -> None:
        batcher.start()
        first = ask(batcher, ["a"])
        await begun(model)
        waits = ask(batcher, ["b"] * 4)
        await asyncio.sleep(0.01)
        with pytest.raises(ApiError) as refused:
            await batcher.vectors(["c"] * 2, [1, 1], "document")
        assert (refused.value.status, refused.value.code) == (503, "queue_full")
        assert int(refused.value.headers["Retry-After"]) >= 1
        fits = ask(batcher, ["d"])
        await asyncio.sleep(0.01)
        model.go.set()
        await asyncio.gather(first, waits, fits)

    asyncio.run(play())
    batcher.stop()
    assert "c" not in [text for _, texts in model.batches for text in texts]


def test_who_leaves_is_not_computed_for():
    model = HandModel()
    batcher = make_batcher(model)

    async def play() -> None:
        batcher.start()
        first = ask(batcher, ["a"])
        await begun(model)
        leaves, stays = ask(batcher, ["gone"] * 3), ask(batcher, ["here"])
        await asyncio.sleep(0.01)
        leaves.cancel()
        await asyncio.sleep(0.01)
        model.go.set()
        await asyncio.gather(first, stays)
        assert leaves.cancelled()

    asyncio.run(play())
    batcher.stop()
    assert model.batches == [("document", ["a"]), ("document", ["here"])]


def test_an_error_is_told_to_whose_text_it_is_about_and_to_nobody_else():
    model = HandModel()
    batcher = make_batcher(model, batch_tokens=10)

    async def play() -> list[object]:
        batcher.start()
        first = ask(batcher, ["a"])
        await begun(model)
        others = [ask(batcher, ["good"]), ask(batcher, ["bad", "too"]), ask(batcher, ["fine"])]
        await asyncio.sleep(0.01)
        model.go.set()
        found = await asyncio.gather(first, *others, return_exceptions=True)
        after = await ask(batcher, ["later"])
        return [*found, after]

    found = asyncio.run(play())
    batcher.stop()
    errors = [str(each) if isinstance(each, Exception) else None for each in found]
    assert errors == [None, None, "a bad text", None, None]


def test_stopping_finishes_what_waits_and_takes_nothing_more():
    model = HandModel()
    batcher = make_batcher(model)

    async def play() -> None:
        batcher.start()
        tasks = [ask(batcher, [name]) for name in "abc"]
        await begun(model)
        stopping = asyncio.get_running_loop().run_in_executor(None, batcher.stop)
        await asyncio.sleep(0.05)
        with pytest.raises(ApiError):
            await batcher.vectors(["late"], [1], "document")
        model.go.set()
        assert [vector.tolist() for vector in await asyncio.gather(*tasks)] == [[[1, 0]]] * 3
        await stopping

    asyncio.run(play())


def test_a_thread_can_wait_for_vectors_too():
    model = HandModel()
    model.go.set()
    batcher = make_batcher(model)
    batcher.start()
    never = threading.Event().is_set
    assert batcher.vectors_for_thread(["a", "bb"], [1, 1], "query", never).tolist() == [[1, 1], [2, 1]]
    assert batcher.vectors_for_thread([], [], "query", never).shape == (0, 2)
    batcher.stop()


def test_what_a_thread_asked_for_leaves_the_queue_when_nobody_wants_it():
    model = HandModel()
    batcher = make_batcher(model)
    given_up = threading.Event()
    batcher.start()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(batcher.vectors_for_thread, ["a"], [1], "query", threading.Event().is_set)
        assert model.begun.wait(20)
        later = threads.submit(batcher.vectors_for_thread, ["b", "c"], [1, 1], "query", given_up.is_set)
        given_up.set()
        with pytest.raises(ApiError, match="nobody waits"):
            later.result(20)
        model.go.set()
        assert first.result(20).tolist() == [[1, 1]]
    batcher.stop()
    assert model.batches == [("query", ["a"])]


def test_texts_are_counted_as_dropped_where_their_client_left_and_not_where_they_failed():
    model, metrics = HandModel(), Metrics()
    batcher = make_batcher(model, batch_tokens=1, metrics=metrics)

    async def play() -> None:
        batcher.start()
        first = ask(batcher, ["a"])
        await begun(model)
        fails, leaves = ask(batcher, ["bad", "never computed"]), ask(batcher, ["gone"] * 3)
        await asyncio.sleep(0.01)
        leaves.cancel()
        await asyncio.sleep(0.01)
        model.go.set()
        await asyncio.gather(first, fails, leaves, return_exceptions=True)

    asyncio.run(play())
    batcher.stop()
    assert "llara_dropped_texts_total 3.0" in metrics.exposition().decode()
