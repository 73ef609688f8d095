"""The command line in processes of its own, which can be killed at a chosen place.

They are forked from a server that has imported everything already: importing takes several seconds, a tiny
training less than one. What runs in them is ``llara.cli.main`` or a script as the main program, nothing of
the tests, but for ``Kill``.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the server: tiny matrices gain nothing from threads
_SERVER = multiprocessing.get_context("forkserver")
_PRELOADED = (
    "llara.adapt.run",
    "llara.finetune.run",
    "llara.mine",
    "llara.encode",
    "llara.encoder.encoder",
    "llara.cli.commands",
    "peft",
)
_SECONDS = 240


def begin_server() -> None:
    """Let it begin to import, while the first tests run; whoever asks for one later gets this one."""
    _SERVER.set_forkserver_preload([*_PRELOADED])
    forkserver.ensure_running()


@dataclass(frozen=True)
class Kill:
    """SIGKILL at the start of optimiser step ``step``, or with half of the file ``writing`` written, or when
    the function ``after`` (``module:name``) has just returned for the ``calls``-th time, or when only the
    rename of the whole model directory is missing."""

    step: int | None = None
    writing: str | None = None
    after: str | None = None
    calls: int = 1
    before_rename: bool = False


@dataclass(frozen=True)
class Done:
    """How a process ended; ``code`` is minus the signal's number if one ended it."""

    code: int | None
    stdout: str
    stderr: str


def llara(
    *arguments: object, cwd: Path, kill: Kill | None = None, env: Mapping[str, str] | None = None
) -> Done:
    """Run ``llara arguments`` to its end."""
    return finish(start(*arguments, cwd=cwd, kill=kill, env=env))


def script(path: Path, *arguments: object, cwd: Path) -> Done:
    """Run ``python path arguments`` to its end."""
    return finish(start_script(path, *arguments, cwd=cwd))


def start_script(path: Path, *arguments: object, cwd: Path) -> Any:
    """Start ``python path arguments`` and return at once."""
    return _start(_run_script, path, [*map(str, arguments)], cwd=cwd, env={})


def start(
    *arguments: object, cwd: Path, kill: Kill | None = None, env: Mapping[str, str] | None = None
) -> Any:
    """Start ``llara arguments`` and return at once."""
    return _start(_run_llara, [*map(str, arguments)], kill, cwd=cwd, env=dict(env or {}))


def _start(program: Callable[..., None], *told: Any, cwd: Path, env: Mapping[str, str]) -> Any:
    outputs = [Path(tempfile.mkstemp()[1]) for _ in range(2)]
    process = _SERVER.Process(target=_run, args=(program, told, cwd, outputs, env))
    process.start()
    return process, outputs


def finish(started: Any) -> Done:
    """Wait for its end."""
    process, outputs = started
    process.join(_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    stdout, stderr = (path.read_text(encoding="utf-8") for path in outputs)
    for path in outputs:
        path.unlink()
    return Done(process.exitcode, stdout, stderr)


def llara_twice(*arguments: object, cwd: Path, kill: Kill | None = None) -> list[Done]:
    """The same command in two processes that train together, with torchrun's environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [common | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    return [finish(process) for process in [start(*arguments, cwd=cwd, kill=kill, env=env) for env in ranks]]


def _run(
    program: Callable[..., None],
    told: Sequence[Any],
    cwd: Path,
    outputs: Sequence[Path],
    env: Mapping[str, str],
) -> None:
    gc.freeze()  # the server's objects: a collection over all that is imported takes half a second
    os.chdir(cwd)
    os.environ.update(env)
    for stream, number, path in zip((sys.stdout, sys.stderr), (1, 2), outputs, strict=True):
        stream.flush()
        os.dup2(os.open(path, os.O_WRONLY), number)
    program(*told)


def _run_llara(arguments: Sequence[str], kill: Kill | None) -> None:
    from llara.cli import main

    if kill is not None:
        _arrange(kill)
    raise SystemExit(main(arguments))


def _run_script(path: Path, arguments: Sequence[str]) -> None:
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    runpy.run_path(str(path), run_name="__main__")


def _arrange(kill: Kill) -> None:
    import torch

    from llara.adapt.trainer import AdaptTrainer
    from llara.finetune.trainer import FinetuneTrainer

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def die_after(place: str, calls: int) -> None:
        module, _, name = place.partition(":")
        function, done = getattr(importlib.import_module(module), name), 0

        def call_and_die(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            result = function(*args, **kwargs)
            done += 1
            if done == calls:
                die()
            return result

        setattr(sys.modules[module], name, call_and_die)

    def die_at_step(trainer: Any) -> None:
        take_batches, steps = trainer.get_batch_samples, 0

        def get_batch_samples(self: Any, *args: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == kill.step:
                die()
            return take_batches(self, *args)

        trainer.get_batch_samples = get_batch_samples

    save = torch.save

    def save_half(content: Any, path: Any, *args: Any, **kwargs: Any) -> None:
        save(content, path, *args, **kwargs)
        if kill.writing is not None and str(path).endswith(kill.writing):
            os.truncate(path, Path(path).stat().st_size // 2)
            die()

    torch.save = save_half
    for trainer in (AdaptTrainer, FinetuneTrainer):
        die_at_step(trainer)
    if kill.after is not None:
        die_after(kill.after, kill.calls)
    if kill.before_rename:
        for stage in ("adapt.run", "finetune.finish"):
            die_after(f"llara.{stage}:save_retriever", kill.calls)
