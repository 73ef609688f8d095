"""Settings that every stage with a training run has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llara.settings import setting

__all__ = ["LoraConfig", "TrainingConfig"]

SEVEN_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank training; off (all weights are trained) at rank 0."""

    rank: int = setting(0, "rank of the low-rank update; 0 trains all weights", at_least=0)
    alpha: float = setting(16.0, "the update is scaled by alpha / rank", at_least=0)
    dropout: float = setting(0.1, "dropout before the update", at_least=0, at_most=1)
    projections: tuple[str, ...] = setting(SEVEN_PROJECTIONS, "names of the linear layers that get an update")


@dataclass(frozen=True)
class TrainingConfig:
    """The optimiser and its schedule, alike in every stage that trains."""

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
    save_steps: int = setting(500, "steps between checkpoints; 0: none", at_least=0)
    logging_steps: int = setting(10, "steps between log entries", at_least=1)
    seed: int = setting(42, "seed of the order of the data and of dropout", at_least=0)
    report_to: tuple[str, ...] = setting((), "trackers: tensorboard, wandb")
