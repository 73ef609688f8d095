"""Each kind of index over the same vectors: recall, queries/s, bytes, build time and memory.

The vectors are made in clusters, as texts on some subjects are: centres of Zipf's sizes, and around each of
them noise whose directions fall off, turned at random (about 23 of 256 directions carry it). Queries are
drawn alike. They are written as a vectors directory, shard by shard, and every index is built from it by
``build_index`` in a process of its own; searches are timed in other processes, with one thread and with
all. Each is asked in batches of 50 until 1,000 queries are answered or ten seconds have passed by the clock,
so that slow ones, or a busy machine, answer fewer: their recall is of those. What is done is kept in the work
directory, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine, make_parser, peak_mib, report, say

from llara.corpus import Document
from llara.files import write_text_atomic
from llara.indexes import StoredIndex, build_index, open_index
from llara.vectors import Shard, VectorsManifest, texts_table

EXAMPLE = "python benchmarks/index_kinds.py --work /tmp/index_bench --out benchmarks/results/index_kinds.json"
K = 10
_SECONDS = 10.0  # of searching in batches; fewer of the 1,000 queries are asked where they take longer
_QUERIES = 1000


@dataclass(frozen=True)
class Case:
    """One index: its kind, what is set, and the searches that are timed, each by its own settings."""

    kind: str
    settings: tuple[str, ...] = ()
    searches: tuple[tuple[str, ...], ...] = ((),)
    backend: str = "faiss"
    share: float = 1.0  # of the vectors, where all are too many

    @property
    def name(self) -> str:
        """The kind and what is set, as a file is named."""
        before = "" if self.backend == "faiss" else f"{self.backend}-"
        return "-".join([before + self.kind, *(text.replace("=", "-") for text in self.settings)])


CASES = (
    Case("exact"),
    Case("sq8"),
    Case("binary", searches=((), ("k_factor=100",))),
    Case("binary", ("rescore=float32",), searches=((), ("k_factor=100",))),
    Case("ivf-flat", searches=(("nprobe=16",), (), ("nprobe=128",))),
    Case("ivf-sq8", searches=((), ("nprobe=128",))),
    Case("ivf-pq", searches=((), ("nprobe=128",))),
    Case("ivf-pq", ("rescore=int8",), searches=((), ("nprobe=128",))),
    Case("hnsw", searches=(("efSearch=32",), (), ("efSearch=512",))),
    Case("exact", backend="milvus", share=0.1),
    Case("hnsw", backend="milvus", share=0.1),
)


def main() -> None:
    """Make the vectors, then build and search one index after the other, and write what was measured."""
    parser = make_parser(__doc__.partition("\n\n")[0], EXAMPLE)
    parser.add_argument("--count", type=int, default=2_000_000, help="vectors")
    parser.add_argument("--dimension", type=int, default=256, help="numbers per vector")
    parser.add_argument(
        "--work", type=Path, default=None, help="where vectors and indexes are kept (default: nowhere)"
    )
    parser.add_argument(
        "--cases", nargs="+", metavar="NAME", help=f"some of {' '.join(case.name for case in CASES)}"
    )
    parser.add_argument("--again", action="store_true", help="time the searches again; indexes stay")
    parser.add_argument("--step", nargs=2, metavar=("WHAT", "CASE"), help=argparse.SUPPRESS)
    parser.add_argument("--of", type=int, default=-1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.count, arguments.dimension = 4000, 32
        few = ["exact", "ivf-pq-rescore-int8", *(["milvus-hnsw"] if has("milvus-lite") else [])]
        arguments.cases = arguments.cases or few
    known = {case.name: case for case in CASES}
    if unknown := set(arguments.cases or ()) - set(known):
        parser.error(f"no case {', '.join(sorted(unknown))}")
    if arguments.step:
        print(json.dumps(step(arguments.work, known[arguments.step[1]], arguments.step[0], arguments.of)))
        return
    cases = [known[name] for name in arguments.cases or known]
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        result = run(work, cases, arguments.count, arguments.dimension, again=arguments.again)
    report(result, table(result), arguments.out)


def run(work: Path, cases: list[Case], count: int, dimension: int, *, again: bool) -> dict[str, Any]:
    """Everything, in order; what the work directory holds already is not done again."""
    for share in sorted({case.share for case in cases}):
        make_vectors(vectors_of(work, share), round(count * share), dimension)
    if not (work / "queries.npy").exists():
        np.save(work / "queries.npy", next(generated(_QUERIES, dimension, seed=10**6, at_once=_QUERIES)))
    indexes = {}
    for case in cases:
        built = kept(work / f"{case.name}.build.json", lambda case=case: built_index(work, case))
        name = f"{case.name}.search.json"
        if again:
            (work / name).unlink(missing_ok=True)
        searches = kept(work / name, lambda case=case: searched(work, case))
        indexes[case.name] = {"kind": case.kind, "backend": case.backend, **built, "searches": searches}
        say(json.dumps(indexes[case.name]))
    packages = ("faiss-cpu", "pymilvus", "milvus-lite")
    return {
        "benchmark": "index_kinds",
        "settings": {"count": count, "dimension": dimension, "k": K, "queries": _QUERIES},
        "data_mib": round(4 * count * dimension / 2**20, 1),
        "indexes": indexes,
        "machine": {**machine(), **{name: version(name) for name in packages if has(name)}},
    }


def kept(path: Path, measure: Callable[[], Any]) -> Any:
    """What ``path`` holds, or what ``measure`` finds, which it then holds."""
    if not path.exists():
        write_text_atomic(path, json.dumps(measure(), indent=1))
    return json.loads(path.read_text(encoding="utf-8"))


def has(package: str) -> bool:
    """Whether it is installed."""
    try:
        version(package)
    except ModuleNotFoundError:
        return False
    return True


def built_index(work: Path, case: Case) -> dict[str, Any]:
    """Build an index in a process of its own."""
    shutil.rmtree(work / case.name, ignore_errors=True)
    say(f"building {case.name}")
    return in_process(work, case, "build")


def searched(work: Path, case: Case) -> list[dict[str, Any]]:
    """Search it in its ways, with one thread and with all, each in a process of its own."""
    truth = work / f"truth-{case.share:g}.npy"
    if not truth.exists():
        np.save(truth, np.array(in_process(work, case, "truth")["found"]))
    searches = []
    for number, settings in enumerate(case.searches):
        say(f"searching {case.name} {' '.join(settings)}")
        single = in_process(work, case, "search", threads=1, of=number)
        every = in_process(work, case, "search", of=number)
        single["queries_per_second_all_threads"] = every.pop("queries_per_second_by_the_clock")
        searches.append(single)
    return searches


def in_process(
    work: Path, case: Case, what: str, *, threads: int | None = None, of: int = -1
) -> dict[str, Any]:
    """What ``step`` gives, in a fresh process with so many threads."""
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(threads or os.cpu_count())
    command = [sys.executable, __file__, "--work", str(work), "--step", what, case.name, "--of", str(of)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def step(work: Path, case: Case, what: str, of: int) -> dict[str, Any]:
    """One measurement."""
    if what == "build":
        return build(work, case)
    queries = np.load(work / "queries.npy")
    if what == "truth":
        return {"found": truth(vectors_of(work, case.share), queries)}
    return search(work, case, queries, case.searches[of])


# -- the vectors


def vectors_of(work: Path, share: float) -> Path:
    """The directory of that share of the vectors."""
    return work / f"vectors-{share:g}"


def generated(count: int, dimension: int, *, seed: int, at_once: int = 50_000) -> Iterator[np.ndarray]:
    """Unit vectors in clusters, float32 [n, D] at a time; the same for the same seed."""
    shared = np.random.default_rng(0)
    centres = shared.standard_normal((5000, dimension), dtype=np.float32)
    sizes = 1 / np.arange(10, 10 + len(centres))  # Zipf's law, without its head
    turn, _ = np.linalg.qr(shared.standard_normal((dimension, dimension)))
    falls = (1 + np.arange(dimension)) ** -0.5
    spread = ((falls / np.linalg.norm(falls))[:, None] * turn * math.sqrt(dimension)).astype(np.float32)
    for start in range(0, count, at_once):
        rng = np.random.default_rng([seed, start])
        rows = min(at_once, count - start)
        which = rng.choice(len(centres), size=rows, p=sizes / sizes.sum())
        block = centres[which] + rng.standard_normal((rows, dimension), dtype=np.float32) @ spread
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        yield block


def make_vectors(out: Path, count: int, dimension: int) -> None:
    """Write a vectors directory, unless it is there."""
    import pyarrow.parquet as pq

    if (out / "manifest.json").exists():
        return
    say(f"writing {count:,} vectors")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    shards: list[Shard] = []
    done = 0
    for block in generated(count, dimension, seed=1):
        shard = Shard(f"shard-{len(shards):05d}.npy", f"shard-{len(shards):05d}.parquet", len(block), "", "")
        np.save(out / shard.vectors, block)
        documents = [Document(id=str(done + row), text=f"text {done + row}") for row in range(len(block))]
        pq.write_table(texts_table(documents), out / shard.texts)
        shards.append(shard)
        done += len(block)
    VectorsManifest(
        model="none",
        fingerprint="0" * 64,
        role="document",
        title_separator=" ",
        max_tokens=None,
        count=count,
        dimension=dimension,
        dtype="float32",
        shards=tuple(shards),
        model_dimension=dimension,
    ).write(out)


def truth(vectors: Path, queries: np.ndarray) -> list[list[int]]:
    """The positions of the ten best of each query, in float32 by numpy, block by block."""
    manifest = VectorsManifest.read(vectors)
    best = np.full((len(queries), K), -np.inf, dtype=np.float32)
    found = np.full((len(queries), K), -1, dtype=np.int64)
    start = 0
    for shard in manifest.shards:
        scores = queries @ np.load(vectors / shard.vectors).T
        top = np.argpartition(-scores, K, axis=1)[:, :K]
        both = np.hstack([best, np.take_along_axis(scores, top, axis=1)])
        ids = np.hstack([found, top + start])
        order = np.argsort(-both, axis=1, kind="stable")[:, :K]
        best, found = np.take_along_axis(both, order, axis=1), np.take_along_axis(ids, order, axis=1)
        start += shard.count
    return found.tolist()


# -- what is measured


def build(work: Path, case: Case) -> dict[str, Any]:
    """Build, as ``llara index`` does, documents included."""
    started, processor = time.perf_counter(), time.process_time()
    out = build_index(
        vectors_of(work, case.share),
        work / case.name,
        kind=case.kind,  # type: ignore[arg-type]
        settings=case.settings,
        backend=case.backend,  # type: ignore[arg-type]
    )
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    opened = open_index(out)
    count = len(opened)
    files = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith("documents.")]
    finer = sum(path.stat().st_size for path in files if path.name.startswith("finer."))
    return {
        "count": count,
        "settings": opened.manifest.settings,
        "build_seconds": round(seconds, 1),
        "build_processor_seconds": round(processor, 1),
        "build_peak_mib": round(peak_mib(), 1),
        "bytes_per_vector": round(sum(path.stat().st_size for path in files) / count, 1),
        "finer_bytes_per_vector": round(finer / count, 1),
    }


def search(work: Path, case: Case, queries: np.ndarray, settings: tuple[str, ...]) -> dict[str, Any]:
    """Ask in batches of 50, after two to warm up, and one by one.

    Seconds are the processor's, which a busy machine spoils less than the clock's; with several threads
    only the clock tells.
    """
    opened = open_index(work / case.name, settings=settings)
    truth = np.load(work / f"truth-{case.share:g}.npy")

    def ask(vectors: np.ndarray) -> list[list[int]]:
        if isinstance(opened, StoredIndex):
            found: list[list[int]] = opened.index.search(vectors, K)[1].tolist()
            return found
        return [[int(hit.document.id) for hit in hits] for hits in opened.search(vectors, K)]

    answers = [row for start in (0, 50) for row in ask(queries[start : start + 50])]
    taken = clock = 0.0
    for start in range(100, len(queries), 50):
        started, ticking = time.process_time(), time.perf_counter()
        answers += ask(queries[start : start + 50])
        taken += time.process_time() - started
        clock += time.perf_counter() - ticking
        if clock > _SECONDS:
            break
    one_by_one = []
    for query in queries[:100]:
        started = time.process_time()
        ask(query[None])
        one_by_one.append(time.process_time() - started)
        if sum(one_by_one) > _SECONDS / 2:
            break
    shares = [len({*row} & {*best}) / K for row, best in zip(answers, truth.tolist(), strict=False)]
    asked = len(answers) - 100
    return {
        "settings": dict(text.split("=") for text in settings),
        "queries": len(answers),
        "recall@10": round(float(np.mean(shares)), 4),
        "queries_per_second": float(f"{asked / taken:.4g}"),
        "queries_per_second_by_the_clock": float(f"{asked / clock:.4g}"),
        "milliseconds_median": float(f"{1000 * statistics.median(one_by_one):.4g}"),
        "search_peak_mib": round(peak_mib(), 1),
    }


def table(result: Mapping[str, Any]) -> list[list[str]]:
    """What is printed: a row a search."""
    rows = [["index", "recall@10", "queries/s", "all threads", "ms", "bytes", "build CPU s", "peak MiB"]]
    of_build = ("bytes_per_vector", "build_processor_seconds", "build_peak_mib")
    for name, index in result["indexes"].items():
        rows += [
            [
                " ".join([name, *(f"{key}={value}" for key, value in one["settings"].items())]),
                f"{one['recall@10']:.3f}",
                f"{one['queries_per_second']:,.4g}",
                f"{one['queries_per_second_all_threads']:,.4g}",
                f"{one['milliseconds_median']:,.3g}",
                *(f"{index[key]:,.0f}" for key in of_build),
            ]
            for one in index["searches"]
        ]
    return rows


if __name__ == "__main__":
    main()
