"""Sentence pairs: correlations against scipy over cosines by hand, and every layout that they come in."""

import gzip
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats  # type: ignore[import-untyped]

from llara.datasets import Collection, write_beir
from llara.errors import ConfigError, InputError
from llara.evaluate.similarity import SentencePair, evaluate_similarity, is_similarity_source, read_pairs

PAIRS = [
    SentencePair("wing of a slab", "slipstream wing", 4.5),
    SentencePair("heat", 'the "heat" nozzle', 3),
    SentencePair("flow", "shear flow", 0.25),
]
HEADER = "sentence1\tsentence2\tscore"


def lines(pairs):
    return [f"{pair.sentence1}\t{pair.sentence2}\t{pair.score:g}" for pair in pairs]


def records(pairs):
    return [pair._asdict() for pair in pairs]


@pytest.fixture(scope="module")
def scored(retriever):
    """Sixty pairs, several of one sentence twice, with scores that go with nothing."""
    generator = np.random.default_rng(3)

    def text():
        return " ".join(generator.choice(retriever.words[2:], size=3))

    pairs = [SentencePair(text(), text(), float(generator.integers(0, 6))) for _ in range(57)]
    return [*pairs, *(SentencePair(pair.sentence1, pair.sentence1, 5.0) for pair in pairs[:3])]


@pytest.mark.parametrize("role_first", ["document", "query"])
@pytest.mark.parametrize("role_second", ["document", "query"])
def test_the_correlation_is_that_of_cosines_in_the_roles_asked_for(
    retriever, scored, role_first, role_second
):
    first = retriever.expected([pair.sentence1 for pair in scored], role_first)
    second = retriever.expected([pair.sentence2 for pair in scored], role_second)
    cosines, scores = (first * second).sum(axis=1), [pair.score for pair in scored]
    result = evaluate_similarity(retriever.model, scored, role_first=role_first, role_second=role_second)
    assert result.pearson == pytest.approx(stats.pearsonr(cosines, scores).statistic, abs=1e-5)
    # float32 vectors may swap cosines that are equal on paper
    assert result.spearman == pytest.approx(stats.spearmanr(cosines, scores).statistic, abs=1e-3)
    assert result.num_pairs == 60


def test_the_interval_is_that_of_resampled_pairs(retriever, scored):
    first, second = (retriever.expected([pair[side] for pair in scored], "document") for side in (0, 1))
    cosines, scores = (first * second).sum(axis=1), np.array([pair.score for pair in scored])
    expected = stats.bootstrap(
        (cosines, scores),
        lambda a, b: stats.spearmanr(a, b).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    result = evaluate_similarity(retriever.model, scored)
    # 2.5% quantiles of 1,000 draws with a standard deviation of 0.13 are known to about 0.02
    assert result.interval == pytest.approx((expected.low, expected.high), abs=0.05)
    assert result == evaluate_similarity(retriever.model, scored)
    assert result.interval[0] < result.spearman < result.interval[1]


def test_what_cannot_correlate_is_refused(retriever):
    with pytest.raises(InputError, match="2 sentence pairs"):
        evaluate_similarity(retriever.model, PAIRS[:2])
    with pytest.raises(InputError, match="all 3 pairs have the score 2"):
        evaluate_similarity(retriever.model, [pair._replace(score=2.0) for pair in PAIRS])
    with pytest.raises(ConfigError, match="passage"):
        evaluate_similarity(retriever.model, PAIRS, role_first="passage")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "layout", ["header.tsv", "plain.tsv", "pairs.tsv.gz", "pairs.jsonl", "pairs.parquet"]
)
def test_every_layout_gives_the_same_pairs(tmp_path, layout):
    path = tmp_path / layout
    if layout.endswith(".jsonl"):
        path.write_text("".join(json.dumps({"split": "test", **record}) + "\n" for record in records(PAIRS)))
    elif layout.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(records(PAIRS)), path)
    else:
        text = "\n".join([HEADER, *lines(PAIRS)] if layout != "plain.tsv" else lines(PAIRS))
        content = f"{text}\n\n".encode()
        path.write_bytes(gzip.compress(content) if layout.endswith(".gz") else content)
    assert read_pairs(path) == PAIRS
    assert is_similarity_source(path)


def test_columns_are_taken_by_the_header_and_cells_as_they_stand(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text('genre\tscore\tsentence2\tsentence1\nnews\t2\t"b"\t"a ""quoted"" one"\n')
    assert read_pairs(path) == [SentencePair('"a ""quoted"" one"', '"b"', 2.0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a\tb\tnan", "the score is 'nan'"),
        ("a\tb\tinf", "the score is 'inf'"),
        ("a\tb\thigh", "the score is 'high'"),
        ("a\tb", "2 tab-separated columns; expected 3"),
        ("a\tb\t3\t4", "4 tab-separated columns"),
        ("a\t \t3", "sentence2 is ' '"),
    ],
)
def test_a_bad_line_is_named_with_its_place(tmp_path, line, message):
    path = tmp_path / "pairs.tsv"
    path.write_text(f"{HEADER}\nx\ty\t1\n{line}\n")
    with pytest.raises(InputError, match=f"pairs.tsv:3: {message}"):
        read_pairs(path)
    assert is_similarity_source(path)


@pytest.mark.parametrize(("score", "shown"), [(math.nan, "nan"), (None, "None"), (True, "True")])
def test_a_score_in_json_is_a_finite_number(tmp_path, score, shown):
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps({"sentence1": "a", "sentence2": "b", "score": score}) + "\n")
    with pytest.raises(InputError, match=f"pairs.jsonl:1: the score is {shown}"):
        read_pairs(path)
    assert is_similarity_source(path)


def test_files_that_hold_no_pairs_are_told(tmp_path):
    (tmp_path / "empty.tsv").write_text(HEADER + "\n")
    with pytest.raises(InputError, match="no sentence pair"):
        read_pairs(tmp_path / "empty.tsv")
    (tmp_path / "queries.tsv").write_text("q1\twhat stalls a wing\n")
    with pytest.raises(InputError, match=r"queries.tsv:1: .* no sentence pair"):
        read_pairs(tmp_path / "queries.tsv")
    (tmp_path / "scores.jsonl").write_text('{"sentence1": "a", "sentence2": "b", "label": 1}\n')
    with pytest.raises(InputError, match=r"scores.jsonl:1: no score"):
        read_pairs(tmp_path / "scores.jsonl")
    (tmp_path / "broken.parquet").write_text("PAR1")
    with pytest.raises(InputError, match=r"broken.parquet"):
        read_pairs(tmp_path / "broken.parquet")
    with pytest.raises(InputError, match="no such file"):
        read_pairs(tmp_path / "absent.tsv")
    for path in tmp_path.iterdir():
        assert not is_similarity_source(path)
    assert not is_similarity_source(tmp_path / "absent.tsv")


def test_a_directory_gives_the_files_of_a_split(tmp_path):
    (tmp_path / "dev.tsv").write_text("\n".join([HEADER, *lines(PAIRS[:1])]))
    (tmp_path / "2012.b.tsv").write_text("\n".join(lines(PAIRS[2:])))
    (tmp_path / "2012.a.tsv").write_text("\n".join(lines(PAIRS[:2])))
    (tmp_path / "README.md").write_text("About.")
    (tmp_path / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(records(PAIRS)), tmp_path / "data" / "test-00000-of-00001.parquet")
    assert read_pairs(tmp_path) == read_pairs(tmp_path, "2012") == PAIRS
    assert read_pairs(tmp_path, "dev") == PAIRS[:1]
    with pytest.raises(InputError, match=r"no split 'train' .* 2012, dev, test"):
        read_pairs(tmp_path, "train")
    assert is_similarity_source(tmp_path)
    assert is_similarity_source(tmp_path, "train")  # what is wrong is the split


def test_a_retrieval_collection_is_none_of_pairs(tmp_path):
    from llara.corpus import Document

    collection = Collection("x", {"d": Document("d", "wing")}, {"q": "wing"}, {"q": {"d": 1}})
    write_beir(tmp_path / "beir", {"test": collection})
    assert not is_similarity_source(tmp_path / "beir")
    assert not is_similarity_source(tmp_path)
    assert not is_similarity_source("beir/scifact/test")
    assert not is_similarity_source("owner/name")  # the hub cannot be reached, or has no such data set
