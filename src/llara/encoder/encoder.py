"""``Encoder``: a model opened for encoding, by the fast path where that is known, else by the stock one."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args
from weakref import WeakKeyDictionary

import numpy as np
import torch

from llara.encoder.attention import has_varlen
from llara.encoder.known import Known, NotKnownError, looks_like_ours, read_known
from llara.encoder.path import FastPath, Role, Way
from llara.encoder.precision import ComputeDtype, choose_dtype
from llara.encoder.proof import prove
from llara.encoder.quantise import unit
from llara.errors import ConfigError, ModelError
from llara.model import load

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoder"]

_CPU_TOKENS = 1024  # a batch's activations stay in the processor's cache
_GPU_TOKENS = 16_384
_STOCK_BLOCK_BATCHES = 32  # the stock path sorts by length, and shows progress, in blocks of so many batches


class Encoder:
    """Texts to unit vectors.

    Attributes:
        model: the model, as sentence-transformers loads it.
        path: the fast path, or None where sentence-transformers' own is taken.
        how: which path, attention and dtype, in words; why not the fast path, if not.

    Args:
        model: a model directory or name (see ``llara.model.load``), or a loaded model, whose weights are then
            read anew at every call: it may go on being trained.
        device: where to load it to; by default a GPU if there is one.
        dtype: of the loaded weights; ``auto``: bfloat16 where the device is fast in it. A loaded model keeps
            its own.
        attention: ``auto``, ``padded``, ``packed`` or ``flex``, see ``FastPath``.
        compile_layers: compile each layer by ``torch.compile``, in place. It takes a minute at the first
            batches, and pays for large models on a GPU.
        batch_tokens: what a batch may cost.

    Raises:
        ModelError: no such model, or its pooled token is not the one that its prompts end in.
        ConfigError: a setting is not valid.
    """

    def __init__(
        self,
        model: str | Path | SentenceTransformer,
        *,
        device: str | None = None,
        dtype: ComputeDtype = "auto",
        attention: str = "auto",
        compile_layers: bool = False,
        batch_tokens: int | None = None,
    ) -> None:
        if attention not in ("auto", *get_args(Way)):
            raise ConfigError(f"attention is {attention!r}, expected auto, {', '.join(get_args(Way))}")
        if batch_tokens is not None and batch_tokens < 1:
            raise ConfigError(f"batch_tokens is {batch_tokens}, expected at least 1")
        self._reason = "as it was loaded"
        self._owned = isinstance(model, str | Path)
        self.model = self._load(model, device, dtype) if isinstance(model, str | Path) else model
        self._attention_asked = attention
        self._budget = batch_tokens
        self.path, self.how = self._find_path()
        if compile_layers:
            self._compile()

    @property
    def dimension(self) -> int:
        """The number of dimensions of a vector."""
        return self.model.get_embedding_dimension() or 0

    @property
    def dtype(self) -> str:
        """The number format of the weights, such as ``bfloat16``."""
        parameter = next(self.model.parameters(), None)
        return "float32" if parameter is None else str(parameter.dtype).removeprefix("torch.")

    def encode(
        self,
        texts: Sequence[str],
        *,
        role: Role,
        batch_size: int | None = None,
        progress: bool = False,
    ) -> np.ndarray:
        """The unit vectors of ``texts`` in their order: float32 ``[N, D]``; a vector of zeros stays as it is.

        Besides the result, memory holds two windows of tokens and one batch.

        Args:
            batch_size: no batch holds more texts (the stock path: 64 by default).
            progress: show a bar on stderr if that is a terminal.

        Raises:
            ModelError: a vector is not finite, or the model compares by something else than cosine.
            ConfigError: the role or the batch size is not valid.
        """
        from tqdm import tqdm  # type: ignore[import-untyped]

        if role not in get_args(Role):
            raise ConfigError(f"role is {role!r}, expected one of {', '.join(get_args(Role))}")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}, expected at least 1")
        similarity = self.model.similarity_fn_name
        if similarity not in ("cosine", "dot"):
            raise ModelError(f"the model compares by {similarity}; llara searches by cosine only")
        parts: list[np.ndarray] = []
        done = 0
        hide = not (progress and sys.stderr.isatty())
        with tqdm(total=len(texts), desc=f"encode {role}", unit="text", leave=False, disable=hide) as bar:
            for vectors in self._windows(texts, role, batch_size):
                of_these = texts[done : done + len(vectors)]
                parts.append(_unit_vectors(vectors, of_these, is_dot=similarity == "dot"))
                done += len(vectors)
                bar.update(len(vectors))
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), dtype=np.float32)

    def _windows(self, texts: Sequence[str], role: Role, batch_size: int | None) -> Iterator[np.ndarray]:
        self.model.eval()  # as the stock path does
        if self.path is not None:
            yield from self.path.vectors(texts, role, most_texts=batch_size)
            return
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        size = batch_size or 64
        for start in range(0, len(texts), size * _STOCK_BLOCK_BATCHES):
            block = list(texts[start : start + size * _STOCK_BLOCK_BATCHES])
            vectors = encode(block, batch_size=size, show_progress_bar=False)
            yield np.asarray(vectors, dtype=np.float32)

    def _load(self, name: str | Path, device: str | None, dtype: str) -> SentenceTransformer:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        chosen, self._reason = choose_dtype(dtype, place)
        return load(name, device=str(place), dtype=chosen)

    def _find_path(self) -> tuple[FastPath | None, str]:
        """The first way that is proved to give the stock path's vectors."""
        return _cached_path(self.model, self._attention_asked, self._budget, self._owned, self._reason)

    def _compile(self) -> None:
        if self.path is None:
            return
        depth = self.path.trunk.config.num_hidden_layers
        stacks = [m for m in self.path.trunk.children() if isinstance(m, torch.nn.ModuleList)]
        for layer in next((stack for stack in stacks if len(stack) == depth), ()):
            layer.compile(dynamic=True)
        self.how += ", compiled layers"


# -- the way through a model


_PATHS: WeakKeyDictionary[Any, tuple[tuple[Any, ...], tuple[FastPath | None, str]]] = WeakKeyDictionary()


def _cached_path(
    model: SentenceTransformer, attention: str, budget: int | None, owned: bool, reason: str
) -> tuple[FastPath | None, str]:
    """The way through a model, found once and again when something of it that matters has changed."""
    try:
        known = read_known(model)
    except NotKnownError as error:
        return None, _say_stock(model, [str(error)])
    parameter = next(model[0].parameters())
    facts = (
        tuple(id(module) for module in model),
        id(known.transformer.model),
        id(known.prompts),
        tuple(known.max_tokens.items()),
        known.transformer.model.config._attn_implementation,
        parameter.dtype,
        parameter.device,
        torch.is_autocast_enabled(parameter.device.type),
        attention,
        budget,
        owned,
    )
    found = _PATHS.get(model)
    if found is None or found[0] != facts:
        found = facts, _find_path(model, known, attention, budget, owned, reason)
        _PATHS[model] = found
    return found[1]


def _find_path(
    model: SentenceTransformer, known: Known, attention: str, budget: int | None, owned: bool, reason: str
) -> tuple[FastPath | None, str]:
    parameter = next(model[0].parameters())
    device = parameter.device
    tail = known.tail
    if owned and parameter.dtype != torch.float32:
        # The vector's last steps cost nothing, and a mean subtracted in half precision leaves its rounding.
        tail = tuple(copy.deepcopy(module).float() for module in tail)
    refusals: list[str] = []
    for way in _ways(attention, device, parameter.dtype):
        tokens = budget or (_CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS)
        path = FastPath(known, way, budget_tokens=tokens, tail=tail)
        try:
            prove(model, path)
        except NotKnownError as error:
            refusals.append(str(error))
            continue
        dtype = str(parameter.dtype).removeprefix("torch.")
        return path, f"{way} rows, {dtype} ({reason})" + "".join(f"; {why}" for why in refusals)
    return None, _say_stock(model, refusals)


def _ways(attention: str, device: torch.device, dtype: torch.dtype) -> list[Way]:
    """The ways to try, best first."""
    if attention != "auto":
        return [attention]  # type: ignore[list-item]
    if has_varlen(device, dtype) and not torch.is_autocast_enabled(device.type):
        return ["packed", "padded"]
    return ["padded"]


def _say_stock(model: SentenceTransformer, reasons: Sequence[str]) -> str:
    """Why the stock path is taken; a warning where the model looks as if it needed not be."""
    why = f"sentence-transformers' own encode: {'; '.join(reasons)}"
    if looks_like_ours(model):
        warnings.warn(f"encoding by {why}", stacklevel=2)
    return why


def _unit_vectors(vectors: np.ndarray, texts: Sequence[str], *, is_dot: bool) -> np.ndarray:
    """Scale the rows of float32 ``[n, D]`` to length 1; refuse what cosine cannot compare."""
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        text = texts[int(np.argmin(finite))]
        raise ModelError(
            f"the model gave a vector that is not finite (NaN or infinity) for the text {text[:80]!r}; "
            "load it in float32 or bfloat16 instead of float16, or look at its weights"
        )
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if is_dot and np.any(np.abs(lengths - 1) > 1e-2):
        raise ModelError(
            f"the model compares by dot product and its vectors are not of length 1 (one has "
            f"{float(lengths.max()):.3g}); llara searches by cosine only, so add a Normalize module to it"
        )
    return unit(vectors)
