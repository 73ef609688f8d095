"""Which queries are shown as better and worse, and what is said of them: against a search through all."""

import itertools
import random
import re

from llara.corpus import Document
from llara.datasets import StreamedCollection
from llara.evaluate.changes import Pair, change_blocks, change_histogram, changes
from llara.evaluate.comparison import compare_runs
from llara.evaluate.measures import evaluate_run
from llara.evaluate.page import page
from llara.evaluate.results import Evaluation
from llara.evaluate.tables import difference_table, groups
from llara.report import Example, Report, Section, Text, render
from llara.significance import holm, paired_randomization_test

MEASURE = "nDCG@10"
NUM_DOCUMENTS, NUM_QUERIES = 40, 30


def collection_of(num_reads: list[int] | None = None) -> StreamedCollection:
    random.seed(3)

    def documents():
        for n in range(NUM_DOCUMENTS):
            if num_reads is not None:
                num_reads[0] += 1
            yield Document(f"d{n}", f"text of {n} <b>" + " and so on" * 200, f"title {n}" if n % 2 else "")

    qrels = {
        f"q{q}": {f"d{d}": grade for d, grade in zip(random.sample(range(40), 4), (1, 2, 0, -1), strict=True)}
        for q in range(NUM_QUERIES)
    }
    return StreamedCollection("data", {q: f"question {q} & more" for q in qrels}, qrels, documents, "test")


def system(name: str, collection: StreamedCollection, seed: int, depth: int = 15) -> Evaluation:
    """A system that finds documents at random, some with equal scores."""
    draw = random.Random(seed)
    run = {
        query: {f"d{d}": float(draw.randint(1, 8)) for d in draw.sample(range(NUM_DOCUMENTS), depth)}
        for query in collection.queries
    }
    metrics, per_query = evaluate_run(run, collection.qrels, [MEASURE])
    return Evaluation(name, metrics, per_query, run, {"depth": depth}, collection.name, "test")


def pair_of(num_reads: list[int] | None = None) -> Pair:
    collection = collection_of(num_reads)
    return Pair(system("before", collection, 1), system("after", collection, 2), collection)


def examples_of(pair: Pair) -> list[Example]:
    return [block for block in change_blocks([pair], MEASURE) if isinstance(block, Example)]


def test_the_largest_changes_are_shown_and_no_other() -> None:
    pair = pair_of()
    before, after = (each.per_query[MEASURE] for each in (pair.before, pair.after))
    assert pair.collection is not None
    by_question = {pair.collection.queries[q]: after[q] - before[q] for q in before}
    shown = examples_of(pair)
    assert [each.change for each in shown] == [by_question[each.question] for each in shown]
    ups, downs = (
        sorted(v for v in by_question.values() if v > 0),
        sorted(v for v in by_question.values() if v < 0),
    )
    assert len(ups) > 5
    assert len(downs) > 5
    assert [each.change for each in shown] == [*reversed(ups[-5:]), *downs[:5]]


def test_of_equal_changes_the_first_query_comes_first_and_no_change_is_no_example() -> None:
    values = {"a": 0.5, "b": -0.5, "c": 0.5, "d": 0.0, "e": -0.5, "f": 0.75}
    for number in range(1, 5):
        better, worse = changes(values, number)
        assert better == ["f", "a", "c"][:number]
        assert worse == ["b", "e"][:number]


def test_answers_are_the_best_in_trec_evals_order_with_the_relevant_ones_marked() -> None:
    pair = pair_of()
    assert pair.collection is not None
    ids = {question: query for query, question in pair.collection.queries.items()}
    for shown in examples_of(pair):
        query = ids[shown.question]
        for each in (pair.before, pair.after):
            scores = each.run[query]
            # the only order in which no later document scores higher, nor as high with a greater id
            ranked = sorted(scores, reverse=True)
            ranked.sort(key=scores.__getitem__, reverse=True)
            assert all(
                scores[a] > scores[b] or (scores[a] == scores[b] and a > b)
                for a, b in itertools.pairwise(ranked)
            )
            grades = pair.collection.qrels[query]
            found = [(answer.about or answer.name, answer.is_relevant) for answer in shown.answers[each.name]]
            assert found == [(id_, grades.get(id_, 0) > 0) for id_ in ranked[:3]]
            ranks = [place for place, id_ in enumerate(ranked, start=1) if grades.get(id_, 0) > 0]
            said = f"first relevant at rank {ranks[0]}" if ranks else "none relevant among 15 found"
            assert shown.remarks[each.name] == f"{MEASURE} {each.per_query[MEASURE][query]:.3f}; {said}"


def test_texts_are_those_of_the_corpus_cut_short_and_it_is_read_once() -> None:
    num_reads = [0]
    for shown in examples_of(pair_of(num_reads)):
        for answer in itertools.chain(*shown.answers.values()):
            number = int((answer.about or answer.name)[1:])
            assert answer.name == (f"title {number}" if number % 2 else f"d{number}")
            assert answer.text.startswith(f"text of {number} <b> and so on")
            assert len(answer.text) < 300
    assert num_reads[0] <= NUM_DOCUMENTS


def test_a_document_that_the_corpus_lacks_is_shown_by_its_id() -> None:
    collection = collection_of()
    first = system("before", collection, 1)
    other = {query: {f"elsewhere {query}": 1.0} for query in collection.queries}
    metrics, per_query = evaluate_run(other, collection.qrels, [MEASURE])
    pair = Pair(first, Evaluation("after", metrics, per_query, other, {}, "data", "test"), collection)
    (answer,) = examples_of(pair)[0].answers["after"]
    assert answer.name.startswith("elsewhere q")
    assert answer.about == "its text is not in the corpus"


def test_the_histogram_holds_every_query_that_changed_on_its_side_of_zero() -> None:
    pair = pair_of()
    values = list(pair.differences(MEASURE).values())
    found = change_histogram(pair, MEASURE, "T")
    assert found is not None
    assert 0.0 in found.edges
    sides = {True: 0, False: 0}
    for low, count in zip(found.edges, found.counts, strict=False):
        sides[low >= 0] += count
    assert sides == {True: sum(v > 0 for v in values), False: sum(v < 0 for v in values)}
    assert change_histogram(Pair(pair.before, pair.before), MEASURE, "T") is None


def test_the_table_of_differences_is_what_llara_compare_says() -> None:
    collection = collection_of()
    found = [system(name, collection, seed) for seed, name in enumerate(("first", "second", "third"))]
    expected = compare_runs({each.name: each.run for each in found}, collection.qrels, [MEASURE])
    (group,) = groups(found)
    table = difference_table(group, MEASURE)
    assert [row.name for row in table.rows] == ["second", "third"]
    for row, one in zip(table.rows, expected.differences, strict=True):
        assert row.cells[0].text == f"{one.difference:+.3f}"
        assert row.cells[0].about == f"{one.interval[0]:+.3f} to {one.interval[1]:+.3f}"
        assert [cell.text for cell in row.cells[1:3]] == [f"{one.p_value:.4f}", f"{one.p_holm:.4f}"]
        assert row.cells[4].text == f"{one.wins}\u00a0/\u00a0{one.ties}\u00a0/\u00a0{one.losses}"


def test_models_are_compared_with_each_other_where_bm25_comes_first() -> None:
    collection = collection_of()
    found = [system(name, collection, seed) for seed, name in enumerate(("BM25", "a", "a + BM25", "b", "c"))]
    found[2].settings["hybrid"] = "rrf"
    pairs = [("BM25", name) for name in ("a", "a + BM25", "b", "c")] + [("a", "b"), ("a", "c")]
    (group,) = groups(found)
    table = difference_table(group, MEASURE)
    assert [(row.about.removeprefix("against "), row.name) for row in table.rows] == pairs
    assert "corrected for all 6 rows" in table.notes[0]
    values = {each.name: each.per_query[MEASURE] for each in found}
    corrected = holm({pair: paired_randomization_test(*(values[each] for each in pair)) for pair in pairs})
    assert [row.cells[2].text for row in table.rows] == [f"{corrected[pair]:.4f}" for pair in pairs]
    html = render(page(found, collections={"data": collection}))
    assert re.findall(r"From (.*?) to (.*?) on data<", html) == pairs
    assert "Holm&#x27;s correction over 6 tests, those between models included" in html


def test_one_model_and_its_hybrid_are_compared_with_bm25_alone() -> None:
    collection = collection_of()
    found = [system(name, collection, seed) for seed, name in enumerate(("BM25", "a", "a + BM25"))]
    found[2].settings["hybrid"] = "rrf"
    (group,) = groups(found)
    table = difference_table(group, MEASURE)
    assert table.corner == f"{MEASURE}, against BM25"
    assert [(row.name, row.about) for row in table.rows] == [("a", ""), ("a + BM25", "")]


def test_a_page_of_many_systems_and_long_texts_stays_small_and_says_what_it_leaves_out() -> None:
    collection = collection_of()
    found = [system(f"system {n}", collection, n) for n in range(15)]
    text = render(page(found, collections={"data": collection}))
    assert len(text) < 1_000_000
    assert "2 more pairs of a system and a data set are not shown." in text


def test_without_the_texts_there_are_differences_and_no_examples() -> None:
    collection = collection_of()
    found = page([system("a", collection, 1), system("b", collection, 2)])
    titles = [section.title for section in found.sections if section.blocks]
    assert "What differs, and how surely" in titles
    assert "Queries that got better and worse" not in titles


def test_counts_of_better_and_worse_are_said() -> None:
    pair = pair_of()
    values = pair.differences(MEASURE).values()
    said = next(block for block in change_blocks([pair], MEASURE) if isinstance(block, Text)).sentences[0]
    better, worse = sum(v > 0 for v in values), sum(v < 0 for v in values)
    assert f"{better} queries got better, {worse} worse, and {NUM_QUERIES - better - worse} stayed" in said


def test_examples_fold_up_and_name_both_systems() -> None:
    html = render(Report("", "", [Section("s", change_blocks([pair_of()], MEASURE))]))
    assert html.count("<details class='example'>") == 10
    assert "From before to after on data" in html
    assert "&lt;b&gt; and so on" in html
