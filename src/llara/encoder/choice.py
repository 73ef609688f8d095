"""Which way a model is encoded: found once by trying, and again when something of the model has changed."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import torch

from llara.encoder.attention import has_varlen
from llara.encoder.known import Known, NotKnownError, looks_like_ours, read_known
from llara.encoder.path import FastPath, Way
from llara.encoder.proof import prove

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Asked", "Choice", "choose_path"]

_CPU_TOKENS = 1024  # a batch's activations stay in the processor's cache
_GPU_TOKENS = 16_384


@dataclass(frozen=True)
class Asked:
    """What is asked of an encoder.

    Attributes:
        attention: ``auto``, or one way.
        batch_tokens: what a batch may cost; None: by the device.
        owned: the model is the encoder's alone and is not trained.
        dtype_reason: why its weights have the dtype that they have.
    """

    attention: str = "auto"
    batch_tokens: int | None = None
    owned: bool = False
    dtype_reason: str = "as it was loaded"


@dataclass(frozen=True)
class Choice:
    """The fast path (None: the library's own encode) and what it is, or why it is not, in words."""

    path: FastPath | None
    how: str


# By model, with the facts under which the choice holds. A choice holds a model's modules, never the model.
_CHOICES: WeakKeyDictionary[Any, tuple[tuple[Any, ...], Choice]] = WeakKeyDictionary()


def choose_path(model: SentenceTransformer, asked: Asked) -> Choice:
    """The first way through ``model`` that is shown to give the library's own vectors.

    Raises:
        ModelError: the library itself loses the token that is pooled.
    """
    try:
        known = read_known(model)
    except NotKnownError as error:
        return _library(model, [str(error)])
    trunk, parameter = known.transformer.model, next(model[0].parameters())
    facts = (
        *(id(part) for part in (*model, trunk, known.prompts)),
        *known.max_tokens.items(),
        trunk.config._attn_implementation,
        parameter.dtype,
        parameter.device,
        torch.is_autocast_enabled(parameter.device.type),
        asked,
    )
    found = _CHOICES.get(model)
    if found is None or found[0] != facts:
        found = facts, _try_ways(model, known, asked)
        _CHOICES[model] = found
    return found[1]


def _try_ways(model: SentenceTransformer, known: Known, asked: Asked) -> Choice:
    parameter = next(model[0].parameters())
    device, dtype = parameter.device, parameter.dtype
    tokens = asked.batch_tokens or (_CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS)
    tail = known.tail
    if asked.owned and dtype != torch.float32:
        # A vector's last steps cost nothing, and a mean subtracted in half precision leaves its rounding.
        tail = tuple(copy.deepcopy(module).float() for module in tail)
    refusals: list[str] = []
    for way in _ways(asked.attention, device, dtype):
        path = FastPath(known, way, budget_tokens=tokens, tail=tail)
        try:
            prove(model, path)
        except NotKnownError as error:
            refusals.append(str(error))
            continue
        how = f"{way} rows, {str(dtype).removeprefix('torch.')} ({asked.dtype_reason})"
        return Choice(path, "; ".join([how, *refusals]))
    return _library(model, refusals)


def _ways(attention: str, device: torch.device, dtype: torch.dtype) -> list[Way]:
    """The ways to try, best first."""
    if attention != "auto":
        return [cast("Way", attention)]
    if has_varlen(device, dtype) and not torch.is_autocast_enabled(device.type):
        return ["packed", "padded"]
    return ["padded"]


def _library(model: SentenceTransformer, reasons: Sequence[str]) -> Choice:
    """The library's own encode; a warning where the model looks as if it needed it not."""
    how = f"sentence-transformers' own encode: {'; '.join(reasons)}"
    if looks_like_ours(model):
        warnings.warn(f"encoding by {how}", stacklevel=2)
    return Choice(None, how)
