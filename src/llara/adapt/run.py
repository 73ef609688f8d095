"""``adapt()``: a base model and a corpus in, a retriever directory out.

While it runs everything stands in ``OUT.partial`` (tokenized corpus, checkpoints, settings); ``OUT``
appears by one rename when the model is whole. A killed run goes on from its last checkpoint with
``resume=True`` and ends with the same weights as one that was never killed.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments

from llara.adapt.card import model_card
from llara.adapt.losses import AdaptationModel
from llara.adapt.page import Reading, page
from llara.adapt.prepare import (
    batch_builder,
    load_model,
    load_prompts,
    read_counts,
    tokenized_corpus,
)
from llara.adapt.store import OrderedExamples, TokenStore, training_order
from llara.adapt.trainer import AdaptTrainer
from llara.config import AdaptConfig
from llara.errors import LlaraError, OutputError
from llara.files import atomic_directory, check_apart, check_output, check_work, work_directory
from llara.joint import check_joint
from llara.lexicon import common_words, vocabulary_words, write_lexicon
from llara.model import load_config, save_retriever, stored_dtype
from llara.prompts import Prompts, Task
from llara.report import REPORT, leave_report
from llara.report.machine import versions
from llara.settings import to_dict
from llara.training import (
    StopAfter,
    check_devices,
    check_same_run,
    common_arguments,
    last_checkpoint,
    make_work,
    merged,
    run_facts,
    say,
)

__all__ = ["AdaptResult", "adapt"]

_LEXICON_SEGMENTS = 20_000  # that the common words are counted in


@dataclass(frozen=True)
class AdaptResult:
    """Where the model is, the log of losses, and how long training took."""

    out: Path
    log: list[dict[str, float]]
    seconds: float


def adapt(
    *,
    base: str,
    corpus: Sequence[str | Path],
    out: Path,
    config: AdaptConfig,
    store: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    skip_bad: bool = False,
) -> AdaptResult:
    """Train ``base`` by EBAE and EBAR on plain text and write a retriever directory.

    Under torchrun every process calls this; the first one writes. ``out`` must be on a file system that all
    of them share.

    Raises:
        InputError: the corpus is missing, empty or malformed.
        ConfigError: settings that do not fit the model, or differ from those of the run to resume.
        ModelError: no such model, or its attention cannot take the joint mask.
        OutputError: ``out`` exists, an unfinished run stands there, or the disk is full or read-only.
    """
    started = time.monotonic()
    check_output(out, overwrite=overwrite)
    check_apart(out, base, *corpus)
    work = work_directory(out)
    tokenizer, prompts = load_prompts(base, config)
    check_work(work, resume=resume, overwrite=overwrite)
    training = config.training
    arguments = TrainingArguments(**common_arguments(training, work, max_steps=training.max_steps))
    check_devices(arguments)
    alone = make_work(work, arguments, resume=resume, overwrite=overwrite)
    try:
        tokens = tokenized_corpus(
            store or work / "corpus", arguments, base, corpus, prompts, config, skip_bad=skip_bad
        )
        trainer = _trainer(work, arguments, tokens, tokenizer, prompts, base, config, resume=resume)
        _train(trainer, work, resume=resume)
        facts = {"base": base, "corpus": _corpus_facts(tokens, corpus)}
        if trainer.is_world_process_zero():
            _finish(
                trainer, prompts, tokens, out, work, facts=facts, config=config, overwrite=overwrite,
                started=started,
            )  # fmt: skip
            shutil.rmtree(work, ignore_errors=True)
    except LlaraError as error:
        if last_checkpoint(work / "checkpoints"):
            error.args = (f"{error}. What is trained so far stands in {work}: go on with --resume",)
        elif arguments.process_index == 0 and not resume:
            shutil.rmtree(work, ignore_errors=True)
        raise
    finally:
        alone.close()
    trainer.accelerator.wait_for_everyone()
    return AdaptResult(out, _clean_log(trainer), time.monotonic() - started)


def _corpus_facts(tokens: TokenStore, corpus: Sequence[str | Path]) -> dict[str, Any]:
    """What was read, as far as it was counted."""
    return {
        "sources": [str(source) for source in corpus],
        **read_counts(tokens.directory),
        "with_successor": int((tokens.segments[:, 2] > 0).sum()),
    }


def _trainer(
    work: Path,
    arguments: TrainingArguments,
    store: TokenStore,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Prompts,
    base: str,
    config: AdaptConfig,
    *,
    resume: bool,
) -> AdaptTrainer:
    """Everything that training needs: the model, and the examples in the order of the run."""
    training = config.training
    step_size = training.batch_size * training.gradient_accumulation_steps * arguments.world_size
    order = training_order(
        store.lengths(),
        num_examples=step_size * training.max_steps,
        step_size=step_size,
        seed=training.seed,
        min_tokens=max(1, config.corpus.min_segment_tokens),
        by_length=not training.packing,
    )
    check_same_run(work, config, resume=resume, base=base, examples_per_step=step_size)
    model = load_model(base, tokenizer, config)
    if training.joint and config.objective.ebae and config.objective.ebar:
        check_joint(model.get_base_model() if config.lora.rank else model)
    if not store.segments[:, 2].any() and config.objective.ebar:
        say("no document has a second segment, so nothing follows any text: EBAE is trained alone")
    trainer = AdaptTrainer(
        adapt_config=config,
        model=AdaptationModel(model),
        args=arguments,
        train_dataset=OrderedExamples(store, order),
        data_collator=batch_builder(prompts, store, config),
    )
    if training.max_seconds is not None:
        trainer.add_callback(StopAfter(training.max_seconds))
    return trainer


def _train(trainer: AdaptTrainer, work: Path, *, resume: bool) -> None:
    """Train from the last whole checkpoint, or from the start."""
    checkpoint = last_checkpoint(work / "checkpoints") if resume else None
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except OSError as error:
        raise OutputError(f"cannot write {work}: {error.strerror or error}; free the disk") from error


def _clean_log(trainer: AdaptTrainer) -> list[dict[str, float]]:
    """The log entries with a loss, without the Trainer's own bookkeeping and the time they took."""
    keep = ("step", "loss", "ebae", "ebar", "lm", "learning_rate", "grad_norm")
    history = trainer.state.log_history
    return [{key: entry[key] for key in keep if key in entry} for entry in history if "loss" in entry]


@torch.no_grad()
def _centers(
    model: PreTrainedModel, prompts: Prompts, store: TokenStore, config: AdaptConfig
) -> dict[Task, Tensor]:
    """Each role's mean embedding ``[D]`` over a sample of the corpus."""
    sample = np.random.default_rng(config.training.seed).permutation(len(store))
    sample = np.sort(sample[: config.objective.center_samples])
    sample = sample[np.argsort(store.lengths()[sample], kind="stable")]
    builder = replace(batch_builder(prompts, store, config), tasks=("self", "next"), joint=False, lm=False)
    sums: dict[Task, Tensor] = {}
    wrapped = AdaptationModel(model)
    for start in range(0, len(sample), 64):
        batch = builder([store[int(i)] for i in sample[start : start + 64]])
        for task, states_RSD in wrapped.slot_states(batch.to(model.device)).items():
            part = states_RSD.float().mean(dim=1).sum(dim=0)
            sums[task] = sums[task] + part if task in sums else part
    return {task: total / len(sample) for task, total in sums.items()}


def _lexicon(store: TokenStore, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The common words of a sample of the corpus, spread over all of it."""
    sample = np.unique(np.linspace(0, len(store) - 1, _LEXICON_SEGMENTS).astype(int))
    texts = (str(tokenizer.decode(list(store[int(i)].text_ids))) for i in sample)
    return common_words(texts, tokenizer_words=vocabulary_words(tokenizer))


def _finish(
    trainer: AdaptTrainer,
    prompts: Prompts,
    store: TokenStore,
    out: Path,
    work: Path,
    *,
    facts: dict[str, Any],
    config: AdaptConfig,
    overwrite: bool,
    started: float,
) -> None:
    """Merge, centre, and write the model directory by one rename."""
    model = trainer.lm
    dtype = stored_dtype(load_config(facts["base"]))
    if config.lora.rank:
        model = merged(model, facts["base"], dtype)
    model.eval()
    centers = _centers(model, prompts, store, config) if config.objective.center else None
    longest = getattr(model.config, "max_position_embeddings", None) or config.corpus.segment_tokens
    with atomic_directory(out, overwrite=overwrite, within=work) as directory:
        max_tokens = min(max(512, config.corpus.segment_tokens), longest)
        save_retriever(
            model.to(dtype),
            prompts,
            directory,
            max_tokens=max_tokens,
            centers=centers,
        )
        write_lexicon(directory, _lexicon(store, prompts.tokenizer))
        training = {
            **facts,
            "segments": len(store),
            "tokens": len(store.ids),
            "steps": trainer.state.global_step,
            "settings": to_dict(config),
            "versions": versions("torch", "transformers", "sentence-transformers", "peft"),
            "log": _clean_log(trainer),
        }
        (directory / "training.json").write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
        trackers = work / "checkpoints" / "runs"
        if trackers.exists():
            shutil.copytree(trackers, directory / "tensorboard")
        (directory / "README.md").write_text(model_card(training), encoding="utf-8")
        examples = trainer.train_dataset
        assert isinstance(examples, OrderedExamples)
        reading = Reading(store.lengths(), examples.order, len(examples) // config.training.max_steps)
        leave_report(
            directory / REPORT,
            lambda: page(
                training,
                config,
                reading,
                log=trainer.state.log_history,
                run=run_facts(trainer.args, started=started),
                out=out,
            ),
        )
