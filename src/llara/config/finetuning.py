"""The settings of ``llara mine`` and ``llara finetune``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llara.config.training import LoraConfig, TrainingConfig
from llara.errors import ConfigError
from llara.settings import setting

__all__ = [
    "ContrastConfig",
    "FinetuneConfig",
    "FinetuneTrainingConfig",
    "HeldOutConfig",
    "MineConfig",
    "PairsConfig",
]


@dataclass(frozen=True)
class MineConfig:
    """Hard negatives: passages that a search ranks high and that are not the answer."""

    source: Literal["dense", "bm25", "mixed"] = setting(
        "dense", "which search proposes them; mixed: both, bm25_share of them from BM25"
    )
    bm25_share: float = setting(
        0.5, "share of a query's negatives from BM25, if mixed", at_least=0, at_most=1
    )
    negatives: int = setting(15, "negatives per query", at_least=1)
    first_rank: int = setting(1, "candidates begin at this rank, 1 being the best", at_least=1)
    last_rank: int = setting(200, "and end at this one", at_least=1)
    sampling: Literal["random", "top"] = setting("random", "which of the candidates left are taken")
    absolute_margin: float | None = setting(
        None, "a candidate scores at most the lowest positive's score minus this", at_least=0
    )
    relative_margin: float | None = setting(
        None,
        "a candidate scores at most the lowest positive's score less this share of it",
        at_least=0,
        at_most=1,
    )
    max_score: float | None = setting(None, "a candidate scores at most this")
    duplicate_overlap: float | None = setting(
        0.9,
        "a candidate that shares this share of its words with a positive is one itself (Jaccard)",
        at_least=0,
        at_most=1,
    )
    rescorer: str | None = setting(
        None,
        "a cross-encoder (directory or hub name) or another retriever (directory), whose scores replace the"
        " search's",
    )
    seed: int = setting(42, "seed of the sampling", at_least=0)

    def __post_init__(self) -> None:
        if self.first_rank > self.last_rank:
            raise ConfigError(
                f"first_rank = {self.first_rank} comes after last_rank = {self.last_rank}; no candidate is"
                " between them"
            )


@dataclass(frozen=True)
class PairsConfig:
    """Which texts are compared, and how they are cut."""

    title_separator: str | None = setting(
        " ", 'what stands between a passage\'s title and its text; "none": titles are left out'
    )
    query_tokens: int = setting(64, "longest query in tokens, prompt included", at_least=4)
    passage_tokens: int = setting(160, "longest passage in tokens, prompt included", at_least=4)
    negatives: int = setting(7, "hard negatives per query and step", at_least=0)
    weights: tuple[float, ...] = setting(
        (), "how often each training file is drawn from, one number a file; empty: by its number of queries"
    )
    one_source_batches: bool = setting(False, "all queries of a step come from the same training file")


@dataclass(frozen=True)
class ContrastConfig:
    """InfoNCE and what can be added to it."""

    temperature: float = setting(0.01, "scores are divided by it before the softmax", at_least=1e-6)
    in_batch: bool = setting(True, "the passages of the step's other queries are candidates, too")
    cross_device: bool = setting(True, "and so are those of other processes")
    mask_known: bool = setting(
        True, "another query's passage that is a known positive of this one is no candidate"
    )
    mask_margin: float | None = setting(
        None, "another query's passage that scores above the positive's score plus this is no candidate"
    )
    contrast_weight: float = setting(1.0, "factor of InfoNCE", at_least=0)
    distillation: Literal["none", "kl", "margin-mse"] = setting(
        "none", "learn from the scores in the training file: of a softmax, or of differences"
    )
    distillation_weight: float = setting(1.0, "factor of the distillation loss", at_least=0)
    teacher_temperature: float = setting(1.0, "the teacher's scores are divided by it", at_least=1e-6)
    matryoshka: tuple[int, ...] = setting(
        (), "the loss is also taken of the first so many numbers of a vector, for each of these"
    )


@dataclass(frozen=True)
class HeldOutConfig:
    """Queries that are not trained on, to see whether training still helps."""

    steps: int = setting(0, "steps between evaluations, the best of which is kept; 0: none", at_least=0)
    queries: int = setting(200, "queries held out", at_least=1)
    passages: int = setting(2000, "passages searched, at most: theirs and other queries'", at_least=2)
    measure: str = setting("nDCG@10", "by which the best checkpoint is chosen, as ir_measures names it")


@dataclass(frozen=True)
class FinetuneTrainingConfig(TrainingConfig):
    """Contrastive training, and how a step is cut to fit the memory."""

    learning_rate: float = setting(1e-4, "peak of the learning rate", at_least=0)
    batch_size: int = setting(32, "queries per device and step", at_least=1)
    epochs: float = setting(1.0, "how often every query is drawn", at_least=0)
    max_steps: int | None = setting(None, 'optimiser steps, instead of epochs; "none": by epochs', at_least=1)
    grad_cache_texts: int | None = setting(
        None,
        'texts in memory at once (GradCache: same gradient, less memory, more time); "none": all',
        at_least=1,
    )


@dataclass(frozen=True)
class FinetuneConfig:
    """All settings of ``llara finetune``.

    >>> FinetuneConfig().contrast.temperature
    0.01
    """

    model: str | None = setting(None, "model to train, a directory or llara-mini; --model wins over it")
    rounds: int = setting(
        0,
        "how often negatives are mined with the newest model and trained on; 0: those in the file",
        at_least=0,
    )
    pairs: PairsConfig = PairsConfig()
    contrast: ContrastConfig = ContrastConfig()
    lora: LoraConfig = LoraConfig(rank=32, alpha=64.0)
    training: FinetuneTrainingConfig = FinetuneTrainingConfig()
    mining: MineConfig = MineConfig()
    held_out: HeldOutConfig = HeldOutConfig()

    def __post_init__(self) -> None:
        _check_finetune(self)


def _check_finetune(config: FinetuneConfig) -> None:
    """Refuse combinations that cannot be meant, or that would not be what they say."""
    contrast, training = config.contrast, config.training
    if training.gradient_accumulation_steps > 1 and contrast.in_batch and contrast.contrast_weight > 0:
        raise ConfigError(
            f"training.gradient_accumulation_steps = {training.gradient_accumulation_steps} would not give"
            " the loss of one large batch: the passages of one part are no negatives for the others. Raise"
            " training.batch_size and set training.grad_cache_texts, which gives exactly that loss in bounded"
            " memory; or set contrast.in_batch = false"
        )
    if contrast.distillation == "none" and contrast.contrast_weight == 0:
        raise ConfigError("nothing to train on: contrast.contrast_weight is 0 and contrast.distillation none")
    if config.pairs.negatives == 0 and not (contrast.in_batch and contrast.contrast_weight > 0):
        raise ConfigError(
            "nothing to compare with: pairs.negatives is 0, and other queries' passages are not compared"
            " (contrast.in_batch, contrast.contrast_weight); switch one on"
        )
    if any(size < 1 for size in contrast.matryoshka):
        raise ConfigError(f"contrast.matryoshka = {list(contrast.matryoshka)}, expected sizes of at least 1")
    if any(weight <= 0 for weight in config.pairs.weights):
        raise ConfigError(f"pairs.weights = {list(config.pairs.weights)}, expected numbers above 0")
    if config.lora.rank > 0 and not config.lora.projections:
        raise ConfigError("lora.rank is set but lora.projections is empty; name the linear layers to train")
