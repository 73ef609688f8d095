"""Does a measure without labels prefer the system that the judgements prefer?

On each collection the systems are measured twice: by its judgements, and by the tasks that
`llara evaluate --unlabelled` makes of its corpus. Counted is how often both put two systems in the same
order; beside it, how often the judgements of the other collections do. Corpora, queries and texts are cut, so
the values stand for nothing else. The work directory keeps what is done, so the command goes on where it
stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, make_parser, report, say

from llara.corpus import read_documents
from llara.datasets import StreamedCollection, read_beir
from llara.evaluate import evaluate_run, open_system
from llara.evaluate.sampling import hash_of
from llara.evaluate.unlabelled import unlabelled_tasks
from llara.files import write_text_atomic
from llara.significance import paired_randomization_test

EXAMPLE = (
    "python benchmarks/finetune_study.py --train DATA/squad-train-sentences DATA/medquad --test DATA/squad"
    " --work FT\n"
    "python benchmarks/unlabelled_study.py --system BM25=bm25 un-adapted=FT/un-adapted adapted=llara-mini"
    " un-adapted-fine-tuned=FT/un-adapted-fine-tuned adapted-fine-tuned=FT/adapted-fine-tuned"
    " mined=FT/adapted-fine-tuned-then-on-mined-negatives"
    " random=FT/adapted-fine-tuned-then-on-random-negatives --collection"
    " DATA/squad:dev DATA/covidqa:test DATA/wikiqa:test DATA/cranfield:test DATA/cisi:test DATA/cacm:test"
    " --work WORK --out benchmarks/results/unlabelled_study.json"
)
MEASURE = "nDCG@10"
JUDGED, ALL_TASKS = "judged", "mean of the tasks"
ELSEWHERE = "judgements of the other collections"
LEXICAL = "BM25"
SIGNIFICANT = 0.05
PerQuery = dict[str, float]
Values = dict[str, dict[str, dict[str, PerQuery]]]
"""Collection -> task -> system -> query -> nDCG@10."""


def judged(path: Path, split: str, *, queries: int, documents: int) -> StreamedCollection:
    """A collection cut to some of its queries, their relevant documents and random others."""
    collection = read_beir(path, split)
    kept = sorted(collection.qrels, key=lambda query: hash_of(0, query))[:queries]
    qrels = {query: collection.qrels[query] for query in kept}
    relevant = {document for found in qrels.values() for document in found}
    drawn = sorted(collection.corpus, key=lambda document: (document not in relevant, hash_of(0, document)))
    corpus = [
        collection.corpus[id_] for id_ in drawn[: max(documents, len(relevant))] if id_ in collection.corpus
    ]
    return StreamedCollection(path.name, {q: collection.queries[q] for q in kept}, qrels, lambda: corpus)


def cut(task: StreamedCollection, words: int) -> StreamedCollection:
    """The task with the first so many words of each text."""

    def short(text: str) -> str:
        return " ".join(text.split()[:words])

    documents = [replace(document, text=short(document.text)) for document in task.documents()]
    queries = {query: short(text) for query, text in task.queries.items()}
    return replace(task, queries=queries, documents=lambda: documents)


def tasks_of(path: Path, split: str, args: Any) -> tuple[dict[str, StreamedCollection], dict[str, str]]:
    """The judged task and those made of the corpus; why others could not be made."""
    built = unlabelled_tasks(read_documents([path]), queries=args.queries, max_documents=args.documents)
    tasks = {JUDGED: judged(path, split, queries=args.queries, documents=args.documents), **built.tasks}
    return {name: cut(task, args.words) for name, task in tasks.items()}, built.not_built


def measured(
    systems: dict[str, str], tasks: dict[str, dict[str, StreamedCollection]], work: Path
) -> Iterator[tuple[str, str, str, PerQuery]]:
    """Collection, task, system, and what it reached on each query."""
    for name, spec in systems.items():
        system = None
        for collection, its_tasks in tasks.items():
            for task, content in its_tasks.items():
                kept = work / f"{collection}, {task}, {name}.json"
                if not kept.exists():
                    system = system or open_system(spec, batch_size=16)
                    run = system.run(content, depth=10)
                    _, per_query = evaluate_run(run, content.qrels, [MEASURE])
                    write_text_atomic(kept, json.dumps(per_query[MEASURE]))
                values = json.loads(kept.read_text(encoding="utf-8"))
                say(f"{collection}, {task}, {name}: {mean(values):.3f}")
                yield collection, task, name, values


def mean(values: PerQuery) -> float:
    """The mean over queries."""
    return float(np.mean(list(values.values())))


def with_mean_of_tasks(tasks: dict[str, dict[str, PerQuery]]) -> dict[str, dict[str, PerQuery]]:
    """Task -> system -> values, and one more: all queries of the others, weighed: each task counts alike."""
    made = {task: systems for task, systems in tasks.items() if task != JUDGED}
    share = sum(len(next(iter(systems.values()))) for systems in made.values()) / max(1, len(made))
    together = {
        name: {
            f"{task}/{query}": value * share / len(systems[name])
            for task, systems in made.items()
            for query, value in systems[name].items()
        }
        for name in next(iter(tasks.values()))
    }
    return {**tasks, ALL_TASKS: together}


def pairs_of(values: Values) -> list[dict[str, Any]]:
    """Each pair of systems on each task made of a corpus, beside the same pair by the judgements."""
    pairs = []
    for collection, tasks in values.items():
        for task, systems in tasks.items():
            if task == JUDGED:
                continue
            for first, second in combinations(systems, 2):
                pair: dict[str, Any] = {"collection": collection, "task": task, "systems": [first, second]}
                for side, its in (("judged", tasks[JUDGED]), ("made", systems)):
                    pair[side] = mean(its[first]) - mean(its[second])
                    pair[f"{side}_p"] = paired_randomization_test(its[first], its[second])
                pairs.append(pair)
    return pairs


def pairs_elsewhere(values: Values) -> list[dict[str, Any]]:
    """What one would guess without this measure: each pair's mean difference on the other collections."""
    pairs = []
    for collection, tasks in values.items():
        others = [its[JUDGED] for name, its in values.items() if name != collection]
        for first, second in combinations(tasks[JUDGED] if others else (), 2):
            pair: dict[str, Any] = {"collection": collection, "task": ELSEWHERE, "systems": [first, second]}
            pair["judged"] = mean(tasks[JUDGED][first]) - mean(tasks[JUDGED][second])
            pair["judged_p"] = paired_randomization_test(tasks[JUDGED][first], tasks[JUDGED][second])
            pair["made"] = float(np.mean([mean(its[first]) - mean(its[second]) for its in others]))
            pair["made_p"] = None
            pairs.append(pair)
    return pairs


def agreement(pairs: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Of how many pairs both sides agree which is better; in all and in parts."""
    models = [pair for pair in pairs if LEXICAL not in pair["systems"]]
    found = [pair for pair in models if pair["made_p"] is not None and pair["made_p"] < SIGNIFICANT]
    parts = {
        "all": pairs,
        "models only": models,
        "models, judged significant": [pair for pair in models if pair["judged_p"] < SIGNIFICANT],
        "models, judged close": [pair for pair in models if pair["judged_p"] >= SIGNIFICANT],
        "models, significant without labels": found,
        "models, both significant": [pair for pair in found if pair["judged_p"] < SIGNIFICANT],
        "BM25 against a model": [pair for pair in pairs if LEXICAL in pair["systems"]],
    }
    return {
        name: {"same": sum(pair["made"] * pair["judged"] > 0 for pair in part), "pairs": len(part)}
        for name, part in parts.items()
    }


def kendall(tasks: dict[str, dict[str, PerQuery]], task: str) -> float:
    """Kendall's tau-b of the systems' order on a task with that by the judgements."""
    from scipy import stats  # type: ignore[import-untyped]

    sides = [[mean(found) for found in tasks[side].values()] for side in (task, JUDGED)]
    return float(stats.kendalltau(*sides).statistic)


def main() -> None:
    """Measure all systems on all tasks and print how often the two sides agree."""
    parser = make_parser(__doc__ or "", EXAMPLE)
    parser.add_argument("--system", nargs="+", required=True, metavar="NAME=SPEC", help="bm25, directories")
    parser.add_argument("--collection", nargs="+", required=True, metavar="PATH:SPLIT", help="BEIR's layout")
    parser.add_argument("--work", type=Path, required=True, help="where the values of each query are kept")
    parser.add_argument("--queries", type=int, default=150, help="of each task")
    parser.add_argument("--documents", type=int, default=300, help="of each task; judged answers are kept")
    parser.add_argument("--words", type=int, default=50, help="of each text, from its start")
    args = parser.parse_args()
    if args.tiny:
        args.queries, args.documents, args.words = 20, 120, 10
    systems = dict(named.split("=", 1) for named in args.system)
    settings = {name: getattr(args, name) for name in ("queries", "documents", "words")}
    work = args.work / "-".join(map(str, settings.values()))
    work.mkdir(parents=True, exist_ok=True)
    tasks: dict[str, dict[str, StreamedCollection]] = {}
    not_made: dict[str, dict[str, str]] = {}
    for source in args.collection:
        path, _, split = source.rpartition(":")
        name = Path(path).name
        tasks[name], not_made[name] = tasks_of(Path(path), split, args)
    found: Values = {collection: {task: {} for task in its} for collection, its in tasks.items()}
    for collection, task, system, per_query in measured(systems, tasks, work):
        found[collection][task][system] = per_query
    values = {collection: with_mean_of_tasks(its) for collection, its in found.items()}
    pairs = [*pairs_of(values), *pairs_elsewhere(values)]
    names = [
        name
        for name in ("title-body", "sentence-rest", "passage-next", ALL_TASKS, ELSEWHERE)
        if any(pair["task"] == name for pair in pairs)
    ]
    result = {
        "benchmark": "unlabelled_study",
        "settings": {**settings, "measure": MEASURE, "systems": list(systems), "significant": SIGNIFICANT},
        "machine": machine(),
        "sizes": {
            collection: {t: [len(c.queries), sum(1 for _ in c.documents())] for t, c in its.items()}
            for collection, its in tasks.items()
        },
        "not_made": not_made,
        "values": {
            collection: {task: {name: mean(v) for name, v in its.items()} for task, its in by_task.items()}
            for collection, by_task in values.items()
        },
        "kendall": {
            task: {collection: kendall(its, task) for collection, its in values.items() if task in its}
            for task in names
        },
        "agreement": {task: agreement([pair for pair in pairs if pair["task"] == task]) for task in names},
        "disagreements": [pair for pair in pairs if pair["made"] * pair["judged"] <= 0],
    }
    report(result, rows_of(result), args.out)


def rows_of(result: dict[str, Any]) -> list[list[str]]:
    """Tasks, and how they agree with the judgements."""
    parts = next(iter(result["agreement"].values()))
    rows = [["", "mean tau", *parts]]
    for task, found in result["agreement"].items():
        taus = list(result["kendall"][task].values())
        tau = f"{np.mean(taus):.2f}" if taus else ""
        shares = [f"{part['same']} of {part['pairs']}" for part in found.values()]
        rows.append([task, tau, *shares])
    return rows


if __name__ == "__main__":
    main()
