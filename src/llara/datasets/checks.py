"""What must hold between a corpus, queries and judgements; messages name file and line where there is one."""

from __future__ import annotations

import hashlib
import warnings
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

from llara.corpus import Document, Fields
from llara.corpus.readers import open_rows
from llara.errors import InputError

__all__ = ["blank_query", "check_corpus", "check_judged", "corpus_digest", "judged_queries", "unique"]


class Judged(Protocol):
    """One judgement and its place."""

    @property
    def where(self) -> str: ...
    @property
    def document_id(self) -> str: ...


def unique(
    documents: Iterable[Document],
    *,
    source: Path,
    fields: Fields = Fields(),  # noqa: B008 - frozen
) -> dict[str, Document]:
    """Documents by id.

    Args:
        source: the file they are from, read with these ``fields``.

    Raises:
        InputError: an id comes twice.
    """
    found: dict[str, Document] = {}
    for document in documents:
        if document.id in found:
            raise _repeated_id(document.id, source, fields)
        found[document.id] = document
    return found


def judged_queries(
    texts: Iterable[Document], qrels: Mapping[str, object], *, source: str | Path, judgements: str
) -> dict[str, str]:
    """The texts of the queries that ``qrels`` judges, in its order; other queries are left out.

    Args:
        source: where the texts are from; ``judgements``: where the qrels are from.

    Raises:
        InputError: a judged query has no text or a blank one, or comes twice.
    """
    found: dict[str, str] = {}
    for query in texts:
        if query.id not in qrels:
            continue
        if query.id in found:
            raise _repeated_id(query.id, source)
        if not query.text.strip():
            raise blank_query(query.id, source)
        found[query.id] = query.text
    unknown = [query for query in qrels if query not in found]
    if unknown:
        number = "1 query is" if len(unknown) == 1 else f"{len(unknown):,} queries are"
        raise InputError(
            f"{source}: {number} judged in {judgements}, such as {unknown[0]!r}, and not there; "
            "expected the ids of both to agree"
        )
    return {query: found[query] for query in qrels}


class CorpusFacts(NamedTuple):
    """How many documents, and what tells them from others (``corpus_digest``)."""

    num_documents: int
    digest: str


def check_corpus(
    documents: Callable[[], Iterable[Document]],
    qrels: Mapping[str, Iterable[str]],
    *,
    source: str | Path,
    judgements: Iterable[Judged] = (),
) -> CorpusFacts:
    """Read a corpus once, count it, and see that its ids are unique and are those that were judged.

    Memory: eight bytes a document, twice while they are sorted, and the ids that are judged. Only where
    hashes are equal is the corpus read again, to compare the ids themselves.

    Raises:
        InputError: an id comes twice, the corpus is empty, or it has no judged document; if it lacks some of
            them, a warning says how many.
    """
    missing = {document for judged in qrels.values() for document in judged}
    num_judged = len(missing)
    hashes = array("q")
    digest = hashlib.blake2b(digest_size=8)
    example = ""
    for document in documents():
        digest.update(_content(document))
        example = example or document.id
        hashes.append(hash(document.id))
        missing.discard(document.id)
    if not hashes:
        raise InputError(f"{source}: the corpus is empty; expected at least one document")
    import numpy as np  # here: reading documentation needs none of it

    ordered = np.sort(np.frombuffer(hashes, dtype=np.int64))
    doubtful = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if doubtful:
        seen: set[str] = set()
        for document in documents():
            if hash(document.id) in doubtful:
                if document.id in seen:
                    raise _repeated_id(document.id, source)
                seen.add(document.id)
    check_judged(missing, num_judged, example=example, source=source, judgements=judgements, stacklevel=4)
    return CorpusFacts(len(hashes), digest.hexdigest())


def corpus_digest(documents: Iterable[Document]) -> str:
    """What tells a corpus from another one with the same ids, in the same order."""
    digest = hashlib.blake2b(digest_size=8)
    for document in documents:
        digest.update(_content(document))
    return digest.hexdigest()


def _content(document: Document) -> bytes:
    return "\0".join((document.id, document.title, document.text, "")).encode("utf-8", "surrogatepass")


def check_judged(
    missing: set[str],
    num_judged: int,
    *,
    example: str,
    source: str | Path,
    judgements: Iterable[Judged] = (),
    stacklevel: int,
) -> None:
    """Say how many of the judged documents a corpus lacks; they count as not found, as trec_eval has it.

    Args:
        example: an id that the corpus has.
        judgements: read for the place of the first that names a missing document.

    Raises:
        InputError: it lacks all of them.
    """
    if not missing:
        return
    first = next((judged for judged in judgements if judged.document_id in missing), None)
    identifier = min(missing) if first is None else first.document_id
    place = "" if first is None else f" ({first.where})"
    if len(missing) == num_judged:
        raise InputError(
            f"{source}: no judged document, such as {identifier!r}{place}, is in the corpus, where ids are "
            f"such as {example!r}; expected the ids of both to agree"
        )
    warnings.warn(
        f"{source}: {len(missing):,} of {num_judged:,} judged documents, such as {identifier!r}{place}, "
        "are not in the corpus and count as not found",
        stacklevel=stacklevel,
    )


def blank_query(identifier: str, source: str | Path, fields: Fields = Fields()) -> InputError:  # noqa: B008
    """The error for a query without words, with its place if ``source`` is a file."""
    place = next(_places(source, identifier, fields), str(source))
    return InputError(f"{place}: the query {identifier!r} is blank; expected some words")


def _repeated_id(identifier: str, source: str | Path, fields: Fields = Fields()) -> InputError:  # noqa: B008
    first, second = [*_places(source, identifier, fields), "", ""][:2]
    if not second:
        return InputError(f"{source}: the id {identifier!r} comes twice; expected each once")
    return InputError(f"{second}: the id {identifier!r} comes twice, first at {first}; expected each once")


def _places(source: str | Path, identifier: str, fields: Fields) -> Iterator[str]:
    """Where an id stands in a file, read once more; nothing if ``source`` is none."""
    if not Path(source).is_file():
        return
    rows, parse = open_rows(Path(source), fields)
    for where, row in rows:
        try:
            if parse(where, row).id == identifier:
                yield where
        except InputError:  # left out before, where bad lines are skipped
            continue
