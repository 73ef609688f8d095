"""What adaptation does, task by task: EBAE, EBAR, both, and the controls, before and after fine-tuning.

From llara-mini-base, models are adapted on Wikipedia in several ways, each with several seeds, fine-tuned in
the same way, and measured on collections that none of them was trained on. The part ``settings`` compares
settings of the recipe, on other splits. The work directory keeps every model and measurement, so the command
goes on where it stopped; several that share it each take what is free. When all is there (or with --table) it
writes the results; docs/study.md says what they mean.
"""

from __future__ import annotations

import fcntl
import json
import lzma
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from measure import alternate, machine, make_parser, say
from study_measures import ROLES, Measured, retrieval, similarity
from study_results import write_results
from study_runs import ARTICLES, LM_STEPS, PAIRS, PARTS, SEEDS, STEPS, TINY, VARIANTS, Run

from llara.adapt import adapt
from llara.adapt.prepare import load_prompts, write_store
from llara.config import AdaptConfig, FinetuneConfig, apply_overrides, load_recipe
from llara.files import write_text_atomic
from llara.finetune import finetune
from llara.model import MINI, MINI_BASE, convert, load, resolve


class Study:
    """The directories: the data, and where everything that is made stands."""

    def __init__(self, data: Path, work: Path, *, tiny: bool) -> None:
        self.data, self.work, self.tiny = data, work, tiny
        for folder in ("models", "measured", "locks", "stores"):
            (work / folder).mkdir(parents=True, exist_ok=True)

    def machine(self) -> dict[str, Any]:
        """The machine that the work directory was begun on."""
        path = self.work / "machine.json"
        if not path.exists():
            gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
            write_text_atomic(path, json.dumps({**machine(), "gpu": gpu}) + "\n")
        facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return facts

    def do(self, run: Run) -> bool:
        """Make and measure a model if it can be done now; whether it is done.

        It cannot while another command is at it, or while what it starts from is not there.
        """
        with self._lock(run.name) as mine:
            if not mine:
                return False
            missing = [name for name in run.data if not self._measured(run.name, name).exists()]
            if missing and run.start and not self._model(run.start).exists():
                return False
            if missing:
                self._make(run)
                self._measure(run, missing)
        return True

    def is_taken(self, run: Run) -> bool:
        """Whether another command is at it."""
        with self._lock(run.name) as mine:
            return not mine

    def measured(self, run: Run) -> dict[str, dict[str, Measured]]:
        """What was measured of a run by data set, a run more for other roles; nothing before all is."""
        paths = {name: self._measured(run.name, name) for name in run.data}
        if not all(path.exists() for path in paths.values()):
            return {}
        found: dict[str, dict[str, Measured]] = {}
        for name, path in paths.items():
            for roles, measured in json.loads(path.read_text(encoding="utf-8")).items():
                found.setdefault(f"{run.name}{roles}", {})[name] = measured
        return found

    def losses(self, run: Run) -> list[dict[str, float]]:
        """The training's log, of what adapts."""
        path = self._model(run.name) / "training.json"
        if run.finetuned or not path.exists():
            return []
        terms = ("step", "ebae", "ebar", "lm")
        log = json.loads(path.read_text(encoding="utf-8"))["log"]
        return [{term: round(entry[term], 4) for term in terms if term in entry} for entry in log]

    def seconds_per_step(self) -> dict[str, float]:
        """Of each way to adapt, from runs of few and of many steps; the ways take turns."""
        kept, folder = self.work / "seconds.json", self.work / "seconds"
        if not kept.exists():
            folder.mkdir(exist_ok=True)
            with self._corpus("wiki").open(encoding="utf-8") as file:
                write_text_atomic(folder / "corpus.jsonl", "".join(islice(file, 20)))

            def train(variant: str, steps: int) -> None:
                settings = [*VARIANTS[variant], f"training.max_steps={steps}", "objective.center=false"]
                config = apply_overrides(load_recipe("mini-adapt", AdaptConfig), settings)
                corpus = [str(folder / "corpus.jsonl")]
                adapt(base=MINI_BASE, corpus=corpus, out=folder / "out", config=config, overwrite=True)

            few, many = (1, 2) if self.tiny else (10, 50)
            sides = {f"{v} {steps}": partial(train, v, steps) for v in VARIANTS for steps in (few, many)}
            found = alternate(sides, repetitions=2)
            median = {side: statistics.median(seconds) for side, seconds in found.items()}
            taken = {
                v: round((median[f"{v} {many}"] - median[f"{v} {few}"]) / (many - few), 4) for v in VARIANTS
            }
            write_text_atomic(kept, json.dumps(taken) + "\n")
        seconds: dict[str, float] = json.loads(kept.read_text(encoding="utf-8"))
        return seconds

    def _model(self, name: str) -> Path:
        return self.work / "models" / name

    def _measured(self, name: str, data: str) -> Path:
        return self.work / "measured" / f"{name}.{data}.json"

    def _make(self, run: Run) -> None:
        out = self._model(run.name)
        if out.exists():
            return
        resume = Path(f"{out}.partial").exists()
        tiny = ["training.max_steps=2", "training.batch_size=4"] if self.tiny else []
        overrides = [*run.overrides, *tiny, "training.save_steps=0"]
        if not run.overrides:
            if run.base == MINI:
                shutil.copytree(resolve(MINI), out)
            else:
                convert(run.base, out)
        elif run.finetuned:
            assert run.start is not None
            config = apply_overrides(load_recipe("mini-finetune", FinetuneConfig), overrides)
            train = [self.data / name for name in ("squad-train-sentences", "medquad")]
            finetune(model=str(self._model(run.start)), train=train, out=out, config=config, resume=resume)
        else:
            tiny = ["objective.center_samples=64"] if self.tiny else []
            config = apply_overrides(load_recipe(run.recipe, AdaptConfig), [*overrides, *tiny])
            base = run.base if run.start is None else str(self._model(run.start))
            corpus = [str(self._corpus(run.corpus))]
            store = self._store(run, base, corpus, config)
            adapt(base=base, corpus=corpus, out=out, config=config, store=store, resume=resume)

    def _store(
        self, run: Run, base: str, corpus: list[str], config: AdaptConfig, *, wait: bool = True
    ) -> Path:
        """The corpus tokenized, once for all runs that read it alike; not ``wait``: unless others do it."""
        name = f"{run.corpus}-{run.start or run.base}-{config.corpus.segment_tokens}"
        with self._lock(f"store-{name}", wait=wait) as mine:
            if mine and not (self.work / "stores" / name / "store.json").exists():
                _, prompts = load_prompts(base, config)
                write_store(self.work / "stores" / name, base, corpus, prompts, config)
        return self.work / "stores" / name

    def prepare(self, runs: list[Run]) -> None:
        """Tokenize what the runs read, and train nothing: neither a GPU nor the base's weights are needed."""
        for run in runs:
            if run.overrides and not run.finetuned and run.start is None:
                config = apply_overrides(load_recipe(run.recipe, AdaptConfig), list(run.overrides))
                self._store(run, run.base, [str(self._corpus(run.corpus))], config, wait=False)

    def _corpus(self, name: str) -> Path:
        """A part of Wikipedia, or a collection's own documents."""
        if name not in ("wiki", "wiki-zh"):
            return self.data / name / "corpus.jsonl"
        path = self.work / f"{name}.jsonl"
        every = ARTICLES if name == "wiki" else 2
        with self._lock(f"{name}.jsonl", wait=True):
            if not path.exists():
                lines: list[str] = []
                for source in sorted((self.data / name).glob("*.jsonl.xz")):
                    with lzma.open(source, "rt", encoding="utf-8") as file:
                        lines += list(file)
                write_text_atomic(path, "".join(lines[::every]))
        return path

    def _measure(self, run: Run, names: list[str]) -> None:
        model = load(self._model(run.name)).float()
        for name in names:
            data, split = self.data / name, run.data[name]
            if name in PAIRS:
                found = {"": similarity(model, data, split)}
            else:
                found = retrieval(model, data, split, [""] if run.finetuned else list(ROLES))
            write_text_atomic(self._measured(run.name, name), json.dumps(found) + "\n")
            for roles, measured in found.items():
                say(f"{run.name}{roles}, {name}: {measured['measure']} {measured['mean']:.4f}")

    @contextmanager
    def _lock(self, name: str, *, wait: bool = False) -> Iterator[bool]:
        """Whether this process is the one to do it; a lock ends with its process."""
        with (self.work / "locks" / name).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True


def main() -> None:
    """Do what is not done yet, then write the results of what is there."""
    parser = make_parser(
        __doc__ or "",
        "python benchmarks/adaptation_study.py --data DIR --work DIR --out results/adaptation_study.json",
    )
    parser.add_argument("--data", type=Path, required=True, help="where squad, wiki and the others are")
    parser.add_argument("--work", type=Path, required=True, help="where models and measurements go")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="do only these")
    parser.add_argument("--seconds", action="store_true", help="also measure what a step takes; be alone")
    parser.add_argument("--prepare", action="store_true", help="tokenize what will be read, and stop")
    parser.add_argument("--table", action="store_true", help="do nothing; write the results of what is done")
    args = parser.parse_args()
    study = Study(args.data, args.work, tiny=args.tiny)
    study.machine()
    runs = [run for part in args.parts for run in PARTS[part]() if not args.tiny or run.name in TINY]
    if args.prepare:
        study.prepare(runs)
        return
    if not args.table:
        waiting = runs
        while waiting:
            before = len(waiting)
            waiting = [run for run in waiting if not study.do(run)]
            if len(waiting) == before:
                if not any(map(study.is_taken, waiting)):
                    raise SystemExit(f"nothing to start from: {', '.join(run.name for run in waiting)}")
                time.sleep(2)
    facts = {
        "machine": study.machine(),
        "seconds_per_step": study.seconds_per_step() if args.seconds else {},
        "settings": {"steps": STEPS, "next_token_steps": LM_STEPS, "seeds": SEEDS},
        "losses": {run.name: log for run in runs if (log := study.losses(run))},
    }
    found = {name: one for run in runs for name, one in study.measured(run).items()}
    write_results(args, found, facts)


if __name__ == "__main__":
    main()
