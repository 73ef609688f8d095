"""Measuring, typed: evaluate and compare."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llara.cli.commands import say
from llara.cli.options import add_batch_size, add_no_titles, add_out, add_overwrite, new_command, positive
from llara.errors import ConfigError

if TYPE_CHECKING:
    from llara.datasets import StreamedCollection
    from llara.evaluate import Evaluation
    from llara.indexes import Words

__all__ = ["add_compare", "add_evaluate"]


def add_evaluate(subparsers: Any) -> None:
    """``llara evaluate``."""
    parser = new_command(
        subparsers,
        "evaluate",
        about="Search collections that have judgements and measure what comes back, with BM25 beside it; of"
        " sentence pairs, correlate similarities. Writes tables, metrics.json, per-query values and runs.",
        example="llara evaluate --model llara-mini --dataset collection --split test --out results",
        run=run_evaluate,
    )
    parser.add_argument(
        "--model",
        nargs="+",
        required=True,
        metavar="MODEL",
        help="retrievers (directory, hub name, llara-mini); lexical:NAME: the words that one's vectors hold;"
        " cls:NAME, mean:NAME, last:NAME: a plain model and its pooling; run:FILE: a TREC run; none: BM25"
        " alone",
    )
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--dataset",
        nargs="+",
        metavar="DATA",
        help="a directory in BEIR's layout, an id of ir_datasets (beir/scifact/test), a hub name"
        " (mteb/scifact), sentence pairs (.tsv, or a directory), or a suite: beir-13, msmarco, local:DIR",
    )
    asked.add_argument(
        "--unlabelled",
        action="store_true",
        help="no judgements: make tasks of the texts of --corpus (title to text, sentence to its passage,"
        " passage to the next)",
    )
    parser.add_argument("--corpus", nargs="+", metavar="SOURCE", help="of --unlabelled: as for llara adapt")
    parser.add_argument("--queries", type=positive, metavar="N", help="of each such task (default: 1000)")
    parser.add_argument(
        "--passages", type=positive, metavar="N", help="of each such task's corpus (default: 20000)"
    )
    parser.add_argument("--language", metavar="CODE", help="of --corpus (default: en)")
    parser.add_argument("--split", metavar="NAME", help="split of data that have several (default: test)")
    add_out(parser, "where tables, metrics.json and runs go")
    parser.add_argument("--resume", action="store_true", help="go on with an evaluation that was stopped")
    parser.add_argument(
        "--measures",
        nargs="+",
        metavar="NAME",
        help="as ir_measures writes them: nDCG@10 R@100 RR@10 AP (default: the first three, or the"
        " benchmark's own)",
    )
    parser.add_argument("--no-bm25", action="store_true", help="do not run BM25 beside the models")
    parser.add_argument(
        "--hybrid",
        choices=("rrf", "weighted"),
        help="also fuse each model with BM25: by reciprocal ranks, or with the weights best on --tune-split",
    )
    parser.add_argument(
        "--words",
        choices=("bm25", "lexical"),
        help="what --hybrid fuses a model with: BM25, or the words that its own vectors hold (default: bm25)",
    )
    parser.add_argument("--tune-split", metavar="NAME", help="the split on which weights are chosen")
    for role in ("query", "document"):
        parser.add_argument(
            f"--{role}-role",
            choices=("query", "document"),
            help=f"which prompt {role} texts get (default: {role}; document for both of a sentence pair)",
        )
    add_no_titles(parser)
    parser.add_argument(
        "--passage-words",
        type=positive,
        metavar="N",
        help="cut documents into passages of N words; the best one counts (MaxP; 150 is usual)",
    )
    parser.add_argument(
        "--passage-stride", type=positive, metavar="N", help="words between them (default: half a passage)"
    )
    parser.add_argument(
        "--ignore-identical-ids",
        action=argparse.BooleanOptionalAction,
        help="never return a document with the query's own id (default: for BEIR's collections, as it does)",
    )
    parser.add_argument(
        "--depth", type=positive, metavar="N", help="documents kept a query (default: as the measures need)"
    )
    add_batch_size(parser)


def add_compare(subparsers: Any) -> None:
    """``llara compare``."""
    parser = new_command(
        subparsers,
        "compare",
        about="Compare TREC runs on the same judged queries: differences with intervals, paired tests"
        " corrected for their number (Holm), effect sizes, wins and losses.",
        example="llara compare results/BM25.trec results/llara-mini.trec --qrels collection",
        run=run_compare,
    )
    parser.add_argument("run_files", nargs="+", type=Path, metavar="RUN", help="TREC run files")
    parser.add_argument(
        "--qrels",
        type=Path,
        required=True,
        metavar="FILE|DIR",
        help="judgements of BEIR (.tsv) or TREC, or a directory in BEIR's layout",
    )
    parser.add_argument("--split", metavar="NAME", help="of such a directory (default: test)")
    parser.add_argument("--measures", nargs="+", metavar="NAME", help="as for llara evaluate")
    parser.add_argument(
        "--test",
        choices=("randomization", "bootstrap"),
        default="randomization",
        help="which paired test (default: %(default)s)",
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="RUN", help="compare the others with this (default: the first)"
    )
    parser.add_argument("--all-pairs", action="store_true", help="compare each with each")
    parser.add_argument(
        "--alpha", type=float, default=0.05, metavar="P", help="level of tests and intervals (default: 0.05)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the comparison here, as JSON")
    add_overwrite(parser)


def run_evaluate(args: argparse.Namespace) -> None:
    from llara.evaluate import Asked, Reading, evaluate

    if not args.unlabelled:
        for name in ("corpus", "queries", "passages", "language"):
            if getattr(args, name) is not None:
                raise ConfigError(f"--{name} is for --unlabelled; a data set of --dataset is taken as it is")
    if args.words and not args.hybrid:
        raise ConfigError("--words says what --hybrid fuses each model with; add --hybrid")
    words: Words = args.words or "bm25"
    if args.hybrid and words == "bm25" and args.no_bm25:
        raise ConfigError("--hybrid fuses each model with BM25, which --no-bm25 leaves out; drop one of them")
    models = list(args.model)
    if not args.no_bm25 and not any(spec.lower() in ("bm25", "none") for spec in models):
        models.append("bm25")
    reading = Reading(
        title_separator=None if args.no_titles else " ",
        passage_words=args.passage_words,
        passage_stride=args.passage_stride,
    )
    found = evaluate(
        models=models,
        datasets=_unlabelled(args) if args.unlabelled else args.dataset,
        split=args.split,
        out=args.out,
        measures=args.measures,
        hybrid=args.hybrid,
        words=words,
        tune_split=args.tune_split,
        asked=Asked(
            query_role=args.query_role,
            document_role=args.document_role,
            reading=reading,
            depth=args.depth,
            ignore_identical_ids=args.ignore_identical_ids,
            batch_size=args.batch_size,
            progress=True,
        ),
        unlabelled=args.unlabelled,
        overwrite=args.overwrite,
        resume=args.resume,
    )
    for line in _table(found) if sys.stdout.isatty() else _json_lines(found):
        print(line)
    if args.unlabelled:
        from llara.evaluate.unlabelled import CAUTION
        from llara.evaluate.verdicts import verdicts

        for sentence in (*(each.sentence for each in verdicts(found)), CAUTION):
            say(sentence)
    say(f"tables with intervals, per-query values and runs are in {args.out}")


def _unlabelled(args: argparse.Namespace) -> list[StreamedCollection]:
    """The tasks made of a corpus; what could not be made is said."""
    from llara.corpus import read_documents
    from llara.evaluate.unlabelled import unlabelled_tasks

    if args.corpus is None:
        raise ConfigError("--unlabelled makes its tasks of a corpus; name one with --corpus")
    built = unlabelled_tasks(
        read_documents(args.corpus),
        queries=args.queries or 1000,
        max_documents=args.passages or 20_000,
        language=None if args.language == "none" else args.language or "en",
    )
    for name, reason in {**built.not_built, **built.notes}.items():
        say(f"{name}: {reason}")
    return list(built.tasks.values())


def run_compare(args: argparse.Namespace) -> None:
    from llara.evaluate import DEFAULT_MEASURES
    from llara.evaluate.comparison import compare_files

    found = compare_files(
        args.run_files,
        args.qrels,
        split=args.split,
        measures=args.measures or DEFAULT_MEASURES,
        test=args.test,
        baseline=args.baseline,
        all_pairs=args.all_pairs,
        alpha=args.alpha,
        out=args.out,
        overwrite=args.overwrite,
    )
    print(found.markdown() if sys.stdout.isatty() else found.to_json(), end="")


def _json_lines(found: Sequence[Evaluation]) -> Iterator[str]:
    for one in found:
        line = {"system": one.name, "dataset": one.dataset, "split": one.split, "metrics": one.metrics}
        yield json.dumps(line, ensure_ascii=False)


def _table(found: Sequence[Evaluation]) -> Iterator[str]:
    """Of each data set one row a system and, where two can be compared, the p-value of their difference."""
    for dataset in dict.fromkeys(one.dataset for one in found):
        yield from _dataset_table(dataset, [one for one in found if one.dataset == dataset])
        yield ""


def _dataset_table(dataset: str, found: Sequence[Evaluation]) -> Iterator[str]:
    from llara.evaluate import compare

    rows = [[dataset, *found[0].metrics]]
    rows += [[one.name, *(f"{value:.4f}" for value in one.metrics.values())] for one in found]
    if len(found) == 2 and found[0].per_query:
        differences = [compare(found[0], found[1], measure) for measure in found[0].metrics]
        rows.append(["p, paired", *(f"{each.p_value:.4f}" for each in differences)])
    first, width = max(len(row[0]) for row in rows), max(8, *(len(name) for name in rows[0][1:]))
    for name, *values in rows:
        yield f"{name:{first}}" + "".join(f"  {value:>{width}}" for value in values)
