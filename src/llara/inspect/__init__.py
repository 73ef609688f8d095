"""See what a retriever sees: its prompts, its mask, the words that its vectors hold and expect, and why two
texts are alike.

``inspector`` is what users call; ``views`` what comes back; ``picture`` shows it on a terminal.
"""

from llara.inspect.inspector import Inspector
from llara.inspect.picture import readable, readable_pair
from llara.inspect.views import Inspection, Mask, Pair, PairWord, RoleView, Span, TokenView, Word

__all__ = [
    "Inspection",
    "Inspector",
    "Mask",
    "Pair",
    "PairWord",
    "RoleView",
    "Span",
    "TokenView",
    "Word",
    "readable",
    "readable_pair",
]
