"""From texts to vectors by the fast path: windows of texts, batches by tokens, the model's own modules.

Shape legend: N texts, S slots of a text, D dimensions.

A window of texts is tokenized and laid out by a background thread while the model computes the window before
it. A thread and no process: the tokenizer is Rust code on all cores that lets Python go on, and a process
would add the pickling of every text and id.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers.base.modules import Router
from torch import Tensor

from llara.encoder.attention import PACKED, register_packed
from llara.encoder.batches import Packed, Padded, lay_out_packed, lay_out_padded, token_batches
from llara.encoder.known import Known
from llara.joint import Joint, attention_argument
from llara.prompts import Task

__all__ = ["FastPath", "Role", "Way"]

Role = Literal["query", "document"]
Way = Literal["padded", "packed", "flex"]

_TASKS: dict[Role, Task] = {"query": "next", "document": "self"}
_WINDOW_TEXTS = 8192  # sorted by length as one; the first is smaller, so that the model starts soon
_FIRST_WINDOW_TEXTS = 1024
_WINDOW_CHARACTERS = 8_000_000  # about two million tokens, in lists, twice: some 200 MB
_FLEX_TOKENS = 128  # a packed row of flex attention is padded to a multiple of its block


@dataclass(frozen=True, slots=True)
class _Batch:
    """Indices of texts in their window, and their layout, in memory that a GPU copies from directly."""

    indices: list[int]
    layout: Padded | Packed


class FastPath:
    """One way through one model; it holds the model's live modules and no copy of a weight.

    Args:
        way: ``padded`` rows; ``packed`` rows through torch's variable-length attention (one text after
            another where there is no such kernel); ``flex``: packed rows through flex attention.
        budget_tokens: what a batch may cost.
        tail: the modules after pooling, if not the model's own.
    """

    def __init__(
        self, known: Known, way: Way, *, budget_tokens: int, tail: Sequence[Any] | None = None
    ) -> None:
        self.known, self.way, self.budget_tokens = known, way, budget_tokens
        self.tail = known.tail if tail is None else tuple(tail)
        self._lock = threading.Lock()

    @property
    def trunk(self) -> Any:
        """The language model without its head."""
        return self.known.transformer.model

    def vectors(
        self,
        texts: Sequence[str],
        role: Role,
        *,
        most_texts: int | None = None,
        tick: Callable[[int], object] = lambda _: None,
    ) -> Iterator[np.ndarray]:
        """Yield vectors, float32 ``[n, D]``, for consecutive windows of ``texts``.

        Args:
            most_texts: no batch holds more.
            tick: told of each batch how many texts it holds, when it is done or under way.
        """
        spans = list(_windows(texts))
        with self._attention(), ThreadPoolExecutor(1) as background:
            coming = None
            for i, (start, end) in enumerate(spans):
                window = (
                    self._prepare(texts[start:end], role, most_texts) if coming is None else coming.result()
                )
                if i + 1 < len(spans):
                    after = slice(*spans[i + 1])
                    coming = background.submit(self._prepare, texts[after], role, most_texts)
                yield self._compute(window, end - start, role, tick)

    def _prepare(self, texts: Sequence[str], role: Role, most_texts: int | None) -> list[_Batch]:
        """Tokenize a window and lay out its batches."""
        prompts, task = self.known.prompts, _TASKS[role]
        branch = prompts.branches[task]
        rows = [
            [*prompts.trunk(ids), *branch.ids] for ids in prompts.text_ids(texts, self.known.text_limit(task))
        ]
        groups = token_batches(
            [len(row) for row in rows],
            budget_tokens=self.budget_tokens,
            padded=self.way == "padded",
            most_texts=most_texts,
        )
        lay_out = lay_out_padded if self.way == "padded" else lay_out_packed
        return [
            _Batch(group, self._pinned(lay_out([rows[i] for i in group], branch.num_slots)))
            for group in groups
        ]

    def _pinned(self, layout: Padded | Packed) -> Padded | Packed:
        if next(self.trunk.parameters()).device.type != "cuda":
            return layout
        return _mapped(layout, torch.Tensor.pin_memory)

    @torch.inference_mode()
    def _compute(
        self, window: Sequence[_Batch], count: int, role: Role, tick: Callable[[int], object]
    ) -> np.ndarray:
        """The vectors, float32 ``[count, D]``, of a window; they leave the device once."""
        device = next(self.trunk.parameters()).device
        parts = []
        for batch in window:
            layout = _mapped(batch.layout, lambda x: x.to(device, non_blocking=True))
            parts.append(self._batch_vectors(layout, role))
            tick(len(batch.indices))
        together = torch.cat(parts).cpu().numpy()
        vectors = np.empty_like(together)
        vectors[[i for batch in window for i in batch.indices]] = together
        assert len(vectors) == count
        return vectors

    def _batch_vectors(self, layout: Padded | Packed, role: Role) -> Tensor:
        """Vectors ``[N, D]``, float32: the mean of each text's slots, through the modules after pooling."""
        if isinstance(layout, Padded):
            output = self.trunk(input_ids=layout.input_ids_BT, use_cache=False)
        elif self.way == "flex":
            output = self._flex(layout)
        else:
            output = self.trunk(
                input_ids=layout.input_ids_1T,
                position_ids=layout.position_ids_1T,
                use_cache=False,
                cu_seq_lens_q=layout.starts,
                cu_seq_lens_k=layout.starts,
                max_length_q=layout.longest,
                max_length_k=layout.longest,
            )
        states = output.last_hidden_state
        slots_NSD = states.flatten(0, 1)[layout.slots_NS]
        pooled_ND = slots_NSD.float().mean(dim=1)
        dtype = next((p.dtype for module in self.tail for p in module.parameters()), torch.float32)
        features: dict[str, Any] = {"sentence_embedding": pooled_ND.to(dtype), "modality": "text"}
        for module in self.tail:
            routed = {"task": role, "modality": "text"} if isinstance(module, Router) else {}
            features = module(features, **routed)
        vectors_ND: Tensor = features["sentence_embedding"]
        return vectors_ND.float()

    def _flex(self, layout: Packed) -> Any:
        """The trunk's output of a packed row, padded to whole blocks, by the mask of the joint prompt."""
        starts, width = layout.starts.long(), layout.input_ids_1T.shape[1]
        document_T = torch.searchsorted(starts, torch.arange(width, device=starts.device), right=True) - 1

        def padded(row_T: Tensor, fill: int) -> Tensor:
            return torch.nn.functional.pad(row_T, (0, -width % _FLEX_TOKENS), value=fill)[None]

        joint = Joint(
            padded(layout.input_ids_1T[0], 0),
            padded(layout.position_ids_1T[0], 0),
            padded(document_T, -1),
            padded(torch.zeros_like(document_T), 0),
            starts[:0],
            starts[:0],
        )
        return self.trunk(
            input_ids=joint.input_ids_BT,
            attention_mask=attention_argument(joint, self.trunk.config, next(self.trunk.parameters()).dtype),
            position_ids=joint.position_ids_BT,
            use_cache=False,
        )

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """The model's attention set to this way's, and set back."""
        wanted = {"padded": None, "packed": PACKED, "flex": "flex_attention"}[self.way]
        if wanted is None:
            yield
            return
        register_packed()
        with self._lock:  # of two threads, the first to end would set it back under the other
            before = self.trunk.config._attn_implementation
            self.trunk.set_attn_implementation(wanted)
            try:
                yield
            finally:
                self.trunk.set_attn_implementation(before)


def _mapped(layout: Padded | Packed, change: Any) -> Padded | Packed:
    """The layout with its tensors changed."""
    values = (getattr(layout, name) for name in layout.__slots__)
    changed = [change(value) if isinstance(value, Tensor) else value for value in values]
    return type(layout)(*changed)


def _windows(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Start and end of consecutive windows: so many texts, or so many characters."""
    start = characters = 0
    most = _FIRST_WINDOW_TEXTS if len(texts) > 2 * _FIRST_WINDOW_TEXTS else _WINDOW_TEXTS
    for i, text in enumerate(texts):
        if i > start and (i - start == most or characters + len(text) > _WINDOW_CHARACTERS):
            yield start, i
            start, characters, most = i, 0, _WINDOW_TEXTS
        characters += len(text)
    if start < len(texts):
        yield start, len(texts)
