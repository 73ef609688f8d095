"""``llara adapt`` as users run it, in a folder with a small model, a corpus and a recipe."""

from __future__ import annotations

import json
from pathlib import Path

from tiny import SENTENCES, byte_level, write_model

RECIPE = """
[adapt]
base = "base"
[adapt.corpus]
segment_tokens = 64
min_segment_tokens = 4
[adapt.objective]
lm_weight = 0.5
[adapt.training]
max_steps = 8
batch_size = 4
learning_rate = 1e-2
warmup_ratio = 0.0
schedule = "linear"
precision = "float32"
save_steps = 3
logging_steps = 1
"""


def make_workspace(folder: Path) -> Path:
    """A base model, a corpus whose documents have one to five segments, and a recipe."""
    write_model(folder / "base", byte_level(bos=True))
    texts = [" ".join(SENTENCES[d % 6 :] * (d % 3) + SENTENCES[: 1 + d % 3]) + f" No. {d}" for d in range(30)]
    lines = [json.dumps({"id": d, "text": text}, ensure_ascii=False) for d, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def adapt(out: str, *settings: str, flags: tuple[str, ...] = (), corpus: str = "corpus.jsonl") -> list[str]:
    chosen = [word for setting in settings for word in ("--set", setting)]
    return ["adapt", "--config", "recipe.toml", "--corpus", corpus, "--out", out, *chosen, *flags]
