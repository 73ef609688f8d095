"""Mining as a whole: against plain loops, against sentence-transformers, and what it must not depend on."""

import json
import random
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from sentence_transformers import SentenceTransformer

from llara.config import MineConfig
from llara.corpus import Document
from llara.datasets import TrainingExample, read_training, write_training
from llara.encode import encode_file
from llara.errors import ConfigError, InputError, ModelError, OutputError
from llara.indexes import build_index, delete_from_index
from llara.mine import mine
from llara.mine.filters import REASONS

QUERIES = {
    "q1": "what makes a wing stall",
    "q2": "heat flow through a slab",
    "q3": "shape of a rocket nozzle",
    "q4": "who invented the telescope",
}
PASSAGES = {
    "p0": "a wing stalls when the flow leaves its upper side",
    "p1": "A wing stalls, when the flow leaves its upper  side.",
    "p2": "the lift of a wing grows with its angle until it stalls",
    "p3": "heat flows through a slab from its warm to its cold side",
    "p4": "the heat that flows through a slab grows with the difference of temperature",
    "p5": "a rocket nozzle narrows and widens again",
    "p6": "the throat of a nozzle is where the flow reaches the speed of sound",
    "p7": "a dutch maker of spectacles asked for a patent of the telescope",
    "p8": "galileo pointed a telescope at jupiter",
    "p9": "bread rises because yeast makes gas",
    "p10": "the slipstream of a propeller hits the wing behind it",
    "p11": "galileo  pointed a Telescope at Jupiter",
}
SOURCES: list[Literal["dense", "bm25", "mixed"]] = ["dense", "bm25", "mixed"]
QRELS = {"q1": ["p0"], "q2": ["p3", "p4"], "q3": ["p5"], "q4": ["p7"]}


def write_beir(folder, *, queries=QUERIES, passages=PASSAGES, qrels=QRELS):
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", passages), ("queries", queries)):
        lines = [json.dumps({"_id": id_, "title": "", "text": text}) + "\n" for id_, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("".join(lines))
    rows = [f"{query}\t{passage}\t1\n" for query in queries for passage in qrels[query]]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(rows))
    return folder


@pytest.fixture
def beir(tmp_path):
    return write_beir(tmp_path / "beir")


def negatives_of(path):
    return {example.query_id: [d.id for d in example.negatives] for example in read_training(path)}


def check_sum(counts):
    removed = sum(counts[reason] for reason in REASONS)
    assert counts["candidates"] == removed + counts["outside the sample"] + counts["kept"]


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


# -- rescoring


class Rescorer:
    """Scores a passage by its length, negated, and remembers what it was asked."""

    def __init__(self):
        self.pairs = []

    def __call__(self, pairs):
        self.pairs += pairs
        return [-float(len(passage)) for _, passage in pairs]


def test_a_rescorer_gives_the_scores_that_filters_see_and_that_are_written(retriever, beir, tmp_path):
    config = MineConfig(negatives=12, absolute_margin=10, sampling="top", duplicate_overlap=None)
    out = mine(
        model=str(retriever.path), data=[beir], out=tmp_path / "o.jsonl", config=config, rescorer=Rescorer()
    ).out
    for example in read_training(out):
        lengths = [len(PASSAGES[id_]) for id_ in QRELS[example.query_id]]
        assert example.positive_scores == tuple(-float(length) for length in lengths)
        expected = {i for i, text in PASSAGES.items() if len(text) >= max(lengths) + 10}
        expected -= set(QRELS[example.query_id])
        assert {d.id for d in example.negatives} == expected
        assert (example.negative_scores or ()) == tuple(-float(len(d.text)) for d in example.negatives)


def test_without_a_filter_on_scores_only_what_is_kept_is_rescored(beir, tmp_path):
    rescorer = Rescorer()
    config = MineConfig(source="bm25", negatives=1)
    out = mine(model=None, data=[beir], out=tmp_path / "o.jsonl", config=config, rescorer=rescorer).out
    assert len(rescorer.pairs) == 5 + sum(map(len, negatives_of(out).values()))
    assert rescorer.pairs[0] == (QUERIES["q1"], PASSAGES["p0"])
    for example in read_training(out):
        assert (example.negative_scores or ()) == tuple(-float(len(d.text)) for d in example.negatives)


def test_a_cross_encoder_is_loaded_by_name(beir, tmp_path):
    from sentence_transformers import CrossEncoder

    path = tiny_cross_encoder(tmp_path / "encoder")
    config = MineConfig(source="bm25", negatives=2, rescorer=str(path))
    out = mine(model=None, data=[beir], out=tmp_path / "o.jsonl", config=config).out
    encoder = CrossEncoder(str(path))
    for example in read_training(out):
        pairs = [(example.query, document.text) for document in example.positives]
        assert example.positive_scores == pytest.approx(encoder.predict(pairs).tolist(), abs=1e-5)


def tiny_cross_encoder(path, labels=1):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({w for t in PASSAGES.values() for w in t.split()})]
    tokenizer = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", model_max_length=64
    ).save_pretrained(path)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    config.num_labels = labels
    BertForSequenceClassification(config).save_pretrained(path)
    return path


def test_a_cross_encoder_that_is_missing_or_classifies_is_a_model_error(beir, tmp_path):
    tiny_cross_encoder(tmp_path / "three", labels=3)
    for name, message in ((str(tmp_path / "none"), "cross-encoder"), (str(tmp_path / "three"), "3 numbers")):
        config = MineConfig(source="bm25", rescorer=name)
        with pytest.raises(ModelError, match=message):
            mine(model=None, data=[beir], out=tmp_path / "o.jsonl", config=config)


@pytest.mark.parametrize("scores", [[1.0], [float("nan")] * 3, [[1.0, 2.0]] * 3])
def test_a_rescorer_must_give_one_finite_number_a_pair(beir, tmp_path, scores):
    config = MineConfig(source="bm25")
    with pytest.raises(ModelError, match="rescorer"):
        mine(model=None, data=[beir], out=tmp_path / "o.jsonl", config=config, rescorer=lambda _: scores)


# -- duplicates and known positives


def test_texts_of_positives_and_their_near_duplicates_are_no_negatives(retriever, tmp_path):
    passages = {
        "p": "the flow of heat",
        "same": " The flow of HEAT",
        "near": "of heat: the flow",
        "less": "the flow of heat a slab",
        "other": "a wing",
        "again": "A  wing",
    }
    folder = write_beir(tmp_path / "b", queries={"q": "heat"}, passages=passages, qrels={"q": ["p"]})
    result = mine(
        model=str(retriever.path), data=[folder], out=tmp_path / "o.jsonl", config=MineConfig(negatives=5)
    )
    (ids,) = negatives_of(result.out).values()
    assert "less" in ids  # 4 of 6 words
    assert len({"other", "again"} & set(ids)) == 1
    assert result.counts["known positive"] == 2
    assert result.counts["near-duplicate of a positive"] == 1
    assert result.counts["repeated text"] == 1
    assert result.counts["kept"] == 2


def test_ranks_are_counted_without_known_positives_however_many_come_first(retriever, tmp_path):
    copies = {f"c{n:02}": "the flow of heat" for n in range(60)}
    others = {f"o{n}": f"the flow of a {word}" for n, word in enumerate(["wing", "slab", "nozzle", "shear"])}
    folder = write_beir(
        tmp_path / "b",
        queries={"q": "the flow of heat"},
        passages={**copies, **others},
        qrels={"q": ["c07"]},
    )
    result = mine(
        model=str(retriever.path),
        data=[folder],
        out=tmp_path / "o.jsonl",
        config=MineConfig(negatives=3, last_rank=3),
    )
    assert (result.counts["known positive"], result.counts["kept"]) == (60, 3)
    check_sum(result.counts)


# -- sources


@pytest.fixture
def tevatron(tmp_path):
    """A file of whole texts; its titles belong to the vectors."""
    passages = [Document(f"d{n}", text, f"title {n}") for n, text in enumerate(PASSAGES.values())]
    examples = [
        TrainingExample("t1", "wing stall", (passages[0],), (passages[2], passages[9])),
        TrainingExample("t2", "heat of a slab", (passages[3],), (passages[8], passages[9])),
    ]
    path = tmp_path / "training.jsonl"
    write_training(path, examples)
    return path


def test_of_a_file_its_own_passages_are_searched(retriever, tevatron, tmp_path):
    out = mine(model=str(retriever.path), data=[tevatron], out=tmp_path / "o.jsonl", config=MineConfig()).out
    found = negatives_of(out)
    assert {query: set(ids) for query, ids in found.items()} == {
        "t1": {"d2", "d3", "d8", "d9"},
        "t2": {"d0", "d2", "d8", "d9"},
    }
    (example, *_) = read_training(out)
    assert example.positives == (Document("d0", PASSAGES["p0"], "title 0"),)


def test_positives_that_are_not_in_the_corpus_are_scored_all_the_same(retriever, tevatron, beir, tmp_path):
    out = mine(
        model=str(retriever.path), data=[tevatron], corpus=beir, out=tmp_path / "o.jsonl", config=MineConfig()
    ).out
    for example in read_training(out):
        assert {document.id[0] for document in example.negatives} == {"p"}
        (query,) = retriever.expected([example.query], "query")
        (positive,) = example.positives
        (vector,) = retriever.expected([f"{positive.title} {positive.text}"], "document")
        assert example.positive_scores == pytest.approx([query @ vector], abs=1e-6)


def test_an_index_is_searched_in_place_of_the_corpus(retriever, beir, tmp_path):
    encode_file(str(retriever.path), beir, tmp_path / "vectors", role="document", title_separator=": ")
    found = []
    for name, kind in (("exact", "exact"), ("hnsw", "hnsw"), ("ivf-flat", "ivf-flat"), ("none", None)):
        index = None if kind is None else build_index(tmp_path / "vectors", tmp_path / kind, kind=kind)  # type: ignore[arg-type]
        out = tmp_path / f"{name}.jsonl"
        mine(model=str(retriever.path), data=[beir], out=out, config=MineConfig(negatives=4), index=index)
        found.append(negatives_of(out))
    assert found[0] == found[1] == found[2] == found[3]
    facts = json.loads((tmp_path / "exact.mining.json").read_text())
    assert (facts["index"], facts["title_separator"]) == (str(tmp_path / "exact"), ": ")


def test_what_was_deleted_from_an_index_is_no_negative(retriever, beir, tmp_path):
    encode_file(str(retriever.path), beir, tmp_path / "vectors", role="document")
    index = build_index(tmp_path / "vectors", tmp_path / "index")
    options: dict[str, Any] = {"model": str(retriever.path), "data": [beir], "index": index}
    mine(**options, out=tmp_path / "before.jsonl", config=MineConfig(negatives=4))
    before = negatives_of(tmp_path / "before.jsonl")
    gone = next(id_ for ids in before.values() for id_ in ids)
    delete_from_index(index, [gone])
    mine(**options, out=tmp_path / "after.jsonl", config=MineConfig(negatives=4))
    assert all(gone not in ids for ids in negatives_of(tmp_path / "after.jsonl").values())
    with pytest.raises(InputError, match=r"1 documents that were deleted.*source=dense"):
        mine(**options, out=tmp_path / "mixed.jsonl", config=MineConfig(source="mixed"))


def test_an_index_of_another_model_is_refused(retriever, other_retriever, beir, tmp_path):
    encode_file(str(other_retriever.path), beir, tmp_path / "vectors", role="document")
    index = build_index(tmp_path / "vectors", tmp_path / "index")
    with pytest.raises(ModelError, match="cannot be compared"):
        mine(
            model=str(retriever.path), data=[beir], out=tmp_path / "o.jsonl", config=MineConfig(), index=index
        )


def test_ms_marcos_whole_collection_is_searched(tmp_path):
    folder = tmp_path / "msmarco"
    folder.mkdir()
    rows = [f"{id_}\t{text}\n" for id_, text in PASSAGES.items()]
    (folder / "collection.tsv").write_text("".join(rows))
    (folder / "queries.train.tsv").write_text("".join(f"{id_}\t{text}\n" for id_, text in QUERIES.items()))
    (folder / "qrels.train.tsv").write_text("q1\t0\tp0\t1\n")
    out = mine(
        model=None,
        data=[folder],
        out=tmp_path / "o.jsonl",
        config=MineConfig(source="bm25", negatives=1, sampling="top", duplicate_overlap=None),
    ).out
    (ids,) = negatives_of(out).values()
    assert set(ids) <= set(PASSAGES) - {"p0"}
    assert len(ids) == 1


def test_every_source_is_searched_for_its_own_queries(beir, tmp_path):
    other = write_beir(
        tmp_path / "other",
        queries={"x1": "telescope"},
        passages={"p7": "a telescope of glass", "p8": "two telescopes"},
        qrels={"x1": ["p7"]},
    )
    config = MineConfig(source="bm25", negatives=1, sampling="top")
    result = mine(model=None, data=[beir, other], out=tmp_path / "o.jsonl", config=config)
    found = {example.query_id: example for example in read_training(result.out)}
    assert [d.text for d in found["q4"].negatives] == [PASSAGES["p8"]]
    assert [d.text for d in found["x1"].negatives] == ["two telescopes"]
    assert result.counts["queries"] == result.report.queries == 5


def test_one_query_id_in_two_sources_is_refused(beir, tmp_path):
    with pytest.raises(InputError, match="'q1' is in another source"):
        mine(model=None, data=[beir, beir], out=tmp_path / "o.jsonl", config=MineConfig(source="bm25"))
    assert [path.name for path in tmp_path.iterdir()] == ["beir"]


# -- errors


def test_what_cannot_be_mined_is_refused_and_leaves_nothing(retriever, beir, tmp_path):
    name = str(retriever.path)
    cases: list[tuple[type[Exception], str, dict[str, object]]] = [
        (ConfigError, "a model and none is named", {"model": None}),
        (ConfigError, "no data", {"data": []}),
        (ConfigError, "name one", {"corpus": beir, "index": tmp_path / "index"}),
        (ModelError, "no model", {"model": str(tmp_path / "none")}),
        (InputError, "no such file", {"data": [tmp_path / "none.jsonl"]}),
        (InputError, "first_rank = 13.*12 passages", {"config": MineConfig(first_rank=13)}),
        (InputError, "not one negative is left", {"config": MineConfig(max_score=-1.0)}),
        (OutputError, "JSON lines", {"out": tmp_path / "o.parquet"}),
        (OutputError, "cannot write", {"out": Path("/proc/none/o.jsonl")}),
    ]
    for error, message, change in cases:
        arguments = {"model": name, "data": [beir], "out": tmp_path / "o.jsonl", "config": MineConfig()}
        with pytest.raises(error, match=message):
            mine(**{**arguments, **change})
        assert [path.name for path in tmp_path.iterdir()] == ["beir"], message


@pytest.mark.parametrize("name", ["o.jsonl", "o.mining.json"])
def test_nothing_is_overwritten_unless_told(beir, tmp_path, name):
    (tmp_path / name).write_text("mine")
    config = MineConfig(source="bm25", negatives=1)
    with pytest.raises(OutputError, match="--overwrite"):
        mine(model=None, data=[beir], out=tmp_path / "o.jsonl", config=config)
    assert (tmp_path / name).read_text() == "mine"
    mine(model=None, data=[beir], out=tmp_path / "o.jsonl", config=config, overwrite=True)
    assert len(negatives_of(tmp_path / "o.jsonl")) == 4


def test_bm25_alone_cannot_score_a_positive_outside_the_corpus(tevatron, beir, tmp_path):
    with pytest.raises(InputError, match=r"training.jsonl:1: the positive 'd0' is not in the corpus"):
        mine(
            model=None,
            data=[tevatron],
            corpus=beir,
            out=tmp_path / "o.jsonl",
            config=MineConfig(source="bm25"),
        )
