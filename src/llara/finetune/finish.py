"""The last step of a run: the adapter merged, the model directory written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from llara.config import FinetuneConfig
from llara.files import atomic_directory
from llara.finetune.card import model_card
from llara.finetune.page import mined_before, page
from llara.finetune.pairs import PairStore
from llara.finetune.trainer import FinetuneTrainer, HeldOut
from llara.lexicon import copy_lexicon
from llara.model import save_retriever
from llara.modules import centers_of
from llara.report import REPORT, leave_report
from llara.report.machine import versions
from llara.settings import to_dict
from llara.training import merged

__all__ = ["write_model"]


def write_model(
    trainer: FinetuneTrainer,
    target: Path,
    config: FinetuneConfig,
    *,
    history: Mapping[str, Any],
    run: Mapping[str, str],
    adapter_only: bool,
    overwrite: bool,
) -> None:
    """Merge the adapter and write the model directory (or the adapter alone) by one rename.

    Args:
        history: the ``model`` that the first round began with, its ``train`` data, what was mined, the
            ``log`` of earlier rounds.
        run: what the page says of the run besides.

    Raises:
        OutputError: the disk is full or read-only.
    """
    retriever, lm = trainer.retriever, trainer.lm
    lm.eval()
    lm.config.use_cache = True
    data: Any = trainer.data_collator
    store: PairStore = data.store
    log = _clean_log(trainer.state.log_history)
    if config.rounds > 1:
        number = 1 + max((int(entry["round"]) for entry in history["log"]), default=0)
        log = [{"round": number, **entry} for entry in log]
    training = {
        **history,
        **_data_facts(store, history["train"], trainer.evaluator),
        "queries": len(data.store),
        "passages": data.store.passages.num_rows,
        "steps": trainer.state.global_step,
        "queries_per_step": len(data.order) // trainer.args.max_steps,
        "best_step": trainer.state.best_global_step,
        "settings": to_dict(config),
        "versions": versions("torch", "transformers", "sentence-transformers", "peft"),
        "log": [*history["log"], *log],
    }
    checkpoints = Path(str(trainer.args.output_dir))
    with atomic_directory(target, overwrite=overwrite, within=checkpoints.parent) as directory:
        if adapter_only:
            _save_adapter(lm, directory)
        else:
            if config.lora.rank:
                lm = merged(lm, retriever.name, retriever.stored_dtype)
            save_retriever(
                lm.to(retriever.stored_dtype),
                retriever.prompts,
                directory,
                max_tokens=retriever.max_tokens,
                centers=centers_of(retriever.encoder),
                title_separator=config.pairs.title_separator,
            )
            copy_lexicon(history["model"], directory)
        content = json.dumps(training, indent=1, ensure_ascii=False) + "\n"
        (directory / "training.json").write_text(content, encoding="utf-8")
        card = model_card(training, preset=retriever.prompts.preset.name, adapter_only=adapter_only)
        (directory / "README.md").write_text(card, encoding="utf-8")
        trackers = checkpoints / "runs"
        if trackers.exists():
            shutil.copytree(trackers, directory / "tensorboard")
        leave_report(
            directory / REPORT,
            lambda: page(
                training,
                config,
                log=trainer.state.log_history,
                run=run,
                out=target,
                mined=[] if history["mining"] else mined_before(history["train"]),
            ),
        )


def _data_facts(store: PairStore, train: Sequence[str], held_out: Any) -> dict[str, Any]:
    """Where the queries are from, and which of them are held out."""
    counts = np.bincount(store.sources, minlength=len(train)).tolist()
    facts: dict[str, Any] = {
        "sources": [{"data": name, "queries": n} for name, n in zip(train, counts, strict=True)],
        "negatives_a_query": float(store.num_negatives().mean()),
    }
    if isinstance(held_out, HeldOut):
        facts["held_out"] = {"queries": len(held_out.queries), "passages": len(held_out.passages)}
    return facts


def _save_adapter(lm: Any, directory: Path) -> None:
    try:
        lm.save_pretrained(directory)
    except SafetensorError as error:  # its way to say that a write failed
        raise OSError(str(error)) from error


def _clean_log(history: Sequence[Any]) -> list[dict[str, float]]:
    """The log entries with a loss or a held-out measure, without the Trainer's own bookkeeping."""
    names = {"eval_held_out": "held_out"}
    keep = ("step", "loss", "learning_rate", "grad_norm", "eval_held_out")
    kept = [{names.get(key, key): entry[key] for key in keep if key in entry} for entry in history]
    return [entry for entry in kept if "loss" in entry or "held_out" in entry]
