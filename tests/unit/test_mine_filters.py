"""Each filter against plain loops over random data: several positives, negative scores, ties."""

import itertools
import random

import numpy as np
import pytest

from llara.mine.filters import (
    above_absolute_margin,
    above_maximum,
    above_relative_margin,
    known_positives,
    near_duplicates,
    normalised,
    repeated,
    words_of,
)
from llara.mine.sampling import draw_order, sample, shares


def cases():
    """Scores in quarters, so that ties and values on the margin come often and are exact."""
    generator = random.Random(0)
    for _ in range(200):
        scores = [generator.randint(-8, 8) / 4 for _ in range(generator.randint(0, 12))]
        positives = [generator.randint(-8, 8) / 4 for _ in range(generator.randint(1, 4))]
        yield scores, positives


@pytest.mark.parametrize("margin", [0.0, 0.25, 0.5, 2.0])
def test_the_absolute_margin_is_below_every_positive(margin):
    for scores, positives in cases():
        expected = []
        for score in scores:
            is_removed = False
            for positive in positives:
                if score > positive - margin:
                    is_removed = True
            expected.append(is_removed)
        assert above_absolute_margin(np.array(scores), np.array(positives), margin).tolist() == expected


@pytest.mark.parametrize("margin", [0.0, 0.25, 0.5, 1.0])
def test_the_relative_margin_is_a_share_of_the_lowest_positives_size(margin):
    for scores, positives in cases():
        lowest = positives[0]
        for positive in positives:
            if positive < lowest:
                lowest = positive
        size = lowest if lowest > 0 else -lowest
        expected = [score > lowest - margin * size for score in scores]
        assert above_relative_margin(np.array(scores), np.array(positives), margin).tolist() == expected


@pytest.mark.parametrize(("positive", "threshold"), [(0.8, 0.72), (-0.8, -0.88), (0.0, 0.0)])
def test_the_relative_margin_lies_below_the_positive_whatever_its_sign(positive, threshold):
    scores = np.array([threshold + 1e-9, threshold - 1e-9])
    assert above_relative_margin(scores, np.array([positive]), 0.1).tolist() == [True, False]


def test_scores_in_float32_are_compared_in_float64():
    # float32(0.7) is 0.699999988: subtracting 0.1 from it in float32 and in float64 gives two thresholds.
    score, positive = np.float32(0.6), np.float32(0.7)
    expected = float(score) > float(positive) - 0.1
    assert above_absolute_margin(np.array([score]), np.array([positive]), 0.1).tolist() == [expected]


def test_a_candidate_may_reach_the_maximum_score():
    assert above_maximum(np.array([0.5, 0.75, 0.25]), 0.5).tolist() == [False, True, False]


def test_positives_are_known_by_id_and_by_text():
    ids, texts = ["a", "b", "c", "d"], ["one", "two", "three", "one"]
    found = known_positives(ids, texts, positive_ids={"b"}, positive_texts={"one"})
    assert found.tolist() == [True, True, False, True]
    assert known_positives([], [], positive_ids={"b"}, positive_texts=set()).tolist() == []


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.5, 2 / 3, 0.9, 1.0])
def test_near_duplicates_share_enough_words_with_a_positive(overlap):
    generator = random.Random(1)
    words = [frozenset(generator.sample("abcdef", generator.randint(0, 6))) for _ in range(150)]
    for start in range(0, 150, 15):
        positives, candidates = words[start : start + 3], words[start + 3 : start + 15]
        expected = []
        for candidate in candidates:
            is_removed = False
            for positive in positives:
                either = [word for word in "abcdef" if word in candidate or word in positive]
                both = [word for word in either if word in candidate and word in positive]
                share = len(both) / len(either) if either else 1.0
                is_removed = is_removed or share >= overlap
            expected.append(is_removed)
        assert near_duplicates(candidates, positives, overlap).tolist() == expected


def test_a_share_that_is_exactly_the_overlap_is_a_near_duplicate():
    # 0.55 * 20 is above 11 in floating point; 11 / 20 is 0.55.
    words = [str(n) for n in range(20)]
    assert near_duplicates([frozenset(words[:11])], [frozenset(words)], 0.55).tolist() == [True]


def test_texts_are_equal_but_for_case_space_and_form():
    assert normalised("  The\tWING \n stalls") == normalised("the wing stalls")
    assert normalised("\uff21\uff22") == normalised("ab")  # full-width letters
    assert normalised("wing.") != normalised("wing")


def test_words_are_without_punctuation_and_ideographs_stand_alone():
    assert words_of("Wings, wings; don't") == {"wings", "don", "t"}
    assert words_of("\u673a\u7ffc at 3.5") == {"\u673a", "\u7ffc", "at", "3", "5"}


def test_of_equal_texts_the_first_stays():
    generator = random.Random(2)
    for _ in range(50):
        texts = [generator.choice("abc") for _ in range(8)]
        expected = [texts[n] in texts[:n] for n in range(8)]
        assert repeated(texts).tolist() == expected


# -- sampling


def test_a_draw_depends_on_seed_query_and_passage_alone():
    numbers = draw_order(42, "q1", ["a", "b", "c"])
    assert draw_order(42, "q1", ["c", "x", "a"])[[2, 0]].tolist() == numbers[[0, 2]].tolist()
    others = {
        draw_order(seed, query, [passage])[0]
        for seed, query, passage in itertools.product((42, 43), ("q1", "q2"), ("a", "b"))
    }
    assert len(others) == 8


def test_draws_are_uniform():
    counts = np.zeros(20)
    ids = [str(n) for n in range(20)]
    for query in range(4000):
        draws = draw_order(0, str(query), ids)
        counts[sample(np.arange(1, 21)[None], draws, (5,), "random")] += 1
    # Each is drawn with probability 1/4: 1000 times, with a standard deviation of 27.
    assert abs(counts - 1000).max() < 4 * 27.4


@pytest.mark.parametrize("sampling", ["random", "top"])
def test_one_search_gives_its_best_or_its_lowest_draws(sampling):
    generator = np.random.default_rng(3)
    for _ in range(100):
        count = int(generator.integers(0, 12))
        ranks = generator.permutation(np.arange(1, count + 1))
        draws = generator.integers(0, 1 << 60, size=count).astype(np.uint64)
        keys = ranks if sampling == "top" else draws
        expected = sorted(range(count), key=lambda n: keys[n])[:5]
        assert sample(ranks[None], draws, (5,), sampling).tolist() == expected


@pytest.mark.parametrize("sampling", ["random", "top"])
def test_two_searches_give_their_shares_fill_each_other_up_and_no_passage_twice(sampling):
    generator = np.random.default_rng(4)
    for _ in range(300):
        count = int(generator.integers(0, 14))
        ranks = np.zeros((2, count), dtype=np.int64)
        in_first = generator.random(count) < 0.6
        in_second = ~in_first | (generator.random(count) < 0.4)
        for row, members in enumerate((in_first, in_second)):
            ranks[row, members] = generator.permutation(np.arange(1, members.sum() + 1))
        draws = generator.permutation(count).astype(np.uint64)
        wanted = (int(generator.integers(0, 6)), int(generator.integers(0, 6)))

        def order(row, ranks=ranks, draws=draws):
            found = [n for n in range(ranks.shape[1]) if ranks[row, n] > 0]
            return sorted(found, key=lambda n: ranks[row, n] if sampling == "top" else draws[n])

        taken = order(1)[: wanted[1]]
        taken += [n for n in order(0) if n not in taken][: wanted[0]]
        for n in order(0) + order(1):
            if len(taken) < sum(wanted) and n not in taken:
                taken.append(n)
        chosen = sample(ranks, draws, wanted, sampling).tolist()
        assert sorted(chosen) == sorted(taken)
        assert len(chosen) == min(sum(wanted), count)


def test_a_random_sample_begins_with_a_smaller_one():
    draws = draw_order(7, "q", [str(n) for n in range(30)])
    ranks = np.arange(1, 31)[None]
    assert sample(ranks, draws, (15,), "random")[:4].tolist() == sample(ranks, draws, (4,), "random").tolist()


def test_shares_add_up_to_the_negatives():
    for negatives in range(1, 20):
        for share in (0, 0.2, 0.5, 0.77, 1):
            dense, bm25 = shares(negatives, share, mixed=True)
            assert dense + bm25 == negatives
            assert abs(bm25 - negatives * share) <= 0.5
    assert shares(9, 0.5, mixed=False) == (9,)
