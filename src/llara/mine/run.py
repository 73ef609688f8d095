"""``mine``: training data in, the same queries with hard negatives out.

Beside the output ``negatives.jsonl`` stands ``negatives.mining.json``: counts, settings, data, and the model
with its fingerprint.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np

from llara.config import MineConfig
from llara.corpus import Document
from llara.datasets import DataReport, TrainingExample, check_training_file, read_training, write_training
from llara.errors import ConfigError, InputError, OutputError
from llara.files import write_text_atomic
from llara.indexes import open_index
from llara.mine.candidates import Candidates, Passage, Pool
from llara.mine.filters import (
    REASONS,
    above_absolute_margin,
    above_maximum,
    above_relative_margin,
    near_duplicates,
    repeated,
)
from llara.mine.pools import PoolMaker, passages_to_search
from llara.mine.questions import repeated_questions
from llara.mine.rescore import Rescorer, load_rescorer, rescored
from llara.mine.sampling import draw_order, sample, shares

__all__ = ["COUNTS", "MineResult", "mine"]

_QUERIES_AT_ONCE = 1024

COUNTS = (
    "queries",
    "candidates",
    *REASONS,
    "outside the sample",
    "kept",
    "queries with fewer than asked",
    "queries with none",
)
"""What is counted. Candidates are the sum of the reasons, of those outside the sample and of those kept."""


@dataclass(frozen=True)
class MineResult:
    """What was written, what became of the candidates (see ``COUNTS``), and what was read."""

    out: Path
    counts: dict[str, int]
    queries: int
    report: DataReport

    def __str__(self) -> str:
        return _lines(self.counts)


def mine(
    *,
    model: str | None,
    data: Sequence[str | Path],
    out: Path,
    config: MineConfig,
    split: str = "train",
    corpus: str | Path | None = None,
    title_separator: str | None = " ",
    index: Path | None = None,
    rescorer: Rescorer | None = None,
    batch_size: int = 64,
    overwrite: bool = False,
    progress: bool = False,
) -> MineResult:
    """Write the training examples of ``data`` to ``out`` with mined negatives, in Tevatron's layout.

    Each source is searched for its own queries, see ``passages_to_search``. Negatives that came with the data
    are candidates like any passage, and not kept as such. Scores are written with the passages: the
    rescorer's, else cosines, else (without a model) BM25's.

    Filters are in ``llara.mine.filters``, in their order. Ranks are the searches', known positives left out;
    of two searches, one that ranks a passage before first_rank is enough to remove it. What is drawn for a
    query depends on ``config.seed``, its id and its candidates alone. A query with fewer negatives than
    asked, or none, is kept.

    The data are read once before anything is searched, see ``repeated_questions``. Memory holds 1,024 queries
    at a time, the index, and one shard while encoding (see ``encode_file``); BM25
    holds its corpus. Vectors and index stand beside ``out`` meanwhile.

    Args:
        model: encodes queries and passages; may be None with ``source = "bm25"``.
        corpus: passages that are searched for all sources instead; whatever ``read_documents`` reads. Data
            whose passages are ids are looked up in it.
        title_separator: as in ``encode_file``; with ``index`` it is the index's.
        index: an index directory made by ``model`` that is searched for all sources instead, of ``corpus``,
            too.
        rescorer: called with one query's pairs at a time; wins over ``config.rescorer``.

    Raises:
        ConfigError: the searches need a model and there is none.
        InputError: the data cannot be read, an id stands for two queries, the rank window begins after the
            last passage, or not one negative is left.
        ModelError: the model or the rescorer cannot be loaded, the index is another model's, or a rescorer
            does not give one finite number a pair.
        OutputError: ``out`` or its .mining.json exists (without ``overwrite``) or cannot be written.
    """
    from llara.model import fingerprint

    out = Path(out)
    facts = out.with_suffix(".mining.json")
    _check_arguments(model, data, config)
    check_training_file(out, overwrite=overwrite)
    if facts.exists() and not overwrite:
        raise OutputError(f"the output {facts} exists; choose another path or pass --overwrite")
    if index is not None:
        title_separator = open_index(index).manifest.title_separator
    content = {
        "model": model,
        "fingerprint": None if model is None else fingerprint(model),
        "data": [str(source) for source in data],
        "split": split,
        "corpus": None if corpus is None else str(corpus),
        "index": None if index is None else str(index),
        "title_separator": title_separator,
        "settings": asdict(config),
    }
    if rescorer is None and config.rescorer is not None:
        rescorer = load_rescorer(config.rescorer, batch_size=batch_size)
    answers = repeated_questions(data, split=split, corpus=corpus)
    mining = _Mining(config, rescorer, progress, answers)
    maker = PoolMaker(model, config.source, title_separator, batch_size, progress)
    with _scratch(out) as scratch:
        sources = _sources(maker, data, scratch, mining.report, split=split, corpus=corpus, index=index)
        write_training(out, mining.examples(sources), overwrite=overwrite)
    counts = mining.ordered_counts()
    write_text_atomic(facts, json.dumps({**content, "counts": counts}, indent=2, ensure_ascii=False) + "\n")
    return MineResult(out=out, counts=counts, queries=counts["queries"], report=mining.report)


def _check_arguments(
    model: str | None,
    data: Sequence[str | Path],
    config: MineConfig,
) -> None:
    if not data:
        raise ConfigError("no data to mine for; name at least one source")
    if model is None and config.source != "bm25":
        raise ConfigError(
            f'source = "{config.source}" searches with a model and none is named; name one, or set'
            ' source = "bm25"'
        )


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A directory beside ``out`` for vectors and index, gone afterwards."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        directory = tempfile.TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent)
    except OSError as error:
        raise OutputError(
            f"cannot write beside {out}: {error.strerror or error}; choose another path"
        ) from error
    with directory as name:
        yield Path(name)


def _sources(
    maker: PoolMaker,
    data: Sequence[str | Path],
    scratch: Path,
    report: DataReport,
    *,
    split: str,
    corpus: str | Path | None,
    index: Path | None,
) -> Iterator[tuple[Pool, Iterator[TrainingExample]]]:
    """The examples of each source, and the passages that are searched for them."""
    shared = None
    if index is not None:
        shared = maker.of_index(index)
    elif corpus is not None:
        shared = maker.of_passages(passages_to_search(data[0], corpus=corpus), scratch)
    for number, source in enumerate(data):
        examples = read_training(source, split=split, corpus=corpus, report=report)
        if shared is not None:
            yield shared, examples
            continue
        own = scratch / str(number)
        own.mkdir()
        yield maker.of_passages(passages_to_search(source, split=split), own), examples
        shutil.rmtree(own)


@dataclass
class _Mining:
    """One run: its settings, and what it counts."""

    config: MineConfig
    rescorer: Rescorer | None
    progress: bool
    answers: Mapping[str, Sequence[Document]]
    counts: Counter[str] = field(default_factory=Counter)
    report: DataReport = field(default_factory=DataReport)

    def examples(
        self, sources: Iterable[tuple[Pool, Iterator[TrainingExample]]]
    ) -> Iterator[TrainingExample]:
        """The examples of all sources with their mined negatives.

        Raises:
            InputError: the rank window is empty, or there is not one negative.
        """
        from tqdm import tqdm  # type: ignore[import-untyped]

        hide = not (self.progress and sys.stderr.isatty())
        with tqdm(desc="mine", unit="query", leave=False, disable=hide) as bar:
            for pool, examples in sources:
                if self.config.first_rank > pool.size:
                    raise InputError(
                        f"the rank window is empty: first_rank = {self.config.first_rank}, and there are "
                        f"{pool.size:,} passages to search; lower first_rank or name a larger corpus"
                    )
                while block := list(islice(examples, _QUERIES_AT_ONCE)):
                    found = pool.candidates(
                        block, self.config.last_rank, self.answers, score_positives=self.rescorer is None
                    )
                    for example, candidates in zip(block, found, strict=True):
                        yield self._mined(example, candidates)
                    bar.update(len(block))
        if self.counts["kept"] == 0:
            raise InputError(
                f"not one negative is left; loosen the filters or the ranks\n{_lines(self.ordered_counts())}"
            )

    def ordered_counts(self) -> dict[str, int]:
        """All of ``COUNTS``, in their order."""
        return {name: self.counts[name] for name in COUNTS}

    def _mined(self, example: TrainingExample, candidates: Candidates) -> TrainingExample:
        config, passages = self.config, candidates.passages
        wanted = shares(config.negatives, config.bm25_share, mixed=config.source == "mixed")
        in_window = np.flatnonzero(~_before(candidates.ranks, config.first_rank))
        scores = candidates.scores.astype(np.float64)
        positive_scores = candidates.positive_scores.astype(np.float64)
        if self.rescorer is not None:
            positive_scores = self._rescored(example, candidates.positives)
            if _compares_scores(config):
                scores[in_window] = self._rescored(example, [passages[n] for n in in_window])
        left, removed = filtered(candidates, scores, positive_scores, config)
        draws = draw_order(config.seed, example.query_id, [passages[n].document.id for n in left])
        chosen = left[sample(candidates.ranks[:, left], draws, wanted, config.sampling)]
        if self.rescorer is not None and not _compares_scores(config):
            scores[chosen] = self._rescored(example, [passages[n] for n in chosen])
        self.counts.update(removed)
        self.counts.update(
            {
                "queries": 1,
                "candidates": candidates.num_known + len(passages),
                "known positive": candidates.num_known,
                "outside the sample": len(left) - len(chosen),
                "kept": len(chosen),
                "queries with fewer than asked": int(len(chosen) < config.negatives),
                "queries with none": int(len(chosen) == 0),
            }
        )
        return replace(
            example,
            negatives=tuple(passages[n].document for n in chosen),
            positive_scores=tuple(positive_scores.tolist()),
            negative_scores=tuple(scores[chosen].tolist()),
        )

    def _rescored(self, example: TrainingExample, passages: Sequence[Passage]) -> np.ndarray:
        assert self.rescorer is not None
        return rescored(self.rescorer, example.query, [passage.text for passage in passages])


def filtered(
    candidates: Candidates, scores: np.ndarray, positive_scores: np.ndarray, config: MineConfig
) -> tuple[np.ndarray, dict[str, int]]:
    """The numbers of the candidates left, int64 [at most C], and how many each filter removed.

    Args:
        scores: float [C]; positive_scores: float [P].
    """
    left = np.arange(len(candidates.passages))
    removed: dict[str, int] = {}

    def remove(reason: str, gone: np.ndarray) -> None:
        nonlocal left
        removed[reason] = int(gone.sum())
        left = left[~gone]

    early = _before(candidates.ranks, config.first_rank)
    early_texts = {candidates.passages[n].key for n in np.flatnonzero(early)}
    remove("before first_rank", early)
    if config.absolute_margin is not None:
        gone = above_absolute_margin(scores[left], positive_scores, config.absolute_margin)
        remove("absolute margin", gone)
    if config.relative_margin is not None:
        gone = above_relative_margin(scores[left], positive_scores, config.relative_margin)
        remove("relative margin", gone)
    if config.max_score is not None:
        remove("maximum score", above_maximum(scores[left], config.max_score))
    if config.duplicate_overlap is not None:
        words = [candidates.passages[n].words for n in left]
        positive_words = {passage.words for passage in candidates.known}
        remove(
            "near-duplicate of a positive", near_duplicates(words, positive_words, config.duplicate_overlap)
        )
    keys = [candidates.passages[n].key for n in left]
    remove("repeated text", repeated(keys) | np.array([key in early_texts for key in keys], dtype=bool))
    return left, removed


def _before(ranks: np.ndarray, first_rank: int) -> np.ndarray:
    """Candidates that some search ranks before ``first_rank``: bool [C] of ranks int64 [S, C]."""
    return np.any((ranks > 0) & (ranks < first_rank), axis=0)


def _compares_scores(config: MineConfig) -> bool:
    """Whether a filter looks at scores; if not, only what is kept is rescored."""
    return any(x is not None for x in (config.absolute_margin, config.relative_margin, config.max_score))


def _lines(counts: Mapping[str, int]) -> str:
    """A line for each count.

    >>> print(_lines({"queries": 2, "kept": 1000}))
    queries          2
    kept         1,000
    """
    width = max(map(len, counts))
    return "\n".join(f"{name:<{width}}  {number:>9,}" for name, number in counts.items())
