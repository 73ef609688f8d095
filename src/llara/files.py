"""Writing so that a killed run leaves either the whole output or none of it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llara.errors import OutputError

__all__ = ["atomic_directory", "check_output", "write_text_atomic"]


def check_output(out: Path, *, overwrite: bool) -> None:
    """Refuse an output path that exists (and is not an empty directory) unless ``overwrite``."""
    if out.is_dir() and not overwrite and any(out.iterdir()):
        raise OutputError(
            f"the output directory {out} exists and is not empty; choose another or pass --overwrite"
        )
    if out.is_file():
        raise OutputError(f"the output {out} is a file, expected a directory; choose another path")


@contextmanager
def atomic_directory(out: Path, *, overwrite: bool = False, within: Path | None = None) -> Iterator[Path]:
    """Yield a temporary directory beside ``out`` that becomes ``out`` only if the block succeeds.

    Args:
        within: where the temporary directory stands instead, on the same file system.

    Raises:
        OutputError: ``out`` exists and is not empty, or the disk is full or read-only.
    """
    check_output(out, overwrite=overwrite)
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=within or out.parent)
        )
        temporary.chmod(0o755)
        yield temporary
        if out.exists():
            retired = temporary.with_suffix(".old")
            os.replace(out, retired)
            os.replace(temporary, out)
            shutil.rmtree(retired)
        else:
            os.replace(temporary, out)
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror or error}; free the disk or choose another path"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 ``text`` to ``path`` through a temporary file and a rename.

    Raises:
        OutputError: the disk is full or read-only.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
