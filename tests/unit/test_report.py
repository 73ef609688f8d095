"""The report is one well-formed file that needs nothing else and says what it was given."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from llara.errors import OutputError
from llara.report import Answer, Example, Interval, Report, System, render, write_report

HOSTILE = "<script>alert('1')</script> & \"co\""


def system(name: str, mean: float) -> System:
    values = {"nDCG@10": Interval(mean, mean - 0.021, mean + 0.034), "R@100": Interval(0.9, 0.8, 1.0)}
    return System(name, f"about {name}", values, is_ours=name == "ours")


@pytest.fixture
def report() -> Report:
    log = [{"step": float(n), "loss": 8.0, "ebae": 9.25 - n, "ebar": 9.75 - n} for n in range(3)]
    return Report(
        title="A title",
        finding="What was found.",
        systems=[system("BM25", 0.412), system("ours", 0.257)],
        comparisons=["ours against BM25: -0.155"],
        losses={"here": log},
        examples=[Example("how?", {"ours": [Answer("os.wait", "Wait for a child.", 0.5)]})],
        notes=["A note."],
        facts={"Passages": "10,000"},
        commands=["llara search"],
    )


def page_of(report: Report) -> ElementTree.Element:
    doctype, _, rest = render(report).partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def text_of(report: Report) -> str:
    return " ".join("".join(page_of(report).itertext()).split())


def test_everything_given_is_on_the_page(report: Report) -> None:
    text = text_of(report)
    expected = ["A title", "What was found.", "about BM25", "0.412", "0.391 to 0.446", "0.800 to 1.000"]
    expected += ["ours against BM25: -0.155", "how?", "os.wait", "Wait for a child.", "A note.", "Passages"]
    expected += ["10,000", "llara search", "here", "EBAE 7.25", "EBAR 7.75"]
    assert [part for part in expected if part not in text] == []


def test_the_page_needs_no_other_file_and_runs_nothing(report: Report) -> None:
    page = page_of(report)
    tags = {element.tag.rpartition("}")[2] for element in page.iter()}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "image"})
    for element in page.iter():
        for name, value in element.attrib.items():
            is_reference = name.rpartition("}")[2] in ("href", "src")
            assert not is_reference or value.startswith("#"), f"{element.tag} {name}={value}"
    assert re.findall(r"url\((?!#)|@import", render(report)) == []


def test_markup_in_what_is_given_stays_text(report: Report) -> None:
    hostile = replace(
        report,
        title=HOSTILE,
        finding=HOSTILE,
        systems=[replace(report.systems[0], name=HOSTILE, about=HOSTILE)],
        losses={HOSTILE: report.losses["here"]},
        examples=[Example(HOSTILE, {HOSTILE: [Answer(HOSTILE, HOSTILE, 1.0)]})],
        facts={HOSTILE: HOSTILE},
        commands=[HOSTILE],
    )
    assert "script" not in {element.tag.rpartition("}")[2] for element in page_of(hostile).iter()}
    assert text_of(hostile).count(HOSTILE) >= 10


def test_the_best_value_of_each_measure_is_marked(report: Report) -> None:
    marked = ["".join(element.itertext()) for element in page_of(report).iter("strong")]
    assert marked == ["0.412", "0.900", "0.900"]


def test_the_charts_take_their_colours_from_the_page(report: Report) -> None:
    """So that they can be read in light and dark: matplotlib's own black and the stand-ins are gone."""
    charts = re.findall(r"<svg.*?</svg>", render(report), flags=re.DOTALL)
    assert len(charts) == 2
    for chart in charts:
        assert re.findall(r"#0[0-9]0[0-9]0[0-9]|#000000|DejaVu", chart) == []
        assert "var(--ink)" in chart


def test_the_same_report_is_the_same_file(report: Report) -> None:
    assert render(report) == render(report)


def test_a_report_without_losses_or_examples_has_no_empty_section() -> None:
    page = page_of(Report("Title", "Finding", [system("ours", 0.2)]))
    headings = ["".join(element.itertext()) for element in page.iter("h2")]
    assert headings == ["How well each finds", "The same as a picture"]


def test_a_log_without_one_of_the_losses_is_drawn(report: Report) -> None:
    only_ebae = replace(report, losses={"here": [{"step": 1.0, "ebae": 5.0}, {"step": 2.0, "ebae": 4.5}]})
    text = text_of(only_ebae)
    assert "EBAE 4.50" in text
    assert "EBAR 4" not in text


def test_fine_tuning_is_drawn_beside_adaptation_with_its_own_unit(report: Report) -> None:
    tuning = [{"step": 1.0, "loss": 2.5}, {"step": 2.0, "loss": 1.25}]
    text = text_of(replace(report, losses={**report.losses, "on labels": tuning}))
    for part in ("EBAE 7.25", "InfoNCE 1.25", "loss, nats a token", "loss, nats a query"):
        assert part in text
    assert "InfoNCE" not in text_of(report)


def test_a_page_that_cannot_be_written_is_our_error(report: Report, tmp_path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_report(tmp_path / "missing" / "report.html", report)
    assert list(tmp_path.iterdir()) == []
