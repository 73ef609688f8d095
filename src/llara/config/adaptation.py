"""The settings of ``llara adapt``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llara.config.training import LoraConfig, TrainingConfig
from llara.errors import ConfigError
from llara.settings import setting

__all__ = ["AdaptConfig", "AdaptTrainingConfig", "CorpusConfig", "ObjectiveConfig", "PromptConfig"]


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
class AdaptTrainingConfig(TrainingConfig):
    """Training by EBAE and EBAR, and how its work is cut into batches."""

    max_steps: int = setting(1000, "optimiser steps", at_least=1)
    joint: bool = setting(True, "both prompts in one pass; false: two passes (same result, for comparison)")
    packing: bool = setting(False, "fill rows with several segments instead of padding (for GPUs)")
    row_tokens: int = setting(1024, "length of a packed row", at_least=16)
    padding_side: Literal["right", "left"] = setting("right", "where short rows are padded when not packed")


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
    training: AdaptTrainingConfig = AdaptTrainingConfig()

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
