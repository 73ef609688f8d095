"""Mining: other scorers, what is no negative, each kind of source, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from mining import PASSAGES, QRELS, QUERIES, SOURCES, check_sum, negatives_of, write_beir

from llara.config import MineConfig
from llara.corpus import Document
from llara.datasets import TrainingExample, read_training, write_training
from llara.encode import encode_file
from llara.errors import ConfigError, InputError, ModelError, OutputError
from llara.indexes import build_index, delete_from_index
from llara.mine import mine


@pytest.fixture
def beir(tmp_path):
    return write_beir(tmp_path / "beir")


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


def test_another_retriever_rescores_by_its_cosines(retriever, other_retriever, beir, tmp_path):
    config = MineConfig(negatives=2, rescorer=str(other_retriever.path))
    out = mine(model=str(retriever.path), data=[beir], out=tmp_path / "o.jsonl", config=config).out
    for example in read_training(out):
        [query] = other_retriever.expected([example.query], "query")
        for side, scores in (
            (example.positives, example.positive_scores),
            (example.negatives, example.negative_scores),
        ):
            vectors = other_retriever.expected([document.text for document in side], "document")
            assert scores == pytest.approx((vectors @ query).tolist(), abs=1e-6)


def test_a_cross_encoder_that_says_so_in_its_modules_is_one(beir, tmp_path):
    from sentence_transformers import CrossEncoder

    path = tmp_path / "saved"
    encoder = CrossEncoder(str(tiny_cross_encoder(tmp_path / "encoder")))
    encoder.save(str(path))
    config = MineConfig(source="bm25", negatives=2, rescorer=str(path))
    for example in read_training(mine(model=None, data=[beir], out=tmp_path / "o.jsonl", config=config).out):
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


@pytest.mark.parametrize("source", SOURCES)
def test_a_corpus_with_an_id_twice_is_refused_by_every_search(retriever, beir, tmp_path, source):
    with (beir / "corpus.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "p9", "title": "", "text": "another text"}) + "\n")
    model = None if source == "bm25" else str(retriever.path)
    with pytest.raises(InputError, match=r"'p9'.*ids must be unique"):
        mine(model=model, data=[beir], out=tmp_path / "o.jsonl", config=MineConfig(source=source))
    assert [path.name for path in tmp_path.iterdir()] == ["beir"]


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
