"""What the two encoding benchmarks share: texts, what they cost, and the two ways to encode them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pydoc_data import topics
from typing import Any

import numpy as np
from sentence_transformers import SentenceTransformer

from llara.encoder import Encoder
from llara.prompts import Prompts

_WORD = re.compile(r"[(\"']?[A-Za-z]+(-[a-z]+)?[)\"']?[.,;:]?")

__all__ = ["needed_flops", "num_tokens", "stock_encode", "stock_padding", "word_texts"]


def word_texts(count: int, *, mean_words: int = 60, seed: int = 0) -> list[str]:
    """Prose of log-normal lengths (sigma 0.6): runs of words of Python's language reference.

    Code and rulers are left out: they cost many tokens a character, which the library, that sorts by
    characters, would pay for with padding.
    """
    words = [word for word in " ".join(topics.topics.values()).split() if _WORD.fullmatch(word)]
    draw = np.random.default_rng(seed)
    lengths = np.rint(draw.lognormal(np.log(mean_words) - 0.6**2 / 2, 0.6, count)).astype(int).clip(1, 600)
    starts = draw.integers(0, len(words) - 600, count)
    return [" ".join(words[start : start + n]) for start, n in zip(starts, lengths, strict=True)]


def num_tokens(encoder: Encoder, texts: Sequence[str]) -> list[int]:
    """Tokens of each text as the model sees it, prompt included."""
    path = encoder.path
    assert path is not None, encoder.how
    prompts: Prompts = path.known.prompts
    around = len(prompts.lead_ids) + len(prompts.branches["self"].ids)
    return [around + len(ids) for ids in prompts.text_ids(texts, path.known.text_limit("self"))]


def needed_flops(encoder: Encoder, lengths: Sequence[int]) -> float:
    """FLOP that the vectors need: real tokens times the layers' weights, and every pair a token may see.

    A multiply-add is two. Padding and masked pairs are not counted, whoever computes them.
    """
    assert encoder.path is not None
    trunk = encoder.path.trunk
    weights = sum(p.numel() for layer in trunk.layers for p in layer.parameters() if p.ndim == 2)
    config = trunk.config
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    pairs = sum(n * (n + 1) // 2 for n in lengths)
    return 2.0 * weights * sum(lengths) + 4.0 * width * pairs * config.num_hidden_layers


def stock_padding(texts: Sequence[str], lengths: Sequence[int], batch_size: int) -> float:
    """Places that the library's batches have for each token: it sorts texts by their characters."""
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches) / sum(lengths)


def stock_encode(model: SentenceTransformer, texts: Sequence[str], batch_size: int) -> Callable[[], Any]:
    """The library's own ``encode_document``."""
    return lambda: model.encode_document(list(texts), batch_size=batch_size, show_progress_bar=False)
