"""``Inspector``: a retriever opened to be looked into.

Shape legend: N words or texts, D dimensions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from llara.encoder import Encoder
from llara.errors import ConfigError, InputError, ModelError
from llara.indexes import StoredIndex
from llara.inspect.views import Inspection, Mask, Pair, PairWord, RoleView, Span, TokenView, Word
from llara.joint import BranchSpec, dense_mask, lay_out
from llara.lexicon import common_words, read_lexicon, vocabulary_words
from llara.model import load_tokenizer, read_facts, resolve
from llara.prompts import Prompts, Task
from llara.search import Searcher
from llara.terms import Analyzer, unspaced, word_spans, words_of
from llara.unicode import check_list, check_text
from llara.words import WordHead

__all__ = ["Inspector"]

_SAMPLE = 5_000  # documents of an index whose words are looked for
_MASK_TOKENS = 48  # of the trunk in the picture
_MOST_LEFT_OUT = 64  # different words of a text that are left out in turn
_WEAKEST_HIGHLIGHT = 0.3  # of the strongest word of the texts that are highlighted together
_TASKS: tuple[Task, ...] = ("self", "next")


class Inspector:
    """Texts, as one retriever sees them.

    Args:
        model: a model directory or name.
        encoder: the same model, where it is loaded already.
        texts: some of the documents that are searched; their common words are looked for in vectors, instead
            of those that the model directory names (``llara.lexicon``).

    Raises:
        ModelError: no such model, or it is not one of llara's, whose prompts are known.
    """

    def __init__(
        self, model: str | Path, *, encoder: Encoder | None = None, texts: Iterable[str] | None = None
    ) -> None:
        preset = read_facts(model).get("preset")
        if preset is None:
            raise ModelError(
                f"{model} is no model directory of llara's (there is no llara.json), so its prompts are not "
                "known; make one with llara adapt, finetune or convert"
            )
        self.encoder = encoder or Encoder(model)
        self.prompts = Prompts(load_tokenizer(model), preset)
        self._head = WordHead.of(model, max_tokens=self.encoder.model.max_seq_length)
        self._analyze = Analyzer()
        vocabulary = vocabulary_words(self.prompts.tokenizer) if texts is not None else ()
        found = common_words(texts, tokenizer_words=vocabulary) if texts is not None else ()
        self._lexicon = found or read_lexicon(model)
        self._lexicon_ND: np.ndarray | None = None
        self._expects = _was_trained_to_expect(model)

    @classmethod
    def of(cls, searcher: Searcher) -> Inspector:
        """The model of an opened search; of faiss the words are those of a sample of its documents."""
        stored = searcher.stored
        texts = (
            [document.text for document in stored.sample(_SAMPLE)]
            if isinstance(stored, StoredIndex)
            else None
        )
        return cls(searcher.name, encoder=searcher.encoder, texts=texts)

    def inspect(self, text: str, *, top: int = 20) -> Inspection:
        """A text in both roles.

        Args:
            top: words shown of each vector.

        Raises:
            ConfigError: ``top`` is below 1.
            InputError: the text is empty, or no Unicode text.
        """
        _check_top(top)
        _check(text, "the text")
        ids = self.prompts.text_ids([text])[0]
        longest = self.encoder.model.max_seq_length
        limit = None if longest is None else min(self.prompts.text_limit(longest, [t]) for t in _TASKS)
        read = ids if limit is None else ids[:limit]
        roles: dict[Task, RoleView] = {
            task: self._role(task, text, read, top) for task in self.prompts.branches
        }
        return Inspection(text, roles, self._mask(read), len(ids), len(read), self._expects)

    def pair(self, query: str, document: str, *, top: int = 20) -> Pair:
        """Which words carry the similarity of a query and a document.

        Each different word of either is left out in turn and what is left is encoded again; of more than 64
        words in a text those that its vector holds most strongly. Of a text that is longer than the model
        reads, the words that it reads.

        Args:
            top: shared words shown: those that the query's vector expects and the document's holds, by the
                product of their scores.

        Raises:
            ConfigError: ``top`` is below 1.
            InputError: one of the texts is empty, or no Unicode text.
        """
        _check_top(top)
        _check(query, "the query")
        _check(document, "the document")
        read, read_document = self._head.read_of([query, document])
        query_D, document_D = self._vectors("next", [read])[0], self._vectors("self", [read_document])[0]
        similarity = float(query_D @ document_D)
        return Pair(
            query,
            document,
            similarity,
            self._shares("next", read, query_D, document_D, similarity),
            self._shares("self", read_document, document_D, query_D, similarity),
            self._shared(read, read_document, query_D, document_D, top),
            query_cut=read != query,
            document_cut=read_document != document,
        )

    def highlights(self, query_vector: np.ndarray, texts: Iterable[str], *, top: int = 8) -> list[list[Span]]:
        """Where each text holds the words that a query's vector expects most.

        Args:
            query_vector: float32 [D].
            texts: taken one after the other; what their iterator raises ends it.
            top: different words of a text.

        Returns:
            spans by text, in order. The strongest word of all the texts has weight 1; words below 0.3, and
            function words, are none.

        Raises:
            InputError: ``texts`` is one string.
        """
        check_list(texts, "texts")
        found = []
        scores: dict[str, float] = {}
        for text in texts:
            found.append(_spans_by_word(text))
            new = [word for word in found[-1] if word not in scores]
            words = [word for word in new if self._analyze(word)]
            scores |= dict.fromkeys(new, 0.0)
            scores |= zip(words, self._scores(words, query_vector).tolist(), strict=True)
        strongest = max(scores.values(), default=0.0)
        results = []
        for spans in found:
            held = sorted((-scores[word], word) for word in spans if scores.get(word, 0.0) > 0)[:top]
            marked = [
                Span(start, end, round(-score / strongest, 4))
                for score, word in held
                if -score >= _WEAKEST_HIGHLIGHT * strongest
                for start, end in spans[word]
            ]
            results.append(sorted(marked, key=lambda span: span.start))
        return results

    # -- one text

    def _role(self, task: Task, text: str, text_ids: Sequence[int], top: int) -> RoleView:
        branch = self.prompts.branches[task]
        lead = len(self.prompts.lead_ids)
        ids = [*self.prompts.trunk(text_ids), *branch.ids]
        first_slot = len(ids) - branch.num_slots
        tokens = []
        for place, id_ in enumerate(ids):
            if place < lead:
                part = "lead"
            elif place < lead + len(text_ids):
                part = "text"
            else:
                part = "prompt" if place < first_slot else "slot"
            tokens.append(TokenView(self._surface(id_), id_, part))  # type: ignore[arg-type]
        prompt = str(self.prompts.tokenizer.decode(ids))
        (read,) = self._head.read_of([text])
        return RoleView(prompt, tokens, self._words(self._vectors(task, [text])[0], text, top, read=read))

    def _mask(self, text_ids: Sequence[int]) -> Mask:
        """The mask that training gives both prompts in one pass."""
        trunk = self.prompts.trunk(text_ids)[:_MASK_TOKENS]
        branches = self.prompts.branches
        specs = [BranchSpec(branch.ids, branch.num_slots) for branch in branches.values()]
        seen_TT = dense_mask(lay_out([trunk], specs, pad_id=0))[0, 0]
        ids = [*trunk, *(id_ for branch in branches.values() for id_ in branch.ids)]
        groups = ["trunk"] * len(trunk) + [task for task, branch in branches.items() for _ in branch.ids]
        rows = ["".join("01"[int(seen)] for seen in row) for row in seen_TT.tolist()]
        return Mask([self._surface(id_) for id_ in ids], groups, rows)

    def _words(self, vector_D: np.ndarray, text: str, top: int, *, read: str) -> list[Word]:
        """The strongest words of a vector, of those known and those read; a word in one form only."""
        own = list(dict.fromkeys(words_of(read)))
        known = {word.casefold() for word in words_of(text)}
        known |= {word for word in self._lexicon if unspaced(word) and word in text}  # of any length
        scores = [
            *zip(own, self._scores(own, vector_D).tolist(), strict=True),
            *zip(self._lexicon, self._lexicon_scores(vector_D).tolist(), strict=True),
        ]
        best: dict[str, tuple[float, str]] = {}
        for word, score in scores:
            key = word.casefold()
            if key not in best or score > best[key][0]:
                best[key] = (score, word)
        ranked = sorted(best.values(), key=lambda item: (-item[0], item[1]))[:top]
        return [Word(word, round(score, 4), word.casefold() in known) for score, word in ranked]

    # -- two texts

    def _shares(
        self, task: Task, text: str, own_D: np.ndarray, other_D: np.ndarray, similarity: float
    ) -> list[PairWord]:
        """Each occurrence of each word of ``text``, with what the cosine loses without that word."""
        spans = _spans_by_word(text)
        scores = self._scores(list(spans), own_D)
        tried = [
            word for _, word in sorted(zip(-scores, spans, strict=True), key=lambda item: (item[0], item[1]))
        ][:_MOST_LEFT_OUT]
        without_ND = self._vectors(task, [_without(text, spans[word]) for word in tried])
        shares = {
            word: round(similarity - float(vector_D @ other_D), 4)
            for word, vector_D in zip(tried, without_ND, strict=True)
        }
        words = [
            PairWord(text[start:end], start, end, shares.get(word))
            for word, places in spans.items()
            for start, end in places
        ]
        return sorted(words, key=lambda word: word.start)

    def _shared(
        self, query: str, document: str, query_D: np.ndarray, document_D: np.ndarray, top: int
    ) -> list[Word]:
        texts = f"{query}\n{document}"
        both = [
            {word.word.casefold(): word for word in self._words(vector_D, texts, 10 * top, read=texts)}
            for vector_D in (query_D, document_D)
        ]
        shared = [
            Word(both[1][key].word, round(both[0][key].weight * both[1][key].weight, 4), both[1][key].in_text)
            for key in both[0]
            if key in both[1] and both[0][key].weight > 0 < both[1][key].weight
        ]
        return sorted(shared, key=lambda word: (-word.weight, word.word))[:top]

    # -- vectors and words

    def _vectors(self, task: Task, texts: Sequence[str]) -> np.ndarray:
        return self.encoder.encode(texts, role="query" if task == "next" else "document")

    def _scores(self, words: Sequence[str], vector_D: np.ndarray) -> np.ndarray:
        return self._head.rows(words) @ vector_D if words else np.zeros(0, np.float32)

    def _lexicon_scores(self, vector_D: np.ndarray) -> np.ndarray:
        if self._lexicon_ND is None:
            self._lexicon_ND = self._head.rows(self._lexicon)
        return self._lexicon_ND @ vector_D

    def _surface(self, id_: int) -> str:
        return str(self.prompts.tokenizer.decode([id_]))


def _spans_by_word(text: str) -> dict[str, list[tuple[int, int]]]:
    """Where each word stands, whatever its case."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for start, end in word_spans(text):
        spans.setdefault(text[start:end].casefold(), []).append((start, end))
    return spans


def _without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """A text less some stretches of it, and less one of two blanks that meet in the gap.

    >>> _without("the wing  lifts", [(4, 8)])
    'the  lifts'
    """
    for start, end in reversed(list(spans)):
        before, after = text[:start], text[end:]
        if not before or before[-1].isspace():
            after = after.removeprefix(" ")
        text = before + after if after else before.removesuffix(" ")
    return text


def _was_trained_to_expect(model: str | Path) -> bool:
    """False of a model that was adapted without EBAR."""
    path = Path(resolve(model)) / "training.json"
    if not path.is_file():
        return True
    objective = json.loads(path.read_text(encoding="utf-8")).get("settings", {}).get("objective", {})
    return bool(objective.get("ebar", True))


def _check(text: object, what: str) -> None:
    if not isinstance(text, str):
        raise InputError(f"{what} is {type(text).__name__}, expected one string")
    check_text(text, what)
    if not text.strip():
        raise InputError(f"{what} is empty; expected some words")


def _check_top(top: int) -> None:
    if top < 1:
        raise ConfigError(f"top is {top}, expected at least 1")
