"""The real command line in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Llara = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def llara(tmp_path: Path) -> Llara:
    """Call ``llara(*arguments, stdin="")`` in ``tmp_path``; gives exit code, stdout and stderr."""

    def call(*arguments: object, stdin: str | bytes = "") -> "subprocess.CompletedProcess[str]":
        data = stdin.encode() if isinstance(stdin, str) else stdin
        command = [sys.executable, "-m", "llara", *map(str, arguments)]
        done = subprocess.run(command, input=data, capture_output=True, cwd=tmp_path, check=False)
        return subprocess.CompletedProcess(
            command, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
        )

    return call
