"""Does the fast path compute what sentence-transformers does? Tried on a few texts before it is used."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from llara.encoder.known import NotKnownError
from llara.errors import LlaraError, ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from llara.encoder.path import FastPath, Role

__all__ = ["prove"]

# What a template or a tokenizer could treat otherwise: blanks, nothing, special tokens, other scripts.
_PROBES = ("wing", "", " Its wool is soft,\nand  new! ", "a </s> b <s> c", "Zürich 7 \u5df4\u9ece")
_LONG_PROBE = "so on and on "
# Distance of two unit vectors that differ by rounding; of unrelated ones it is about 1.4.
_FLOAT32_TOLERANCE = 5e-4
_HALF_TOLERANCE = 0.2


def prove(model: SentenceTransformer, path: FastPath) -> None:
    """Compare ids of both roles and the vectors of two texts.

    Raises:
        NotKnownError: something differs, or the model cannot run this way.
        ModelError: the stock path loses the token that is pooled, so its vectors would be wrong, too.
    """
    for role, task in (("query", "next"), ("document", "self")):
        _same_ids(model, path, role, task)  # type: ignore[arg-type]
    texts = [_PROBES[2], _PROBES[0]]
    stock = model.encode_query(texts, show_progress_bar=False, convert_to_tensor=True)
    expected_ND = torch.nn.functional.normalize(stock.float(), dim=1).cpu().numpy()  # type: ignore[union-attr]
    if not np.isfinite(expected_ND).all():
        return  # nothing to compare with; such vectors are refused when they are made
    try:
        found_ND = np.concatenate(list(path.vectors(texts, "query")))
    except (LlaraError, RuntimeError, TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise NotKnownError(f"{path.way} rows failed: {error}") from error
    found_ND = found_ND / np.linalg.norm(found_ND, axis=1, keepdims=True)
    exact = next(path.trunk.parameters()).dtype == torch.float32 and not torch.is_autocast_enabled(
        model.device.type
    )
    worst = float(np.linalg.norm(found_ND - expected_ND, axis=1).max())
    limit = _FLOAT32_TOLERANCE if exact else _HALF_TOLERANCE
    if not worst <= limit:
        raise NotKnownError(f"{path.way} rows give vectors that are {worst:.2g} away, allowed {limit:g}")


def _same_ids(model: SentenceTransformer, path: FastPath, role: Role, task: str) -> None:
    """Compare the ids of the probes, one longer than the limit among them, with the stock preprocessing."""
    known = path.known
    branch = known.prompts.branches[task]  # type: ignore[index]
    limit = known.text_limit(branch.task)
    probes = list(_PROBES)
    if limit is not None and limit <= 10_000:
        probes.append(_LONG_PROBE * limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features = model.preprocess(probes, task=role)
    ours = [[*known.prompts.trunk(ids), *branch.ids] for ids in known.prompts.text_ids(probes, limit)]
    kept = features["attention_mask"].bool()
    for probe, row, mask, mine in zip(probes, features["input_ids"], kept, ours, strict=True):
        theirs = row[mask].tolist()
        if theirs[-1:] != mine[-1:]:
            ends = known.prompts.tokenizer.convert_ids_to_tokens([*theirs[-1:], mine[-1]])
            raise ModelError(
                f"the model's input ends in the token {ends[0]!r}, expected {ends[-1]!r}, whose state is its "
                "vector: its tokenizer or the installed libraries have changed; convert or train it anew"
            )
        if theirs != mine:
            raise NotKnownError(f"its preprocessing gives other tokens, for one of {probe[:30]!r}")
