"""One pass for both prompts: a trunk and its branches (paper, Fig. 2).

Shape legend: B rows, T tokens of a row, Q/K the query/key side of attention, N slots.

A row holds one document, or several when packed. Each document is a trunk (the text) and branches
(SELF, NEXT). One predicate says what a token may see:

    same document, not later, and either in the trunk or in my own branch

and every branch's positions start where its trunk ends. So a branch is computed as if the others were
not there, and the joint pass equals one pass per branch. :func:`dense_mask` is that predicate as a
tensor (the definition); :func:`block_mask` is the same predicate for flex attention on a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from llara.errors import ModelError

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask
    from transformers import PretrainedConfig, PreTrainedModel

__all__ = [
    "Joint",
    "attention_argument",
    "block_mask",
    "check_joint",
    "dense_mask",
    "forward_slots",
    "lay_out",
    "pack",
]


@dataclass(frozen=True, slots=True)
class Joint:
    """A batch of laid-out documents.

    Attributes:
        input_ids_BT: int64.
        position_ids_BT: int64; branches restart where their trunk ends.
        document_BT: int64, the document's number within its row; -1 for padding.
        branch_BT: int64, 0 in the trunk, 1, 2, ... in the branches.
        slot_rows_N, slot_columns_N: where the slots stand, ordered by document, then branch, then slot.
    """

    input_ids_BT: Tensor
    position_ids_BT: Tensor
    document_BT: Tensor
    branch_BT: Tensor
    slot_rows_N: Tensor
    slot_columns_N: Tensor

    def to(self, device: torch.device | str) -> Joint:
        """The same batch on another device."""
        return Joint(*(getattr(self, name).to(device) for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class BranchSpec:
    """A branch's ids, of which the last ``num_slots`` are slots."""

    ids: Sequence[int]
    num_slots: int


def pack(lengths: Sequence[int], row_tokens: int) -> list[list[int]]:
    """Put documents into rows of at most ``row_tokens``, first fit, longest first; returns indices by row.

    >>> pack([5, 3, 4, 2], row_tokens=8)
    [[0, 1], [2, 3]]
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        row = next((r for r, free in enumerate(room) if free >= lengths[index]), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(max(row_tokens, lengths[index]))
        rows[row].append(index)
        room[row] -= lengths[index]
    return rows


def lay_out(
    trunks: Sequence[Sequence[int]],
    branches: Sequence[BranchSpec],
    *,
    pad_id: int,
    rows: Sequence[Sequence[int]] | None = None,
    pad_left: bool = False,
    row_tokens: int | None = None,
) -> Joint:
    """Lay out documents, each its trunk and then every branch, padded to a common length.

    Args:
        trunks: each document's ids before the branches.
        branches: the branches, the same for every document.
        pad_id: fills the rest of a row; never seen by a real token.
        rows: which documents share a row (from :func:`pack`); by default one each.
        pad_left: pad before the documents instead of after.
        row_tokens: pad to this length at least (a fixed shape spares recompilation).
    """
    rows = [[i] for i in range(len(trunks))] if rows is None else rows
    tail = sum(len(branch.ids) for branch in branches)
    lengths = [sum(len(trunks[i]) + tail for i in row) for row in rows]
    width = max([*lengths, row_tokens or 0])
    ids_BT, positions_BT, document_BT, branch_BT = (
        np.full((len(rows), width), filler, dtype=np.int64) for filler in (pad_id, 0, -1, 0)
    )
    slots: dict[int, list[tuple[int, int]]] = {}
    for r, row in enumerate(rows):
        at = width - lengths[r] if pad_left else 0
        for d, index in enumerate(row):
            trunk = trunks[index]
            slots[index] = []
            for b, part in enumerate([trunk, *(branch.ids for branch in branches)]):
                first = 0 if b == 0 else len(trunk)
                span = slice(at, at + len(part))
                ids_BT[r, span] = part
                positions_BT[r, span] = range(first, first + len(part))
                document_BT[r, span] = d
                branch_BT[r, span] = b
                at += len(part)
                if b > 0:
                    slots[index] += [(r, at - s) for s in range(branches[b - 1].num_slots, 0, -1)]
    places = [place for index in range(len(trunks)) for place in slots[index]]
    slot_rows, slot_columns = torch.tensor(places, dtype=torch.long).reshape(-1, 2).unbind(1)
    ids, positions, document, branch = map(torch.from_numpy, (ids_BT, positions_BT, document_BT, branch_BT))
    return Joint(ids, positions, document, branch, slot_rows, slot_columns)


def visible(same_document: Tensor, not_later: Tensor, key_branch: Tensor, query_branch: Tensor) -> Tensor:
    """The predicate: what a query token may see of a key token."""
    return same_document & not_later & ((key_branch == 0) | (key_branch == query_branch))


def dense_mask(joint: Joint, *, window: int | None = None) -> Tensor:
    """The predicate as a boolean mask ``[B, 1, T, T]``, true where query (row) sees key (column).

    Memory: B x T^2 bytes. A padding token sees only itself, so that no row of the mask is empty.

    Args:
        window: a sliding-window layer sees fewer than ``window`` *positions* back. Positions, not columns:
            a branch that stands further right in the row is not further from its trunk.
    """
    document, branch, position = joint.document_BT, joint.branch_BT, joint.position_ids_BT
    column_T = torch.arange(document.shape[1], device=document.device)
    mask_BQK = visible(
        (document[:, :, None] == document[:, None, :]) & (document[:, :, None] >= 0),
        column_T[:, None] >= column_T[None, :],
        branch[:, None, :],
        branch[:, :, None],
    )
    if window is not None:
        mask_BQK = mask_BQK & (position[:, :, None] - position[:, None, :] < window)
    mask_BQK = mask_BQK | (column_T[:, None] == column_T[None, :])
    return mask_BQK[:, None]  # [B, 1, Q, K]


def block_mask(joint: Joint, *, window: int | None = None) -> BlockMask:
    """The predicate for flex attention: only the blocks that hold a visible pair are computed."""
    from torch.nn.attention.flex_attention import create_block_mask

    document, branch, position = joint.document_BT, joint.branch_BT, joint.position_ids_BT

    def mask_mod(b: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = visible(
            (document[b, q] == document[b, k]) & (document[b, q] >= 0), q >= k, branch[b, k], branch[b, q]
        )
        if window is not None:
            seen = seen & (position[b, q] - position[b, k] < window)
        return seen | (q == k)

    rows, width = document.shape
    return create_block_mask(mask_mod, rows, None, width, width, device=str(document.device))


def _windows(config: PretrainedConfig) -> dict[str, int | None]:
    """The window of each kind of layer; one entry ``""`` for models whose layers are all alike."""
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    if kinds is None:
        return {"": window if getattr(config, "use_sliding_window", True) else None}
    known = {"full_attention": None, "sliding_attention": window}
    unknown = sorted(set(kinds) - set(known))
    if unknown:
        raise ModelError(
            f"{config.model_type} has layers of type {', '.join(unknown)}, which cannot take the joint mask; "
            f"expected only {' and '.join(known)}. Set training.joint=false to run two passes"
        )
    return {kind: known[kind] for kind in dict.fromkeys(kinds)}


def attention_argument(joint: Joint, config: PretrainedConfig, dtype: torch.dtype) -> Any:
    """The joint mask in the form that the model's attention implementation takes.

    SDPA takes booleans, eager attention adds its mask to the scores, flex attention takes a ``BlockMask``;
    models whose layers differ take one mask per kind of layer.
    """
    implementation = config._attn_implementation
    masks: dict[str, Any] = {}
    for kind, window in _windows(config).items():
        if implementation == "flex_attention":
            masks[kind] = block_mask(joint, window=window)
        elif implementation == "sdpa":
            masks[kind] = dense_mask(joint, window=window)
        elif implementation == "eager":
            seen = dense_mask(joint, window=window)
            masks[kind] = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(
                ~seen, torch.finfo(dtype).min
            )
        else:
            raise ModelError(
                f"attention {implementation!r} cannot take the joint mask; expected sdpa, eager or "
                "flex_attention. Load the model with one of these, or set training.joint=false"
            )
    return masks.get("", masks)


def forward_hidden(trunk_model: torch.nn.Module, joint: Joint) -> Tensor:
    """Output states ``[B, T, D]`` after the final norm, from the model without its head."""
    config = cast("PretrainedConfig", trunk_model.config)
    dtype = (
        torch.get_autocast_dtype(joint.input_ids_BT.device.type)
        if torch.is_autocast_enabled(joint.input_ids_BT.device.type)
        else next(trunk_model.parameters()).dtype
    )
    output = trunk_model(
        input_ids=joint.input_ids_BT,
        attention_mask=attention_argument(joint, config, dtype),
        position_ids=joint.position_ids_BT,
        use_cache=False,
    )
    hidden_BTD: Tensor = output.last_hidden_state
    return hidden_BTD


def forward_slots(trunk_model: torch.nn.Module, joint: Joint) -> Tensor:
    """States of the slots ``[N, D]``, ordered by document, then branch, then slot."""
    return forward_hidden(trunk_model, joint)[joint.slot_rows_N, joint.slot_columns_N]


@torch.no_grad()
def check_joint(model: PreTrainedModel, *, tolerance: float | None = None) -> float:
    """Prove on random ids that this model's joint pass equals two passes; returns the largest difference.

    Some architectures ignore a given mask or position ids without a word. They are found here, before
    they spoil a training run.

    Raises:
        ModelError: the two differ by more than ``tolerance`` (default by dtype) of the largest state.
    """
    trunk_model = model.base_model
    parameter = next(model.parameters())
    vocabulary = cast(torch.nn.Embedding, model.get_input_embeddings()).weight.shape[0]
    generator = torch.Generator().manual_seed(0)
    window = getattr(model.config, "sliding_window", None)
    length = min(2 * window, 96) if window else 24

    def draw(count: int) -> list[int]:
        return [int(i) for i in torch.randint(0, vocabulary, (count,), generator=generator)]

    trunks = [draw(length), draw(length // 2)]
    branches = [BranchSpec(draw(5), 1), BranchSpec(draw(5), 1)]
    was_training = model.training
    model.eval()
    try:
        joint_ND = forward_slots(trunk_model, lay_out(trunks, branches, pad_id=0).to(parameter.device))
        alone = [
            forward_slots(trunk_model, lay_out([trunk], [branch], pad_id=0).to(parameter.device))
            for trunk in trunks
            for branch in branches
        ]
        causal_ND = torch.cat(
            [_plain_last_state(trunk_model, [*t, *b.ids]) for t in trunks for b in branches]
        )
    except (TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise ModelError(
            f"{model.config.model_type} cannot take the joint mask and position ids ({error}); "
            "use another architecture, or set training.joint=false"
        ) from error
    finally:
        model.train(was_training)
    scale = causal_ND.abs().max().item()
    worst = max(
        (joint_ND - torch.cat(alone)).abs().max().item(), (joint_ND - causal_ND).abs().max().item()
    ) / max(scale, 1e-6)
    limit = tolerance if tolerance is not None else (1e-4 if parameter.dtype == torch.float32 else 5e-2)
    if not worst <= limit:
        raise ModelError(
            f"{model.config.model_type} does not compute the joint prompt as two separate passes do (largest "
            f"relative difference {worst:.2g}, allowed {limit:.2g}): it ignores the mask or the position ids."
            " Use another architecture, or set training.joint=false"
        )
    return worst


def _plain_last_state(trunk_model: torch.nn.Module, ids: list[int]) -> Tensor:
    """The last state ``[1, D]`` of an ordinary causal pass, with no mask or positions of ours."""
    device = next(trunk_model.parameters()).device
    output = trunk_model(input_ids=torch.tensor([ids], device=device), use_cache=False)
    last_1D: Tensor = output.last_hidden_state[:, -1]
    return last_1D
