"""Collections by name, of the catalogue of ir_datasets, and of the Hub in BEIR's and MTEB's layouts.

Those of the Hub are also trained on; ``hub`` has the examples of ir_datasets.

A repository of the Hub holds the configurations ``corpus`` and ``queries``; the judgements are its
configuration ``default`` or ``qrels`` (MTEB), or a repository of their own, named the same with ``-qrels``
(BEIR). BEIR's that are still distributed with a loading script are read from their ``corpus.jsonl.gz`` and
``queries.jsonl.gz``. A folder with the same files, such as a clone, is read in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from llara.corpus import Document, Fields, read_documents
from llara.corpus.documents import document_from_record
from llara.corpus.readers import DATA_SUFFIXES, suffix_of
from llara.corpus.sources import HUB_NAME
from llara.datasets.checks import judged_queries
from llara.datasets.collections import QRELS_HEADER, Qrels, StreamedCollection
from llara.datasets.examples import DataReport, JudgedIds, TrainingExample, looked_up
from llara.datasets.hub import catalogue_document, fetched, hub_errors, load_catalogue
from llara.errors import InputError

__all__ = [
    "hub_collection",
    "hub_documents",
    "hub_examples",
    "is_hub_folder",
    "open_catalogue",
    "open_hub",
    "other_split",
]

_DEFAULT_SPLIT = "test"
_SYNONYMS = {"dev": "validation", "validation": "dev"}
_ROWS_AT_ONCE = 1000


# -- the catalogue of ir_datasets


def open_catalogue(identifier: str, split: str | None = None) -> StreamedCollection:
    """A data set of ir_datasets, such as ``beir/scifact/test``; its files are fetched at the first use.

    ``split`` is what follows the corpus in the id. An id that is not judged itself (``beir/scifact``) stands
    for its split ``test``.

    Raises:
        MissingExtraError: the package ir_datasets is not installed.
        InputError: there is no such data set or split, it lacks judgements or documents, its files cannot be
            fetched, or a judged query has no text.
    """
    identifier, split = _judged_subset(identifier, split)
    name, dataset = load_catalogue(identifier)
    qrels: Qrels = {}
    for number, qrel in enumerate(fetched(name, dataset.qrels_iter), start=1):
        _judge(qrels, qrel.query_id, qrel.doc_id, int(qrel.relevance), where=f"{name}: qrel {number}")
    texts = (Document(query.query_id, query.default_text()) for query in fetched(name, dataset.queries_iter))
    return StreamedCollection(
        name=identifier,
        queries=judged_queries(texts, qrels, source=name, judgements="its qrels"),
        qrels=qrels,
        documents=lambda: map(catalogue_document, fetched(name, dataset.docs_iter)),
        split=split,
    )


def other_split(identifier: str, split: str) -> str | None:
    """The id of a split of the corpus that an id is of, such as ``beir/fiqa/dev`` for ``beir/fiqa/test``.

    None if there is none that has documents, queries and judgements.
    """
    load_catalogue(identifier)
    import ir_datasets

    parts = ("docs", "queries", "qrels")
    for whole in (identifier, ir_datasets.docs_parent_id(identifier)):
        found = f"{whole}/{split}"
        if found in ir_datasets.registry and all(map(ir_datasets.load(found).has, parts)):
            return found
    return None


def _judged_subset(identifier: str, split: str | None) -> tuple[str, str]:
    """The id that has documents, queries and judgements, and the split that it stands for."""
    name, dataset = load_catalogue(identifier)
    import ir_datasets

    parts = ("docs", "queries", "qrels")
    judged = {
        subset.removeprefix(f"{identifier}/"): subset
        for subset in sorted(ir_datasets.registry)
        if subset.startswith(f"{identifier}/") and all(map(ir_datasets.load(subset).has, parts))
    }
    if all(map(dataset.has, parts)):
        own = identifier.removeprefix(ir_datasets.docs_parent_id(identifier)).strip("/") or _DEFAULT_SPLIT
        if split in (None, own, own.rpartition("/")[2]):
            return identifier, own
    wanted = split or _DEFAULT_SPLIT
    if wanted not in judged:
        raise InputError(
            f"{name}: no split {wanted!r} with documents, queries and judgements; "
            f"expected one of: {', '.join(judged.values()) or 'none'}"
        )
    return judged[wanted], wanted


# -- the Hub


def open_hub(name: str, subset: str | None = None, split: str | None = None) -> StreamedCollection:
    """A repository of the Hub, or a folder laid out as one. It is fetched once, and read from disk.

    Args:
        subset: of a repository that holds several collections: its configurations are ``<subset>-corpus``,
            ``<subset>-queries`` and ``<subset>-qrels``.
        split: of the judgements, ``test`` by default; ``dev`` and ``validation`` mean the same.

    Raises:
        InputError: there is no such repository, configuration or split, it cannot be read, a pair is judged
            twice and differently, or a judged query has no text.
    """
    configs = _configurations(name)
    repository, split, qrels = _judged(name, configs, subset, split)
    texts = _texts(name, configs, f"{_prefix(subset)}queries", split)
    documents = _texts(name, configs, f"{_prefix(subset)}corpus", split)
    return StreamedCollection(
        name=f"{name}:{subset}" if subset else name,
        queries=judged_queries(
            texts(), qrels, source=name, judgements=f"the split {split!r} of {repository}"
        ),
        qrels=qrels,
        documents=documents,
        split=split,
    )


def is_hub_folder(path: Path) -> bool:
    """Whether a folder is a clone of a repository of the Hub, rather than in BEIR's own layout."""
    path = path.resolve()
    if any(path.glob("qrels/*.tsv")):
        return False
    card = path / "README.md"
    is_configured = card.is_file() and "config_name:" in card.read_text(encoding="utf-8", errors="replace")
    return is_configured or path.with_name(f"{path.name}-qrels").is_dir()


def hub_collection(source: str | Path) -> tuple[str, str | None] | None:
    """Name and subset of the collection that ``source`` is, for ``hub_examples`` and ``hub_documents``.

    None if it is no collection: another file or folder, no name of the Hub, or a data set of other rows.

    Raises:
        InputError: it is the name of no data set, or the Hub cannot be reached.
    """
    path, match = Path(source), HUB_NAME.fullmatch(str(source))
    if path.is_dir():
        name, subset = str(path), None
        if not is_hub_folder(path):
            return None
    elif path.exists() or match is None or suffix_of(path) in DATA_SUFFIXES:
        return None
    else:
        name, subset = match["name"], match["config"]
    configs, prefix = _configurations(name), _prefix(subset)
    if configs is None or {f"{prefix}corpus", f"{prefix}queries"} <= set(configs):
        return name, subset
    return None


def hub_examples(name: str, subset: str | None, split: str, report: DataReport) -> Iterator[TrainingExample]:
    """Examples of a repository as they stand: judged above 0 is positive, 0 or less negative.

    Raises:
        InputError: as ``open_hub``, but for judged queries without a text, which are counted.
    """
    configs = _configurations(name)
    repository, split, qrels = _judged(name, configs, subset, split)
    judged = JudgedIds()
    for query, scores in qrels.items():
        for document, score in scores.items():
            judged.add(f"{repository}:{split}: query {query}", query, document, positive=score > 0)
    texts = _texts(name, configs, f"{_prefix(subset)}queries", split)
    queries = judged.with_texts(texts(), report, source=name)
    documents = _texts(name, configs, f"{_prefix(subset)}corpus", split)
    return looked_up(lambda: queries, lambda _: documents(), report)


def hub_documents(name: str, subset: str | None, split: str) -> Iterable[Document]:
    """The corpus of a repository, streamed.

    Raises:
        InputError: it cannot be read.
    """
    return _texts(name, _configurations(name), f"{_prefix(subset)}corpus", split)()


def _prefix(subset: str | None) -> str:
    return f"{subset}-" if subset else ""


def _judged(
    name: str, configs: Sequence[str] | None, subset: str | None, split: str | None
) -> tuple[str, str, Qrels]:
    """Where the judgements are, the split that was meant, and they themselves."""
    repository, config = _place_of_judgements(name, configs, _prefix(subset), subset)
    return (repository, *_judgements(repository, config, split))


def _configurations(name: str) -> list[str] | None:
    """The names of the configurations; None where a script that cannot be run would give them."""
    import datasets

    with hub_errors(name, "the dataset"):
        try:
            return list(datasets.get_dataset_config_names(name))
        except RuntimeError:
            if _file(name, "corpus.jsonl.gz") is None:
                raise
            return None


def _place_of_judgements(
    name: str, configs: Sequence[str] | None, prefix: str, subset: str | None
) -> tuple[str, str | None]:
    if configs is None:
        return f"{name}-qrels", None
    missing = [config for config in (f"{prefix}corpus", f"{prefix}queries") if config not in configs]
    if missing:
        raise InputError(
            f"{name}: no configuration {missing[0]!r}, only {', '.join(map(repr, configs))}; expected "
            "BEIR's or MTEB's layout: the configurations corpus and queries, and judgements as default, "
            f"qrels, or in the repository {name}-qrels"
        )
    for config in (subset or "default", f"{prefix}qrels"):
        if config in configs:
            return name, config
    return f"{name}-qrels", None


def _judgements(repository: str, config: str | None, split: str | None) -> tuple[str, Qrels]:
    """The split that was meant and its judgements."""
    import datasets

    wanted = split or _DEFAULT_SPLIT
    with hub_errors(repository, "the judgements"):
        splits = datasets.get_dataset_split_names(repository, config)
    if wanted not in splits:
        if _SYNONYMS.get(wanted) not in splits:
            raise InputError(f"{repository}: no split {wanted!r}; the splits there are: {', '.join(splits)}")
        wanted = _SYNONYMS[wanted]
    query_id, document_id, score = QRELS_HEADER
    strings = dict.fromkeys((query_id, document_id), datasets.Value("string"))  # or "007" becomes 7
    features = datasets.Features({**strings, score: datasets.Value("float64")})
    table = _table(repository, config, wanted, "the judgements", features=features)
    qrels: Qrels = {}
    for where, row in _rows(table, f"{repository}:{wanted}"):
        if not (row[query_id] and row[document_id]) or row[score] is None or row[score] % 1:
            raise InputError(
                f"{where}: {row} is no judgement; expected {query_id}, {document_id} and a whole {score}"
            )
        _judge(qrels, row[query_id], row[document_id], int(row[score]), where=where)
    if not qrels:
        raise InputError(f"{repository}: the split {wanted!r} holds no judgement; expected at least one")
    return wanted, qrels


def _texts(
    name: str, configs: Sequence[str] | None, config: str, split: str
) -> Callable[[], Iterable[Document]]:
    """What reads a corpus, or queries, as often as it is called."""
    if configs is None:
        file = _file(name, f"{config}.jsonl.gz")
        if file is None:
            raise InputError(f"{name}: no {config}.jsonl.gz there; expected it beside corpus.jsonl.gz")
        return lambda: read_documents([file], link_titles=False)
    import datasets

    part = f"the configuration {config!r}"
    with hub_errors(name, part):
        splits = datasets.get_dataset_split_names(name, config)
    kind = config.rpartition("-")[2]
    chosen = next((known for known in (kind, split, *splits[: len(splits) == 1]) if known in splits), None)
    if chosen is None:
        raise InputError(
            f"{name}: {part} has the splits {', '.join(splits)}; expected {kind!r}, {split!r} or a single one"
        )
    table = _table(name, config, chosen, part)
    columns = table.column_names
    table = table.select_columns([column for column in columns if column in ("_id", "id", "title", "text")])
    return lambda: (
        document_from_record(row, where=where, fields=Fields())
        for where, row in _rows(table, f"{name}:{config}")
    )


def _table(name: str, config: str | None, split: str, part: str, **settings: object) -> Any:
    """A table of the library, memory-mapped from its cache on disk."""
    import datasets

    datasets.disable_progress_bars()
    with hub_errors(name, part):
        return datasets.load_dataset(name, config, split=split, **settings)


def _rows(table: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    number = 0
    for batch in table.iter(batch_size=_ROWS_AT_ONCE):
        for values in zip(*batch.values(), strict=True):
            number += 1
            yield f"{name}:{number}", dict(zip(batch, values, strict=True))


def _file(name: str, file: str) -> Path | None:
    """A file of a repository, fetched, or of a folder laid out as one; None if it has none of that name."""
    if Path(name).is_dir():
        path = Path(name, file)
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    with hub_errors(name, file):
        try:
            return Path(hf_hub_download(name, file, repo_type="dataset"))
        except EntryNotFoundError:
            return None


def _judge(qrels: Qrels, query: str, document: str, score: int, *, where: str) -> None:
    if qrels.setdefault(query, {}).setdefault(document, score) != score:
        raise InputError(f"{where}: query {query!r} and document {document!r} were judged otherwise above")
