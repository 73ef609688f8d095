"""What a run needs before it trains: the examples, the model with its adapter, the held-out queries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, TrainingArguments, set_seed

from llara.config import FinetuneConfig
from llara.datasets import DataReport, read_training
from llara.errors import ConfigError, InputError, ModelError
from llara.files import write_text_atomic
from llara.finetune.pairs import PairStore, build_pairs
from llara.finetune.trainer import HeldOut, Retriever
from llara.model import (
    embedding_of,
    load,
    load_causal_lm,
    load_config,
    load_tokenizer,
    read_facts,
    resolve,
    stored_dtype,
)
from llara.prompts import Prompts, slot_ids
from llara.training import check_projections, recompute_activations, say, use_bfloat16, with_lora

__all__ = ["check_retriever", "check_settings", "held_out_evaluator", "load_retriever", "stored_pairs"]


def check_retriever(name: str) -> None:
    """Refuse a model that cannot be trained, before any data are read.

    Raises:
        ModelError: it is not here, or not a retriever that llara wrote.
    """
    directory = Path(resolve(name))
    if not directory.is_dir():
        raise ModelError(f"{name} is not here; download the model, and name its directory")
    if not (directory / "modules.json").is_file():
        raise ModelError(
            f"{name} is a language model but not yet a retriever; "
            f"make it one with: llara convert --base {name} --out DIR"
        )
    if not read_facts(name):
        raise ModelError(
            f"{name} has no llara.json, so its prompts are not known; make it anew with llara convert"
        )


def check_settings(name: str, config: FinetuneConfig) -> None:
    """Refuse settings that do not fit the model ``name``; no weights are read, nor any data.

    Raises:
        ConfigError: length limits, projections or sizes of vectors that it does not have.
        ModelError: its files are damaged.
    """
    prompts = Prompts(load_tokenizer(name), read_facts(name)["preset"])
    prompts.text_limit(config.pairs.query_tokens, ["next"])
    prompts.text_limit(config.pairs.passage_tokens, ["self"])
    model_config = load_config(name)
    positions = getattr(model_config, "max_position_embeddings", None)
    for limit in ("query_tokens", "passage_tokens"):
        value = getattr(config.pairs, limit)
        if positions is not None and value > positions:
            raise ConfigError(
                f"pairs.{limit} = {value}, but {name} has no more than {positions} positions; lower it"
            )
    try:
        with torch.device("meta"):
            lm = AutoModelForCausalLM.from_config(model_config)
    except ValueError as error:
        raise ModelError(f"cannot load the causal language model {name}: {error}") from error
    if config.lora.rank:
        check_projections(lm, config.lora)
    largest = embedding_of(lm).shape[1]
    if any(size > largest for size in config.contrast.matryoshka):
        raise ConfigError(
            f"contrast.matryoshka = {list(config.contrast.matryoshka)} asks for more than the {largest}"
            " numbers of the model's vectors"
        )


def load_retriever(name: str, config: FinetuneConfig) -> Retriever:
    """The model to train: float32 weights, or a frozen bfloat16 base under a float32 adapter.

    Only the language model's weights are trained: what centres its vectors stays as it is. The settings fit
    the model, see ``check_settings``.

    Raises:
        ModelError: its files are damaged.
    """
    facts = read_facts(name)
    encoder = load(name, device="cpu")
    prompts = Prompts(load_tokenizer(name), facts["preset"])
    # What it was trained to read whole it will read whole.
    longest = max(config.pairs.query_tokens, config.pairs.passage_tokens)
    encoder.max_seq_length = max(facts["max_tokens"], longest)
    encoder[0].model = torch.nn.Identity()  # its weights would stand in memory twice
    set_seed(config.training.seed)  # adapters begin at random
    frozen_bfloat16 = config.lora.rank > 0 and use_bfloat16(config.training.precision)
    lm: Any = load_causal_lm(name, dtype=torch.bfloat16 if frozen_bfloat16 else torch.float32)
    lm.config.use_cache = False
    if config.training.gradient_checkpointing:
        recompute_activations(lm)
    trunk = lm.base_model
    for parameter in encoder.parameters():
        parameter.requires_grad_(False)
    if config.lora.rank:
        lm = with_lora(lm, config.lora, new_ids=slot_ids(prompts.tokenizer, prompts.preset))
    encoder[0].model = trunk
    return Retriever(name, lm, encoder, prompts, encoder.max_seq_length, stored_dtype(load_config(name)))


def stored_pairs(
    directory: Path,
    arguments: TrainingArguments,
    train: Sequence[str | Path],
    config: FinetuneConfig,
    *,
    split: str,
    corpus: str | Path | None,
) -> PairStore:
    """The training examples: opened if this run stored them already, else read now by the first process.

    Raises:
        InputError: the data are missing, malformed, or hold no usable query.
        ConfigError: the store was made from other data or settings.
    """
    made_from = {
        "train": [str(source) for source in train],
        "split": split,
        "corpus": None if corpus is None else str(corpus),
        "title_separator": config.pairs.title_separator,
    }
    facts = directory.with_suffix(".json")
    with arguments.main_process_first(local=False, desc="reading the training data"):
        if arguments.process_index == 0 and not facts.exists():
            reports = [DataReport() for _ in train]
            build_pairs(
                [
                    read_training(source, split=split, corpus=corpus, report=report)
                    for source, report in zip(train, reports, strict=True)
                ],
                directory,
                title_separator=config.pairs.title_separator,
            )
            for source, report in zip(train, reports, strict=True):
                say(f"{source}: {report}")
            write_text_atomic(facts, json.dumps(made_from) + "\n")
    if not facts.exists():
        raise InputError("the first process could not read the training data; its message says why")
    if json.loads(facts.read_text(encoding="utf-8")) != made_from:
        raise ConfigError(
            f"the training data of {directory.parent} differ from this call's; resume with the same ones, or"
            " start anew with --overwrite"
        )
    store = PairStore(directory)
    _check_negatives(store, config)
    return store


def _check_negatives(store: PairStore, config: FinetuneConfig) -> None:
    """Say how many negatives are missing; refuse distillation without scores."""
    found, asked = store.num_negatives(), config.pairs.negatives
    fewer, none = int((found < asked).sum()), int((found == 0).sum())
    say(f"{len(store):,} queries, {store.passages.num_rows:,} distinct passages")
    if none == len(store) and asked:
        say("no query has a hard negative: the other queries' passages are the only ones (see llara mine)")
        if not config.contrast.in_batch or config.contrast.contrast_weight == 0:
            raise InputError(
                "nothing to compare with: no query has a negative, and other queries' passages are not"
                " compared; mine negatives (llara mine), or set contrast.in_batch = true"
            )
    elif fewer:
        say(f"{fewer:,} queries have fewer than {asked} hard negatives, {none:,} of them none")
    if config.contrast.distillation != "none":
        lacking = store.without_scores()
        if lacking.any():
            first = store[int(np.argmax(lacking))].query_id
            raise InputError(
                f"contrast.distillation needs a score for every passage, and {int(lacking.sum()):,} of"
                f" {len(store):,} queries, such as {first!r}, lack some; mine them with a rescorer (llara"
                " mine), or set contrast.distillation = none"
            )


def held_out_evaluator(
    store: PairStore, held: np.ndarray, config: FinetuneConfig, *, bfloat16: bool
) -> HeldOut:
    """The held-out queries, and the passages among which they search: theirs, and others drawn at random."""
    examples = [store[int(index)] for index in held]
    own = sorted({int(number) for example in examples for number in example.known})
    others = np.random.default_rng([config.training.seed, 4]).permutation(store.passages.num_rows)
    room = max(0, config.held_out.passages - len(own))
    numbers = own + np.setdiff1d(others, own, assume_unique=True)[:room].tolist()
    place = {number: index for index, number in enumerate(numbers)}
    return HeldOut(
        [example.query for example in examples],
        [store.passage(number) for number in numbers],
        [[place[int(number)] for number in example.known] for example in examples],
        measure=config.held_out.measure,
        batch_size=config.training.grad_cache_texts or 32,
        bfloat16=bfloat16,
    )
