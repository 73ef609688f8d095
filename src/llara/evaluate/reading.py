"""What a system reads of a document: with its title or without, whole or in overlapping passages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from llara.corpus import Document
from llara.encode import document_text
from llara.errors import ConfigError

__all__ = ["Block", "Reading", "split_words"]

# A word is a run of other characters than white space; Chinese and Japanese, written without blanks, count
# by characters.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


_BLOCK_TEXTS = 4096  # encoded and scored at once


class Block(NamedTuple):
    """Documents that follow each other, their texts one after the other, and where each document's begin."""

    ids: list[str]
    texts: list[str]
    starts: list[int]


@dataclass(frozen=True)
class Reading:
    """How documents are read.

    ``title_separator`` is what stands between title and text; ``None`` leaves titles out. With
    ``passage_words`` a document is cut into passages of so many words, ``passage_stride`` words apart, each
    under the document's title, and its score is that of its best passage (MaxP: Dai and Callan, SIGIR 2019,
    with 150 and 75). Without, it is read whole, as far as the model reads (FirstP).

    Raises:
        ConfigError: a stride longer than the passages, or not positive.
    """

    title_separator: str | None = " "
    passage_words: int | None = None
    passage_stride: int | None = None

    def __post_init__(self) -> None:
        if self.passage_words is None:
            if self.passage_stride is not None:
                raise ConfigError("a passage stride was given without the passages' length in words")
            return
        if not 1 <= self.stride <= self.passage_words:
            raise ConfigError(
                f"passages of {self.passage_words} words, {self.stride} apart, leave words out; expected a "
                "stride of at least 1 and at most the passages' length"
            )

    @property
    def stride(self) -> int:
        """Words from one passage's beginning to the next; half a passage unless it was said."""
        assert self.passage_words is not None
        return max(1, self.passage_words // 2) if self.passage_stride is None else self.passage_stride

    def settings(self) -> dict[str, Any]:
        """What the numbers depend on."""
        settings = asdict(self)
        return settings if self.passage_words is None else {**settings, "passage_stride": self.stride}

    def texts(self, document: Document) -> list[str]:
        """The texts by which a document is scored: itself, or its passages."""
        if self.passage_words is None:
            return [document_text(document, self.title_separator)]
        return [
            document_text(Document(document.id, passage, document.title), self.title_separator)
            for passage in split_words(document.text, self.passage_words, self.stride)
        ]

    def blocks(self, documents: Iterable[Document]) -> Iterator[Block]:
        """The documents in blocks of at most 4,096 texts; one with more passages has a block of its own."""
        block = Block([], [], [])
        for document in documents:
            texts = self.texts(document)
            if block.ids and len(block.texts) + len(texts) > _BLOCK_TEXTS:
                yield block
                block = Block([], [], [])
            block.ids.append(document.id)
            block.starts.append(len(block.texts))
            block.texts.extend(texts)
        if block.ids:
            yield block


def split_words(text: str, words: int, stride: int) -> list[str]:
    """Stretches of ``text`` of up to ``words`` words, each beginning ``stride`` words after the one before.

    >>> split_words("a b c d e", 3, 2)
    ['a b c', 'c d e']
    >>> split_words("", 3, 2)
    ['']
    """
    spans = [match.span() for match in _WORD.finditer(text)]
    if len(spans) <= words:
        return [text]
    starts = range(0, len(spans) - words + stride, stride)
    return [text[spans[start][0] : spans[min(start + words, len(spans)) - 1][1]] for start in starts]
