"""Search by words, of an index: equal to BM25 and to the formula over its documents, through updates."""

import json
import math
import shutil
import unicodedata

import numpy as np
import pytest
import torch

from llara.corpus import Document
from llara.encode import encode_file
from llara.encoder import Encoder
from llara.errors import ConfigError, InputError, ModelError
from llara.fusion import reciprocal_rank_fusion
from llara.indexes import add_to_index, build_index, delete_from_index, open_index
from llara.lexical import idf
from llara.model import MINI, load_tokenizer
from llara.search import Bm25, Mode, Searcher
from llara.terms import Analyzer, word_spans, words_of
from llara.words import WordHead

TEXTS = {
    "d1": ("Wings", "The wing of an aircraft creates lift in the stream of a propeller."),
    "d2": ("Bread", "Flour, water and yeast make a dough; the oven makes it bread."),
    "d3": ("", "The river carries sand to the sea, and the sea carries it away."),
    "d4": ("Kites", "A kite has no engine: the wind lifts its wing, and a string holds it."),
    "d5": ("", "Yeast lives on sugar."),
}
LATER = {"d6": ("Gliders", "A glider is an aircraft without an engine."), "d3": ("", "The river is dry.")}
QUERIES = ["aircraft wing", "bread and yeast", "the sea", "unheardof"]


def documents(rows):
    return [Document(id=id_, title=title, text=text) for id_, (title, text) in rows.items()]


def vectors_of(rows, directory, **settings):
    path = directory.with_suffix(".jsonl")
    lines = [
        json.dumps({"id": id_, "title": title, "text": text, "n": len(text)})
        for id_, (title, text) in rows.items()
    ]
    path.write_text("\n".join(lines) + "\n")
    encode_file(MINI, path, directory, role="document", **settings)
    return directory


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return vectors_of(TEXTS, tmp_path_factory.mktemp("words") / "vectors")


@pytest.fixture
def index(vectors, tmp_path):
    return build_index(vectors, tmp_path / "index", words=["bm25", "lexical"])


def scores(hits):
    return {hit.id: hit.score for hit in hits}


def test_bm25_of_an_index_is_bm25_over_its_documents(index):
    by_index = Searcher.open(index).search(QUERIES, mode="bm25")
    in_memory = Bm25(documents(TEXTS)).search(QUERIES)
    assert [scores(hits) for hits in by_index] == [scores(hits) for hits in in_memory]
    assert len(by_index[0]) >= 2
    assert by_index[3] == []


def test_lexical_scores_are_rare_words_times_the_root_of_e_w(index):
    head, analyze = WordHead.of(MINI), Analyzer()
    rows = {id_: f"{title} {text}".strip() for id_, (title, text) in TEXTS.items()}
    vectors = Encoder(MINI, dtype="float32").encode(list(rows.values()), role="document")
    weight_VD = head.weight_VD.double().numpy()
    tokenizer = load_tokenizer(MINI)

    def weight(word, vector):
        ids = tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        return math.sqrt(max(0.0, float(np.mean([weight_VD[i] @ vector for i in ids]))))

    expected: dict[str, float] = {}
    holders = {"aircraft": ["d1"], "wing": ["d1", "d4"]}
    forms = {("wing", "d1"): ["Wings", "wing"], ("wing", "d4"): ["wing"], ("aircraft", "d1"): ["aircraft"]}
    for term, found in holders.items():
        assert analyze(term) == [term]
        for id_ in found:
            vector = vectors[list(rows).index(id_)].astype(np.float64)
            share = float(idf(len(found), 5)) * max(weight(form, vector) for form in forms[term, id_])
            expected[id_] = expected.get(id_, 0.0) + share
    (hits,) = Searcher.open(index).search(["aircraft wing"], mode="lexical")
    assert scores(hits) == pytest.approx(expected, rel=1e-5)  # float32


def test_a_hybrid_is_the_fusion_of_both_searches_by_reciprocal_ranks(index):
    searcher = Searcher.open(index)
    for query in QUERIES:
        both = [{"": scores(searcher.search([query], 5, mode=mode)[0])} for mode in ("dense", "bm25")]
        (hits,) = searcher.search([query], 3, mode="hybrid")
        assert list(scores(hits).items()) == list(reciprocal_rank_fusion(both, depth=3)[""].items())


def test_without_bm25_a_hybrid_fuses_lexical_search(vectors, tmp_path):
    searcher = Searcher.open(build_index(vectors, tmp_path / "index", words=["lexical"]))
    assert searcher.modes == ("dense", "lexical", "hybrid")
    both = [{"": scores(searcher.search(["wing"], 5, mode=mode)[0])} for mode in ("dense", "lexical")]
    (hits,) = searcher.search(["wing"], mode="hybrid")
    assert scores(hits) == reciprocal_rank_fusion(both, depth=10)[""]


def test_words_follow_what_is_added_replaced_and_deleted(index, tmp_path):
    add_to_index(index, vectors_of(LATER, tmp_path / "later"))
    delete_from_index(index, ["d2"])
    searcher = Searcher.open(index)
    modes: tuple[Mode, ...] = ("bm25", "lexical")
    for mode in modes:
        found = searcher.search(["aircraft", "sea", "bread", "dry river"], mode=mode)
        assert [sorted(scores(hits)) for hits in found] == [["d1", "d6"], [], [], ["d3"]]
    fresh = build_index(vectors_of(TEXTS | LATER, tmp_path / "all"), tmp_path / "fresh", words=["bm25"])
    assert [hit.text for hit in Searcher.open(fresh).search(["dry river"], mode="bm25")[0]] == [
        LATER["d3"][1]
    ]


def test_a_filter_holds_for_words_too(index):
    (hits,) = Searcher.open(index).search(["yeast"], mode="bm25", where="n < 30")
    assert [hit.id for hit in hits] == ["d5"]


def test_a_mode_that_the_index_lacks_is_refused_with_the_way_to_it(vectors, tmp_path):
    searcher = Searcher.open(build_index(vectors, tmp_path / "index"))
    assert searcher.modes == ("dense",)
    ways: tuple[tuple[Mode, str], ...] = (
        ("bm25", "--bm25"),
        ("lexical", "--lexical"),
        ("hybrid", "--bm25 or --lexical"),
    )
    for mode, way in ways:
        with pytest.raises(ConfigError, match=f"llara index {way}"):
            searcher.search(["wing"], mode=mode)
    with pytest.raises(ConfigError, match="expected one of dense, bm25, lexical, hybrid"):
        searcher.search(["wing"], mode="sparse")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="without bm25"):
        open_index(tmp_path / "index").search_words("bm25", ["wing"], 3)  # type: ignore[attr-defined]


def test_words_are_not_read_from_vectors_that_are_cut_or_binary(tmp_path):
    for name, settings in (("cut", {"dimensions": 8}), ("bits", {"dtype": "binary"})):
        vectors = vectors_of(TEXTS, tmp_path / name, **settings)
        with pytest.raises(ConfigError, match=r"words are read from whole ones.*llara encode --lexical"):
            build_index(vectors, tmp_path / "index", words=["lexical"])
        assert not (tmp_path / "index").exists()


def moved_away(vectors):
    """Let the model that made the vectors be gone."""
    content = json.loads((vectors / "manifest.json").read_text())
    (vectors / "manifest.json").write_text(json.dumps({**content, "model": "/moved/away"}))
    return vectors


@pytest.mark.parametrize("settings", [{}, {"dimensions": 8}, {"dtype": "binary"}])
def test_an_index_of_stored_words_finds_the_same_and_needs_no_model(tmp_path, monkeypatch, settings):
    plain, later = (vectors_of(rows, tmp_path / f"plain{len(rows)}", shard_size=2) for rows in (TEXTS, LATER))
    index = build_index(plain, tmp_path / "index", words=["lexical"])
    add_to_index(index, later)
    stored, stored_later = (
        moved_away(vectors_of(rows, tmp_path / f"{len(rows)}", shard_size=2, lexical=True, **settings))
        for rows in (TEXTS, LATER)
    )
    monkeypatch.setattr(WordHead, "of", lambda *_, **__: pytest.fail("the model's output head was read"))
    other = build_index(stored, tmp_path / "other", words=["lexical"])
    add_to_index(other, stored_later)
    made, read = (Searcher.open(each, MINI).search(QUERIES, mode="lexical") for each in (index, other))
    assert [scores(hits) for hits in read] == [scores(hits) for hits in made]
    assert made[0]


def test_stored_words_that_are_damaged_make_no_index(tmp_path):
    vectors = vectors_of(TEXTS, tmp_path / "stored", lexical=True)
    (vectors / "shard-00000.words.parquet").unlink()
    with pytest.raises(InputError, match=r"shard-00000\.words\.parquet is missing.*--resume"):
        build_index(vectors, tmp_path / "index", words=["lexical"])
    assert not (tmp_path / "index").exists()


def test_how_rare_a_word_is_does_not_count_what_was_deleted_or_replaced(index, vectors, tmp_path):
    for _ in range(3):
        add_to_index(index, vectors)  # replaces every document by itself
    delete_from_index(index, ["d2"])
    rest = {id_: row for id_, row in TEXTS.items() if id_ != "d2"}
    fresh = build_index(vectors_of(rest, tmp_path / "rest"), tmp_path / "fresh", words=["bm25", "lexical"])
    modes: list[Mode] = ["bm25", "lexical"]
    for mode in modes:
        after, anew = (Searcher.open(each).search(QUERIES, mode=mode) for each in (index, fresh))
        assert [scores(hits) for hits in after] == [pytest.approx(scores(hits), rel=1e-6) for hits in anew]


def test_words_are_told_apart_alike_in_documents_and_queries(tmp_path):
    rows = {"d1": ("", "Call read_text to read a file."), "d2": ("", "Nothing of it.")}
    index = build_index(vectors_of(rows, tmp_path / "v"), tmp_path / "index", words=["lexical"])
    assert "d1" in scores(Searcher.open(index).search(["read_text"], mode="lexical")[0])


def test_documents_without_a_word_can_be_added(index, tmp_path):
    change = add_to_index(index, vectors_of({"d9": ("", "...")}, tmp_path / "dots"))
    assert change.added == 1
    assert len(open_index(index)) == len(TEXTS) + 1


def test_added_vectors_must_hold_words_if_the_index_has_them(index, tmp_path):
    with pytest.raises(ConfigError, match="words are read from whole ones"):
        add_to_index(index, vectors_of(LATER, tmp_path / "later", dtype="binary"))
    assert len(open_index(index)) == len(TEXTS)


def test_lexical_vectors_want_the_model_that_made_the_vectors(vectors, tmp_path):
    content = json.loads((vectors / "manifest.json").read_text())
    others = tmp_path / "others"
    shutil.copytree(vectors, others)
    (others / "manifest.json").write_text(json.dumps({**content, "fingerprint": "f" * 64}))
    with pytest.raises(ModelError, match="another one or has changed since"):
        build_index(others, tmp_path / "index", words=["lexical"])
    (others / "manifest.json").write_text(json.dumps({**content, "model": "/moved/away"}))
    with pytest.raises(ModelError, match="no longer there; say where it is now with --model"):
        build_index(others, tmp_path / "index", words=["lexical"])
    index = build_index(others, tmp_path / "index", words=["lexical"], model=MINI)
    assert Searcher.open(index, MINI).search(["wing"], mode="lexical")[0]


def test_letters_keep_their_marks_and_one_text_is_one_whatever_its_form():
    analyze = Analyzer()
    assert analyze("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert analyze("Việt") == analyze(unicodedata.normalize("NFD", "Việt")) == ["việt"]
    assert words_of("हिन्दी read_text") == ["हिन्दी", "read", "text"]


def test_ideographs_are_weighed_two_by_two_as_bm25_counts_them():
    text, other = "机翼产生升力，飞机前进。 Wings!", "ウィングは揚力を生む"
    head = WordHead.of(MINI)
    vectors = Encoder(MINI, dtype="float32").encode([text, other], role="document")
    vectors[:] = vectors[:1] * 0 + head.rows(["wing"])[0]  # near every word to a degree, each to its own
    for lexical, given in zip(head.lexical([text, other], vectors), (text, other), strict=True):
        assert set(lexical) <= set(Analyzer()(given))
        assert len({round(weight, 4) for weight in lexical.values()}) > len(lexical) // 2


def test_words_that_the_model_did_not_read_have_no_weight(tmp_path):
    rows = {"long": ("", "The wing creates lift. " * 300 + "A giraffe eats."), "short": ("", "A giraffe.")}
    index = build_index(vectors_of(rows, tmp_path / "long"), tmp_path / "index", words=["bm25", "lexical"])
    searcher = Searcher.open(index)
    found = {mode: set(scores(searcher.search(["giraffe"], mode=mode)[0])) for mode in ("bm25", "lexical")}
    assert found == {"bm25": {"long", "short"}, "lexical": {"short"}}
    assert set(scores(searcher.search(["wing"], mode="lexical")[0])) == {"long"}


def test_reading_ends_with_a_whole_word_where_the_tokens_end():
    tokenizer = load_tokenizer(MINI)
    text = "The aircraft's wings lift; 机翼 unheardofness ends."
    offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    for most in range(1, len(offsets) + 1):
        (read,) = WordHead(torch.zeros(1, 1), tokenizer, text_tokens=most).read_of([text])
        end = offsets[most - 1][1]
        assert read == text[: len(read)]
        assert word_spans(read) == [span for span in word_spans(text) if span[1] <= end]
    assert read == text


def test_a_hybrid_takes_the_words_that_are_named(index):
    searcher = Searcher.open(index)
    both = [{"": scores(searcher.search(["wing"], 5, mode=mode)[0])} for mode in ("dense", "lexical")]
    (hits,) = searcher.search(["wing"], mode="hybrid", words="lexical")
    assert scores(hits) == reciprocal_rank_fusion(both, depth=10)[""]
    with pytest.raises(ConfigError, match="only a hybrid has a choice"):
        searcher.search(["wing"], mode="dense", words="lexical")
