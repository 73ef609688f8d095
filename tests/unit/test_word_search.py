"""Search by words, of an index: equal to BM25 and to the formula over its documents, through updates."""

import json
import math

import numpy as np
import pytest

from llara.corpus import Document
from llara.encode import encode_file
from llara.encoder import Encoder
from llara.errors import ConfigError, InputError
from llara.fusion import reciprocal_rank_fusion
from llara.indexes import add_to_index, build_index, delete_from_index, open_index
from llara.lexical import idf
from llara.model import MINI, load_tokenizer
from llara.search import Bm25, Mode, Searcher
from llara.terms import Analyzer
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
        with pytest.raises(ConfigError, match="words are read from whole ones"):
            build_index(vectors, tmp_path / "index", words=["lexical"])
        assert not (tmp_path / "index").exists()
