"""``SentenceTransformerTrainer`` with our order of the data and our checkpoints; the rest is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.base.evaluation import BaseEvaluator
from torch.utils.data import BatchSampler, SequentialSampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from llara.encode import encode_texts
from llara.evaluate import evaluate_run
from llara.evaluate.measures import depth_of
from llara.prompts import Prompts
from llara.training import WholeCheckpoints

__all__ = ["EvaluateLast", "FinetuneTrainer", "HeldOut", "Retriever"]


@dataclass(frozen=True)
class Retriever:
    """One set of weights, seen twice: a language model, and the retriever that embeds with its trunk."""

    name: str  # whose weights they were at the start
    lm: Any
    encoder: SentenceTransformer
    prompts: Prompts
    max_tokens: int
    stored_dtype: torch.dtype


class FinetuneTrainer(WholeCheckpoints, SentenceTransformerTrainer):
    """The methods in which ours differs: batches in the order of the run, and the language model is saved."""

    shown = ("loss", "eval_held_out")

    def __init__(self, *, retriever: Retriever, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.retriever = retriever

    @property
    def lm(self) -> Any:
        """The causal language model whose trunk the retriever embeds with."""
        return self.retriever.lm

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: the card is written at the end, by ``card``."""

    def get_batch_sampler(  # type: ignore[override]
        self, dataset: Any, batch_size: int, drop_last: bool, **kwargs: Any
    ) -> BatchSampler:
        """Batches in the order of the data set, which is the order of the run."""
        return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

    def _load_best_model(self) -> None:
        """Load the best checkpoint; the library's own would go on with the last one if that failed."""
        assert self.state.best_model_checkpoint is not None
        self._load_from_checkpoint(self.state.best_model_checkpoint)


class EvaluateLast(TrainerCallback):
    """Evaluates and saves the last step, too, so that the best checkpoint may be the last."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Ask for both once the run ends, by its steps or by its time."""
        if state.global_step >= state.max_steps or control.should_training_stop:
            control.should_evaluate = control.should_save = True
        return control


class HeldOut(BaseEvaluator):
    """How well the model ranks passages for queries that are not trained on.

    Args:
        queries, passages: their texts.
        relevant: for each query, the numbers of its relevant passages.
        measure: as ir_measures names it.
        bfloat16: compute as the training does, under autocast.
    """

    def __init__(
        self,
        queries: Sequence[str],
        passages: Sequence[str],
        relevant: Sequence[Sequence[int]],
        *,
        measure: str,
        batch_size: int,
        bfloat16: bool = False,
    ) -> None:
        super().__init__()
        self.bfloat16 = bfloat16
        self.queries, self.passages = list(queries), list(passages)
        self.qrels = {str(q): {str(p): 1 for p in found} for q, found in enumerate(relevant)}
        self.measure, self.batch_size = measure, batch_size
        self.primary_metric = "held_out"

    def __call__(  # type: ignore[override]
        self,
        model: SentenceTransformer,
        output_path: str | None = None,
        epoch: float = -1,
        steps: int = -1,
    ) -> dict[str, float]:
        """``{"held_out": mean of the measure}``."""
        with torch.autocast(model.device.type, torch.bfloat16, enabled=self.bfloat16):
            queries_QD = encode_texts(model, self.queries, role="query", batch_size=self.batch_size)
            passages_PD = encode_texts(model, self.passages, role="document", batch_size=self.batch_size)
        scores_QP = queries_QD @ passages_PD.T
        depth = min(depth_of([self.measure]), len(self.passages))
        best_QK = np.argpartition(-scores_QP, depth - 1, axis=1)[:, :depth]
        run = {str(q): {str(p): float(scores_QP[q, p]) for p in best} for q, best in enumerate(best_QK)}
        means: Mapping[str, float] = evaluate_run(run, self.qrels, [self.measure])[0]
        return {"held_out": means[self.measure]}
