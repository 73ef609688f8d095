"""What every Trainer of ours does alike: arguments, checkpoints that are whole or do not count, progress."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from llara.config import TrainingConfig
from llara.errors import ConfigError, MissingExtraError, OutputError
from llara.training.models import load_weights, use_bfloat16

__all__ = ["StopAfter", "WholeCheckpoints", "check_devices", "common_arguments", "last_checkpoint"]

_COMPLETE = "complete"  # an empty file: all of the checkpoint stands on disk
_KEPT_CHECKPOINTS = 2
_DAYS_7_SECONDS = 7 * 24 * 3600


def common_arguments(training: TrainingConfig, work: Path, *, max_steps: int) -> dict[str, Any]:
    """The Trainer's arguments for our settings; checkpoints and logs go under ``work``.

    Raises:
        ConfigError: an unknown tracker.
        MissingExtraError: a tracker that is not installed.
    """
    _check_trackers(training.report_to)
    on_cpu = not torch.cuda.is_available()
    return {
        "output_dir": str(work / "checkpoints"),
        "max_steps": max_steps,
        "per_device_train_batch_size": training.batch_size,
        "gradient_accumulation_steps": training.gradient_accumulation_steps,
        "learning_rate": training.learning_rate,
        "warmup_steps": math.ceil(training.warmup_ratio * max_steps),
        "lr_scheduler_type": {"constant": "constant_with_warmup"}.get(training.schedule, training.schedule),
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "bf16": use_bfloat16(training.precision),
        "use_cpu": on_cpu,
        "ddp_backend": "gloo" if on_cpu and "RANK" in os.environ else None,
        "save_strategy": "steps" if training.save_steps else "no",
        "save_steps": training.save_steps or 500,
        "logging_steps": training.logging_steps,
        "logging_first_step": True,
        "logging_nan_inf_filter": False,
        "report_to": list(training.report_to) or "none",
        "seed": training.seed,
        "remove_unused_columns": False,
        "disable_tqdm": None,
        "dataloader_pin_memory": not on_cpu,
        "ddp_timeout": _DAYS_7_SECONDS,  # the others wait while the first process reads, mines or encodes
    }


def check_devices(arguments: TrainingArguments) -> None:
    """Refuse several GPUs in one process: each step would take more than was asked for.

    Raises:
        ConfigError: there are several.
    """
    if arguments.n_gpu > 1:
        raise ConfigError(
            f"{arguments.n_gpu} GPUs are visible to one process; start one for each (torchrun"
            f" --nproc_per_node {arguments.n_gpu} -m llara ...), or set CUDA_VISIBLE_DEVICES=0"
        )


def _check_trackers(names: Sequence[str]) -> None:
    for name in names:
        if name not in ("tensorboard", "wandb"):
            raise ConfigError(f"training.report_to names {name!r}; expected tensorboard or wandb")
        if find_spec(name) is None:
            raise MissingExtraError(name, "tracking")


class WholeCheckpoints(Trainer):
    """A Trainer whose checkpoints are whole or do not count, and that speaks on stderr only."""

    shown: tuple[str, ...] = ("loss",)  # entries of the log that progress lines show

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for printer in (PrinterCallback, ProgressCallback):  # they write to stdout
            self.remove_callback(printer)
        self.add_callback(_Progress(self.shown))
        self._clock = _Clock()
        self.add_callback(self._clock)

    @property
    def lm(self) -> Any:
        """The language model that is trained, under its adapter if it has one."""
        raise NotImplementedError

    def floating_point_ops(self, inputs: Any) -> int:
        """Not estimated: the Trainer's estimate counts a head at every position, which we do not compute."""
        return 0

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log, with the time that training has taken so far, and stop a run that has come to nothing.

        Raises:
            ConfigError: the loss is not finite.
        """
        if not math.isfinite(logs.get("loss", 0.0)):
            raise ConfigError(
                f"the loss is {logs['loss']} at step {self.state.global_step}: training.learning_rate ="
                f" {self.args.learning_rate} is too high, or training.precision too low"
            )
        if "loss" in logs:
            logs["seconds"] = self._clock.seconds()
        super().log(logs, *args, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint; it counts only once its last file stands, and then older ones go."""
        directory = Path(str(self.args.output_dir))
        try:
            super()._save_checkpoint(*args, **kwargs)
        except (torch.OutOfMemoryError, torch.distributed.DistBackendError):
            raise  # RuntimeErrors, too, but not of the disk
        except (OSError, SafetensorError, RuntimeError) as error:  # torch.save: RuntimeError on a full disk
            raise OutputError(
                f"cannot write a checkpoint to {directory}: {error}; free the disk or choose another path"
            ) from error
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            (directory / f"checkpoint-{self.state.global_step}" / _COMPLETE).touch()
            best = Path(self.state.best_model_checkpoint or "").name
            for old in _complete_checkpoints(directory)[:-_KEPT_CHECKPOINTS]:
                if old.name != best:
                    (old / _COMPLETE).unlink()
                    shutil.rmtree(old)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the language model (or its adapter) by its own method, as safetensors."""
        if state_dict is not None:
            state_dict = {name.removeprefix("lm."): value for name, value in state_dict.items()}
        self.lm.save_pretrained(output_dir or self.args.output_dir, state_dict=state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            load_weights(self.lm, Path(resume_from_checkpoint))


def last_checkpoint(directory: Path) -> Path | None:
    """The newest checkpoint that was written to its end; None where there is none."""
    return next(reversed(_complete_checkpoints(directory)), None)


def _complete_checkpoints(directory: Path) -> list[Path]:
    """Checkpoints that were written to their end, by step."""
    found = [
        (re.fullmatch(r"checkpoint-(\d+)", path.parent.name), path.parent)
        for path in directory.glob(f"*/{_COMPLETE}")
    ]
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


class _Progress(ProgressCallback):
    """A progress bar on a terminal, and a line for each log entry, all on stderr."""

    def __init__(self, shown: tuple[str, ...]) -> None:
        super().__init__()
        self.shown = shown

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Log the last step, too, wherever it falls."""
        super().on_step_end(args, state, control, **kwargs)
        control.should_log |= state.global_step >= state.max_steps

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write ``step 20/300: loss 5.013, ebae 4.8, ebar 5.2``."""
        shown = {name: logs[name] for name in self.shown if name in logs}
        values = ", ".join(f"{name.removeprefix('eval_')} {value:.4g}" for name, value in shown.items())
        if state.is_world_process_zero and self.training_bar is not None and values:
            self.training_bar.write(f"step {state.global_step}/{state.max_steps}: {values}", file=sys.stderr)


class _Clock(TrainerCallback):
    """The time that training takes, a run that was resumed included."""

    def __init__(self) -> None:
        self.begin = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start, or go on from what the checkpoint's log says."""
        before = [entry["seconds"] for entry in state.log_history if "seconds" in entry]
        self.begin = time.monotonic() - (before[-1] if before else 0.0)

    def seconds(self) -> float:
        """Seconds since training began; those between a checkpoint's last log entry and its end are lost."""
        return round(time.monotonic() - self.begin, 3)


class StopAfter(TrainerCallback):
    """Ends a run after so many seconds, whatever steps remain; the first process's clock counts for all."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask the Trainer to stop once the time is over."""
        late = torch.tensor(float(time.monotonic() > self.deadline), device=args.device)
        if args.world_size > 1:
            torch.distributed.broadcast(late, src=0)
        control.should_training_stop |= bool(late)
        control.should_log |= bool(late)
        return control
