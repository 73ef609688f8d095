"""What each command does: arguments in, the library called, the result on stdout."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from llara.errors import InputError, OutputError
from llara.settings import listed
from llara.unicode import check_text, sayable

if TYPE_CHECKING:
    from llara.config import AdaptConfig, FinetuneConfig
    from llara.search import Hit

SHOWN_CHARACTERS = 300  # of a hit's text, on a terminal
QUERIES_AT_ONCE = 256


def say(text: str) -> None:
    """Speech: to stderr, from one process of a distributed run."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


def run_adapt(args: argparse.Namespace) -> None:
    config = _adapt_config(args)
    if args.print_config:
        from llara.config import recipe_text

        print(recipe_text(config), end="")
        return
    require(args, {"--base": config.base, "--corpus": args.corpus, "--out": args.out})
    from llara.adapt import adapt

    assert config.base is not None
    result = adapt(
        base=config.base,
        corpus=args.corpus,
        out=args.out,
        config=config,
        store=args.store,
        resume=args.resume,
        overwrite=args.overwrite,
        skip_bad=args.skip_bad,
    )
    if os.environ.get("RANK", "0") == "0":
        print(result.out)
    say(f"trained in {result.seconds:.0f} s; next: llara encode --model {result.out} --role document ...")


def _adapt_config(args: argparse.Namespace) -> AdaptConfig:
    from llara.config import AdaptConfig, load_recipe
    from llara.settings import apply_overrides

    config = load_recipe(args.config, AdaptConfig) if args.config else AdaptConfig()
    config = apply_overrides(config, args.overrides)
    return replace(config, base=args.base) if args.base else config


def run_mine(args: argparse.Namespace) -> None:
    from llara.config import MineConfig, load_recipe, recipe_text
    from llara.settings import apply_overrides

    config = load_recipe(args.config, MineConfig) if args.config else MineConfig()
    config = apply_overrides(config, args.overrides)
    if args.print_config:
        print(recipe_text(config), end="")
        return
    needed = {"--data": args.data, "--out": args.out}
    if config.source != "bm25":
        needed["--model"] = args.model
    require(args, needed)
    from llara.mine import mine

    result = mine(
        model=args.model,
        data=args.data,
        out=args.out,
        config=config,
        split=args.split,
        corpus=args.corpus,
        title_separator=title_separator(args),
        index=args.index,
        batch_size=args.batch_size,
        overwrite=args.overwrite,
        progress=True,
    )
    print(result.out)
    say(f"{result.report}\n{result}")


def run_finetune(args: argparse.Namespace) -> None:
    config = _finetune_config(args)
    if args.print_config:
        from llara.config import recipe_text

        print(recipe_text(config), end="")
        return
    require(args, {"--model": config.model, "--train": args.train, "--out": args.out})
    from llara.finetune import finetune

    assert config.model is not None
    result = finetune(
        model=config.model,
        train=args.train,
        out=args.out,
        config=config,
        split=args.split,
        corpus=args.corpus,
        adapter_only=args.adapter_only,
        resume=args.resume,
        overwrite=args.overwrite,
    )
    if os.environ.get("RANK", "0") == "0":
        print(result.out)
    say(f"trained in {result.seconds:.0f} s")


def _finetune_config(args: argparse.Namespace) -> FinetuneConfig:
    from llara.config import FinetuneConfig, load_recipe
    from llara.settings import apply_overrides

    config = load_recipe(args.config, FinetuneConfig) if args.config else FinetuneConfig()
    config = apply_overrides(config, args.overrides)
    given = {"model": args.model, "rounds": args.rounds}
    return replace(config, **{name: value for name, value in given.items() if value is not None})


def title_separator(args: argparse.Namespace) -> str | None:
    """None without titles, else as the model was trained."""
    from llara.hub import local_directory
    from llara.model import title_separator_of

    if args.no_titles:
        return None
    return " " if args.model in (None, "none") else title_separator_of(local_directory(args.model))


def require(args: argparse.Namespace, given: dict[str, object]) -> None:
    """Wrong usage, unless every one of these options has a value."""
    missing = [name for name, value in given.items() if not value]
    if missing:
        args.usage_error(f"also needed: {listed(missing)}")


def run_convert(args: argparse.Namespace) -> None:
    from llara.model import convert

    print(
        convert(args.base, args.out, preset=args.preset, max_tokens=args.max_tokens, overwrite=args.overwrite)
    )


def run_index(args: argparse.Namespace) -> None:
    from llara.indexes import add_to_index, build_index, delete_from_index

    if args.index is None:
        if args.add or args.delete:
            args.usage_error("also needed: --index")
        require(args, {"--vectors": args.vectors, "--out": args.out})
        print(
            build_index(
                args.vectors,
                args.out,
                kind=args.kind,
                settings=args.overrides,
                backend=args.backend,
                uri=args.uri,
                collection=args.collection,
                words=[name for name in ("bm25", "lexical") if getattr(args, name)],
                model=args.model,
                overwrite=args.overwrite,
            )
        )
        return
    if args.vectors or args.out or args.bm25 or args.lexical or not (args.add or args.delete):
        args.usage_error("--index goes with --add or --delete; --vectors and --out build a new index")
    if args.add:
        change = add_to_index(args.index, args.add, model=args.model)
        say(f"{change.added:,} documents added, {change.replaced:,} replaced")
    else:
        ids = [id_ for _, id_ in _stdin_lines("id")] if args.delete == ["-"] else args.delete
        change = delete_from_index(args.index, ids)
        say(f"{change.deleted:,} documents deleted, {change.missing:,} were not there")
    print(args.index)


def run_search(args: argparse.Namespace) -> None:
    from llara.search import Run, Searcher, run_from_hits, write_run

    if args.run_file is not None and args.run_file.exists() and not args.overwrite:
        raise OutputError(f"the run file {args.run_file} exists; choose another or pass --overwrite")
    queries = _queries(args)
    for query_id, text in queries:
        check_text(text, f"the query {query_id!r}")
    searcher = Searcher.open(args.index, args.model, settings=args.overrides)
    readable = args.format == "text" or (args.format == "auto" and sys.stdout.isatty())
    run: Run = {}
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        ids, texts = zip(*queries[start : start + QUERIES_AT_ONCE], strict=True)
        results = searcher.search(texts, args.k, mode=args.mode, words=args.words, where=args.where)
        if args.run_file:
            run |= run_from_hits(ids, results)
        for query_id, text, hits in zip(ids, texts, results, strict=True):
            for line in _readable(text, hits) if readable else _json_lines(query_id, text, hits):
                print(line)
    if args.run_file:
        write_run(args.run_file, run, "llara")


def _queries(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Pairs of query id and text, at least one; a query that has no id gets its number."""
    if args.queries is not None:
        from llara.datasets import read_queries

        return list(read_queries(args.queries).items())
    if args.query != "-":
        if not args.query.strip():
            raise InputError("the query is empty; expected some words")
        return [("1", args.query)]
    found = [(number, query.strip()) for number, query in _stdin_lines("query")]
    if not found:
        raise InputError("no query came on stdin; expected one a line")
    return found


def _stdin_lines(what: str) -> Iterator[tuple[str, str]]:
    """Number and text of each line that is not blank, without its end; UTF-8, whatever the locale."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise InputError(f"stdin:{number}: not UTF-8 ({error}); expected one {what} a line") from error
        if text.strip():
            yield str(number), text


def _json_lines(query_id: str, query: str, hits: Sequence[Hit]) -> Iterator[str]:
    for hit in hits:
        found = {"query_id": query_id, "query": query, **asdict(hit)}
        yield sayable(json.dumps(found, ensure_ascii=False))


def _readable(query: str, hits: Sequence[Hit]) -> Iterator[str]:
    yield query
    for hit in hits:
        text = " ".join(hit.text.split())
        shown = text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS].rsplit(" ", 1)[0] + " ..."
        yield f"{hit.rank:4}. {hit.score:.3f}  {hit.title or hit.id}"
        yield f"      {shown}"
    yield ""


def run_quickstart(args: argparse.Namespace) -> None:
    from llara.quickstart import quickstart

    quickstart(args.out, overwrite=args.overwrite, num_passages=args.passages, overrides=args.overrides)
