"""``transformers.Trainer`` with our batches, our loss and our checkpoints; everything else is its own."""

from __future__ import annotations

from collections.abc import Sized
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import SequentialSampler

from llara.adapt.losses import TERMS, Batch, combine
from llara.config import AdaptConfig
from llara.training import WholeCheckpoints

__all__ = ["AdaptTrainer"]


class AdaptTrainer(WholeCheckpoints):
    """The methods in which adaptation differs.

    The loss is normalised by the rows and tokens of the whole step, over accumulated batches and over
    processes, so one large batch, accumulated small ones and several processes give the same gradient.
    """

    shown = ("loss", *TERMS)

    def __init__(self, *, adapt_config: AdaptConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.adapt_config = adapt_config
        self.model_accepts_loss_kwargs = True  # our loss is scaled for accumulation already
        self.loss_is_scaled_for_ga = True  # the same, as newer versions ask
        device = self.args.device
        self._term_sums_3 = torch.zeros(3, dtype=torch.float64, device=device)
        self._term_steps_3 = torch.zeros(3, dtype=torch.float64, device=device)  # steps with such rows

    @property
    def lm(self) -> Any:
        """The language model, from under the loss and any data-parallel wrapper."""
        return self.accelerator.unwrap_model(self.model).lm

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
