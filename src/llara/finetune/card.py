"""The README of a fine-tuned model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llara.report import significant
from llara.training.card import how_to_use

__all__ = ["model_card"]

_USE_ADAPTER = """This is a LoRA adapter alone, in peft's format. It belongs on top of the model named above:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("the model above"), "this directory")
```
"""


def model_card(training: Mapping[str, Any], *, preset: str, adapter_only: bool = False) -> str:
    """The README of a model that ``finetune`` wrote, from its prompts and its ``training.json``."""
    settings, log = training["settings"], training["log"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    last_round = max((entry.get("round", 1) for entry in log), default=1)  # whose model this is
    of_last = [entry for entry in log if entry.get("round", 1) == last_round]
    held_out = [entry["held_out"] for entry in of_last if "held_out" in entry]
    pairs, lora = settings["pairs"], settings["lora"]
    title = pairs["title_separator"]
    rows = {
        "trained from": training["model"],
        "data": f"{training['queries']:,} queries, {training['passages']:,} passages",
        "titles": "left out" if title == "none" else f"before the text, with {title!r} between",
        "steps": f"{training['steps']:,} x {training['queries_per_step']} queries, up to "
        f"{pairs['negatives']} hard negatives each, seed {settings['training']['seed']}",
        "trained": f"LoRA, rank {lora['rank']}, merged" if lora["rank"] else "all weights",
        "temperature": settings["contrast"]["temperature"],
        "loss at the end": significant(losses[-1], 4) if losses else "not logged",
    }
    if held_out:
        rows[f"{settings['held_out']['measure']}, held out"] = f"{max(held_out):.3f} (the best is kept)"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
library_name: {"peft" if adapter_only else "sentence-transformers"}
pipeline_tag: sentence-similarity
tags: [llara, dense-retrieval, feature-extraction]
---

# A text retriever fine-tuned from {training["model"]}

Trained by llara to score a query's passage above hard negatives and above every other passage of the step
(InfoNCE); Li et al. 2023, arXiv 2312.15503.

| | |
|---|---|
{table}

{_USE_ADAPTER if adapter_only else how_to_use(preset)} All settings and losses: `training.json`.
"""
