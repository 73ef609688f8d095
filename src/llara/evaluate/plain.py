"""A Hugging Face model as it is, made to embed by plain pooling: the baselines of the paper's Eq. 1 to 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llara.errors import ModelError
from llara.model import resolve
from llara.prompts import bos_ids

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["load_plain"]

_POOLING = {"cls": "cls", "mean": "mean", "last": "lasttoken"}


def load_plain(name: str, pooling: str, *, device: str | None = None) -> SentenceTransformer:
    """Load any encoder or decoder without prompts, and pool its output states.

    ``cls``: the first token's state (Eq. 1). ``mean``: the mean over tokens (Eq. 2). ``last``: the state of
    the end-of-sequence token, which is put after every text, cut or not (Eq. 3).

    Raises:
        ModelError: no such model, or ``last`` with a tokenizer that has no end-of-sequence token.
    """
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model_kwargs = {"dtype": torch.float32} if device == "cpu" else {}
    try:
        body = Transformer(resolve(name), model_kwargs=model_kwargs)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"cannot load the model {name}: {error}") from error
    tokenizer: Any = body.tokenizer
    tokenizer.chat_template = None
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    if pooling == "last":
        _end_texts(tokenizer, name)
    dimension = body.get_embedding_dimension()
    modules = [body, Pooling(dimension, _POOLING[pooling]), Normalize()]
    return SentenceTransformer(modules=modules, device=device, similarity_fn_name="cosine")


def _end_texts(tokenizer: Any, name: str) -> None:
    """Make a fast tokenizer end each text in its end-of-sequence token, unless it does so by itself."""
    from tokenizers.processors import TemplateProcessing

    eos, eos_id = tokenizer.eos_token, tokenizer.eos_token_id
    if eos is None:
        raise ModelError(f"the tokenizer of {name} has no end-of-sequence token; use mean:{name}")
    if tokenizer("a").input_ids[-1] == eos_id:
        return
    lead_ids = bos_ids(tokenizer)
    lead = tokenizer.convert_ids_to_tokens(lead_ids)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=[*lead, "$A", eos], special_tokens=[*zip(lead, lead_ids, strict=True), (eos, eos_id)]
    )
