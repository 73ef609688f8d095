"""``llara finetune`` killed and resumed, in two processes, in rounds: the same as uninterrupted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from finetuning import HELD_OUT, LORA, SEVERAL, finetune, make_workspace, whole_run
from outcomes import (
    assert_close,
    assert_same_bytes,
    log,
    losses,
    succeed,
    training,
)
from processes import Kill, llara, llara_twice


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def whole(workspace: Path) -> Path:
    return whole_run(workspace)


KILLS = {
    "with the examples stored": Kill(after="llara.finetune.prepare:build_pairs"),
    "before the first checkpoint": Kill(step=2),
    "after a checkpoint": Kill(step=6),
    "writing a checkpoint": Kill(writing="checkpoint-4/optimizer.pt"),
    "before the last rename": Kill(before_rename=True),
}


@pytest.mark.parametrize("name", KILLS)
def test_a_killed_run_resumed_ends_with_the_same_bytes(name: str, workspace: Path, whole: Path) -> None:
    out = workspace / name.replace(" ", "-")
    assert llara(*finetune(out.name), cwd=workspace, kill=KILLS[name]).code == -9
    assert not out.exists()
    again = llara(*finetune(out.name), cwd=workspace)
    assert (again.code, again.stdout) == (1, "")
    assert "an unfinished run stands in" in again.stderr
    if name == "after a checkpoint":
        other = llara(*finetune(out.name, "contrast.temperature=0.02", flags=("--resume",)), cwd=workspace)
        assert other.code == 1
        assert "started with other settings (contrast.temperature)" in other.stderr
        for name, value in (("split", "dev"), ("train", "other.jsonl"), ("corpus", "other")):
            data = llara(*finetune(out.name, flags=("--resume", f"--{name}", value)), cwd=workspace)
            assert data.code == 1
            assert data.stderr.startswith("error: the run in ")
            assert f"started with other settings ({name}); resume with the same ones" in data.stderr
    succeed(llara(*finetune(out.name, flags=("--resume",)), cwd=workspace))
    assert_same_bytes(out, whole)
    left = [path.name for path in workspace.iterdir() if out.name in path.name]
    assert left == [out.name]


def test_lora_with_dropout_grad_cache_and_evaluation_resumes_with_the_same_bytes(workspace: Path) -> None:
    settings = ["model=words", *LORA, *HELD_OUT, *SEVERAL, "training.grad_cache_texts=3"]
    succeed(llara(*finetune("lora-whole", *settings), cwd=workspace))
    assert llara(*finetune("lora-killed", *settings), cwd=workspace, kill=Kill(step=5)).code == -9
    succeed(llara(*finetune("lora-killed", *settings, flags=("--resume",)), cwd=workspace))
    assert_same_bytes(workspace / "lora-killed", workspace / "lora-whole")


EQUAL: dict[str, tuple[list[str], list[str]]] = {
    "plain": ([], []),
    "grad cache": (["training.grad_cache_texts=3"], []),
    "grad cache, lora, several losses": (
        [*LORA, "lora.dropout=0", *SEVERAL, "training.grad_cache_texts=5"],
        [*LORA, "lora.dropout=0", *SEVERAL],
    ),
    "recomputed activations": (["training.gradient_checkpointing=true"], []),
    "evaluated": (HELD_OUT, HELD_OUT),
}


@pytest.mark.parametrize("case", EQUAL)
def test_two_processes_equal_one_with_twice_the_batch(case: str, workspace: Path, whole: Path) -> None:
    pair, alone = EQUAL[case]
    out = f"two, {case}"
    for done in llara_twice(*finetune(out, "training.batch_size=2", *pair), cwd=workspace):
        succeed(done)
    if alone:
        succeed(llara(*finetune(f"one, {case}", *alone), cwd=workspace))
    assert_close(workspace / out, workspace / f"one, {case}" if alone else whole)


def test_without_cross_device_negatives_two_processes_have_another_loss(workspace: Path, whole: Path) -> None:
    """So the equality above does test the gathering."""
    settings = ["training.batch_size=2", "contrast.cross_device=false"]
    for done in llara_twice(*finetune("apart", *settings), cwd=workspace):
        succeed(done)
    assert losses(workspace / "apart")[0] < losses(whole)[0] - 0.1  # fewer candidates


def test_two_processes_killed_and_resumed_end_with_the_same_bytes(workspace: Path) -> None:
    settings = ["training.batch_size=2", *LORA]
    for done in llara_twice(*finetune("pair", *settings), cwd=workspace):
        succeed(done)
    killed = llara_twice(*finetune("pair-killed", *settings), cwd=workspace, kill=Kill(step=5))
    assert [done.code for done in killed] == [-9, -9]
    for done in llara_twice(*finetune("pair-killed", *settings, flags=("--resume",)), cwd=workspace):
        succeed(done)
    assert_same_bytes(workspace / "pair-killed", workspace / "pair")


def test_an_epoch_of_uneven_data_ends_in_all_processes(workspace: Path) -> None:
    """30 queries in steps of 2 x 4: the last one is filled up."""
    for done in llara_twice(*finetune("uneven", "training.max_steps=none"), cwd=workspace):
        succeed(done)
    assert [entry["step"] for entry in log(workspace / "uneven")] == [1, 2, 3, 4]


def test_processes_stop_together_when_the_time_is_over(workspace: Path) -> None:
    for done in llara_twice(*finetune("short", "training.max_seconds=0"), cwd=workspace):
        succeed(done)
    assert [entry["step"] for entry in log(workspace / "short")] == [1]
    assert training(workspace / "short")["steps"] == 1


ROUNDS = ["rounds=2", "training.max_steps=3", "mining.negatives=2", "mining.last_rank=20"]


@pytest.mark.parametrize(
    ("name", "kill"),
    [
        ("in the second mining", Kill(after="llara.finetune.run:mined_negatives", calls=2)),
        ("in the second training", Kill(step=6)),  # its third step, after a checkpoint
    ],
)
def test_rounds_mine_and_train_again_and_resume_in_the_second(name: str, kill: Kill, workspace: Path) -> None:
    settings = [*ROUNDS, "held_out.steps=2", "held_out.queries=5", *LORA]
    if not (workspace / "rounds").exists():
        succeed(llara(*finetune("rounds", *settings), cwd=workspace))
    out = name.replace(" ", "-")
    assert llara(*finetune(out, *settings), cwd=workspace, kill=kill).code == -9
    other = llara(*finetune(out, *settings, flags=("--resume", "--train", "other.jsonl")), cwd=workspace)
    assert other.code == 1
    assert other.stderr.splitlines()[-1].startswith("error: the run in ")
    assert "started with other settings (train)" in other.stderr
    succeed(llara(*finetune(out, *settings, flags=("--resume",)), cwd=workspace))
    assert_same_bytes(workspace / out, workspace / "rounds")
    page = (workspace / out / "report.html").read_text(encoding="utf-8")
    for part in ("Loss, round 2", "Queries held out, round 2", "train.jsonl, round 2", "queries with none"):
        assert part in page
    assert ".partial" not in page
    facts = training(workspace / out)
    assert facts["model"] == "start"
    assert facts == training(workspace / "rounds")
    assert [each["data"] for each in facts["mining"]] == [["train.jsonl"]] * 2
    assert all(each["counts"]["kept"] > 0 for each in facts["mining"])
    assert [entry["step"] for entry in facts["log"] if "loss" in entry] == [1, 2, 3] * 2
    assert [entry["step"] for entry in facts["log"] if "held_out" in entry] == [2, 3] * 2
    card = (workspace / out / "README.md").read_text()
    assert "# A text retriever fine-tuned from start\n" in card
    assert ".partial" not in card + json.dumps(facts)
