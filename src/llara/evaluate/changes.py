"""From one system to another: the queries that got better and worse, with what each found for them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from llara.corpus import Document
from llara.datasets import StreamedCollection
from llara.evaluate.results import Evaluation
from llara.report import Answer, Block, Example, Heading, Histogram, Text, shortened

__all__ = ["Pair", "change_blocks", "change_histogram", "changes"]

_MOST_PAIRS = 12
_EACH_SIDE_OF_ONE, _EACH_SIDE_OF_MANY = 5, 3
_TOP = 3  # documents shown of each system
_QUESTION_CHARACTERS, _NAME_CHARACTERS, _TEXT_CHARACTERS = 300, 100, 280
_ROUNDING = 1e-12
_BARS = 10  # from 0 to the largest change


@dataclass(frozen=True)
class Pair:
    """Two systems on the same queries; ``collection`` has the texts, where it is known."""

    before: Evaluation
    after: Evaluation
    collection: StreamedCollection | None = None

    def differences(self, measure: str) -> dict[str, float]:
        """Query -> how much better (above 0) or worse the second system did."""
        before, after = self.before.per_query[measure], self.after.per_query[measure]
        found = {query: after[query] - value for query, value in before.items()}
        return {query: 0.0 if abs(value) < _ROUNDING else value for query, value in found.items()}

    @property
    def title(self) -> str:
        where = f" on {self.after.dataset}" if self.after.dataset else ""
        return f"From {self.before.name} to {self.after.name}{where}"


def changes(differences: Mapping[str, float], number: int) -> tuple[list[str], list[str]]:
    """The queries that got better and worse by the most, at most ``number`` each; of equal ones the first.

    >>> changes({"q1": 0.5, "q2": -0.25, "q3": 0.75, "q4": 0.0}, 5)
    (['q3', 'q1'], ['q2'])
    """
    better = sorted(
        (query for query, value in differences.items() if value > 0), key=lambda q: -differences[q]
    )
    worse = sorted((query for query, value in differences.items() if value < 0), key=differences.__getitem__)
    return better[:number], worse[:number]


def change_histogram(pair: Pair, measure: str, title: str) -> Histogram | None:
    """How many queries got better and worse, by how much; None where no query did."""
    values = [value for value in pair.differences(measure).values() if value]
    if not values:
        return None
    farthest = max(map(abs, values))
    places = np.arange(
        math.floor(min(*values, 0.0) / farthest * _BARS), math.ceil(max(*values, 0.0) / farthest * _BARS) + 1
    )
    edges = places * (farthest / _BARS)  # 0 is one of them
    edges[0], edges[-1] = min(edges[0], *values), max(edges[-1], *values)  # whatever was lost by rounding
    counts, _ = np.histogram(values, bins=edges)
    x = f"{measure} less that of {pair.before.name}"
    return Histogram(title, edges.tolist(), counts.tolist(), x, "queries", is_signed=True)


def change_blocks(pairs: Sequence[Pair], measure: str) -> list[Block]:
    """Of each pair a heading and its examples: those that got better, then those that got worse.

    Of a few pairs, all of them; a collection is read once more, up to the last document that is shown.
    """
    pairs = [pair for pair in pairs if pair.collection is not None]
    number = _EACH_SIDE_OF_ONE if len(pairs) == 1 else _EACH_SIDE_OF_MANY
    chosen = [(pair, *changes(pair.differences(measure), number)) for pair in pairs[:_MOST_PAIRS]]
    texts = _texts(chosen)
    blocks: list[Block] = []
    for pair, better, worse in chosen:
        assert pair.collection is not None
        found = texts[pair.collection.name]
        blocks += [Heading(pair.title), Text([_counts(pair, measure)], is_faint=True)]
        blocks += [_example(pair, query, measure, found) for query in (*better, *worse)]
    if len(pairs) > _MOST_PAIRS:
        left = len(pairs) - _MOST_PAIRS
        blocks.append(Text([f"{left} more pairs of a system and a data set are not shown."], is_faint=True))
    return blocks


def _counts(pair: Pair, measure: str) -> str:
    values = pair.differences(measure).values()
    better, worse = sum(value > 0 for value in values), sum(value < 0 for value in values)
    return (
        f"By {measure}, {better:,} queries got better, {worse:,} worse, and "
        f"{len(values) - better - worse:,} stayed. Here are those that moved farthest; unfold one to see "
        "what each system found."
    )


def _texts(chosen: Iterable[tuple[Pair, list[str], list[str]]]) -> dict[str, dict[str, Document]]:
    """Collection -> id -> document, for all that is shown."""
    wanted: dict[str, set[str]] = {}
    collections: dict[str, StreamedCollection] = {}
    for pair, better, worse in chosen:
        assert pair.collection is not None
        collections[pair.collection.name] = pair.collection
        ids = wanted.setdefault(pair.collection.name, set())
        for query in (*better, *worse):
            ids.update(*(_ranked(each, query)[:_TOP] for each in (pair.before, pair.after)))
    return {name: _documents(collections[name], ids) for name, ids in wanted.items()}


def _documents(collection: StreamedCollection, ids: Collection[str]) -> dict[str, Document]:
    """Those that are there, by id."""
    found: dict[str, Document] = {}
    for document in collection.documents():
        if len(found) == len(ids):
            break
        if document.id in ids:
            found[document.id] = document
    return found


def _ranked(evaluation: Evaluation, query: str) -> list[str]:
    """The ids that were found, best first, ordered as trec_eval orders them."""
    scores = evaluation.run.get(query, {})
    return sorted(scores, key=lambda id_: (scores[id_], id_), reverse=True)


def _example(pair: Pair, query: str, measure: str, texts: Mapping[str, Document]) -> Example:
    assert pair.collection is not None
    relevant = {id_ for id_, grade in pair.collection.qrels.get(query, {}).items() if grade > 0}
    answers, remarks = {}, {}
    for each in (pair.before, pair.after):
        ranked = _ranked(each, query)
        rank = next((place for place, id_ in enumerate(ranked, start=1) if id_ in relevant), None)
        first = f"first relevant at rank {rank}" if rank else f"none relevant among {len(ranked):,} found"
        remarks[each.name] = f"{measure} {each.per_query[measure][query]:.3f}; {first}"
        answers[each.name] = [_answer(id_, texts.get(id_), id_ in relevant) for id_ in ranked[:_TOP]]
    return Example(
        shortened(pair.collection.queries[query], _QUESTION_CHARACTERS),
        answers,
        remarks,
        pair.differences(measure)[query],
    )


def _answer(id_: str, document: Document | None, is_relevant: bool) -> Answer:
    id_ = shortened(id_, _NAME_CHARACTERS)
    if document is None:
        return Answer(id_, "", "its text is not in the corpus", is_relevant)
    text = shortened(document.text, _TEXT_CHARACTERS)
    if not document.title:
        return Answer(id_, text, is_relevant=is_relevant)
    return Answer(shortened(document.title, _NAME_CHARACTERS), text, id_, is_relevant)
