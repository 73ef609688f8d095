"""The corpus as token ids on disk, and the order in which a run reads it.

A corpus is read, cut and tokenized once, streamed; training then reads memory-mapped ids, so its size
does not matter to memory, and a resumed run sees the very same examples in the same order.

    ids.bin          uint32, the segments' ids one after the other
    targets.bin      the same without stop words; absent when the targets are the segments' own ids
    segments.npy     int64 [segments, 3]: end in ids.bin, end in targets.bin, 1 if a successor follows
    frequency.npy    int64 [V]: in how many segments' targets each token occurs
    store.json       what the store was made from; a resumed run must match it
    read.json        documents read and bad lines left out, if ``write_store`` made it
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from torch.utils.data import Dataset

from llara.adapt.losses import Example
from llara.corpus import Segment
from llara.errors import InputError
from llara.files import atomic_directory
from llara.prompts import Prompts

__all__ = ["OrderedExamples", "TokenStore", "build_store", "training_order"]


@dataclass(frozen=True)
class TokenStore:
    """A tokenized corpus; ``store[i]`` is segment i and its successor's words as an :class:`Example`."""

    directory: Path
    ids: np.ndarray
    targets: np.ndarray
    segments: np.ndarray
    separate_targets: bool

    @classmethod
    def open(cls, directory: Path) -> TokenStore:
        """Open a store that :func:`build_store` wrote; ids stay on disk."""
        separate = (directory / "targets.bin").exists()
        ids = np.memmap(directory / "ids.bin", dtype=np.uint32, mode="r")
        targets = np.memmap(directory / "targets.bin", dtype=np.uint32, mode="r") if separate else ids
        return cls(directory, ids, targets, np.load(directory / "segments.npy", mmap_mode="r"), separate)

    def __len__(self) -> int:
        return len(self.segments)

    def lengths(self) -> np.ndarray:
        """Tokens of each segment, int64 ``[segments]``."""
        return np.diff(np.asarray(self.segments[:, 0]), prepend=0)

    def frequency_V(self) -> np.ndarray:
        """In how many segments' targets each token occurs, int64 ``[V]``."""
        frequency_V: np.ndarray = np.load(self.directory / "frequency.npy")
        return frequency_V

    def __getitem__(self, index: int) -> Example:
        follows = bool(self.segments[index, 2])
        return Example(
            text_ids=self._span(self.ids, index, 0),
            self_target=self._span(self.targets, index, 1),
            next_target=self._span(self.targets, index + 1, 1) if follows else None,
        )

    def _span(self, stored: np.ndarray, index: int, column: int) -> list[int]:
        start = int(self.segments[index - 1, column]) if index else 0
        ids: list[int] = stored[start : int(self.segments[index, column])].tolist()
        return ids


def build_store(
    segments: Iterable[Segment],
    prompts: Prompts,
    directory: Path,
    *,
    made_from: dict[str, Any],
    max_tokens: int | None = None,
    drop_words: Callable[[str], str] | None = None,
    batch_size: int = 1000,
) -> TokenStore:
    """Tokenize a stream of segments into ``directory``, which is new or empty; whole or not at all.

    Args:
        max_tokens: segments are no longer than this already, but for characters that tokenize differently
            where they stand; this many ids are kept.

    Raises:
        InputError: as reading the corpus does; or it holds no segment.
        OutputError: something else stands in ``directory``, or it cannot be written.
    """
    with atomic_directory(directory) as temporary:
        frequency_V = np.zeros(max(prompts.tokenizer.get_vocab().values()) + 1, dtype=np.int64)
        ends: list[tuple[int, int, int]] = []
        with (temporary / "ids.bin").open("wb") as ids, (temporary / "targets.bin").open("wb") as targets:
            end = target_end = 0
            for batch in _batches(segments, batch_size):
                text_ids = prompts.text_ids([segment.text for segment in batch], max_tokens)
                target_ids = (
                    prompts.text_ids([drop_words(segment.text) for segment in batch], max_tokens)
                    if drop_words
                    else text_ids
                )
                for segment, own, target in zip(batch, text_ids, target_ids, strict=True):
                    end += len(own)
                    target_end += len(target)
                    ends.append((end, target_end, int(segment.successor is not None)))
                    frequency_V[np.unique(np.array(target, dtype=np.int64))] += 1
                _write(ids, text_ids)
                if drop_words:
                    _write(targets, target_ids)
        if not drop_words:
            (temporary / "targets.bin").unlink()
        if not ends:
            raise InputError("the corpus holds no text; give at least one document with text")
        np.save(temporary / "segments.npy", np.array(ends, dtype=np.int64))
        np.save(temporary / "frequency.npy", frequency_V)
        (temporary / "store.json").write_text(json.dumps(made_from, indent=1, sort_keys=True) + "\n")
    return TokenStore.open(directory)


def _batches(segments: Iterable[Segment], size: int) -> Iterator[list[Segment]]:
    stream = iter(segments)
    while batch := list(islice(stream, size)):
        yield batch


def _write(stream: BinaryIO, rows: Sequence[Sequence[int]]) -> None:
    stream.write(np.fromiter((i for row in rows for i in row), dtype=np.uint32).tobytes())


def training_order(
    lengths: np.ndarray, *, num_examples: int, step_size: int, seed: int, min_tokens: int, by_length: bool
) -> np.ndarray:
    """Which segment stands at each place of the run, int64 ``[num_examples]``.

    Every epoch is a fresh permutation. With ``by_length`` the segments of a step have similar lengths (they
    are sorted within 50 steps' worth, and the steps shuffled again), which saves padding.

    Raises:
        InputError: no segment has ``min_tokens`` tokens.
    """
    usable = np.flatnonzero(lengths >= min_tokens)
    if not len(usable):
        raise InputError(
            f"no segment of the corpus has at least {min_tokens} tokens (the longest has {lengths.max()}); "
            "give longer documents or lower corpus.min_segment_tokens"
        )
    rng = np.random.default_rng(seed)
    epochs = [rng.permutation(usable) for _ in range(-(-num_examples // len(usable)))]
    order = np.concatenate(epochs)[:num_examples]
    if not by_length:
        return order
    chunk = 50 * step_size
    for start in range(0, len(order), chunk):
        part = order[start : start + chunk]
        part = part[np.argsort(lengths[part], kind="stable")]
        whole = len(part) // step_size * step_size
        steps = part[:whole].reshape(-1, step_size)
        order[start : start + whole] = steps[rng.permutation(len(steps))].reshape(-1)
        order[start + whole : start + len(part)] = part[whole:]
    return order


class OrderedExamples(Dataset[Example]):
    """A store's examples in the order of a run."""

    def __init__(self, store: TokenStore, order: np.ndarray) -> None:
        self.store = store
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, place: int) -> Example:
        return self.store[int(self.order[place])]
