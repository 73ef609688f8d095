"""``llara finetune`` as users run it: what is recorded, batches that are equal, and the model it gives."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from finetuning import HELD_OUT, LORA, finetune, make_workspace, whole_run
from outcomes import (
    assert_close,
    log,
    losses,
    run_card,
    succeed,
    training,
    weights,
)
from processes import llara
from safetensors.torch import load_file
from tiny import SENTENCES, SHUFFLED_SLOTS
from transformers import AutoModelForCausalLM, AutoTokenizer

from llara.encode import encode_texts
from llara.finetune.trainer import HeldOut
from llara.model import load, read_facts

# Without llara: its import fails, and nothing but sentence-transformers reads the directories.
WITHOUT_LLARA = """
import sys, json, numpy
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "llara":
            raise ImportError("llara is not here")
sys.meta_path.insert(0, Refused())
try:
    import llara
except ImportError:
    pass
else:
    raise SystemExit("llara can be imported")
from sentence_transformers import SentenceTransformer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
for name in sys.argv[3:]:
    model = SentenceTransformer(f"{folder}/{name}", device="cpu")
    vectors = {"query": model.encode_query(texts), "document": model.encode_document(texts)}
    numpy.savez(f"{folder}/{name}.npz", **vectors)
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def whole(workspace: Path) -> Path:
    return whole_run(workspace)


def test_losses_fall_and_what_was_done_is_recorded(whole: Path) -> None:
    assert [entry["step"] for entry in log(whole)] == list(range(1, 7))
    assert losses(whole)[-1] < losses(whole)[0] - 0.5
    assert training(whole)["queries"] == 30
    assert training(whole)["queries_per_step"] == 4
    facts = read_facts(whole)
    assert (facts["preset"], facts["title_separator"], facts["max_tokens"]) == ("paper", " ", 96)
    card = (whole / "README.md").read_text()
    assert "fine-tuned from start" in card
    assert "6 x 4 queries" in card
    assert f"{losses(whole)[-1]:.3f}" in card


def test_a_run_speaks_in_lines_a_newcomer_understands(workspace: Path) -> None:
    out = ["training.logging_steps=4", *LORA, *HELD_OUT]
    done = succeed(llara(*finetune("spoken", *out), cwd=workspace))
    lines = done.stderr.splitlines()
    assert lines[0].startswith("train.jsonl: 30 queries with 38 positives and 60 negatives")
    assert "30 queries, 88 distinct passages" in lines
    assert "18 queries have fewer than 3 hard negatives, 6 of them none" in lines
    shown = [line.partition(":")[0] for line in lines if line.startswith("step ")]
    assert shown == ["step 1/6", "step 2/6", "step 4/6", "step 4/6", "step 6/6", "step 6/6"]
    assert "warning" not in done.stderr.lower()
    assert lines[-1].startswith("trained in ")


def test_accumulated_batches_of_own_passages_equal_one_batch(workspace: Path) -> None:
    own = ["contrast.in_batch=false", "contrast.distillation=margin-mse", "contrast.distillation_weight=0.01"]
    succeed(llara(*finetune("at-once", *own), cwd=workspace))
    parts = ["training.batch_size=1", "training.gradient_accumulation_steps=4"]
    succeed(llara(*finetune("in-parts", *own, *parts), cwd=workspace))
    assert_close(workspace / "in-parts", workspace / "at-once")


def test_recomputed_activations_train_the_same(workspace: Path, whole: Path) -> None:
    succeed(llara(*finetune("recomputed", "training.gradient_checkpointing=true"), cwd=workspace))
    assert_close(workspace / "recomputed", whole)
    settings = [*LORA, "training.gradient_checkpointing=true"]
    succeed(llara(*finetune("lora-recomputed", *settings), cwd=workspace))
    assert_close(workspace / "lora-recomputed", merged(workspace, "start"))


def merged(workspace: Path, model: str) -> Path:
    """``model`` trained by LoRA and merged."""
    if not (workspace / f"{model}-merged").exists():
        succeed(llara(*finetune(f"{model}-merged", f"model={model}", *LORA), cwd=workspace))
    return workspace / f"{model}-merged"


def test_the_merged_model_equals_the_adapter_on_its_base(workspace: Path) -> None:
    from peft import PeftModel

    for model in ("start", "words"):
        adapter = finetune(f"{model}-adapter", f"model={model}", *LORA, flags=("--adapter-only",))
        succeed(llara(*adapter, cwd=workspace))
        ours = load(merged(workspace, model), device="cpu").encode_query(SENTENCES)
        base = AutoModelForCausalLM.from_pretrained(workspace / model)
        start = load(workspace / model, device="cpu")
        before = start.encode_query(SENTENCES)
        on_top = PeftModel.from_pretrained(base, workspace / f"{model}-adapter")
        start[0].model = on_top.get_base_model().base_model
        assert np.abs(before - ours).max() > 0.01
        assert np.abs(start.encode_query(SENTENCES) - ours).max() < 1e-5
        assert not (workspace / f"{model}-adapter" / "model.safetensors").exists()
        assert "PeftModel" in (workspace / f"{model}-adapter" / "README.md").read_text()


@pytest.mark.parametrize("name", ["start", "words"])  # the stock prompts, and those that need llara
def test_the_python_on_the_card_encodes_with_the_model(name: str, workspace: Path) -> None:
    model = load(merged(workspace, name), device="cpu")
    query, document = model.encode_query("who wrote it?"), model.encode_document("It was written by ...")
    assert run_card(merged(workspace, name)) == pytest.approx(query @ document, abs=1e-3)


HALF = [*LORA, "training.precision=bfloat16", "training.grad_cache_texts=3"]


@pytest.fixture(scope="module", params=["start", "words"])
def half(request: pytest.FixtureRequest, workspace: Path) -> tuple[Path, Path, Path]:
    """A model in float32, what LoRA over its weights in bfloat16 made of it, and the same run's adapter."""
    start, end, adapter = request.param, f"{request.param}-half", f"{request.param}-half-adapter"
    succeed(llara(*finetune(end, f"model={start}", *HALF), cwd=workspace))
    succeed(llara(*finetune(adapter, f"model={start}", *HALF, flags=("--adapter-only",)), cwd=workspace))
    return workspace / start, workspace / end, workspace / adapter


def test_over_a_frozen_bfloat16_base_an_adapter_trains_and_merges_exactly(
    half: tuple[Path, Path, Path],
) -> None:
    from peft import PeftModel

    start, end, adapter = half
    assert losses(end)[-1] < losses(end)[0]
    ours, model = load(end, device="cpu").encode_query(SENTENCES), load(start, device="cpu")
    before = model.encode_query(SENTENCES)
    base = AutoModelForCausalLM.from_pretrained(start)
    model[0].model = PeftModel.from_pretrained(base, adapter).get_base_model().base_model
    assert np.abs(before - ours).max() > 0.01
    assert np.abs(model.encode_query(SENTENCES) - ours).max() < 1e-5


def test_what_bfloat16_rounded_while_it_was_frozen_keeps_its_bytes(half: tuple[Path, Path, Path]) -> None:
    start, end = weights(half[0]), weights(half[1])
    added = AutoTokenizer.from_pretrained(half[0]).convert_tokens_to_ids(SHUFFLED_SLOTS)
    adapter = load_file(half[2] / "adapter_model.safetensors")
    assert start.keys() == end.keys()
    for name, weight in start.items():
        assert weight.dtype == end[name].dtype == torch.float32
        if "_proj" in name:
            stem = f"base_model.model.{name.removesuffix('weight')}"
            lora_A, lora_B = (adapter[f"{stem}lora_{side}.weight"] for side in "AB")
            assert torch.allclose(end[name], weight + 8 / 4 * (lora_B @ lora_A), rtol=0, atol=1e-6), name
        elif "embed_tokens" in name and half[0].name == "words":
            others = [row for row in range(len(weight)) if row not in added]
            assert torch.equal(end[name][others], weight[others])
        else:
            assert torch.equal(end[name], weight), name


def test_lora_trains_the_rows_of_added_tokens_and_keeps_all_others(workspace: Path) -> None:
    start, end = weights(workspace / "words"), weights(merged(workspace, "words"))
    added = AutoTokenizer.from_pretrained(workspace / "words-merged").convert_tokens_to_ids(SHUFFLED_SLOTS)
    table = "model.embed_tokens.weight"
    changed = (end[table] - start[table]).abs().amax(dim=1)
    assert sorted(np.flatnonzero(changed > 1e-4).tolist()) == sorted(added)
    assert not changed[[n for n in range(len(changed)) if n not in added]].any()
    assert torch.equal(end["lm_head.weight"], start["lm_head.weight"])
    projection = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(end[projection], start[projection])


def test_lora_keeps_head_and_norms_and_the_model_is_still_a_language_model(workspace: Path) -> None:
    directory = merged(workspace, "start")
    model, info = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    start, end = weights(workspace / "start"), weights(directory)
    assert start.keys() == end.keys()
    differ = {name for name in start if not torch.equal(start[name], end[name])}
    assert differ == {name for name in start if "_proj" in name}
    assert model.generate(torch.tensor([[1, 5]]), max_new_tokens=3, do_sample=False).shape[1] > 2


def test_fine_tuned_directories_give_the_same_vectors_without_llara(workspace: Path, whole: Path) -> None:
    succeed(llara(*finetune("centred-out", "model=centred"), cwd=workspace))
    texts = [*SENTENCES, "", " ".join(SENTENCES)]
    names = ["whole", "centred-out", merged(workspace, "start").name]  # all weights, centred, LoRA
    command = [sys.executable, "-c", WITHOUT_LLARA, str(workspace), json.dumps(texts), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in names:
        stock, ours = np.load(workspace / f"{name}.npz"), load(workspace / name, device="cpu")
        assert np.abs(stock["query"] - encode_texts(ours, texts, role="query")).max() < 1e-6
        assert np.abs(stock["document"] - encode_texts(ours, texts, role="document")).max() < 1e-6


def test_centring_is_trained_through_and_kept_as_it_is(workspace: Path, whole: Path) -> None:
    if not (workspace / "centred-out").exists():
        succeed(llara(*finetune("centred-out", "model=centred"), cwd=workspace))
    before, after = (load(workspace / name, device="cpu") for name in ("centred", "centred-out"))
    for role in ("query", "document"):
        one, other = (
            next(m for m in model if type(m).__name__ == "Router").sub_modules[role][0].linear
            for model in (before, after)
        )
        assert one.bias.norm() > 1
        assert torch.allclose(one.bias, other.bias, atol=1e-7)
        assert torch.equal(other.weight, torch.eye(32))
    assert losses(workspace / "centred-out")[0] != pytest.approx(losses(whole)[0], rel=1e-3)


def test_the_best_checkpoint_is_what_is_saved(workspace: Path) -> None:
    """A run whose held-out value falls ends as a run that stops where it was best."""
    settings = [
        "held_out.steps=1",
        "held_out.queries=10",
        "training.save_steps=1",
        "training.schedule=constant",
    ]
    settings += ["training.learning_rate=0.02", "held_out.measure=RR@10"]
    succeed(llara(*finetune("late", *settings, "training.max_steps=7"), cwd=workspace))
    values = {entry["step"]: entry["held_out"] for entry in log(workspace / "late") if "held_out" in entry}
    assert list(values) == list(range(1, 8))
    best = max(values, key=lambda step: (values[step], -step))
    assert best < 7, values
    assert values[best] > values[7] + 0.01
    succeed(llara(*finetune("until-best", *settings, f"training.max_steps={best}"), cwd=workspace))
    one, other = weights(workspace / "late"), weights(workspace / "until-best")
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert f"{values[best]:.3f} (the best is kept)" in (workspace / "late" / "README.md").read_text()
    assert training(workspace / "late")["best_step"] == best
    page = (workspace / "late" / "report.html").read_text(encoding="utf-8")
    assert f"{values[best]:.3f} at step {best}, kept" in page


def test_the_held_out_measure_is_what_its_definition_says(workspace: Path) -> None:
    queries, passages = SENTENCES[:3], [*SENTENCES, *(text[:25] for text in SENTENCES)]
    relevant = [[0, 7], [5], [2, 3, 11]]
    model = load(workspace / "start", device="cpu")
    scores = model.encode_query(queries) @ model.encode_document(passages).T
    expected = []
    for row, wanted in zip(scores, relevant, strict=True):
        order = np.argsort(-row).tolist()[:10]
        gain = sum(1 / math.log2(2 + rank) for rank, n in enumerate(order) if n in wanted)
        expected.append(gain / sum(1 / math.log2(2 + rank) for rank in range(len(wanted))))
    evaluator = HeldOut(queries, passages, relevant, measure="nDCG@10", batch_size=2)
    assert evaluator(model)["held_out"] == pytest.approx(np.mean(expected), rel=1e-6)


def test_titles_are_joined_as_told_and_recorded(workspace: Path, whole: Path) -> None:
    for name, value, recorded in (("dashed", '" - "', " - "), ("untitled", "none", None)):
        succeed(
            llara(*finetune(name, f"pairs.title_separator={value}", "training.max_steps=1"), cwd=workspace)
        )
        assert read_facts(workspace / name)["title_separator"] == recorded
        assert losses(workspace / name)[0] != pytest.approx(losses(whole)[0], rel=1e-4)
    assert "left out" in (workspace / "untitled" / "README.md").read_text()


def test_a_model_remembers_the_longest_passage_it_was_trained_on(workspace: Path) -> None:
    settings = ["pairs.passage_tokens=120", "training.max_steps=1"]
    succeed(llara(*finetune("longer", *settings), cwd=workspace))
    assert read_facts(workspace / "longer")["max_tokens"] == 120
    assert load(workspace / "longer", device="cpu").max_seq_length == 120
