"""``transformers.Trainer`` with our batches, our loss and our checkpoints; everything else is its own."""

from __future__ import annotations

import math
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence, Sized
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from llara.adapt.losses import TERMS, AdaptationModel, Batch, combine
from llara.config import AdaptConfig
from llara.errors import ConfigError, MissingExtraError, OutputError

__all__ = ["AdaptTrainer", "StopAfter", "last_checkpoint", "training_arguments", "use_bfloat16"]

_COMPLETE = "complete"  # an empty file: all of the checkpoint stands on disk
_KEPT_CHECKPOINTS = 2


def use_bfloat16(precision: str) -> bool:
    """Whether to compute in bfloat16: as told, or, for ``auto``, where the device multiplies it fast."""
    if precision != "auto":
        return precision == "bfloat16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    checks = [getattr(torch.cpu, f"_is_{feature}_supported") for feature in ("avx512_bf16", "amx_tile")]
    return any(check() for check in checks)


def training_arguments(config: AdaptConfig, work: Path) -> TrainingArguments:
    """The Trainer's arguments for our settings; checkpoints and logs go under ``work``.

    Raises:
        ConfigError: an unknown tracker.
        MissingExtraError: a tracker that is not installed.
    """
    training = config.training
    _check_trackers(training.report_to)
    on_cpu = not torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(work / "checkpoints"),
        max_steps=training.max_steps,
        per_device_train_batch_size=training.batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        learning_rate=training.learning_rate,
        warmup_steps=math.ceil(training.warmup_ratio * training.max_steps),
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(training.schedule, training.schedule),
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        bf16=use_bfloat16(training.precision),
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and "RANK" in os.environ else None,
        save_strategy="steps" if training.save_steps else "no",
        save_steps=training.save_steps or 500,
        logging_steps=training.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=list(training.report_to) or "none",
        seed=training.seed,
        remove_unused_columns=False,
        disable_tqdm=None,
        dataloader_pin_memory=not on_cpu,
    )


def _check_trackers(names: Sequence[str]) -> None:
    for name in names:
        if name not in ("tensorboard", "wandb"):
            raise ConfigError(f"training.report_to names {name!r}; expected tensorboard or wandb")
        if find_spec(name) is None:
            raise MissingExtraError(name, "tracking")


class AdaptTrainer(Trainer):
    """The methods in which adaptation differs.

    The loss is normalised by the rows and tokens of the whole step, over accumulated batches and over
    processes, so one large batch, accumulated small ones and several processes give the same gradient.
    """

    def __init__(self, *, adapt_config: AdaptConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.adapt_config = adapt_config
        self.model_accepts_loss_kwargs = True  # our loss is scaled for accumulation already
        self.loss_is_scaled_for_ga = True  # the same, as newer versions ask
        device = self.args.device
        self._term_sums_3 = torch.zeros(3, dtype=torch.float64, device=device)
        self._term_steps_3 = torch.zeros(3, dtype=torch.float64, device=device)  # steps with such rows
        for printer in (PrinterCallback, ProgressCallback):  # they write to stdout
            self.remove_callback(printer)
        self.add_callback(_Progress)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        assert isinstance(self.train_dataset, Sized)
        return SequentialSampler(self.train_dataset)  # the data set is in the order of the run already

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Batch], Tensor]:
        """The batches of one step, and the rows and positions behind each term over all processes."""
        batches: list[Batch] = list(islice(epoch_iterator, num_batches))
        counts_3 = sum((batch.counts() for batch in batches), torch.zeros(3, dtype=torch.float64)).to(device)
        if self.accelerator.num_processes > 1:
            counts_3 = self.accelerator.reduce(counts_3, reduction="sum")
        self._term_steps_3 += counts_3 > 0
        return batches, counts_3

    def _prepare_inputs(self, inputs: Any) -> Any:
        return inputs.to(self.args.device)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Our part of the step's loss, scaled so that the mean over processes is the loss of all."""
        assert isinstance(num_items_in_batch, Tensor)
        assert not return_outputs
        sums_3 = model(inputs) * self.accelerator.num_processes
        self._term_sums_3 += sums_3.detach().double() / num_items_in_batch.clamp_min(1)
        objective = self.adapt_config.objective
        return combine(
            sums_3, num_items_in_batch, task_weight=objective.task_weight, lm_weight=objective.lm_weight
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the mean of each term over the steps since the last entry that had rows for it."""
        if "loss" in logs:
            sums_3 = self.accelerator.reduce(self._term_sums_3, reduction="mean")
            pairs = zip(TERMS, sums_3.tolist(), self._term_steps_3.tolist(), strict=True)
            logs |= {term: total / steps for term, total, steps in pairs if steps}
            self._term_sums_3.zero_()
            self._term_steps_3.zero_()
        super().log(logs, *args, **kwargs)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not estimated: the Trainer's estimate counts a head at every position, which we do not compute."""
        return 0

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint; it counts only once its last file stands, and then older ones go."""
        directory = Path(str(self.args.output_dir))
        try:
            super()._save_checkpoint(*args, **kwargs)
        except (OSError, SafetensorError, RuntimeError) as error:  # torch.save: RuntimeError on a full disk
            raise OutputError(
                f"cannot write a checkpoint to {directory}: {error}; free the disk or choose another path"
            ) from error
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            (directory / f"checkpoint-{self.state.global_step}" / _COMPLETE).touch()
            for old in _complete_checkpoints(directory)[:-_KEPT_CHECKPOINTS]:
                (old / _COMPLETE).unlink()
                shutil.rmtree(old)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Save the language model (or its adapter) by its own method, as safetensors."""
        lm = self.accelerator.unwrap_model(self.model).lm
        if state_dict is not None:
            state_dict = {name.removeprefix("lm."): value for name, value in state_dict.items()}
        lm.save_pretrained(output_dir or self.args.output_dir, state_dict=state_dict)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        assert isinstance(self.model, AdaptationModel)
        load_weights(self.model, Path(resume_from_checkpoint))


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


def load_weights(model: AdaptationModel, checkpoint: Path) -> None:
    """Load a checkpoint's weights into the model, in place."""
    from safetensors.torch import load_file

    if hasattr(model.lm, "peft_config"):
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(model.lm, load_peft_weights(str(checkpoint), device="cpu"))
        return
    weights: dict[str, Tensor] = {}
    for file in sorted(checkpoint.glob("model*.safetensors")):
        weights |= load_file(file)
    missing, unexpected = model.lm.load_state_dict(weights, strict=False)
    tied = set(model.lm.state_dict()) - set(dict(model.lm.named_parameters()))
    assert not unexpected, unexpected
    assert set(missing) <= tied, missing


class _Progress(ProgressCallback):
    """A progress bar on a terminal, and a line for each log entry, all on stderr."""

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write ``step 20/300: loss 5.013, ebae 4.8, ebar 5.2``."""
        if state.is_world_process_zero and self.training_bar is not None and "loss" in logs:
            losses = ", ".join(f"{name} {logs[name]:.4g}" for name in ("loss", *TERMS) if name in logs)
            line = f"step {state.global_step}/{state.max_steps}: {losses}"
            self.training_bar.write(line, file=sys.stderr)


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
        return control
