"""Data by name: Hugging Face data sets, and the catalogue of ir_datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llara.corpus import Document
from llara.datasets.examples import DataReport, JudgedIds, TrainingExample, looked_up
from llara.datasets.jsonl_layouts import Record
from llara.errors import InputError, MissingExtraError

__all__ = [
    "catalogue_document",
    "fetched",
    "hub_errors",
    "hub_records",
    "ir_datasets_documents",
    "ir_datasets_examples",
    "load_catalogue",
]


def hub_records(name: str, config: str | None, split: str) -> Iterator[Record]:
    """Rows of a Hugging Face data set, or of a folder laid out as one, streamed.

    Raises:
        InputError: there is no such data set, configuration or split, or it cannot be reached.
    """
    import datasets

    datasets.disable_progress_bars()
    with hub_errors(name, f"the split {split!r} of the dataset"):
        rows = datasets.load_dataset(name, config, split=split, streaming=True)
        for number, row in enumerate(rows, start=1):
            yield f"{name}:{number}", row


@contextmanager
def hub_errors(name: str, part: str) -> Iterator[None]:
    """What the library raises for a data set of that name, as errors that say what to do.

    Raises:
        InputError: there is no such data set, ``part`` of it cannot be read, or the Hub cannot be reached.
    """
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    # huggingface_hub speaks HTTP through requests, httpx or httpx2, by its version.
    http_error: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except datasets.exceptions.DatasetNotFoundError as error:
        raise InputError(
            f"{name}: no such file or folder here, and no such dataset on the Hugging Face Hub "
            f"({_reason(error)})"
        ) from error
    except (ValueError, RuntimeError, FileNotFoundError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{name}: {part} cannot be read ({_reason(error.__cause__ or error)}); "
            "a configuration is named as owner/name:config"
        ) from error
    except (OSError, http_error) as error:
        raise InputError(
            f"{name}: no such file or folder here, and the Hugging Face Hub cannot be reached "
            f"({_reason(error)}); check the path or the connection, or give a local copy"
        ) from error


def ir_datasets_examples(identifier: str, report: DataReport) -> Iterator[TrainingExample]:
    """Examples of a data set of ir_datasets, such as msmarco-passage/train, as they stand.

    Its qrels say what is positive (above 0) and negative (0 or less). In memory: the qrels' ids, and
    the passages they name, which are looked up in its document store; that is built on first use.

    Raises:
        MissingExtraError: the package ir_datasets is not installed.
        InputError: there is no such data set, it lacks judgements, or its files cannot be fetched.
    """
    name, dataset = load_catalogue(identifier)
    for part, is_there in (
        ("documents", dataset.has_docs()),
        ("queries", dataset.has_queries()),
        ("judgements", dataset.has_qrels()),
    ):
        if not is_there:
            raise InputError(f"{name}: has no {part}; name a data set or subset that has, such as .../train")

    def examples() -> Iterator[TrainingExample]:
        judged = JudgedIds()
        qrels = fetched(name, dataset.qrels_iter)
        for number, qrel in enumerate(qrels, start=1):
            judged.add(f"{name}: qrel {number}", qrel.query_id, qrel.doc_id, positive=qrel.relevance > 0)
        texts = (
            Document(query.query_id, query.default_text()) for query in fetched(name, dataset.queries_iter)
        )
        queries = judged.with_texts(texts, report, source=name)
        return looked_up(lambda: queries, documents, report)

    def documents(wanted: set[str]) -> Iterator[Document]:
        return map(catalogue_document, fetched(name, lambda: dataset.docs_store().get_many_iter(wanted)))

    return examples()


def ir_datasets_documents(identifier: str) -> Iterator[Document]:
    """All documents of a data set of ir_datasets, streamed.

    Raises:
        MissingExtraError: the package ir_datasets is not installed.
        InputError: there is no such data set, or its files cannot be fetched.
    """
    name, dataset = load_catalogue(identifier)
    return map(catalogue_document, fetched(name, dataset.docs_iter))


def load_catalogue(identifier: str) -> tuple[str, Any]:
    """The name in messages of a data set of ir_datasets, and itself.

    Raises:
        MissingExtraError: the package ir_datasets is not installed.
        InputError: there is no such data set.
    """
    name = f"ir_datasets:{identifier}"
    try:
        import ir_datasets
    except ImportError as error:
        raise MissingExtraError("ir_datasets", "ir-datasets") from error
    try:
        return name, ir_datasets.load(identifier)
    except KeyError as error:
        raise InputError(f"{name}: no such data set in the catalogue; see https://ir-datasets.com") from error


def fetched(name: str, items: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """The items; files are fetched at the first."""
    try:
        yield from items()
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{name}: its files cannot be fetched or read ({_reason(error)}); check the connection"
        ) from error


def catalogue_document(document: Any) -> Document:
    """Title and text kept apart where the data set does; otherwise all of its text."""
    for field in ("text", "body"):
        text = getattr(document, field, None)
        if isinstance(text, str):
            return Document(document.doc_id, text, title=getattr(document, "title", None) or "")
    return Document(document.doc_id, document.default_text())


def _reason(error: BaseException) -> str:
    """The message in one line of at most 300 characters."""
    return (" ".join(str(error).split()) or type(error).__name__)[:300]
