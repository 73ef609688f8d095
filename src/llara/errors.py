"""Every exception a user can meet.

    LlaraError              the base: the command line prints it and exits 1
    |-- InputError          a corpus, query or qrels file, or texts in memory, are missing, empty or malformed
    |   `-- BadLineError    one line of a corpus is, and could be left out
    |-- ConfigError         a recipe or ``--set`` holds an unknown key or a wrong value
    |-- ModelError          a model directory is missing, incomplete or cannot do what is asked
    |-- OutputError         the output exists already, or cannot be written
    `-- MissingExtraError   an optional dependency is not installed

Each message says what was wrong, what was expected and what to do.
"""

from __future__ import annotations

__all__ = [
    "BadLineError",
    "ConfigError",
    "InputError",
    "LlaraError",
    "MissingExtraError",
    "ModelError",
    "OutputError",
]


class LlaraError(Exception):
    """Base of every error that llara raises for its user."""


class InputError(LlaraError):
    """What the user gave is missing, empty or malformed; the message names file and line, or position."""


class BadLineError(InputError):
    """A line of a corpus holds no document."""


class ConfigError(LlaraError):
    """A recipe, a setting or a combination of settings is not valid."""


class ModelError(LlaraError):
    """A model cannot be loaded, or cannot do what is asked of it."""


class OutputError(LlaraError):
    """An output exists already, or cannot be written."""


class MissingExtraError(LlaraError):
    """An optional dependency is missing; the message says which extra installs it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed. Install it with: pip install 'llara[{extra}]'")
