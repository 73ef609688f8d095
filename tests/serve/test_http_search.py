"""Search in a running service: hits, filters, documents, and what vectors hold."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from asking import error_of
from served import STRANGE_IDS

# -- search and documents


def test_search_finds_the_nearest_documents_by_brute_force(client, model, documents):
    query = "how are exceptions handled"
    answer = client.post("/search", json={"query": query, "k": 5}).json()
    vectors = model.encode_document([f"{each['title']} {each['text']}" for each in documents])
    scores = vectors @ model.encode_query([query])[0]
    best = np.argsort(-scores)[:5]
    assert [hit["id"] for hit in answer["hits"]] == [documents[i]["id"] for i in best]
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose([hit["score"] for hit in answer["hits"]], scores[best], atol=2e-6)
    first = documents[best[0]]
    assert answer["hits"][0] | {"score": 0} == {
        "rank": 1,
        "id": first["id"],
        "score": 0,
        "title": first["title"],
        "text": first["text"],
        "metadata": {"year": first["year"]},
        "highlights": None,
    }
    assert (answer["query"], answer["mode"]) == (query, "dense")


def test_a_filter_holds_and_a_wrong_one_is_the_clients_fault(client):
    hits = client.post("/search", json={"query": "a", "k": 100, "where": "year == 1995"}).json()["hits"]
    assert len(hits) == 7
    assert {hit["metadata"]["year"] for hit in hits} == {1995}
    answer = client.post("/search", json={"query": "a", "where": "year >"})
    assert answer.status_code == 400
    assert error_of(answer)["message"].startswith("the filter 'year >' has")


@pytest.mark.parametrize("id_", STRANGE_IDS)
def test_a_document_is_found_by_its_id_whatever_that_holds(client, documents, id_):
    found = client.get(f"/documents?id={quote(id_, safe='')}")
    (expected,) = [each for each in documents if each["id"] == id_]
    assert found.json() == {
        "id": id_,
        "title": expected["title"],
        "text": expected["text"],
        "metadata": {"year": expected["year"]},
    }
    if id_ not in (".", ".."):  # which clients take for a step in the path
        assert client.get(f"/documents/{quote(id_, safe='')}").json() == found.json()


def test_a_document_that_is_not_there_is_404(client):
    for path in ("/documents/", "/documents/none", "/documents/%00", "/documents/%FF"):
        answer = client.get(path)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "no_document")
    assert error_of(client.get("/documents?id=none"))["code"] == "no_document"
    for path in ("/documents", "/documents?ID=topic-1"):
        assert client.get(path).status_code == 400
        assert error_of(client.get(path))["message"].startswith("say which document: /documents?id=ID")


def test_words_and_both_are_searched_as_from_python(client, index):
    from llara.search import Searcher

    searcher = Searcher.open(index)
    for mode in ("bm25", "hybrid"):
        (expected,) = searcher.search(["raise an exception"], 5, mode=mode, where="year < 2010")
        asked = {"query": "raise an exception", "k": 5, "mode": mode, "where": "year < 2010"}
        hits = client.post("/search", json=asked).json()["hits"]
        assert [hit["id"] for hit in hits] == [hit.id for hit in expected]
        np.testing.assert_allclose([hit["score"] for hit in hits], [hit.score for hit in expected], atol=2e-6)
    answer = client.post("/search", json={"query": "a", "mode": "lexical"})
    assert error_of(answer)["message"] == "mode: Input should be 'dense', 'bm25' or 'hybrid'"


def test_searches_at_once_keep_their_own_filters(server):
    years = [1990 + number % 30 for number in range(90)]

    async def ask_all() -> list[set[int]]:
        async with httpx.AsyncClient(base_url=server.url, headers=server.headers, timeout=60) as client:

            async def ask(year: int) -> set[int]:
                asked = {"query": "a", "mode": "bm25", "where": f"year == {year}", "k": 100}
                hits = (await client.post("/search", json=asked | {"query": "the"})).json()["hits"]
                return {hit["metadata"]["year"] for hit in hits}

            return await asyncio.gather(*map(ask, years))

    assert [found - {year} for year, found in zip(years, asyncio.run(ask_all()), strict=True)] == [set()] * 90


# -- what vectors hold


def test_what_vectors_hold_is_told_as_in_python(client, index, documents):
    from llara.inspect import Inspector
    from llara.search import Searcher

    inspector = Inspector.of(Searcher.open(index))
    text = "The decimal module holds exact numbers."
    found = client.post("/inspect", json={"text": text, "top": 5}).json()
    assert found == json.loads(json.dumps(inspector.inspect(text, top=5).to_dict()))
    assert len(found["roles"]["next"]["words"]) == 5
    document = documents[10]
    whole = f"{document['title']} {document['text']}"
    by_id = {"query": "how to raise an exception", "document_id": document["id"], "top": 5}
    by_text = {"query": "how to raise an exception", "document": whole, "top": 5}
    answers = [client.post("/inspect/pair", json=asked).json() for asked in (by_id, by_text)]
    expected = inspector.pair("how to raise an exception", whole, top=5).to_dict()
    for answer in answers:
        assert answer["similarity"] == pytest.approx(expected["similarity"], abs=2e-6)
        shares = [word["share"] for word in answer["document_words"]]
        assert shares == pytest.approx([word["share"] for word in expected["document_words"]], abs=2e-4)
        assert [word["word"] for word in answer["shared"]] == [word["word"] for word in expected["shared"]]
    missing = client.post("/inspect/pair", json={"query": "a", "document_id": "none"})
    assert (missing.status_code, error_of(missing)["code"]) == (404, "no_document")
    neither = client.post("/inspect/pair", json={"query": "a"})
    assert neither.status_code == 400


@pytest.mark.parametrize("mode", ["dense", "bm25"])
def test_highlights_are_words_of_the_hits(client, mode):
    asked = {"query": "raise an exception", "k": 5, "mode": mode, "highlight": True}
    hits = client.post("/search", json=asked).json()["hits"]
    words = set()
    for hit in hits:
        for part in ("title", "text"):
            for start, end, weight in hit["highlights"][part]:
                words.add(hit[part][start:end].lower())
                assert 0 < weight <= 1
    assert words & {"exception", "exceptions", "raise", "raised", "raises", "raising"}
    assert all(word.isalnum() for word in words)
