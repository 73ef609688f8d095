"""Attention over a packed row: each text attends to itself only. Registered with transformers by name.

It comes in by ``transformers.AttentionInterface``, and where the texts begin by the arguments that its flash
attention takes (``cu_seq_lens_q`` and so on), so no model's code is touched. A model whose attention asks for
what is not done here (soft-capped scores, sinks, a bias) is refused, never computed without it.
"""

from __future__ import annotations

import inspect
from contextlib import suppress
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from llara.errors import ModelError

varlen_attn: Any = None
with suppress(ImportError):  # before torch 2.10
    from torch.nn.attention.varlen import varlen_attn  # type: ignore[no-redef]

__all__ = ["PACKED", "has_varlen", "register_packed"]

PACKED = "llara_packed"
# Its arguments differ by version; what this module needs is there from 2.11 on.
_VARLEN_ARGUMENTS = frozenset(inspect.signature(varlen_attn).parameters if varlen_attn else ())
_TAKES_GROUPS = "enable_gqa" in _VARLEN_ARGUMENTS  # from 2.12 on
# What an attention function may be handed beside its tensors without another result for it.
_HARMLESS = {
    "cache_position", "cu_seq_lens_k", "cu_seq_lens_q", "dropout", "max_length_k", "max_length_q",
    "output_attentions", "output_hidden_states", "position_embeddings", "position_ids", "return_dict",
    "scaling", "sliding_window", "use_cache",
}  # fmt: skip


@cache
def register_packed() -> None:
    """Make ``PACKED`` a name for ``set_attn_implementation``; with no mask function, no mask is made."""
    from transformers import AttentionInterface

    AttentionInterface.register(PACKED, packed_attention)


def has_varlen(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch's variable-length kernel runs there: in half precision, on GPUs from Ampere on."""
    return (
        {"window_size", "scale"} <= _VARLEN_ARGUMENTS
        and device.type == "cuda"
        and dtype in (torch.bfloat16, torch.float16)
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each text of a packed row.

    Args:
        module: the attention layer, whose ``is_causal`` must not be false.
        query: ``[1, H, T, D]``; ``key`` and ``value`` may have fewer heads.
        cu_seq_lens_q: int32 ``[N + 1]``, see ``Packed.starts``.
        sliding_window: a layer sees fewer than so many positions back.

    Returns:
        ``[1, T, H, D]``, and no weights.

    Raises:
        ModelError: the model asks for what this attention does not do.
    """
    asked = [
        name
        for name, given in others.items()
        if name not in _HARMLESS and given is not None and given is not False
    ]
    if is_causal is False or not getattr(module, "is_causal", True):
        asked.append("is_causal=False")
    if attention_mask is not None:
        asked.append("attention_mask")
    if asked:
        raise ModelError(f"the model's attention asks for {', '.join(asked)}, which packed rows cannot do")
    if cu_seq_lens_q is None or max_length_q is None:
        raise ModelError("the model does not hand down where the texts of a packed row begin")
    # Plain comparisons only: a compiled layer is traced through here.
    if query.is_cuda and query.dtype != torch.float32 and _VARLEN_ARGUMENTS:
        out = _varlen(query, key, value, cu_seq_lens_q, max_length_q, scaling, sliding_window)
    else:
        out = _one_by_one(query, key, value, cu_seq_lens_q, scaling, sliding_window)
    return out, None


def _varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    starts: Tensor,
    longest: int,
    scaling: float | None,
    window: int | None,
) -> Tensor:
    """Torch's own kernel: ``[1, T, H, D]``."""
    arguments: dict[str, Any] = {"scale": scaling, "window_size": ((window - 1) if window else -1, 0)}
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # [T, H, D]
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        if _TAKES_GROUPS:
            arguments["enable_gqa"] = True
        else:
            k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
    out: Any = varlen_attn(q, k, v, starts, starts, longest, longest, **arguments)
    states_THD: Tensor = out
    return states_THD[None]


def _one_by_one(
    query: Tensor, key: Tensor, value: Tensor, starts: Tensor, scaling: float | None, window: int | None
) -> Tensor:
    """The definition, one text after another, for any device and dtype: ``[1, T, H, D]``."""
    ends = starts.tolist()
    parts = []
    for start, end in pairwise(ends):
        q, k, v = (x[:, :, start:end] for x in (query, key, value))
        mask = None
        if window is not None and end - start > window:
            place = torch.arange(end - start, device=q.device)
            back = place[:, None] - place[None, :]
            mask = (back >= 0) & (back < window)
        parts.append(
            scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=mask is None, scale=scaling, enable_gqa=True
            )
        )
    return torch.cat(parts, dim=2).transpose(1, 2)
