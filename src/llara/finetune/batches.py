"""Positions of the run -> one batch: token ids of queries and passages, and what each passage is.

    {"query_input_ids":   [B, T], "query_attention_mask":   [B, T], ..., "query_task": "query",
     "passage_input_ids": [M, T], "passage_attention_mask": [M, T], ..., "passage_task": "document",
     "label": {"passage_ids": [B, G], "known": [B, K], "teacher": [B, G]}}

M = B x G passages, query by query, each one's positive first; see ``loss`` for the letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from llara.config import PairsConfig
from llara.finetune.loss import ABSENT
from llara.finetune.order import draw_passages
from llara.finetune.pairs import PairStore
from llara.prompts import Prompts
from llara.slots import padded_inputs

__all__ = ["PairCollator"]


@dataclass
class PairCollator:
    """Looks up the examples at the given positions and tokenizes their texts with the prompt of their role.

    Attributes:
        prompts: the model's.
        order: number of the query at each position.
        num_negatives: negatives a query; missing ones are blank and marked ``ABSENT``.
        teacher: whether to add the teacher's scores.
    """

    prompts: Prompts
    store: PairStore
    order: np.ndarray
    pairs: PairsConfig
    num_negatives: int
    seed: int
    teacher: bool = False
    valid_label_columns: list[str] = field(default_factory=list)  # the trainer asks every collator for it

    def __call__(self, positions: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        queries, passages, known = [], [], []
        ids_BG = torch.full((len(positions), 1 + self.num_negatives), ABSENT)
        teacher_BG = torch.zeros(ids_BG.shape)
        for row, item in enumerate(positions):
            example = self.store[int(self.order[item["position"]])]
            positive, negatives = draw_passages(
                example, self.num_negatives, seed=self.seed, position=item["position"]
            )
            chosen = [example.positives[positive], *example.negatives[negatives]]
            ids_BG[row, : len(chosen)] = torch.tensor(chosen)
            if self.teacher:
                assert example.positive_scores is not None
                scores = [example.positive_scores[positive]]
                if example.negative_scores is not None:
                    scores += list(example.negative_scores[negatives])
                teacher_BG[row, : len(scores)] = torch.tensor(scores)
            queries.append(example.query)
            known.append(torch.from_numpy(example.known.copy()))
            blanks = [""] * (ids_BG.shape[1] - len(chosen))
            passages += [self.store.passage(int(number)) for number in chosen] + blanks
        label = {
            "passage_ids": ids_BG,
            "known": torch.nn.utils.rnn.pad_sequence(known, batch_first=True, padding_value=ABSENT),
        }
        if self.teacher:
            label["teacher"] = teacher_BG
        return {
            **self._features("query", queries, "query", self.pairs.query_tokens),
            **self._features("passage", passages, "document", self.pairs.passage_tokens),
            "label": label,
        }

    def _features(self, column: str, texts: list[str], task: str, max_tokens: int) -> dict[str, Any]:
        inputs = padded_inputs(self.prompts, texts, "next" if task == "query" else "self", max_tokens)
        return {f"{column}_{name}": value for name, value in {**inputs, "task": task}.items()}
