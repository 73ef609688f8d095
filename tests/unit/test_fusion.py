"""Fused runs against values computed by hand and against brute force in exact fractions."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from llara.errors import ConfigError, InputError
from llara.evaluate import evaluate_run
from llara.evaluate.fusion import tune_weights
from llara.fusion import reciprocal_rank_fusion, weighted_fusion

DENSE = {"q": {"a": 0.9, "b": 0.8, "c": 0.5}}
LEXICAL = {"q": {"c": 12.0, "d": 8.0, "b": 4.0}}


def test_reciprocal_rank_fusion_is_that_computed_by_hand():
    fused = reciprocal_rank_fusion([DENSE, LEXICAL])
    expected = {"c": 1 / 63 + 1 / 61, "b": 1 / 62 + 1 / 63, "a": 1 / 61, "d": 1 / 62}
    assert fused == {"q": pytest.approx(expected)}
    assert list(fused["q"]) == ["c", "b", "a", "d"]
    assert reciprocal_rank_fusion([DENSE, LEXICAL], k=0, depth=1) == {"q": {"c": pytest.approx(4 / 3)}}


def test_weighted_fusion_is_that_computed_by_hand():
    # Scaled: a 1, b 3/4, c 0 and c 1, d 1/2, b 0.
    fused = weighted_fusion([DENSE, LEXICAL], [3, 1])
    assert fused == {"q": pytest.approx({"a": 3.0, "b": 2.25, "c": 1.0, "d": 0.5})}
    assert list(fused["q"]) == ["a", "b", "c", "d"]
    assert list(weighted_fusion([DENSE, LEXICAL], [1, 3], depth=2)["q"]) == ["c", "d"]


def test_equal_scores_are_ordered_by_the_greater_id():
    # "a" and "b" are first in one run and second in the other; "y" and "z" tie inside one run.
    runs = [{"q": {"a": 2.0, "b": 1.0}}, {"q": {"b": 2.0, "a": 1.0}}]
    assert list(reciprocal_rank_fusion(runs)["q"]) == ["b", "a"]
    assert list(weighted_fusion(runs, [1, 1])["q"]) == ["b", "a"]
    tied = [{"q": {"y": 1.0, "z": 1.0}}]
    assert reciprocal_rank_fusion(tied, k=0) == {"q": {"z": 1.0, "y": 0.5}}


def test_where_all_scores_are_equal_to_be_found_is_better_than_not():
    fused = weighted_fusion([{"q": {"a": 0.9, "b": 0.1}}, {"q": {"b": 7.0}}], [0.4, 0.6])
    assert fused == {"q": {"b": 0.6, "a": 0.4}}


def test_a_query_that_one_run_lacks_is_fused_from_the_others():
    one = {"q1": {"a": 2.0, "b": 1.0}, "q2": {}}
    other = {"q2": {"c": 1.0}, "q3": {"d": 3.0, "e": 2.0}}
    for fused in (reciprocal_rank_fusion([one, other]), weighted_fusion([one, other], [0.5, 0.5])):
        assert {query: list(scores) for query, scores in fused.items()} == {
            "q1": ["a", "b"],
            "q2": ["c"],
            "q3": ["d", "e"],
        }


def test_a_run_of_weight_zero_adds_nothing():
    assert list(weighted_fusion([DENSE, LEXICAL], [1, 0])["q"]) == ["a", "b", "c"]
    assert list(weighted_fusion([DENSE, LEXICAL], [0, 0.2])["q"]) == ["c", "d", "b"]


def random_runs(seed, num_runs=3):
    """Runs of 30 queries over 12 documents, with ties, gaps and different scales."""
    generator = np.random.default_rng(seed)
    documents = [f"d{n}" for n in range(12)]
    return [
        {
            f"q{query}": {
                str(document): float(generator.integers(0, 6)) * 3**scale
                for document in generator.choice(documents, size=generator.integers(1, 9), replace=False)
            }
            for query in range(30)
        }
        for scale in range(num_runs)
    ]


def test_both_fusions_equal_brute_force_in_exact_fractions():
    runs, weights = random_runs(1), [Fraction(1, 2), Fraction(1, 4), Fraction(1, 8)]
    by_ranks = reciprocal_rank_fusion(runs, k=7, depth=5)
    by_scores = weighted_fusion(runs, [float(weight) for weight in weights], depth=5)
    for query in runs[0]:
        ranks: dict[str, Fraction] = {}
        scores: dict[str, Fraction] = {}
        for run, weight in zip(runs, weights, strict=True):
            found = run[query]
            low, high = min(found.values()), max(found.values())
            for document, score in found.items():
                rank = 1 + sum((s, d) > (score, document) for d, s in found.items())
                share = Fraction(1) if low == high else Fraction(score - low) / Fraction(high - low)
                ranks[document] = ranks.get(document, Fraction()) + Fraction(1, 7 + rank)
                scores[document] = scores.get(document, Fraction()) + weight * share
        for fused, exact in ((by_ranks[query], ranks), (by_scores[query], scores)):
            best = sorted(exact, key=lambda document: (exact[document], document), reverse=True)[:5]
            assert list(fused) == best
            assert fused == pytest.approx({document: float(exact[document]) for document in best})


def test_tuned_weights_are_the_best_of_the_grid():
    runs = random_runs(2)
    qrels = {query: {"d1": 2, "d5": 1, "d7": 1} for query in runs[0]}
    weights = tune_weights(runs, qrels, "nDCG@3", step=0.25)

    def mean(candidate):
        return evaluate_run(weighted_fusion(runs, candidate), qrels, ["nDCG@3"])[0]["nDCG@3"]

    grid = [c for c in itertools.product((0.0, 0.25, 0.5, 0.75, 1.0), repeat=3) if sum(c) == 1]
    assert len(grid) == 15
    assert weights in grid
    assert mean(weights) == pytest.approx(max(map(mean, grid)))
    assert mean(weights) > min(map(mean, grid)) + 0.05
    assert weights == tune_weights(runs, qrels, "nDCG@3", step=0.25)


def test_equally_good_weights_are_chosen_for_evenness_then_for_the_earlier_run():
    found = {"q": {"a": 2.0, "b": 1.0}}
    assert tune_weights([found, found], {"q": {"a": 1}}, "RR@10") == (0.5, 0.5)
    assert tune_weights([found, found, found], {"q": {"a": 1}}, "RR@10") == (0.4, 0.3, 0.3)
    # "a" leads where the first run weighs more than the second: 0.6 and 0.4 are the most even of those.
    other = {"q": {"b": 2.0, "a": 1.0}}
    assert tune_weights([found, other], {"q": {"a": 1}}, "RR@10") == (0.6, 0.4)
    # At 0.5 each the two are level, and the greater id leads: "b".
    assert tune_weights([found, other], {"q": {"b": 1}}, "RR@10") == (0.5, 0.5)


def test_queries_without_judgements_have_no_say_in_the_weights():
    good, bad = {"q": {"a": 2.0, "b": 1.0}}, {"q": {"b": 2.0, "a": 1.0}}
    judged, unjudged = {"q": {"a": 1}}, {"x": {"b": 1.0, "a": 2.0}}
    assert tune_weights([good | unjudged, bad], judged, "RR@10") == tune_weights([good, bad], judged, "RR@10")


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="no runs"):
        reciprocal_rank_fusion([])
    with pytest.raises(ConfigError, match="k of reciprocal rank fusion is -1"):
        reciprocal_rank_fusion([DENSE], k=-1)
    with pytest.raises(ConfigError, match="depth is 0"):
        weighted_fusion([DENSE], [1], depth=0)
    with pytest.raises(ConfigError, match="1 weights for 2 runs"):
        weighted_fusion([DENSE, LEXICAL], [1])
    for weights in ([0, 0], [1, -1], [float("nan"), 1]):
        with pytest.raises(ConfigError, match="0 or more"):
            weighted_fusion([DENSE, LEXICAL], weights)
    for step in (0.3, 0, -0.5, 2, float("nan")):
        with pytest.raises(ConfigError, match="divides 1"):
            tune_weights([DENSE, LEXICAL], {"q": {"a": 1}}, "RR@10", step=step)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_named(score):
    with pytest.raises(InputError, match="run 2: query 'q' gives document 'x'"):
        reciprocal_rank_fusion([DENSE, {"q": {"x": score}}])
    with pytest.raises(InputError, match="'x'"):
        weighted_fusion([{"q": {"x": score}}], [1])
