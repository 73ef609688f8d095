"""Which candidates are likely to be answers after all: pure functions on the arrays of one query.

Each takes the C candidates of a query and gives bool [C], True where one is removed. ``mine`` asks them in
this order, and a candidate is counted by the first that removes it:

    known positive               ``known_positives``
    before first_rank            (the rank window, which is over what is left by then)
    absolute margin              ``above_absolute_margin``
    relative margin              ``above_relative_margin``
    maximum score                ``above_maximum``
    near-duplicate of a positive ``near_duplicates``
    repeated text                ``repeated``
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence

import numpy as np

__all__ = [
    "REASONS",
    "above_absolute_margin",
    "above_maximum",
    "above_relative_margin",
    "known_positives",
    "near_duplicates",
    "normalised",
    "repeated",
    "words_of",
]

REASONS = (
    "known positive",
    "before first_rank",
    "absolute margin",
    "relative margin",
    "maximum score",
    "near-duplicate of a positive",
    "repeated text",
)

_EXCERPT_CHARACTERS = 40

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")


def normalised(text: str) -> str:
    r"""The text without differences of case, white space and Unicode forms.

    >>> normalised(" The \ufb01rst\nwing. ") == normalised("the first wing.")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def words_of(text: str) -> frozenset[str]:
    """The different words of a text, in lower case; a kana or an ideograph is a word of its own.

    >>> sorted(words_of("The wing, the Wing and \u7ffc\u5f26"))
    ['and', 'the', 'wing', '\u5f26', '\u7ffc']
    """
    return frozenset(_WORD.findall(normalised(text)))


def known_positives(
    ids: Sequence[str],
    texts: Sequence[str],
    *,
    positive_ids: Collection[str],
    positive_texts: Collection[str],
) -> np.ndarray:
    """Candidates with the id or the normalised text of a positive, or with that text in theirs.

    A positive is often an excerpt of a passage. One of fewer than 40 characters must be the whole text: it
    could stand anywhere.

    >>> answer = "a wing stalls where the air no longer follows it."
    >>> known_positives(["a", "b"], [f"why? {answer}", "no."], positive_ids=(), positive_texts=[answer])
    array([ True, False])
    """
    excerpts = [text for text in positive_texts if len(text) >= _EXCERPT_CHARACTERS]

    def is_known(id_: str, text: str) -> bool:
        return id_ in positive_ids or text in positive_texts or any(each in text for each in excerpts)

    return np.array([is_known(*pair) for pair in zip(ids, texts, strict=True)], dtype=bool)


def above_absolute_margin(scores: np.ndarray, positive_scores: np.ndarray, margin: float) -> np.ndarray:
    """Candidates that score above the lowest positive's score minus ``margin``.

    >>> above_absolute_margin(np.array([0.7, 0.5, 0.4]), np.array([0.9, 0.6]), 0.1)
    array([ True, False, False])
    """
    return _as_float64(scores) > _as_float64(positive_scores).min() - margin


def above_relative_margin(scores: np.ndarray, positive_scores: np.ndarray, margin: float) -> np.ndarray:
    """Candidates that score above the lowest positive's score less ``margin`` times its size.

    For a positive score s that is s (1 - margin), as in NV-Retriever (arXiv 2407.15831, TopK-PercPos). For a
    negative one, where that product would lie above s, it is s (1 + margin): the threshold is never above s.

    >>> above_relative_margin(np.array([-1.0, -1.1, -1.2]), np.array([-1.0]), 0.1)
    array([ True, False, False])
    """
    lowest = _as_float64(positive_scores).min()
    return _as_float64(scores) > lowest - margin * abs(lowest)


def above_maximum(scores: np.ndarray, maximum: float) -> np.ndarray:
    """Candidates that score above ``maximum``."""
    return _as_float64(scores) > maximum


def near_duplicates(
    words: Sequence[frozenset[str]], positive_words: Iterable[frozenset[str]], overlap: float
) -> np.ndarray:
    """Candidates that share at least ``overlap`` of the words with a positive (Jaccard; two empty sets: 1).

    >>> a, b = frozenset({"a", "wing", "stalls"}), frozenset({"a", "wing", "flies"})
    >>> near_duplicates([a, b], [a], 0.6), near_duplicates([a, b], [a], 0.5)
    (array([ True, False]), array([ True,  True]))
    """
    removed = np.zeros(len(words), dtype=bool)
    for positive in positive_words:
        for n, own in enumerate(words):
            fewer, more = sorted((len(own), len(positive)))
            if removed[n] or (more and fewer / more < overlap):  # that is the most they can share
                continue
            shared = len(own & positive)
            removed[n] = not more or shared / (fewer + more - shared) >= overlap
    return removed


def repeated(texts: Sequence[str]) -> np.ndarray:
    """Candidates with the normalised text of one before them.

    >>> repeated(["a", "b", "a"])
    array([False, False,  True])
    """
    seen: set[str] = set()
    removed = np.zeros(len(texts), dtype=bool)
    for n, text in enumerate(texts):
        removed[n] = text in seen
        seen.add(text)
    return removed


def _as_float64(scores: np.ndarray) -> np.ndarray:
    return np.asarray(scores, dtype=np.float64)
