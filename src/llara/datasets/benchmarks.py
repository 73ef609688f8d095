"""The collections that papers report, by name: opened, recognised, and gathered in suites."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llara.corpus import read_documents
from llara.corpus.sources import HUB_NAME
from llara.datasets.checks import check_corpus, judged_queries
from llara.datasets.collections import (
    StreamedCollection,
    layout_file,
    qrels_file,
    read_judgements,
    read_qrels,
)
from llara.datasets.hub import load_catalogue
from llara.datasets.named import is_hub_folder, open_catalogue, open_hub, other_split
from llara.errors import ConfigError, InputError, MissingExtraError

__all__ = ["catalogued", "is_suite", "official_measures", "open_collection", "suite", "with_split"]

IR_DATASETS_PREFIX = "ir_datasets:"
LOCAL_PREFIX = "local:"
_CATALOGUES = ("beir", "msmarco-passage", "msmarco-document")  # known without the package ir_datasets

_BEIR = (
    *("trec-covid", "nfcorpus", "nq", "hotpotqa", "fiqa", "arguana", "webis-touche2020", "quora"),
    *("dbpedia-entity", "scidocs", "fever", "climate-fever", "scifact"),
)
_BEIR_OTHER_NAMES = {"touche2020": "webis-touche2020", "dbpedia": "dbpedia-entity"}
_TOUCHE, _TOUCHE_V1 = "beir/webis-touche2020", "beir/webis-touche2020/v1"
_BEIR_OWNERS = ("beir", "mteb")
_MSMARCO = {
    "msmarco-passage/dev/small": "msmarco-passage/dev",
    "msmarco-passage/trec-dl-2019": "msmarco-passage/trec-dl-2019",
    "msmarco-passage/trec-dl-2019/judged": "msmarco-passage/trec-dl-2019",
    "msmarco-passage/trec-dl-2020": "msmarco-passage/trec-dl-2020",
    "msmarco-passage/trec-dl-2020/judged": "msmarco-passage/trec-dl-2020",
    "msmarco-document/dev": "msmarco-document/dev",
}
_SUITES = {
    "beir-13": (
        *("beir/trec-covid", "beir/nfcorpus/test", "beir/nq", "beir/hotpotqa/test", "beir/fiqa/test"),
        *("beir/arguana", "beir/webis-touche2020/v2", "beir/quora/test", "beir/dbpedia-entity/test"),
        *("beir/scidocs", "beir/fever/test", "beir/climate-fever", "beir/scifact/test"),
    ),
    "msmarco": (
        "msmarco-passage/dev/small",
        "msmarco-passage/trec-dl-2019/judged",
        "msmarco-passage/trec-dl-2020/judged",
        "msmarco-document/dev",
    ),
}
_MEASURES = {
    "msmarco-passage/dev": ("RR@10", "R@1000"),
    "msmarco-passage/trec-dl-2019": ("nDCG@10",),
    "msmarco-passage/trec-dl-2020": ("nDCG@10",),
    "msmarco-document/dev": ("RR@100", "R@100"),
}


def open_collection(name: str | Path, split: str | None = None) -> StreamedCollection:
    """Open one split of a collection for evaluation; its corpus stays on disk and streams past.

    ``name`` is one of

    - a directory in BEIR's layout: ``corpus.jsonl``, ``queries.jsonl``, ``qrels/<split>.tsv``;
    - an id of ir_datasets, such as ``beir/scifact/test`` or ``msmarco-passage/dev/small``, with or without
      ``ir_datasets:`` before it;
    - a repository of the Hugging Face Hub in BEIR's or MTEB's layout, such as ``BeIR/scifact`` or
      ``mteb/scifact`` (``owner/name:subset`` where it holds several), or a folder laid out as one.

    What exists here is taken before what is only a name, and the catalogue of ir_datasets before the Hub.

    Queries that are not judged are left out. Judged documents that the corpus lacks stay in the qrels, where
    they count as not found, as trec_eval has it; a warning says how many. To know, the corpus is read once at
    the call, before anything expensive is done with it; memory holds eight bytes a document meanwhile, twice
    while they are sorted.

    A collection of BEIR has ``ignore_identical_ids``: BEIR's code leaves out of every ranking the document
    whose id is the query's (in its exact search, and by default in ``EvaluateRetrieval.evaluate``). The
    queries of ArguAna and Quora are documents, and would find themselves.

    Args:
        split: ``test`` by default. Of an id of ir_datasets, what follows the corpus in it.

    Raises:
        InputError: there is no such collection or split, a file is missing or malformed, an id comes twice, a
            judged query is missing or blank, or no judged document is in the corpus.
        MissingExtraError: it is an id of ir_datasets, which is not installed.
    """
    collection, beir, judgements = _find(name, split)
    facts = check_corpus(
        collection.documents,
        collection.qrels,
        source=name if judgements is None else layout_file(Path(name), "corpus.jsonl"),
        judgements=() if judgements is None else read_judgements(judgements),
    )
    return replace(
        collection,
        num_documents=facts.num_documents,
        digest=facts.digest,
        benchmark=_benchmark(beir or collection.name, collection.split),
        ignore_identical_ids=beir is not None and beir != "beir/msmarco",
    )


def is_suite(name: str) -> bool:
    """Whether ``suite`` knows the name.

    >>> is_suite("beir-13"), is_suite("local:runs/data"), is_suite("beir/scifact")
    (True, True, False)
    """
    return name in _SUITES or name.startswith(LOCAL_PREFIX)


def suite(name: str, split: str | None = None) -> list[str]:
    """The names of the collections of a suite, as ``open_collection`` takes them.

    ``beir-13`` are the thirteen of the paper, each with its test queries; ``msmarco`` is passages (dev
    and TREC DL 2019 and 2020) and documents (dev). ``local:DIR`` is every folder in DIR in BEIR's layout that
    has the split, by default ``test``.

    >>> suite("msmarco")[0]
    'msmarco-passage/dev/small'

    Raises:
        ConfigError: there is no such suite.
        InputError: there is no such folder, or no collection in it.
    """
    if not name.startswith(LOCAL_PREFIX):
        if name not in _SUITES:
            raise ConfigError(f"no suite {name!r}; expected {', '.join(_SUITES)} or {LOCAL_PREFIX}DIR")
        return list(_SUITES[name])
    folder, split = Path(name.removeprefix(LOCAL_PREFIX)), split or "test"
    found = sorted(path.parents[1] for path in folder.glob(f"*/qrels/{split}.tsv"))
    if not found:
        raise InputError(
            f"{folder}: holds no folder in BEIR's layout with qrels/{split}.tsv; expected at least one"
        )
    return list(map(str, found))


def official_measures(benchmark: str | None) -> tuple[str, ...]:
    """The measures that papers report for a benchmark; none where it is not known.

    >>> official_measures("msmarco-passage/dev"), official_measures("beir/scifact"), official_measures(None)
    (('RR@10', 'R@1000'), ('nDCG@10',), ())
    """
    if benchmark is not None and benchmark.startswith("beir/"):
        return ("nDCG@10",)
    return _MEASURES.get(benchmark or "", ())


def catalogued(name: str | Path) -> str | None:
    """The id of ir_datasets that a name is; None if it is none, or a path that exists here.

    Raises:
        MissingExtraError: it must be one, and ir_datasets is not installed.
    """
    if Path(name).exists():
        return None
    name = str(name)
    if name.startswith(IR_DATASETS_PREFIX):
        return name.removeprefix(IR_DATASETS_PREFIX)
    try:
        load_catalogue(name)
    except InputError:
        return None
    except MissingExtraError:
        if name.partition("/")[0] not in _CATALOGUES:
            return None
        raise
    return name


def with_split(name: str | Path, split: str) -> str | Path | None:
    """The name under which ``open_collection`` has another split of the same corpus; None if there is none.

    An id of ir_datasets may hold its own: of ``beir/fiqa/test`` the split ``dev`` is ``beir/fiqa/dev``. Of
    a repository of the Hub it is known once it is opened.

    Raises:
        MissingExtraError, InputError: it is an id of ir_datasets that is not there.
    """
    identifier = catalogued(name)
    if identifier is not None:
        return other_split(identifier, split)
    is_beir = any(Path(name).glob("qrels/*.tsv"))
    return None if is_beir and not Path(name, "qrels", f"{split}.tsv").is_file() else name


# -- which collection a name means


def _find(name: str | Path, split: str | None) -> tuple[StreamedCollection, str | None, Path | None]:
    """The collection, its name if it is one of BEIR's, and its file of judgements if it has one."""
    path = Path(name)
    if path.is_dir():
        beir = _beir_name("/".join(path.resolve().parts[-2:]))
        if is_hub_folder(path):
            return replace(open_hub(str(path), split=split), name=path.resolve().name), beir, None
        collection, judgements = _open_beir(path, split or "test")
        return collection, beir, judgements
    identifier = catalogued(name)
    if identifier is not None:
        collection = open_catalogue(identifier, split)
        beir = collection.name.removesuffix(f"/{collection.split}")
        # BEIR distributes, and papers report, the second version of Touche's judgements
        beir = {_TOUCHE: _TOUCHE_V1, f"{_TOUCHE}/v2": _TOUCHE}.get(beir, beir)
        return collection, beir if beir.startswith("beir/") else None, None
    match = HUB_NAME.fullmatch(str(name))
    if match is None or path.exists():
        raise InputError(
            f"{name}: no such collection; expected a directory in BEIR's layout (corpus.jsonl, "
            "queries.jsonl, qrels/), an id of ir_datasets such as beir/scifact/test, a repository of the "
            f"Hugging Face Hub such as BeIR/scifact, or a suite: {', '.join(_SUITES)}, {LOCAL_PREFIX}DIR"
        )
    owner = match["name"].partition("/")[0].lower()
    beir = _beir_name(match["name"]) if owner in _BEIR_OWNERS else None
    return open_hub(match["name"], match["config"], split), beir, None


def _open_beir(path: Path, split: str) -> tuple[StreamedCollection, Path]:
    judgements = qrels_file(path, split)
    texts, corpus = layout_file(path, "queries.jsonl"), layout_file(path, "corpus.jsonl")
    qrels = read_qrels(judgements)
    queries = judged_queries(
        read_documents([texts], link_titles=False), qrels, source=texts, judgements=f"qrels/{split}.tsv"
    )
    collection = StreamedCollection(
        name=path.resolve().name,
        queries=queries,
        qrels=qrels,
        documents=lambda: read_documents([corpus], link_titles=False),
        split=split,
    )
    return collection, judgements


# -- which benchmark it is


def _beir_name(name: str) -> str | None:
    """BEIR's name for a repository, or for the last two parts of a path; None if it is none of BEIR's.

    >>> _beir_name("mteb/touche2020"), _beir_name("data/SciFact"), _beir_name("mteb/cqadupstack-gis")
    ('beir/webis-touche2020', 'beir/scifact', 'beir/cqadupstack/gis')
    """
    parent, _, last = name.lower().rpartition("/")
    last = _BEIR_OTHER_NAMES.get(last, last)
    if parent == "cqadupstack" or last.startswith("cqadupstack-"):
        return f"beir/cqadupstack/{last.removeprefix('cqadupstack-')}"
    return f"beir/{last}" if last in (*_BEIR, "msmarco") else None


def _benchmark(name: str, split: str | None) -> str | None:
    """The name under which papers report that split, if they do.

    >>> _benchmark("beir/nq", "test"), _benchmark("beir/nq", "train"), _benchmark("beir/msmarco", "dev")
    ('beir/nq', None, 'msmarco-passage/dev')
    """
    if name == "beir/msmarco":
        return "msmarco-passage/dev" if split in ("dev", "validation") else None
    if name.startswith("beir/"):
        return name if split == "test" and name != _TOUCHE_V1 else None
    return _MSMARCO.get(name)
