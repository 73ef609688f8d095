"""Retrieval tasks made of a corpus alone: for those who have documents and no judgements.

A part of a text is taken as the query for the rest of it:

    title-body      a title -> its document's text, among all texts without their titles
    sentence-rest   a sentence -> the passage it was taken out of, among all passages less one sentence each
    passage-next    a passage -> the one that follows it in its document, among all other passages

Passages are about 100 words, whole sentences where they can be. What keeps the tasks honest:

* a query's text does not stand in the corpus: a sentence whose words some passage repeats in their order, and
  a title of four or more words that its own text so repeats, are no queries (a shorter one is often a name,
  and belongs there);
* every passage of three sentences or more loses one, query or not: answers cannot be told by their form;
* a passage that repeats another, half or more of its runs of eight words, is no answer: which of the two was
  found would be chance. It stays in the corpus;
* a document that is the query itself is not returned (``ignore_identical_ids``); others of its document are.

Every query has one answer, and other texts may answer it as well: all systems pay this alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from llara.corpus import Document
from llara.corpus.segments import split_sentences
from llara.datasets import StreamedCollection
from llara.errors import ConfigError, InputError
from llara.evaluate.sampling import (
    PASSAGE_WORDS,
    Passage,
    cut_passages,
    draw_sample,
    hash_of,
    run_id,
    words_of,
)

__all__ = ["CAUTION", "UnlabelledTasks", "unlabelled_tasks"]

CAUTION = (
    "These tasks are made of the corpus itself; nobody asked these queries. A difference says that a model "
    "tells the corpus' own texts apart better or worse; whether it answers people's questions better, only "
    "judged questions can tell. Passage-next is what adaptation itself trains (NEXT), and titles and "
    "sentences share words with their texts, which is what BM25 looks for. Compare models with each other, "
    "not tasks, and trust a difference that is significant and has one sign in all tasks."
)

QUERY_SENTENCE_WORDS = range(5, 41)
TITLE_WORDS = range(1, 41)
COPIED_TITLE_WORDS = 4  # a title this long that its own text repeats needs no retriever
LEAST_SENTENCES = 3  # of a passage that one is taken from
LEAST_PASSAGE_WORDS = 20  # of query and answer in passage-next
LEAST_QUERIES = 20
SHINGLE_WORDS = 8
REPEATED_SHARE = 0.5


@dataclass
class UnlabelledTasks:
    """Tasks by name, why others could not be built, and what was left out of those that were.

    ``num_documents`` is how many documents were drawn, ``num_seen`` of how many.
    """

    tasks: dict[str, StreamedCollection] = field(default_factory=dict)
    not_built: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    num_documents: int = 0
    num_seen: int = 0


@dataclass(frozen=True, slots=True)
class _Query:
    """A query, and the id of its one answer."""

    id: str
    text: str
    answer: str


def unlabelled_tasks(
    documents: Iterable[Document],
    *,
    queries: int = 1000,
    max_documents: int = 20_000,
    seed: int = 0,
    language: str | None = "en",
) -> UnlabelledTasks:
    """Build tasks from a stream of documents.

    Documents are drawn at random until they make ``max_documents`` passages; the draw depends on the seed
    and the documents' ids, not on their order. In memory: about that many passages of 100 words (20,000
    are 13 MB, and with what compares them 150 MB), and one document at a time. Documents that ``continue``
    one another are drawn together, as one text.

    Args:
        queries: of each task, at most; fewer if the corpus does not hold so many.
        max_documents: passages, in the corpus of each task.
        language: whose sentence ends to find; see ``llara.corpus.iter_segments``.

    Raises:
        InputError: no task can be built (the message says why, of each), or two documents have one id.
        ConfigError: a number is below 1, or the language is not valid.
    """
    for name, number in (("queries", queries), ("max_documents", max_documents)):
        if number < 1:
            raise ConfigError(f"{name} is {number}, expected at least 1")
    sample = draw_sample(documents, max_documents, seed)
    built = UnlabelledTasks(num_documents=sample.num_documents, num_seen=sample.num_seen)
    passages = list(islice(cut_passages(sample.texts, language), max_documents))
    choose = _Choice(queries, seed)
    _title_body(built, [document for text in sample.texts for document in text], choose)
    _sentence_rest(built, passages, choose, language)
    _passage_next(built, passages, choose)
    if not built.tasks:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in built.not_built.items())
        raise InputError(f"no task can be made of this corpus. {reasons}")
    return built


# -- the three tasks


def _title_body(built: UnlabelledTasks, documents: Sequence[Document], choose: _Choice) -> None:
    corpus = [Document(id=run_id(document.id), text=document.text) for document in documents]
    titles = [" ".join(words_of(document.title)) for document in documents]
    times = Counter(titles)
    own = [n for n, title in enumerate(titles) if times[title] == 1 and len(title.split()) in TITLE_WORDS]
    unlike = _less_repeated(own, corpus)
    text_of = {document.id: document.text for document in corpus}
    queries, num_copied = choose(
        [_Query(f"t.{corpus[n].id}", documents[n].title, corpus[n].id) for n in unlike],
        leaks=lambda query: _is_copied(query.text, text_of[query.answer]),
    )
    _add(
        built,
        "title-body",
        queries,
        corpus,
        too_few=f"documents whose title no other has and whose text does not repeat it ({times['']:,} of "
        f"{len(titles):,} have none)",
        note=f"left out: {num_copied:,} titles that their text repeats, {len(own) - len(unlike):,} of texts "
        "that repeat another",
    )


def _is_copied(title: str, text: str) -> bool:
    return len(words_of(title)) >= COPIED_TITLE_WORDS and _plain(title) in _plain(text)


def _sentence_rest(
    built: UnlabelledTasks, passages: Sequence[Passage], choose: _Choice, language: str | None
) -> None:
    corpus: list[Document] = []
    taken: dict[int, str] = {}  # place of a passage -> the sentence it lost
    for place, passage in enumerate(passages):
        sentences = split_sentences(passage.text, language)
        text = passage.text
        if len(sentences) >= LEAST_SENTENCES:
            sentence = sentences.pop(hash_of(choose.seed, passage.id) % len(sentences)).strip()
            text = "".join(sentences).strip()
            if len(words_of(sentence)) in QUERY_SENTENCE_WORDS:
                taken[place] = sentence
        corpus.append(Document(id=passage.id, text=text))
    unlike = _less_repeated(list(taken), corpus)
    everything = "\n".join(_plain(document.text) for document in corpus)
    queries, num_leaks = choose(
        [_Query(f"s.{corpus[n].id}", taken[n], corpus[n].id) for n in unlike],
        leaks=lambda query: _plain(query.text) in everything,
    )
    _add(
        built,
        "sentence-rest",
        queries,
        corpus,
        too_few=f"passages of {LEAST_SENTENCES} sentences or more, one of which, of "
        f"{QUERY_SENTENCE_WORDS.start} to {QUERY_SENTENCE_WORDS.stop - 1} words, stands nowhere else",
        note=f"left out: {num_leaks:,} sentences that another passage repeats, "
        f"{len(taken) - len(unlike):,} of passages that repeat another",
    )


def _passage_next(built: UnlabelledTasks, passages: Sequence[Passage], choose: _Choice) -> None:
    corpus = [Document(id=passage.id, text=passage.text) for passage in passages]
    long = [len(words_of(passage.text)) >= LEAST_PASSAGE_WORDS for passage in passages]
    next_ones = [n for n in range(1, len(passages)) if passages[n].follows and long[n] and long[n - 1]]
    unlike = _less_repeated(next_ones, corpus)
    queries, _ = choose([_Query(corpus[n - 1].id, corpus[n - 1].text, corpus[n].id) for n in unlike])
    _add(
        built,
        "passage-next",
        queries,
        corpus,
        too_few=f"passages that have a next one in their document, both of {LEAST_PASSAGE_WORDS} words or "
        f"more (a document of more than {PASSAGE_WORDS} words has several passages)",
        note=f"left out: {len(next_ones) - len(unlike):,} passages that repeat another",
    )


def _add(
    built: UnlabelledTasks,
    name: str,
    queries: Sequence[_Query],
    corpus: Sequence[Document],
    *,
    too_few: str,
    note: str,
) -> None:
    if len(queries) < LEAST_QUERIES:
        built.not_built[name] = f"{len(queries)} {too_few}, and a task needs {LEAST_QUERIES}; {note}"
        return
    built.notes[name] = note
    built.tasks[name] = StreamedCollection(
        name,
        {query.id: query.text for query in queries},
        {query.id: {query.answer: 1} for query in queries},
        lambda: corpus,
        ignore_identical_ids=name == "passage-next",
    )


# -- chance and repetition


@dataclass(frozen=True)
class _Choice:
    """Chooses queries at random, by the seed and their ids only."""

    number: int
    seed: int

    def __call__(
        self, queries: Iterable[_Query], leaks: Callable[[_Query], bool] = lambda _: False
    ) -> tuple[list[_Query], int]:
        """Up to ``number`` queries that do not leak, and how many were passed over because they do."""
        chosen: list[_Query] = []
        num_leaks = 0
        for query in sorted(queries, key=lambda query: hash_of(self.seed, query.id)):
            if len(chosen) == self.number:
                break
            if leaks(query):
                num_leaks += 1
            else:
                chosen.append(query)
        return chosen, num_leaks


def _plain(text: str) -> str:
    """The words of a text between single blanks, in which another's can be looked up."""
    return f" {' '.join(words_of(text))} "


def _less_repeated(places: Sequence[int], corpus: Sequence[Document]) -> list[int]:
    """Those places whose text does not repeat another of the corpus; see ``REPEATED_SHARE``."""
    if not places:
        return []
    numbers: dict[str, int] = {}
    multipliers = np.random.default_rng(0).integers(1, 1 << 63, size=SHINGLE_WORDS, dtype=np.uint64) | 1
    found: list[np.ndarray] = []  # of each text the hashes of its runs of eight words, uint64
    for document in corpus:
        words = [numbers.setdefault(word, len(numbers) + 1) for word in words_of(document.text)]
        words += [0] * (SHINGLE_WORDS - len(words))
        runs = np.lib.stride_tricks.sliding_window_view(np.array(words, dtype=np.uint64), SHINGLE_WORDS)
        found.append(np.unique((runs * multipliers).sum(axis=1)))  # modulo 2**64
    _, group, times = np.unique(np.concatenate(found), return_inverse=True, return_counts=True)
    is_repeated = times[group] > 1
    ends = np.cumsum([len(runs) for runs in found])
    return [n for n in places if is_repeated[ends[n] - len(found[n]) : ends[n]].mean() < REPEATED_SHARE]
