"""An inspection on a terminal: words as bars, the mask as a small picture."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby

from llara.inspect.views import Inspection, Mask, Pair, PairWord, TokenView, Word

__all__ = ["readable", "readable_pair"]

_TITLES = {
    "self": "SELF: the words that the vector holds (documents)",
    "next": "NEXT: the words that the vector expects (queries)",
}
_UNTRAINED = "NEXT: the words that the vector holds as a query (adapted without EBAR: not trained to expect)"
_BAR = 24
_MOST_CHARACTERS = 400  # of a text
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_HALVES = {"00": " ", "10": "\u2580", "01": "\u2584", "11": "\u2588"}  # two rows of the mask a line


def readable(found: Inspection) -> str:
    """A text's words, its prompts and the mask of both, as lines."""
    lines = [_shown(found.text), ""]
    if found.read < found.num_tokens:
        lines += [f"(the model reads the first {found.read} of {found.num_tokens} tokens)", ""]
    for task, view in found.roles.items():
        title = _TITLES[task] if task == "self" or found.expects else _UNTRAINED
        lines += [title, *_word_lines(view.words), ""]
    lines.append("the prompts, token by token, each with its [slot], whose state is the vector:")
    for task, view in found.roles.items():
        lines.append(f"  {task.upper()}  {_prompt(view.tokens)}")
    lines += ["", "what each token (row) sees of the others (column) in training:"]
    lines += _mask_lines(found.mask, _trunk(found))
    return "\n".join(lines)


def readable_pair(found: Pair) -> str:
    """Two texts' cosine and what carries it, as lines."""
    lines = [f"query:    {_shown(found.query)}", f"document: {_shown(found.document)}", ""]
    for title, cut in (("query", found.query_cut), ("document", found.document_cut)):
        if cut:
            lines += [f"(the {title} is longer than the model reads; only the words that it reads count)", ""]
    lines += [f"cosine {found.similarity:.3f}", ""]
    for title, words in (("query", found.query_words), ("document", found.document_words)):
        lines += [f"what the cosine loses without a word of the {title}", *_share_lines(words), ""]
    lines += ["words that the query's and the document's vectors both hold, of the strongest of each"]
    lines += _word_lines(found.shared) if found.shared else ["  none"]
    return "\n".join(lines)


def _shown(text: str) -> str:
    """A text in one piece and of bounded length, without what would command the terminal."""
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]}... ({len(text):,} characters)"
    return _CONTROLS.sub("\ufffd", text)


def _prompt(tokens: Sequence[TokenView]) -> str:
    """The tokens around the text, the text's place, and the slots in brackets."""
    pieces = []
    for part, group in groupby(tokens, key=lambda token: token.part):
        of_part = [_CONTROLS.sub("\ufffd", token.text) for token in group]
        if part == "text":
            pieces.append(f"<the text: {len(of_part)} tokens>")
        else:
            pieces += [f"[{text}]" if part == "slot" else text for text in of_part]
    return "|".join(pieces)


def _trunk(found: Inspection) -> int:
    """How many tokens stand before the prompts."""
    return sum(token.part in ("lead", "text") for token in found.roles["self"].tokens)


def _word_lines(words: Sequence[Word]) -> Iterator[str]:
    width = max((_columns(word.word) for word in words), default=0)
    largest = max((word.weight for word in words), default=0)
    for word in words:
        mark = "*" if word.in_text else " "
        yield f"  {_padded(word.word, width)} {mark} {word.weight:6.3f} {_bar(word.weight, largest)}".rstrip()
    if any(word.in_text for word in words):
        yield "  (* the text has it)"


def _share_lines(words: Sequence[PairWord]) -> Iterator[str]:
    shares = {word.word.casefold(): word.share for word in words if word.share is not None}
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    width = max(map(_columns, shares), default=0)
    largest = max((share for share in shares.values()), default=0)
    for word, share in ranked[:12]:
        yield f"  {_padded(word, width)} {share:+.3f} {_bar(share, largest)}".rstrip()
    if len(ranked) > 12:
        yield f"  ... and {len(ranked) - 12} words more"


def _columns(text: str) -> int:
    """Columns of a terminal: an ideograph takes two, a combining mark none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def _bar(value: float, largest: float) -> str:
    return "\u2588" * round(_BAR * max(value, 0) / largest) if largest > 0 else ""


def _mask_lines(mask: Mask, trunk: int) -> Iterator[str]:
    rows = [*mask.rows, "0" * len(mask.rows)] if len(mask.rows) % 2 else mask.rows
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        yield "  " + "".join(_HALVES[a + b] for a, b in zip(upper, lower, strict=True)).rstrip()
    ends = [mask.groups.index("self"), mask.groups.index("next")]
    cut = f", the first of {trunk}" if trunk > ends[0] else ""
    yield (
        f"  (lead and text: tokens 1-{ends[0]}{cut}, SELF: {ends[0] + 1}-{ends[1]}, "
        f"NEXT: {ends[1] + 1}-{len(mask.rows)})"
    )
