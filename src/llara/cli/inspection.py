"""``llara inspect``: what a retriever sees in a text, or in two."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from llara.cli.commands import require
from llara.cli.options import new_command, positive
from llara.errors import InputError
from llara.unicode import check_text, sayable

__all__ = ["add_inspect"]


def add_inspect(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "inspect",
        about="See what a retriever sees in a text: the words that its vector holds as a document and expects"
        " as a query, the prompts, the mask. With --document: which words carry the similarity of a query and"
        " a document.",
        example='llara inspect --model llara-mini "The wing creates lift."',
        run=run_inspect,
    )
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="a retriever: directory or llara-mini; with --index, where its model is now",
    )
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="the model of an index, and the words of its documents"
    )
    parser.add_argument("text", help="the text; - reads it from stdin")
    parser.add_argument("--document", metavar="TEXT", help="compare: the text is a query, this a document")
    parser.add_argument(
        "--top", type=positive, default=20, metavar="N", help="words shown of a vector (default: %(default)s)"
    )
    parser.add_argument(
        "--format",
        choices=("auto", "text", "json"),
        default="auto",
        help="auto: text on a terminal, json in a pipe (default)",
    )


def run_inspect(args: argparse.Namespace) -> None:
    if args.index is None:
        require(args, {"--model or --index": args.model})
    text = sys.stdin.buffer.read().decode("utf-8", "replace") if args.text == "-" else args.text
    check_text(text, "the text")
    if not text.strip():  # before a model is loaded
        raise InputError("the text is empty; expected some words")
    from llara.inspect import Inspector, readable, readable_pair

    if args.index is not None:
        from llara.search import Searcher

        inspector = Inspector.of(Searcher.open(args.index, args.model))
    else:
        inspector = Inspector(args.model)
    shown_as_text = args.format == "text" or (args.format == "auto" and sys.stdout.isatty())
    if args.document is not None:
        pair = inspector.pair(text, args.document, top=args.top)
        print(readable_pair(pair) if shown_as_text else _json(pair.to_dict()))
        return
    found = inspector.inspect(text, top=args.top)
    print(readable(found) if shown_as_text else _json(found.to_dict()))


def _json(content: Any) -> str:
    return sayable(json.dumps(content, ensure_ascii=False))
