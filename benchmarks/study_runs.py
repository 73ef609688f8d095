"""The models of the adaptation study: how each is made, of which other one, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llara.model import MINI, MINI_BASE

__all__ = ["ARTICLES", "LM_STEPS", "PAIRS", "PARTS", "SEEDS", "STEPS", "TARGETS", "TINY", "VARIANTS", "Run"]

SEEDS = (1, 2, 3)
STEPS = 1000
LM_STEPS = 650  # next-token training meets the head at every token: so many steps take as long, or longer
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
TARGETS = {"squad": "dev", "covidqa": "test", "cranfield": "test"}
CHINESE = {"drcd": "train", "cmrc2018": "train", "stsb-zh": "test"}
DEVELOPMENT = {"squad": "train", "wikiqa": "train", "medquad": "dev", "stsb": "dev"}
PAIRS = ("stsb", "stsb-zh")
BOTH = ["objective.ebar=true"]
VARIANTS = {
    "both": BOTH,
    "ebae": ["objective.ebar=false"],
    "ebar": ["objective.ebae=false", *BOTH],
    "next-token": [
        "objective.ebae=false",
        "objective.ebar=false",
        "objective.lm_weight=1",
        f"training.max_steps={LM_STEPS}",
    ],
    "two-passes": ["training.joint=false", *BOTH],
}
SETTINGS = {
    "64-tokens": ["corpus.segment_tokens=64", *BOTH],
    "128-tokens": ["corpus.segment_tokens=128", *BOTH],
}
TINY = (
    "un-adapted",
    "un-adapted-1-finetuned",
    "un-adapted-2-finetuned",
    "both-1",
    "both-1-finetuned",
    "llara-mini-then-on-squad",
)
FINETUNING = [
    "pairs.negatives=0",
    "contrast.temperature=0.05",
    "training.max_steps=150",
    "training.batch_size=64",
    "training.learning_rate=1e-3",
]


@dataclass(frozen=True)
class Run:
    """A model of the study: how it is made, of which other one, and what it is measured on."""

    name: str
    start: str | None  # another run; None: the model of the package that ``base`` names
    overrides: tuple[str, ...]
    data: dict[str, str]
    corpus: str = "wiki"
    finetuned: bool = False
    base: str = MINI_BASE
    recipe: str = "mini-adapt"


def english(seed: int) -> Iterator[Run]:
    """Each way to adapt, before and after fine-tuning; one pass and two are the same but for rounding."""
    if seed == SEEDS[0]:
        yield Run("un-adapted", None, (), ENGLISH)
        # The first step's learning rate is 0: the base as it was, but for its vectors' means taken away.
        yield Run("centred", None, ("training.max_steps=1", "training.seed=1"), ENGLISH)
    tuning = (*FINETUNING, f"training.seed={seed}")
    yield Run(f"un-adapted-{seed}-finetuned", "un-adapted", tuning, ENGLISH, finetuned=True)
    for variant in VARIANTS:
        if variant != "two-passes":
            yield adapted(variant, seed)
            name = f"{variant}-{seed}"
            yield Run(f"{name}-finetuned", name, tuning, ENGLISH, finetuned=True)


def adapted(variant: str, seed: int) -> Run:
    """A way to adapt, on Wikipedia."""
    overrides = (f"training.max_steps={STEPS}", f"training.seed={seed}", *VARIANTS[variant])
    return Run(f"{variant}-{seed}", None, overrides, ENGLISH)


def settings() -> Iterator[Run]:
    """The recipe with other settings, each alone and as long; measured where the study is not."""
    for name, overrides in SETTINGS.items():
        yield Run(f"settings-{name}", None, ("training.seed=1", *overrides), DEVELOPMENT)


def steps(variants: Sequence[str], numbers: Sequence[int]) -> Iterator[Run]:
    """Quality against the number of steps."""
    for number in numbers:
        for variant in variants:
            overrides = (f"training.max_steps={number}", "training.seed=1", *VARIANTS[variant])
            yield Run(f"{variant}-{number}-steps", None, overrides, ENGLISH)


def target() -> Iterator[Run]:
    """A short adaptation, as the quickstart's, on the very corpus that is searched."""
    yield Run("llara-mini", None, (), TARGETS, base=MINI)
    for name, split in TARGETS.items():
        for base in (MINI, MINI_BASE):
            yield Run(
                f"{base}-then-on-{name}",
                None,
                ("training.seed=1",),
                {name: split},
                corpus=name,
                base=base,
                recipe="quickstart-adapt",
            )


def chinese() -> Iterator[Run]:
    """The same in Chinese, which the base model has hardly seen: its tokenizer spells characters in bytes."""
    yield Run("un-adapted-zh", None, (), CHINESE)
    for variant in ("ebae", "ebar", "both"):
        overrides = (
            "training.max_steps=300",
            "training.batch_size=32",
            "training.seed=1",
            'corpus.language="zh"',
            *VARIANTS[variant],
        )
        yield Run(f"{variant}-zh", None, overrides, CHINESE, corpus="wiki-zh")


PARTS: dict[str, Callable[[], list[Run]]] = {
    **{f"english-{seed}": lambda seed=seed: list(english(seed)) for seed in SEEDS},
    "passes": lambda: list(steps(["two-passes"], [300])),  # beside "both-300-steps"
    "settings": lambda: list(settings()),
    "steps": lambda: list(steps(["both", "ebae"], [100, 300])),
    "target": lambda: list(target()),
    "chinese": lambda: list(chinese()),
}
