"""The contrastive loss: InfoNCE over a query's passages and everybody else's, and distillation.

For a query embedding q, its positive p+ and candidates C (all of unit length)

    InfoNCE = -log( exp(q . p+ / t) / sum over p in C of exp(q . p / t) ),   t = 0.01

C is the query's own passages and, unless switched off, those of every other query of the step, on every
process. Equal to RepLLaMA's and to Eq. 1-2 of the released code's fine-tuning (cosine, t = 0.01).

Shape legend: B queries of this process, G passages a query (the positive first), M = B x G, W processes,
C = W x M candidates, K known positives of a query, D hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.util import all_gather, all_gather_with_grad
from torch import Tensor, nn

from llara.config import ContrastConfig

__all__ = ["ABSENT", "ContrastiveLoss", "contrastive_loss"]

ABSENT = -1  # the id of a passage that is missing: a query with fewer negatives than asked


class ContrastiveLoss(CachedLossMixin, nn.Module):
    """:func:`contrastive_loss` as sentence-transformers' trainer calls it.

    With ``grad_cache_texts`` the texts are embedded so many at a time, first without and then with gradients
    (GradCache, arXiv 2101.06983): the same loss and gradient as of one large batch, in bounded memory.
    """

    def __init__(self, model: Any, config: ContrastConfig, *, grad_cache_texts: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.uses_gradient_cache = grad_cache_texts is not None
        self.mini_batch_size = grad_cache_texts or 0

    def forward(self, sentence_features: Iterable[Mapping[str, Any]], labels: Mapping[str, Tensor]) -> Tensor:
        """The mean loss of this process's queries, from the features of queries and of passages."""
        features = [dict(part) for part in sentence_features]
        if self.uses_gradient_cache:
            return self.forward_cached(features, labels)  # type: ignore[arg-type]
        return self.calculate_loss([[self.model(part)["sentence_embedding"]] for part in features], labels)

    def calculate_loss(  # type: ignore[override]
        self, reps: list[list[Tensor]], labels: Mapping[str, Tensor], *, with_backward: bool = False
    ) -> Tensor:
        """The loss from the embeddings of queries ``[B, D]`` and passages ``[M, D]``, each in pieces."""
        queries_BD, passages_MD = (torch.cat(part) for part in reps)
        loss = contrastive_loss(
            queries_BD,
            passages_MD,
            passage_ids_BG=labels["passage_ids"],
            known_BK=labels["known"],
            teacher_BG=labels.get("teacher"),
            config=self.config,
        )
        if with_backward:
            loss.backward()
            loss = loss.detach()
        return loss


def contrastive_loss(
    queries_BD: Tensor,
    passages_MD: Tensor,
    *,
    passage_ids_BG: Tensor,
    known_BK: Tensor,
    teacher_BG: Tensor | None = None,
    config: ContrastConfig,
) -> Tensor:
    """The mean over this process's queries of InfoNCE and distillation, each at every Matryoshka size.

    Averaged over processes, as data-parallel training averages gradients, it is the loss of one process
    with all queries: what flows to another process's passages is gathered back to them.

    Args:
        passages_MD: query by query, each one's positive first.
        passage_ids_BG: what each passage is; ``ABSENT`` for one that is missing.
        known_BK: every known positive of each query, padded with ``ABSENT``.
        teacher_BG: a teacher's scores, for distillation.

    Every process must hold as many queries and passages as every other.
    """
    own_BG = passages_MD.unflatten(0, passage_ids_BG.shape)  # [B, G, D]
    candidates_CD, allowed_BC, first = passages_MD, None, 0
    if config.in_batch and config.contrast_weight > 0:
        gathered = (
            config.cross_device and torch.distributed.is_available() and torch.distributed.is_initialized()
        )
        ids_C = passage_ids_BG.flatten()
        if gathered:
            candidates_CD, ids_C = all_gather_with_grad(passages_MD), all_gather(ids_C)
            first = torch.distributed.get_rank() * len(passages_MD)
        allowed_BC = _allowed(ids_C, passage_ids_BG, known_BK, first=first, mask_known=config.mask_known)
    sizes = sorted({queries_BD.shape[1], *config.matryoshka})
    losses = [
        _loss_at(
            _unit(queries_BD[:, :size]),
            _unit(own_BG[..., :size]),
            _unit(candidates_CD[:, :size]),
            present_BG=passage_ids_BG != ABSENT,
            allowed_BC=allowed_BC,
            first=first,
            teacher_BG=teacher_BG,
            config=config,
        )
        for size in sizes
    ]
    return torch.stack(losses).mean()


def _unit(vectors: Tensor) -> Tensor:
    return F.normalize(vectors if vectors.dtype == torch.float64 else vectors.float(), dim=-1)


def _allowed(
    ids_C: Tensor, passage_ids_BG: Tensor, known_BK: Tensor, *, first: int, mask_known: bool
) -> Tensor:
    """Which candidates count for which query, ``[B, C]``: own ones, and others' unless known positives."""
    allowed_BC = (ids_C != ABSENT).expand(len(passage_ids_BG), -1).clone()
    if mask_known:
        for known_B in known_BK.T:
            allowed_BC &= ids_C != known_B[:, None]
    allowed_BC[_own(passage_ids_BG.shape, first, ids_C)] = (passage_ids_BG != ABSENT).flatten()
    return allowed_BC


def _own(shape_BG: Sequence[int], first: int, ids_C: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and columns of every query's own passages, ``[M]`` each."""
    num_queries, num_passages = shape_BG
    columns_M = first + torch.arange(num_queries * num_passages, device=ids_C.device)
    rows_M = torch.arange(num_queries, device=ids_C.device).repeat_interleave(num_passages)
    return rows_M, columns_M


def _loss_at(
    queries_BD: Tensor,
    own_BGD: Tensor,
    candidates_CD: Tensor,
    *,
    present_BG: Tensor,
    allowed_BC: Tensor | None,
    first: int,
    teacher_BG: Tensor | None,
    config: ContrastConfig,
) -> Tensor:
    """InfoNCE and distillation of vectors of one size."""
    own_scores_BG = torch.einsum("bd,bgd->bg", queries_BD, own_BGD)
    total = queries_BD.new_zeros(())
    if config.contrast_weight > 0:
        if allowed_BC is None:
            positive_B = torch.zeros(len(queries_BD), dtype=torch.long, device=queries_BD.device)
            total = total + config.contrast_weight * _info_nce(own_scores_BG, present_BG, positive_B, config)
        else:
            scores_BC = queries_BD @ candidates_CD.T
            rows_M, columns_M = _own(present_BG.shape, first, scores_BC)
            positive_B = columns_M[:: present_BG.shape[1]]
            if config.mask_margin is not None:
                limit_B1 = own_scores_BG[:, :1].detach() + config.mask_margin
                near_BC = scores_BC.detach() > limit_B1
                near_BC[rows_M, columns_M] = False
                allowed_BC = allowed_BC & ~near_BC
            total = total + config.contrast_weight * _info_nce(scores_BC, allowed_BC, positive_B, config)
    if config.distillation != "none":
        assert teacher_BG is not None
        student_BG = own_scores_BG / config.temperature
        teacher_BG = teacher_BG.to(student_BG) / config.teacher_temperature
        distill = _kl if config.distillation == "kl" else _margin_mse
        total = total + config.distillation_weight * distill(student_BG, teacher_BG, present_BG)
    return total


def _info_nce(scores_BC: Tensor, allowed_BC: Tensor, positive_B: Tensor, config: ContrastConfig) -> Tensor:
    logits_BC = (scores_BC / config.temperature).masked_fill(~allowed_BC, -torch.inf)
    return F.cross_entropy(logits_BC, positive_B)


def _kl(student_BG: Tensor, teacher_BG: Tensor, present_BG: Tensor) -> Tensor:
    """KL divergence of the student's softmax over a query's own passages from the teacher's."""
    least = torch.finfo(student_BG.dtype).min  # not -inf: 0 x -inf would be NaN
    target_BG = teacher_BG.masked_fill(~present_BG, least).log_softmax(dim=1)
    found_BG = student_BG.masked_fill(~present_BG, least).log_softmax(dim=1)
    return (target_BG.exp() * (target_BG - found_BG)).masked_fill(~present_BG, 0).sum(dim=1).mean()


def _margin_mse(student_BG: Tensor, teacher_BG: Tensor, present_BG: Tensor) -> Tensor:
    """Mean squared difference of the margins between the positive and each negative (arXiv 2010.02666)."""
    difference_BG = (student_BG[:, :1] - student_BG) - (teacher_BG[:, :1] - teacher_BG)
    squared_BG = difference_BG.square().masked_fill(~present_BG, 0)[:, 1:]
    return (squared_BG.sum(dim=1) / present_BG[:, 1:].sum(dim=1).clamp_min(1)).mean()
