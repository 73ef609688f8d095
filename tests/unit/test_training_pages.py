"""What the pages about trained models say, from logs and settings written by hand."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llara.adapt.page import Reading
from llara.adapt.page import page as adaptation_page
from llara.config import AdaptConfig, FinetuneConfig
from llara.finetune.page import best_step, mined_before
from llara.finetune.page import page as finetuning_page
from llara.model import MINI, resolve
from llara.report import Curves, Report, Section, render
from llara.report.blocks import Charts
from llara.report.runs import loss_charts
from llara.settings import apply_overrides

VERSIONS = {"llara": "1.2.3", "torch": "9.9"}


def words_of(page: Report) -> str:
    root = ElementTree.fromstring(render(page).partition("\n")[2])
    return " ".join(" ".join(root.itertext()).split())


def facts_of(page: Report) -> dict[str, str]:
    root = ElementTree.fromstring(render(page).partition("\n")[2])
    return {
        str(name.text): "".join(value.itertext())
        for name, value in zip(root.iter("dt"), root.iter("dd"), strict=True)
    }


def curves_of(page: Report) -> list[Curves]:
    charts = [block for section in page.sections for block in section.blocks if isinstance(block, Charts)]
    return [chart for block in charts for chart in block.charts if isinstance(chart, Curves)]


@pytest.fixture
def reading() -> Reading:
    return Reading(np.array([5, 40, 20, 30]), np.array([1, 3, 2, 1, 2, 3]), step_size=2)


def adapted(reading: Reading, *overrides: str, **corpus: Any) -> Report:
    log: list[dict[str, float]] = [
        {"step": 1, "ebae": 9.0, "ebar": 9.5, "loss": 9.25, "learning_rate": 0.0, "seconds": 2.0},
        {"step": 2, "ebae": 8.5, "ebar": 9.6, "loss": 9.05, "learning_rate": 1e-3, "seconds": 3.0},
        {"step": 3, "ebae": 8.0, "ebar": 9.7, "loss": 8.85, "learning_rate": 0.0, "seconds": 7.0},
    ]
    training = {
        "base": "a/base",
        "corpus": {"sources": ["docs.jsonl"], "with_successor": 2, **corpus},
        "segments": 4,
        "tokens": 95,
        "steps": 3,
        "versions": VERSIONS,
        "log": log,
    }
    config = apply_overrides(AdaptConfig(), overrides)
    return adaptation_page(training, config, reading, log=log, run={"Machine": "M"}, out=Path("out"))


def test_tokens_read_are_those_of_the_segments_in_the_order_of_the_run(reading: Reading) -> None:
    # steps of two: segments 1 and 3, then 2 and 1, then 2 and 3
    assert reading.tokens([1, 2, 3]) == {1: 70.0, 2: 130.0, 3: 180.0}


def test_the_page_of_an_adaptation_says_what_was_read_and_learned(reading: Reading) -> None:
    page = adapted(reading, "training.max_steps=3", documents=2, skipped=1)
    facts = facts_of(page)
    assert "EBAE fell from 9.00 to 8.00 and EBAR rose from 9.50 to 9.70 nats a token" in page.finding
    assert "over 3 steps and 180 tokens" in page.finding
    assert facts["tokens a second"] == "26"  # 180 in 7 seconds
    assert facts["Documents"] == "2"
    assert facts["Bad lines left out"] == "1"
    assert facts["Segments"] == "4; another follows 2 of them"
    assert facts["Too short to train on"] == "1 segments of fewer than 8 tokens"
    assert facts["Read in training"] == "1.89 times"  # 180 of 95
    assert facts["Versions"] == "llara 1.2.3, torch 9.9"
    pace = next(chart for chart in curves_of(page) if chart.title == "Tokens a second")
    assert pace.curves[0].points == [(2, 60.0), (3, 12.5)]


def test_what_nobody_counted_is_not_said(reading: Reading) -> None:
    """As with a tokenized corpus that an earlier version kept."""
    assert {"Documents", "Bad lines left out"}.isdisjoint(facts_of(adapted(reading)))


def test_settings_that_are_not_the_defaults_stand_out_and_all_can_be_used_again(reading: Reading) -> None:
    import tomllib

    page = adapted(reading, "training.max_steps=3", "objective.ebar=false")
    root = ElementTree.fromstring(render(page).partition("\n")[2])
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")][1:]
    assert [row[1:] for row in rows] == [["false", "true"], ["3", "1000"]]
    assert [
        row[0].startswith(name)
        for row, name in zip(rows, ("objective.ebar", "training.max_steps"), strict=True)
    ]
    recipe = next(code.text for code in root.iter("code") if code.text and code.text.startswith("[adapt]"))
    table = tomllib.loads(recipe)["adapt"]
    assert table["training"]["max_steps"] == 3
    assert table["objective"]["ebar"] is False
    assert "All settings are the defaults." in words_of(adapted(reading))


def tuned(log: list[dict[str, float]], *overrides: str, **others: Any) -> Report:
    training = {
        "model": "start",
        "sources": [{"data": "a.jsonl", "queries": 20}, {"data": "b.jsonl", "queries": 10}],
        "queries": 30,
        "passages": 77,
        "negatives_a_query": 2.5,
        "steps": 4,
        "queries_per_step": 6,
        "versions": VERSIONS,
        "log": log,
        **others,
    }
    config = apply_overrides(FinetuneConfig(), overrides)
    return finetuning_page(training, config, log=log, run={}, out=Path("out"), mined=others.get("before", ()))


def test_the_best_of_equal_held_out_values_is_the_first_as_the_trainer_keeps_it() -> None:
    log: list[dict[str, float]] = [
        {"step": step, "held_out": value} for step, value in ((2, 0.25), (4, 0.5), (6, 0.5))
    ]
    assert best_step(log) == (4, 0.5)
    assert best_step([{"step": 1, "loss": 2.0}]) is None


def test_the_page_of_a_fine_tuning_marks_the_best_checkpoint_and_says_how_fast_it_went() -> None:
    page = tuned(
        [
            {"step": 2, "loss": 3.0, "seconds": 1.0},
            {"step": 2, "held_out": 0.5},
            {"step": 4, "loss": 2.0, "seconds": 5.0},
            {"step": 4, "held_out": 0.25},
        ],
        "held_out.measure=RR@10",
        held_out={"queries": 3, "passages": 50},
    )
    assert page.finding == (
        "InfoNCE fell from 3.00 to 2.00 nats a query over 4 steps of 6 queries."
        " RR@10 on queries held out was best at step 2: 0.500."
    )
    facts = facts_of(page)
    assert facts["Sources"] == "a.jsonl: 20 queries; b.jsonl: 10 queries"
    assert facts["Held out"] == "3 queries among 50 passages"
    assert facts["queries a second"] == "4.8"  # 24 in 5 seconds
    held = next(chart for chart in curves_of(page) if chart.title == "Queries held out")
    assert held.curves[0].marked == (2, "0.500 at step 2, kept")
    assert "0.500 at step 2, kept" in words_of(page)


def test_small_losses_are_told_apart() -> None:
    log: list[dict[str, float]] = [{"step": 2, "loss": 0.01092}, {"step": 4, "loss": 0.007713}]
    page = tuned(log)
    assert page.finding.startswith("InfoNCE fell from 0.0109 to 0.00771 nats a query")
    assert facts_of(page)["loss, last"] == "0.00771"
    assert "InfoNCE 0.00771" in words_of(page)
    close: list[dict[str, float]] = [{"step": 2, "loss": 3.00049}, {"step": 4, "loss": 3.00012}]
    assert tuned(close).finding.startswith("InfoNCE fell from 3.0005 to 3.0001 nats a query")


def test_every_round_has_its_own_curves_and_its_own_column_of_mining() -> None:
    log: list[dict[str, float]] = [
        {"round": n, "step": step, "loss": 5.0 - n} for n in (1, 2) for step in (1, 2)
    ]
    counts = {"candidates": 40, "known positive": 30, "kept": 10}
    mining = [{"round": n, "data": ["/far/train.jsonl"], "counts": counts} for n in (1, 2)]
    page = tuned(log, "rounds=2", mining=mining)
    assert [chart.title for chart in curves_of(page)] == ["Loss, round 1", "Loss, round 2"]
    words = words_of(page)
    assert "train.jsonl, round 1 train.jsonl, round 2" in words
    assert "known positive 30 30" in words
    assert "in the last of 2 rounds" in page.finding


def test_counts_of_an_earlier_mining_are_found_beside_the_data(tmp_path: Path) -> None:
    (tmp_path / "mined.jsonl").write_text("{}\n", encoding="utf-8")
    counts = {"candidates": 7, "kept": 7}
    (tmp_path / "mined.mining.json").write_text(json.dumps({"counts": counts}), encoding="utf-8")
    found = mined_before([tmp_path / "mined.jsonl", tmp_path / "other.jsonl", "owner/name"])
    assert found == [{"data": [str(tmp_path / "mined.jsonl")], "counts": counts}]


def test_a_loss_that_is_not_infonce_alone_is_not_called_so() -> None:
    log: list[dict[str, float]] = [{"step": 1, "loss": 2.0}]
    alone, distilled = tuned(log), tuned(log, "contrast.distillation=kl")
    assert [page.finding.split()[0] for page in (alone, distilled)] == ["InfoNCE", "loss"]
    assert [curves_of(page)[0].curves[0].name for page in (alone, distilled)] == ["InfoNCE", "loss"]


def test_the_log_that_an_earlier_version_wrote_is_drawn() -> None:
    """The shipped model's, which quickstart shows, has no times and no versions."""
    training = json.loads((Path(resolve(MINI)) / "training.json").read_text(encoding="utf-8"))
    assert "versions" not in training
    words = words_of(Report("", "", [Section("s", loss_charts({"as shipped": training["log"]}))]))
    assert f"EBAE {training['log'][-1]['ebae']:.2f}" in words
