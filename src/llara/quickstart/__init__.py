"""The quickstart: from a language model to a retriever on the documentation of this machine.

Reading order: ``prose`` (a docstring as sentences), ``pydocs`` (the machine's docstrings as passages),
``known_items`` (passages as a test collection), ``flow`` (the steps), ``summary`` (what they found, told).
"""

from llara.quickstart.flow import quickstart

__all__ = ["quickstart"]
