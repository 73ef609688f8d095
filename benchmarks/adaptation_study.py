"""What adaptation does, task by task: EBAE, EBAR, both, and the controls, before and after fine-tuning.

From llara-mini-base, models are adapted on Wikipedia in several ways, each with several seeds, fine-tuned in
the same way, and measured on collections that none of them was trained on. The work directory keeps every
model and measurement, so the command goes on where it stopped; several that share it each take what is free.
When all is there (or with --table) it writes the results; docs/study.md says what they mean.
"""

from __future__ import annotations

import fcntl
import json
import lzma
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from measure import alternate, make_parser, say
from study_measures import ROLES, Measured, retrieval, similarity
from study_results import write_results

from llara.adapt import adapt
from llara.config import AdaptConfig, FinetuneConfig, apply_overrides, load_recipe
from llara.files import write_text_atomic
from llara.finetune import finetune
from llara.model import MINI_BASE, convert, load

SEEDS = (1, 2, 3)
STEPS = 1000
LM_STEPS = 650  # next-token training takes so many steps in the time of STEPS joint ones
MAX_TOKENS = 128  # of a document that is measured: three quarters of them are shorter
ARTICLES = 24  # every so many-th article of Wikipedia is adapted on
ENGLISH = {
    "squad": "dev",
    "wikiqa": "test",
    "covidqa": "test",
    "cranfield": "test",
    "cisi": "test",
    "cacm": "test",
    "stsb": "test",
}
CHINESE = {"drcd": "train", "cmrc2018": "train", "stsb-zh": "test"}
PAIRS = ("stsb", "stsb-zh")
VARIANTS = {
    "ebae": ["objective.ebar=false"],
    "ebar": ["objective.ebae=false"],
    "both": [],
    "two-passes": ["training.joint=false"],
    "next-token": [
        "objective.ebae=false",
        "objective.ebar=false",
        "objective.lm_weight=1",
        f"training.max_steps={LM_STEPS}",
    ],
}
TINY = ("un-adapted", "un-adapted-1-finetuned", "both-1", "both-1-finetuned", "both-1-then-on-squad")
FINETUNING = [
    "pairs.negatives=0",
    "contrast.temperature=0.05",
    "training.max_steps=150",
    "training.learning_rate=1e-3",
]


@dataclass(frozen=True)
class Run:
    """A model of the study: how it is made, of which other one, and what it is measured on."""

    name: str
    start: str | None
    overrides: tuple[str, ...]
    data: dict[str, str]
    corpus: str = "wiki"
    finetuned: bool = False


def english(seed: int) -> Iterator[Run]:
    """Each way to adapt, before and after fine-tuning."""
    for variant in ("un-adapted", *VARIANTS):
        name = variant if variant == "un-adapted" else f"{variant}-{seed}"
        if variant != "un-adapted":
            if variant == "two-passes" and seed != SEEDS[0]:
                continue  # the same model as "both" but for rounding, which one seed shows
            overrides = (f"training.max_steps={STEPS}", f"training.seed={seed}", *VARIANTS[variant])
            yield Run(name, None, overrides, ENGLISH)
        elif seed == SEEDS[0]:
            yield Run(name, None, (), ENGLISH)
            # The first step's learning rate is 0: the base as it was, but for its vectors' means taken away.
            yield Run("centred", None, ("training.max_steps=1", "training.seed=1"), ENGLISH)
        if variant == "two-passes" or (variant == "next-token" and seed != SEEDS[0]):
            continue
        tuning = (*FINETUNING, f"training.seed={seed}")
        yield Run(f"{variant}-{seed}-finetuned", name, tuning, ENGLISH, finetuned=True)


def steps() -> Iterator[Run]:
    """Quality against the number of steps."""
    for number in (250, 4000):
        for variant in ("both", "ebae"):
            overrides = (f"training.max_steps={number}", "training.seed=1", *VARIANTS[variant])
            yield Run(f"{variant}-{number}-steps", None, overrides, ENGLISH)


def target() -> Iterator[Run]:
    """Adaptation on the very corpus that is searched, alone and after Wikipedia."""
    for name, split in {"squad": "dev", "cranfield": "test"}.items():
        overrides = (f"training.max_steps={STEPS}", "training.seed=1")
        yield Run(f"both-on-{name}", None, overrides, {name: split}, corpus=name)
        yield Run(f"both-1-then-on-{name}", "both-1", overrides, {name: split}, corpus=name)


def chinese() -> Iterator[Run]:
    """The same in Chinese, which the base model has hardly seen: its tokenizer spells characters in bytes."""
    yield Run("un-adapted-zh", None, (), CHINESE)
    for variant in ("ebae", "ebar", "both"):
        overrides = (
            f"training.max_steps={STEPS}",
            "training.seed=1",
            'corpus.language="zh"',
            *VARIANTS[variant],
        )
        yield Run(f"{variant}-zh", None, overrides, CHINESE, corpus="wiki-zh")


PARTS: dict[str, Callable[[], list[Run]]] = {
    **{f"english-{seed}": lambda seed=seed: list(english(seed)) for seed in SEEDS},
    "steps": lambda: list(steps()),
    "target": lambda: list(target()),
    "chinese": lambda: list(chinese()),
}


class Study:
    """The directories: the data, and where everything that is made stands."""

    def __init__(self, data: Path, work: Path, *, tiny: bool) -> None:
        self.data, self.work, self.tiny = data, work, tiny
        for folder in ("models", "measured", "locks"):
            (work / folder).mkdir(parents=True, exist_ok=True)

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
            convert(MINI_BASE, out)
        elif run.finetuned:
            assert run.start is not None
            config = apply_overrides(load_recipe("mini-finetune", FinetuneConfig), overrides)
            train = [self.data / name for name in ("squad-train-sentences", "medquad")]
            finetune(model=str(self._model(run.start)), train=train, out=out, config=config, resume=resume)
        else:
            config = apply_overrides(load_recipe("mini-adapt", AdaptConfig), overrides)
            base = MINI_BASE if run.start is None else str(self._model(run.start))
            adapt(base=base, corpus=[str(self._corpus(run.corpus))], out=out, config=config, resume=resume)

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
        model = load(self._model(run.name))
        model.max_seq_length = min(MAX_TOKENS, model.max_seq_length or MAX_TOKENS)
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
    parser.add_argument("--table", action="store_true", help="do nothing; write the results of what is done")
    args = parser.parse_args()
    study = Study(args.data, args.work, tiny=args.tiny)
    runs = [run for part in args.parts for run in PARTS[part]() if not args.tiny or run.name in TINY]
    if not args.table:
        waiting = runs
        while waiting:
            before = len(waiting)
            waiting = [run for run in waiting if not study.do(run)]
            if len(waiting) == before:
                if not any(map(study.is_taken, waiting)):
                    raise SystemExit(f"nothing to start from: {', '.join(run.name for run in waiting)}")
                time.sleep(10)
    facts = {
        "seconds_per_step": study.seconds_per_step() if args.seconds else {},
        "settings": {"steps": STEPS, "next_token_steps": LM_STEPS, "seeds": SEEDS, "max_tokens": MAX_TOKENS},
        "losses": {run.name: log for run in runs if (log := study.losses(run))},
    }
    found = {name: one for run in runs for name, one in study.measured(run).items()}
    write_results(args, found, facts)


if __name__ == "__main__":
    main()
