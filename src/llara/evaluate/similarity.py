"""Similarity of sentence pairs: the correlation of a model's cosines with people's scores.

Data are pairs of sentences with a score (STS Benchmark: 0 to 5), in a file of tab-separated lines, of JSON
lines or in Parquet, with the fields ``sentence1``, ``sentence2`` and ``score``, as MTEB distributes them. A
TSV file without a header holds these three in this order; its cells are taken as they stand, quotes included.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from llara.corpus.readers import JSON_SUFFIXES, read_lines, suffix_of
from llara.corpus.sources import HUB_NAME
from llara.datasets.hub import hub_records
from llara.datasets.jsonl_layouts import Record, json_records
from llara.encode import Role, encode_texts
from llara.errors import InputError, ModelError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "SentencePair",
    "SimilarityResult",
    "correlate",
    "evaluate_similarity",
    "is_similarity_source",
    "read_pairs",
]

FIELDS = ("sentence1", "sentence2", "score")
SUFFIXES = (".tsv", *JSON_SUFFIXES, ".parquet")
_LEAST_PAIRS = 3  # any two points are in perfect correlation


class SentencePair(NamedTuple):
    """Two sentences and how similar people find them; more is more similar."""

    sentence1: str
    sentence2: str
    score: float


@dataclass(frozen=True)
class SimilarityResult:
    """How cosines agree with scores, over ``num_pairs`` pairs.

    ``spearman`` is what the benchmarks report (of ranks; ties have their mean rank), ``interval`` its 95%
    bootstrap interval over pairs, ``pearson`` the linear correlation.
    """

    spearman: float
    pearson: float
    interval: tuple[float, float]
    num_pairs: int


def evaluate_similarity(
    model: SentenceTransformer,
    pairs: Sequence[SentencePair],
    *,
    role_first: Role = "document",
    role_second: Role = "document",
    batch_size: int = 64,
    progress: bool = False,
) -> SimilarityResult:
    """Correlate the cosines of the pairs with their scores.

    Args:
        role_first: the prompt for first sentences; ``role_second`` for second ones. The paper's advice for
            similarity is SELF, the role of documents, for both; then cosine does not depend on the order.

    Raises:
        InputError: there are fewer than three pairs, or all have one score, so that nothing can correlate.
        ModelError: the model gives vectors that are not finite, or every pair the same cosine.
        ConfigError: a role or the batch size is not valid.
    """
    scores = _varied_scores(pairs)
    sides = (
        [(pair.sentence1, role_first) for pair in pairs],
        [(pair.sentence2, role_second) for pair in pairs],
    )
    vector_of: dict[tuple[str, Role], np.ndarray] = {}  # each text is encoded once in each role
    for role in dict.fromkeys((role_first, role_second)):
        keys = list(dict.fromkeys(key for key in chain(*sides) if key[1] == role))
        texts = [text for text, _ in keys]
        vectors = encode_texts(model, texts, role=role, batch_size=batch_size, progress=progress)
        vector_of.update(zip(keys, vectors, strict=True))
    first, second = (np.array([vector_of[key] for key in side], dtype=np.float64) for side in sides)  # [N, D]
    return _correlate(np.einsum("nd,nd->n", first, second), scores)


def correlate(cosines: np.ndarray, pairs: Sequence[SentencePair]) -> SimilarityResult:
    """The correlation of cosines that are known already, float [N], with the scores of the pairs.

    Raises:
        InputError, ModelError: see ``evaluate_similarity``.
    """
    return _correlate(cosines, _varied_scores(pairs))


def read_pairs(source: str | Path, split: str = "test") -> list[SentencePair]:
    """Read sentence pairs from a file, a directory or a Hugging Face data set.

    Of a directory (or its ``data``) those files are read that are named ``<split>.<suffix>``,
    ``<split>-<more>.<suffix>`` or ``<split>.<more>.<suffix>``, all together: ``test.tsv``,
    ``test-00000-of-00001.parquet``, of SemEval's year 2012 ``2012.MSRpar.tsv`` and its other parts. Files
    may be compressed. Another name is one of the Hub, ``owner/name`` or ``owner/name:config``.

    Raises:
        InputError: the source or the split is missing, a line is malformed, a sentence is blank, a score is
            no finite number, or there is no pair.
    """
    pairs = [_pair(where, record) for where, record in _records(source, split)]
    if not pairs:
        raise InputError(f"{source}: holds no sentence pair; expected lines of {', '.join(FIELDS)}")
    return pairs


def is_similarity_source(source: str | Path, split: str = "test") -> bool:
    """Whether a data set is one of sentence pairs: by the fields of its first record.

    A directory is one if any of its files is and it is not in BEIR's layout, whatever its splits: a wrong
    ``split`` is for ``read_pairs`` to explain. A name that is no path here is asked of the Hugging Face Hub.
    """
    path = Path(source)
    if path.is_dir():
        is_beir = (path / "qrels").exists() or any(path.glob("corpus.*"))
        return not is_beir and any(is_similarity_source(file) for file in _files(path))
    if path.exists() and suffix_of(path) not in SUFFIXES:
        return False
    try:
        first = next(_records(source, split), None)
    except InputError:
        return False
    return first is not None and all(field in first[1] for field in FIELDS)


# -- reading


def _pair(where: str, record: Mapping[str, object]) -> SentencePair:
    missing = [field for field in FIELDS if field not in record]
    if missing:
        raise InputError(
            f"{where}: no {' and no '.join(missing)}; the fields here are {', '.join(map(repr, record))}, "
            f"expected {', '.join(FIELDS)}"
        )
    sentence1, sentence2, score = (record[field] for field in FIELDS)
    for name, sentence in (("sentence1", sentence1), ("sentence2", sentence2)):
        if not isinstance(sentence, str) or not sentence.strip():
            raise InputError(f"{where}: {name} is {sentence!r:.80}; expected some words")
    if isinstance(score, bool) or not _is_number(score) or not math.isfinite(number := float(str(score))):
        raise InputError(f"{where}: the score is {score!r:.80}; expected a finite number, such as 3.5")
    return SentencePair(str(sentence1), str(sentence2), number)


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _records(source: str | Path, split: str) -> Iterator[Record]:
    path = Path(source)
    if path.is_dir():
        for file in _files_of_split(path, split):
            yield from _file_records(file)
        return
    name = HUB_NAME.fullmatch(str(source))
    if path.exists() or name is None or suffix_of(path) in SUFFIXES:
        yield from _file_records(path)
        return
    yield from hub_records(name["name"], name["config"], split)


def _files(folder: Path) -> list[Path]:
    found = [file for place in (folder, folder / "data") if place.is_dir() for file in place.iterdir()]
    return sorted(file for file in found if suffix_of(file) in SUFFIXES and file.is_file())


def _files_of_split(folder: Path, split: str) -> list[Path]:
    by_split: dict[str, list[Path]] = {}
    for file in _files(folder):
        by_split.setdefault(file.name.partition(".")[0].partition("-")[0], []).append(file)
    if split not in by_split:
        splits = ", ".join(sorted(by_split)) or "none"
        raise InputError(f"{folder}: no split {split!r} of sentence pairs; the splits there are: {splits}")
    return by_split[split]


def _file_records(path: Path) -> Iterator[Record]:
    if suffix_of(path) == ".tsv":
        return _tsv_records(path)
    if suffix_of(path) == ".parquet":
        return _parquet_records(path)
    if suffix_of(path) in JSON_SUFFIXES:
        return json_records(path)
    raise InputError(f"{path}: sentence pairs are read from {', '.join(SUFFIXES)}; expected one of these")


def _tsv_records(path: Path) -> Iterator[Record]:
    columns: list[str] = []
    for where, line in read_lines(path):
        if not line.strip():
            continue
        cells = line.split("\t")
        if not columns:
            if set(FIELDS) <= set(cells):
                columns = cells
                continue
            if len(cells) != 3 or not _is_number(cells[2]):
                raise InputError(
                    f"{where}: {line[:80]!r} is no sentence pair; expected a header that names "
                    f"{', '.join(FIELDS)}, or these three without a header, tab-separated"
                )
            columns = list(FIELDS)
        if len(cells) != len(columns):
            raise InputError(
                f"{where}: {len(cells)} tab-separated columns; expected {len(columns)} ({', '.join(columns)})"
            )
        yield where, dict(zip(columns, cells, strict=True))


def _parquet_records(path: Path) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error}); the file may be missing or damaged") from error
    for number, row in enumerate(rows, start=1):
        yield f"{path}:{number}", row


# -- statistics


def _varied_scores(pairs: Sequence[SentencePair]) -> np.ndarray:
    scores = np.array([pair.score for pair in pairs])  # [N]
    if len(pairs) < _LEAST_PAIRS:
        raise InputError(f"{len(pairs)} sentence pairs; a correlation needs at least {_LEAST_PAIRS}")
    if np.ptp(scores) == 0:
        raise InputError(f"all {len(pairs)} pairs have the score {scores[0]:g}; expected different ones")
    return scores


def _correlate(cosines: np.ndarray, scores: np.ndarray) -> SimilarityResult:
    from scipy import stats  # type: ignore[import-untyped]

    if np.ptp(cosines) == 0:
        raise ModelError(
            f"the model gives all {len(scores)} pairs the cosine {cosines[0]:.4g}; is it broken?"
        )
    return SimilarityResult(
        spearman=float(stats.spearmanr(cosines, scores).statistic),
        pearson=float(stats.pearsonr(cosines, scores).statistic),
        interval=_spearman_interval(cosines, scores),
        num_pairs=len(scores),
    )


def _spearman_interval(
    cosines: np.ndarray, scores: np.ndarray, *, level: float = 0.95, num_rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The percentile bootstrap interval of Spearman's correlation of two float64 [N] over their pairs."""
    from scipy import stats

    generator = np.random.default_rng(seed)
    found = []
    for _ in range(num_rounds):
        drawn = generator.integers(0, len(scores), size=len(scores))
        ranks = stats.rankdata([cosines[drawn], scores[drawn]], axis=1)  # [2, N]
        if np.all(np.ptp(ranks, axis=1) > 0):  # otherwise all drawn are equal: no correlation to speak of
            found.append(np.corrcoef(ranks)[0, 1])
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
