"""EBAE and EBAR training: the paper's adaptation stage.

losses    what one batch is, and its loss terms: read this first
store     the corpus as token ids on disk, in an order that a resumed run repeats
trainer   the few methods in which our run differs from ``transformers.Trainer``
prepare   what a run needs before it trains
card      the README of an adapted model
run       ``adapt()``: base model and corpus in, model directory out
"""

from __future__ import annotations

from llara.adapt.losses import adaptation_losses
from llara.adapt.run import AdaptResult, adapt

__all__ = ["AdaptResult", "adapt", "adaptation_losses"]
