"""The one module of ours inside a model directory, for prompts that stock modules cannot write.

The ``eight-words`` preset tokenizes prompt and text apart and averages eight states; and a tokenizer that
merges characters across the border of text and prompt needs them apart too. A directory of the ``paper``
preset with any other tokenizer needs none of this and loads without llara.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers.base.modules import Transformer
from torch import Tensor

from llara.prompts import Prompts, Task

__all__ = ["SlotTransformer", "padded_inputs"]


def padded_inputs(prompts: Prompts, texts: Sequence[str], task: Task, max_tokens: int) -> dict[str, Any]:
    """The inputs of a transformer module, for ``texts`` in the prompt of ``task``.

    They are what the module's own tokenization makes, which renders a chat template for every text.

    Args:
        texts: one or more.
        max_tokens: of a whole input; texts are cut to what the prompt leaves.

    Returns:
        ``input_ids`` and ``attention_mask``, int64 ``[B, T]``, padded on the right; ``num_slots``, int64
        ``[B]``; ``modality``.
    """
    limit, branch = prompts.text_limit(max_tokens, [task]), prompts.branches[task]
    rows = [[*prompts.trunk(ids), *branch.ids] for ids in prompts.text_ids(texts, limit)]
    input_ids_BT = torch.full((len(rows), max(map(len, rows))), prompts.tokenizer.pad_token_id or 0)
    attention_mask_BT = torch.zeros_like(input_ids_BT)
    for i, row in enumerate(rows):
        input_ids_BT[i, : len(row)] = torch.tensor(row)
        attention_mask_BT[i, : len(row)] = 1
    return {
        "input_ids": input_ids_BT,
        "attention_mask": attention_mask_BT,
        "num_slots": torch.full((len(rows),), branch.num_slots),
        "modality": "text",
    }


class SlotTransformer(Transformer):
    """A transformer whose attention mask, on the way out, marks the slots only.

    The stock mean pooling that follows then averages the states of the slots.
    """

    config_keys: list[str] = [*Transformer.config_keys, "preset"]  # noqa: RUF012 (as its base has it)

    def __init__(self, model_name_or_path: str, *, preset: str = "eight-words", **kwargs: Any) -> None:
        super().__init__(model_name_or_path, **kwargs)
        self.preset = preset
        assert self.tokenizer is not None
        self.prompts = Prompts(self.tokenizer, preset)

    def preprocess(  # type: ignore[override]
        self,
        inputs: Sequence[Any],
        prompt: str | None = None,  # noqa: ARG002
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Token ids ``[B, T]`` (right-padded), the attention mask and the number of slots.

        Task ``query`` gets the NEXT branch, anything else SELF. ``prompt`` is ignored: the preset has one.
        """
        if not inputs:
            return {}
        task: Task = "next" if kwargs.get("task") == "query" else "self"
        longest = kwargs.get("max_length") or self.max_seq_length or self.prompts.tokenizer.model_max_length
        return padded_inputs(self.prompts, [str(text) for text in inputs], task, longest)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Token states ``[B, T, D]``, and an attention mask that is 1 on the slots only."""
        inputs = dict(features)
        num_slots_B: Tensor = inputs.pop("num_slots")
        output = super().forward(inputs, **kwargs)
        mask_BT = output["attention_mask"]
        length_B1 = mask_BT.sum(dim=1, keepdim=True)
        column_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
        slots_BT = (column_T < length_B1) & (column_T >= length_B1 - num_slots_B[:, None])
        return {**output, "attention_mask": slots_BT.to(mask_BT.dtype)}
