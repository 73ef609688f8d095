"""``Encoder``: a model opened for encoding, by the fast path where that is known, else by the stock one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch

from llara.encoder.choice import Asked, choose_path
from llara.encoder.path import Role, Way
from llara.encoder.precision import ComputeDtype, choose_dtype
from llara.encoder.quantise import unit
from llara.errors import ConfigError, ModelError
from llara.model import load
from llara.unicode import check_texts

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Encoder"]

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
        dtype: of the loaded weights; ``auto``: bfloat16 where the device is fast in it; ``stored``: as
            ``llara.model.load`` does, float32 on a CPU, else that of the files. A loaded model keeps its own.
        attention: ``auto``, ``padded``, ``packed`` or ``flex``, see ``FastPath``.
        compile_layers: compile each layer by ``torch.compile``, in place. It takes a minute at the first
            batches, and is meant for large models on a GPU.
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
        asked = Asked(attention, batch_tokens)
        if isinstance(model, str | Path):
            place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            chosen, reason = choose_dtype(dtype, place)
            self.model = load(model, device=str(place), dtype=chosen)
            asked = replace(asked, owned=True, dtype_reason=reason)
        else:
            self.model = model
        choice = choose_path(self.model, asked)
        self.path, self.how = choice.path, choice.how
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
        own_similarity: bool = False,
        progress: bool = False,
    ) -> np.ndarray:
        """The unit vectors of ``texts`` in their order: float32 ``[N, D]``; a vector of zeros stays as it is.

        Besides the result, memory holds two windows of tokens (8,192 texts each), one window's vectors up to
        three times, and one batch.

        Args:
            batch_size: no batch holds more texts (the stock path: 64 by default).
            own_similarity: for inner products as the model compares: where it does so by dot product, the
                vectors keep their lengths.
            progress: show a bar on stderr if that is a terminal.

        Raises:
            ModelError: a vector is not finite, or the model compares by something else than cosine.
            ConfigError: the role or the batch size is not valid.
            InputError: ``texts`` is no list, or a member is not a string of Unicode text.
        """
        from tqdm import tqdm  # type: ignore[import-untyped]

        if role not in get_args(Role):
            raise ConfigError(f"role is {role!r}, expected one of {', '.join(get_args(Role))}")
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}, expected at least 1")
        check_texts(texts)
        texts = list(texts)  # of a column of a table, too
        similarity = self.model.similarity_fn_name
        if similarity not in ("cosine", "dot"):
            raise ModelError(f"the model compares by {similarity}; llara searches by cosine only")
        together: np.ndarray | None = None  # made with the first vectors: parts put together need it twice
        done = 0
        hide = not (progress and sys.stderr.isatty())
        with tqdm(total=len(texts), desc=f"encode {role}", unit="text", leave=False, disable=hide) as bar:
            for vectors in self._windows(texts, role, batch_size, bar.update):
                if together is None:
                    together = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
                these = slice(done, done + len(vectors))
                _check_finite(vectors, texts[these])
                if similarity == "dot" and not own_similarity:
                    _check_lengths(vectors)
                together[these] = vectors if similarity == "dot" and own_similarity else unit(vectors)
                done += len(vectors)
        assert done == len(texts)
        return np.zeros((0, self.dimension), dtype=np.float32) if together is None else together

    def _windows(
        self, texts: Sequence[str], role: Role, batch_size: int | None, tick: Callable[[int], object]
    ) -> Iterator[np.ndarray]:
        if self.path is not None:
            self.model.eval()  # as the stock path does
            yield from self.path.vectors(texts, role, most_texts=batch_size, tick=tick)
            return
        encode = self.model.encode_query if role == "query" else self.model.encode_document
        size = batch_size or 64
        for start in range(0, len(texts), size * _STOCK_BLOCK_BATCHES):
            block = list(texts[start : start + size * _STOCK_BLOCK_BATCHES])
            vectors = encode(block, batch_size=size, show_progress_bar=False)
            tick(len(block))
            yield np.asarray(vectors, dtype=np.float32)

    def _compile(self) -> None:
        if self.path is None:
            return
        depth = self.path.trunk.config.num_hidden_layers
        stacks = [m for m in self.path.trunk.children() if isinstance(m, torch.nn.ModuleList)]
        for layer in next((stack for stack in stacks if len(stack) == depth), ()):
            layer.compile(dynamic=True)
        self.how += ", compiled layers"


def _check_finite(vectors: np.ndarray, texts: Sequence[str]) -> None:
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        text = texts[int(np.argmin(finite))]
        raise ModelError(
            f"the model gave a vector that is not finite (NaN or infinity) for the text {text[:80]!r}; "
            "load it in float32 or bfloat16 instead of float16, or look at its weights"
        )


def _check_lengths(vectors: np.ndarray) -> None:
    """Refuse float32 ``[n, D]`` of a dot-product model that cosine would compare otherwise."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    if np.any(np.abs(lengths - 1) > 1e-2):
        raise ModelError(
            f"the model compares by dot product and its vectors are not of length 1 (one has "
            f"{float(lengths.max()):.3g}); llara searches by cosine only, so add a Normalize module to it"
        )
