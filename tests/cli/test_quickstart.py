"""The quickstart, whole but small: its numbers are those that the other commands give for what it leaves."""

import contextlib
import html
import io
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llara.datasets import read_training
from llara.errors import ConfigError, OutputError
from llara.evaluate import evaluate, evaluate_run
from llara.model import convert, fingerprint
from llara.quickstart import quickstart
from llara.quickstart.flow import QUESTIONS
from llara.quickstart.summary import ADAPTED, BASE, BM25, FINETUNED, MEASURES, MINI, PAIRS
from llara.search import Searcher, read_run

ROWS = {BASE: "base", MINI: "mini", ADAPTED: "adapted", FINETUNED: "finetuned"}


def small(out: Path, model: Path, **changes: Any) -> Path:
    settings: dict[str, Any] = {
        "overrides": ["training.max_steps=3", "objective.center_samples=64"],
        "num_passages": 120,
        "num_test_queries": 12,
    }
    return quickstart(out, adapted=str(model), **{**settings, **changes})


@pytest.fixture(scope="module")
def unadapted(tmp_path_factory) -> Path:
    """Stands for the shipped adapted model: the shipped base as a retriever."""
    return convert("llara-mini-base", tmp_path_factory.mktemp("models") / "mini")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, unadapted) -> SimpleNamespace:
    """A quickstart and what it said."""
    out = tmp_path_factory.mktemp("quickstart") / "run"
    stdout, stderr = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        report = small(out, unadapted)
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    systems = {system["name"]: system for system in results["systems"]}
    return SimpleNamespace(
        out=out,
        report=report,
        results=results,
        systems=systems,
        stdout=stdout.getvalue(),
        stderr=stderr.getvalue(),
    )


def test_each_row_is_a_model_directory_that_evaluates_to_its_numbers(finished) -> None:
    for row, name in ROWS.items():
        model, dataset = finished.out / name, finished.out / "collection"
        [again] = evaluate(models=[str(model)], datasets=[dataset], measures=MEASURES)
        assert again.metrics == pytest.approx(finished.systems[row]["metrics"], abs=1e-6)


def test_bm25_is_that_of_evaluate(finished) -> None:
    [again] = evaluate(models=["bm25"], datasets=[finished.out / "collection"], measures=MEASURES)
    assert again.metrics == finished.systems[BM25]["metrics"]


def test_the_run_files_hold_what_was_measured(finished) -> None:
    lines = (finished.out / "collection" / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    qrels = {query: {document: int(score)} for query, document, score in (line.split("\t") for line in lines)}
    assert len(qrels) == 12
    for row, name in {**ROWS, BM25: "bm25"}.items():
        metrics, _ = evaluate_run(read_run(finished.out / "runs" / f"{name}.trec"), qrels, MEASURES)
        assert metrics == finished.systems[row]["metrics"]


def test_adaptation_changed_the_model_and_its_losses_are_kept(finished) -> None:
    weights = {name: (finished.out / name / "model.safetensors").read_bytes() for name in ("mini", "adapted")}
    assert weights["mini"] != weights["adapted"]
    log = finished.results["losses"]["further, on this documentation"]
    assert log
    assert all(entry["ebae"] > 0 and "ebar" not in entry for entry in log)


def test_fine_tuning_changed_the_adapted_model_and_its_loss_is_kept(finished) -> None:
    names = ("adapted", "finetuned")
    weights = {name: (finished.out / name / "model.safetensors").read_bytes() for name in names}
    assert weights["adapted"] != weights["finetuned"]
    log = finished.results["losses"]["on labels"]
    assert log
    assert all(entry["loss"] > 0 for entry in log)


def test_negatives_are_mined_for_the_training_queries_alone(finished) -> None:
    qrels = (finished.out / "collection" / "qrels" / "train.tsv").read_text(encoding="utf-8")
    pairs = [line.split("\t")[:2] for line in qrels.splitlines()[1:]]
    mined = list(read_training(finished.out / "negatives.jsonl"))
    assert [(e.query_id, *(d.id for d in e.positives)) for e in mined] == [tuple(pair) for pair in pairs]
    for example in mined:
        assert example.negatives
        assert {document.id for document in example.positives}.isdisjoint(d.id for d in example.negatives)
    facts = json.loads((finished.out / "negatives.mining.json").read_text(encoding="utf-8"))
    assert facts["fingerprint"] == fingerprint(str(finished.out / "adapted"))


def test_every_pair_worth_comparing_is_compared(finished) -> None:
    assert {(FINETUNED, ADAPTED), (FINETUNED, BM25), (ADAPTED, BASE)} <= set(PAIRS)
    found = {(each["first"], each["second"]): each for each in finished.results["comparisons"]}
    assert set(found) == set(PAIRS)
    for (first, second), each in found.items():
        means = [finished.systems[row]["metrics"]["nDCG@10"] for row in (first, second)]
        assert each["difference"] == pytest.approx(means[0] - means[1])
        assert f"{first} against {second}: nDCG@10 {each['difference']:+.3f}" in finished.stdout


def test_the_index_answers_the_questions_as_reported(finished) -> None:
    for row in (ADAPTED, FINETUNED):
        searcher = Searcher.open(finished.out / "index" / ROWS[row])
        hits = searcher.search(QUESTIONS, 3)
        for found, example in zip(hits, finished.results["questions"], strict=True):
            assert [hit.id for hit in found] == [hit["id"] for hit in example["answers"][row]]


def test_the_table_is_on_stdout_and_what_to_type_next_on_stderr(finished) -> None:
    for name, system in finished.systems.items():
        (line,) = [line for line in finished.stdout.splitlines() if line.startswith(f"{name}  ")]
        assert [float(cell) for cell in line.removeprefix(name).split()[:3]] == pytest.approx(
            list(system["metrics"].values()), abs=5e-4
        )
    for question in QUESTIONS:
        assert f"? {question}" in finished.stdout
    assert f'llara search --index {finished.out}/index/finetuned "' in finished.stderr
    assert "[1/7]" in finished.stderr
    assert "[7/7]" in finished.stderr


def test_the_report_says_the_same_numbers(finished) -> None:
    page = finished.report.read_text(encoding="utf-8")
    for system in finished.systems.values():
        low, high = system["intervals"]["nDCG@10"]
        assert f"{low:.3f} to {high:.3f}" in page
        assert f"{system['metrics']['nDCG@10']:.3f}" in page


def test_the_report_shows_the_queries_that_changed_most(finished) -> None:
    def values(directory: str) -> dict[str, float]:
        run, dataset = f"run:{finished.out}/runs/{directory}.trec", finished.out / "collection"
        [found] = evaluate(models=[run], datasets=[dataset])
        return found.per_query[MEASURES[0]]

    page = finished.report.read_text(encoding="utf-8")
    base, adapted, tuned = map(values, ("base", "adapted", "finetuned"))
    expected = []
    for before, after in ((base, adapted), (adapted, tuned)):
        changes = sorted(after[query] - before[query] for query in before)
        expected += [each for each in reversed(changes[-3:]) if each > 0] + [c for c in changes[:3] if c < 0]
    shown = re.findall(r"<details class='example'><summary><b [^>]*>([+-][0-9.]+)</b>", page)
    assert shown == [f"{each:+.3f}" for each in expected]


def test_nothing_is_left_that_is_not_said(finished) -> None:
    assert sorted(path.name for path in finished.out.iterdir()) == [
        "adapted", "base", "collection", "corpus", "finetuned", "index", "mini", "negatives.jsonl",
        "negatives.mining.json", "report.html", "results.json", "runs",
    ]  # fmt: skip


def test_the_page_holds_all_settings_as_recipes(finished) -> None:
    page = html.unescape((finished.out / "report.html").read_text(encoding="utf-8"))
    for table in ("[adapt]", "[mine]", "[finetune]", "[finetune.contrast]"):
        assert table in page


def test_a_second_run_replaces_the_first_and_gives_the_same_numbers(tmp_path, unadapted, finished) -> None:
    shutil.copytree(finished.out, tmp_path / "run")
    report = tmp_path / "run" / "report.html"
    report.write_text("old", encoding="utf-8")
    left = [tmp_path / "run" / f"{name}.partial" for name in ("adapted", "finetuned")]
    for directory in left:
        directory.mkdir()  # of a run that was killed
    small(tmp_path / "run", unadapted)
    second = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))
    assert second["systems"] == finished.results["systems"]
    assert report.read_text(encoding="utf-8") != "old"
    assert not any(directory.exists() for directory in left)


def test_a_directory_of_somebody_else_is_refused_untouched(tmp_path, unadapted) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "results.json").write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(OutputError, match="is not empty"):
        small(tmp_path, unadapted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "results.json"]
    assert (tmp_path / "results.json").read_text(encoding="utf-8") == '{"mine": 1}'


def test_a_wrong_setting_is_refused_before_anything_is_written(tmp_path, unadapted) -> None:
    with pytest.raises(ConfigError, match="max_steps"):
        small(tmp_path / "run", unadapted, overrides=["training.max_step=3"])
    assert list(tmp_path.iterdir()) == []
