"""A model directory's fast path from texts to vectors, and the vectors' smaller forms.

Read in this order: ``quantise`` (vectors only, no model), ``known`` (which models), ``batches`` and
``attention`` (how texts are laid out, and what they attend to), ``path`` (texts to vectors), ``proof`` (is it
the same?), ``choice`` (which way, then), ``encoder`` (all of it). ``Encoder`` comes in on first use, so that
``quantise`` loads no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llara.encoder.encoder import Encoder

__all__ = ["Encoder"]


def __getattr__(name: str) -> Any:
    if name != "Encoder":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from llara.encoder.encoder import Encoder

    return Encoder
