"""Whether a model is the one that made some vectors: its fingerprint says so."""

from __future__ import annotations

from pathlib import Path

from llara.errors import ModelError

__all__ = ["same_model"]


def same_model(what: str, model: str, made_by: str, now: str | None = None) -> str:
    """The name under which the model that made ``what`` can be loaded.

    Args:
        what: the index, or the vectors, for the message.
        model: where the model was then.
        made_by: its fingerprint then.
        now: where it is now; by default where it was.

    Raises:
        ModelError: it is not there, or is another one.
    """
    from llara.hub import local_directory
    from llara.model import fingerprint

    if now is None and Path(model).is_absolute() and not Path(model).exists():
        raise ModelError(
            f"{what} was made by the model {model}, which is no longer there; say where it is now "
            "with --model"
        )
    name = model if now is None else now
    found = fingerprint(local_directory(name))
    if found != made_by:
        raise ModelError(
            f"{what} was made by the model {model} (fingerprint {made_by[:12]}), and {name} is another one "
            f"or has changed since (fingerprint {found[:12]}): their vectors cannot be compared. Take the "
            f"model that made it, or encode the documents with {name} and index them again"
        )
    return name
