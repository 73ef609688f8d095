"""The contrastive loss against the formulas written out in loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor
from torch.nn.functional import cosine_similarity, kl_div

from llara.config import ContrastConfig
from llara.finetune.loss import ABSENT, contrastive_loss

PLAIN = ContrastConfig()
A, B = 10, 11  # the numbers of two passages that occur twice


@dataclass
class Vectors:
    """Random vectors of four queries with three passages each, float64, and what the passages are."""

    queries: Tensor  # [4, 12]
    passages: Tensor  # [4, 3, 12], any length
    ids: list[list[int]]
    known: list[list[int]]
    teacher: Tensor  # [4, 3]

    def loss(self, config: ContrastConfig) -> Tensor:
        width = max(map(len, self.known))
        return contrastive_loss(
            self.queries,
            self.passages.flatten(0, 1),
            passage_ids_BG=torch.tensor(self.ids),
            known_BK=torch.tensor([[*row, *[ABSENT] * (width - len(row))] for row in self.known]),
            teacher_BG=self.teacher.float() if config.distillation != "none" else None,
            config=config,
        )


def vectors(ids: list[list[int]], known: list[list[int]], *, spread: float = 0.3, seed: int = 0) -> Vectors:
    """All near one direction (``spread``), so that at temperature 0.01 no candidate's share is 0."""
    random = torch.Generator().manual_seed(seed)
    shared = torch.randn(12, generator=random, dtype=torch.float64)

    def draw(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, 12, generator=random, dtype=torch.float64)
        lengths = 0.5 + torch.rand(*shape, 1, generator=random, dtype=torch.float64)
        return (lengths * (shared + spread * drawn)).requires_grad_()

    teacher = (5 * torch.rand(4, 3, generator=random)).double()
    return Vectors(draw(4), draw(4, 3), ids, known, teacher)


def distinct() -> Vectors:
    ids = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    return vectors(ids, [row[:1] for row in ids])


def tangled() -> Vectors:
    """A is the positive of queries 0 and 1; B is that of 2 and a negative of 3; 3 has a second positive,
    which is a negative of 0; query 1 has one negative, 2 has none."""
    return vectors(
        [[A, 30, 21], [A, 22, ABSENT], [B, ABSENT, ABSENT], [3, B, 24]], [[A], [A], [B], [3, 30]], seed=1
    )


def by_hand(v: Vectors, config: ContrastConfig, size: int = 12) -> Tensor:
    """InfoNCE and distillation of vectors cut to ``size``, one query and one candidate after another."""

    def score(b: int, o: int, g: int) -> Tensor:
        return cosine_similarity(v.queries[b, :size], v.passages[o, g, :size], dim=0)

    total = torch.zeros((), dtype=torch.float64)
    for b in range(4):
        positive = score(b, b, 0)
        candidates = []
        for o in range(4):
            for g, number in enumerate(v.ids[o]):
                if number == ABSENT or (o != b and not config.in_batch):
                    continue
                if o != b and config.mask_known and number in v.known[b]:
                    continue
                if (
                    o != b
                    and config.mask_margin is not None
                    and score(b, o, g) > positive + config.mask_margin
                ):
                    continue
                candidates.append(score(b, o, g) / config.temperature)
        info_nce = -(positive / config.temperature - torch.stack(candidates).logsumexp(dim=0))
        present = [g for g in range(3) if v.ids[b][g] != ABSENT]
        student = torch.stack([score(b, b, g) / config.temperature for g in present])
        teacher = v.teacher[b, present] / config.teacher_temperature
        distilled = torch.zeros((), dtype=torch.float64)
        if config.distillation == "kl":
            distilled = kl_div(
                student.log_softmax(0), teacher.log_softmax(0), reduction="sum", log_target=True
            )
        elif config.distillation == "margin-mse" and len(present) > 1:
            margins = [(student[0] - student[g]) - (teacher[0] - teacher[g]) for g in range(1, len(present))]
            distilled = torch.stack(margins).square().mean()
        total = total + config.contrast_weight * info_nce + config.distillation_weight * distilled
    return total / 4


def gradients(v: Vectors, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [v.queries, v.passages]))


def assert_equal(ours: Tensor, expected: Tensor, v: Vectors) -> None:
    """To float64's rounding, value and gradient; a scale of 1/t = 100 stands before every gradient."""
    assert ours.item() == pytest.approx(expected.item(), rel=1e-10)
    for one, other in zip(gradients(v, ours), gradients(v, expected), strict=True):
        assert (one - other).abs().max() < 1e-9 * (1 + other.abs().max())


CASES = {
    "in the batch": {},
    "warmer": {"temperature": 0.1},
    "own passages only": {"in_batch": False},
    "known positives not masked": {"mask_known": False},
    "scores above the positive masked": {"mask_margin": 0.0},
    "scores far above the positive masked": {"mask_margin": 0.1},
    "nothing masked but by margin": {"mask_margin": -0.02, "mask_known": False},
    "kl": {"distillation": "kl", "contrast_weight": 0.0},
    "kl, tempered": {"distillation": "kl", "teacher_temperature": 0.3, "distillation_weight": 0.5},
    "margin-mse": {"distillation": "margin-mse", "contrast_weight": 0.0},
    "margin-mse beside InfoNCE": {"distillation": "margin-mse", "distillation_weight": 0.01},
    "own passages and kl": {"in_batch": False, "distillation": "kl", "contrast_weight": 0.2},
}


@pytest.mark.parametrize("make", [distinct, tangled])
@pytest.mark.parametrize("case", CASES)
def test_the_loss_and_its_gradient_equal_the_formula_in_loops(case: str, make: Callable[[], Vectors]) -> None:
    v = make()
    config = replace(PLAIN, **CASES[case])
    assert_equal(v.loss(config), by_hand(v, config), v)


@pytest.mark.parametrize("case", ["in the batch", "scores above the positive masked", "kl, tempered"])
def test_matryoshka_is_the_mean_over_the_sizes_and_the_whole_vector(case: str) -> None:
    v = tangled()
    plain = replace(PLAIN, **CASES[case])
    ours = v.loss(replace(plain, matryoshka=(3, 8)))
    expected = torch.stack([by_hand(v, plain, size) for size in (3, 8, 12)]).mean()
    assert_equal(ours, expected, v)
    assert v.loss(replace(plain, matryoshka=(8, 12, 3))).item() == pytest.approx(ours.item(), rel=1e-12)


def test_every_kind_of_mask_changes_the_loss() -> None:
    """So the cases above do test them."""
    v = tangled()
    losses = [v.loss(replace(PLAIN, **CASES[case])).item() for case in list(CASES)[:7]]
    assert len({round(loss, 6) for loss in losses}) == len(losses)


@pytest.mark.parametrize("num_negatives", [0, 2])
def test_without_masks_the_loss_is_sentence_transformers(num_negatives: int) -> None:
    v = distinct()
    theirs = MultipleNegativesRankingLoss(model=None, scale=100.0)  # type: ignore[arg-type]
    columns = [v.queries, *(v.passages[:, g] for g in range(1 + num_negatives))]
    expected = theirs.compute_loss_from_embeddings(columns, labels=None)  # type: ignore[arg-type]
    cut = replace(
        v, passages=v.passages[:, : 1 + num_negatives], ids=[row[: 1 + num_negatives] for row in v.ids]
    )
    ours = cut.loss(PLAIN)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-10)
    for one, other in zip(gradients(v, ours), gradients(v, expected), strict=True):
        assert (one - other).abs().max() < 1e-9 * (1 + other.abs().max())


def test_a_query_alone_with_its_positive_has_no_loss() -> None:
    v = vectors([[n, ABSENT, ABSENT] for n in range(4)], [[n] for n in range(4)])
    for settings in ({}, {"distillation": "kl"}, {"distillation": "margin-mse"}):
        loss = v.loss(replace(PLAIN, in_batch=False, **settings))
        assert loss.item() == pytest.approx(0, abs=1e-12)
        assert all(torch.isfinite(g).all() for g in gradients(v, loss))
