"""What is said of models over tasks made of a corpus: one sign in all tasks, or none."""

import pytest

from llara.evaluate.results import Evaluation
from llara.evaluate.verdicts import as_data, finding, markdown, verdicts

MEASURE = "nDCG@10"
QUERIES = [f"q{n}" for n in range(8)]


def evaluations(name, **values):
    """Of one system; of each task the value that every query but the last has, which has 0.5."""
    return [
        Evaluation(
            name,
            {MEASURE: (7 * value + 0.5) / 8},
            {MEASURE: dict.fromkeys(QUERIES, value) | {"q7": 0.5}},
            {},
            {},
            task,
        )
        for task, value in values.items()
    ]


FIRST = evaluations("first", title=0.5, sentence=0.5)
P = 2 / 2**7  # all seven differences have one sign


def test_a_model_that_is_better_or_worse_in_all_tasks_is_said_to_be():
    better = evaluations("other", title=0.75, sentence=1.0)
    [verdict] = verdicts([*FIRST, *better])
    assert (verdict.run, verdict.against, verdict.sign) == ("other", "first", 1)
    assert [each.difference for each in verdict.by_task.values()] == [7 * 0.25 / 8, 7 * 0.5 / 8]
    assert [each.p_value for each in verdict.by_task.values()] == [P, P]
    p = f"p {2 * P:.4f}"  # Holm's, of two
    assert verdict.sentence == (
        "other is better than first in both tasks, significantly in 2 of 2 (nDCG@10, p corrected: "
        f"title +0.219, {p}; sentence +0.438, {p})."
    )
    [verdict] = verdicts([*better, *FIRST])
    assert verdict.sentence.startswith("first is worse than other in both tasks, significantly in 2 of 2")


@pytest.mark.parametrize("sentence", [0.25, 0.5])
def test_tasks_of_different_signs_or_without_a_difference_do_not_agree(sentence):
    [verdict] = verdicts([*FIRST, *evaluations("other", title=0.75, sentence=sentence)])
    assert verdict.sign == 0
    assert verdict.sentence.startswith("The tasks do not agree on other against first, significantly in")


def test_every_other_model_is_compared_with_the_first_but_neither_bm25_nor_a_hybrid():
    bm25 = evaluations("BM25", title=1.0, sentence=1.0)
    hybrid = [
        Evaluation("first + BM25", one.metrics, one.per_query, {}, {"hybrid": "rrf"}, one.dataset)
        for one in bm25
    ]
    others = [each for name in "ab" for each in evaluations(name, title=0.75, sentence=0.25)]
    found = verdicts([*bm25, *FIRST, *hybrid, *others])
    assert [(each.run, each.against) for each in found] == [("a", "first"), ("b", "first")]
    assert {one.p_holm for each in found for one in each.by_task.values()} == {4 * P}
    assert verdicts([*FIRST, *bm25]) == verdicts(bm25) == []


def test_what_is_written_holds_the_verdicts_and_the_caution():
    found = verdicts([*FIRST, *evaluations("other", title=0.75, sentence=1.0)])
    data, text = as_data(found), markdown(found)
    assert data["finding"] == finding(found) == found[0].sentence
    assert data["verdicts"][0]["tasks"]["title"]["difference"] == 7 * 0.25 / 8
    assert "| other on sentence | +0.438\u2020 (" in text
    assert found[0].sentence in text
    for each in (text, data["notes"][0]):
        assert "nobody asked these queries" in each
    assert (as_data([])["finding"], markdown([])) == ("", f"{data['notes'][0]}\n")
