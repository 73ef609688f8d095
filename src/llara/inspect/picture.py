"""An inspection on a terminal: words as bars, the mask as a small picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llara.inspect.views import Inspection, Mask, Pair, PairWord, Word

__all__ = ["readable", "readable_pair"]

_TITLES = {
    "self": "SELF: the words that the vector holds (documents)",
    "next": "NEXT: the words that the vector expects (queries)",
}
_BAR = 24
_HALVES = {"00": " ", "10": "\u2580", "01": "\u2584", "11": "\u2588"}  # two rows of the mask a line


def readable(found: Inspection) -> str:
    """A text's words, its prompts and the mask of both, as lines."""
    lines = [found.text, ""]
    if found.read < found.num_tokens:
        lines += [f"(the model reads the first {found.read} of {found.num_tokens} tokens)", ""]
    for task, view in found.roles.items():
        lines += [_TITLES[task], *_word_lines(view.words), ""]
    for task, view in found.roles.items():
        shown = "|".join(token.text for token in view.tokens if token.part != "text")
        lines.append(f"{task.upper()} prompt around the text: {shown}")
    lines += ["", "what each token (row) sees of the others (column) in training:", *_mask_lines(found.mask)]
    return "\n".join(lines)


def readable_pair(found: Pair) -> str:
    """Two texts' cosine and what carries it, as lines."""
    lines = [f"query:    {found.query}", f"document: {found.document}", ""]
    lines += [f"cosine {found.similarity:.3f}", ""]
    for title, words in (("query", found.query_words), ("document", found.document_words)):
        lines += [f"what the cosine loses without a word of the {title}", *_share_lines(words), ""]
    lines += ["words that the query's vector expects and the document's holds", *_word_lines(found.shared)]
    return "\n".join(lines)


def _word_lines(words: Sequence[Word]) -> Iterator[str]:
    width = max((len(word.word) for word in words), default=0)
    largest = max((word.weight for word in words), default=0)
    for word in words:
        mark = "*" if word.in_text else " "
        yield f"  {word.word:<{width}} {mark} {word.weight:6.3f} {_bar(word.weight, largest)}".rstrip()
    if any(word.in_text for word in words):
        yield "  (* the text has it)"


def _share_lines(words: Sequence[PairWord]) -> Iterator[str]:
    shares = {word.word.casefold(): word.share for word in words if word.share is not None}
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    width = max(map(len, shares), default=0)
    largest = max((share for share in shares.values()), default=0)
    for word, share in ranked[:12]:
        yield f"  {word:<{width}} {share:+.3f} {_bar(share, largest)}".rstrip()
    if len(ranked) > 12:
        yield f"  ... and {len(ranked) - 12} words more"


def _bar(value: float, largest: float) -> str:
    return "\u2588" * round(_BAR * max(value, 0) / largest) if largest > 0 else ""


def _mask_lines(mask: Mask) -> Iterator[str]:
    rows = [*mask.rows, "0" * len(mask.rows)] if len(mask.rows) % 2 else mask.rows
    for upper, lower in zip(rows[::2], rows[1::2], strict=True):
        yield "  " + "".join(_HALVES[a + b] for a, b in zip(upper, lower, strict=True)).rstrip()
    ends = [mask.groups.index("self"), mask.groups.index("next")]
    yield f"  (text: tokens 1-{ends[0]}, SELF: {ends[0] + 1}-{ends[1]}, NEXT: {ends[1] + 1}-{len(mask.rows)})"
