"""The README of an adapted model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llara.training.card import how_to_use

__all__ = ["model_card"]


def model_card(training: Mapping[str, Any]) -> str:
    """The README of a model that ``adapt`` wrote, from the content of its ``training.json``."""
    settings, log = training["settings"], training["log"]
    last = {
        name: value
        for name, value in (log[-1] if log else {}).items()
        if name in ("loss", "ebae", "ebar", "lm")
    }
    losses = ", ".join(f"{name} {value:.3f}" for name, value in last.items()) or "not logged"
    batch_size, seed = settings["training"]["batch_size"], settings["training"]["seed"]
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [llara, dense-retrieval, feature-extraction]
---

# A text retriever adapted from {training["base"]}

Adapted by llara without labels: {_trained(settings["objective"])}
(Li et al. 2023, arXiv 2312.15503).

| | |
|---|---|
| base model | {training["base"]} |
| prompts | {settings["prompt"]["preset"]} |
| corpus | {training["segments"]:,} segments, {training["tokens"]:,} tokens |
| steps | {training["steps"]:,} x {batch_size} segments a device, seed {seed} |
| losses at the end | {losses} |

{how_to_use(settings["prompt"]["preset"])} All settings and losses: `training.json`.
"""


def _trained(objective: Mapping[str, Any]) -> str:
    """What the embeddings were trained to predict."""
    tasks = {
        "ebae": "the SELF embedding of a text predicts its own words (EBAE)",
        "ebar": "the NEXT embedding predicts those of the text that follows (EBAR)",
    }
    return ", ".join(said for task, said in tasks.items() if objective[task]) or "next-token prediction alone"
