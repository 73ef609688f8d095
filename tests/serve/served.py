"""A real server in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

KEY = "a-key-of-the-tests-0123456789"
STRANGE_IDS = [
    "a/b c",
    "/srv/docs/ü.md",
    "巴黎 / 東京",
    "50%2Fb?x=1#y",
    'quo"te\\',
    "line\nbreak",
    "dot/../dot",
    "trailing/",
    ".",
    "..",
]


@dataclass
class Server:
    """A running ``llara serve``."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    key: str | None

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.key is None else {"Authorization": f"Bearer {self.key}"}

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port

    def client(self, **more: object) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=60, **more)  # type: ignore[arg-type]

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        with self.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}(\{{|\s)", line))

    def wait_for_metric(self, name: str, least: float) -> None:
        deadline = time.monotonic() + 60
        while self.metric(name) < least:
            assert time.monotonic() < deadline, f"{name} stays below {least}"
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def start(folder: Path, *arguments: object, key: str | None = None, **environment: str) -> Server:
    """Start a server on any free port and wait until it answers."""
    log = folder / f"log-{time.monotonic_ns()}.txt"
    variables = {name: value for name, value in os.environ.items() if name != "LLARA_API_KEY"}
    if key is not None:
        variables["LLARA_API_KEY"] = key
    command = [sys.executable, "-m", "llara", "serve", "--port", "0", *map(str, arguments)]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=stderr, env=variables | environment, text=True
        )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://"), log.read_text()
    return Server(process, url, log, key)
