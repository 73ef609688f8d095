"""A random part of a corpus that streams past, cut into passages: what ``unlabelled`` makes its tasks of."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from llara.corpus import Document, split_segments
from llara.errors import InputError

__all__ = [
    "PASSAGE_WORDS",
    "Passage",
    "Sample",
    "cut_passages",
    "draw_sample",
    "hash_of",
    "run_id",
    "words_of",
]

PASSAGE_WORDS = 100

# A word of scripts that write blanks; a kana or an ideograph is a word of its own.
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_CJK}]|[^\W{_CJK}]+")


@dataclass(frozen=True)
class Sample:
    """Texts, in random order, each the documents that continue one another; of ``num_seen`` documents."""

    texts: list[list[Document]]
    num_documents: int
    num_seen: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage; ``follows`` if the one before it in the list is the one before it in its text, too."""

    id: str
    text: str
    follows: bool


def draw_sample(documents: Iterable[Document], max_passages: int, seed: int) -> Sample:
    """Draw just enough texts to make so many passages.

    Those with the least hashes of seed and id are a random sample, whatever their order; a heap keeps them
    while the stream passes. Of a text longer than the whole sample its first documents are kept; documents
    without a word are left out.

    Raises:
        InputError: two documents that were drawn have one id.
    """
    heap: list[
        tuple[int, int, int, list[Document]]
    ] = []  # -hash, -place, size, text: what goes first is first
    total = num_seen = 0
    text: list[Document] = []
    size = 0

    def keep() -> None:
        nonlocal total
        if text:
            heapq.heappush(heap, (-hash_of(seed, text[0].id), -num_seen, size, text))
            total += size
            while total - heap[0][2] >= max_passages:
                total -= heapq.heappop(heap)[2]

    for document in documents:
        if not document.continues:
            keep()
            text, size = [], 0
        num_seen += 1
        num_words = len(words_of(document.text))
        if num_words and size < max_passages:
            text.append(document)
            size += -(-num_words // PASSAGE_WORDS)
    keep()
    texts = [drawn for *_, drawn in sorted(heap, reverse=True)]
    times = Counter(document.id for drawn in texts for document in drawn)
    for identifier, number in times.most_common(1):
        if number > 1:
            raise InputError(f"the id {identifier!r} comes {number} times; expected each document's id once")
    return Sample(texts, num_documents=len(times), num_seen=num_seen)


def cut_passages(texts: Iterable[Sequence[Document]], language: str | None) -> Iterator[Passage]:
    """Cut texts into passages of up to 100 words, at sentence ends where there are any.

    Raises:
        ConfigError: the language is not valid.
    """
    for text in texts:
        follows = False
        for document in text:
            pieces = split_segments(
                document.text, max_tokens=PASSAGE_WORDS, count_tokens=_count_words, language=language
            )
            for number, piece in enumerate(pieces):
                yield Passage(f"{run_id(document.id)}#{number}", piece, follows)
                follows = True


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, as texts are compared here; an ideograph is a word of its own.

    >>> words_of("Don't PANIC, 42.")
    ['don', 't', 'panic', '42']
    """
    return _WORD.findall(text.lower())


def run_id(identifier: str) -> str:
    """The id as it can stand in a TREC run: white space, and %, as in a URL.

    >>> run_id("my notes/a 100%.txt")
    'my%20notes/a%20100%25.txt'
    """
    return re.sub(r"[\s%]", lambda match: quote(match[0]), identifier)


def hash_of(seed: int, text: str) -> int:
    """64 bits that stand for chance, the same wherever they are asked for."""
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{text}".encode(), digest_size=8).digest())


def _count_words(texts: list[str]) -> list[int]:
    return [len(_WORD.findall(text)) for text in texts]
