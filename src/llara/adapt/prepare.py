"""What a run needs before it trains: prompts, its directory, the tokenized corpus, the model."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, TrainingArguments, set_seed

from llara.adapt.losses import BatchBuilder
from llara.adapt.store import TokenStore, build_store
from llara.config import AdaptConfig
from llara.corpus import Document, Fields, Segment, Skipped, files_of, iter_segments, read_documents
from llara.errors import ConfigError, InputError, OutputError
from llara.files import write_text_atomic
from llara.model import embedding_of, load_causal_lm, load_tokenizer
from llara.prompts import Preset, Prompts, Task, get_preset, slot_ids
from llara.settings import to_dict
from llara.stopwords import load_stop_words
from llara.training import recompute_activations, say, use_bfloat16, with_lora

__all__ = [
    "batch_builder",
    "load_model",
    "load_prompts",
    "read_counts",
    "tasks_of",
    "tokenized_corpus",
    "write_store",
]

READ = "read.json"  # beside store.json, which says what the store was made from: this is what was found


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
    """The tasks that are trained; none in next-token training alone, where no prompt follows the text."""
    wanted: dict[Task, bool] = {"self": config.objective.ebae, "next": config.objective.ebar}
    return tuple(task for task, on in wanted.items() if on)


def tokenized_corpus(
    directory: Path,
    arguments: TrainingArguments,
    base: str,
    corpus: Sequence[str | Path],
    prompts: Prompts,
    config: AdaptConfig,
    *,
    skip_bad: bool,
) -> TokenStore:
    """The tokenized corpus: opened if it stands in ``directory`` already, else made now by the first process.

    Raises:
        InputError: the corpus is missing, empty or malformed.
        ConfigError: what stands there was made from something else.
    """
    with arguments.main_process_first(local=False, desc="reading the corpus"):
        if arguments.process_index == 0 and not (directory / "store.json").exists():
            check_store(directory)
            write_store(directory, base, corpus, prompts, config, skip_bad=skip_bad)
    if not (directory / "store.json").exists():
        raise InputError("the first process could not read the corpus; its message says why")
    found = json.loads((directory / "store.json").read_text(encoding="utf-8"))
    wanted = _made_from(base, corpus, prompts, config, skip_bad=skip_bad)
    if found != wanted:
        changed = ", ".join(sorted(key for key in wanted if found.get(key) != wanted[key]))
        raise ConfigError(
            f"the tokenized corpus in {directory} was made with another {changed} than this call's;"
            " call with the same, name another --store, or remove the directory"
        )
    store = TokenStore.open(directory)
    say(f"{len(store):,} segments, {len(store.ids):,} tokens")
    return store


def check_store(directory: Path) -> None:
    """Refuse to put a tokenized corpus where something else stands.

    Raises:
        OutputError: the directory is not empty, or is a file.
    """
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        raise OutputError(
            f"{directory} holds no tokenized corpus but something else; name a new or empty directory"
            " with --store"
        )


def write_store(
    directory: Path,
    base: str,
    corpus: Sequence[str | Path],
    prompts: Prompts,
    config: AdaptConfig,
    *,
    skip_bad: bool = False,
) -> None:
    """Read, cut and tokenize the corpus into ``directory``, as the settings say.

    Segments leave room for both prompts, also where one is trained: whatever is trained reads the same ones.
    """
    skipped = Skipped() if skip_bad else None
    counts = Counter[str]()
    longest = prompts.text_limit(config.corpus.segment_tokens, ("self", "next"))
    build_store(
        _segments(corpus, prompts, config, skipped, counts, max_tokens=longest),
        prompts,
        directory,
        made_from=_made_from(base, corpus, prompts, config, skip_bad=skip_bad),
        max_tokens=longest,
        drop_words=load_stop_words(config.objective.stop_words),
    )
    if skipped is not None and skipped.count:
        say(str(skipped))
    read = {"documents": counts["documents"], "skipped": skipped.count if skipped else 0}
    write_text_atomic(directory / READ, json.dumps(read) + "\n")


def read_counts(directory: Path) -> dict[str, int]:
    """How many documents a store was made of and bad lines were left out; empty if nobody counted."""
    path = directory / READ
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _made_from(
    base: str, corpus: Sequence[str | Path], prompts: Prompts, config: AdaptConfig, *, skip_bad: bool
) -> dict[str, Any]:
    """All that decides what a store holds; of a data set of the hub only its name is known."""
    return {
        "base": base,
        "tokenizer": _digest(prompts.tokenizer),
        "skip_bad": skip_bad,
        "corpus": [_source_facts(source) for source in corpus],
        "preset": prompts.preset.name,
        "segments": to_dict(config.corpus),
        "stop_words": config.objective.stop_words,
    }


def _digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """What tells one tokenizer from another: its own description, or its vocabulary."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    text = backend.to_str() if backend is not None else json.dumps(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _source_facts(source: str | Path) -> dict[str, Any]:
    """Size and time of change of a source's files."""
    facts: dict[str, Any] = {"source": str(source)}
    if Path(source).exists():
        found = [(path, path.stat()) for path in files_of(source)]
        facts["files"] = [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in found]
    return facts


def _segments(
    corpus: Sequence[str | Path],
    prompts: Prompts,
    config: AdaptConfig,
    skipped: Skipped | None,
    counts: Counter[str],
    *,
    max_tokens: int,
) -> Iterator[Segment]:
    settings = config.corpus
    fields = Fields(id=settings.id_field, title=settings.title_field, text=settings.text_field)

    def counted() -> Iterator[Document]:
        for document in read_documents(corpus, fields=fields, skipped=skipped):
            counts["documents"] += 1
            yield document

    return iter_segments(
        counted(),
        max_tokens=max_tokens,
        count_tokens=prompts.count_tokens,
        language=settings.language,
    )


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
        recompute_activations(model)
    if lora.rank == 0:
        return model
    return with_lora(model, lora, new_ids=slot_ids(tokenizer, get_preset(config.prompt.preset)))


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
