"""``adapt()``: a base model and a corpus in, a retriever directory out.

While it runs everything stands in ``OUT.partial`` (tokenized corpus, checkpoints, settings); ``OUT``
appears by one rename when the model is whole. A killed run goes on from its last checkpoint with
``resume=True`` and ends with the same weights as one that was never killed.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import get_last_checkpoint

from llara.adapt.losses import AdaptationModel, BatchBuilder
from llara.adapt.store import OrderedExamples, TokenStore, build_store, training_order
from llara.adapt.trainer import AdaptTrainer, StopAfter, training_arguments, use_bfloat16
from llara.config import AdaptConfig
from llara.corpus import Fields, Segment, Skipped, iter_segments, read_documents
from llara.errors import ConfigError, InputError, LlaraError, OutputError
from llara.files import atomic_directory, check_output, write_text_atomic
from llara.joint import check_joint
from llara.model import load_causal_lm, load_tokenizer, model_card, save_retriever
from llara.prompts import Preset, Prompts, Task, get_preset
from llara.settings import to_dict
from llara.stopwords import load_stop_words

__all__ = ["AdaptResult", "adapt"]

_MAY_CHANGE_ON_RESUME = {"max_seconds", "report_to", "logging_steps", "save_steps"}


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
    work = out.with_name(out.name + ".partial")
    is_new = not work.exists()
    try:
        return _adapt(base, corpus, out, work, config, resume=resume, overwrite=overwrite, skip_bad=skip_bad)
    except LlaraError:
        if is_new and not any(work.glob("checkpoints/checkpoint-*")):
            shutil.rmtree(work, ignore_errors=True)  # there is nothing in it to resume from
        raise


def _adapt(
    base: str,
    corpus: Sequence[str | Path],
    out: Path,
    work: Path,
    config: AdaptConfig,
    *,
    resume: bool,
    overwrite: bool,
    skip_bad: bool,
) -> AdaptResult:
    started = time.monotonic()
    check_output(out, overwrite=overwrite)
    tokenizer, prompts = _prompts(base, config)
    arguments = _make_work(work, config, resume=resume, overwrite=overwrite)
    with arguments.main_process_first(local=False, desc="reading the corpus"):
        store = _store(work, base, corpus, prompts, config, skip_bad=skip_bad)
    step_size = (
        arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    )
    order = training_order(
        store.lengths(),
        num_examples=step_size * config.training.max_steps,
        step_size=step_size,
        seed=config.training.seed,
        min_tokens=max(1, config.corpus.min_segment_tokens),
        by_length=not config.training.packing,
    )
    _check_same_run(work, base, config, step_size, resume=resume)
    model = _load(base, tokenizer, config)
    if config.training.joint and config.objective.ebae and config.objective.ebar:
        check_joint(model.get_base_model() if config.lora.rank else model)
    if not store.segments[:, 2].any() and config.objective.ebar:
        _say("no document has a second segment, so nothing follows any text: EBAE is trained alone")
    trainer = AdaptTrainer(
        adapt_config=config,
        model=AdaptationModel(model),
        args=arguments,
        train_dataset=OrderedExamples(store, order),
        data_collator=_builder(prompts, store, config),
    )
    if config.training.max_seconds is not None:
        trainer.add_callback(StopAfter(config.training.max_seconds))
    try:
        checkpoint = get_last_checkpoint(arguments.output_dir) if resume else None
        with redirect_stdout(sys.stderr):  # the Trainer logs to stdout, which is for results
            trainer.train(resume_from_checkpoint=checkpoint)
    except (OSError, SafetensorError) as error:
        raise OutputError(f"cannot write {work}: {error}; free the disk and go on with --resume") from error
    log = _clean_log(trainer.state.log_history)
    if trainer.is_world_process_zero():
        _finish(trainer, prompts, store, out, base=base, config=config, log=log, overwrite=overwrite)
        shutil.rmtree(work, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    return AdaptResult(out, log, time.monotonic() - started)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _prompts(base: str, config: AdaptConfig) -> tuple[PreTrainedTokenizerBase, Prompts]:
    """The tokenizer, with the preset's own slots added where it has none, and its prompts."""
    tokenizer = load_tokenizer(base)
    preset = get_preset(config.prompt.preset)
    tokenizer.add_special_tokens(
        {"additional_special_tokens": _missing_slots(tokenizer, preset)}, replace_extra_special_tokens=False
    )
    return tokenizer, Prompts(tokenizer, preset)


def _missing_slots(tokenizer: PreTrainedTokenizerBase, preset: Preset) -> list[str]:
    if preset.joined:
        return []
    known = tokenizer.get_vocab()
    return [slot for slots in preset.slots.values() for slot in slots if slot not in known]


def _tasks(config: AdaptConfig) -> tuple[Task, ...]:
    wanted: dict[Task, bool] = {"self": config.objective.ebae, "next": config.objective.ebar}
    # With neither task (next-token training alone, the control) the prompts still stand after the text.
    return tuple(task for task, on in wanted.items() if on) or ("self",)


def _make_work(work: Path, config: AdaptConfig, *, resume: bool, overwrite: bool) -> Any:
    """The directory of the run, and the Trainer's arguments (which start distributed processes)."""
    if work.exists() and not resume and not overwrite:
        raise OutputError(
            f"an unfinished run stands in {work}; go on with --resume, or start anew with --overwrite"
        )
    if resume and not work.exists():
        raise InputError(f"there is no unfinished run in {work} to resume; start it without --resume")
    arguments = training_arguments(config, work)
    with arguments.main_process_first(local=False, desc="making the run's directory"):
        if arguments.process_index == 0:
            if overwrite and not resume:
                shutil.rmtree(work, ignore_errors=True)
            try:
                work.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"cannot write {work}: {error.strerror or error}") from error
    return arguments


def _store(
    work: Path,
    base: str,
    corpus: Sequence[str | Path],
    prompts: Prompts,
    config: AdaptConfig,
    *,
    skip_bad: bool,
) -> TokenStore:
    """The tokenized corpus: opened if this run made it already, else made now."""
    directory = work / "corpus"
    made_from = {
        "base": base,
        "corpus": [_source_facts(source) for source in corpus],
        "preset": prompts.preset.name,
        "segments": to_dict(config.corpus),
        "stop_words": config.objective.stop_words,
    }
    if (directory / "store.json").exists():
        if json.loads((directory / "store.json").read_text(encoding="utf-8")) == made_from:
            return TokenStore.open(directory)
        raise ConfigError(
            f"the corpus, the base model or the settings of {work} differ from this call's; "
            "resume with the same ones, or start anew with --overwrite"
        )
    skipped = Skipped() if skip_bad else None
    store = build_store(
        _segments(corpus, prompts, config, skipped),
        prompts,
        directory,
        made_from=made_from,
        drop_words=load_stop_words(config.objective.stop_words),
    )
    if skipped is not None and skipped.count:
        _say(str(skipped))
    _say(f"{len(store):,} segments, {len(store.ids):,} tokens")
    return store


def _source_facts(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if not path.is_file():
        return {"source": str(source)}
    return {"source": str(source), "bytes": path.stat().st_size}


def _segments(
    corpus: Sequence[str | Path], prompts: Prompts, config: AdaptConfig, skipped: Skipped | None
) -> Any:
    settings = config.corpus
    fields = Fields(id=settings.id_field, title=settings.title_field, text=settings.text_field)
    backend = prompts.tokenizer.backend_tokenizer

    def count_tokens(texts: list[str]) -> list[int]:
        return [len(e.ids) for e in backend.encode_batch_fast(texts, add_special_tokens=False)]

    segments: Any = iter_segments(
        read_documents(corpus, fields=fields, skipped=skipped),
        max_tokens=prompts.text_limit(settings.segment_tokens, _tasks(config)),
        count_tokens=count_tokens,
        language=settings.language,
    )
    return segments


def _check_same_run(work: Path, base: str, config: AdaptConfig, step_size: int, *, resume: bool) -> None:
    """Refuse to resume with settings that would not give the same run; remember them otherwise."""
    settings = to_dict(config)
    training = {k: v for k, v in settings["training"].items() if k not in _MAY_CHANGE_ON_RESUME}
    facts = {"base": base, "examples_per_step": step_size, **settings, "training": training}
    content = json.loads(json.dumps(facts))
    path = work / "settings.json"
    if resume and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(_flat(before).items() ^ _flat(content).items())
        if changed:
            names = ", ".join(dict.fromkeys(name for name, _ in changed))
            raise ConfigError(
                f"the run in {work} was started with other settings ({names}); resume with the same ones, "
                "or start anew with --overwrite"
            )
        return
    write_text_atomic(path, json.dumps(content, indent=1) + "\n")


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value)
    return flat


def _load(base: str, tokenizer: PreTrainedTokenizerBase, config: AdaptConfig) -> Any:
    """The model to train: float32 weights, or a frozen bfloat16 base under a float32 adapter."""
    lora, training = config.lora, config.training
    frozen_bfloat16 = lora.rank > 0 and use_bfloat16(training.precision)
    attention = "flex_attention" if training.packing and torch.cuda.is_available() else None
    model = load_causal_lm(
        base, dtype=torch.bfloat16 if frozen_bfloat16 else torch.float32, attention=attention
    )
    old_size = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > old_size:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if training.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if lora.rank == 0:
        return model
    return _with_lora(model, config, new_ids=_slot_ids(tokenizer, get_preset(config.prompt.preset)))


def _slot_ids(tokenizer: PreTrainedTokenizerBase, preset: Preset) -> list[int]:
    if preset.joined:
        return []
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary[slot] for slots in preset.slots.values() for slot in slots)


def _with_lora(model: PreTrainedModel, config: AdaptConfig, *, new_ids: list[int]) -> Any:
    """Low-rank adapters on the named projections; the rows of added tokens are trained whole."""
    from peft import LoraConfig, get_peft_model

    lora = config.lora
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    missing = [name for name in lora.projections if name not in names]
    if missing:
        raise ConfigError(
            f"lora.projections names {', '.join(missing)}, which {model.config.model_type} does not have; "
            "name its own linear layers"
        )
    return get_peft_model(
        model,
        LoraConfig(
            r=lora.rank,
            lora_alpha=int(lora.alpha),
            lora_dropout=lora.dropout,
            target_modules=list(lora.projections),
            trainable_token_indices=new_ids or None,
            task_type="CAUSAL_LM",
        ),
    )


def _builder(prompts: Prompts, store: TokenStore, config: AdaptConfig) -> BatchBuilder:
    objective, training = config.objective, config.training
    weights_V: Tensor | None = None
    if objective.idf:
        weights_V = torch.log((len(store) + 1) / (torch.from_numpy(store.frequency_V()) + 1)).float()
    return BatchBuilder(
        prompts,
        tasks=_tasks(config),
        joint=training.joint,
        row_tokens=training.row_tokens if training.packing else None,
        pad_left=training.padding_side == "left",
        distinct=objective.target == "distinct",
        lm=objective.lm_weight > 0,
        exclude=frozenset(prompts.tokenizer.all_special_ids),
        token_weights_V=weights_V,
    )


def _clean_log(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """The log entries with a loss, without the Trainer's own bookkeeping."""
    keep = ("step", "loss", "ebae", "ebar", "lm", "learning_rate", "grad_norm")
    return [{key: entry[key] for key in keep if key in entry} for entry in history if "loss" in entry]


@torch.no_grad()
def _centers(
    model: PreTrainedModel, prompts: Prompts, store: TokenStore, config: AdaptConfig
) -> dict[Task, Tensor]:
    """Each role's mean embedding ``[D]`` over a sample of the corpus."""
    sample = np.random.default_rng(config.training.seed).permutation(len(store))
    sample = np.sort(sample[: config.objective.center_samples])
    sample = sample[np.argsort(store.lengths()[sample], kind="stable")]
    builder = replace(_builder(prompts, store, config), tasks=("self", "next"), joint=False, lm=False)
    sums: dict[Task, Tensor] = {}
    wrapped = AdaptationModel(model)
    for start in range(0, len(sample), 64):
        batch = builder([store[int(i)] for i in sample[start : start + 64]])
        for task, states_RSD in wrapped.slot_states(batch.to(model.device)).items():
            part = states_RSD.float().mean(dim=1).sum(dim=0)
            sums[task] = sums[task] + part if task in sums else part
    return {task: total / len(sample) for task, total in sums.items()}


def _finish(
    trainer: AdaptTrainer,
    prompts: Prompts,
    store: TokenStore,
    out: Path,
    *,
    base: str,
    config: AdaptConfig,
    log: list[dict[str, float]],
    overwrite: bool,
) -> None:
    """Merge, centre, and write the model directory by one rename."""
    from transformers import AutoConfig

    from llara.model import resolve

    model = trainer.accelerator.unwrap_model(trainer.model).lm
    if config.lora.rank:
        model = model.merge_and_unload()
    model.eval()
    centers = _centers(model, prompts, store, config) if config.objective.center else None
    longest = getattr(model.config, "max_position_embeddings", None) or config.corpus.segment_tokens
    stored = AutoConfig.from_pretrained(resolve(base)).dtype or torch.float32
    with atomic_directory(out, overwrite=overwrite) as directory:
        max_tokens = min(max(512, config.corpus.segment_tokens), longest)
        save_retriever(model.to(stored), prompts, directory, max_tokens=max_tokens, centers=centers)
        training = {
            "base": base,
            "segments": len(store),
            "tokens": len(store.ids),
            "settings": to_dict(config),
            "log": log,
        }
        (directory / "training.json").write_text(json.dumps(training, indent=1) + "\n", encoding="utf-8")
        (directory / "README.md").write_text(model_card(training), encoding="utf-8")
