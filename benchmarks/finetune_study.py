"""Does fine-tuning help, does adaptation help fine-tuning, and do mined negatives beat random ones?

The adapted and the un-adapted mini model are trained on two sets of questions and answers in the same way:
first with the other queries' passages as the only negatives, and from there with mined hard negatives or with
random ones (recipe `mini-finetune`): beside the other queries' passages, or alone. The work directory keeps
what is done, so the command goes on where it stopped; two that share it can each do a part (--only).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, make_parser, report, say

from llara.config import FinetuneConfig, MineConfig, apply_overrides, load_recipe, to_dict
from llara.corpus import read_documents
from llara.datasets import TrainingExample, read_training, write_training
from llara.evaluate import evaluate
from llara.files import write_text_atomic
from llara.finetune import finetune
from llara.mine import mine
from llara.model import MINI, MINI_BASE, convert
from llara.significance import bootstrap_interval, paired_randomization_test

RECIPE = "mini-finetune"
FIRST = (
    "pairs.negatives=0",
    "training.max_steps=450",
    "training.learning_rate=1e-3",
)  # how the first training differs
MEASURES = ("nDCG@10", "RR@10", "R@100")
ALONE = (
    "contrast.in_batch=false",
    "contrast.temperature=0.05",
    "training.max_steps=150",
    "training.batch_size=16",
)
FROM_BASE, FROM_ADAPTED = "un-adapted, fine-tuned", "adapted, fine-tuned"
MINED, RANDOM = f"{FROM_ADAPTED}, then on mined negatives", f"{FROM_ADAPTED}, then on random negatives"
MINED_ALONE, RANDOM_ALONE = f"{MINED} alone", f"{RANDOM} alone"
START = {
    FROM_BASE: "un-adapted",
    FROM_ADAPTED: "adapted",
    **dict.fromkeys((MINED, RANDOM, MINED_ALONE, RANDOM_ALONE), FROM_ADAPTED),
}
MODELS = ("un-adapted", "adapted", *START)
PAIRS = (
    (FROM_ADAPTED, "adapted"),
    (FROM_ADAPTED, FROM_BASE),
    (MINED, RANDOM),
    (MINED, FROM_ADAPTED),
    (MINED_ALONE, RANDOM_ALONE),
    (MINED_ALONE, FROM_ADAPTED),
)


def with_random_negatives(source: Path, number: int, *, seed: int) -> Iterator[TrainingExample]:
    """The examples of a BEIR directory, each with so many documents of its corpus that are no positives."""
    documents = list(read_documents([source / "corpus.jsonl"], link_titles=False))
    for index, example in enumerate(read_training(source)):
        known = {document.id for document in example.positives}
        drawn = np.random.default_rng([seed, index]).choice(
            len(documents), number + len(known), replace=False
        )
        others = [documents[place] for place in drawn if documents[place].id not in known]
        yield replace(example, negatives=tuple(others[:number]))


def training_files(name: str, sources: list[Path], work: Path, mining: MineConfig) -> list[Path]:
    """What the model of that name is trained on."""
    if name in (FROM_BASE, FROM_ADAPTED):
        return sources
    kind = "mined" if name in (MINED, MINED_ALONE) else "random"
    files = [work / f"{source.name}-{kind}.jsonl" for source in sources]
    for source, file in zip(sources, files, strict=True):
        if file.exists():
            continue
        if kind == "random":
            write_training(file, with_random_negatives(source, mining.negatives, seed=mining.seed))
        else:
            model = directory_of(START[name], work)
            say(f"{source.name}:\n{mine(model=model, data=[source], out=file, config=mining, batch_size=16)}")
    return files


def directory_of(name: str, work: Path) -> str:
    """Where the model of that name is, or will be."""
    return MINI if name == "adapted" else str(work / name.replace(", ", "-").replace(" ", "-"))


def make(
    name: str,
    sources: list[Path],
    work: Path,
    mining: MineConfig,
    config: FinetuneConfig,
    overrides: list[str],
) -> str:
    """The model of that name, made unless it stands in ``work`` already."""
    out = directory_of(name, work)
    start = directory_of(START.get(name, "adapted"), work)
    if start != MINI and not Path(start).exists():
        raise SystemExit(f"{name!r} starts from {START[name]!r}; make that first")
    if Path(out).exists() or name == "adapted":
        return out
    if name == "un-adapted":
        convert(MINI_BASE, Path(out))
        return out
    if name in (FROM_BASE, FROM_ADAPTED):
        config = apply_overrides(config, [*FIRST, *overrides])
    if name in (MINED_ALONE, RANDOM_ALONE):
        config = apply_overrides(config, [*ALONE, *overrides])
    finetune(
        model=start,
        train=training_files(name, sources, work, mining),
        out=Path(out),
        config=config,
        resume=Path(f"{out}.partial").exists(),
    )
    return out


def main() -> None:
    """Run the study and print its table."""
    parser = make_parser(
        __doc__ or "",
        "python benchmarks/finetune_study.py --train squad-train-sentences medquad --test squad --work DIR",
    )
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="BEIR directories to train on")
    parser.add_argument("--test", type=Path, required=True, help="BEIR directory to measure on")
    parser.add_argument("--split", default="dev", help="its split")
    parser.add_argument("--work", type=Path, required=True, help="where negatives and models go")
    parser.add_argument("--only", nargs="+", choices=MODELS, help="make and measure only these; no table")
    parser.add_argument("--set", action="append", default=[], dest="overrides", help="of the recipe")
    args = parser.parse_args()
    mining = load_recipe(RECIPE, MineConfig)
    if args.tiny:
        args.overrides += ["training.max_steps=2", "training.batch_size=4"]
        mining = replace(mining, negatives=4, last_rank=10)
    config = apply_overrides(load_recipe(RECIPE, FinetuneConfig), args.overrides)
    args.work.mkdir(parents=True, exist_ok=True)
    per_query: dict[str, dict[str, dict[str, float]]] = {}
    for name in args.only or MODELS:
        kept = args.work / f"{name}.json"
        if not kept.exists():
            model = make(name, args.train, args.work, mining, config, args.overrides)
            [evaluation] = evaluate(models=[model], datasets=[args.test], split=args.split, measures=MEASURES)
            write_text_atomic(kept, json.dumps(evaluation.per_query))
        per_query[name] = json.loads(kept.read_text(encoding="utf-8"))
        say(f"{name}: {MEASURES[0]} {np.mean(list(per_query[name][MEASURES[0]].values())):.4f}")
    if args.only:
        return
    results = {
        "machine": machine(),
        "train": [path.name for path in args.train],
        "test": f"{args.test.name}/{args.split}",
        "mining": to_dict(mining),
        "finetuning": to_dict(config),
        "first": FIRST,
        "alone": ALONE,
        "models": {
            name: {m: float(np.mean(list(values[m].values()))) for m in MEASURES}
            | {"interval": bootstrap_interval(values[MEASURES[0]])}
            for name, values in per_query.items()
        },
        "differences": [compare(first, second, per_query) for first, second in PAIRS],
    }
    report(results, model_rows(results), None)
    report(results, difference_rows(results), args.out)


def compare(first: str, second: str, per_query: dict[str, dict[str, dict[str, float]]]) -> dict[str, object]:
    """Two models' difference by the first measure, and its p-value over paired queries."""
    a, b = (per_query[name][MEASURES[0]] for name in (first, second))
    difference = float(np.mean(list(a.values())) - np.mean(list(b.values())))
    return {"first": first, "second": second, "difference": difference, "p": paired_randomization_test(a, b)}


def model_rows(results: dict[str, Any]) -> list[list[str]]:
    """The models and their measures."""
    rows = [["", *MEASURES, "95% interval"]]
    for name, found in results["models"].items():
        low, high = found["interval"]
        rows.append([name, *(f"{found[m]:.3f}" for m in MEASURES), f"{low:.3f}-{high:.3f}"])
    return rows


def difference_rows(results: dict[str, Any]) -> list[list[str]]:
    """The pairs that are compared."""
    rows = [["", "less", MEASURES[0], "p"]]
    found = results["differences"]
    return rows + [[d["first"], d["second"], f"{d['difference']:+.3f}", f"{d['p']:.4f}"] for d in found]


if __name__ == "__main__":
    main()
