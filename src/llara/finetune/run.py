"""``finetune()``: a retriever and pairs of queries and passages in, a better retriever out.

While it runs everything stands in ``OUT.partial`` (examples, checkpoints, mined negatives, the models of
earlier rounds); ``OUT`` appears by one rename when the model is whole. A killed run goes on from its last
checkpoint with ``resume=True`` and ends with the same weights as one that was never killed.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformerTrainingArguments

from llara.config import FinetuneConfig
from llara.errors import ConfigError, LlaraError, OutputError
from llara.evaluate.measures import depth_of
from llara.files import check_apart, check_output, check_work, work_directory
from llara.finetune.batches import PairCollator
from llara.finetune.finish import write_model
from llara.finetune.loss import ContrastiveLoss
from llara.finetune.order import hold_out, num_steps, training_order
from llara.finetune.prepare import (
    check_retriever,
    check_settings,
    held_out_evaluator,
    load_retriever,
    stored_pairs,
)
from llara.finetune.rounds import mined_negatives, mining_counts
from llara.finetune.trainer import EvaluateLast, FinetuneTrainer
from llara.model import fingerprint
from llara.training import (
    StopAfter,
    check_devices,
    check_same_run,
    common_arguments,
    last_checkpoint,
    make_work,
    run_facts,
    say,
)

__all__ = ["FinetuneResult", "finetune"]

_WORTH_KEEPING = (
    "round-*/negatives-*.jsonl",
    "round-*/checkpoints/*/complete",
    "round-*/model",
)  # what an error leaves for --resume


@dataclass(frozen=True)
class FinetuneResult:
    """Where the model is, the log of losses (and of held-out measures), and how long training took."""

    out: Path
    log: list[dict[str, float]]
    seconds: float


def finetune(
    *,
    model: str,
    train: Sequence[str | Path],
    out: Path,
    config: FinetuneConfig,
    split: str = "train",
    corpus: str | Path | None = None,
    adapter_only: bool = False,
    resume: bool = False,
    overwrite: bool = False,
) -> FinetuneResult:
    """Train a retriever by InfoNCE on pairs of queries and passages, and write it as a model directory.

    With ``config.rounds`` hard negatives are mined with the newest model before each round.

    Under torchrun every process calls this; the first one writes. ``out`` must be on a file system that all
    of them share.

    Args:
        train: training files or directories, as :func:`llara.datasets.read_training` reads them.
        split: which split of those that have several.
        corpus: where passages are looked up that the training files name by id only.
        adapter_only: write the LoRA adapter alone (peft's format), not the merged model.

    Raises:
        InputError: the data are missing, malformed, or hold no usable query.
        ConfigError: settings that do not fit the model or each other, or differ from those of the run to
            resume.
        ModelError: no such model, or not a retriever that llara wrote.
        OutputError: ``out`` exists, an unfinished run stands there, or the disk is full or read-only.
    """
    started = time.monotonic()
    _check_call(config, train, adapter_only=adapter_only)
    _check_launcher()
    check_retriever(model)
    check_settings(model, config)
    check_output(out, overwrite=overwrite)
    check_apart(out, model, *train)
    work = work_directory(out)
    check_work(work, resume=resume, overwrite=overwrite)
    arguments = _arguments(config, work, max_steps=1)
    check_devices(arguments)
    alone = make_work(work, arguments, resume=resume, overwrite=overwrite)
    start = model
    log: list[dict[str, float]] = []
    try:
        sources = [str(source) for source in train]
        check_same_run(
            work,
            config,
            resume=resume,
            model=[start, fingerprint(start)],
            train=[[source, _size(source)] for source in sources],
            split=split,
            corpus=str(corpus),
        )
        for number in range(1, max(1, config.rounds) + 1):
            last = number == max(1, config.rounds)
            folder = work / f"round-{number}"
            target = out if last else folder / "model"
            if last or not target.exists():
                data = train
                if config.rounds:
                    say(f"round {number} of {config.rounds}: mining with {model}")
                    data = mined_negatives(
                        model, train, folder, arguments, config, split=split, corpus=corpus
                    )
                run = _Run(folder, model, config, resume=resume)
                trainer = run.train(data, split=split, corpus=corpus)
                if trainer.is_world_process_zero():
                    history = {"model": start, "train": sources, "mining": mining_counts(work), "log": log}
                    write_model(
                        trainer,
                        target,
                        config,
                        history=history,
                        run=run_facts(arguments, started=started),
                        adapter_only=adapter_only,
                        overwrite=overwrite,
                    )
                trainer.accelerator.wait_for_everyone()
                del trainer  # the next round loads its own model
                gc.collect()
                torch.cuda.empty_cache()
            log = _log_of(target)
            model = str(target)
    except LlaraError as error:
        if any(next(work.glob(pattern), None) for pattern in _WORTH_KEEPING):
            advice = _advice(work, error, resume=resume)
            error.args = (f"{error}. {advice}" if advice else str(error),)
        elif arguments.process_index == 0 and not resume:
            shutil.rmtree(work, ignore_errors=True)
        raise
    finally:
        alone.close()
    if arguments.process_index == 0:
        shutil.rmtree(work, ignore_errors=True)
    return FinetuneResult(out, log, time.monotonic() - started)


def _advice(work: Path, error: LlaraError, *, resume: bool) -> str:
    """What to do with what an error left in ``work``; a run with other settings cannot go on there."""
    if not isinstance(error, ConfigError):
        return f"What is done so far stands in {work}: go on with --resume"
    if resume or not any(work.glob("round-*/negatives-*.jsonl")):
        return ""
    return f"What is mined so far, {work}/round-*/negatives-*.jsonl, can be trained on with --train"


def _check_call(config: FinetuneConfig, train: Sequence[str | Path], *, adapter_only: bool) -> None:
    """Refuse what can be told at once, before anything is read."""
    if adapter_only and (config.lora.rank == 0 or config.rounds > 1):
        raise ConfigError(
            "--adapter-only needs lora.rank above 0 and at most one round: there is no one adapter"
        )
    weights = config.pairs.weights
    if weights and len(weights) != len(train):
        raise ConfigError(
            f"pairs.weights has {len(weights)} numbers for {len(train)} training files; give one for each"
        )
    depth_of([config.held_out.measure])


def _check_launcher() -> None:
    """Refuse what shards the weights: GradCache and the retriever's two views of them need them whole."""
    for name, variable in (("FSDP", "ACCELERATE_USE_FSDP"), ("DeepSpeed", "ACCELERATE_USE_DEEPSPEED")):
        if os.environ.get(variable, "false").lower() in ("true", "1"):
            raise ConfigError(
                f"llara finetune does not run under {name}, which shards the weights; start it with torchrun,"
                " and save memory by lora.rank, training.gradient_checkpointing and training.grad_cache_texts"
            )


def _arguments(
    config: FinetuneConfig, folder: Path, *, max_steps: int
) -> SentenceTransformerTrainingArguments:
    training, held_out = config.training, config.held_out
    arguments = common_arguments(training, folder, max_steps=max_steps)
    if held_out.steps:
        arguments |= {
            "eval_strategy": "steps",
            "eval_steps": held_out.steps,
            "save_strategy": "steps",
            "save_steps": held_out.steps,  # so that the best one can be kept
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_held_out",
            "greater_is_better": True,
        }
    return SentenceTransformerTrainingArguments(
        **arguments, dataloader_drop_last=True, ddp_find_unused_parameters=False
    )  # nothing is dropped: the order is a whole number of steps


def _size(source: str) -> int | None:
    """Bytes of a file, or of all files of a folder; None if it is neither."""
    path = Path(source)
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size if path.is_file() else None


@dataclass(frozen=True)
class _Run:
    """One round: training from ``model`` in ``folder``."""

    folder: Path
    model: str
    config: FinetuneConfig
    resume: bool

    def train(self, data: Sequence[str | Path], *, split: str, corpus: str | Path | None) -> FinetuneTrainer:
        """Train from the last whole checkpoint, or from the start."""
        trainer = self._trainer(data, split=split, corpus=corpus)
        checkpoint = last_checkpoint(self.folder / "checkpoints") if self.resume else None
        try:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        except OSError as error:
            raise OutputError(
                f"cannot write {self.folder}: {error.strerror or error}; free the disk"
            ) from error
        return trainer

    def _trainer(
        self, data: Sequence[str | Path], *, split: str, corpus: str | Path | None
    ) -> FinetuneTrainer:
        from datasets import Dataset

        config, training = self.config, self.config.training
        arguments = _arguments(config, self.folder, max_steps=1)
        store = stored_pairs(self.folder / "pairs", arguments, data, config, split=split, corpus=corpus)
        step_size = training.batch_size * training.gradient_accumulation_steps * arguments.world_size
        held = np.zeros(0, dtype=np.int64)
        if config.held_out.steps:
            held = hold_out(len(store), config.held_out.queries, seed=training.seed)
        excluded = store.same_text(held)
        max_steps = num_steps(config, num_queries=len(store) - len(excluded), step_size=step_size)
        order = training_order(
            store.sources,
            length=step_size * max_steps,
            step_size=step_size,
            weights=config.pairs.weights,
            one_source_batches=config.pairs.one_source_batches,
            excluded=excluded,
            seed=training.seed,
        )
        check_same_run(
            self.folder,
            config,
            resume=self.resume,
            model=self.model,
            queries_per_step=step_size,
            steps=max_steps,
        )
        retriever = load_retriever(self.model, config)
        trainer = FinetuneTrainer(
            retriever=retriever,
            model=retriever.encoder,
            args=_arguments(config, self.folder, max_steps=max_steps),
            train_dataset=Dataset.from_dict({"position": np.arange(len(order))}),
            data_collator=PairCollator(
                retriever.prompts,
                store,
                order,
                config.pairs,
                num_negatives=config.pairs.negatives if store.num_negatives().any() else 0,
                seed=training.seed,
                teacher=config.contrast.distillation != "none",
            ),
            loss=ContrastiveLoss(
                retriever.encoder, config.contrast, grad_cache_texts=training.grad_cache_texts
            ),
            evaluator=held_out_evaluator(store, held, config, bfloat16=arguments.bf16) if len(held) else None,
        )
        if training.max_seconds is not None:
            trainer.add_callback(StopAfter(training.max_seconds))
        if len(held):
            trainer.add_callback(EvaluateLast())
        return trainer


def _log_of(target: Path) -> list[dict[str, float]]:
    log: list[dict[str, float]] = json.loads((target / "training.json").read_text(encoding="utf-8"))["log"]
    return log
