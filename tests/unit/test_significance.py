"""Paired tests, intervals and effect sizes against enumeration by hand and against scipy."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from llara.errors import InputError
from llara.significance import (
    bootstrap_interval,
    effect_size,
    holm,
    paired_bootstrap_interval,
    paired_bootstrap_test,
    paired_randomization_test,
    wins_ties_losses,
)


def named(values):
    return {f"q{number}": value for number, value in enumerate(values)}


def test_p_equals_the_share_of_sign_patterns_counted_by_hand():
    # Differences 3, 1, -2: the eight signed sums are +-6, +-4, +-2 (from 3+1-2), +-0.
    # |observed| = 2: six of the eight reach it.
    assert paired_randomization_test(named([3, 1, 0]), named([0, 0, 2])) == 6 / 8


def test_p_is_two_sided_and_symmetric():
    a, b = named([0.5, 0.75, 0.25, 1.0]), named([0.25, 0.5, 0.0, 0.5])
    assert paired_randomization_test(a, b) == paired_randomization_test(b, a) == 2 / 16


def test_queries_without_a_difference_do_not_change_p():
    a, b = [0.9, 0.4, 0.3], [0.1, 0.1, 0.2]
    assert paired_randomization_test(named([*a, 0.7]), named([*b, 0.7])) == paired_randomization_test(
        named(a), named(b)
    )


def test_sums_equal_on_paper_count_as_equally_extreme():
    # 0.1 + 0.2 differs from 0.3 in binary; all of 0.3 + 0.1 + 0.2 signs with |sum| >= 0.6 are +++ and ---.
    differences = [0.1, 0.2, 0.3, 0.0]
    expected = np.mean([abs(sum(s)) >= 6 for s in itertools.product((-1, 1), (-2, 2), (-3, 3))])
    assert paired_randomization_test(named(differences), named([0.0] * 4)) == expected


def test_p_is_that_of_scipys_exhaustive_permutation_test():
    a, b = np.random.default_rng(8).normal([[0.3], [0.0]], 1, (2, 9))
    expected = stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=2**9, alternative="two-sided"
    )
    assert paired_randomization_test(named(a), named(b)) == pytest.approx(expected.pvalue)
    assert 0.01 < expected.pvalue < 0.99


def test_differences_that_are_rounding_only_are_none():
    a = named([0.1 + 0.2, 0.5, 0.7])
    b = named([0.3, 0.5, 0.1])
    assert wins_ties_losses(a, b) == (1, 2, 0)
    assert paired_randomization_test(a, b) == 1  # one difference, two signs


def test_random_rounds_come_close_to_the_exact_p():
    generator = np.random.default_rng(5)
    a, b = generator.normal(0.25, 1, 14), np.zeros(14)
    exact = paired_randomization_test(named(a), named(b), num_rounds=2**14)
    drawn = paired_randomization_test(named(a), named(b), num_rounds=2**14 - 1, seed=3)
    assert 0.05 < exact < 0.95
    # Four standard errors of a share estimated from 2**14 rounds.
    assert abs(drawn - exact) < 4 * (exact * (1 - exact) / 2**14) ** 0.5


def test_the_same_seed_gives_the_same_p():
    generator = np.random.default_rng(1)
    a, b = named(generator.normal(0.1, 1, 200)), named(generator.normal(0, 1, 200))
    first = paired_randomization_test(a, b, seed=7)
    assert first == paired_randomization_test(a, b, seed=7)
    assert first != paired_randomization_test(a, b, seed=8)


def test_a_clear_difference_over_many_queries_has_the_smallest_p_but_not_zero():
    p = paired_randomization_test(named([1.0] * 100), named([0.0] * 100), num_rounds=999)
    assert p == 1 / 1000


def test_other_queries_on_one_side_are_refused_by_name():
    for paired in (
        paired_randomization_test,
        paired_bootstrap_test,
        paired_bootstrap_interval,
        effect_size,
        wins_ties_losses,
    ):
        with pytest.raises(InputError, match="'q1'"):
            paired({"q0": 1.0, "q1": 1.0}, {"q0": 1.0})
        with pytest.raises(InputError, match="at least one"):
            paired({}, {})


def test_the_bootstrap_interval_is_that_of_the_normal_approximation_for_many_queries():
    values = np.random.default_rng(2).normal(0.4, 0.2, 2000)
    low, high = bootstrap_interval(named(values))
    half_width = 1.96 * values.std(ddof=1) / 2000**0.5
    # Quantiles of 10,000 rounds lie within a few percent of the half width.
    assert low == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
    assert high == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)
    with pytest.raises(InputError):
        bootstrap_interval({})


def test_the_paired_interval_is_scipys_percentile_bootstrap_of_the_differences():
    generator = np.random.default_rng(4)
    a, b = generator.beta(2, 3, 60), generator.beta(2, 4, 60)
    expected = stats.bootstrap(
        (a - b,), np.mean, method="percentile", n_resamples=50_000, rng=1
    ).confidence_interval
    low, high = paired_bootstrap_interval(named(a), named(b), num_rounds=50_000)
    # Ends estimated from 50,000 draws: within 2% of the width.
    assert low == pytest.approx(expected.low, abs=0.02 * (expected.high - expected.low))
    assert high == pytest.approx(expected.high, abs=0.02 * (expected.high - expected.low))
    narrow = paired_bootstrap_interval(named(a), named(b), level=0.5)
    assert low < narrow[0] < (a - b).mean() < narrow[1] < high


def test_the_paired_interval_is_narrow_where_the_systems_agree_on_what_is_hard():
    hard = np.random.default_rng(3).uniform(0, 1, 100)
    a, b = named(hard + 0.01), named(hard)
    assert paired_bootstrap_interval(a, b) == pytest.approx((0.01, 0.01))
    low, high = bootstrap_interval(a)
    assert high - low > 0.1


def test_the_bootstrap_p_is_the_share_of_all_samples_counted_by_hand():
    differences = np.array([0.9, -0.2, 0.4, 0.1, 0.5])
    centred = differences - differences.mean()
    means = [np.mean(sample) for sample in itertools.product(centred, repeat=5)]
    exact = np.mean(np.abs(means) >= differences.mean() - 1e-12)
    p = paired_bootstrap_test(named(differences), named([0.0] * 5))
    assert 0.01 < exact < 0.5
    # Four standard errors of a share estimated from 10,000 rounds.
    assert abs(p - exact) < 4 * (exact * (1 - exact) / 10_000) ** 0.5
    assert paired_bootstrap_test(named(differences), named([0.0] * 5), seed=1) != p
    assert paired_bootstrap_test(named([0.0] * 5), named(differences)) == p


def test_both_tests_agree_with_the_t_test_for_many_queries():
    generator = np.random.default_rng(9)
    a, b = named(generator.normal(0.06, 0.5, 400)), named(np.zeros(400))
    expected = stats.ttest_rel(list(a.values()), list(b.values())).pvalue
    assert 0.005 < expected < 0.2
    for test in (paired_randomization_test, paired_bootstrap_test):
        # Four standard errors of a share from 10,000 rounds, and some skew of 400 values.
        assert test(a, b) == pytest.approx(expected, abs=4 * (expected / 10_000) ** 0.5 + 0.003)


def test_the_bootstrap_p_of_a_clear_difference_is_the_smallest_but_not_zero():
    assert paired_bootstrap_test(named([1.0] * 50), named([0.0] * 50), num_rounds=999) == 1 / 1000


def test_the_effect_size_is_the_paired_t_statistic_by_the_root_of_the_number_of_queries():
    generator = np.random.default_rng(6)
    a, b = generator.normal(0.2, 1, 30), generator.normal(0, 1, 30)
    expected = stats.ttest_rel(a, b).statistic / 30**0.5
    assert effect_size(named(a), named(b)) == pytest.approx(expected)
    assert effect_size(named(b), named(a)) == pytest.approx(-expected)


def test_the_effect_size_of_differences_that_do_not_vary_is_zero_or_infinite():
    assert effect_size(named([0.5, 0.3]), named([0.5, 0.3])) == 0
    assert effect_size(named([0.3, 0.6]), named([0.2, 0.5])) == math.inf
    assert effect_size(named([0.2]), named([0.3])) == -math.inf


def test_wins_ties_and_losses_are_counted_by_query():
    a, b = named([0.5, 1.0, 0.0, 0.25, 0.75]), named([0.0, 1.0, 0.5, 0.0, 0.5])
    assert wins_ties_losses(a, b) == (3, 1, 1)
    assert wins_ties_losses(b, a) == (1, 1, 3)


def test_holms_p_values_are_those_of_the_closed_test_by_bonferroni():
    generator = np.random.default_rng(2)
    for _ in range(20):
        p_values = dict(enumerate(generator.uniform(0, 0.3, 5).round(2)))
        closed = {
            key: max(
                min(1, len(subset) * min(p_values[each] for each in subset))
                for size in range(1, 6)
                for subset in itertools.combinations(p_values, size)
                if key in subset
            )
            for key in p_values
        }
        assert holm(p_values) == pytest.approx(closed)


def test_holms_p_values_by_hand_in_the_order_given():
    adjusted = holm({"z": 0.01, "a": 0.04, "m": 0.03, "b": 0.005})
    assert adjusted == pytest.approx({"z": 0.03, "a": 0.06, "m": 0.06, "b": 0.02})
    assert list(adjusted) == ["z", "a", "m", "b"]
    assert holm({"a": 0.7, "b": 0.6}) == {"a": 1, "b": 1}
    assert holm({"only": 0.2}) == {"only": 0.2}
    assert holm({}) == {}
