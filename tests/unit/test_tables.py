"""Tables of evaluations: what stands where, what is marked, and that the paper's figures are told apart."""

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest

from llara.errors import InputError
from llara.evaluate.page import page as evaluation_page
from llara.evaluate.paper import BEIR, published
from llara.evaluate.results import Evaluation
from llara.evaluate.tables import markdown, tables
from llara.report import Cell, Column, Row, Table, render, table_html, table_markdown
from llara.significance import bootstrap_interval

DAGGER = "\u2020"


def page(evaluations, **others):
    return render(evaluation_page(evaluations, **others))


def evaluation(name, values, dataset="cranfield", measure="nDCG@10", benchmark=None, split="test"):
    """One measure; ``values`` are those of the queries."""
    per_query = {f"q{n}": value for n, value in enumerate(values)}
    mean = sum(values) / len(values)
    return Evaluation(
        name, {measure: mean}, {measure: per_query}, {}, {"depth": 100}, dataset, split, benchmark
    )


def rows_of(text):
    """The rows of the first Markdown table, header first, cells stripped."""
    lines = list(itertools.dropwhile(lambda line: not line.startswith("|"), text.splitlines()))
    lines = list(itertools.takewhile(lambda line: line.startswith("|"), lines))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if not set("".join(row)) <= set(":-")]


def test_of_one_data_set_systems_are_rows_and_measures_columns_with_intervals():
    values = {"q1": 0.25, "q2": 0.75, "q3": 0.5}
    found = Evaluation(
        "BM25", {"nDCG@10": 0.5, "R@100": 1.0}, {"nDCG@10": values, "R@100": dict.fromkeys(values, 1.0)},
        {}, {}, "cranfield",
    )  # fmt: skip
    low, high = bootstrap_interval(values)
    text = markdown([found])
    assert text.startswith("### cranfield, 3 queries\n")
    assert rows_of(text) == [
        ["System", "nDCG@10", "R@100"],
        ["BM25", f"0.500 ({low:.3f} to {high:.3f})", "1.000 (1.000 to 1.000)"],
    ]


def test_the_interval_of_a_count_is_that_of_its_sum():
    found = {"a": [3.0, 1.0, 0.0, 2.0], "b": [1.0, 1.0, 0.0, 0.0]}
    rows = [
        Evaluation(
            name, {"NumRelRet": sum(values)}, {"NumRelRet": dict(zip("pqrs", values, strict=True))}, {}, {}
        )
        for name, values in found.items()
    ]
    low, high = bootstrap_interval(rows[0].per_query["NumRelRet"])
    assert rows_of(markdown(rows))[1] == ["a", f"**6.000** ({4 * low:.3f} to {4 * high:.3f})"]
    assert "-4.000" in page(rows)  # from a to b


def test_of_several_data_sets_there_is_a_table_a_measure_with_an_average():
    text = markdown(
        [
            evaluation("BM25", [0.2, 0.4], "cisi"),
            evaluation("both", [0.3, 0.4], "cisi"),
            evaluation("BM25", [0.5, 0.6], "cacm"),
            evaluation("both", [0.5, 0.5], "cacm"),
        ]
    )
    assert text.startswith("### nDCG@10\n")
    assert rows_of(text) == [
        ["Data set", "BM25", "both"],
        ["cisi", "0.300", "**0.350**"],
        ["cacm", "**0.550**", "0.500"],
        ["**Average**", "**0.425**", "**0.425**"],
    ]


def test_a_system_that_lacks_a_data_set_has_no_average():
    rows = rows_of(
        markdown(
            [
                evaluation("BM25", [0.25], "cisi"),
                evaluation("BM25", [0.75], "cacm"),
                evaluation("run", [0.75], "cacm"),
            ]
        )
    )
    assert rows[1:] == [
        ["cisi", "0.250", "-"],
        ["cacm", "**0.750**", "**0.750**"],
        ["**Average**", "0.500", "-"],
    ]


def test_what_is_printed_alike_is_marked_alike():
    rows = rows_of(markdown([evaluation("a", [0.41211]), evaluation("b", [0.41249]), evaluation("c", [0.4])]))
    assert [row[1].startswith("**0.412**") for row in rows[1:]] == [True, True, False]


def test_one_system_alone_is_not_marked_as_the_best():
    assert "**" not in markdown([evaluation("BM25", [0.2, 0.3])])


def test_measured_apart_is_shown_apart():
    similarity = Evaluation(
        "both", {"Spearman": 0.712}, {}, {}, {}, "stsb", intervals={"Spearman": (0.7, 0.72)}
    )
    text = markdown([evaluation("BM25", [0.2, 0.3]), evaluation("both", [0.3, 0.4]), similarity])
    first, second = text.split("### stsb")
    assert [row[0] for row in rows_of(first)] == ["System", "BM25", "both"]
    assert rows_of(second) == [["System", "Spearman"], ["both", "0.712 (0.700 to 0.720)"]]
    assert "both" in page([similarity])


def test_similarity_on_several_sets_needs_no_values_of_queries():
    sets = [
        Evaluation("both", {"Spearman": value}, {}, {}, {}, name) for name, value in (("a", 0.5), ("b", -0.1))
    ]
    assert rows_of(markdown(sets)) == [
        ["Data set", "both"],
        ["a", "0.500"],
        ["b", "-0.100"],
        ["**Average**", "0.200"],
    ]
    assert "Spearman" in page(sets)


def test_only_what_survives_holm_is_marked():
    # Paired tests over n queries that all differ in one direction: p = 2 / 2**n exactly.
    # 6 queries: 0.03125; 8: 0.0078. Of two tests Holm doubles the smaller, keeps the larger: both < 0.05.
    # A third that differs by chance (p = 1) triples the smallest and doubles the next: 0.0625.
    first = [0.1] * 8
    clear, six = [0.3] * 8, [0.2] * 6 + [0.1] * 2
    chance = [0.2, 0.0] * 4
    two = rows_of(markdown([evaluation(*each) for each in (("ref", first), ("clear", clear), ("six", six))]))
    assert [DAGGER in row[1] for row in two[1:]] == [False, True, True]
    text = markdown(
        [evaluation(*each) for each in (("ref", first), ("clear", clear), ("six", six), ("chance", chance))]
    )
    assert [DAGGER in row[1] for row in rows_of(text)[1:]] == [False, True, False, False]
    assert (
        f"{DAGGER}: differs from ref (p < 0.05, paired randomisation test, Holm's correction over 3" in text
    )


def test_correction_is_over_all_data_sets_of_a_table():
    """p = 0.03125 on one data set stands alone, and does not beside a second test."""
    ref, better = [0.1] * 6, [0.2] * 6
    assert DAGGER in markdown([evaluation("ref", ref), evaluation("better", better)])
    both = [
        evaluation(name, values, dataset)
        for dataset, values_of in (("a", {"ref": ref, "better": better}), ("b", {"ref": ref, "better": ref}))
        for name, values in values_of.items()
    ]
    text = markdown(both)
    assert f"{DAGGER}" not in text
    assert "None differs from ref" in text
    assert "over 2 tests" in text


def test_tests_between_models_count_in_the_correction_and_mark_nothing():
    """p = 0.03125 stands beside 0.0078 and not beside a third, between the two models."""
    values = {"BM25": [0.1] * 8, "a": [0.3] * 8, "b": [0.5] * 4 + [0.2] * 2 + [0.1] * 2}
    for first, daggers in (("BM25", [False, True, False]), ("ref", [False, True, True])):
        named = {first: values["BM25"], "a": values["a"], "b": values["b"]}
        rows = rows_of(markdown([evaluation(*each) for each in named.items()]))
        assert [DAGGER in row[1] for row in rows[1:]] == daggers
    clear = [evaluation(name, v) for name, v in (("BM25", [0.1] * 9), ("a", [0.1] * 9), ("b", [0.3] * 9))]
    assert [DAGGER in row[1] for row in rows_of(markdown(clear))[1:]] == [False, False, True]
    reversed_ = [evaluation(name, v) for name, v in (("BM25", [0.3] * 9), ("a", [0.1] * 9), ("b", [0.3] * 9))]
    assert [DAGGER in row[1] for row in rows_of(markdown(reversed_))[1:]] == [False, True, False]


def test_a_significant_loss_is_marked_too():
    rows = rows_of(markdown([evaluation("ref", [0.5] * 8), evaluation("worse", [0.2] * 8)]))
    assert rows[2][1].startswith(f"0.200{DAGGER}")


def test_the_papers_columns_stand_at_the_right_where_it_has_the_data_set():
    text = markdown(
        [
            evaluation("ours", [0.6], "scifact", benchmark="beir/scifact"),
            evaluation("ours", [0.3], "cisi"),
        ]
    )
    assert rows_of(text) == [
        ["Data set", "ours", "LLaRA (published)", "RepLLaMA (published)", "BM25 (published)"],
        ["scifact", "0.600", "0.757", "0.756", "0.679"],
        ["cisi", "0.300", "-", "-", "-"],
        ["**Average**", "0.450", "-", "-", "-"],
    ]
    assert "Published: as printed in arXiv 2312.15503 v1, not measured here." in text
    for elsewhere in (
        evaluation("x", [0.6]),
        evaluation("x", [0.6], measure="R@7", benchmark="beir/scifact"),
    ):
        assert "ublished" not in markdown([elsewhere])


def test_the_papers_figures_are_rows_with_one_data_set_and_never_bold():
    found = Evaluation(
        "ours", {"RR@10": 0.1, "nDCG@10": 0.2}, {}, {}, {}, "dev", benchmark="msmarco-passage/dev"
    )
    rows = rows_of(markdown([found], published=["LLaRA", "SGPT"]))
    assert rows[1:] == [["ours", "0.100", "0.200"], ["LLaRA (published)", "0.431", "-"]]


def test_the_average_over_all_of_beir_is_the_one_the_paper_prints():
    ours = [evaluation("ours", [0.5], name, benchmark=name) for name in BEIR]
    shown = ["LLaRA", "BM25", "CPT-XL"]
    *_, average = rows_of(markdown(ours, published=shown))
    assert average == ["**Average**", "0.500", "0.561", "0.437", "-"]  # BM25's figures average to 0.436
    *_, of_twelve = rows_of(markdown(ours[1:], published=shown))
    expected = sum(published(name, "nDCG@10")["LLaRA"] for name in BEIR[1:]) / 12
    assert of_twelve == ["**Average**", "0.500", f"{expected:.3f}", of_twelve[3], "-"]


def test_two_splits_of_one_data_set_are_told_apart():
    rows = rows_of(markdown([evaluation("x", [0.1], split="train"), evaluation("x", [0.2], split="test")]))
    assert [row[0] for row in rows] == ["Data set", "cranfield (train)", "cranfield (test)", "**Average**"]


def test_two_results_for_one_cell_are_refused():
    with pytest.raises(InputError, match="two evaluations of x on cranfield"):
        tables([evaluation("x", [0.1]), evaluation("x", [0.2])])


def test_the_page_says_what_the_markdown_says():
    found = [
        evaluation(name, values, dataset, benchmark=benchmark)
        for dataset, benchmark in (("scifact", "beir/scifact"), ("cisi", None))
        for name, values in (("a|b & <co>", [0.1] * 8), ("both", [0.2] * 8))
    ]
    html = page(found, title="T & co", notes=["A note."])
    root = ElementTree.fromstring(html.partition("\n")[2])
    text = " ".join("".join(root.itertext()).split())
    for part in ("T & co", "A note.", "a|b & <co>", "0.757", "measured", "published", "Average", "depth 100"):
        assert part in text
    assert "both reaches nDCG@10 0.200 on average over 2 data sets, the best of 2 systems." in text
    assert [element.text for element in root.iter("strong")] == ["0.200"] * 3
    assert [element.text for element in root.iter("sup")] == [
        DAGGER
    ] * 4  # and of the same tests, spelled out
    assert len(re.findall("<svg", html)) == 3  # the means, and of each data set the differences
    assert "a\\|b & <co>" in markdown(found)


def test_the_chart_shows_each_systems_interval_on_each_data_set():
    found = [
        evaluation(name, values, dataset)
        for dataset in ("cisi", "cacm")
        for name, values in (("BM25", [0.1, 0.3]), ("both", [0.2, 0.6]))
    ]
    chart = re.findall(r"<svg.*</svg>", page(found), flags=re.DOTALL)[0]
    for part in ("cisi", "cacm", "BM25", "both", "nDCG@10, with its 95% interval"):
        assert f">{part}</text>" in chart
    assert {"var(--chart1)", "var(--chart2)"} <= set(re.findall(r"var\(--chart\d\)", chart))


def test_nothing_evaluated_is_said():
    assert markdown([]) == ""
    assert "Nothing was evaluated." in page([])


def test_a_table_is_written_in_both_languages():
    table = Table(
        "T",
        "Set",
        [Column("ours"), Column("LLaRA", is_published=True)],
        [Row("a", [Cell("0.5", "0.4 to 0.6", is_best=True, is_significant=True), Cell("0.7")])],
        ["A note."],
    )
    assert table_markdown(table) == (
        "### T\n\n| Set | ours | LLaRA (published) |\n|:---|---:|---:|\n"
        f"| a | **0.5**{DAGGER} (0.4 to 0.6) | 0.7 |\n\nA note.\n"
    )
    cells = ElementTree.fromstring(f"<div>{table_html(table)}</div>").findall(".//td")
    assert [(cell.get("class"), "".join(cell.itertext())) for cell in cells[1:]] == [
        (None, f"0.5{DAGGER}0.4 to 0.6"),
        ("published", "0.7"),
    ]
