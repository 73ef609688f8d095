"""Charts as files: the same from run to run, what was given is in them, and they can be read on any paper."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from llara.errors import InputError, OutputError
from llara.report.figures import Points, Value, bars, lines
from llara.report.svg import COLOURS, ON_ANY_PAPER

BARS: dict[str, dict[str, Value]] = {
    "SQuAD & co": {"base": (0.2, 0.15, 0.25), "both": 0.4},
    "CISI": {"both": [0.3, 0.25, 0.35]},
}
PANELS: dict[str, dict[str, Points]] = {
    "SQuAD": {"EBAE": {0: (0.1, 0.1, 0.1), 100: (0.2, 0.1, 0.3)}},
    "CISI": {"both": {0: 0.2, 100: 0.4}},
}


def elements(path, tag):
    root = ElementTree.parse(path).getroot()
    return [element for element in root.iter() if element.tag.rpartition("}")[2] == tag]


def texts(path):
    return ["".join(element.itertext()) for element in elements(path, "text")]


def test_names_and_axes_are_text_in_the_file(tmp_path):
    bars(tmp_path / "bars.svg", BARS, measure="nDCG@10")
    assert {"SQuAD & co", "CISI", "base", "both", "nDCG@10"} <= set(texts(tmp_path / "bars.svg"))
    lines(tmp_path / "lines.svg", PANELS, x="steps", y="R@100")
    assert {"SQuAD", "CISI", "EBAE", "both", "steps", "R@100"} <= set(texts(tmp_path / "lines.svg"))


def test_bars_are_as_high_as_their_values(tmp_path):
    bars(tmp_path / "bars.svg", BARS, measure="nDCG@10")
    heights = []
    for element in elements(tmp_path / "bars.svg", "path"):
        drawn = [tuple(map(float, point)) for point in re.findall(r"[ML] (\S+) (\S+)", element.get("d", ""))]
        colour = re.search(r"fill: (#\w+)", element.get("style", ""))
        if colour and "clip-path" in element.attrib and len(drawn) == 4:
            y_axis = [y for _, y in drawn]
            heights.append((colour[1], max(y_axis) - min(y_axis)))
    base, both = (ON_ANY_PAPER[colour] for colour in COLOURS[:2])
    assert [colour for colour, _ in heights] == [base, both, both]
    unit = heights[0][1] / 0.2
    assert [height / unit for _, height in heights] == pytest.approx([0.2, 0.4, 0.3], rel=1e-4)


def test_a_line_runs_through_its_points_from_left_to_right(tmp_path):
    lines(tmp_path / "lines.svg", {"": {"EBAE": {0: 0.0, 100: 1.0, 50: 0.25}}}, x="steps", y="R@100")
    found = []
    for element in elements(tmp_path / "lines.svg", "path"):
        style = element.get("style", "")
        if "clip-path" in element.attrib and f"stroke: {ON_ANY_PAPER[COLOURS[0]]}" in style:
            found.append(
                [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", element.get("d", ""))]
            )
    (line,) = found
    (x0, y0), (x1, y1), (x2, y2) = line
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.5)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.25, rel=1e-4)


def test_a_line_has_one_colour_in_all_panels_and_one_place_in_the_legend(tmp_path):
    panels: dict[str, dict[str, Points]] = {
        "a": {"EBAE": {0: 1.0, 1: 2.0}},
        "b": {"both": {0: 1.0, 1: 2.0}, "EBAE": {0: 2.0, 1: 3.0}},
    }
    lines(tmp_path / "lines.svg", panels, x="steps", y="loss")
    assert texts(tmp_path / "lines.svg").count("EBAE") == 1
    assert texts(tmp_path / "lines.svg").count("both") == 1
    strokes = re.findall(
        r"clip-path=\"[^\"]*\" style=\"[^\"]*stroke: (#\w+)", (tmp_path / "lines.svg").read_text()
    )
    first, second = (ON_ANY_PAPER[colour] for colour in COLOURS[:2])
    assert [stroke for stroke in strokes if stroke in (first, second)] == [first, second, first]


def test_the_same_chart_is_the_same_file_in_another_process_with_another_matplotlibrc(tmp_path):
    bars(tmp_path / "bars.svg", BARS, measure="nDCG@10")
    lines(tmp_path / "lines.svg", PANELS, x="steps", y="R@100")
    code = (
        "import matplotlib, pathlib, sys; matplotlib.rcParams.update({'font.size': 20});"
        "from llara.report.figures import bars, lines;"
        f"bars(pathlib.Path('again_bars.svg'), {BARS!r}, measure='nDCG@10');"
        f"lines(pathlib.Path('again_lines.svg'), {PANELS!r}, x='steps', y='R@100')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    for name in ("bars.svg", "lines.svg"):
        assert (tmp_path / f"again_{name}").read_bytes() == (tmp_path / name).read_bytes()
        assert re.findall(r"<dc:date|\d{4}-\d\d-\d\d|Matplotlib v", (tmp_path / name).read_text()) == []


def luminance(colour):
    """WCAG 2.1's relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("paper", ["#ffffff", "#0d1117"])  # GitHub's white and its dark
def test_every_colour_stands_out_from_white_and_from_dark(paper):
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert {
        colour: contrast(colour, paper) for colour in ON_ANY_PAPER.values() if contrast(colour, paper) < 3
    } == {}


def test_files_hold_no_stand_in_and_no_black(tmp_path):
    bars(tmp_path / "bars.svg", BARS, measure="nDCG@10")
    lines(tmp_path / "lines.svg", PANELS, x="steps", y="R@100")
    for name in ("bars.svg", "lines.svg"):
        assert re.findall(r"#0[0-9]0[0-9]0[0-9]|#000000|var\(", (tmp_path / name).read_text()) == []


def test_nothing_to_draw_is_told(tmp_path):
    empty: list[dict[str, dict[str, Value]]] = [{}, {"SQuAD": {}}]
    for values in empty:
        with pytest.raises(InputError, match="nothing to draw"):
            bars(tmp_path / "x.svg", values, measure="nDCG@10")
    with pytest.raises(InputError, match="nothing to draw"):
        lines(tmp_path / "x.svg", {"SQuAD": {"EBAE": {}}}, x="steps", y="R@100")
    with pytest.raises(OutputError, match="cannot write"):
        bars(tmp_path / "missing" / "x.svg", BARS, measure="nDCG@10")
    assert list(tmp_path.iterdir()) == []
