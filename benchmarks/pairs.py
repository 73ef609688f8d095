"""Random queries and passages, and a model that embeds them: the batch of a contrastive step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from workload import BOS, EOS, FIRST_WORD

__all__ = ["LastToken", "PairBatch", "random_pairs"]


@dataclass(frozen=True)
class PairBatch:
    """What ``ContrastiveLoss`` is called with; B queries of G passages each, M = B x G.

    Attributes:
        features: of queries ``[B, T]`` and of passages ``[M, T]``, padded on the right.
        labels: passage_ids ``[B, G]``, all different, and known ``[B, 1]``: each query's positive.
        lengths: tokens of every text, queries first.
    """

    features: list[dict[str, Tensor]]
    labels: dict[str, Tensor]
    lengths: list[int]

    def to(self, device: torch.device) -> PairBatch:
        """The same on another device."""
        features = [{name: ids.to(device) for name, ids in part.items()} for part in self.features]
        return PairBatch(features, {name: ids.to(device) for name, ids in self.labels.items()}, self.lengths)


def random_pairs(
    *,
    queries: int,
    passages: int,
    query_tokens: Sequence[int],
    passage_tokens: Sequence[int],
    vocabulary: int,
    seed: int = 0,
) -> PairBatch:
    """``queries`` queries of ``passages`` passages each, their lengths drawn from (least, most)."""
    draw = torch.Generator().manual_seed(seed)
    lengths = [
        torch.randint(least, most + 1, (count,), generator=draw).tolist()
        for count, (least, most) in ((queries, query_tokens), (queries * passages, passage_tokens))
    ]
    ids_BG = torch.arange(queries * passages).view(queries, passages)
    return PairBatch(
        [_features(part, vocabulary, draw) for part in lengths],
        {"passage_ids": ids_BG, "known": ids_BG[:, :1].clone()},
        lengths[0] + lengths[1],
    )


def _features(lengths: Sequence[int], vocabulary: int, draw: torch.Generator) -> dict[str, Tensor]:
    """Random words between BOS and EOS, padded with EOS."""
    ids_BT = torch.randint(FIRST_WORD, vocabulary, (len(lengths), max(lengths)), generator=draw)
    places_T = torch.arange(ids_BT.shape[1])
    length_B1 = torch.tensor(lengths)[:, None]
    ids_BT[:, 0] = BOS
    ids_BT[places_T >= length_B1 - 1] = EOS
    return {"input_ids": ids_BT, "attention_mask": (places_T < length_B1).long()}


class LastToken(nn.Module):
    """A trunk whose state at a text's last token is its embedding, as sentence-transformers calls one.

    Args:
        autocast: whether the trunk runs under bfloat16 autocast, as the Trainer makes it.
    """

    def __init__(self, trunk: nn.Module, *, autocast: bool = False) -> None:
        super().__init__()
        self.trunk, self.autocast = trunk, autocast

    def forward(self, features: Mapping[str, Any]) -> dict[str, Tensor]:
        """``{"sentence_embedding": [B, D]}`` of right-padded ids."""
        ids_BT, mask_BT = features["input_ids"], features["attention_mask"]
        with torch.autocast(ids_BT.device.type, torch.bfloat16, enabled=self.autocast):
            found = self.trunk(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
        rows_B = torch.arange(len(ids_BT), device=ids_BT.device)
        return {"sentence_embedding": found.last_hidden_state[rows_B, mask_BT.sum(dim=1) - 1].float()}
