"""A run's directory: everything stands in ``OUT.partial`` until the model is whole."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from llara.errors import ConfigError, OutputError
from llara.files import Alone, take_work, write_text_atomic
from llara.report.machine import machine, now, peak_memory
from llara.report.runs import time_words
from llara.settings import to_dict

__all__ = ["check_same_run", "make_work", "run_facts", "say"]

_MAY_CHANGE_ON_RESUME = {"max_seconds", "report_to", "logging_steps", "save_steps"}


def say(text: str) -> None:
    """Speech: to stderr, from one process of a distributed run."""
    if os.environ.get("RANK", "0") == "0":
        print(text, file=sys.stderr, flush=True)


def make_work(work: Path, arguments: TrainingArguments, *, resume: bool, overwrite: bool) -> Alone:
    """Make the run's directory, from the first process; what is returned keeps others out until closed.

    Raises:
        OutputError: it cannot be written, or another run is writing it.
    """
    alone = Alone()
    with arguments.main_process_first(local=False, desc="making the run's directory"):
        if arguments.process_index != 0:
            return alone
        take_work(alone, work)
        if overwrite and not resume:
            shutil.rmtree(work, ignore_errors=True)
        try:
            work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"cannot write {work}: {error.strerror or error}") from error
        take_work(alone, work)
    return alone


def run_facts(arguments: TrainingArguments, *, started: float) -> dict[str, str]:
    """What a page says of the run it is about: when, how long, on what.

    Args:
        started: when this process began, as ``time.monotonic`` has it.
    """
    on_gpu = torch.cuda.is_available()
    devices = f"{arguments.world_size} x {torch.cuda.get_device_name(0)}" if on_gpu else ""
    return {
        "Finished": now(),
        "Time of this process": f"{time_words(time.monotonic() - started)}, reading and writing included",
        "Machine": machine(),
        "GPU": devices,
        "Processes": f"{arguments.world_size}" if arguments.world_size > 1 else "",
        "Number format": "bfloat16" if arguments.bf16 else "float32",
        "Memory at its peak": peak_memory(),
        "GPU memory at its peak": f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB" if on_gpu else "",
    }


def check_same_run(work: Path, config: Any, *, resume: bool, **facts: Any) -> None:
    """Refuse to resume with settings or facts that would not give the same run; remember them otherwise.

    Raises:
        ConfigError: what differs, by name.
    """
    settings = to_dict(config)
    training = {k: v for k, v in settings["training"].items() if k not in _MAY_CHANGE_ON_RESUME}
    content = json.loads(json.dumps({**facts, **settings, "training": training}))
    path = work / "settings.json"
    if resume and path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(_flat(before).items() ^ _flat(content).items())
        if changed:
            names = ", ".join(dict.fromkeys(name for name, _ in changed))
            raise ConfigError(
                f"the run in {work} was started with other settings ({names}); resume with the same ones, "
                "or start anew with --overwrite"
            )
        return
    write_text_atomic(path, json.dumps(content, indent=1) + "\n")


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = json.dumps(value)
    return flat
