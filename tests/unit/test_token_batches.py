"""Batches by tokens: every text once, within the budget, nearly full."""

import numpy as np
import pytest

from llara.encoder.batches import lay_out_packed, lay_out_padded, token_batches

LENGTHS = [int(n) for n in np.random.default_rng(0).lognormal(4, 0.6, 500)]


@pytest.mark.parametrize("padded", [True, False])
def test_every_text_is_in_one_batch_and_no_batch_exceeds_its_budget(padded):
    batches = token_batches(LENGTHS, budget_tokens=1000, padded=padded)
    assert sorted(index for batch in batches for index in batch) == list(range(500))
    for batch in batches:
        lengths = [LENGTHS[index] for index in batch]
        assert (len(batch) * max(lengths) if padded else sum(lengths)) <= 1000


def test_padding_is_little_where_lengths_are_sorted():
    batches = token_batches(LENGTHS, budget_tokens=1000, padded=True)
    places = sum(len(batch) * max(LENGTHS[index] for index in batch) for batch in batches)
    assert places < 1.05 * sum(LENGTHS)


def test_a_text_longer_than_the_budget_is_alone():
    assert token_batches([5, 50, 5], budget_tokens=10, padded=True) == [[1], [0, 2]]
    assert token_batches([5, 50, 5], budget_tokens=10, padded=False) == [[1], [0, 2]]


def test_no_batch_holds_more_texts_than_allowed():
    batches = token_batches([1] * 10, budget_tokens=100, padded=True, most_texts=4)
    assert [len(batch) for batch in batches] == [4, 4, 2]


def test_padded_rows_say_where_their_last_tokens_stand():
    layout = lay_out_padded([[5, 6, 7], [8, 9]], num_slots=2)
    assert layout.input_ids_BT.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert layout.input_ids_BT.flatten()[layout.slots_NS].tolist() == [[6, 7], [8, 9]]


def test_a_packed_row_says_where_texts_start_and_counts_positions_anew():
    layout = lay_out_packed([[5, 6, 7], [8, 9]], num_slots=1)
    assert layout.input_ids_1T.tolist() == [[5, 6, 7, 8, 9]]
    assert layout.position_ids_1T.tolist() == [[0, 1, 2, 0, 1]]
    assert layout.starts.tolist() == [0, 3, 5]
    assert layout.input_ids_1T[0][layout.slots_NS].tolist() == [[7], [9]]
    assert layout.longest == 4  # the next power of two
