"""Kill ``llara encode`` at random moments, resume it, and compare every byte with a run that was left alone.

Two processes of the engine ``local`` are killed with their whole process group (SIGKILL): some kills fall
anywhere from the start on, while libraries load; most wait until this attempt has finished its first shard.
When a run comes to its end it is compared and another one begins, until there were so many kills. With
``--ray``, one worker of a Ray cluster is killed in the middle (Ray must replace it, and the run end by
itself), and then the whole run, which is resumed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import machine, make_parser, report, say

EXAMPLE = "python benchmarks/encode_kill.py --ray --seed 1 --out benchmarks/results/encode_kill.json"
MARK = f"LLARA_ENCODE_KILL={uuid.uuid4()}"  # in the environment of every process that is started here


def main() -> None:
    parser = make_parser(__doc__.partition("\n\n")[0], EXAMPLE)
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs of the local engine's process group")
    parser.add_argument("--documents", type=int, default=600, help="documents of the corpus")
    parser.add_argument("--shard-size", type=int, default=15, help="documents of a shard")
    parser.add_argument("--ray", action="store_true", help="also kill a worker, and the driver, of a Ray run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.kills, arguments.documents = 2, 60
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), arguments)
    report(result, table(result), arguments.out)
    if not result["identical"]:
        sys.exit("a resumed run differs from one that was left alone")


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """An undisturbed run, then the kills."""
    write_corpus(folder / "corpus.jsonl", arguments.documents)
    encode = Encode(folder, arguments.shard_size)
    started = time.monotonic()
    encode.start("whole", "local", workers=1).wait()
    seconds = time.monotonic() - started
    whole = content(folder / "whole")
    say(f"undisturbed, one process: {seconds:.0f} s, {len(whole) // 2} shards")
    kills, ends = local_kills(encode, arguments.kills, random.Random(arguments.seed), seconds)
    result = {
        "benchmark": "encode_kill",
        "settings": {n: getattr(arguments, n) for n in ("kills", "documents", "shard_size", "seed")},
        "shards": len(whole) // 2,
        "undisturbed_seconds": round(seconds, 1),
        "kills": kills,
        "runs": len(ends),
        "identical": all(end == whole for end in ends),
    }
    if arguments.ray:
        result["ray"] = ray_kills(encode, whole)
        result["identical"] &= all(part["identical"] for part in result["ray"].values())
    return {**result, "machine": machine()}


def table(result: dict[str, Any]) -> list[list[str]]:
    """What is printed."""
    rows = [["kill", "after s", "shards done", "while"]]
    for number, kill in enumerate(result["kills"], start=1):
        rows.append([str(number), f"{kill['seconds']:.1f}", str(kill["shards_done"]), kill["while"]])
    for name, part in result.get("ray", {}).items():
        rows.append([f"ray, {name}", f"{part['seconds']:.1f}", str(part["shards_done"]), "encoding"])
    same = "the same bytes" if result["identical"] else "DIFFERENT BYTES"
    rows.append(["all", "", str(result["shards"]), f"{result['runs']} whole runs: {same}"])
    return rows


# -- the runs


class Encode:
    """``llara encode`` over one corpus, in a process group of its own."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self.folder = folder
        self._shard_size = shard_size

    def start(self, out: str, engine: str, *, workers: int, resume: bool = False) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "llara", "encode", "--model", "llara-mini", "--role", "document"]
        command += ["--input", "corpus.jsonl", "--out", out, "--shard-size", str(self._shard_size)]
        command += ["--engine", engine, "--workers", str(workers), *(["--resume"] if resume else [])]
        log = (self.folder / "log").open("ab")
        environment = {**os.environ, **dict([MARK.split("=")])}
        return subprocess.Popen(
            command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True, env=environment
        )

    def done(self, out: str) -> int:
        """Shards of an unfinished run that are done."""
        records = self.folder / f"{out}.partial" / "records"
        return sum(1 for _ in records.iterdir()) if records.is_dir() else 0

    def wait_for_shards(self, out: str, process: subprocess.Popen[bytes], number: int) -> None:
        """Until so many shards are done, or the process has ended."""
        while process.poll() is None and self.done(out) < number:
            time.sleep(0.005)

    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]


def local_kills(
    encode: Encode, wanted: int, moments: random.Random, seconds: float
) -> tuple[list[dict[str, Any]], list[dict[str, bytes]]]:
    """Kill two processes ``wanted`` times; each kill, and the content of each run that came to its end."""
    kills: list[dict[str, Any]] = []
    ends: list[dict[str, bytes]] = []
    while len(kills) < wanted or encode.done("killed"):
        process = encode.start("killed", "local", workers=2, resume=_stands(encode, "killed"))
        started, before = time.monotonic(), encode.done("killed")
        if len(kills) < wanted:
            early = moments.random() < 0.25
            if not early:
                encode.wait_for_shards("killed", process, before + 1)
            _sleep(process, moments.uniform(0, seconds / 2 if early else seconds / 6))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        if code == -signal.SIGKILL:
            done = encode.done("killed")
            moment = "loading" if done == before else "encoding"
            kill = {"seconds": round(time.monotonic() - started, 2), "shards_done": done, "while": moment}
            kills.append(kill)
            say(f"kill {len(kills)}: {kill}")
        elif code == 0:
            ends.append(content(encode.folder / "killed"))
            shutil.rmtree(encode.folder / "killed")
        else:
            sys.exit(f"llara encode ended with {code}:\n{encode.log()}")
    return kills, ends


def _stands(encode: Encode, out: str) -> bool:
    return (encode.folder / f"{out}.partial").exists() or (encode.folder / out).exists()


def _sleep(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Sleep so long, or until the process has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.005)


def ray_kills(encode: Encode, whole: dict[str, bytes]) -> dict[str, Any]:
    """Kill one worker, which Ray replaces; then, in another run, driver and cluster, and resume."""
    found: dict[str, Any] = {}
    with _no_ray_left():
        process, started = encode.start("worker", "ray", workers=2), time.monotonic()
        encode.wait_for_shards("worker", process, 3)
        os.kill(_processes(b"ray::MapWorker")[0], signal.SIGKILL)
        found["a worker"] = _facts(encode, "worker", started)
        code = process.wait()
        found["a worker"] |= {"exit_code": code, "identical": content(encode.folder / "worker") == whole}
    with _no_ray_left():
        process, started = encode.start("driver", "ray", workers=2), time.monotonic()
        encode.wait_for_shards("driver", process, 3)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        found["the run"] = _facts(encode, "driver", started)
    code = encode.start("driver", "local", workers=1, resume=True).wait()
    found["the run"] |= {"exit_code": code, "identical": content(encode.folder / "driver") == whole}
    return found


def _facts(encode: Encode, out: str, started: float) -> dict[str, Any]:
    return {"seconds": round(time.monotonic() - started, 2), "shards_done": encode.done(out)}


@contextmanager
def _no_ray_left() -> Iterator[None]:
    """End what is left of the cluster: a driver that is killed at once leaves it behind."""
    yield
    time.sleep(2)  # most ends by itself
    for process in _processes(b""):
        os.kill(process, signal.SIGKILL)


def _processes(name: bytes) -> list[int]:
    """Processes that began with a run of ours, and whose command line begins with ``name``."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = MARK.encode() in (folder / "environ").read_bytes().split(b"\0")
            if is_ours and (folder / "cmdline").read_bytes().startswith(name):
                found.append(int(folder.name))
        except OSError:  # it has ended
            continue
    return found


# -- the corpus and what comes of it


def write_corpus(path: Path, documents: int) -> None:
    """Paragraphs of Python's language reference."""
    from pydoc_data.topics import topics

    texts = [part for text in topics.values() for part in text.split("\n\n") if len(part) > 40]
    with path.open("w", encoding="utf-8") as file:
        for number in range(documents):
            text = texts[number % len(texts)][:300]
            file.write(json.dumps({"id": str(number), "text": text, "place": number}) + "\n")


def content(directory: Path) -> dict[str, bytes]:
    """The files of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()} if directory.is_dir() else {}


if __name__ == "__main__":
    main()
