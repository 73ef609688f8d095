"""Mining: what is known to answer a query, and by which text a passage is known."""

import json
from pathlib import Path
from typing import Any

import pytest
from mining import PASSAGES, SOURCES, negatives_of, write_beir

from llara.config import FinetuneConfig, MineConfig
from llara.corpus import Document
from llara.datasets import TrainingExample, read_training, write_training
from llara.encode import encode_file
from llara.errors import InputError
from llara.finetune.rounds import mined_negatives
from llara.indexes import build_index
from llara.mine import mine


@pytest.mark.parametrize("source", SOURCES)
def test_what_answers_a_question_in_one_example_is_no_negative_of_it_in_another(retriever, tmp_path, source):
    data = tmp_path / "twice.jsonl"
    answers = (
        Document("a", "a wing stalls when the flow leaves it"),
        Document("b", "a wing that lost its flow"),
    )
    others = tuple(Document(f"o{n}", text) for n, text in enumerate(PASSAGES.values()))[5:]
    one, other = ((answer,) for answer in answers)
    write_training(
        data,
        [TrainingExample("x1", "wing flow", one, others), TrainingExample("x2", "wing flow", other, ())],
    )
    config = MineConfig(source=source, negatives=9)
    mine(model=str(retriever.path), data=[data], out=tmp_path / "o.jsonl", config=config)
    found = negatives_of(tmp_path / "o.jsonl")
    assert set(found) == {"x1", "x2"}
    assert all(found.values())
    assert not {"a", "b"} & {id_ for ids in found.values() for id_ in ids}


def test_an_id_in_two_sources_is_told_before_anything_is_searched(beir_twice, tmp_path, monkeypatch):
    monkeypatch.setattr("llara.mine.pools.encode_file", lambda *_, **__: pytest.fail("encoded already"))
    with pytest.raises(InputError, match="is in another source, too"):
        mine(model=str(tmp_path), data=beir_twice, out=tmp_path / "o.jsonl", config=MineConfig())


@pytest.fixture
def beir_twice(tmp_path, retriever, monkeypatch):
    monkeypatch.setattr("llara.model.fingerprint", lambda _: "f" * 64)
    return [write_beir(tmp_path / name) for name in ("one", "two")]


def test_a_positive_is_scored_as_itself_though_the_corpus_has_another_text_under_its_id(retriever, tmp_path):
    data, corpus = tmp_path / "own.jsonl", tmp_path / "other.jsonl"
    own = Document("2", "heat flow through a slab")
    write_training(data, [TrainingExample("x", "heat of the slab", (own,), (Document("9", "a nozzle"),))])
    lines = [json.dumps({"id": str(n), "text": text}) + "\n" for n, text in enumerate(PASSAGES.values())]
    corpus.write_text("".join(lines))
    asked: dict[str, Any] = {"data": [data], "corpus": corpus, "out": tmp_path / "o.jsonl"}
    mine(model=str(retriever.path), config=MineConfig(negatives=2), **asked)
    [mined] = read_training(tmp_path / "o.jsonl")
    query, document = (
        retriever.expected([text], role)[0]
        for text, role in (("heat of the slab", "query"), (own.text, "document"))
    )
    assert mined.positive_scores is not None
    assert mined.positive_scores[0] == pytest.approx(query @ document, abs=1e-6)
    asked |= {"model": None, "config": MineConfig(source="bm25", negatives=2), "overwrite": True}
    with pytest.raises(InputError, match="not in the corpus under this id with this text"):
        mine(**asked)
    # A rescorer scores positives, wherever they are.
    mine(**asked, rescorer=lambda pairs: [float(len(text)) for _, text in pairs])
    [mined] = read_training(tmp_path / "o.jsonl")
    assert mined.positive_scores == (float(len(own.text)),)


@pytest.fixture
def namesakes(tmp_path):
    """A corpus, an example whose positive is in it, and one whose positive has that id and another text.

    Files of whole texts number their passages each for itself: one id is another text elsewhere.
    """
    lines = [json.dumps({"id": id_, "text": text}) + "\n" for id_, text in PASSAGES.items()]
    (tmp_path / "corpus.jsonl").write_text("".join(lines))
    inside, outside = Document("p3", PASSAGES["p3"]), Document("p3", "yeast makes gas and bread rises")
    return (
        tmp_path / "corpus.jsonl",
        TrainingExample("x", "heat flow through a slab", (inside,), ()),
        TrainingExample("y", "why does bread rise by the flow of heat", (outside,), ()),
    )


@pytest.mark.parametrize("source", SOURCES)
def test_scores_and_negatives_do_not_depend_on_whose_positive_has_the_same_id(
    retriever, namesakes, tmp_path, source
):
    corpus, first, second = namesakes
    config = MineConfig(source=source, negatives=5, absolute_margin=0.05, sampling="top")
    found: dict[str, list[TrainingExample]] = {"x": [], "y": []}
    for number, examples in enumerate(([first], [second], [first, second], [second, first])):
        data, out = tmp_path / f"{number}.jsonl", tmp_path / f"{number}-out.jsonl"
        write_training(data, examples)
        mine(model=str(retriever.path), data=[data], corpus=corpus, out=out, config=config)
        for mined in read_training(out):
            found[mined.query_id].append(mined)
    for alone, *beside in found.values():
        assert alone.positive_scores is not None
        assert len(beside) == 2
        for mined in beside:
            assert mined.positive_scores == pytest.approx(alone.positive_scores, abs=1e-6)
            assert mined.negatives == alone.negatives


def test_bm25_scores_no_positive_as_the_text_that_another_has_under_its_id(namesakes, tmp_path):
    corpus, first, second = namesakes
    for number, examples in enumerate(([first, second], [second, first])):
        data = tmp_path / f"{number}.jsonl"
        write_training(data, examples)
        line = 1 + examples.index(second)
        with pytest.raises(InputError, match=rf"{number}.jsonl:{line}: the positive 'p3' is not in"):
            mine(
                model=None,
                data=[data],
                corpus=corpus,
                out=tmp_path / "o.jsonl",
                config=MineConfig(source="bm25"),
            )


def test_an_index_is_searched_for_data_whose_passages_are_ids_in_a_corpus(retriever, tmp_path):
    corpus = write_beir(tmp_path / "beir") / "corpus.jsonl"
    data = tmp_path / "ids.jsonl"
    ids = {"positive_document_ids": ["p0"], "negative_document_ids": []}
    data.write_text(json.dumps({"query_id": "t", "query_text": "wing stall", **ids}) + "\n")
    encode_file(str(retriever.path), corpus, tmp_path / "vectors", role="document")
    index = build_index(tmp_path / "vectors", tmp_path / "index")
    out, config = tmp_path / "o.jsonl", MineConfig(negatives=2)
    mine(model=str(retriever.path), data=[data], out=out, config=config, corpus=corpus, index=index)
    [mined] = read_training(out)
    assert [document.id for document in mined.positives] == ["p0"]
    assert len(mined.negatives) == 2


def test_a_copy_of_what_the_window_leaves_out_is_left_out_too(retriever, tmp_path):
    texts = {"p": "wing stall", "hard": "wing", "copy": " wing ", "far": "heat of a slab"}
    folder = write_beir(tmp_path / "b", queries={"q": "wing"}, passages=texts, qrels={"q": ["p"]})
    config = MineConfig(first_rank=2, negatives=3, duplicate_overlap=None)
    result = mine(model=str(retriever.path), data=[folder], out=tmp_path / "o.jsonl", config=config)
    assert negatives_of(tmp_path / "o.jsonl") == {"q": ["far"]}
    assert (result.counts["before first_rank"], result.counts["repeated text"]) == (1, 1)


def test_a_round_encodes_the_corpus_of_several_files_once_and_mines_the_same(
    retriever, tmp_path, monkeypatch
):
    from sentence_transformers import SentenceTransformerTrainingArguments

    corpus = write_beir(tmp_path / "beir") / "corpus.jsonl"
    sources: list[Path] = []
    for name, positive in (("x", "p3"), ("y", "p5"), ("z", "p8")):
        sources.append(tmp_path / f"{name}.jsonl")
        document = Document(positive, PASSAGES[positive])
        write_training(sources[-1], [TrainingExample(name, "the flow of heat", (document,), ())])
    config = FinetuneConfig(mining=MineConfig(negatives=3))
    encoded = []

    def counting(*given, **settings):
        encoded.append(given)
        return encode_file(*given, **settings)

    monkeypatch.setattr("llara.mine.pools.encode_file", counting)
    arguments = SentenceTransformerTrainingArguments(str(tmp_path / "run"), use_cpu=True, report_to=[])
    found = mined_negatives(
        str(retriever.path), sources, tmp_path / "round", arguments, config, split="train", corpus=corpus
    )
    assert len(encoded) == 1
    assert sorted(path.name for path in (tmp_path / "round").glob("*.jsonl")) == [p.name for p in found]
    assert not list((tmp_path / "round").glob(".*"))
    for source, path in zip(sources, found, strict=True):
        out = tmp_path / "one.jsonl"
        mine(
            model=str(retriever.path),
            data=[source],
            out=out,
            corpus=corpus,
            config=config.mining,
            overwrite=True,
        )
        assert path.read_bytes() == out.read_bytes()
