"""What the service serves: a model, and perhaps an index made by it.

The model is used in the batcher's thread alone. Everything else that takes time (counting tokens, searching,
reading documents, writing long answers) runs in a few threads, so the event loop never waits.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from llara.corpus import Document
from llara.encode import longest_input
from llara.encoder import Encoder
from llara.errors import ModelError
from llara.indexes import StoredIndex
from llara.inspect import Inspector, Span
from llara.model import fingerprint, load, read_facts
from llara.search import Hit, Mode, Searcher
from llara.serve.admission import Admission
from llara.serve.batching import Batcher
from llara.serve.errors import ApiError
from llara.serve.metrics import Metrics
from llara.serve.settings import ServeSettings
from llara.serve.tokens import Tokens

if TYPE_CHECKING:
    from llara.vectors import Role

__all__ = ["Engine"]

T = TypeVar("T")
_THREADS = 4
_SMALL = 2_000  # takes well under a millisecond
_CHARACTERS_AS_LONG = 64  # as a text by itself
_INSPECTIONS = 2  # at once; each encodes a hundred texts and more
_WITH_VECTORS = ("dense", "hybrid")
_BATCH_TOKENS = {"cpu": 2_048}
_GPU_BATCH_TOKENS = 32_768


class _Answered(Encoder):
    """What stands in for the encoder of a search whose query is encoded already."""

    def __init__(self, vectors_ND: np.ndarray) -> None:
        self._vectors_ND = vectors_ND

    def encode(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        """The vectors that are there."""
        assert len(texts) == len(self._vectors_ND)
        return self._vectors_ND


class _Queued(Encoder):
    """An encoder for threads: its texts are computed with everybody's."""

    def __init__(self, encoder: Encoder, tokens: Tokens, batcher: Batcher) -> None:
        self.model, self.path, self.how = encoder.model, encoder.path, encoder.how
        self._tokens, self._batcher = tokens, batcher
        self.asked_by = threading.local()  # its given_up: an Event of the request that a thread works for

    def encode(self, texts: Sequence[str], *, role: Role, **_: Any) -> np.ndarray:
        """Unit vectors, float32 ``[N, D]``.

        Raises:
            ApiError: the queue is full, or nobody waits any more.
        """
        given_up = getattr(self.asked_by, "given_up", threading.Event())
        return self._batcher.vectors_for_thread(texts, self._tokens.count(texts, role), role, given_up.is_set)


class Engine:
    """A model behind its queue, and an index.

    Attributes:
        name: what clients call the model.
        searcher: the index, if there is one.
        admission: the requests that are being answered: the model waits a moment for those.
        created: when the model was loaded, in seconds since 1970.
    """

    def __init__(self, settings: ServeSettings, model: Any, searcher: Searcher | None) -> None:
        self.settings, self.searcher = settings, searcher
        self.encoder = Encoder(model) if searcher is None else searcher.encoder
        self.tokens = Tokens(self.encoder)
        self.metrics = Metrics()
        self.admission = Admission(settings.limits, self.metrics)
        self.created = int(time.time())
        self._source = searcher.name if searcher is not None else str(settings.model)
        self.name = settings.name or _public_name(self._source)
        self._model_facts = self._describe_model(self._source)
        self.batcher = Batcher(
            lambda texts, role: self.encoder.encode(texts, role=role),
            self.metrics,
            lambda num_here: self.admission.in_flight > num_here,
            dimension=self.encoder.dimension,
            batch_tokens=settings.limits.batch_tokens
            or _BATCH_TOKENS.get(model.device.type, _GPU_BATCH_TOKENS),
            queue_texts=settings.limits.queue_texts,
            wait_seconds=settings.limits.wait_ms / 1000,
        )
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="llara-work")
        self._inspecting = ThreadPoolExecutor(_INSPECTIONS, thread_name_prefix="llara-inspect")
        self._highlighting = ThreadPoolExecutor(_INSPECTIONS, thread_name_prefix="llara-highlight")
        self._queued = _Queued(self.encoder, self.tokens, self.batcher)
        self._given_up: set[threading.Event] = set()  # of the inspections that are running
        self._opening = threading.Lock()
        self._inspector: Inspector | None = None

    @classmethod
    def load(cls, settings: ServeSettings) -> Self:
        """Load what the settings name, and compute a first vector of each role.

        Raises:
            LlaraError: the model or the index is missing, damaged, or they do not belong together.
        """
        if settings.index is None:
            assert settings.model is not None
            engine = cls(settings, load(settings.model, device=settings.device), None)
        else:
            searcher = Searcher.open(
                settings.index, settings.model, device=settings.device, settings=settings.index_settings
            )
            engine = cls(settings, searcher.model, searcher)
        engine.encoder.encode(["a first text"], role="document")
        engine.encoder.encode(["a first text"], role="query")
        if engine.searcher is not None:
            engine.searcher.search(["a first text"], 1)
        return engine

    def start(self) -> None:
        """Start the model's thread."""
        self.batcher.start()

    def close(self) -> None:
        """Finish what waits and close the index; inspections that are still running are given up."""
        for given_up in list(self._given_up):
            given_up.set()
        for pool in (self._inspecting, self._highlighting):  # first: their texts go through the queue
            pool.shutdown(cancel_futures=True)
        self.batcher.stop()
        self._threads.shutdown()
        if self.searcher is not None:
            self.searcher.stored.close()

    async def in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        """What ``function(*arguments)`` gives, without holding up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def with_size(self, size: int, function: Callable[..., T], *arguments: Any) -> T:
        """The same where ``size`` (characters or numbers) is large; a small task is quicker than a thread."""
        if size <= _SMALL:
            return function(*arguments)
        return await self.in_thread(function, *arguments)

    async def embed(self, texts: Sequence[str], role: Role) -> tuple[np.ndarray, int]:
        """Unit vectors float32 ``[N, D]``, and how many tokens all texts have together."""
        size = sum(len(text) + _CHARACTERS_AS_LONG for text in texts)
        tokens = await self.with_size(size, self.tokens.count, texts, role)
        return await self.batcher.vectors(texts, tokens, role), sum(tokens)

    # -- the index

    @property
    def modes(self) -> tuple[str, ...]:
        """The ways to search."""
        return () if self.searcher is None else self.searcher.modes

    async def search(
        self, query: str, k: int, mode: Mode, where: str | None
    ) -> tuple[list[Hit], np.ndarray | None]:
        """The ``k`` best documents, and the query's vector ``[1, D]`` where it was needed."""
        assert self.searcher is not None
        searcher, vector_1D = self.searcher, None
        if mode in _WITH_VECTORS:
            vector_1D, _ = await self.embed([query], searcher.query_role)
            searcher = copy.copy(searcher)
            searcher.encoder = _Answered(vector_1D)
        found = await self.in_thread(lambda: searcher.search([query], k, mode=mode, where=where))
        return found[0], vector_1D

    async def document(self, id_: str) -> Document | None:
        """The document of that id."""
        assert self.searcher is not None
        return await self.in_thread(self._document, id_)

    def _document(self, id_: str) -> Document | None:
        assert self.searcher is not None
        stored: Any = self.searcher.stored
        if isinstance(stored, StoredIndex):
            positions = list(stored.positions([id_]).values())
            return stored.documents(positions)[0] if positions else None
        found = stored.search(np.zeros((1, stored.manifest.dimension), np.float32), 1, where=_is_id(id_))[0]
        return found[0].document if found else None

    # -- what vectors hold

    @property
    def can_inspect(self) -> bool:
        """Whether this model's prompts are known."""
        return self._model_facts["preset"] is not None

    async def inspect(self, function: Callable[[Inspector], T]) -> T:
        """What ``function(inspector)`` gives, in a thread; texts that it encodes wait in the queue like any.

        Raises:
            ApiError: this model cannot be looked into.
        """
        return await self._look(self._inspecting, lambda inspector, _: function(inspector))

    async def highlights(self, vector_D: np.ndarray, texts: Iterable[str]) -> list[list[Span]]:
        """Where each text holds what a query's vector expects; no text is encoded for it.

        Raises:
            ApiError: this model cannot be looked into.
        """

        def run(inspector: Inspector, given_up: threading.Event) -> list[list[Span]]:
            return inspector.highlights(vector_D, _while_wanted(texts, given_up))

        return await self._look(self._highlighting, run)

    async def _look(self, pool: ThreadPoolExecutor, function: Callable[[Inspector, threading.Event], T]) -> T:
        """What ``function(inspector, given_up)`` gives; ``given_up`` is set when nobody waits for it."""
        given_up = threading.Event()

        def run() -> T:
            self._queued.asked_by.given_up = given_up
            return function(self._opened_inspector(), given_up)

        self._given_up.add(given_up)
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, run)
        finally:
            given_up.set()
            self._given_up.discard(given_up)

    def _opened_inspector(self) -> Inspector:
        with self._opening:
            if self._inspector is None:
                self._inspector = self._open_inspector()
        return self._inspector

    def _open_inspector(self) -> Inspector:
        try:
            if self.searcher is None:
                return Inspector(self._source, encoder=self._queued)
            searcher = copy.copy(self.searcher)
            searcher.encoder = self._queued
            return Inspector.of(searcher)
        except ModelError as error:
            raise ApiError(501, f"this model cannot be looked into: {error}", "not_possible") from error

    # -- facts

    def facts(self) -> dict[str, Any]:
        """What ``/info`` tells of model and index."""
        return {"model": {"name": self.name, **self._model_facts}, "index": self._index_facts()}

    def _describe_model(self, source: str) -> dict[str, Any]:
        model = self.encoder.model
        try:
            print_, facts = fingerprint(source), read_facts(source)
        except ModelError:  # a model of the hub: its files are in a cache
            print_, facts = None, {}
        return {
            "fingerprint": print_,
            "dimension": self.encoder.dimension,
            "max_tokens": longest_input(model),
            "preset": facts.get("preset"),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }

    def _index_facts(self) -> dict[str, Any] | None:
        if self.searcher is None or self.settings.index is None:
            return None
        manifest = self.searcher.stored.manifest
        files = (path for path in self.settings.index.rglob("*") if path.is_file())
        return {
            "documents": len(self.searcher.stored),
            "kind": manifest.kind,
            "backend": manifest.backend,
            "bytes": sum(path.stat().st_size for path in files),
            "settings": manifest.settings,
            "role": manifest.role,
        }


def _while_wanted(texts: Iterable[str], given_up: threading.Event) -> Iterator[str]:
    for text in texts:
        if given_up.is_set():
            raise ApiError(503, "nobody waits for this any more", "ending")
        yield text


def _public_name(source: str) -> str:
    """A model's name without the path of this machine; a name of the hub as it is.

    >>> _public_name("/srv/models/my-model"), _public_name("owner/name")
    ('my-model', 'owner/name')
    """
    return Path(source).name if Path(source).is_absolute() or Path(source).exists() else source


def _is_id(id_: str) -> str:
    escaped = id_.replace("\\", "\\\\").replace('"', '\\"')
    return f'id == "{escaped}"'
