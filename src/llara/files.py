"""Writing so that a killed run leaves either the whole output or none of it."""

from __future__ import annotations

import ctypes
import glob
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llara.errors import InputError, OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "Alone",
    "atomic_directory",
    "check_apart",
    "check_output",
    "check_work",
    "place_of",
    "put_in_place",
    "settle",
    "sha256_of",
    "take_work",
    "work_directory",
    "write_text_atomic",
]

_NEW_SECONDS = 60.0  # a directory may have been made and not yet locked


def place_of(out: Path) -> Path:
    """Where an output really stands: what ``out`` points to if it is a symbolic link, else ``out``.

    A directory that is to replace it must be made beside that, on the same file system.
    """
    return out.resolve() if out.is_symlink() else out


def check_output(out: Path, *, overwrite: bool) -> None:
    """Refuse an output path that exists (and is not an empty directory) unless ``overwrite``."""
    if out.is_dir() and not overwrite and any(out.iterdir()):
        raise OutputError(
            f"the output directory {out} exists and is not empty; choose another or pass --overwrite"
        )
    if out.is_file():
        raise OutputError(f"the output {out} is a file, expected a directory; choose another path")


def check_apart(out: Path, *read: Path | str) -> None:
    """Refuse an output that what is read stands in, or is: ``--overwrite`` would delete it.

    Raises:
        OutputError: which of ``read`` it is; a name that is no path here is passed over.
    """
    place = out.resolve()
    for source in read:
        if Path(source).exists() and Path(source).resolve().is_relative_to(place):
            raise OutputError(
                f"the output {out} would replace {source}, which is read for it; choose another path"
            )


class Alone:
    """Keeps other runs out of a directory, until it is closed or this process ends in whatever way.

    Where there are no locks (Windows, some file systems of clusters), nobody is kept out.
    """

    def __init__(self) -> None:
        self._held: int | None = None

    def take(self, directory: Path) -> bool:
        """Whether it is now ours, in place of what was held before."""
        self.close()
        if fcntl is None:
            return True
        with suppress(OSError):  # it cannot be opened: who writes it will say so
            self._held = os.open(directory, os.O_RDONLY)
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.close()
                return False
            except OSError:  # no locks here
                self.close()
        return True

    @property
    def is_sure(self) -> bool:
        """Whether a lock is held, so that others would be kept out."""
        return self._held is not None

    def close(self) -> None:
        """Let others in."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


@contextmanager
def atomic_directory(out: Path, *, overwrite: bool = False, within: Path | None = None) -> Iterator[Path]:
    """Yield a temporary directory beside ``out`` that becomes ``out`` only if the block succeeds.

    If ``out`` is a symbolic link, what it points to is made or replaced, and the link stays. What a process
    that was killed left of the same output is removed.

    Args:
        within: where the temporary directory stands instead, on the same file system.

    Raises:
        OutputError: ``out`` exists and is not empty, now or at the end, or the disk is full or read-only.
    """
    check_output(out, overwrite=overwrite)
    temporary: Path | None = None
    alone = Alone()
    try:
        place = place_of(out)
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(within or place.parent, f".{glob.escape(place.name)}.*.partial")
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=within or place.parent)
        )
        alone.take(temporary)
        temporary.chmod(0o755)
        yield temporary
        check_output(out, overwrite=overwrite)  # another may have been quicker
        put_in_place(temporary, place)
    except OSError as error:
        raise OutputError(
            f"cannot write {out}: {error.strerror or error}; free the disk or choose another path"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        alone.close()


def _sweep(folder: Path, pattern: str) -> None:
    """Remove temporary directories that no living process holds."""
    for left in folder.glob(pattern):
        alone = Alone()
        with suppress(OSError):
            old = time.time() - left.stat().st_mtime > _NEW_SECONDS
            if old and left.is_dir() and alone.take(left) and alone.is_sure:
                shutil.rmtree(left, ignore_errors=True)
        alone.close()


def put_in_place(directory: Path, out: Path) -> None:
    """Rename ``directory`` to ``out``, or to what that points to; what stood there is removed.

    The two are exchanged at once where the system can (Linux), so that ``out`` is whole at every moment.
    Elsewhere it is missing between two renames.

    Raises:
        OSError: it cannot be renamed.
    """
    out = place_of(out)
    if not out.exists():
        os.replace(directory, out)
        return
    if _exchanged(directory, out):
        shutil.rmtree(directory)
        return
    retired = directory.with_suffix(".old")
    os.replace(out, retired)
    try:
        os.replace(directory, out)
    except OSError:
        os.replace(retired, out)
        raise
    shutil.rmtree(retired)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two paths in one step; False if the system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    done: int = renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return done == 0


def settle(path: Path) -> None:
    """Have a written file on the disk itself, before something that is there refers to it.

    Raises:
        OSError: it cannot be.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def work_directory(out: Path) -> Path:
    """Where a run that can be resumed stands until its output is whole: ``OUT.partial``, links followed."""
    absolute = place_of(out).absolute()
    return absolute.with_name(absolute.name + ".partial")


def check_work(work: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to begin where an unfinished run stands, or to resume where none does.

    Raises:
        OutputError: an unfinished run stands there, and neither ``resume`` nor ``overwrite``.
        InputError: there is no run to resume.
    """
    if work.exists() and not resume and not overwrite:
        raise OutputError(
            f"an unfinished run stands in {work}; go on with --resume, or start anew with --overwrite"
        )
    if resume and not work.exists():
        raise InputError(f"there is no unfinished run in {work} to resume; start it without --resume")


def take_work(alone: Alone, work: Path) -> None:
    """Keep other runs out of ``work``, if it is there.

    Raises:
        OutputError: another is writing it.
    """
    if work.is_dir() and not alone.take(work):
        raise OutputError(
            f"another run is writing {work} now; wait for it or end it, or choose another --out"
        )


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal; reads it once, in pieces.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
