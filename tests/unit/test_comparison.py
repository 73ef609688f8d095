"""Runs compared on judged queries, against values by hand; and what is refused."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from llara.errors import ConfigError, InputError, OutputError
from llara.evaluate.comparison import compare_files, compare_runs, run_names
from llara.search import write_run

QUERIES = [f"q{number}" for number in range(8)]
QRELS = {query: {"right": 1, "wrong": 0} for query in QUERIES}


def run_with_ranks(ranks, queries=QUERIES):
    """Query by query, a run that finds the relevant document at that rank; 0: not at all."""
    run = {}
    for query, rank in zip(queries, ranks, strict=True):
        documents = [f"d{number}" for number in range(10)]
        if rank:
            documents[rank - 1] = "right"
        run[query] = {document: -float(place) for place, document in enumerate(documents)}
    return run


RANKS = {"good": [1, 1, 1, 1, 2, 1, 1, 2], "fair": [2, 1, 2, 4, 2, 1, 2, 1], "poor": [0, 5, 0, 4, 0, 2, 5, 0]}
RUNS = {name: run_with_ranks(ranks) for name, ranks in RANKS.items()}


def values_by_hand(name):
    return np.array([1 / rank if rank else 0 for rank in RANKS[name]])


def p_by_hand(differences):
    signs = np.array(list(itertools.product((1, -1), repeat=len(differences))))
    return np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)


def test_each_run_is_compared_with_the_first_by_every_measure():
    found = compare_runs(RUNS, QRELS, ["RR@10", "R@3"])
    assert found.num_queries == 8
    assert [(each.measure, each.run, each.against) for each in found.differences] == [
        ("RR@10", "fair", "good"),
        ("RR@10", "poor", "good"),
        ("R@3", "fair", "good"),
        ("R@3", "poor", "good"),
    ]
    p_values = []
    for difference in found.differences[:2]:
        differences = values_by_hand(difference.run) - values_by_hand("good")
        assert difference.difference == pytest.approx(differences.mean())
        assert difference.p_value == pytest.approx(p_by_hand(differences))
        assert difference.effect_size == pytest.approx(differences.mean() / differences.std(ddof=1))
        assert difference.interval[0] < difference.difference < difference.interval[1] < 0.1
        p_values.append(difference.p_value)
    assert p_values[1] < p_values[0]
    assert found.differences[1].p_holm == pytest.approx(2 * p_values[1])
    assert found.differences[0].p_holm == pytest.approx(max(p_values[0], 2 * p_values[1]))
    assert (found.differences[0].wins, found.differences[0].ties, found.differences[0].losses) == (1, 3, 4)


def test_means_and_intervals_are_those_over_all_judged_queries():
    found = compare_runs(RUNS, QRELS, ["RR@10"])
    for summary in found.runs:
        values = values_by_hand(summary.name)
        assert summary.means["RR@10"] == pytest.approx(values.mean())
        low, high = summary.intervals["RR@10"]
        assert values.min() <= low < values.mean() < high <= values.max()
        assert (summary.num_without_hits, summary.num_unjudged) == (0, 0)


def test_of_counts_that_are_added_up_intervals_and_differences_are_those_of_the_sums():
    found = compare_runs(RUNS, QRELS, ["NumRelRet", "NumRet(rel=1)", "NumQ"])
    for summary, relevant in zip(found.runs, (8, 8, 4), strict=True):
        assert summary.means == {"NumRelRet": relevant, "NumRet(rel=1)": relevant, "NumQ": 8}
        low, high = summary.intervals["NumRelRet"]
        assert low < relevant < high if relevant == 4 else low == relevant == high
        assert summary.intervals["NumQ"] == (8, 8)
    difference = found.differences[1]
    assert (difference.run, difference.difference) == ("poor", -4)
    assert -8 <= difference.interval[0] < -4 < difference.interval[1] < 0


def test_any_run_may_be_the_baseline_and_all_pairs_are_corrected_together():
    with_poor = compare_runs(RUNS, QRELS, ["RR@10"], baseline="poor")
    assert [(each.run, each.against) for each in with_poor.differences] == [
        ("good", "poor"),
        ("fair", "poor"),
    ]
    pairs = compare_runs(RUNS, QRELS, ["RR@10"], all_pairs=True).differences
    assert [(each.run, each.against) for each in pairs] == [
        ("fair", "good"),
        ("poor", "good"),
        ("poor", "fair"),
    ]
    least = min(pairs, key=lambda each: each.p_value)
    assert least.p_holm == pytest.approx(3 * least.p_value)
    assert with_poor.differences[0].p_holm == pytest.approx(2 * with_poor.differences[0].p_value)


def test_the_test_is_a_setting():
    by_bootstrap = compare_runs(RUNS, QRELS, ["RR@10"], test="bootstrap")
    assert by_bootstrap.test == "bootstrap"
    assert by_bootstrap.differences[0].p_value != compare_runs(RUNS, QRELS, ["RR@10"]).differences[0].p_value


def test_intervals_are_of_level_one_less_alpha():
    narrow, wide = (compare_runs(RUNS, QRELS, ["RR@10"], alpha=alpha) for alpha in (0.5, 0.01))
    for inner, outer in (
        (narrow.differences[0].interval, wide.differences[0].interval),
        (narrow.runs[0].intervals["RR@10"], wide.runs[0].intervals["RR@10"]),
    ):
        assert outer[0] < inner[0] < inner[1] < outer[1]


def test_queries_that_a_run_lacks_count_zero_and_unjudged_ones_are_left_out_both_counted():
    partial = {**run_with_ranks([1, 1], QUERIES[:2]), "q7": {}, "other": {"right": 1.0}}
    found = compare_runs({"whole": RUNS["good"], "partial": partial}, QRELS, ["RR@10"])
    summary = found.runs[1]
    assert (summary.num_without_hits, summary.num_unjudged) == (6, 1)
    assert summary.means["RR@10"] == pytest.approx(2 / 8)
    assert (found.differences[0].wins, found.differences[0].ties, found.differences[0].losses) == (0, 2, 6)


def test_equal_runs_differ_by_nothing():
    (difference,) = compare_runs({"a": RUNS["good"], "b": RUNS["good"]}, QRELS, ["RR@10"]).differences
    assert (difference.difference, difference.p_value, difference.p_holm) == (0, 1, 1)
    assert (difference.effect_size, difference.ties, difference.interval) == (0, 8, (0, 0))


def test_the_json_holds_everything_and_an_infinite_effect_size_as_null():
    always = {"first": run_with_ranks([1] * 8), "second": run_with_ranks([2] * 8)}
    found = compare_runs(always, QRELS, ["RR@10"])
    assert found.differences[0].effect_size == -math.inf
    content = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert content["format"] == "llara-comparison/1"
    assert (content["num_queries"], content["test"], content["alpha"]) == (8, "randomization", 0.05)
    assert content["runs"][1]["means"] == {"RR@10": 0.5}
    assert content["differences"][0]["effect_size"] is None
    assert content["differences"][0]["p_value"] == 2 / 2**8


def test_the_table_says_what_was_found():
    lines = compare_runs(RUNS, QRELS, ["RR@10"], alpha=0.1).markdown().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["run", "RR@10", "queries without hits", "not judged"]
    assert cells[2][0] == "good"
    assert cells[2][1].startswith("0.8750 [")
    poor = cells[9]
    assert poor[:3] == ["RR@10", "poor", "good"]
    assert poor[3].startswith(f"{values_by_hand('poor').mean() - 0.875:+.4f} [-")
    assert poor[5].endswith("*")  # below alpha, and the other is not
    assert not cells[8][5].endswith("*")
    assert poor[7] == "0 / 0 / 8"
    assert "90% bootstrap" in lines[-1]
    assert "paired randomization" in lines[-1]
    assert len({len(line) for line in lines[:5]}) == 1  # aligned


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ConfigError, match="two runs or more, got 1"):
        compare_runs({"good": RUNS["good"]}, QRELS)
    with pytest.raises(ConfigError, match=r"'best' is none of the runs: good, fair, poor"):
        compare_runs(RUNS, QRELS, baseline="best")
    with pytest.raises(ConfigError, match="exclude each other"):
        compare_runs(RUNS, QRELS, baseline="good", all_pairs=True)
    with pytest.raises(ConfigError, match=r"alpha is 1\.5"):
        compare_runs(RUNS, QRELS, alpha=1.5)
    with pytest.raises(ConfigError, match="randomization, bootstrap"):
        compare_runs(RUNS, QRELS, test="t")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"run b answers none of the 8 judged queries: .*'1'.*'q0'"):
        compare_runs({"a": RUNS["good"], "b": {"1": {"right": 1.0}}}, QRELS)


# -- files


def test_settings_are_checked_before_any_file_is_read(tmp_path):
    absent = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(ConfigError, match="nDGC"):
        compare_files(absent, tmp_path / "qrels", measures=["nDGC@10"])
    with pytest.raises(ConfigError, match="alpha"):
        compare_files(absent, tmp_path / "qrels", alpha=0)


@pytest.fixture
def files(tmp_path):
    """Three run files, two of the same name, and judgements in three formats."""
    paths = {
        "good": tmp_path / "one" / "run.trec",
        "fair": tmp_path / "two" / "run.trec",
        "poor": tmp_path / "two" / "poor.trec",
    }
    for name, path in paths.items():
        path.parent.mkdir(exist_ok=True)
        write_run(path, RUNS[name], "tag")
    rows = [(query, document, relevance) for query in QRELS for document, relevance in QRELS[query].items()]
    (tmp_path / "beir" / "qrels").mkdir(parents=True)
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
    for split in ("dev", "test"):
        half = lines if split == "test" else lines[:5]
        (tmp_path / "beir" / "qrels" / f"{split}.tsv").write_text("\n".join(half) + "\n")
    (tmp_path / "plain.txt").write_text("\n" + "".join(f"{q} 0 {d} {r}\n" for q, d, r in rows))
    (tmp_path / "tabs.tsv").write_text("".join(f"{q}\t0\t{d}\t{r}\n" for q, d, r in rows))
    return paths


@pytest.mark.parametrize("judgements", ["beir", "beir/qrels/test.tsv", "plain.txt", "tabs.tsv"])
def test_run_files_compare_as_the_runs_do_whatever_format_the_judgements_have(files, tmp_path, judgements):
    found = compare_files(list(files.values()), tmp_path / judgements, measures=["RR@10"])
    names = {"good": "one/run.trec", "fair": "two/run.trec", "poor": "poor.trec"}
    assert found == compare_runs({names[name]: RUNS[name] for name in RUNS}, QRELS, ["RR@10"])


def test_a_directory_of_judgements_is_asked_for_the_split(files, tmp_path):
    found = compare_files(list(files.values()), tmp_path / "beir", split="dev", measures=["RR@10"])
    assert (found.num_queries, found.runs[0].num_unjudged) == (2, 6)
    with pytest.raises(InputError, match=r"no split 'train'.*dev, test"):
        compare_files(list(files.values()), tmp_path / "beir", split="train")


def test_the_baseline_may_be_one_of_the_files_or_one_more(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good, fair, poor = files.values()
    qrels = tmp_path / "beir"
    among = compare_files([good, fair], qrels, measures=["RR@10"], baseline=Path("two/run.trec"))
    assert [(each.run, each.against) for each in among.differences] == [("one/run.trec", "two/run.trec")]
    beside = compare_files([good, fair], qrels, measures=["RR@10"], baseline=poor)
    assert [each.against for each in beside.differences] == ["poor.trec", "poor.trec"]


def test_the_json_is_written_once(files, tmp_path):
    out = tmp_path / "comparison.json"
    found = compare_files(list(files.values()), tmp_path / "beir", measures=["RR@10"], out=out)
    assert out.read_text() == found.to_json()
    with pytest.raises(OutputError, match="--overwrite"):
        compare_files(list(files.values()), tmp_path / "beir", out=out)
    compare_files(list(files.values()), tmp_path / "beir", measures=["R@3"], out=out, overwrite=True)
    assert "R@3" in out.read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q0 Q0 d1 2 nan tag", r"run\.trec:2: score 'nan'"),
        ("q0 Q0 d1 2 0.5", r"run\.trec:2: 5 columns"),
        ("q0 Q0 right 2 0.5 tag", r"run\.trec:2: document 'right' occurs twice"),
    ],
)
def test_a_bad_line_of_a_run_is_refused_with_its_place(files, tmp_path, line, message):
    files["fair"].write_text(f"q0 Q0 right 1 1.0 tag\n{line}\n")
    with pytest.raises(InputError, match=message):
        compare_files(list(files.values()), tmp_path / "beir")


def test_an_empty_run_and_bad_judgements_are_refused_with_their_place(files, tmp_path):
    runs = list(files.values())
    bad = tmp_path / "bad.txt"
    for text, message in (
        ("q0 0 right 1\nq0 0 wrong one\n", r"bad\.txt:2: 'q0 0 wrong one' is no judgement"),
        ("q0 0 right 1\nq0 0 right 0\n", r"bad\.txt:2: .* judged otherwise above"),
        ("q0 right 1\n", r"bad\.txt:1: 'q0 right 1' is no judgement"),
        ("", "no judgement"),
    ):
        bad.write_text(text)
        with pytest.raises(InputError, match=message):
            compare_files(runs, bad)
    with pytest.raises(InputError, match="absent"):
        compare_files([*runs, tmp_path / "absent"], tmp_path / "beir")
    files["fair"].write_text("\n")
    with pytest.raises(InputError, match=r"two/run\.trec answers none of the 8 .* it has none"):
        compare_files(runs, tmp_path / "beir")


def test_runs_are_named_by_the_shortest_ends_of_their_paths_that_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [Path("a/x/run"), Path("b/x/run"), Path("b/y/run"), Path("run"), Path("b/bm25")]
    names = [*("a/x/run", "b/x/run", "y/run"), f"{tmp_path.name}/run", "bm25"]
    assert run_names(paths) == names
    with pytest.raises(ConfigError, match=r"a/\.\./run is given twice"):
        run_names([Path("run"), Path("a/../run")][::-1])
