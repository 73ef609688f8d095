"""``transformers.Trainer`` with our batches, our loss and our checkpoints; everything else is its own."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sized
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llara.adapt.losses import TERMS, AdaptationModel, Batch, combine
from llara.config import AdaptConfig

__all__ = ["AdaptTrainer", "StopAfter", "training_arguments", "use_bfloat16"]


def use_bfloat16(precision: str) -> bool:
    """Whether to compute in bfloat16: as told, or, for ``auto``, where the device multiplies it fast."""
    if precision != "auto":
        return precision == "bfloat16"
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def training_arguments(config: AdaptConfig, work: Path) -> TrainingArguments:
    """The Trainer's arguments for our settings; checkpoints and logs go under ``work``."""
    training = config.training
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
        save_total_limit=2,
        logging_steps=training.logging_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        report_to=list(training.report_to) or "none",
        seed=training.seed,
        remove_unused_columns=False,
        disable_tqdm=None,
        dataloader_pin_memory=not on_cpu,
    )


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
        self._term_sums_3 = torch.zeros(3, dtype=torch.float64)
        self._term_steps = 0

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
        self._term_steps += 1
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
        assert isinstance(num_items_in_batch, Tensor) and not return_outputs
        sums_3 = model(inputs) * self.accelerator.num_processes
        self._term_sums_3 += (sums_3.detach().double() / num_items_in_batch.clamp_min(1)).cpu()
        objective = self.adapt_config.objective
        return combine(
            sums_3, num_items_in_batch, task_weight=objective.task_weight, lm_weight=objective.lm_weight
        )

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the mean of each term since the last entry."""
        if "loss" in logs and self._term_steps:
            means_3 = (self._term_sums_3 / self._term_steps).to(self.args.device, torch.float32)
            means_3 = self.accelerator.reduce(means_3, reduction="mean")
            active = _active_terms(self.adapt_config)
            logs |= {term: means_3[i].item() for i, term in enumerate(TERMS) if term in active}
            self._term_sums_3.zero_()
            self._term_steps = 0
        super().log(logs, *args, **kwargs)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not estimated: the Trainer's estimate counts a head at every position, which we do not compute."""
        return 0

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
        load_weights(self.model, Path(resume_from_checkpoint))


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
    assert not unexpected and set(missing) <= tied, (missing, unexpected)


def _active_terms(config: AdaptConfig) -> set[str]:
    objective = config.objective
    active = {"ebae": objective.ebae, "ebar": objective.ebar, "lm": objective.lm_weight > 0}
    return {term for term, on in active.items() if on}


class StopAfter(TrainerCallback):
    """Ends a run after so many seconds, whatever steps remain."""

    def __init__(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask the Trainer to stop once the time is over."""
        control.should_training_stop |= time.monotonic() > self.deadline
        return control
