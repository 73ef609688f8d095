"""A page is one well-formed file that needs nothing else, says what it was given, and costs no result."""

import re
import xml.etree.ElementTree as ElementTree
from functools import cache
from pathlib import Path

import pytest

from llara import report
from llara.errors import OutputError
from llara.report import (
    Answer,
    Block,
    Cell,
    Charts,
    Column,
    Commands,
    Curve,
    Curves,
    Details,
    Example,
    Facts,
    Heading,
    Histogram,
    Interval,
    Intervals,
    KeyFigures,
    Report,
    Row,
    Section,
    Table,
    Text,
    leave_report,
    render,
    write_report,
)
from llara.report.charts import thinned
from llara.report.runs import loss_charts, pace_chart

HOSTILE = "<i>'1'&\"$x$ ]]>\u7ffc"


def every_block(word: str) -> Report:
    """A page with every kind of block, in which every text is ``word``."""
    interval = Interval(0.4, 0.3, 0.5)
    blocks: list[Block] = [
        Heading(word),
        Text([word]),
        Text([word], is_faint=True),
        KeyFigures({word: word}),
        Facts({word: word}),
        Table(word, word, [Column(word)], [Row(word, [Cell(word, word)], about=word)], notes=[word]),
        Charts([Curves(word, [Curve(word, [(1, 2.0), (2, 1.0)], marked=(2, word))], word, word)]),
        Charts([Histogram(word, [-1, 0, 1], [2, 3], word, word, is_signed=True)]),
        Charts([Intervals(word, {word: {word: interval}}, ours=[word])]),
        Charts([Intervals(word, {word: {word: interval}, "other": {"other": interval}})]),
        Commands([word]),
        Example(word, {word: [Answer(word, word, word, is_relevant=True)]}, {word: word}),
        Example(word, {word: [Answer(word, word)]}, {word: word}, change=-0.25),
        Details(word, [Text([word])]),
    ]
    return Report(word, word, [Section(word, blocks)], {word: word})


@cache
def every_block_html(word: str) -> str:
    return render(every_block(word))


def html_of(given: Report | str) -> str:
    """The page of a report, or of every kind of block with a word."""
    return every_block_html(given) if isinstance(given, str) else render(given)


def page_of(given: Report | str) -> ElementTree.Element:
    doctype, _, rest = html_of(given).partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def text_of(given: Report | str) -> str:
    return " ".join("".join(page_of(given).itertext()).split())


def charts_of(given: Report | str) -> list[str]:
    return re.findall(r"<svg.*?</svg>", html_of(given), flags=re.DOTALL)


def test_every_kind_of_block_is_on_the_page() -> None:
    assert text_of("winglet").count("winglet") >= 45
    assert len(charts_of("winglet")) == 4


def test_the_page_needs_no_other_file_and_runs_nothing() -> None:
    page = page_of("winglet")
    tags = {element.tag.rpartition("}")[2] for element in page.iter()}
    assert tags.isdisjoint({"script", "link", "img", "iframe", "image"})
    for element in page.iter():
        for name, value in element.attrib.items():
            is_reference = name.rpartition("}")[2] in ("href", "src")
            assert not is_reference or value.startswith("#"), f"{element.tag} {name}={value}"
    assert re.findall(r"url\((?!#)|@import", html_of("winglet")) == []


def test_markup_in_what_is_given_stays_text_wherever_it_stands() -> None:
    plain, hostile = "winglet", HOSTILE
    assert [element.tag for element in page_of(hostile).iter()] == [e.tag for e in page_of(plain).iter()]
    assert text_of(hostile).count(HOSTILE) == text_of(plain).count("winglet")


@pytest.mark.parametrize(
    "word", ["a\x00b\x1bc", "half \ud800 pair", "_hidden", "$", "\uffff", "\U0001f600", ""]
)
def test_no_character_breaks_the_page(word: str) -> None:
    page_of(word)


def test_names_that_matplotlib_would_hide_are_in_the_legend() -> None:
    values = {"a": {"_one": Interval(0.5, 0.4, 0.6)}, "b": {"_one": Interval(0.5, 0.4, 0.6)}}
    assert "_one" in text_of(Report("", "", [Section("", [Charts([Intervals("R@1", values)])])]))


def test_the_charts_take_their_colours_from_the_page() -> None:
    """So that they can be read in light and dark: matplotlib's own black and the stand-ins are gone."""
    for chart in charts_of("winglet"):
        assert re.findall(r"#0[0-9]0[0-9]0[0-9]|#000000|DejaVu", chart) == []
        assert "var(--ink)" in chart


def test_an_id_stands_for_one_thing_and_every_reference_has_its_target() -> None:
    html = html_of("winglet")
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([\w-]+)', html)) <= set(ids)


def test_the_same_report_is_the_same_file() -> None:
    assert render(every_block("winglet")) == html_of("winglet")


def test_a_section_without_blocks_is_left_out() -> None:
    page = page_of(Report("T", "F", [Section("empty", []), Section("full", [Text(["said"])])]))
    assert ["".join(element.itertext()) for element in page.iter("h2")] == ["full"]


def test_facts_without_a_value_are_left_out() -> None:
    text = text_of(Report("T", "F", [Section("s", [Facts({"GPU": "", "Machine": "a big one"})])]))
    assert "Machine" in text
    assert "GPU" not in text


def test_better_and_worse_are_told_apart_without_colours() -> None:
    text = text_of(Report("T", "F", [Section("s", [Example("q", {}, change=c) for c in (0.25, -0.5)])]))
    assert "+0.250 q" in text
    assert "-0.500 q" in text


def test_losses_of_adaptation_and_fine_tuning_have_their_own_names_and_units() -> None:
    adapted = [{"step": float(n), "loss": 8.0, "ebae": 9.25 - n, "ebar": 9.75 - n} for n in range(3)]
    tuned = [{"step": 1.0, "loss": 2.5}, {"step": 2.0, "loss": 1.25}]
    text = text_of(
        Report("", "", [Section("s", loss_charts({"here": adapted, "on labels": tuned, "no": []}))])
    )
    for part in (
        "here",
        "EBAE 7.25",
        "EBAR 7.75",
        "InfoNCE 1.25",
        "loss, nats a token",
        "loss, nats a query",
    ):
        assert part in text
    assert "next token" not in text
    only_ebae = text_of(Report("", "", [Section("s", loss_charts({"here": [{"step": 1.0, "ebae": 5.0}]}))]))
    assert "EBAE 5.00" in only_ebae
    assert "EBAR 5" not in only_ebae
    assert loss_charts({"no": []}) == []


@pytest.mark.parametrize("steps", [[6.0], [1.0, 2.0], [6.0, 8.0], [0.0, 1000.0]])
def test_steps_on_the_axis_are_whole(steps: list[float]) -> None:
    curves = Curves("T", [Curve("a", [(step, 0.5) for step in steps])], "step", "y")
    (chart,) = charts_of(Report("", "", [Section("s", [Charts([curves])])]))
    (axis,) = re.findall(r'matplotlib\.axis_1">(.*?)matplotlib\.axis_2">', chart, flags=re.DOTALL)
    ticks = re.findall(r"<text[^>]*>([^<]*)</text>", axis)
    assert "step" in ticks
    assert len(ticks) > len(steps[1:])
    assert [tick for tick in ticks if "." in tick] == []


def test_a_curve_is_smoothed_only_where_there_is_enough_of_it() -> None:
    def lines(number: int) -> int:
        curves = Curves("T", [Curve("a", [(n, n % 7) for n in range(number)])], "step", "y")
        (chart,) = charts_of(Report("", "", [Section("s", [Charts([curves])])]))
        return len(
            re.findall(r'<path d="[^"]*" clip-path="[^"]*" style="fill: none; stroke: var\(--chart1', chart)
        )

    assert (lines(5), lines(60)) == (1, 2)


def test_thinned_points_keep_the_mean_and_the_number_asked_for() -> None:
    points = [(float(n), float((7 * n) % 11)) for n in range(1000)]
    found = thinned(points, most=250)
    assert len(found) == 250
    assert found[1] == (5.5, sum(y for _, y in points[4:8]) / 4)
    assert thinned(points, most=1000) == points


def test_pace_is_what_was_read_between_two_entries_by_the_time_between() -> None:
    seconds = [(1.0, 2.0), (3.0, 4.0), (5.0, 9.0), (6.0, 9.0)]
    (chart,) = pace_chart(seconds, {1: 100, 3: 300, 5: 400, 6: 500}, "tokens")
    assert chart.curves[0].points == [(3, 100.0), (5, 20.0)]
    assert pace_chart(seconds[:1], {1: 100}, "tokens") == []


def test_a_long_run_costs_no_large_page() -> None:
    log = [{"step": float(n), "ebae": 5 + (n % 13) / 13, "ebar": 5.0, "lm": 4.0} for n in range(100_000)]
    assert len(render(Report("", "", [Section("s", loss_charts({"here": log}))]))) < 150_000


def test_a_page_that_cannot_be_written_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_report(tmp_path / "missing" / "report.html", every_block("winglet"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("reason", ["a chart", "the disk"])
def test_a_page_that_fails_is_said_and_costs_nothing(
    reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def make() -> Report:
        if reason == "a chart":
            raise ZeroDivisionError("in a chart")
        return every_block("winglet")

    path = tmp_path / "missing" / report.REPORT
    assert leave_report(path, make) is False
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("warning: no report.html was written (")
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
