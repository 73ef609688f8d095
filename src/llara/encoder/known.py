"""What the fast path knows of a retriever, read from its modules; anything else is left to the stock path.

A retriever of ours is a transformer, a pooling of its slots, and modules that see nothing but the pooled
vector (centring, normalisation). What is known is computed from those very modules; a module, prompt, hook or
setting that is not known here could change a vector, so that model is encoded by sentence-transformers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling
from torch import nn

from llara.errors import ConfigError, ModelError
from llara.prompts import Prompts, Task, chat_template
from llara.slots import SlotTransformer

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["Known", "NotKnownError", "looks_like_ours", "read_known"]

_POINTWISE = (Dense, LayerNorm, Normalize)
_FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}
_STOCK_MODALITIES = {"text": _FORWARD, "message": {**_FORWARD, "format": "flat"}}
# Settings of the transformer module that change what it computes, and the value that changes nothing.
_NEUTRAL: dict[str, Any] = {
    "backend": "torch",
    "transformer_task": "feature-extraction",
    "module_output_name": "token_embeddings",
    "query_expansion": None,
    "do_lower_case": False,
}


class NotKnownError(ModelError):
    """The fast path does not know this model; the message says what of it."""


@dataclass(frozen=True)
class Known:
    """A retriever whose way from text to vector is known.

    Attributes:
        transformer: its first module, whose ``model`` has no language-model head.
        tail: the modules after pooling.
        max_tokens: after how many tokens each role's input is cut, prompt included; None: never.
    """

    prompts: Prompts
    transformer: Transformer
    tail: tuple[Any, ...]
    max_tokens: dict[Task, int | None]

    def text_limit(self, task: Task) -> int | None:
        """How many of a text's own tokens are kept."""
        longest = self.max_tokens[task]
        return None if longest is None else self.prompts.text_limit(longest, [task])


def looks_like_ours(model: SentenceTransformer) -> bool:
    """Whether a model's prompts were written by llara, whatever else has been made of it."""
    first = model[0] if isinstance(model, nn.Sequential) and len(model) else None
    if isinstance(first, SlotTransformer):
        return True
    template = getattr(getattr(first, "tokenizer", None), "chat_template", None)
    return isinstance(template, str) and "namespace(text=message['content'] | trim)" in template


def read_known(model: SentenceTransformer) -> Known:
    """Read a model's modules.

    Raises:
        NotKnownError: something of it is not known.
    """
    transformer, pooling, *tail = _modules(model)
    _check_settings(model, transformer, pooling)
    prompts = _prompts(transformer)
    limits: dict[Task, int | None] = {
        "self": _limit(transformer, model, "document_length"),
        "next": _limit(transformer, model, "query_length"),
    }
    known = Known(prompts, transformer, tuple(tail), limits)
    try:
        for task in limits:
            known.text_limit(task)
    except ConfigError as error:
        raise NotKnownError(str(error)) from error
    return known


def _modules(model: SentenceTransformer) -> list[Any]:
    """The modules, each of a kind that is known at its place."""
    modules: list[Any] = list(model) if isinstance(model, nn.Sequential) else []
    if len(modules) < 2 or type(modules[0]) not in (Transformer, SlotTransformer):
        raise NotKnownError("it does not begin with a transformer and a pooling module")
    if type(modules[1]) is not Pooling:
        raise NotKnownError(f"its second module is a {type(modules[1]).__name__}, expected Pooling")
    for module in modules[2:]:
        parts = [module]
        if type(module) is Router:
            parts = [part for route in cast("Any", module.sub_modules).values() for part in route]
        for part in parts:
            if type(part) not in _POINTWISE or not _is_of_vectors(part):
                raise NotKnownError(f"its module {type(part).__name__} is not one that llara writes")
    for module in [model, *modules[:2]]:
        if module._forward_hooks or module._forward_pre_hooks:
            raise NotKnownError(f"its {type(module).__name__} has hooks")
    return modules


def _is_of_vectors(module: Any) -> bool:
    names = [getattr(module, f"module_{side}_name", "sentence_embedding") for side in ("input", "output")]
    return names == ["sentence_embedding"] * 2


def _check_settings(model: SentenceTransformer, transformer: Any, pooling: Pooling) -> None:
    """Refuse settings under which the stock path computes something else than ours does."""
    has_slots = isinstance(transformer, SlotTransformer)
    wrong = [name for name, value in _NEUTRAL.items() if getattr(transformer, name, value) != value]
    modalities = transformer.modality_config
    if modalities != ({"text": _FORWARD} if has_slots else _STOCK_MODALITIES):
        wrong.append("modality_config")
    if getattr(transformer, "processing_kwargs", None):
        wrong.append("processing_kwargs")
    settings = pooling.get_config_dict()
    expected = ("mean" if has_slots else "lasttoken", True)
    if (settings["pooling_mode"], settings.get("include_prompt", True)) != expected:
        wrong.append("pooling")
    tokenizer = transformer.tokenizer
    if tokenizer is None or tokenizer.padding_side != "right" or tokenizer.truncation_side != "right":
        wrong.append("padding or truncation side")
    if model.truncate_dim is not None:
        wrong.append("truncate_dim")
    if model.default_prompt_name is not None or any(model.prompts.values()):
        wrong.append("prompts")
    if wrong:
        raise NotKnownError(f"its settings are not llara's: {', '.join(wrong)}")


# Prompts by module: reading a large vocabulary takes a moment, and a search encodes one query a call.
_PROMPTS: WeakKeyDictionary[Any, tuple[tuple[Any, ...], Prompts]] = WeakKeyDictionary()


def _prompts(transformer: Any) -> Prompts:
    """The prompts of a module: its own, or the paper's where its chat template writes just those."""
    if isinstance(transformer, SlotTransformer):
        return transformer.prompts
    tokenizer = transformer.tokenizer
    facts = (id(tokenizer), len(tokenizer), tokenizer.chat_template)
    found = _PROMPTS.get(transformer)
    if found is not None and found[0] == facts:
        return found[1]
    try:
        prompts = Prompts(tokenizer, "paper")
        written = chat_template(prompts)
    except ModelError as error:
        raise NotKnownError(str(error)) from error
    if tokenizer.chat_template != written or not prompts.joined:
        raise NotKnownError("its chat template is not the one that llara writes")
    _PROMPTS[transformer] = (facts, prompts)
    return prompts


def _limit(transformer: Any, model: SentenceTransformer, own: str) -> int | None:
    """A role's own limit, or the model's."""
    length = getattr(transformer, own, None) or model.max_seq_length
    return None if length is None or not math.isfinite(length) or length > 2**31 else int(length)
