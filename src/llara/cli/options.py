"""What the commands' parsers share: help that begins with an example, and options that several have."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

__all__ = [
    "TRAINING_DATA",
    "Parser",
    "add_batch_size",
    "add_model",
    "add_no_titles",
    "add_out",
    "add_overrides",
    "add_overwrite",
    "add_skip_bad",
    "add_split_and_corpus",
    "new_command",
    "positive",
]


class Parser(argparse.ArgumentParser):
    """A parser whose help begins with an example; a command's refuses itself what it does not know."""

    example = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # type: ignore[override]
        is_command = self._subparsers is None
        if is_command and (unknown := self._unknown_flags(args)):
            self.error(f"unrecognized arguments: {', '.join(unknown)}")  # before what is missing without them
        found, rest = super().parse_known_args(args, namespace)
        if is_command and rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return found, rest

    def _unknown_flags(self, args: Sequence[str]) -> list[str]:
        """Those that are none of this command's, with the nearest that is."""
        from difflib import get_close_matches

        known = {flag.lstrip("-"): flag for flag in self._option_string_actions}
        found: list[str] = []
        if not {"-h", "--help"}.isdisjoint(args):
            return found
        for argument in itertools.takewhile(lambda each: each != "--", args):
            flag = argument.partition("=")[0]
            if flag.startswith("--") and " " not in argument and flag not in self._option_string_actions:
                near = get_close_matches(flag.lstrip("-"), known, n=1)
                found.append(f"{flag} (did you mean {known[near[0]]}?)" if near else flag)
        return found

    def format_help(self) -> str:
        return (f"example: {self.example}\n\n" if self.example else "") + super().format_help()


def new_command(
    subparsers: Any, name: str, *, about: str, example: str, run: Callable[[argparse.Namespace], None]
) -> Parser:
    parser = cast(Parser, subparsers.add_parser(name, description=about, allow_abbrev=False))
    parser.example = example
    parser.set_defaults(run=run, usage_error=parser.error)
    return parser


TRAINING_DATA = (
    "training data: a directory in BEIR's layout or with MS MARCO's files, a .jsonl file of FlagEmbedding or"
    " Tevatron, a data set of the hub, or ir_datasets:NAME"
)


def add_split_and_corpus(parser: Parser, *, corpus: str) -> None:
    parser.add_argument(
        "--split",
        default="train",
        metavar="NAME",
        help="split of data that have several (default: %(default)s)",
    )
    parser.add_argument("--corpus", metavar="SOURCE", help=corpus)


def add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", required=True, metavar="MODEL", help="a retriever: directory, hub name or llara-mini"
    )


def add_out(
    parser: argparse.ArgumentParser,
    about: str,
    *,
    required: bool = True,
    default: Path | None = None,
    metavar: str = "DIR",
) -> None:
    shown = f"{about} (default: {default})" if default else about
    required = required and default is None
    parser.add_argument("--out", type=Path, required=required, default=default, metavar=metavar, help=shown)
    add_overwrite(parser)


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")


def add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A.B=C",
        dest="overrides",
        help="change one setting of the recipe; may be repeated",
    )


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--batch-size", type=positive, default=64, metavar="N", help="texts at a time (default: %(default)s)"
    )


def add_no_titles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-titles", action="store_true", help="leave titles out of the documents' texts")


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--skip-bad", action="store_true", help="count and report bad lines instead of stopping"
    )


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)
