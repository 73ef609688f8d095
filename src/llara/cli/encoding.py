"""``llara encode``: texts into a directory of vectors, and whether such a directory is whole."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from llara.cli.commands import require, say, title_separator
from llara.cli.options import (
    add_no_titles,
    add_overwrite,
    new_command,
    positive,
)
from llara.errors import InputError

__all__ = ["add_encode"]

_DTYPES = ("float32", "float16", "int8", "binary")
_PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_ENGINES = ("local", "torchrun", "ray")


def add_encode(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "encode",
        about="Turn queries or documents into vectors, written in shards. A run that was stopped goes on with"
        " --resume, and ends with the same files, on however many workers. docs/encode.md has the commands"
        " for several machines.",
        example="llara encode --model llara-mini --input docs --role document --out vectors",
        run=run_encode,
    )
    parser.add_argument("--model", metavar="MODEL", help="a retriever: directory, hub name or llara-mini")
    parser.add_argument(
        "--input", nargs="+", metavar="SOURCE", help="files or folders, as for llara adapt --corpus"
    )
    parser.add_argument("--role", choices=("query", "document"), help="which prompt to use")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the vectors go")
    add_overwrite(parser)
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped, or renew what is damaged"
    )
    parser.add_argument(
        "--verify", type=Path, metavar="DIR", help="only check that a directory is as it was written"
    )
    _add_input(parser)
    _add_output(parser)
    _add_workers(parser)


def _add_input(parser: argparse.ArgumentParser) -> None:
    for what in ("id", "title", "text"):
        parser.add_argument(
            f"--{what}-field",
            default=what,
            metavar="NAME",
            help=f"field of the {what} (default: %(default)s)",
        )
    parser.add_argument(
        "--no-metadata", action="store_true", help="drop a record's other fields, instead of keeping them"
    )
    add_no_titles(parser)
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="count and report bad lines and repeated ids instead of stopping",
    )
    parser.add_argument(
        "--texts-only", action="store_true", help="read and check the input and stop; --resume encodes it"
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dtype",
        choices=_DTYPES,
        default="float32",
        help="what is stored of a vector (default: %(default)s)",
    )
    parser.add_argument(
        "--dimensions", type=positive, metavar="N", help="store only the first N numbers of each vector"
    )
    parser.add_argument(
        "--lexical",
        action="store_true",
        help="also write how strongly each document's whole vector holds its words, for llara index --lexical"
        " and other search engines",
    )
    parser.add_argument(
        "--shard-size",
        type=positive,
        default=50_000,
        metavar="N",
        help="vectors in a file (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        choices=_PRECISIONS,
        help="what the model computes in (default: float32 on a processor, the weights' own on a GPU);"
        " auto: bfloat16 where the device is fast in it",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the model's layers, for large models on a GPU; it takes a minute at first",
    )
    parser.add_argument(
        "--batch-size",
        type=positive,
        metavar="N",
        help="no batch holds more texts (default: as many as its tokens allow; 64 of models not ours)",
    )


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engine",
        choices=_ENGINES,
        default="local",
        help="local: on this machine; torchrun: in the processes that torchrun started; ray: on a Ray cluster"
        " (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=positive,
        metavar="N",
        help="for local and ray (default: one for each GPU, or one)",
    )


def run_encode(args: argparse.Namespace) -> None:
    if args.verify is not None:
        _verify(args.verify)
        return
    require(args, {"--model": args.model, "--input": args.input, "--role": args.role, "--out": args.out})
    from llara.corpus import Fields, Skipped
    from llara.encode import EncodeRun, Input

    is_document = args.role == "document"
    fields = Fields(
        id=args.id_field,
        title=args.title_field,
        text=args.text_field,
        metadata=is_document and not args.no_metadata,
    )
    run = EncodeRun(
        model=args.model,
        given=Input(tuple(args.input), args.role, fields, args.skip_bad),
        out=args.out,
        title_separator=title_separator(args),
        dtype=args.dtype,
        dimensions=args.dimensions,
        lexical=args.lexical,
        batch_size=args.batch_size,
        precision=args.precision,
        compile_layers=args.compile,
        shard_size=args.shard_size,
        engine=args.engine,
        workers=args.workers,
        resume=args.resume,
        overwrite=args.overwrite,
        progress=True,
        tell=say,
    )
    if args.texts_only:
        work = run.read()
        _print_first(work)
        say("the texts are read; go on with --resume")
        return
    manifest = run.encode()
    if manifest.skipped:
        say(str(Skipped(count=manifest.skipped, messages=list(manifest.skipped_messages))))
    if manifest.empty:
        say(f"{manifest.empty:,} texts are empty; they have vectors, too")
    _print_first(args.out)
    say(f"{manifest.count:,} vectors of {manifest.dimension} numbers ({manifest.dtype})")


def _verify(directory: Path) -> None:
    from llara.encode import verify

    problems = 0
    for problem in verify(directory):
        print(problem)
        problems += 1
    if problems:
        raise InputError(
            f"{directory} is damaged ({problems} problems); the command that made it, with --resume, makes"
            " the damaged shards anew"
        )
    say(f"{directory} is complete and as it was written")


def _print_first(path: Path) -> None:
    """The result, from one process of a distributed run."""
    if os.environ.get("RANK", "0") == "0":
        print(path)
