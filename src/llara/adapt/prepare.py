"""What a run needs before it trains: prompts, its directory, the tokenized corpus, the model."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed

from llara.adapt.losses import BatchBuilder
from llara.adapt.store import TokenStore, build_store
from llara.adapt.trainer import training_arguments, use_bfloat16
from llara.config import AdaptConfig
from llara.corpus import Fields, Segment, Skipped, iter_segments, read_documents
from llara.errors import ConfigError, InputError, OutputError
from llara.files import write_text_atomic
from llara.model import embedding_of, load_causal_lm, load_tokenizer
from llara.prompts import Preset, Prompts, Task, get_preset
from llara.settings import to_dict
from llara.stopwords import load_stop_words

__all__ = [
    "batch_builder",
    "check_same_run",
    "load_model",
    "load_prompts",
    "make_work",
    "say",
    "tasks_of",
    "tokenized_corpus",
]

_MAY_CHANGE_ON_RESUME = {"max_seconds", "report_to", "logging_steps", "save_steps"}


def say(text: str) -> None:
    """Speech: to stderr, from one process of a distributed run."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


def load_prompts(base: str, config: AdaptConfig) -> tuple[PreTrainedTokenizerBase, Prompts]:
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


def tasks_of(config: AdaptConfig) -> tuple[Task, ...]:
    wanted: dict[Task, bool] = {"self": config.objective.ebae, "next": config.objective.ebar}
    # With neither task (next-token training alone, the control) the prompts still stand after the text.
    return tuple(task for task, on in wanted.items() if on) or ("self",)


def make_work(work: Path, config: AdaptConfig, *, resume: bool, overwrite: bool) -> TrainingArguments:
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


def tokenized_corpus(
    work: Path,
    arguments: TrainingArguments,
    base: str,
    corpus: Sequence[str | Path],
    prompts: Prompts,
    config: AdaptConfig,
    *,
    skip_bad: bool,
) -> TokenStore:
    """The tokenized corpus: opened if this run made it already, else made now by the first process."""
    directory = work / "corpus"
    made_from = {
        "base": base,
        "corpus": [_source_facts(source) for source in corpus],
        "preset": prompts.preset.name,
        "segments": to_dict(config.corpus),
        "stop_words": config.objective.stop_words,
    }
    with arguments.main_process_first(local=False, desc="reading the corpus"):
        if arguments.process_index == 0 and not (directory / "store.json").exists():
            skipped = Skipped() if skip_bad else None
            longest = prompts.text_limit(config.corpus.segment_tokens, tasks_of(config))
            build_store(
                _segments(corpus, prompts, config, skipped, max_tokens=longest),
                prompts,
                directory,
                made_from=made_from,
                max_tokens=longest,
                drop_words=load_stop_words(config.objective.stop_words),
            )
            if skipped is not None and skipped.count:
                say(str(skipped))
    if not (directory / "store.json").exists():
        raise InputError("the first process could not read the corpus; its message says why")
    if json.loads((directory / "store.json").read_text(encoding="utf-8")) != made_from:
        raise ConfigError(
            f"the corpus, the base model or the settings of {work} differ from this call's; "
            "resume with the same ones, or start anew with --overwrite"
        )
    store = TokenStore.open(directory)
    say(f"{len(store):,} segments, {len(store.ids):,} tokens")
    return store


def _source_facts(source: str | Path) -> dict[str, Any]:
    path = Path(source)
    if not path.is_file():
        return {"source": str(source)}
    return {"source": str(source), "bytes": path.stat().st_size}


def _segments(
    corpus: Sequence[str | Path],
    prompts: Prompts,
    config: AdaptConfig,
    skipped: Skipped | None,
    *,
    max_tokens: int,
) -> Iterator[Segment]:
    settings = config.corpus
    fields = Fields(id=settings.id_field, title=settings.title_field, text=settings.text_field)
    return iter_segments(
        read_documents(corpus, fields=fields, skipped=skipped),
        max_tokens=max_tokens,
        count_tokens=prompts.count_tokens,
        language=settings.language,
    )


def check_same_run(work: Path, base: str, config: AdaptConfig, step_size: int, *, resume: bool) -> None:
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


def load_model(base: str, tokenizer: PreTrainedTokenizerBase, config: AdaptConfig) -> Any:
    """The model to train: float32 weights, or a frozen bfloat16 base under a float32 adapter."""
    set_seed(config.training.seed)  # rows of added tokens and adapters begin at random
    lora, training = config.lora, config.training
    frozen_bfloat16 = lora.rank > 0 and use_bfloat16(training.precision)
    attention = "flex_attention" if training.packing and torch.cuda.is_available() else None
    model = load_causal_lm(
        base, dtype=torch.bfloat16 if frozen_bfloat16 else torch.float32, attention=attention
    )
    if len(tokenizer) > len(embedding_of(model)):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if training.gradient_checkpointing:
        _recompute_activations(model)
    if lora.rank == 0:
        return model
    return _with_lora(model, config, new_ids=_slot_ids(tokenizer, get_preset(config.prompt.preset)))


def _recompute_activations(model: PreTrainedModel) -> None:
    enable = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 5.2x on
    if enable is not None:
        enable({"use_reentrant": False})
    else:
        model.gradient_checkpointing_enable({"use_reentrant": False})


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


def batch_builder(prompts: Prompts, store: TokenStore, config: AdaptConfig) -> BatchBuilder:
    objective, training = config.objective, config.training
    weights_V: Tensor | None = None
    if objective.idf:
        weights_V = torch.log((len(store) + 1) / (torch.from_numpy(store.frequency_V()) + 1)).float()
    return BatchBuilder(
        prompts,
        tasks=tasks_of(config),
        joint=training.joint,
        row_tokens=training.row_tokens if training.packing else None,
        pad_left=training.padding_side == "left",
        distinct=objective.target == "distinct",
        lm=objective.lm_weight > 0,
        exclude=frozenset(prompts.tokenizer.all_special_ids),
        token_weights_V=weights_V,
    )
