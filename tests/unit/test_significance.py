"""The paired randomisation test and the bootstrap against enumeration by hand."""

import itertools

import numpy as np
import pytest

from llara.errors import InputError
from llara.significance import bootstrap_interval, paired_randomization_test


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
    with pytest.raises(InputError, match="'q1'"):
        paired_randomization_test({"q0": 1.0, "q1": 1.0}, {"q0": 1.0})
    with pytest.raises(InputError, match="at least one"):
        paired_randomization_test({}, {})


def test_the_bootstrap_interval_is_that_of_the_normal_approximation_for_many_queries():
    values = np.random.default_rng(2).normal(0.4, 0.2, 2000)
    low, high = bootstrap_interval(named(values))
    half_width = 1.96 * values.std(ddof=1) / 2000**0.5
    # Quantiles of 10,000 rounds lie within a few percent of the half width.
    assert low == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
    assert high == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)
    with pytest.raises(InputError):
        bootstrap_interval({})
