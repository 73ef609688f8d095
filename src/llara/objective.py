"""Eq. 6: an embedding must predict a set of words through the model's own output head.

    L(e, T*) = - mean over t in T* of log( exp(e . W_t) / sum over v in V of exp(e . W_v) )

The paper prints the ratio without the minus log; that it is a cross-entropy is its text ("predict") and
the authors' answer to readers. Shape legend: R rows (one per embedding), S slots, D hidden, V vocabulary,
N target tokens of all rows together, P predicted positions of the next-token loss.

Only slots meet the head: a batch of B texts costs 2B rows of logits, never B x length.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["Targets", "bag_of_words_loss", "bag_of_words_reference", "next_token_loss", "slot_logits"]


@dataclass(frozen=True, slots=True)
class Targets:
    """The words that each row must predict, flattened.

    Attributes:
        token_ids_N: int64.
        rows_N: int64, the row each token belongs to.
        weights_N: float32; the weights of a row sum to 1. A row without targets has no entry.
        num_filled: rows that have a target; the others are left out of the mean.
    """

    token_ids_N: Tensor
    rows_N: Tensor
    weights_N: Tensor
    num_filled: int

    @classmethod
    def build(
        cls,
        ids: Sequence[Sequence[int] | None],
        *,
        distinct: bool = True,
        exclude: Collection[int] = (),
        token_weights_V: Tensor | None = None,
    ) -> Targets:
        """Targets from each row's token ids; ``None`` is a row without a target.

        Args:
            distinct: every token once (the released code), or as often as it occurs.
            exclude: ids that are never a target (special tokens).
            token_weights_V: relative weight of each vocabulary entry, at least 0 (inverse document
                frequency); default: all alike.

        >>> Targets.build([[5, 5, 7], None, [1]], exclude={1}).weights_N.tolist()
        [0.5, 0.5]
        """
        token_ids: list[int] = []
        rows: list[int] = []
        for row, row_ids in enumerate(ids):
            kept = [i for i in row_ids or () if i not in exclude]
            kept = sorted(set(kept)) if distinct else kept
            token_ids += kept
            rows += [row] * len(kept)
        token_ids_N = torch.tensor(token_ids, dtype=torch.long)
        rows_N = torch.tensor(rows, dtype=torch.long)
        weights_N = torch.ones(len(rows)) if token_weights_V is None else token_weights_V[token_ids_N].float()
        total_R = torch.zeros(len(ids)).index_add(0, rows_N, weights_N)
        kept_N = weights_N > 0  # a row whose tokens all weigh nothing has no target
        weights_N = weights_N / total_R[rows_N].clamp_min(torch.finfo(torch.float32).tiny)
        return cls(token_ids_N[kept_N], rows_N[kept_N], weights_N[kept_N], int((total_R > 0).sum()))

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on another device."""
        return Targets(
            self.token_ids_N.to(device), self.rows_N.to(device), self.weights_N.to(device), self.num_filled
        )


def slot_logits(states_RSD: Tensor, head: nn.Module) -> Tensor:
    """Logits ``[R, V]`` of the slots' states: with several slots, the largest of each word over the slots."""
    logits_RSV: Tensor = head(states_RSD)
    return logits_RSV.amax(dim=1)  # [R, V]


def bag_of_words_loss(logits_RV: Tensor, targets: Targets) -> Tensor:
    """Eq. 6 summed over the rows that have targets (divide by their number for the mean); float32 scalar.

    Memory: one float32 copy of the logits. A target's log-probability is its logit less the row's
    log-sum-exp, so no matrix of log-probabilities is made.
    """
    logits_RV = logits_RV.float()
    log_partition_R = torch.logsumexp(logits_RV, dim=-1)
    target_logits_N = logits_RV[targets.rows_N, targets.token_ids_N]
    return (targets.weights_N * (log_partition_R[targets.rows_N] - target_logits_N)).sum()


def bag_of_words_reference(
    states_RSD: Tensor, weight_VD: Tensor, targets: Sequence[Sequence[int]], bias_V: Tensor | None = None
) -> Tensor:
    """Eq. 6 word by word in float64: the definition that the fast one is tested against; mean over rows."""
    losses = []
    for states_SD, words in zip(states_RSD.double(), targets, strict=True):
        if not words:
            continue
        logits_SV = states_SD @ weight_VD.double().T + (0 if bias_V is None else bias_V.double())
        probabilities_V = torch.softmax(logits_SV.max(dim=0).values, dim=-1)
        losses.append(-torch.stack([torch.log(probabilities_V[word]) for word in words]).mean())
    return torch.stack(losses).mean()


def next_token_loss(
    states_PD: Tensor, labels_P: Tensor, head: nn.Module, *, chunk_size: int = 1024
) -> Tensor:
    """Next-token cross-entropy summed over positions, a chunk at a time; float32 scalar.

    Memory: ``chunk_size`` rows of logits, forward and backward (they are recomputed), never all P.

    Args:
        states_PD: the states that predict.
        labels_P: the ids that follow them.
    """

    def chunk_loss(states_CD: Tensor, labels_C: Tensor) -> Tensor:
        return F.cross_entropy(head(states_CD).float(), labels_C, reduction="sum")

    total = states_PD.new_zeros((), dtype=torch.float32)
    for start in range(0, len(labels_P), chunk_size):
        chunk = slice(start, start + chunk_size)
        total = total + checkpoint(chunk_loss, states_PD[chunk], labels_P[chunk], use_reentrant=False)
    return total
