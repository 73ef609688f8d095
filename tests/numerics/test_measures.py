"""Every measure against trec_eval's own value for the same run, called without anything of ours between."""

import random

import pytest
import pytrec_eval

from llara.errors import ConfigError, InputError
from llara.evaluate.measures import DEFAULT_MEASURES, evaluate_run

TREC_EVAL_NAMES = {
    "nDCG": "ndcg",
    "nDCG@5": "ndcg_cut_5",
    "nDCG@10": "ndcg_cut_10",
    "nDCG@1000": "ndcg_cut_1000",
    "RR": "recip_rank",
    "AP": "map",
    "AP@100": "map_cut_100",
    "R@5": "recall_5",
    "R@10": "recall_10",
    "R@100": "recall_100",
    "R@1000": "recall_1000",
    "P@1": "P_1",
    "P@5": "P_5",
    "P@100": "P_100",
    "Success@1": "success_1",
    "Success@10": "success_10",
    "Rprec": "Rprec",
    "Bpref": "bpref",
    "infAP": "infAP",
    "SetP": "set_P",
    "SetR": "set_recall",
    "IPrec@0.1": "iprec_at_recall_0.10",
}
TOLERANCE = 1e-6

RELEVANCES = {
    "binary": (0, 1),
    "graded": (0, 0, 1, 2, 3),
    "with some not judged": (-2, -1, 0, 1, 1, 2, 3),
    "none relevant": (-1, 0),
}
SCORES = {
    "distinct": lambda generator: generator.random(),
    "with ties": lambda generator: generator.choice([0.25, 0.5, 0.75]),
    "all equal": lambda generator: 1.0,
    "negative": lambda generator: -50 * generator.random(),
    "tied in single precision": lambda generator: generator.randrange(4) + 1e-9 * generator.random(),
    "beyond single precision": lambda generator: generator.choice([1e39, 1e40, -1e39, 0.0]),
    "whole numbers": lambda generator: generator.randrange(30),
}
LENGTHS = (0, 1, 7, 100, 1500)  # of a run: none, shorter and longer than every cutoff


def collection(relevances, seed):
    """Qrels with 1 to 200 judgements a query, and for every kind of score and length a query of the run."""
    generator = random.Random(seed)
    documents = [f"d{number}" for number in range(2500)] + ["\u00e9", "z", "\uffee", "\U0001f600"]
    qrels, run = {}, {"not judged": {"d1": 1.0}}
    for kind, draw in SCORES.items():
        for length in LENGTHS:
            query = f"{kind}, {length}"
            judged = generator.sample(documents, generator.choice([1, 5, 60, 200]))
            qrels[query] = {document: generator.choice(relevances) for document in judged}
            if max(qrels[query].values()) < 0:  # there trec_eval itself fails: see below
                qrels[query][judged[0]] = 0
            found = generator.sample([*judged, *generator.sample(documents, 1500)], length)
            run[query] = {document: draw(generator) for document in found}
    qrels["not in the run"] = {"d1": 1, "d2": 0}
    return run, qrels


def trec_eval(run, qrels, name, **settings):
    """Query id -> trec_eval's value, 0 for a query of which the run has no line."""
    lines = {query: scores for query, scores in run.items() if scores}
    found = pytrec_eval.RelevanceEvaluator(qrels, {name}, **settings).evaluate(lines)
    return {query: found.get(query, {}).get(name, 0.0) for query in qrels}


def cut(run, depth):
    """The run as trec_eval reads it, less what it ranks below ``depth``: each rank asked of trec_eval."""
    shortened = {}
    for query, scores in run.items():
        ranks = {
            document: 1 / trec_eval({query: scores}, {query: {document: 1}}, "recip_rank")[query]
            for document in scores
        }
        shortened[query] = {
            document: scores[document] for document in scores if ranks[document] < depth + 0.5
        }
    return shortened


@pytest.mark.parametrize("relevances", RELEVANCES)
def test_every_measure_is_trec_evals_for_every_query(relevances):
    run, qrels = collection(RELEVANCES[relevances], seed=len(relevances))
    metrics, per_query = evaluate_run(run, qrels, list(TREC_EVAL_NAMES))
    for measure, name in TREC_EVAL_NAMES.items():
        expected = trec_eval(run, qrels, name)
        assert per_query[measure] == pytest.approx(expected, abs=TOLERANCE), measure
        assert metrics[measure] == pytest.approx(sum(expected.values()) / len(qrels), abs=TOLERANCE)
    found = {measure for measure, mean in metrics.items() if mean > 0}
    assert found == (set() if relevances == "none relevant" else set(TREC_EVAL_NAMES))


def test_rr_with_a_cutoff_is_trec_evals_of_the_run_cut_there():
    run, qrels = collection(RELEVANCES["with some not judged"], seed=1)
    short = {query: dict(list(scores.items())[:100]) for query, scores in run.items()}
    _, per_query = evaluate_run(short, qrels, ["RR@10", "MRR@3"])
    for measure, depth in (("RR@10", 10), ("MRR@3", 3)):
        expected = trec_eval(cut(short, depth), qrels, "recip_rank")
        assert per_query[measure] == pytest.approx(expected, abs=TOLERANCE)
        assert 0 < sum(expected.values()) < sum(trec_eval(short, qrels, "recip_rank").values())


def test_the_default_measures_are_among_those_compared():
    assert set(DEFAULT_MEASURES) <= {*TREC_EVAL_NAMES, "RR@10"}


def test_a_least_relevance_and_judged_only_are_trec_evals():
    run, qrels = collection(RELEVANCES["graded"], seed=2)
    _, per_query = evaluate_run(run, qrels, ["AP(rel=2)", "P(rel=3)@5", "nDCG(judged_only=True)@10"])
    for measure, name, settings in (
        ("AP(rel=2)", "map", {"relevance_level": 2}),
        ("P(rel=3)@5", "P_5", {"relevance_level": 3}),
        ("nDCG(judged_only=True)@10", "ndcg_cut_10", {"judged_docs_only_flag": True}),
    ):
        expected = trec_eval(run, qrels, name, **settings)
        assert per_query[measure] == pytest.approx(expected, abs=TOLERANCE)
        assert per_query[measure] != pytest.approx(trec_eval(run, qrels, name), abs=TOLERANCE)


def test_a_measure_is_the_same_whichever_others_are_asked_for():
    run, qrels = collection(RELEVANCES["graded"], seed=3)
    exponential = {query: {d: 2**r - 1 for d, r in judged.items()} for query, judged in qrels.items()}
    names = ["nDCG(gains={1:1,2:3,3:7})@10", "nDCG@10", "RR(rel=2)@10", "RR@10"]
    for measures in (names, names[::-1]):
        _, per_query = evaluate_run(run, qrels, measures)
        assert per_query[names[0]] == pytest.approx(trec_eval(run, exponential, "ndcg_cut_10"), abs=TOLERANCE)
        assert per_query["nDCG@10"] == pytest.approx(trec_eval(run, qrels, "ndcg_cut_10"), abs=TOLERANCE)
        assert per_query["RR@10"] == evaluate_run(run, qrels, ["RR@10"])[1]["RR@10"]


def test_equal_scores_are_ranked_by_the_greater_id_in_utf8():
    tied = {"a": 1.0, "b": 1.0, "\u00e9": 1.0, "\uffee": 1.0, "\U0001f600": 1.0, "10": 1.0, "9": 1.0}
    order = ["\U0001f600", "\uffee", "\u00e9", "b", "a", "9", "10"]
    for rank, document in enumerate(order, 1):
        assert trec_eval({"q": tied}, {"q": {document: 1}}, "recip_rank")["q"] == pytest.approx(1 / rank)
        assert evaluate_run({"q": tied}, {"q": {document: 1}}, ["RR@10"])[0]["RR@10"] == 1 / rank


def test_a_query_without_a_relevance_of_0_or_more_counts_zero():
    # trec_eval (9.0.7, as pytrec_eval has it) reads and writes where it should not for such a query.
    qrels = {"q1": {"a": 3, "b": 1}, "q2": {"a": -2}, "q3": {"b": -1, "c": -1}, "q4": {}}
    run = {query: {"a": 2.0, "b": 1.0} for query in qrels}
    _, per_query = evaluate_run(run, qrels, [*TREC_EVAL_NAMES, "RR@10"])
    for measure, values in per_query.items():
        assert (values["q2"], values["q3"], values["q4"]) == (0, 0, 0), measure
        assert values["q1"] > 0, measure


def test_ids_of_any_form_are_measured_by_every_program():
    # gdeval, which computes ERR, reads only numbered queries.
    metrics, _ = evaluate_run({"a query": {"x": 2.0, "y": 1.0}}, {"a query": {"x": 3}}, ["ERR@5", "RR@5"])
    assert metrics == {"ERR@5": pytest.approx(7 / 16, abs=1e-5), "RR@5": 1}


@pytest.mark.parametrize(
    "name",
    [
        "P@0",
        "nDCG@0",
        "R@-1",
        "RR@0",
        "nDCG@True",
        "AP(rel=0)",
        "nDCG(gains={1:-2})@5",
        "nDCG(gains={1:.5})@5",
    ],
)
def test_settings_that_end_trec_eval_are_refused(name):
    with pytest.raises(ConfigError) as caught:
        evaluate_run({"q": {"a": 1.0}}, {"q": {"a": 1}}, [name])
    assert repr(name) in str(caught.value)
    assert "expected" in str(caught.value)  # why, before "Expected names of ..."


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused_by_name(score):
    with pytest.raises(InputError, match=r"query 'q2', document 'b': score -?(nan|inf)"):
        evaluate_run({"q1": {"a": 1.0}, "q2": {"a": 0.0, "b": score}}, {"q1": {"a": 1}, "q2": {"a": 1}})
