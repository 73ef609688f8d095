"""From a decoder-only language model to a dense retriever (LLaRA, arXiv 2312.15503).

Read the package in this order; a module imports only from those before it:

    errors       what can go wrong, as a user meets it
    files        whole outputs or none
    unicode      what UTF-8 cannot hold
    forking      processes with their libraries imported
    settings     dataclasses as checked settings
    config       the settings of each stage, and recipes
    corpus       documents, cut into segments with their successors
    datasets     collections: corpus, queries, judgements

    stopwords    words left out of a target, if asked

    prompts      the paper, first of four: SELF and NEXT, a text as token ids
    joint        both prompts in one pass: the one predicate behind every mask
    objective    Eq. 6
    slots        the one module of ours inside a model, for eight-words only
    modules      what sentence-transformers reads in a model directory
    model        model directories: load, convert, save
    hub          models of the Hugging Face Hub as directories
    made_by      is a model the one that made some vectors?
    lexicon      the words that are looked for in vectors
    report       numbers -> tables, charts, a page
    training     what every training run has: its directory, checkpoints, progress
    adapt        the paper, last of four: EBAE and EBAR training

    encoder      texts -> vectors, fast; and their smaller forms
    terms        texts -> the terms that words are counted by
    words        vectors -> words, by the output head
    postings     term -> the documents that hold it
    lexical      search by words: BM25, and the words that vectors hold
    vectors      directories of vectors and their texts, in shards
    engines      where shards run: here, under torchrun, on Ray
    encode       a file of texts -> a directory of vectors
    indexes      vectors -> an index
    fusion       several runs -> one
    search       queries -> hits, by vectors, by words, or both
    inspect      what a vector holds and expects, and why two texts are alike
    significance is a difference more than chance?
    evaluate     runs -> measures
    mine         hard negatives from a search
    finetune     contrastive training
    quickstart   all of it, on the documentation of this machine
    serve        the retriever over HTTP
    cli          all of it, typed

The names below come in on first use, so ``import llara`` is quick and loads no torch. A function that is
named as its module is imported from there: ``from llara.adapt import adapt``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "AdaptConfig",
    "Bm25",
    "ConfigError",
    "Document",
    "Encoder",
    "FinetuneConfig",
    "Hit",
    "InputError",
    "Inspector",
    "LlaraError",
    "MineConfig",
    "MissingExtraError",
    "ModelError",
    "OutputError",
    "Searcher",
    "Segment",
    "adaptation_losses",
    "add_to_index",
    "build_index",
    "convert",
    "delete_from_index",
    "encode_file",
    "encode_texts",
    "evaluate_run",
    "iter_segments",
    "list_recipes",
    "load",
    "load_recipe",
    "open_index",
    "read_beir",
    "read_documents",
    "read_run",
    "write_run",
]

_MODULES = {
    "adapt": ["adaptation_losses"],
    "config": ["AdaptConfig", "FinetuneConfig", "MineConfig", "list_recipes", "load_recipe"],
    "corpus": ["Document", "Segment", "iter_segments", "read_documents"],
    "datasets": ["read_beir"],
    "encode": ["encode_file", "encode_texts"],
    "encoder": ["Encoder"],
    "errors": ["ConfigError", "InputError", "LlaraError", "MissingExtraError", "ModelError", "OutputError"],
    "evaluate": ["evaluate_run"],
    "inspect": ["Inspector"],
    "indexes": ["add_to_index", "build_index", "delete_from_index", "open_index"],
    "model": ["convert", "load"],
    "search": ["Bm25", "Hit", "Searcher", "read_run", "write_run"],
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

if TYPE_CHECKING:
    from llara.adapt import adaptation_losses
    from llara.config import AdaptConfig, FinetuneConfig, MineConfig, list_recipes, load_recipe
    from llara.corpus import Document, Segment, iter_segments, read_documents
    from llara.datasets import read_beir
    from llara.encode import encode_file, encode_texts
    from llara.encoder import Encoder
    from llara.errors import (
        ConfigError,
        InputError,
        LlaraError,
        MissingExtraError,
        ModelError,
        OutputError,
    )
    from llara.evaluate import evaluate_run
    from llara.indexes import add_to_index, build_index, delete_from_index, open_index
    from llara.inspect import Inspector
    from llara.model import convert, load
    from llara.search import Bm25, Hit, Searcher, read_run, write_run


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"llara.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
