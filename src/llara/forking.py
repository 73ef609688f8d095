"""Processes with their libraries imported: forked from one that has imported them and computed nothing."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from multiprocessing import forkserver
from typing import Any

__all__ = ["forking_context"]


def forking_context(*modules: str) -> Any:
    """A context of ``multiprocessing`` whose processes have imported ``modules``, once for all of them.

    The process that they are forked from begins here and passes over Ctrl-C, as they do until they say
    otherwise: it is sent to a terminal's whole group, and who started them ends them. Where forking after
    imports is not safe (macOS) or not known, processes are made anew.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*modules])
    in_main = threading.current_thread() is threading.main_thread()  # to which signals belong
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
    try:
        forkserver.ensure_running()
    except OSError:  # its socket, whose path below TMPDIR may be too long for one
        return multiprocessing.get_context("spawn")
    finally:
        if in_main:
            signal.signal(signal.SIGINT, before)
    return context
