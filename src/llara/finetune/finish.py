"""The last step of a run: the adapter merged, the model directory written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from llara.config import FinetuneConfig
from llara.files import atomic_directory
from llara.finetune.card import model_card
from llara.finetune.trainer import FinetuneTrainer
from llara.lexicon import copy_lexicon
from llara.model import save_retriever
from llara.modules import centers_of
from llara.settings import to_dict

__all__ = ["write_model"]


def write_model(
    trainer: FinetuneTrainer,
    target: Path,
    config: FinetuneConfig,
    *,
    history: Mapping[str, Any],
    adapter_only: bool,
    overwrite: bool,
) -> None:
    """Merge the adapter and write the model directory (or the adapter alone) by one rename.

    Args:
        history: the ``model`` that the first round began with, what was mined, the ``log`` of earlier rounds.

    Raises:
        OutputError: the disk is full or read-only.
    """
    retriever, lm = trainer.retriever, trainer.lm
    lm.eval()
    lm.config.use_cache = True
    data: Any = trainer.data_collator
    training = {
        **history,
        "queries": len(data.store),
        "passages": data.store.passages.num_rows,
        "steps": trainer.state.global_step,
        "queries_per_step": len(data.order) // trainer.args.max_steps,
        "best_step": trainer.state.best_global_step,
        "settings": to_dict(config),
        "log": [*history["log"], *_clean_log(trainer.state.log_history)],
    }
    checkpoints = Path(str(trainer.args.output_dir))
    with atomic_directory(target, overwrite=overwrite, within=checkpoints.parent) as directory:
        if adapter_only:
            _save_adapter(lm, directory)
        else:
            lm = lm.merge_and_unload() if config.lora.rank else lm
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
        card = model_card(training, adapter_only=adapter_only)
        (directory / "README.md").write_text(card, encoding="utf-8")
        trackers = checkpoints / "runs"
        if trackers.exists():
            shutil.copytree(trackers, directory / "tensorboard")


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
