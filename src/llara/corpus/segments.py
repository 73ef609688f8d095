"""Documents -> segments of bounded token length, cut at sentence ends, each with its successor.

A segment is what the model reads as T; its successor, the next segment of the same document, is
what its NEXT embedding must predict. A document's last segment has none.

Text is looked at in finer and finer units until each fits: the whole text, its sentences, parts of
a sentence. Units are then packed greedily. A unit keeps the white space before it, so the units
joined are the text, and nothing but white space at segment borders is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from llara.corpus.documents import Document
from llara.errors import ConfigError, InputError

__all__ = ["CountTokens", "Segment", "iter_segments", "split_segments", "split_sentences"]

CountTokens = Callable[[list[str]], list[int]]
"""Numbers of tokens of texts, without the special tokens a model adds around a text."""

BATCH_CHARACTERS = 1 << 19  # texts counted in one call: large enough for a tokenizer's threads
SHORT_CHARACTERS_PER_TOKEN = 4  # a text up to this long probably fits whole: one count and no cut
PARTS_PER_SEGMENT = 8  # an over-long sentence is cut into parts of about an eighth of a segment


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a document, and the piece that follows it there (None for the last)."""

    document_id: str
    text: str
    successor: str | None


@dataclass(slots=True)
class _Unit:
    """A stretch of one text: ``level`` 0 is a whole text, 1 a sentence, 2 a part of a sentence."""

    owner: int  # which text of the batch
    text: str
    level: int
    num_tokens: int = 0


def iter_segments(
    documents: Iterable[Document],
    *,
    max_tokens: int,
    count_tokens: CountTokens,
    language: str | None = "en",
) -> Iterator[Segment]:
    """Cut a stream of documents into segments of at most ``max_tokens`` tokens.

    Documents are held about half a million characters at a time. Blank documents give no segment.

    Args:
        count_tokens: see ``CountTokens``; called with many texts at once.
        language: whose sentence ends to find (ISO 639, ``zh`` for Chinese; one that sentencex does not
            know is cut by its nearest relative's rules, or English). None: cut at line ends only.

    Raises:
        InputError: no document holds any text.
        ConfigError: ``max_tokens`` is under one, or less than a single character takes.
    """
    _check(max_tokens, language)
    waiting: tuple[str, str] | None = None  # id and text of a segment whose successor is not known yet
    for batch in _batches(documents):
        cut = _cut([d.text for d in batch], max_tokens, count_tokens, language)
        for document, texts in zip(batch, cut, strict=True):
            if waiting and not document.continues:
                yield Segment(*waiting, successor=None)
                waiting = None
            for text in texts:
                if waiting:
                    yield Segment(*waiting, successor=text)
                waiting = (document.id, text)
    if waiting is None:
        raise InputError("the corpus holds no text: every document is blank; give one with text")
    yield Segment(*waiting, successor=None)


def split_segments(
    text: str, *, max_tokens: int, count_tokens: CountTokens, language: str | None = "en"
) -> list[str]:
    """Cut one text into segments; see ``iter_segments``. A blank text has none.

    >>> words = lambda texts: [len(text.split()) for text in texts]
    >>> split_segments("I came. I saw. I won the war.", max_tokens=4, count_tokens=words)
    ['I came. I saw.', 'I won the war.']
    """
    _check(max_tokens, language)
    return _cut([text], max_tokens, count_tokens, language)[0]


def split_sentences(text: str, language: str | None = "en") -> list[str]:
    r"""Sentences with the white space before them; joined they are ``text`` less its trailing blanks.

    Every line is a paragraph of its own, and a paragraph ends a sentence; but where blank lines part
    the paragraphs, single line ends are only wrapping. Without a language, paragraphs are the units.

    >>> split_sentences("Dr. Smith left. He ran.\nA heading\nMore.")
    ['Dr. Smith left.', ' He ran.', '\nA heading', '\nMore.']
    >>> split_sentences("Wrapped in\nmid-sentence.\n\nNew.")
    ['Wrapped in\nmid-sentence.', '\n\nNew.']
    """
    from sentencex import segment

    sentences: list[str] = []
    blank = ""
    for paragraph in _PARAGRAPH_ENDS[_BLANK_LINE.search(text) is not None].split(text):
        for sentence in [paragraph] if language is None else segment(language, paragraph):
            body = sentence.rstrip()
            if body:
                sentences.append(blank + body)
                blank = sentence[len(body) :]
            else:
                blank += sentence
    return sentences


_BLANK_LINE = re.compile(r"\n[^\S\n]*\n")
_PARAGRAPH_ENDS = {
    True: re.compile(r"(?<=\n)(?=[^\S\n]*\n)"),  # before each blank line
    False: re.compile(r"(?=\n)"),
}


def _check(max_tokens: int, language: str | None) -> None:
    if max_tokens < 1:
        raise ConfigError(f"max_tokens is {max_tokens}; a segment holds at least 1 token")
    if language is not None and not re.fullmatch(r"[a-z]{2,3}([-_]\w+)*", language):
        raise ConfigError(f"language is {language!r}; expected an ISO 639 code such as 'en', 'de' or 'zh'")


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    num_characters = 0
    for document in documents:
        batch.append(document)
        num_characters += len(document.text) + 1
        if num_characters >= BATCH_CHARACTERS:
            yield batch
            batch, num_characters = [], 0
    if batch:
        yield batch


def _cut(
    texts: list[str], max_tokens: int, count_tokens: CountTokens, language: str | None
) -> list[list[str]]:
    """The segments of each text."""
    units = _fitting_units(texts, max_tokens, count_tokens, language)
    groups = _pack(units, max_tokens)
    segments: list[list[str]] = [[] for _ in texts]
    for owner, text in _verified(groups, max_tokens, count_tokens):
        segments[owner].append(text)
    return segments


def _fitting_units(
    texts: list[str], max_tokens: int, count_tokens: CountTokens, language: str | None
) -> list[_Unit]:
    """Units of at most ``max_tokens`` tokens each, in reading order, as coarse as can be."""
    units: list[_Unit] = []
    for owner, text in enumerate(texts):
        if len(text) <= SHORT_CHARACTERS_PER_TOKEN * max_tokens:
            units += [_Unit(owner, text.strip(), level=0)] if text.strip() else []
        else:
            units += [_Unit(owner, sentence, level=1) for sentence in split_sentences(text, language)]
    uncounted = units
    while uncounted:
        _count(uncounted, count_tokens)
        if all(unit.num_tokens <= max_tokens for unit in uncounted):
            return units
        uncounted, coarse, units = [], units, []
        for unit in coarse:
            if unit.num_tokens <= max_tokens:
                units.append(unit)
            else:
                finer = _finer(unit, max_tokens, language)
                units += finer
                uncounted += finer
    return units


def _count(units: list[_Unit], count_tokens: CountTokens) -> None:
    counts = count_tokens([_plain(unit.text) for unit in units])
    assert len(counts) == len(units), f"count_tokens gave {len(counts)} numbers for {len(units)} texts"
    for unit, num_tokens in zip(units, counts, strict=True):
        unit.num_tokens = num_tokens


def _plain(text: str) -> str:
    """Less one leading blank: tokenizers make that a part of the next word. A line end costs a token."""
    return text[1:] if text[0] == " " and not text[1:2].isspace() else text


def _finer(unit: _Unit, max_tokens: int, language: str | None = None) -> list[_Unit]:
    """The same stretch in smaller units: a text in sentences, a sentence in parts."""
    if unit.level == 0:
        return [_Unit(unit.owner, text, level=1) for text in split_sentences(unit.text, language)]
    if not unit.text.strip():
        return []
    if len(unit.text) == 1:
        raise ConfigError(
            f"max_tokens is {max_tokens}, but the character {unit.text!r} alone takes {unit.num_tokens} "
            f"tokens; allow at least {unit.num_tokens}"
        )
    num_parts = min(len(unit.text), PARTS_PER_SEGMENT * -(-unit.num_tokens // max_tokens))
    return [_Unit(unit.owner, text, level=2) for text in _parts(unit.text, num_parts)]


def _parts(text: str, num_parts: int) -> list[str]:
    """Cut ``text`` into at most ``num_parts`` of like length, before blanks where there are any.

    >>> _parts("one two three four", 3)
    ['one', ' two', ' three four']
    >>> _parts("aaaaaa", 3)
    ['aa', 'aa', 'aa']
    """
    parts: list[str] = []
    start = 0
    for k in range(1, num_parts):
        end = k * len(text) // num_parts
        blank = max(text.rfind(mark, start + 1, end + 1) for mark in " \n")
        end = blank if blank > start else end
        if end > start:
            parts.append(text[start:end])
            start = end
    return [*parts, text[start:]]


def _pack(units: list[_Unit], max_tokens: int) -> list[list[_Unit]]:
    """Runs of units of one text, each run as long as ``max_tokens`` allows."""
    groups: list[list[_Unit]] = []
    num_tokens = 0
    for unit in units:
        if groups and groups[-1][0].owner == unit.owner and num_tokens + unit.num_tokens <= max_tokens:
            groups[-1].append(unit)
            num_tokens += unit.num_tokens
        else:
            groups.append([unit])
            num_tokens = unit.num_tokens
    return groups


def _verified(
    groups: list[list[_Unit]], max_tokens: int, count_tokens: CountTokens
) -> Iterator[tuple[int, str]]:
    """Owner and text of each group. One that is longer joined than the sum of its units is cut in two."""
    texts = ["".join(unit.text for unit in group).strip() for group in groups]
    unsure = [
        k
        for k, group in enumerate(groups)
        if texts[k] and (len(group) > 1 or group[0].num_tokens == 0 or _plain(group[0].text) != texts[k])
    ]
    counts = dict(zip(unsure, count_tokens([texts[k] for k in unsure]), strict=True)) if unsure else {}
    for k, group in enumerate(groups):
        num_tokens = counts.get(k, 0)
        if num_tokens <= max_tokens:
            if texts[k]:
                yield group[0].owner, texts[k]
            continue
        if len(group) == 1:
            group = _finer(_Unit(group[0].owner, texts[k], level=2, num_tokens=num_tokens), max_tokens)
        middle = len(group) // 2
        yield from _verified([group[:middle], group[middle:]], max_tokens, count_tokens)
