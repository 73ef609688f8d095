"""Random Llama models and random texts: what a step costs does not depend on what the words mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from transformers import LlamaConfig, PreTrainedModel

from llara.adapt.losses import Batch
from llara.joint import BranchSpec, lay_out
from llara.objective import Targets
from llara.prompts import Task
from llara.training import recompute_activations

__all__ = ["Texts", "llama_config", "set_checkpointing"]

BOS, EOS, FIRST_WORD = 1, 2, 3


def llama_config(*, vocabulary: int, hidden: int, layers: int, attention: str = "sdpa") -> LlamaConfig:
    """LLaMA-2's proportions at any width: heads of 64 (of 128 from 4096 on), MLP 2.7 times as wide.

    >>> llama_config(vocabulary=32000, hidden=4096, layers=32).intermediate_size
    11008
    """
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=round(hidden * 2.6875) // 32 * 32,
        num_hidden_layers=layers,
        num_attention_heads=hidden // (128 if hidden >= 4096 else 64),
        max_position_embeddings=4096,
    )
    config._attn_implementation = attention
    return config


def set_checkpointing(model: PreTrainedModel, on: bool) -> None:
    """Switch gradient checkpointing on or off."""
    if on:
        recompute_activations(model)
    elif hasattr(model, "activation_checkpointing_disable"):  # its name from transformers 5.2x on
        model.activation_checkpointing_disable()
    else:
        model.gradient_checkpointing_disable()


@dataclass
class Texts:
    """Random texts of given lengths, the two prompts, and batches of them.

    Attributes:
        lengths: tokens of each text, BOS and prompts not counted.
        prompt_tokens: of each prompt, its slot included.
    """

    lengths: Sequence[int]
    vocabulary: int
    prompt_tokens: int = 6
    trunks: list[list[int]] = field(init=False)
    branches: list[BranchSpec] = field(init=False)

    def __post_init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)
        self.trunks = [[BOS, *self._words(length)] for length in self.lengths]
        self.branches = [BranchSpec([*self._words(self.prompt_tokens - 1), EOS], 1) for _ in range(2)]

    def _words(self, count: int) -> list[int]:
        return torch.randint(FIRST_WORD, self.vocabulary, (count,), generator=self._generator).tolist()

    def batch(
        self, *, joint: bool, rows: Sequence[Sequence[int]] | None = None, row_tokens: int | None = None
    ) -> Batch:
        """The paper's batch: SELF predicts the text itself, NEXT the text that follows in the list."""
        tasks: tuple[Task, ...] = ("self", "next")
        branch_of = dict(zip(tasks, self.branches, strict=True))
        groups = (tasks,) if joint else tuple((task,) for task in tasks)
        passes = tuple(
            (
                group,
                lay_out(
                    self.trunks,
                    [branch_of[task] for task in group],
                    pad_id=0,
                    rows=rows,
                    row_tokens=row_tokens,
                ),
            )
            for group in groups
        )
        words = [trunk[1:] for trunk in self.trunks]
        targets = {"self": Targets.build(words), "next": Targets.build([*words[1:], words[0]])}
        empty = torch.zeros(0, dtype=torch.long)
        return Batch(len(words), passes, {task: targets[task] for task in tasks}, empty, empty, empty)
