"""The one module of ours inside a model directory, and only for the ``eight-words`` preset.

That preset tokenizes prompt and text apart and averages eight states, which no stock module does. A
directory of the ``paper`` preset needs none of this and loads without llara.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers.base.modules import Transformer
from torch import Tensor

from llara.prompts import Prompts, Task

__all__ = ["SlotTransformer"]


class SlotTransformer(Transformer):
    """A transformer whose attention mask, on the way out, marks the slots only.

    The stock mean pooling that follows then averages the states of the slots.
    """

    preset = "eight-words"

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Any]:
        """Token ids ``[B, T]`` (right-padded), the attention mask and the number of slots.

        Task ``query`` gets the NEXT branch, anything else SELF. ``prompt`` is ignored: the preset has its own.
        """
        tokenizer = self.tokenizer
        assert tokenizer is not None
        prompts = Prompts(tokenizer, self.preset)
        task: Task = "next" if kwargs.get("task") == "query" else "self"
        branch = prompts.branches[task]
        limit = prompts.text_limit(self.max_seq_length or tokenizer.model_max_length, [task])
        rows = [
            [*prompts.trunk(ids), *branch.ids] for ids in prompts.text_ids([str(i) for i in inputs], limit)
        ]
        width = max(len(row) for row in rows)
        input_ids_BT = torch.full((len(rows), width), tokenizer.pad_token_id or 0)
        attention_mask_BT = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            input_ids_BT[i, : len(row)] = torch.tensor(row)
            attention_mask_BT[i, : len(row)] = 1
        num_slots_B = torch.full((len(rows),), branch.num_slots)
        return {
            "input_ids": input_ids_BT,
            "attention_mask": attention_mask_BT,
            "num_slots": num_slots_B,
            "modality": "text",
        }

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Token states ``[B, T, D]``, and an attention mask that is 1 on the slots only."""
        num_slots_B: Tensor = features.pop("num_slots")
        output = super().forward(features, **kwargs)
        mask_BT = output["attention_mask"]
        length_B1 = mask_BT.sum(dim=1, keepdim=True)
        column_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        slots_BT = (column_T < length_B1) & (column_T >= length_B1 - num_slots_B[:, None])
        output["attention_mask"] = slots_BT.to(mask_BT.dtype)
        return dict(output)
