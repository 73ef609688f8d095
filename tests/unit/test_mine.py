"""Mining as a whole: against plain loops, against sentence-transformers, and what it must not depend on."""

import json
import random
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from mining import PASSAGES, QRELS, QUERIES, SOURCES, check_sum, negatives_of, write_beir
from sentence_transformers import SentenceTransformer

from llara.config import MineConfig
from llara.datasets import read_training
from llara.mine import mine


@pytest.fixture
def beir(tmp_path):
    return write_beir(tmp_path / "beir")


# -- the whole of it


def test_the_shipped_model_mines_what_plain_loops_find(beir, tmp_path):
    config = MineConfig(negatives=3, first_rank=2, last_rank=6, sampling="top", relative_margin=0.3)
    result = mine(model="llara-mini", data=[beir], out=tmp_path / "out.jsonl", config=config)

    from llara.model import resolve

    model = SentenceTransformer(resolve("llara-mini"), device="cpu", model_kwargs={"dtype": torch.float32})
    ids = list(PASSAGES)
    passages = dict(zip(ids, model.encode_document(list(PASSAGES.values())).astype(float), strict=True))
    queries = dict(zip(QUERIES, model.encode_query(list(QUERIES.values())).astype(float), strict=True))
    removed_by_margin = 0
    found = {example.query_id: example for example in read_training(result.out)}
    for query, vector in queries.items():
        score = {id_: float(vector @ passages[id_]) for id_ in ids}
        lowest = min(score[id_] for id_ in QRELS[query])
        window = sorted((i for i in ids if i not in QRELS[query]), key=lambda i: -score[i])[1:6]
        left = [i for i in window if score[i] <= lowest - 0.3 * abs(lowest)]
        removed_by_margin += len(window) - len(left)
        expected = [i for i in left if not (query == "q1" and i == "p1")]  # the words of p0
        kept, texts = [], set()
        for id_ in expected:
            text = " ".join(PASSAGES[id_].lower().split())
            if text not in texts:
                kept.append(id_)
            texts.add(text)
        assert [d.id for d in found[query].negatives] == kept[:3], query
        assert found[query].negative_scores == pytest.approx([score[i] for i in kept[:3]], abs=1e-5)
        assert found[query].positive_scores == pytest.approx([score[i] for i in QRELS[query]], abs=1e-5)
    assert result.counts["relative margin"] == removed_by_margin > 0
    assert result.counts["before first_rank"] == result.counts["queries"] == result.queries == 4
    check_sum(result.counts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beir", "out.jsonl", "out.mining.json"]


CONFIGS = [
    MineConfig(negatives=3),
    MineConfig(negatives=3, source="mixed", sampling="top"),
    MineConfig(negatives=2, source="bm25", absolute_margin=0.0),
    MineConfig(negatives=4, source="mixed", bm25_share=0.3, first_rank=2, last_rank=7, max_score=0.9),
    MineConfig(negatives=30, relative_margin=0.0, duplicate_overlap=None),
    MineConfig(negatives=3, duplicate_overlap=0.3, absolute_margin=0.05, relative_margin=0.1, max_score=0.8),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_candidate_is_counted_once(retriever, beir, tmp_path, config):
    result = mine(model=str(retriever.path), data=[beir], out=tmp_path / "o.jsonl", config=config)
    check_sum(result.counts)
    found = negatives_of(result.out)
    assert result.counts["kept"] == sum(map(len, found.values()))
    sizes = [len(found[query]) for query in QUERIES]
    assert result.counts["queries with fewer than asked"] == sum(n < config.negatives for n in sizes)
    assert result.counts["queries with none"] == sizes.count(0)
    for query, ids in found.items():
        assert len(set(ids)) == len(ids)
        assert not set(ids) & set(QRELS[query])


@pytest.mark.parametrize("config", CONFIGS)
def test_a_run_is_repeated_to_the_byte(retriever, beir, tmp_path, config):
    for name in ("a.jsonl", "b.jsonl"):
        mine(model=str(retriever.path), data=[beir], out=tmp_path / name, config=config)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize("source", SOURCES)
def test_what_a_query_draws_does_not_depend_on_the_others(retriever, tmp_path, source):
    config = MineConfig(negatives=2, source=source)
    orders = [list(QUERIES), list(reversed(QUERIES)), ["q3", "q1"], ["q1"]]
    found = []
    for number, order in enumerate(orders):
        folder = write_beir(tmp_path / str(number), queries={query: QUERIES[query] for query in order})
        out = tmp_path / f"{number}.jsonl"
        mine(model=str(retriever.path), data=[folder], out=out, config=config)
        found.append(negatives_of(out))
        assert list(found[-1]) == order
    for other in found[1:]:
        assert other == {query: found[0][query] for query in other}


def test_another_seed_draws_others(retriever, beir, tmp_path):
    found = []
    for seed in (1, 2):
        out = tmp_path / f"{seed}.jsonl"
        mine(model=str(retriever.path), data=[beir], out=out, config=MineConfig(negatives=3, seed=seed))
        found.append(negatives_of(out))
    assert found[0] != found[1]


def test_what_was_done_stands_beside_the_output(retriever, beir, tmp_path):
    from llara.model import fingerprint

    result = mine(
        model=str(retriever.path), data=[beir], out=tmp_path / "o.jsonl", config=MineConfig(negatives=1)
    )
    facts = json.loads((tmp_path / "o.mining.json").read_text())
    assert facts["counts"] == result.counts
    assert facts["settings"]["negatives"] == 1
    assert facts["fingerprint"] == fingerprint(retriever.path)
    assert (facts["data"], facts["split"], facts["model"]) == ([str(beir)], "train", str(retriever.path))
    assert "kept" in str(result)
    assert "4" in str(result).splitlines()[0]


# -- sentence-transformers' own


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"last_rank": 6}, {"range_max": 6}),
        ({"first_rank": 3, "last_rank": 7}, {"range_min": 2, "range_max": 7}),
        ({"absolute_margin": 0.2}, {"absolute_margin": 0.2}),
        ({"relative_margin": 0.3}, {"relative_margin": 0.3}),
        ({"max_score": 0.4}, {"max_score": 0.4}),
        (
            {"absolute_margin": 0.1, "relative_margin": 0.2, "max_score": 0.5},
            {"absolute_margin": 0.1, "relative_margin": 0.2, "max_score": 0.5},
        ),
    ],
)
def test_negatives_are_those_of_sentence_transformers_where_both_can_mine_them(
    retriever, tmp_path, ours, theirs
):
    datasets = pytest.importorskip("datasets")
    from sentence_transformers.util import mine_hard_negatives

    words = retriever.words[2:9]
    passages = {f"p{n}": " ".join(pair) for n, pair in enumerate(combinations(words, 2))}
    queries = {f"q{n}": " ".join(three) for n, three in enumerate(list(combinations(words, 3))[::5])}
    # The positive: the passage of a query's first two words.
    texts = list(passages.values())
    qrels = {q: [f"p{texts.index(' '.join(text.split()[:2]))}"] for q, text in queries.items()}
    folder = write_beir(tmp_path / "beir", queries=queries, passages=passages, qrels=qrels)
    config = MineConfig(**{"negatives": 4, "sampling": "top", "duplicate_overlap": None, **ours})
    found = negatives_of(
        mine(model=str(retriever.path), data=[folder], out=tmp_path / "o.jsonl", config=config).out
    )
    pairs = datasets.Dataset.from_dict(
        {"query": list(queries.values()), "passage": [passages[qrels[query][0]] for query in queries]}
    )
    rows = mine_hard_negatives(
        pairs,
        retriever.model,
        corpus=texts,
        num_negatives=4,
        sampling_strategy="top",
        output_format="labeled-list",
        verbose=False,
        **{"range_max": len(texts), **theirs},
    )
    expected = {row["query"]: row["passage"][1:] for row in rows}
    assert len(queries) >= 5
    for query, text in queries.items():
        assert [passages[id_] for id_ in found[query]] == expected[text], text


# -- BM25 and mixed


def test_bm25_needs_no_model(beir, tmp_path):
    config = MineConfig(source="bm25", negatives=2, sampling="top")
    result = mine(model=None, data=[beir], out=tmp_path / "o.jsonl", config=config)
    examples = {example.query_id: example for example in read_training(result.out)}
    # Of q4 only "telescope" is in other passages: p8 and its copy p11. Of q3 only "nozzle", in p6.
    assert [d.id for d in examples["q4"].negatives] == ["p8"]
    assert (result.counts["repeated text"], result.counts["queries with fewer than asked"]) == (1, 2)
    assert examples["q4"].negative_scores is not None
    assert examples["q4"].negative_scores[0] > 0
    assert examples["q4"].positive_scores is not None
    assert json.loads((tmp_path / "o.mining.json").read_text())["fingerprint"] is None


def test_margins_on_bm25_candidates_are_of_the_models_scores(retriever, beir, tmp_path):
    config = MineConfig(source="bm25", negatives=9, absolute_margin=0.0, duplicate_overlap=None)
    out = mine(model=str(retriever.path), data=[beir], out=tmp_path / "o.jsonl", config=config).out
    every = mine(
        model=None,
        data=[beir],
        out=tmp_path / "all.jsonl",
        config=MineConfig(source="bm25", negatives=9, duplicate_overlap=None),
    ).out
    vectors = dict(zip(PASSAGES, retriever.expected(list(PASSAGES.values()), "document"), strict=True))
    queries = dict(zip(QUERIES, retriever.expected(list(QUERIES.values()), "query"), strict=True))
    found, candidates = negatives_of(out), negatives_of(every)
    for query, vector in queries.items():
        lowest = min(vector @ vectors[id_] for id_ in QRELS[query])
        # A distance of 1e-6 on either side is float32's.
        sure = {id_ for id_ in candidates[query] if vector @ vectors[id_] < lowest - 1e-6}
        unsure = {id_ for id_ in candidates[query] if abs(vector @ vectors[id_] - lowest) <= 1e-6}
        assert sure <= set(found[query]) <= sure | unsure
    assert sum(map(len, found.values())) < sum(map(len, candidates.values()))


def test_mixed_takes_the_share_of_each_search(retriever, tmp_path):
    generator = random.Random(5)
    words = retriever.words[2:9]
    passages = {f"p{n}": " ".join(generator.choices(words, k=5)) for n in range(80)}
    queries = {f"q{n}": f"{words[n]} {words[n + 1]}" for n in range(5)}
    folder = write_beir(
        tmp_path / "b",
        queries=queries,
        passages=passages,
        qrels={q: [f"p{n}"] for n, q in enumerate(queries)},
    )
    found = {}
    config = MineConfig(negatives=8, last_rank=20, bm25_share=0.25, sampling="top")
    for source in SOURCES:
        out = tmp_path / f"{source}.jsonl"
        mine(model=str(retriever.path), data=[folder], out=out, config=replace(config, source=source))
        found[source] = negatives_of(out)
    for query in queries:
        bm25 = found["bm25"][query][:2]
        dense = [id_ for id_ in found["dense"][query] if id_ not in bm25][:6]
        assert set(found["mixed"][query]) == {*bm25, *dense}


def test_the_other_search_fills_up_where_one_runs_short(retriever, beir, tmp_path):
    config = MineConfig(source="mixed", negatives=6, bm25_share=1.0, duplicate_overlap=None)
    found = negatives_of(
        mine(model=str(retriever.path), data=[beir], out=tmp_path / "o.jsonl", config=config).out
    )
    assert {len(ids) for ids in found.values()} == {6}  # BM25 finds one passage for q4
    assert "p8" in found["q4"] or "p11" in found["q4"]


def test_a_passage_that_either_search_ranks_too_high_is_left_out(retriever, beir, tmp_path):
    tops = []
    for source in SOURCES[:2]:
        out = tmp_path / f"{source}.jsonl"
        mine(
            model=str(retriever.path),
            data=[beir],
            out=out,
            config=MineConfig(source=source, negatives=1, sampling="top", duplicate_overlap=None),
        )
        tops.append(negatives_of(out))
    config = MineConfig(source="mixed", negatives=12, first_rank=2, duplicate_overlap=None)
    found = negatives_of(
        mine(model=str(retriever.path), data=[beir], out=tmp_path / "o.jsonl", config=config).out
    )
    for query in QUERIES:
        assert not {*tops[0][query], *tops[1][query]} & set(found[query])
