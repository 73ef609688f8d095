"""``llara adapt`` as users run it: equal runs, killed runs, two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapting import adapt, make_workspace
from outcomes import (
    assert_close,
    assert_one_error,
    log,
    run_card,
    succeed,
    weights,
)
from processes import Kill, llara, llara_twice
from tiny import SENTENCES, SHUFFLED_SLOTS, byte_level, model_for
from torch import Tensor

from llara.adapt.losses import AdaptationModel, BatchBuilder, Example
from llara.model import fingerprint, load
from llara.prompts import Prompts

LORA = ["prompt.preset=eight-words", "corpus.segment_tokens=160", "lora.rank=4", "training.max_steps=5"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("adapt"))


@pytest.fixture(scope="module")
def whole(workspace: Path) -> Path:
    """The uninterrupted run."""
    done = succeed(llara(*adapt("whole"), cwd=workspace))
    assert done.stdout == "whole\n"  # the result, and nothing else
    assert "step 8/8: loss" in done.stderr
    return workspace / "whole"


def test_losses_fall_and_are_logged_by_name(whole: Path) -> None:
    entries = log(whole)
    assert [entry["step"] for entry in entries] == list(range(1, 9))
    for entry in entries:
        mean = (entry["ebae"] + entry["ebar"]) / 2 + 0.5 * entry["lm"]
        assert entry["loss"] == pytest.approx(mean, rel=1e-5)
    assert entries[-1]["loss"] < entries[0]["loss"] - 0.5


def test_a_page_about_the_run_stands_beside_the_model_and_changes_nothing_of_it(
    whole: Path, workspace: Path
) -> None:
    html = (whole / "report.html").read_text(encoding="utf-8")
    words = " ".join("".join(ElementTree.fromstring(html.partition("\n")[2]).itertext()).split())
    last = log(whole)[-1]
    for part in (
        "over 8 steps and",
        f"EBAE {last['ebae']:.2f}",
        f"EBAR {last['ebar']:.2f}",
        f"next token {last['lm']:.2f}",
        "Documents30",
        "training.max_steps",
        "Tokens a second",
        "Learning rate",
    ):
        assert part in words
    assert ".partial" not in html
    with_page = fingerprint(whole)
    (whole / "report.html").rename(workspace / "report.html")
    assert fingerprint(whole) == with_page
    (workspace / "report.html").rename(whole / "report.html")


@pytest.mark.parametrize(
    ("name", "kill"),
    [
        ("before the first checkpoint", Kill(step=2)),
        ("after a checkpoint", Kill(step=6)),
        ("writing a checkpoint", Kill(writing="checkpoint-6/optimizer.pt")),
        ("before the last rename", Kill(before_rename=True)),
    ],
)
def test_a_killed_run_resumed_ends_with_the_same_bytes(
    name: str, kill: Kill, workspace: Path, whole: Path
) -> None:
    out = workspace / name.replace(" ", "-")
    assert llara(*adapt(out.name), cwd=workspace, kill=kill).code == -9
    assert not out.exists()
    again = llara(*adapt(out.name), cwd=workspace)
    assert (again.code, again.stdout) == (1, "")
    assert "an unfinished run stands in" in again.stderr
    assert "--resume" in again.stderr
    other = llara(*adapt(out.name, "training.learning_rate=1e-4", flags=("--resume",)), cwd=workspace)
    assert other.code == 1
    if kill.step != 2:
        assert "started with other settings (training.learning_rate)" in other.stderr
    succeed(llara(*adapt(out.name, flags=("--resume",)), cwd=workspace))
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert log(out)[-1] == log(whole)[-1]
    left = [path.name for path in workspace.iterdir() if out.name in path.name]
    assert left == [out.name]


def test_lora_with_added_tokens_killed_and_resumed_ends_with_the_same_bytes(workspace: Path) -> None:
    succeed(llara(*adapt("lora", *LORA), cwd=workspace))
    assert llara(*adapt("lora-killed", *LORA), cwd=workspace, kill=Kill(step=5)).code == -9
    succeed(llara(*adapt("lora-killed", *LORA, flags=("--resume",)), cwd=workspace))
    first, second = (workspace / name / "model.safetensors" for name in ("lora", "lora-killed"))
    assert first.read_bytes() == second.read_bytes()


def test_lora_trains_the_rows_of_added_tokens_and_keeps_all_others(workspace: Path) -> None:
    # A learning rate of 0 shows where the rows began; both runs draw them from the same seed.
    succeed(llara(*adapt("lora-start", *LORA, "training.learning_rate=0"), cwd=workspace))
    if not (workspace / "lora").exists():
        succeed(llara(*adapt("lora", *LORA), cwd=workspace))
    base, start, end = (weights(workspace / name) for name in ("base", "lora-start", "lora"))
    table = "model.embed_tokens.weight"
    old = len(base[table])
    assert start[table].shape == end[table].shape == (old + 16, 32)
    assert torch.equal(start[table][:old], base[table])
    assert torch.equal(end[table][:old], base[table])
    assert (end[table][old:] - start[table][old:]).abs().amax(dim=1).min() > 1e-4  # every one of the sixteen
    projection = "model.layers.0.self_attn.q_proj.weight"
    assert torch.equal(start[projection], base[projection])
    assert not torch.equal(end[projection], base[projection])


def test_what_bfloat16_rounded_while_it_was_frozen_keeps_its_bytes(workspace: Path) -> None:
    succeed(llara(*adapt("lora-half", *LORA, "training.precision=bfloat16"), cwd=workspace))
    base, end = weights(workspace / "base"), weights(workspace / "lora-half")
    for name, weight in base.items():
        assert end[name].dtype == torch.float32
        if "_proj" not in name:  # tables have rows for the added tokens besides
            assert torch.equal(end[name][: len(weight)], weight), name
        else:
            assert 0 < (end[name] - weight).abs().max() < 0.1, name


@pytest.mark.parametrize("name", ["whole", "lora"])  # the stock prompts, and those that need llara
def test_the_python_on_the_card_encodes_with_the_model(name: str, workspace: Path, whole: Path) -> None:
    if not (workspace / "lora").exists():
        succeed(llara(*adapt("lora", *LORA), cwd=workspace))
    model = load(workspace / name, device="cpu")
    query, document = model.encode_query("who wrote it?"), model.encode_document("It was written by ...")
    assert run_card(workspace / name) == pytest.approx(query @ document, abs=1e-3)


def test_two_processes_equal_one_with_twice_the_batch(workspace: Path, whole: Path) -> None:
    """Through torchrun; the processes have different numbers of EBAR rows and of tokens."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "llara"]
    done = subprocess.run(
        [*command, *adapt("two", "training.batch_size=2")],
        cwd=workspace,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "two\n"
    assert_close(workspace / "two", whole, tolerance=2e-5)


def test_two_processes_killed_and_resumed_end_with_the_same_bytes(workspace: Path) -> None:
    settings = ["training.batch_size=2", "training.max_steps=5"]
    for done in llara_twice(*adapt("pair", *settings), cwd=workspace):
        succeed(done)
    killed = llara_twice(*adapt("pair-killed", *settings), cwd=workspace, kill=Kill(step=5))
    assert [done.code for done in killed] == [-9, -9]
    for done in llara_twice(*adapt("pair-killed", *settings, flags=("--resume",)), cwd=workspace):
        succeed(done)
    first, second = (workspace / name / "model.safetensors" for name in ("pair", "pair-killed"))
    assert first.read_bytes() == second.read_bytes()


def test_two_processes_stop_together_when_the_time_is_over(workspace: Path) -> None:
    for done in llara_twice(*adapt("short", "training.max_seconds=0"), cwd=workspace):
        succeed(done)
    assert [entry["step"] for entry in log(workspace / "short")] == [1]


def test_accumulated_batches_equal_one_batch(workspace: Path, whole: Path) -> None:
    settings = ["training.batch_size=1", "training.gradient_accumulation_steps=4"]
    succeed(llara(*adapt("accumulated", *settings), cwd=workspace))
    assert_close(workspace / "accumulated", whole, tolerance=2e-5)


def test_two_passes_left_padding_and_recomputed_activations_train_the_same(
    workspace: Path, whole: Path
) -> None:
    settings = [
        "joint=false",
        "padding_side=left",
        "gradient_checkpointing=true",
        'report_to=["tensorboard"]',
    ]
    succeed(llara(*adapt("apart", *(f"training.{s}" for s in settings)), cwd=workspace))
    assert_close(workspace / "apart", whole, tolerance=2e-5)
    assert list((workspace / "apart" / "tensorboard").rglob("events.*"))


def test_packed_rows_train_through_the_command_line(workspace: Path) -> None:
    settings = ["training.packing=true", "training.row_tokens=200"]
    succeed(llara(*adapt("packed", *settings), cwd=workspace))
    assert log(workspace / "packed")[-1]["loss"] < log(workspace / "packed")[0]["loss"] - 0.5


def ragged_examples(prompts: Prompts) -> list[Example]:
    texts = prompts.text_ids([*SENTENCES, "", " ".join(SENTENCES)])
    return [Example(ids, ids, texts[(i + 1) % len(texts)] if i % 3 else None) for i, ids in enumerate(texts)]


@pytest.mark.parametrize("preset", ["paper", "eight-words"])
@pytest.mark.parametrize("family", ["llama", "mistral", "gpt2"])
def test_every_layout_of_a_batch_gives_the_same_sums_and_gradients(preset: str, family: str) -> None:
    tokenizer = byte_level(bos=True, slots=SHUFFLED_SLOTS)
    prompts = Prompts(tokenizer, preset)
    examples = ragged_examples(prompts)

    def outcome(*, checkpointing: bool = False, **layout: Any) -> tuple[Tensor, list[Tensor]]:
        model = model_for(tokenizer, family).train()
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        sums = AdaptationModel(model)(BatchBuilder(prompts, lm=True, **layout)(examples))
        (sums * torch.tensor([1.0, 0.5, 0.1])).sum().backward()
        return sums.detach(), [p.grad for p in model.parameters() if p.grad is not None]

    plain_sums, plain_gradients = outcome()
    layouts: list[dict[str, Any]] = [{"pad_left": True}, {"joint": False}, {"row_tokens": 256}]
    for layout in [*layouts, {"joint": False, "row_tokens": 256}, {"checkpointing": True}]:
        sums, gradients = outcome(**layout)
        assert torch.allclose(sums, plain_sums, rtol=1e-5), layout
        for ours, plain in zip(gradients, plain_gradients, strict=True):
            assert (ours - plain).abs().max() < 2e-5 * (1 + plain.abs().max()), layout


@pytest.mark.parametrize("joint", [True, False])
def test_next_token_training_alone_is_the_models_own_loss(joint: bool) -> None:
    tokenizer = byte_level(bos=True, slots=SHUFFLED_SLOTS)
    prompts = Prompts(tokenizer, "paper")
    examples = [Example(ids, ids, None) for ids in prompts.text_ids(SENTENCES[:1])]
    ours, plain = model_for(tokenizer, "llama"), model_for(tokenizer, "llama")
    batch = BatchBuilder(prompts, tasks=(), joint=joint, lm=True)(examples)
    ids_1T = torch.tensor([prompts.trunk(examples[0].text_ids)])
    assert torch.equal(batch.passes[0][1].input_ids_BT, ids_1T)  # no prompt stands after the text
    first = max(1, len(prompts.lead_ids))
    labels_1T = torch.where(torch.arange(ids_1T.shape[1]) < first, -100, ids_1T)
    sums_3 = AdaptationModel(ours)(batch)
    expected = plain(input_ids=ids_1T, labels=labels_1T).loss
    assert sums_3[:2].tolist() == [0, 0]
    assert (sums_3[2] / batch.counts()[2]).item() == pytest.approx(expected.item(), rel=1e-5)
    (sums_3[2] / batch.counts()[2]).backward()
    expected.backward()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-6)


def test_with_both_tasks_off_only_the_next_token_loss_is_trained(workspace: Path) -> None:
    off = ["objective.ebae=false", "objective.ebar=false", "objective.lm_weight=1"]
    succeed(llara(*adapt("plain", *off, "training.max_steps=3"), cwd=workspace))
    for entry in log(workspace / "plain"):
        assert not {"ebae", "ebar"} & entry.keys()
        assert entry["loss"] == pytest.approx(entry["lm"], rel=1e-5)


def test_documents_of_one_segment_train_ebae_alone_and_say_so(workspace: Path) -> None:
    (workspace / "single.jsonl").write_text(
        "".join(json.dumps({"text": f"{s[:30]} {i}"}) + "\n" for i, s in enumerate(SENTENCES * 3))
    )
    done = succeed(llara(*adapt("single", "corpus.segment_tokens=120", corpus="single.jsonl"), cwd=workspace))
    assert "EBAE is trained alone" in done.stderr
    for entry in log(workspace / "single"):
        assert "ebar" not in entry
        assert entry["loss"] == pytest.approx(entry["ebae"] + 0.5 * entry["lm"], rel=1e-5)


def test_a_text_longer_than_the_limit_is_cut_into_segments_that_fit(workspace: Path) -> None:
    (workspace / "long.jsonl").write_text(json.dumps({"text": "x" * 3000 + " </s>" * 400}) + "\n")
    succeed(llara(*adapt("long", corpus="long.jsonl"), cwd=workspace))
    facts = json.loads((workspace / "long" / "training.json").read_text())
    assert facts["segments"] > 30


def test_skipped_lines_are_counted_and_shown(workspace: Path) -> None:
    good = (workspace / "corpus.jsonl").read_text(encoding="utf-8")
    (workspace / "mixed.jsonl").write_text("not json\n" + good + '{"id": 7}\n', encoding="utf-8")
    done = succeed(llara(*adapt("skipped", corpus="mixed.jsonl", flags=("--skip-bad",)), cwd=workspace))
    assert "2 " in done.stderr
    assert "mixed.jsonl:1" in done.stderr


def test_a_kept_store_gives_the_same_model_and_is_refused_for_another_corpus(
    workspace: Path, whole: Path
) -> None:
    kept = ("--store", "kept")
    succeed(llara(*adapt("first", flags=kept), cwd=workspace))
    written = (workspace / "kept" / "ids.bin").stat().st_mtime_ns
    done = llara(*adapt("refused", "corpus.segment_tokens=100", flags=kept), cwd=workspace)
    assert_one_error(done, "tokenized corpus in kept was made with another segments")
    (workspace / "mine").mkdir()
    (workspace / "mine" / "thesis.txt").write_text("a year of work")
    done = llara(*adapt("lost", flags=("--store", "mine")), cwd=workspace)
    assert_one_error(done, "mine holds no tokenized corpus but something else")
    assert (workspace / "mine" / "thesis.txt").exists()
    succeed(llara(*adapt("second", flags=kept), cwd=workspace))
    assert (workspace / "kept" / "ids.bin").stat().st_mtime_ns == written
    whole_bytes = (whole / "model.safetensors").read_bytes()
    assert all(
        (workspace / out / "model.safetensors").read_bytes() == whole_bytes for out in ("first", "second")
    )


def test_a_disk_that_fills_up_after_a_checkpoint_keeps_it_for_resume(
    workspace: Path, whole: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk("size=1300k")
    done = llara(*adapt(str(disk / "out")), cwd=workspace)
    assert_one_error(done, "cannot write .*go on with --resume")
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    succeed(llara(*adapt(str(disk / "out"), flags=("--resume",)), cwd=workspace))
    assert (disk / "out" / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
