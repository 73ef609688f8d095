"""``llara finetune`` given what it cannot use: one error that says what to do, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from outcomes import (
    assert_one_error,
)
from processes import llara, llara_twice
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tiny import SENTENCES, model_for, sentencepiece_like, write_model

from llara.model import save_retriever
from llara.prompts import Prompts

RECIPE = """
[finetune]
model = "start"
[finetune.lora]
rank = 0
[finetune.training]
max_steps = 4
batch_size = 4
learning_rate = 1e-3
precision = "float32"
save_steps = 2
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retriever, training data without scores, and a recipe."""
    folder = tmp_path_factory.mktemp("input")
    tokenizer = sentencepiece_like("first")
    (folder / "start").mkdir()
    save_retriever(model_for(tokenizer), Prompts(tokenizer), folder / "start", max_tokens=96)
    write_lines(folder / "train.jsonl", [record(q) for q in range(12)])
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def record(q: int, negatives: int = 2) -> dict[str, Any]:
    neg = [f"{SENTENCES[n]} for {q}" for n in range(negatives)]
    return {"query": f"{q} {SENTENCES[q % 6][:30]}", "pos": [f"{q} {SENTENCES[q % 6]}"], "neg": neg}


def write_lines(path: Path, records: list[Any]) -> None:
    path.write_text("".join(json.dumps(each) + "\n" for each in records))


def finetune(out: str, *settings: str, flags: tuple[str, ...] = ()) -> list[str]:
    chosen = [word for setting in settings for word in ("--set", setting)]
    return ["finetune", "--config", "recipe.toml", "--train", "train.jsonl", "--out", out, *chosen, *flags]


def damaged(folder: Path) -> None:
    shutil.copytree(folder / "start", folder / "damaged")
    os.truncate(folder / "damaged" / "model.safetensors", 1000)


def without_facts(folder: Path) -> None:
    shutil.copytree(folder / "start", folder / "nameless")
    (folder / "nameless" / "llara.json").unlink()


def foreign(folder: Path) -> None:
    tokenizer = sentencepiece_like("first").backend_tokenizer
    module = StaticEmbedding(tokenizer, embedding_weights=torch.eye(tokenizer.get_vocab_size(), 8).numpy())
    SentenceTransformer(modules=[module], device="cpu").save(str(folder / "foreign"))


def lines(name: str, records: list[Any]) -> Callable[[Path], None]:
    return lambda folder: write_lines(folder / name, records)


def nothing(folder: Path) -> None:
    pass


def put(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("--set", setting)]


BAD: dict[str, tuple[Callable[[Path], Any], list[str], str]] = {
    "a missing model": (nothing, ["--model", "no/such/model"], "there is no model 'no/such/model'"),
    "a model without llara.json": (
        without_facts,
        ["--model", "nameless"],
        "nameless has no llara.json.*convert",
    ),
    "a foreign model": (foreign, ["--model", "foreign"], "foreign has no llara.json.*llara convert"),
    "damaged weights": (damaged, ["--model", "damaged"], "cannot load the model damaged"),
    "a plain language model": (
        lambda folder: write_model(folder / "base", sentencepiece_like("first")),
        ["--model", "base"],
        "base is a language model but not yet a retriever.*llara convert --base base",
    ),
    "missing data": (nothing, ["--train", "nowhere.jsonl"], "nowhere.jsonl"),
    "a second file missing": (nothing, ["--train", "train.jsonl", "gone.jsonl"], "gone.jsonl"),
    "a malformed line": (
        lambda folder: (folder / "broken.jsonl").write_text(json.dumps(record(1)) + '\n{"query": \n'),
        ["--train", "broken.jsonl"],
        "broken.jsonl:2.*JSON",
    ),
    "no positive anywhere": (
        lines("none.jsonl", [record(q) | {"pos": []} for q in range(3)]),
        ["--train", "none.jsonl"],
        "none.jsonl.*no query",
    ),
    "nothing to compare with": (
        lines("bare.jsonl", [record(q, 0) for q in range(6)]),
        ["--train", "bare.jsonl", *put("contrast.in_batch=false")],
        "no query has a negative.*llara mine",
    ),
    "queries too short for the prompt": (
        nothing,
        put("pairs.query_tokens=4"),
        "4 tokens leaves no room for text",
    ),
    "passages too short": (nothing, put("pairs.passage_tokens=5"), "5 tokens leaves no room for text"),
    "passages too long": (nothing, put("pairs.passage_tokens=257"), "257.*no more than 256 positions"),
    "projections that are no layers": (
        nothing,
        put("lora.rank=2", 'lora.projections=["mlp", "q_proj"]'),
        "lora.projections names mlp, which llama does not have.*q_proj",
    ),
    "a size that vectors do not have": (
        nothing,
        put("contrast.matryoshka=[16,64]"),
        r"\[16, 64\].*than the 32",
    ),
    "distillation without scores": (
        nothing,
        put("contrast.distillation=kl"),
        "a score for every passage.*12 of 12",
    ),
    "too many held out": (
        nothing,
        put("held_out.steps=2", "held_out.queries=7"),
        "held_out.queries = 7 is more than half of the 12 queries",
    ),
    "a measure that is none": (
        nothing,
        put("held_out.steps=2", "held_out.queries=2", "held_out.measure=recall"),
        "not measures: 'recall'",
    ),
    "weights for other files": (nothing, put("pairs.weights=[1,2]"), "2 numbers for 1 training files"),
    "accumulation in the batch": (
        nothing,
        put("training.gradient_accumulation_steps=2"),
        "would not give the loss of one large batch.*grad_cache_texts",
    ),
    "an adapter of full training": (nothing, ["--adapter-only"], "--adapter-only needs lora.rank above 0"),
    "a loss that is no number": (
        nothing,
        put("training.learning_rate=1e12", "training.warmup_ratio=0", "training.save_steps=0"),
        "the loss is .* at step .*learning_rate",
    ),
    "an unknown tracker": (nothing, put('training.report_to=["paper"]'), "report_to names 'paper'"),
    "an output that exists": (nothing, ["--out", "taken"], "taken exists and is not empty"),
    "an output that is a file": (nothing, ["--out", "recipe.toml"], "recipe.toml is a file"),
    "an output below a file": (nothing, ["--out", "recipe.toml/out"], "cannot write .*recipe.toml"),
    "nothing to resume": (nothing, ["--resume"], "no unfinished run in .* to resume"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_error_and_leaves_nothing(case: str, workspace: Path) -> None:
    prepare, arguments, message = BAD[case]
    (workspace / "taken").mkdir(exist_ok=True)
    (workspace / "taken" / "file").touch()
    prepare(workspace)
    before = sorted(workspace.rglob("*"))
    assert_one_error(llara(*finetune("never"), *arguments, cwd=workspace), message)
    assert sorted(workspace.rglob("*")) == before


@pytest.mark.parametrize(
    "case",
    [
        "queries too short for the prompt",
        "passages too long",
        "projections that are no layers",
        "a size that vectors do not have",
    ],
)
def test_what_does_not_fit_the_model_is_told_before_anything_is_mined(case: str, workspace: Path) -> None:
    _, arguments, message = BAD[case]
    done = llara(*finetune("never", "rounds=1"), *arguments, cwd=workspace)
    assert_one_error(done, message)
    assert "mining" not in done.stderr
    assert not list(workspace.glob("never*"))


@pytest.mark.parametrize("launcher", ["FSDP", "DeepSpeed"])
def test_launchers_that_shard_weights_are_refused(launcher: str, workspace: Path) -> None:
    env = {f"ACCELERATE_USE_{launcher.upper()}": "true"}
    done = llara(*finetune("never"), cwd=workspace, env=env)
    assert_one_error(done, f"does not run under {launcher}.*torchrun")


@pytest.mark.parametrize("arguments", [["--train", "nowhere.jsonl"], put("contrast.distillation=kl")])
def test_bad_data_end_both_processes_and_leave_nothing(arguments: list[str], workspace: Path) -> None:
    first, second = llara_twice(*finetune("never"), *arguments, cwd=workspace)
    assert_one_error(first, "nowhere|score for every passage")
    assert second.code == 1
    assert not list(workspace.glob("never*"))


@pytest.mark.parametrize(
    ("stage", "kilobytes", "arguments"),
    [
        ("the examples", 8, []),
        ("the first checkpoint", 512, []),
        ("the model", 160, put("training.save_steps=0")),
        ("the adapter", 48, ["--adapter-only", *put("lora.rank=4", "training.save_steps=0")]),
    ],
)
def test_a_full_disk_gives_one_error_and_leaves_nothing(
    stage: str, kilobytes: int, arguments: list[str], workspace: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk(f"size={kilobytes}k")
    done = llara(*finetune(str(disk / "out")), *arguments, cwd=workspace)
    assert_one_error(done, "cannot write .*(No space left|checkpoint).*free the disk")
    assert not list(disk.iterdir())


def test_a_disk_that_fills_up_after_a_checkpoint_keeps_it_for_resume(
    workspace: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("size=1m")
    done = llara(*finetune(str(disk / "out")), cwd=workspace)
    assert_one_error(done, "cannot write .*go on with --resume")
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    done = llara(*finetune(str(disk / "out"), flags=("--resume",)), cwd=workspace)
    assert done.code == 0, done.stderr
    assert [path.name for path in disk.iterdir()] == ["out"]


ROUND = ("rounds=1", "mining.negatives=2", "pairs.negatives=2")


def test_mined_negatives_outlive_an_error_before_the_first_checkpoint(
    workspace: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("size=512k")
    done = llara(*finetune(str(disk / "out"), *ROUND), cwd=workspace)
    assert_one_error(done, "cannot write .*(No space left|checkpoint).*go on with --resume")
    assert "known positive" in done.stderr  # as mining counts its candidates
    assert [path.name for path in disk.glob("out.partial/round-*/*.jsonl")] == ["negatives-1.jsonl"]
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    done = llara(*finetune(str(disk / "out"), *ROUND, flags=("--resume",)), cwd=workspace)
    assert done.code == 0, done.stderr
    assert "known positive" not in done.stderr
    assert [path.name for path in disk.iterdir()] == ["out"]


def test_settings_that_do_not_fit_what_was_mined_leave_it_to_be_trained_on(workspace: Path) -> None:
    settings = [*ROUND, "held_out.steps=2", "held_out.queries=7"]
    done = llara(*finetune("mined", *settings), cwd=workspace)
    assert_one_error(done, "more than half of the 12 queries.*mined.partial/round-.*trained on with --train")
    [mined] = workspace.glob("mined.partial/round-1/negatives-1.jsonl")
    train = ["--train", str(mined), *put("training.max_steps=1")]
    done = llara(*finetune("after"), *train, cwd=workspace)
    assert done.code == 0, done.stderr
    shutil.rmtree(workspace / "mined.partial")
    shutil.rmtree(workspace / "after")


def test_a_read_only_directory_gives_one_error(workspace: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("ro")
    assert_one_error(llara(*finetune(str(disk / "out")), cwd=workspace), "cannot write .*Read-only")
