"""The models of the adaptation study: how each is made, of which other one, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["ARTICLES", "LM_STEPS", "PAIRS", "PARTS", "SEEDS", "STEPS", "TINY", "VARIANTS", "Run"]

SEEDS = (1, 2, 3)
STEPS = 2000
LM_STEPS = 1300  # next-token training meets the head at every token: so many steps take as long, or longer
ARTICLES = 4  # every so many-th article of Wikipedia is adapted on
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
DEVELOPMENT = {"squad": "train", "wikiqa": "train", "medquad": "dev", "stsb": "dev"}
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
SETTINGS: dict[str, list[str]] = {
    "recipe": [],
    "fast": ["training.learning_rate=3e-3"],
    "long-segments": ["corpus.segment_tokens=128"],
    "long-segments-fast": ["corpus.segment_tokens=128", "training.learning_rate=3e-3"],
    "stop-words": ["objective.idf=false", "objective.stop_words=english"],
    "ebae": VARIANTS["ebae"],
    "long-segments-ebae": ["corpus.segment_tokens=128", *VARIANTS["ebae"]],
}
TINY = ("un-adapted", "un-adapted-1-finetuned", "both-1", "both-1-finetuned", "both-1-then-on-squad")
FINETUNING = [
    "pairs.negatives=0",
    "contrast.temperature=0.05",
    "training.max_steps=300",
    "training.batch_size=64",
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


def settings() -> Iterator[Run]:
    """Other settings of the recipe, each alone, measured where the study is not."""
    for name, overrides in SETTINGS.items():
        both = (f"training.max_steps={STEPS}", "training.seed=1", *overrides)
        yield Run(f"settings-{name}", None, both, DEVELOPMENT)


def steps() -> Iterator[Run]:
    """Quality against the number of steps."""
    for number in (500, 8000):
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
    "settings": lambda: list(settings()),
    "steps": lambda: list(steps()),
    "target": lambda: list(target()),
    "chinese": lambda: list(chinese()),
}
