"""Models of the Hugging Face Hub as directories on this machine."""

from __future__ import annotations

from pathlib import Path

from llara.errors import ModelError
from llara.model import resolve

__all__ = ["local_directory"]

# Copies of the weights for other libraries.
_NOT_READ = ["*.gguf", "*.h5", "*.msgpack", "*.onnx*", "*.ot", "*.tflite", "onnx/*", "openvino/*"]


def local_directory(name_or_path: str | Path) -> str:
    """The directory that holds a model's files, shipped, local, or the newest snapshot of a hub name.

    A snapshot is downloaded into the Hub's cache if it is not there. Without a connection (or with
    HF_HUB_OFFLINE=1) the one that was downloaded last is taken.

    Raises:
        ModelError: no such model, or it cannot be downloaded.
    """
    source = resolve(name_or_path)
    if Path(source).is_dir():
        return source
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    # huggingface_hub speaks HTTP through requests, httpx or httpx2, by its version.
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        return snapshot_download(source, ignore_patterns=_NOT_READ)
    except (OSError, ValueError, http_error) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(
            f"there is no model {source!r} on this machine, and it cannot be had from the Hugging Face Hub "
            f"({reason}); check the name or the connection, or give a local directory"
        ) from error
