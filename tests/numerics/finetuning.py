"""``llara finetune`` as users run it, in a folder with small retrievers, training data and a recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from outcomes import succeed
from processes import llara
from tiny import SENTENCES, SHUFFLED_SLOTS, byte_level, model_for, sentencepiece_like

from llara.model import save_retriever
from llara.prompts import Prompts

RECIPE = """
[finetune]
model = "start"
[finetune.pairs]
query_tokens = 48
passage_tokens = 80
negatives = 3
[finetune.contrast]
temperature = 0.05
[finetune.lora]
rank = 0
[finetune.training]
max_steps = 6
batch_size = 4
learning_rate = 1e-3
warmup_ratio = 0.0
schedule = "linear"
precision = "float32"
save_steps = 2
logging_steps = 1
"""
LORA = ["lora.rank=4", "lora.alpha=8", "training.learning_rate=1e-2"]
HELD_OUT = ["held_out.steps=2", "held_out.queries=6"]
SEVERAL = ["contrast.matryoshka=[8]", "contrast.distillation=kl", "contrast.mask_margin=0.1"]


def make_workspace(folder: Path) -> Path:
    """Retrievers to start from, training data with none to four scored negatives a query, and a recipe."""
    stock, slots = sentencepiece_like("first"), byte_level(bos=True, slots=SHUFFLED_SLOTS)
    random = torch.Generator().manual_seed(1)
    centers: Any = {task: 0.5 * torch.randn(32, generator=random) for task in ("next", "self")}
    for name, tokenizer, mean in (
        ("start", stock, None),
        ("words", slots, None),
        ("centred", stock, centers),
    ):
        (folder / name).mkdir()
        prompts = Prompts(tokenizer, "eight-words" if name == "words" else "paper")
        save_retriever(model_for(tokenizer), prompts, folder / name, max_tokens=96, centers=mean)
    with (folder / "train.jsonl").open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(record(q), ensure_ascii=False) + "\n" for q in range(30))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def record(q: int) -> dict[str, Any]:
    """Query ``q`` in Tevatron's layout; queries 3 and 4, 6 and 7 ... share their first positive."""

    def passage(n: int, score: float) -> dict[str, Any]:
        title = f"On {n % 7}" if n % 2 else ""
        return {"docid": f"d{n}", "title": title, "text": f"{n} {SENTENCES[n % 6][: 20 + n]}", "score": score}

    first = q - 1 if q % 3 == 1 else q
    positives = [passage(first, 5.0), *([passage(100 + q, 4.0)] if q % 4 == 0 else [])]
    negatives = [passage(200 + 5 * q + n, float(n % 3)) for n in range(q % 5)]
    query = f"{q} {SENTENCES[first % 6][:30]}"
    return {
        "query_id": f"q{q}",
        "query": query,
        "positive_passages": positives,
        "negative_passages": negatives,
    }


def whole_run(workspace: Path) -> Path:
    """The uninterrupted run."""
    done = succeed(llara(*finetune("whole"), cwd=workspace))
    assert done.stdout == "whole\n"  # the result, and nothing else
    return workspace / "whole"


def finetune(out: str, *settings: str, flags: tuple[str, ...] = ()) -> list[str]:
    chosen = [word for setting in settings for word in ("--set", setting)]
    return ["finetune", "--config", "recipe.toml", "--train", "train.jsonl", "--out", out, *chosen, *flags]
