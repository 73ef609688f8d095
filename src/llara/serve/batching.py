"""The one thread that computes, and the queue before it.

Texts of all clients wait in one queue. The model's thread takes a batch of one role, a text of each waiting
request in turn until the batch is full, so that a request of one text is not kept waiting by one of two
thousand. While a batch is computed the next gathers by itself; an idle model waits a few milliseconds, and
only while other requests are on their way.

Shape legend: N texts, D dimensions.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from llara.serve.errors import ApiError
from llara.serve.metrics import Metrics

if TYPE_CHECKING:
    from llara.vectors import Role

__all__ = ["Batcher"]

_MOST_RETRY_SECONDS = 60
_LOOK_SECONDS = 0.25  # between two looks of a waiting thread whether anybody still wants its vectors


@dataclass(eq=False)
class _Job:
    """A request's texts, as far as they wait: ``taken`` of them are computed, or being so."""

    texts: Sequence[str]
    tokens: Sequence[int]
    role: Role
    vectors_ND: np.ndarray
    arrived: float = field(default_factory=time.monotonic)
    future: Future[np.ndarray] = field(default_factory=Future)
    taken: int = 0
    done: int = 0

    @property
    def num_waiting(self) -> int:
        return len(self.texts) - self.taken


_Piece = tuple[_Job, int]
"""A request and which of its texts."""


class Batcher:
    """Vectors of texts, computed in one thread for all who ask.

    Args:
        encode: texts of one role to unit vectors, float32 ``[N, D]``; called in this object's thread alone.
        expecting: whether more requests are on their way, given how many are here.
        dimension: D.
        batch_tokens: a batch ends when it has so many tokens.
        queue_texts: more texts do not wait; who brings them is told to come again.
        wait_seconds: the longest that an idle model waits for more texts.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[str], Role], np.ndarray],
        metrics: Metrics,
        expecting: Callable[[int], bool],
        *,
        dimension: int,
        batch_tokens: int,
        queue_texts: int,
        wait_seconds: float,
    ) -> None:
        self._encode, self._metrics, self._dimension = encode, metrics, dimension
        self._batch_tokens, self._queue_texts, self._wait_seconds = batch_tokens, queue_texts, wait_seconds
        self._expecting = expecting
        self._jobs: list[_Job] = []
        self._num_texts = 0  # that wait
        self._seconds_per_text = 0.01
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="llara-model", daemon=True)

    def start(self) -> None:
        """Begin to compute."""
        self._thread.start()

    def stop(self) -> None:
        """Compute what waits, then end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    async def vectors(self, texts: Sequence[str], tokens: Sequence[int], role: Role) -> np.ndarray:
        """The unit vectors of ``texts``, float32 ``[N, D]``. Cancelled, its texts leave the queue.

        Args:
            tokens: how many each text has.

        Raises:
            ApiError: the queue is full.
            LlaraError: what the model raised for one of these texts.
        """
        job = self._enter(texts, tokens, role)
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            self._leave(job)
            raise

    def vectors_for_thread(
        self, texts: Sequence[str], tokens: Sequence[int], role: Role, given_up: Callable[[], bool]
    ) -> np.ndarray:
        """The same for a thread, which waits as long as nobody has ``given_up``.

        Raises:
            ApiError: the queue is full, or nobody waits for it any more.
            LlaraError: what the model raised for one of these texts.
        """
        job = self._enter(texts, tokens, role)
        while not given_up():
            if wait([job.future], _LOOK_SECONDS).done:
                return job.future.result()
        self._leave(job)
        raise ApiError(503, "nobody waits for this any more", "ending")

    def _enter(self, texts: Sequence[str], tokens: Sequence[int], role: Role) -> _Job:
        job = _Job(texts, tokens, role, np.empty((len(texts), self._dimension), dtype=np.float32))
        if not texts:
            job.future.set_result(job.vectors_ND)
            return job
        with self._changed:
            self._refuse_if_full(job.num_waiting)
            self._jobs.append(job)
            self._count(job.num_waiting)
            self._changed.notify()
        return job

    def _refuse_if_full(self, num_more: int) -> None:
        if not self._stopping and self._num_texts + num_more <= self._queue_texts:
            return
        seconds = 1 + int(min(_MOST_RETRY_SECONDS, self._num_texts * self._seconds_per_text))
        raise ApiError(
            503,
            f"{self._num_texts} texts wait already, of at most {self._queue_texts}; try again in {seconds} s",
            "queue_full",
            headers={"Retry-After": str(seconds)},
        )

    def _leave(self, job: _Job) -> None:
        """Its client waits no more."""
        job.future.cancel()
        self._metrics.dropped_texts.inc(self._drop(job))

    def _drop(self, job: _Job) -> int:
        """Take a request's waiting texts out of the queue; returns how many there were."""
        with self._changed:
            if job not in self._jobs:
                return 0
            self._jobs.remove(job)
            self._count(-job.num_waiting)
            return job.num_waiting

    def _count(self, change: int) -> None:
        self._num_texts += change
        self._metrics.queue_texts.set(self._num_texts)

    # -- the model's thread

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            self._compute(batch)

    def _next(self) -> list[_Piece] | None:
        """What to compute next; None when there is nothing left and no more will come."""
        with self._changed:
            while not self._jobs:
                if self._stopping:
                    return None
                self._changed.wait()
            self._wait_for_more()
            return self._take() if self._jobs else []  # who came may have left again

    def _wait_for_more(self) -> None:
        deadline = self._jobs[0].arrived + self._wait_seconds
        while self._jobs and not self._stopping and self._expecting(len(self._jobs)):
            left = deadline - time.monotonic()
            if left <= 0 or self._num_texts >= self._batch_tokens:
                return
            self._changed.wait(left)

    def _take(self) -> list[_Piece]:
        """A batch of the first request's role: a text of each request in turn, until it has its tokens."""
        waiting = [job for job in self._jobs if job.role == self._jobs[0].role]
        pieces: list[_Piece] = []
        tokens = 0
        while waiting and tokens < self._batch_tokens:
            for job in waiting:
                pieces.append((job, job.taken))
                tokens += job.tokens[job.taken]
                job.taken += 1
                if tokens >= self._batch_tokens:
                    break
            waiting = [job for job in waiting if job.num_waiting]
        begun = {id(job) for job, _ in pieces}
        rest = [job for job in self._jobs if id(job) not in begun]
        # Those with texts left go behind the others, so that the other role has its turn.
        self._jobs = rest + [job for job in self._jobs if id(job) in begun and job.num_waiting]
        self._count(-len(pieces))
        return pieces

    def _compute(self, batch: list[_Piece]) -> None:
        wanted = [piece for piece in batch if not piece[0].future.cancelled()]
        self._metrics.dropped_texts.inc(len(batch) - len(wanted))
        batch = wanted
        if not batch:
            return
        role = batch[0][0].role
        texts = [job.texts[i] for job, i in batch]
        started = time.perf_counter()
        try:
            vectors_ND = self._encode(texts, role)
        except Exception as error:  # noqa: BLE001 - the thread must live on, and each client gets its own
            self._fail(batch, error)
            return
        seconds = time.perf_counter() - started
        self._seconds_per_text += 0.2 * (seconds / len(texts) - self._seconds_per_text)
        self._observe(batch, seconds)
        for (job, i), vector_D in zip(batch, vectors_ND, strict=True):
            job.vectors_ND[i] = vector_D
            job.done += 1
            if job.done == len(job.texts):
                with suppress(InvalidStateError):  # nobody waits any more
                    job.future.set_result(job.vectors_ND)

    def _fail(self, batch: list[_Piece], error: Exception) -> None:
        """Tell whom it concerns: requests are computed one by one, so that none is told of another's text."""
        jobs = {id(job): job for job, _ in batch}
        if len(jobs) == 1:
            (job,) = jobs.values()
            self._drop(job)
            with suppress(InvalidStateError):
                job.future.set_exception(error)
            return
        for job in jobs.values():
            self._compute([piece for piece in batch if piece[0] is job])

    def _observe(self, batch: list[_Piece], seconds: float) -> None:
        role = batch[0][0].role
        self._metrics.batch_texts.observe(len(batch))
        self._metrics.batch_requests.observe(len({id(job) for job, _ in batch}))
        self._metrics.batch_seconds.observe(seconds)
        self._metrics.texts.labels(role).inc(len(batch))
        self._metrics.tokens.labels(role).inc(sum(job.tokens[i] for job, i in batch))
