"""What a run leaves: its weights and losses, or one error; and when two runs are the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from processes import Done, script
from safetensors.torch import load_file
from torch import Tensor


def succeed(done: Done) -> Done:
    """The run, which must have ended well."""
    assert done.code == 0, done.stderr
    return done


def assert_one_error(done: Done, message: str) -> None:
    assert (done.code, done.stdout) == (1, ""), done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    last = [line for line in done.stderr.splitlines() if not line.startswith("  ")][-1]
    assert last == errors[0], done.stderr  # the last word, but for details below it
    assert re.search(message, errors[0]), errors[0]
    assert "Traceback" not in done.stderr


def run_card(directory: Path) -> float:
    """The cosine that the Python of a model's README prints, run with the model's path put in."""
    text = (directory / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    code = code.replace("this directory", str(directory))
    path = directory.with_name(f"{directory.name}-card.py")
    path.write_text(code, encoding="utf-8")
    done = succeed(script(path, cwd=directory.parent))
    [cosine] = re.findall(r"tensor\(\[\[(.*?)\]\]\)", done.stdout)
    return float(cosine)


def weights(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / "model.safetensors")


def training(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "training.json").read_text())
    return content


def log(directory: Path) -> list[dict[str, float]]:
    entries: list[dict[str, float]] = training(directory)["log"]
    return entries


def losses(directory: Path) -> list[float]:
    return [entry["loss"] for entry in log(directory) if "loss" in entry]


def assert_close(one: Path, other: Path, *, tolerance: float = 5e-5) -> None:
    """Same losses and same weights, up to the order in which float32 numbers were added."""
    for a, b in zip(log(one), log(other), strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)
    ours, theirs = weights(one), weights(other)
    assert max((ours[name] - theirs[name]).abs().max().item() for name in theirs) < tolerance


def assert_same_bytes(one: Path, other: Path) -> None:
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert log(one) == log(other)
