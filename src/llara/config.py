"""Settings: one frozen dataclass per stage, recipes in TOML, and ``--set a.b=c``.

A recipe is a TOML file that names only what differs from the defaults below. It is found by name
(``mini-adapt``, shipped in ``llara/recipes``) or by path. Every setting is checked for its name, type
and range where it is read, so a wrong one stops a run before the model is loaded.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llara.errors import ConfigError
from llara.settings import apply_overrides, from_dict, listed, nearest, setting, to_dict, to_toml

__all__ = [
    "AdaptConfig",
    "CorpusConfig",
    "LoraConfig",
    "ObjectiveConfig",
    "PromptConfig",
    "TrainingConfig",
    "apply_overrides",
    "from_dict",
    "list_recipes",
    "load_recipe",
    "to_dict",
    "to_toml",
]

RECIPES = Path(__file__).parent / "recipes"
SEVEN_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class PromptConfig:
    """How a text is turned into an embedding."""

    preset: Literal["paper", "eight-words"] = setting(
        "paper", "the paper's templates, or the released code's"
    )


@dataclass(frozen=True)
class CorpusConfig:
    """How documents are read and cut into segments."""

    segment_tokens: int = setting(512, "longest segment in tokens, prompts included", at_least=16)
    min_segment_tokens: int = setting(8, "shorter segments are left out", at_least=0)
    language: str | None = setting("en", 'language code for sentence boundaries; "none": cut at tokens only')
    id_field: str = setting("id", "JSONL, Parquet or data set field of a document's id")
    title_field: str = setting("title", "field of its title")
    text_field: str = setting("text", "field of its text")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What an embedding must predict (Eq. 6) and how the loss terms add up."""

    target: Literal["distinct", "all"] = setting(
        "distinct", "each token of the target text once, or as often as it occurs"
    )
    stop_words: str = setting(
        "none", "left out of the target: none, english, chinese, english+chinese, or a file"
    )
    idf: bool = setting(False, "weigh target tokens by their inverse document frequency in the corpus")
    ebae: bool = setting(True, "auto-encoding: the SELF embedding predicts its own text")
    ebar: bool = setting(True, "auto-regression: the NEXT embedding predicts the following segment")
    task_weight: float = setting(1.0, "factor of the mean of the two embedding losses", at_least=0)
    lm_weight: float = setting(
        0.0, "factor of the next-token loss over the text; 0 leaves it out", at_least=0
    )
    center: bool = setting(
        False, "subtract each role's mean vector, estimated from the corpus after training"
    )
    center_samples: int = setting(2048, "segments from which the mean vectors are estimated", at_least=1)


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank training; off (all weights are trained) at rank 0."""

    rank: int = setting(0, "rank of the low-rank update; 0 trains all weights", at_least=0)
    alpha: float = setting(16.0, "the update is scaled by alpha / rank", at_least=0)
    dropout: float = setting(0.1, "dropout before the update", at_least=0, at_most=1)
    projections: tuple[str, ...] = setting(SEVEN_PROJECTIONS, "names of the linear layers that get an update")


@dataclass(frozen=True)
class TrainingConfig:
    """The optimiser, its schedule, and how the work is cut into batches."""

    max_steps: int = setting(1000, "optimiser steps", at_least=1)
    max_seconds: float | None = setting(
        None, 'stop after this many seconds even if steps remain; "none": no limit', at_least=0
    )
    batch_size: int = setting(8, "sequences per device and forward pass", at_least=1)
    gradient_accumulation_steps: int = setting(1, "forward passes per optimiser step", at_least=1)
    optimizer: Literal["adamw"] = setting("adamw", "AdamW is the only one")
    learning_rate: float = setting(1e-5, "peak of the learning rate", at_least=0)
    warmup_ratio: float = setting(
        0.1, "share of the steps in which the learning rate rises", at_least=0, at_most=1
    )
    schedule: Literal["cosine", "linear", "constant"] = setting("cosine", "how it falls afterwards")
    weight_decay: float = setting(0.0, "decoupled weight decay", at_least=0)
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm; 0: never", at_least=0)
    precision: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "auto: bfloat16 where the device is fast at it"
    )
    gradient_checkpointing: bool = setting(
        False, "recompute activations backward: less memory, a third more time"
    )
    joint: bool = setting(True, "both prompts in one pass; false: two passes (same result, for comparison)")
    packing: bool = setting(False, "fill rows with several segments instead of padding (for GPUs)")
    row_tokens: int = setting(1024, "length of a packed row", at_least=16)
    padding_side: Literal["right", "left"] = setting("right", "where short rows are padded when not packed")
    save_steps: int = setting(500, "steps between checkpoints; 0: none", at_least=0)
    logging_steps: int = setting(10, "steps between log entries", at_least=1)
    seed: int = setting(42, "seed of the order of the data and of dropout", at_least=0)
    report_to: tuple[str, ...] = setting((), "trackers: tensorboard, wandb")


@dataclass(frozen=True)
class AdaptConfig:
    """All settings of ``llara adapt``.

    >>> AdaptConfig().training.learning_rate
    1e-05
    """

    base: str | None = setting(None, "model to adapt, a directory or a hub name; --base wins over it")
    prompt: PromptConfig = PromptConfig()
    corpus: CorpusConfig = CorpusConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    lora: LoraConfig = LoraConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self) -> None:
        _check_together(self)


def _check_together(config: AdaptConfig) -> None:
    """Refuse combinations that cannot be meant."""
    objective, corpus, training = config.objective, config.corpus, config.training
    tasks = (objective.ebae or objective.ebar) and objective.task_weight > 0
    if not tasks and objective.lm_weight == 0:
        raise ConfigError(
            "nothing to train on: objective.ebae and objective.ebar are off (or task_weight is 0) and"
            " objective.lm_weight is 0; switch one on"
        )
    if corpus.min_segment_tokens >= corpus.segment_tokens:
        raise ConfigError(
            f"corpus.min_segment_tokens = {corpus.min_segment_tokens} leaves no room below"
            f" corpus.segment_tokens = {corpus.segment_tokens}; lower the former"
        )
    if training.packing and training.row_tokens < corpus.segment_tokens:
        raise ConfigError(
            f"training.row_tokens = {training.row_tokens} is shorter than corpus.segment_tokens ="
            f" {corpus.segment_tokens}, so a segment may not fit a packed row; raise the former"
        )
    if config.lora.rank > 0 and not config.lora.projections:
        raise ConfigError("lora.rank is set but lora.projections is empty; name the linear layers to train")


def list_recipes() -> list[str]:
    """Names of the recipes that ship with the package, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name_or_path: str | Path) -> AdaptConfig:
    """Read a recipe by its name or from a TOML file.

    Raises:
        ConfigError: no such recipe, not TOML, an unknown setting, a wrong type or range.
    """
    path = _find_recipe(name_or_path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    return from_dict(AdaptConfig, data, source=str(path))


def _find_recipe(name_or_path: str | Path) -> Path:
    path, name = Path(name_or_path), str(name_or_path)
    if path.suffix == ".toml" or path.name != name or isinstance(name_or_path, Path):
        if not path.is_file():
            raise ConfigError(
                f"the recipe {path} does not exist; give a TOML file or one of {listed(list_recipes())}"
            )
        return path
    shipped = RECIPES / f"{name}.toml"
    if not shipped.is_file():
        raise ConfigError(
            f"no recipe is called {name!r}{nearest(name, list_recipes()) or '.'}"
            f" There are {listed(list_recipes())}; or give the path of a .toml file"
        )
    return shipped
