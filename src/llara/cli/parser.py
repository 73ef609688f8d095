"""What can be typed: one function per command, its help beginning with an example that works."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import llara
from llara.cli import commands
from llara.cli.encoding import add_encode
from llara.cli.evaluation import add_compare, add_evaluate
from llara.cli.inspection import add_inspect
from llara.cli.options import (
    TRAINING_DATA,
    Parser,
    add_batch_size,
    add_no_titles,
    add_out,
    add_overrides,
    add_overwrite,
    add_skip_bad,
    add_split_and_corpus,
    new_command,
    positive,
)
from llara.cli.serving import add_serve

__all__ = ["build_parser"]

DESCRIPTION = """\
Turn a decoder-only language model into a dense retriever, and search with it.

  adapt        train a language model to embed, from plain text alone
  mine         find hard negatives: passages that look like the answer and are not
  finetune     train a retriever on pairs of queries and passages
  convert      make a retriever of a language model without training it (the baseline)
  encode       turn texts into vectors
  index        build an index from vectors
  search       ask an index
  inspect      see what a model sees in a text, and why two are alike
  evaluate     measure models on collections with judgements, or on a corpus without
  compare      test whether runs differ by more than chance
  serve        answer over HTTP, with a page to search on
  quickstart   all of it in a few minutes, on the documentation of this machine

`llara COMMAND --help` says more. A model is a directory, a hub name, or one of the two
that ship with the package: llara-mini-base (a language model) and llara-mini (adapted)."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; every command sets ``run``."""
    parser = Parser(
        prog="llara",
        usage="llara [--help] [--version] COMMAND ...",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=True,
    )
    parser.example = "llara quickstart"
    parser.add_argument("--version", action="version", version=f"llara {llara.__version__}")
    subparsers = parser.add_subparsers(prog="llara", metavar="COMMAND", required=True, help=argparse.SUPPRESS)
    for add in (
        _adapt,
        _mine,
        _finetune,
        _convert,
        add_encode,
        _index,
        _search,
        add_inspect,
        add_evaluate,
        add_compare,
        add_serve,
        _quickstart,
    ):
        add(subparsers)
    return parser


def _adapt(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "adapt",
        about="Train a language model so that its embeddings hold the whole text and expect what follows it."
        " Needs plain text, no labels. The result loads with AutoModelForCausalLM and SentenceTransformer.",
        example="llara adapt --base llara-mini-base --corpus docs --out my-model --set training.max_steps=20",
        run=commands.run_adapt,
    )
    parser.add_argument(
        "--base", metavar="MODEL", help="the language model to start from (default: the recipe's)"
    )
    parser.add_argument(
        "--corpus",
        nargs="+",
        metavar="SOURCE",
        help=".jsonl, .tsv, .parquet, .txt, .md (.gz .xz .zst alike), folders of them, data sets of the hub",
    )
    add_out(parser, "where the model goes", required=False)
    parser.add_argument("--config", metavar="RECIPE", help="a recipe by name or as a .toml file")
    add_overrides(parser)
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="keep the tokenized corpus there for other runs, or take it from there (default: not kept)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument("--print-config", action="store_true", help="print all settings as a recipe and stop")
    add_skip_bad(parser)


def _mine(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "mine",
        about="Search with the queries of training data and keep what ranks high and is no answer. Writes a"
        " training file for llara finetune, and says how many candidates each filter removed.",
        example="llara mine --model llara-mini --data questions.jsonl --corpus docs --out negatives.jsonl",
        run=commands.run_mine,
    )
    parser.add_argument("--model", metavar="MODEL", help="the retriever that searches (not for source=bm25)")
    parser.add_argument("--data", nargs="+", metavar="SOURCE", help=TRAINING_DATA)
    add_out(parser, "the training file (.jsonl)", required=False, metavar="FILE")
    add_split_and_corpus(parser, corpus="what is searched, if not the corpus or the passages of the data")
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="an index of that corpus, to save encoding it"
    )
    parser.add_argument("--config", metavar="RECIPE", help="a recipe by name or as a .toml file")
    add_overrides(parser)
    add_batch_size(parser)
    add_no_titles(parser)
    parser.add_argument("--print-config", action="store_true", help="print all settings as a recipe and stop")


def _finetune(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "finetune",
        about="Train a retriever to score a query's passage above hard negatives and above the passages of"
        " all other queries. The result is a model directory like any other.",
        example="llara finetune --model llara-mini --train negatives.jsonl --out my-retriever",
        run=commands.run_finetune,
    )
    parser.add_argument("--model", metavar="MODEL", help="the retriever to train (default: the recipe's)")
    parser.add_argument("--train", nargs="+", metavar="SOURCE", help=TRAINING_DATA)
    add_out(parser, "where the model goes", required=False)
    add_split_and_corpus(parser, corpus="where passages are looked up that the data name by id only")
    parser.add_argument("--config", metavar="RECIPE", help="a recipe by name or as a .toml file")
    add_overrides(parser)
    parser.add_argument(
        "--rounds",
        type=positive,
        metavar="N",
        help="mine negatives with the newest model and train on them, N times over",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    parser.add_argument(
        "--adapter-only", action="store_true", help="write the LoRA adapter, not the merged model"
    )
    parser.add_argument("--print-config", action="store_true", help="print all settings as a recipe and stop")


def _convert(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "convert",
        about="Make a retriever directory of a language model as it is, untrained: the baseline of every"
        " comparison. Also reads the released BAAI/LLARA checkpoints (--preset eight-words).",
        example="llara convert --base llara-mini-base --out baseline",
        run=commands.run_convert,
    )
    parser.add_argument("--base", metavar="MODEL", required=True, help="the language model")
    add_out(parser, "where the retriever goes")
    parser.add_argument(
        "--preset",
        choices=("paper", "eight-words"),
        default="paper",
        help="the prompts (default: %(default)s)",
    )
    parser.add_argument(
        "--max-tokens",
        type=positive,
        default=512,
        metavar="N",
        help="longest input in tokens, prompt included (default: %(default)s)",
    )


def _index(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "index",
        about="Build an index from encoded documents, or add documents to one and delete them from it. "
        "An update"
        " that is killed leaves the index as it was.",
        example="llara index --vectors vectors --out index",
        run=commands.run_index,
    )
    parser.add_argument(
        "--vectors", type=Path, metavar="DIR", help="build from what llara encode --role document wrote"
    )
    add_out(parser, "where the new index goes", required=False)
    parser.add_argument(
        "--kind",
        choices=("exact", "hnsw", "ivf-flat", "ivf-sq8", "ivf-pq", "sq8", "binary"),
        default="exact",
        help="exact: every vector is compared; hnsw: a graph is walked; ivf-...: the nearest lists are "
        "read, of whole"
        " vectors or of a byte or few bits a dimension; sq8, binary: every vector in a byte or a bit a "
        "dimension"
        " (default: exact; docs/scale.md says what each costs and finds)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A=B",
        dest="overrides",
        help="change one setting of the kind, nlist=4096; may be repeated",
    )
    parser.add_argument(
        "--backend",
        choices=("faiss", "milvus"),
        default="faiss",
        help="faiss: files in --out; milvus: Milvus Lite in --out, or a server (default: faiss)",
    )
    parser.add_argument(
        "--uri",
        metavar="URI",
        help="a Milvus server; its token is read from the environment variable MILVUS_TOKEN",
    )
    parser.add_argument("--collection", metavar="NAME", help="its name in Milvus (default: made of --out)")
    parser.add_argument(
        "--bm25", action="store_true", help="also index the documents' words, for --mode bm25 and hybrid"
    )
    parser.add_argument(
        "--lexical",
        action="store_true",
        help="also index how strongly each document's vector holds its words, for --mode lexical",
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="where the model that made the vectors is now, for --lexical of vectors encoded without it",
    )
    parser.add_argument("--index", type=Path, metavar="DIR", help="the index that --add or --delete changes")
    changed = parser.add_mutually_exclusive_group()
    changed.add_argument(
        "--add",
        type=Path,
        metavar="DIR",
        help="add these encoded documents; one whose id is there is replaced",
    )
    changed.add_argument(
        "--delete", nargs="+", metavar="ID", help="delete documents by id; - reads one id a line from stdin"
    )


def _search(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "search",
        about="Ask an index. Readable on a terminal; in a pipe one JSON object a line for each hit.",
        example='llara search --index index "how do I open a file" -k 3',
        run=commands.run_search,
    )
    parser.add_argument("--index", type=Path, required=True, metavar="DIR", help="what llara index wrote")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("query", nargs="?", help="the query; - reads one query a line from stdin")
    asked.add_argument("--queries", type=Path, metavar="FILE", help="queries, .jsonl or one a line")
    parser.add_argument(
        "-k", type=positive, default=10, metavar="N", help="hits per query (default: %(default)s)"
    )
    parser.add_argument(
        "--mode",
        choices=("dense", "bm25", "lexical", "hybrid"),
        default="dense",
        help="dense: by vectors; bm25, lexical: by words (of an index built with --bm25, --lexical); hybrid: "
        "dense and words, fused by ranks (default: dense)",
    )
    parser.add_argument(
        "--words",
        choices=("bm25", "lexical"),
        help="which words a hybrid takes (default: bm25 where the index has them)",
    )
    parser.add_argument(
        "--model", metavar="MODEL", help="the model, if it has moved since its vectors were made"
    )
    parser.add_argument(
        "--filter",
        metavar="FILTER",
        dest="where",
        help='only documents whose metadata match: \'year > 2000 and lang in ["en", "de"]\'',
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A=B",
        dest="overrides",
        help="how widely this search looks: nprobe=64 (ivf), efSearch=256 (hnsw), k_factor=50 (rescored "
        "kinds)",
    )
    parser.add_argument("--run", type=Path, metavar="FILE", dest="run_file", help="also write a TREC run")
    add_overwrite(parser)
    parser.add_argument(
        "--format",
        choices=("auto", "text", "json"),
        default="auto",
        help="auto: text on a terminal, json in a pipe (default)",
    )


def _quickstart(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "quickstart",
        about="See a language model that cannot search become one that can: on the documentation of this"
        " machine, without labels, downloads or a GPU, in a few minutes.",
        example="llara quickstart",
        run=commands.run_quickstart,
    )
    add_out(parser, "where everything goes", default=Path("runs/quickstart"))
    parser.add_argument(
        "--passages",
        type=positive,
        default=10_000,
        metavar="N",
        help="size of the corpus (default: %(default)s); fewer are quicker",
    )
    add_overrides(parser)
