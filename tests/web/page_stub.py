"""A stand-in for ``llara serve`` that speaks its HTTP contract, with a few documents and a toy meaning.

    python tests/web/page_stub.py --port 8123

Words of one line of ``SENSES`` mean the same to it; that is all the semantics there is. ``Faults`` makes it
slow or busy, and asks for a key.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response

import llara

PAGE = Path(llara.__file__).parent / "serve" / "page"
CORPUS = Path(__file__).parent / "documents.jsonl"
POLICY = "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'"

SENSES = [
    "open opens opening file files read reads reading stream path handle",
    "write writes writing save store dump",
    "sort sorted sorts order ordering ascending key",
    "list lists sequence items array elements",
    "number numbers integer float decimal arithmetic",
    "error errors exception exceptions raise raised handle catch fails",
    "thread threads process processes parallel concurrent concurrency pool executor",
    "network server client socket connection http request",
    "date dates time day week calendar clock timezone",
    "text string strings characters unicode emoji encoding",
    "python interpreter program script module",
    "打开 文件 读取 路径",
    "排序 列表 顺序",
    "天气 北京 下雨",
]
STOP = frozenset(["a", "an", "and", "as", "by", "do", "from", "how", "i", "in", "is", "it", "of", "on", "or"])
SENSE = {word: line.split() for line in SENSES for word in line.split()}
WORD = re.compile(r"[a-z0-9_]+|[\u4e00-\u9fff]{2}", re.IGNORECASE)
SELF, NEXT = " The original sentence:", " The next sentence:"


def read_documents() -> list[dict[str, Any]]:
    """As the API shows them: fields beside id, title and text are metadata."""
    records = [json.loads(line) for line in CORPUS.read_text(encoding="utf-8").splitlines()]
    own = ("id", "title", "text")
    return [
        {
            **{name: record[name] for name in own},
            "metadata": {name: value for name, value in record.items() if name not in own} or None,
        }
        for record in records
    ]


DOCUMENTS = read_documents()


@dataclass
class Faults:
    """What goes wrong: refusals of a path (status, headers, message), seconds of delay of a query, a key."""

    status: dict[str, tuple[int, dict[str, str], str]] = field(default_factory=dict)
    delay: dict[str, float] = field(default_factory=dict)
    key: str | None = None
    text_characters: int = 100_000
    modes: tuple[str, ...] = ("dense", "bm25", "hybrid")  # none: there is no index
    preset: str | None = "paper"  # None: the model cannot be inspected
    asked: list[tuple[str, str]] = field(default_factory=list)  # (mode, query) of every search


def content_words(text: str) -> list[tuple[str, int, int]]:
    """(word, start, end) in code points; stop words left out."""
    found = [(match[0].lower(), match.start(), match.end()) for match in WORD.finditer(text)]
    return [one for one in found if one[0] not in STOP]


def whole_text(document: dict[str, Any]) -> str:
    return f"{document['title']} {document['text']}" if document["title"] else document["text"]


def sense(word: str) -> str:
    return SENSE.get(word, [word])[0]


def meaning(text: str) -> Counter[str]:
    return Counter(sense(word) for word, _, _ in content_words(text))


def cosine(a: Counter[str], b: Counter[str]) -> float:
    inner = sum(a[key] * b[key] for key in a)
    return inner / (math.hypot(*a.values()) * math.hypot(*b.values())) if inner else 0.0


MEANINGS = [meaning(whole_text(document)) for document in DOCUMENTS]
FREQUENCY = Counter(
    word for document in DOCUMENTS for word in {word for word, _, _ in content_words(whole_text(document))}
)


def rarity(word: str) -> float:
    return math.log(1 + len(DOCUMENTS) / (1 + FREQUENCY[word]))


def scores(query: str, mode: str) -> dict[int, float]:
    """Position -> score, only of documents found."""
    if mode == "hybrid":
        fused: Counter[int] = Counter()
        for part in ("dense", "bm25"):
            ranked = sorted(scores(query, part).items(), key=lambda one: -one[1])
            for rank, (position, _) in enumerate(ranked, 1):
                fused[position] += 1 / (60 + rank)  # type: ignore[assignment]
        return dict(fused)
    if mode == "dense":
        asked = meaning(query)
        found = {position: cosine(asked, held) for position, held in enumerate(MEANINGS)}
    else:
        words = {word for word, _, _ in content_words(query)}
        found = {
            position: sum(rarity(word) for word, _, _ in content_words(whole_text(document)) if word in words)
            for position, document in enumerate(DOCUMENTS)
        }
    return {position: score for position, score in found.items() if score > 0}


def highlights(query: str, text: str) -> list[list[float]]:
    typed = {word for word, _, _ in content_words(query)}
    meant = {sense(word) for word in typed}
    return [
        [start, end, 1.0 if word in typed else 0.45]
        for word, start, end in content_words(text)
        if sense(word) in meant
    ]


def search(query: str, k: int, mode: str) -> list[dict[str, Any]]:
    ranked = sorted(scores(query, mode).items(), key=lambda one: (-one[1], one[0]))[:k]
    return [
        {
            "rank": rank,
            "score": score,
            **DOCUMENTS[position],
            "highlights": {name: highlights(query, DOCUMENTS[position][name]) for name in ("title", "text")},
        }
        for rank, (position, score) in enumerate(ranked, 1)
    ]


def tokens(text: str, part: str) -> list[dict[str, Any]]:
    pieces = re.findall(r"\s?[\u4e00-\u9fff]|\s?[^\s\u4e00-\u9fff]{1,6}|\s", text)
    return [{"text": piece, "id": 3 + sum(map(ord, piece)) % 8000, "part": part} for piece in pieces]


def role(text: str, prompt: str, *, widen: bool, top: int) -> dict[str, Any]:
    weights: dict[str, float] = {}
    words = content_words(text)
    for place, (word, _, _) in enumerate(words):
        weight = rarity(word) / (1 + 0.02 * place)
        weights[word] = max(weights.get(word, 0.0), weight * (0.7 if widen else 1.0))
        for rank, other in enumerate(SENSE.get(word, [])):
            scale = (0.85 if widen else 0.25) / (1 + 0.15 * rank)
            weights[other] = max(weights.get(other, 0.0), weight * scale)
    inside = {word for word, _, _ in words}
    best = sorted(weights.items(), key=lambda one: -one[1])[:top]
    lead = [{"text": "<s>", "id": 0, "part": "lead"}]
    return {
        "prompt": f"{text}{prompt} </s>",
        "tokens": [
            *lead,
            *tokens(text, "text"),
            *tokens(prompt, "prompt"),
            {"text": "</s>", "id": 1, "part": "slot"},
        ],
        "words": [{"word": word, "weight": weight, "in_text": word in inside} for word, weight in best],
    }


def mask(roles: dict[str, Any]) -> dict[str, Any]:
    trunk = [one["text"] for one in roles["self"]["tokens"] if one["part"] in ("lead", "text")]
    branches = {
        name: [one["text"] for one in roles[name]["tokens"] if one["part"] in ("prompt", "slot")]
        for name in ("self", "next")
    }
    groups = ["trunk"] * len(trunk) + [name for name, branch in branches.items() for _ in branch]
    rows = [
        "".join(str(int(j <= i and groups[j] in ("trunk", groups[i]))) for j in range(len(groups)))
        for i in range(len(groups))
    ]
    return {"tokens": [*trunk, *branches["self"], *branches["next"]], "groups": groups, "rows": rows}


def inspect(text: str, top: int) -> dict[str, Any]:
    roles = {
        "self": role(text, SELF, widen=False, top=top),
        "next": role(text, NEXT, widen=True, top=top),
    }
    return {"text": text, "roles": roles, "mask": mask(roles)}


def shares(text: str, other: str) -> list[dict[str, Any]]:
    """By definition: the cosine with each word, less the cosine without it."""
    against = meaning(other)
    full = cosine(meaning(text), against)
    return [
        {
            "word": text[start:end],
            "start": start,
            "end": end,
            "share": full - cosine(meaning(text[:start] + " " + text[end:]), against),
        }
        for _, start, end in content_words(text)
    ]


def pair(query: str, document: str, top: int) -> dict[str, Any]:
    expected = {one["word"]: one["weight"] for one in role(query, NEXT, widen=True, top=200)["words"]}
    held = {one["word"]: one["weight"] for one in role(document, SELF, widen=False, top=200)["words"]}
    both = {word: weight * held[word] for word, weight in expected.items() if word in held}
    return {
        "similarity": cosine(meaning(query), meaning(document)),
        "query_words": shares(query, document),
        "document_words": shares(document, query),
        "shared": [
            {"word": word, "weight": weight}
            for word, weight in sorted(both.items(), key=lambda one: -one[1])[:top]
        ],
    }


INFO: dict[str, Any] = {
    "name": "llara",
    "version": llara.__version__,
    "model": {
        "name": "llara-mini",
        "fingerprint": "4be1c9d07a3f52e86b0d",
        "dimension": 256,
        "max_tokens": 512,
        "preset": "paper",
        "parameters": 6_119_680,
    },
    "index": {
        "documents": len(DOCUMENTS),
        "kind": "exact",
        "backend": "faiss",
        "bytes": 10_485_760,
        "settings": {},
        "role": "document",
    },
}


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    error = {"message": message, "type": "invalid_request_error", "code": None}
    return JSONResponse({"error": error}, status, headers)


def build(faults: Faults) -> FastAPI:
    app = FastAPI()

    @app.middleware("http")
    async def guard(request: Request, call_next: Any) -> Response:
        path = request.url.path
        if path.startswith("/inspect") and faults.preset is None:
            return refusal(501, "this model was not written by llara and cannot be looked into")
        if path in faults.status:
            return refusal(faults.status[path][0], faults.status[path][2], faults.status[path][1])
        open_to_all = path in ("/", "/health", "/info") or path.startswith("/page/")
        if faults.key and not open_to_all and request.headers.get("authorization") != f"Bearer {faults.key}":
            return refusal(401, "no valid API key")
        response: Response = await call_next(request)
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/page/{name}")
    def asset(name: str) -> FileResponse:
        return FileResponse(PAGE / name)

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/info")
    def info() -> dict[str, Any]:
        limits = {"text_characters": faults.text_characters}
        facts = {**INFO, "limits": limits, "model": {**INFO["model"], "preset": faults.preset}}
        if not faults.modes:
            facts["index"] = None
        return {**facts, "modes": list(faults.modes), "needs_key": faults.key is not None}

    @app.post("/search")
    async def searching(body: dict[str, Any]) -> Any:
        mode = body.get("mode", "dense")
        faults.asked.append((mode, body["query"]))
        await asyncio.sleep(faults.delay.get(body["query"], 0))
        if mode not in faults.modes:
            return refusal(400, f"no mode {mode!r} here")
        hits = search(body["query"], body.get("k", 10), mode)
        return {"query": body["query"], "mode": mode, "took_ms": 2.4, "hits": hits}

    @app.get("/documents")
    def document(id: str) -> Any:  # noqa: A002 - its name in the query
        found = [one for one in DOCUMENTS if one["id"] == id]
        return found[0] if found else refusal(404, f"no document {id!r}")

    @app.post("/inspect")
    def inspecting(body: dict[str, Any]) -> Any:
        if len(body["text"]) > faults.text_characters:
            return refusal(413, "text: too long")
        return inspect(body["text"], body.get("top", 20))

    @app.post("/inspect/pair")
    def pairing(body: dict[str, Any]) -> dict[str, Any]:
        found = [one for one in DOCUMENTS if one["id"] == body["document_id"]]
        return pair(body["query"], whole_text(found[0]), body.get("top", 20))

    return app


def main() -> None:
    import uvicorn

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--modes", default="dense,bm25,hybrid")
    parser.add_argument("--key")
    options = parser.parse_args()
    faults = Faults(key=options.key, modes=tuple(options.modes.split(",")))
    uvicorn.run(build(faults), port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
