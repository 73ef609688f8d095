"""The service under load: many clients at once against the same model called one request at a time.

An index of passages is served by one process. Clients, each on a connection of its own, send a query as soon
as the last is answered, all for a minute: embeddings first, then searches. In turns with them, on the same
machine, one client alone does the same, and, without any server, the model is called text by text (what no
server that does not batch can exceed) and with all texts at once (what batching can reach at most). The
service's vectors are compared with the model's first. Its resident memory is read every second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from measure import machine, make_parser, report, say, spread

EXAMPLE = "python benchmarks/serve.py --out benchmarks/results/serve.json"
TOLERANCE = 1e-5  # of unit vectors in float32
MODEL = "llara-mini"
PATHS = {"embeddings": "/v1/embeddings", "search": "/search"}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("Many clients at once against one at a time.", EXAMPLE)
    parser.add_argument("--clients", type=int, default=64, help="clients at once")
    parser.add_argument("--seconds", type=float, default=60.0, help="of load in each turn")
    parser.add_argument("--peer-seconds", type=float, default=10.0, help="of each peer in each turn")
    parser.add_argument("--repetitions", type=int, default=2, help="turns")
    parser.add_argument("--documents", type=int, default=5_000, help="passages in the index")
    parser.add_argument("--at-once", type=int, default=1_024, help="texts a call of the peer that has many")
    parser.add_argument("--words", type=int, default=10, help="words of a query, on average")
    parser.add_argument("--limit", action="append", default=[], help="a limit of the service, name=value")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.clients, options.documents, options.repetitions, options.at_once = 4, 50, 1, 64
        options.seconds, options.peer_seconds = 0.5, 0.2
    return options


def main() -> None:
    """Measure, print, write."""
    options = parse()
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as peer,  # torch stays out of this process
    ):
        index = peer.submit(build, Path(folder), options.documents).result()
        with serving(index, options.limit) as (process, url):
            check_vectors(url, peer, options)
            found = {what: measure(what, url, process.pid, peer, options) for what in PATHS}
    result = {
        "benchmark": Path(__file__).stem,
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        "machine": machine(),
        "ways": found,
    }
    report(result, table(found), options.out)
    if any(turn["errors"] for what in found.values() for turn in what["turns"]):
        raise SystemExit("there were errors; see the table")


# -- the service


def build(folder: Path, documents: int) -> Path:
    """An exact index of prose."""
    from encoding import word_texts

    from llara.encode import encode_file
    from llara.indexes import build_index

    source = folder / "documents.jsonl"
    lines = (json.dumps({"id": str(i), "text": text}) for i, text in enumerate(word_texts(documents)))
    source.write_text("\n".join(lines), encoding="utf-8")
    say(f"encoding {documents:,} passages")
    encode_file(MODEL, [str(source)], folder / "vectors", role="document")
    return build_index(folder / "vectors", folder / "index")


@contextmanager
def serving(index: Path, limits: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``llara serve`` on any port; ends with SIGTERM and must exit with 0."""
    options = [part for limit in limits for part in ("--limit", limit)]
    command = [
        sys.executable,
        "-m",
        "llara",
        "serve",
        "--index",
        str(index),
        "--port",
        "0",
        "--no-access-log",
    ]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
    if code:
        raise SystemExit(f"the service exited with {code}")


def ask(url: str, path: str, content: dict[str, Any]) -> dict[str, Any]:
    """One request, the simple way."""
    request = urllib.request.Request(
        url + path, json.dumps(content).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def check_vectors(url: str, peer: ProcessPoolExecutor, options: argparse.Namespace) -> None:
    """Refuse to measure what is not equal."""
    texts = queries(40, options.words)
    served = [item["embedding"] for item in ask(url, PATHS["embeddings"], body("embeddings", texts))["data"]]
    alone = peer.submit(vectors_alone, texts).result()
    differ = max(abs(a - b) for x, y in zip(served, alone, strict=True) for a, b in zip(x, y, strict=True))
    if not differ <= TOLERANCE:
        raise SystemExit(f"the vectors differ by {differ:.2g}, allowed {TOLERANCE:g}")
    say(f"same vectors (largest difference {differ:.2g})")


def batch_sums(url: str) -> dict[str, float]:
    """Batches so far, and the sums of what they held."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        text = answer.read().decode()
    numbers = {name: float(value) for name, value in re.findall(r"^(llara_batch_\w+) (\S+)$", text, re.M)}
    return {name: numbers[f"llara_batch_{name}"] for name in ("texts_count", "texts_sum", "seconds_sum")}


def body(what: str, texts: Sequence[str]) -> dict[str, Any]:
    """A request's body."""
    if what == "embeddings":
        return {"input": list(texts), "model": f"{MODEL}:query", "encoding_format": "base64"} | (
            {"encoding_format": "float"} if len(texts) > 1 else {}
        )
    return {"query": texts[0], "k": 10}


def queries(count: int, words: int) -> list[str]:
    """Queries, all different."""
    from encoding import word_texts

    texts = word_texts(1_000, mean_words=words, seed=1)
    return [f"{texts[number % len(texts)]} {number}" for number in range(count)]


# -- the load


async def client(
    address: tuple[str, int], path: str, bodies: Iterator[bytes], until: float, times: list[float]
) -> int:
    """Ask on one connection until the time is over; returns the number of answers that were not 200.

    HTTP is written by hand: a client library would take more of the processor than the service itself.
    """
    errors = 0
    reader, writer = await asyncio.open_connection(*address)
    while time.perf_counter() < until:
        content = next(bodies)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n"
        )
        started = time.perf_counter()
        writer.write(head.encode() + content)
        answer = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"content-length: (\d+)", answer)
        assert size is not None, answer
        await reader.readexactly(int(size[1]))
        times.append(time.perf_counter() - started)
        errors += not answer.startswith(b"HTTP/1.1 200")
    writer.close()
    return errors


def load(what: str, url: str, clients: int, seconds: float, words: int) -> dict[str, Any]:
    """Answers a second, their latency in ms, and errors, of so many clients at once."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    bodies = iter([json.dumps(body(what, [text])).encode() for text in queries(200_000, words)])
    times: list[float] = []

    async def all_clients() -> list[int]:
        until = time.perf_counter() + seconds
        return await asyncio.gather(
            *(client((host, int(port)), PATHS[what], bodies, until, times) for _ in range(clients))
        )

    started = time.perf_counter()
    errors = sum(asyncio.run(all_clients()))
    taken = time.perf_counter() - started
    cuts = statistics.quantiles(times, n=1_000) if len(times) > 1 else times * 999
    return {
        "requests": len(times),
        "requests_per_second": round(len(times) / taken, 1),
        "p50_ms": round(1_000 * cuts[499], 2),
        "p99_ms": round(1_000 * cuts[989], 2),
        "max_ms": round(1_000 * max(times), 2),
        "errors": errors,
    }


def resident_mib(pid: int) -> float | None:
    """Resident memory of a process; None where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def watched(pid: int, function: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], list[float]]:
    """What a function gives, and the resident memory of a process every second meanwhile."""
    import threading

    readings: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            found = resident_mib(pid)
            if found is not None:
                readings.append(found)
            done.wait(1.0)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        return function(), readings
    finally:
        done.set()
        thread.join()


# -- the peers, in a process that has the model and no server

_PEER: dict[str, Any] = {}


def _encoder() -> Any:
    if not _PEER:
        from llara.encoder import Encoder
        from llara.model import load as load_model

        _PEER["encoder"] = Encoder(load_model(MODEL))
    return _PEER["encoder"]


def vectors_alone(texts: Sequence[str]) -> list[list[float]]:
    """Each text's vector, computed alone."""
    found: list[list[float]] = [_encoder().encode([text], role="query")[0].tolist() for text in texts]
    return found


def text_by_text(seconds: float, words: int) -> float:
    """Texts a second, one a call."""
    texts = queries(5_000, words)
    _encoder().encode(texts[:1], role="query")
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        _encoder().encode([texts[count % len(texts)]], role="query")
        count += 1
    return count / (time.perf_counter() - started)


def all_at_once(seconds: float, words: int, size: int) -> float:
    """Texts a second, so many a call."""
    texts = queries(size, words)
    _encoder().encode(texts[:64], role="query")
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        _encoder().encode(texts, role="query")
        count += size
    return count / (time.perf_counter() - started)


# -- all of it


def measure(
    what: str, url: str, pid: int, peer: ProcessPoolExecutor, options: argparse.Namespace
) -> dict[str, Any]:
    """The load and its peers in turns."""
    turns, one, single, together, memory = [], [], [], [], []
    for turn in range(options.repetitions):
        single.append(peer.submit(text_by_text, options.peer_seconds, options.words).result())
        one.append(load(what, url, 1, options.peer_seconds, options.words))
        run = lambda: load(what, url, options.clients, options.seconds, options.words)  # noqa: E731
        before = batch_sums(url)
        found, readings = watched(pid, run)
        held = {name: value - before[name] for name, value in batch_sums(url).items()}
        found["texts_per_batch"] = round(held["texts_sum"] / held["texts_count"], 1)
        found["model_busy"] = round(held["seconds_sum"] * found["requests_per_second"] / found["requests"], 3)
        turns.append(found)
        memory += readings
        many = peer.submit(all_at_once, options.peer_seconds, options.words, options.at_once)
        together.append(many.result())
        say(f"{what}, turn {turn + 1} of {options.repetitions}: {found['requests_per_second']} a second")
    rates = [turn["requests_per_second"] for turn in turns]
    third = max(1, len(memory) // 3)
    return {
        "turns": turns,
        "one_client": one,
        "text_by_text_per_second": spread(single),
        "all_at_once_per_second": spread(together),
        "over_one_client": spread([a / b["requests_per_second"] for a, b in zip(rates, one, strict=True)]),
        "over_text_by_text": spread([a / b for a, b in zip(rates, single, strict=True)]),
        "of_all_at_once": spread([a / b for a, b in zip(rates, together, strict=True)]),
        "resident_mib": memory
        and {
            "first_third": round(statistics.mean(memory[:third]), 1),
            "last_third": round(statistics.mean(memory[-third:]), 1),
            "max": max(memory),
        },
    }


def table(found: dict[str, Any]) -> list[list[str]]:
    """A row for each way."""
    rows = [["", "a second", "p50 ms", "p99 ms", "errors", "times one client", "times text by text", "MiB"]]
    for what, part in found.items():
        for name, turns in (
            (f"{what}, clients at once", part["turns"]),
            (f"{what}, one", part["one_client"]),
        ):
            values = [[turn[key] for turn in turns] for key in ("requests_per_second", "p50_ms", "p99_ms")]
            row = [name, *(f"{statistics.median(each):g}" for each in values)]
            row.append(str(sum(turn["errors"] for turn in turns)))
            if turns is part["turns"]:
                row += [f"{part[key]['median']:.2f}" for key in ("over_one_client", "over_text_by_text")]
                memory = part["resident_mib"]
                row.append(f"{memory['first_third']:g} to {memory['last_third']:g}" if memory else "")
            rows.append(row + [""] * (8 - len(row)))
        for key in ("text_by_text_per_second", "all_at_once_per_second"):
            name = f"the model alone, {key.removesuffix('_per_second').replace('_', ' ')}"
            rows.append([name, f"{part[key]['median']:g}", *[""] * 6])
    return rows


if __name__ == "__main__":
    main()
