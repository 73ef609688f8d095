"""What a result was made with: the machine, and the versions of the libraries."""

from __future__ import annotations

import os
import platform
import sys
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from llara import __version__

__all__ = ["machine", "now", "peak_memory", "versions"]


def versions(*packages: str) -> dict[str, str]:
    """The versions of llara, Python and those of ``packages`` that are installed."""
    found = {"llara": __version__, "Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The processor and the system in a line; what computes beside it, such as a GPU, is not looked for."""
    return f"{_processor()}, {os.cpu_count()} processors, {platform.system()} {platform.release()}"


def now() -> str:
    """The time of day, as the reader of a page in another country can tell it."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z").strip()


def peak_memory() -> str:
    """The most memory this process held at once, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
