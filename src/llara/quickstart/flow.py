"""The steps of ``llara quickstart``, and what each leaves in its directory.

collection/          the documentation as a BEIR directory: `llara evaluate --dataset` reads it
corpus/              the same documentation as plain text, uncut: what is adapted to
negatives.jsonl      the training queries with mined negatives: `llara finetune --train` reads it
base/ mini/          model directories: un-adapted, and as shipped
adapted/ finetuned/  and adapted here, and that one fine-tuned
index/NAME           an index of the collection by each of them: `llara search --index` reads it
runs/*.trec          what each system found for the test queries
results.json  report.html
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llara.config import AdaptConfig, FinetuneConfig, MineConfig, apply_overrides, load_recipe
from llara.datasets import Collection, write_beir
from llara.errors import InputError, OutputError
from llara.files import atomic_directory, check_output, write_text_atomic
from llara.quickstart.known_items import adaptation_texts, known_items
from llara.quickstart.pydocs import Passage, read_passages
from llara.quickstart.summary import (
    ADAPTED,
    BASE,
    BM25,
    FINETUNED,
    MEASURES,
    MINI,
    Results,
    page,
    readable,
    to_json,
)
from llara.report import REPORT, leave_report
from llara.report.machine import machine, peak_memory, versions
from llara.settings import to_toml

if TYPE_CHECKING:
    from llara.evaluate import Evaluation
    from llara.search import Hit

__all__ = ["QUESTIONS", "quickstart"]

RESULTS = "results.json"
FORMAT = "llara-quickstart/1"
DEPTH = 100  # documents kept for each query
BATCH_SIZE = 16  # a quarter faster than 64 on a CPU, whose cache it fits
NUM_STEPS = 7
DIRECTORIES = (
    *("collection", "corpus", "vectors", "index", "runs"),
    *("base", "mini", "adapted", "adapted.partial", "finetuned", "finetuned.partial"),
)
FILES = ("negatives.jsonl", "negatives.mining.json", "report.html")  # results.json stays, to know ours by
QUESTIONS = (
    "run a command in another process and wait until it has finished",
    "how many days are there in a month",
    "what happens to open files when the with block raises an error",
)


def quickstart(
    out: Path = Path("runs/quickstart"),
    *,
    overwrite: bool = False,
    base: str = "llara-mini-base",
    adapted: str = "llara-mini",
    recipe: str = "quickstart-adapt",
    overrides: Sequence[str] = (),
    finetune_recipe: str = "quickstart-finetune",
    num_passages: int = 10_000,
    num_test_queries: int = 500,
    num_train_queries: int = 2_000,
) -> Path:
    """Run all steps into ``out`` and return the path of the report; progress on stderr, results on stdout.

    What an earlier quickstart left in ``out`` is replaced. About five minutes on two cores, under 3 GB.

    Args:
        overwrite: use ``out`` even if it holds something else; only what this function writes is replaced.
        base: the language model that is shown un-adapted.
        adapted: the model that is shown as it is, and further adapted by ``recipe`` and ``overrides``.
        finetune_recipe: how negatives are mined with the model adapted here, and how it is fine-tuned.
        num_passages: size of the corpus.

    Raises:
        InputError: this Python came without its sources, so that there is no documentation.
        OutputError: ``out`` holds something that no quickstart wrote, or cannot be written.
        ConfigError: the recipe or an override is not valid.
        ModelError: a model is missing.
    """
    config = apply_overrides(load_recipe(recipe, AdaptConfig), overrides)
    mining = load_recipe(finetune_recipe, MineConfig)
    tuning = load_recipe(finetune_recipe, FinetuneConfig)
    _claim(out, overwrite=overwrite)
    steps = _Steps()

    with steps.next("reading the documentation of this machine") as done:
        passages = read_passages(num_passages)
        splits = _write_collection(out, passages, num_test_queries, num_train_queries)
        test = splits["test"]
        done(
            f"{len(passages):,} passages of {len({p.package for p in passages})} packages; "
            f"{len(test.queries):,} test queries, from packages without a training query"
        )
    recipes = {
        "adaptation": to_toml(config, table="adapt"),
        "mining": to_toml(mining, table="mine"),
        "fine-tuning": to_toml(tuning, table="finetune"),
    }
    results = Results(facts=_facts(passages, splits), test=test, recipes=recipes)

    with steps.next("counting words: BM25, the baseline that needs no model") as done:
        done(_keep(out, results, BM25, _bm25(test)))

    with steps.next("the language model as it is, un-adapted, as a retriever") as done:
        from llara.model import convert, resolve  # torch takes seconds to load: not before there is news

        convert(base, out / "base")
        done(_keep(out, results, BASE, _dense(out, "base", test)))

    with steps.next("the same model after adaptation on Wikipedia, as shipped") as done:
        shipped = Path(resolve(adapted))
        with atomic_directory(out / "mini") as directory:
            shutil.copytree(shipped, directory, dirs_exist_ok=True)
        results.losses["on Wikipedia, as shipped"] = _training_log(shipped)
        done(_keep(out, results, MINI, _dense(out, "mini", test)))

    with steps.next("adapting it further to this documentation, without labels") as done:
        from llara.adapt import adapt

        trained = adapt(base=str(out / "mini"), corpus=[out / "corpus"], out=out / "adapted", config=config)
        results.losses["further, on this documentation"] = trained.log
        done(f"trained for {trained.seconds:.0f} s")
        done(_keep(out, results, ADAPTED, _dense(out, "adapted", test)))

    with steps.next("fine-tuning it with labels: summaries of other packages, and mined negatives") as done:
        done(_fine_tune(out, results, mining, tuning))
        done(_keep(out, results, FINETUNED, _dense(out, "finetuned", test)))

    with steps.next("asking, and writing the report") as done:
        results.answers = {
            name: _ask(out / "index" / directory)
            for name, directory in ((BASE, "base"), (ADAPTED, "adapted"), (FINETUNED, "finetuned"))
        }
        results.questions = QUESTIONS
        results.seconds = steps.seconds
        results.facts["Time"] = f"{time.monotonic() - steps.started:.0f} s"
        results.facts["Memory at its peak"] = peak_memory()
        write_text_atomic(out / RESULTS, _json({"format": FORMAT, "finished": True, **to_json(results)}))
        report = out / REPORT
        done(str(report) if leave_report(report, lambda: page(results, out)) else "no report")

    print(readable(results))
    _say(f"done in {time.monotonic() - steps.started:.0f} s. Next, type:")
    for command in results.commands(out):
        _say(f"  {command}")
    return report


def _claim(out: Path, *, overwrite: bool) -> None:
    """Make ``out`` ours: empty of what a quickstart writes, with a first ``results.json`` to know it by."""
    if not _is_ours(out):
        check_output(out, overwrite=overwrite)
    try:
        for name in DIRECTORIES:
            shutil.rmtree(out / name, ignore_errors=True)
        for name in FILES:
            (out / name).unlink(missing_ok=True)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    write_text_atomic(out / RESULTS, _json({"format": FORMAT, "finished": False}))


def _is_ours(out: Path) -> bool:
    try:
        content = json.loads((out / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def _write_collection(
    out: Path, passages: Sequence[Passage], num_test_queries: int, num_train_queries: int
) -> dict[str, Collection]:
    splits = known_items(passages, num_test_queries=num_test_queries, num_train_queries=num_train_queries)
    if not all(split.queries for split in splits.values()):
        raise InputError(
            f"{len(passages)} passages of documentation on this machine gave no queries, expected thousands; "
            "this Python was installed without its .py files. Use a standard build of Python"
        )
    write_beir(out / "collection", splits)
    with atomic_directory(out / "corpus") as directory:
        lines = [
            json.dumps({"id": document.id, "text": document.text}, ensure_ascii=False)
            for document in adaptation_texts(passages)
        ]
        (directory / "documentation.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return splits


def _fine_tune(out: Path, results: Results, mining: MineConfig, tuning: FinetuneConfig) -> str:
    """Mine negatives with the model adapted here, in its index, and fine-tune it; returns both in words."""
    from llara.finetune import finetune
    from llara.mine import mine

    model, negatives = str(out / "adapted"), out / "negatives.jsonl"
    found = mine(
        model=model,
        data=[out / "collection"],
        out=negatives,
        config=mining,
        index=out / "index" / "adapted",
        batch_size=BATCH_SIZE,
    )
    trained = finetune(model=model, train=[negatives], out=out / "finetuned", config=tuning)
    results.losses["on labels"] = trained.log
    pairs = f"{found.queries:,} summaries with {found.counts['kept']:,} mined negatives"
    results.facts["Fine-tuned on"] = pairs
    return f"{pairs}; trained for {trained.seconds:.0f} s"


def _bm25(test: Collection) -> Evaluation:
    from llara.evaluate import Bm25System, measure

    return measure(Bm25System(), test.streamed("test"), MEASURES, depth=DEPTH)


def _dense(out: Path, name: str, test: Collection) -> Evaluation:
    """Encode the collection with the model ``out/name``, index it, and search the test queries."""
    from llara.encode import encode_file
    from llara.evaluate import Evaluation, evaluate_run
    from llara.indexes import build_index
    from llara.search import Searcher, run_from_hits

    vectors, index = out / "vectors", out / "index" / name
    encode_file(
        str(out / name),
        out / "collection" / "corpus.jsonl",
        vectors,
        role="document",
        batch_size=BATCH_SIZE,
        progress=True,
    )
    build_index(
        vectors, index, words=["bm25"] if name == "finetuned" else ()
    )  # that one is searched on the page
    shutil.rmtree(vectors)  # the index holds them
    searcher = Searcher.open(index)
    run = run_from_hits(list(test.queries), searcher.search(list(test.queries.values()), DEPTH))
    metrics, per_query = evaluate_run(run, test.qrels, MEASURES)
    settings = {"model": name, "max_tokens": searcher.model.max_seq_length, "depth": DEPTH}
    return Evaluation(name, metrics, per_query, run, settings)


def _keep(out: Path, results: Results, name: str, evaluation: Evaluation) -> str:
    """Keep an evaluation in ``results`` and its run as a TREC file; returns its first measure in words."""
    from llara.search import write_run

    results.evaluations[name] = evaluation
    (out / "runs").mkdir(exist_ok=True)
    tag = evaluation.settings.get("model", "bm25")
    write_run(out / "runs" / f"{tag}.trec", evaluation.run, tag)
    return f"{MEASURES[0]} {evaluation.metrics[MEASURES[0]]:.3f}"


def _ask(index: Path) -> list[list[Hit]]:
    from llara.search import Searcher

    return Searcher.open(index).search(QUESTIONS, 3)


def _training_log(model: Path) -> list[dict[str, float]]:
    """The losses that a model directory keeps of its adaptation, if it does."""
    path = model / "training.json"
    if not path.is_file():
        return []
    log: list[dict[str, float]] = json.loads(path.read_text(encoding="utf-8"))["log"]
    return log


def _facts(passages: Sequence[Passage], splits: Mapping[str, Collection]) -> dict[str, str]:
    words = sum(len(passage.body.split()) for passage in passages)
    return {
        "Passages": f"{len(passages):,}, {words:,} words, "
        f"from {len({passage.package for passage in passages})} packages and modules",
        "Test queries": f"{len(splits['test'].queries):,} (in the collection also "
        f"{len(splits['train'].queries):,} training queries)",
        "Machine": machine(),
        "Versions": ", ".join(
            f"{name} {number}"
            for name, number in versions("torch", "transformers", "sentence-transformers").items()
        ),
    }


class _Steps:
    """Says what is being done, what came of it, and how long it took."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def next(self, title: str) -> Iterator[Callable[[str], None]]:
        """Time a step; its block calls what it is given with the outcome in a few words."""
        outcome: list[str] = []
        started = time.monotonic()
        _say(f"[{len(self.seconds) + 1}/{NUM_STEPS}] {title}")
        yield outcome.append
        self.seconds[title] = time.monotonic() - started
        _say(f"      {'; '.join(outcome)} ({self.seconds[title]:.0f} s)")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
