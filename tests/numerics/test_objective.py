"""Eq. 6 and the next-token loss: values, gradients, and what they keep in memory."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from llara.objective import Targets, bag_of_words_loss, bag_of_words_reference, next_token_loss, slot_logits

VOCABULARY, HIDDEN = 50, 16
WORDS: list[list[int]] = [[3, 7, 7, 11], [], [49], [3, 4, 5, 6, 8, 3], [20, 20]]


class LargestTensor(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(value, Tensor):
                self.largest = max(self.largest, value.numel())
        return result


def random_head(vocabulary: int = VOCABULARY, *, bias: bool = False) -> nn.Linear:
    torch.manual_seed(1)
    head = nn.Linear(HIDDEN, vocabulary, bias=bias)
    nn.init.normal_(head.weight, std=0.5)
    return head


def random_states(rows: int, slots: int = 1) -> Tensor:
    return torch.randn(rows, slots, HIDDEN, generator=torch.Generator().manual_seed(2)).requires_grad_()


def value_and_gradients(loss: Tensor, *tensors: Tensor) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, tensors)]


def mean_loss(states: Tensor, head: nn.Module, targets: Targets) -> Tensor:
    return bag_of_words_loss(slot_logits(states, head), targets) / targets.num_filled


@pytest.mark.parametrize("slots", [1, 8])
@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_fast_loss_and_its_gradients_equal_the_float64_reference(
    slots: int, distinct: bool, bias: bool
) -> None:
    head, states = random_head(bias=bias), random_states(len(WORDS), slots)
    counted = [sorted(set(words)) if distinct else words for words in WORDS]
    fast = mean_loss(states, head, Targets.build(WORDS, distinct=distinct))
    slow = bag_of_words_reference(states, head.weight, counted, head.bias)
    assert slow.dtype == torch.float64
    for ours, theirs in zip(
        value_and_gradients(fast, states, *head.parameters()),
        value_and_gradients(slow, states, *head.parameters()),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-6  # float32, losses of about 4


def test_the_loss_is_the_cross_entropy_with_equal_shares_as_class_probabilities() -> None:
    head, states = random_head(), random_states(len(WORDS))
    shares = torch.zeros(len(WORDS), VOCABULARY)
    for row, words in enumerate(WORDS):
        for word in set(words):
            shares[row, word] = 1 / len(set(words))
    filled = [row for row, words in enumerate(WORDS) if words]
    expected = F.cross_entropy(head(states[filled, 0]), shares[filled])
    ours = mean_loss(states, head, Targets.build(WORDS))
    for a, b in zip(
        value_and_gradients(ours, states, head.weight),
        value_and_gradients(expected, states, head.weight),
        strict=True,
    ):
        assert (a - b).abs().max() < 1e-6


def test_a_case_by_hand() -> None:
    # One embedding, three words with logits 0, ln 2, ln 5: probabilities 1/8, 2/8, 5/8. Target: 1 and 2.
    head = nn.Linear(1, 3, bias=False)
    head.weight.data = torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    loss = mean_loss(torch.ones(1, 1, 1), head, Targets.build([[1, 2]]))
    assert loss.item() == pytest.approx((math.log(8 / 2) + math.log(8 / 5)) / 2, rel=1e-6)


def test_several_slots_give_each_word_its_largest_logit() -> None:
    head = nn.Linear(2, 2, bias=False)
    head.weight.data = torch.eye(2)
    states = torch.tensor(
        [[[3.0, 0.0], [0.0, 1.0]]]
    )  # word 0 is 3 in the first slot, word 1 is 1 in the second
    loss = mean_loss(states, head, Targets.build([[1]]))
    assert loss.item() == pytest.approx(math.log(math.exp(3) + math.exp(1)) - 1, rel=1e-6)


def test_rows_without_a_target_change_nothing() -> None:
    head, states = random_head(), random_states(3)
    with_gaps = Targets.build([None, [5, 6], [0]], exclude={0})
    assert with_gaps.num_filled == 1
    alone = mean_loss(states[1:2], head, Targets.build([[5, 6]]))
    loss = mean_loss(states, head, with_gaps)
    assert torch.equal(loss, alone)
    (gradient,) = torch.autograd.grad(loss, states)
    assert gradient[1].any()
    assert not gradient[[0, 2]].any()


def test_no_target_at_all_is_a_zero_with_a_zero_gradient() -> None:
    head, states = random_head(), random_states(2)
    loss = bag_of_words_loss(slot_logits(states, head), Targets.build([None, []]))
    (gradient,) = torch.autograd.grad(loss, head.weight)
    assert loss.item() == 0
    assert not gradient.any()


@pytest.mark.parametrize(("distinct", "shares"), [(True, {7: 1, 9: 1}), (False, {7: 2, 9: 1})])
def test_weights_are_relative_to_each_other_within_a_row(distinct: bool, shares: dict[int, int]) -> None:
    weights = torch.zeros(VOCABULARY)
    weights[7], weights[9] = 0.5, 2.0
    targets = Targets.build([[7, 9, 7, 30], [30]], distinct=distinct, token_weights_V=weights)
    assert targets.num_filled == 1  # word 30 weighs nothing, and it is all that the second row has
    expected = {word: weights[word].item() * count for word, count in shares.items()}
    total = sum(expected.values())
    found: dict[int, float] = dict.fromkeys(expected, 0.0)
    for word, weight in zip(targets.token_ids_N.tolist(), targets.weights_N.tolist(), strict=True):
        found[word] += weight
    assert found == pytest.approx({word: weight / total for word, weight in expected.items()})


def test_weighted_loss_is_the_weighted_mean_of_the_words_losses() -> None:
    head, states = random_head(), random_states(1)
    weights = torch.rand(VOCABULARY, generator=torch.Generator().manual_seed(0))
    log_probabilities = torch.log_softmax(head(states[0, 0]).double(), dim=-1)
    words = [4, 8, 15]
    expected = -(weights[words] * log_probabilities[words]).sum() / weights[words].sum()
    loss = mean_loss(states, head, Targets.build([words], token_weights_V=weights))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


def test_bfloat16_logits_are_summed_in_float32() -> None:
    logits = torch.zeros(1, 40_000, dtype=torch.bfloat16)
    loss = bag_of_words_loss(logits, Targets.build([[0, 1]]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(40_000), rel=1e-6)


@pytest.mark.parametrize("positions", [1, 10, 23])
def test_chunked_next_token_loss_equals_one_cross_entropy(positions: int) -> None:
    head = random_head(bias=True)
    states = random_states(positions)[:, 0].detach().requires_grad_()
    labels = torch.randint(0, VOCABULARY, (positions,), generator=torch.Generator().manual_seed(3))
    chunked = next_token_loss(states, labels, head, chunk_size=5)
    whole = F.cross_entropy(head(states), labels, reduction="sum")
    for ours, theirs in zip(
        value_and_gradients(chunked, states, *head.parameters()),
        value_and_gradients(whole, states, *head.parameters()),
        strict=True,
    ):
        assert (ours - theirs).abs().max() < 1e-5 * (1 + theirs.abs().max())


def test_no_tensor_is_as_large_as_the_logits_of_every_position() -> None:
    batch, length, vocabulary = 16, 64, 32_000
    head = random_head(vocabulary)
    states = torch.randn(batch, length, HIDDEN, requires_grad=True)
    targets = Targets.build([list(range(3, 200))] * 2 * batch)
    labels = torch.randint(0, vocabulary, (batch * length,))
    with LargestTensor() as seen:
        slots = torch.cat([states[:, -1:], states[:, -9:-8]])  # 2B rows
        bag_of_words_loss(slot_logits(slots, head), targets).backward()
    assert seen.largest == 2 * batch * vocabulary  # the slots' logits are the largest, and not one more row
    with LargestTensor() as seen:
        next_token_loss(states.flatten(0, 1), labels, head, chunk_size=64).backward()
    assert seen.largest == 64 * vocabulary < batch * length * vocabulary / 15
