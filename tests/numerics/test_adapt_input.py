"""``llara adapt`` given what it cannot use: one error that says what to do, and nothing left behind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from adapting import adapt, make_workspace
from outcomes import (
    assert_one_error,
)
from processes import llara
from tiny import byte_level, write_model


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("adapt"))


def damaged(folder: Path) -> None:
    shutil.copytree(folder / "base", folder / "damaged")
    os.truncate(folder / "damaged" / "model.safetensors", 1000)


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data) and None  # type: ignore[return-value]


def nothing(folder: Path) -> None:
    pass


BAD: dict[str, tuple[Callable[[Path], Any], list[str], str]] = {
    "a missing model": (nothing, ["--base", "no/such/model"], "there is no model 'no/such/model'"),
    "a folder that is no model": (nothing, ["--base", "."], r"neither config"),
    "damaged weights": (damaged, ["--base", "damaged"], "cannot load the causal language model damaged"),
    "a model without EOS": (
        lambda folder: write_model(folder / "no-eos", byte_level(eos=False)),
        ["--base", "no-eos"],
        "no end-of-sequence token",
    ),
    "a missing corpus": (nothing, ["--corpus", "nowhere.jsonl"], "nowhere.jsonl"),
    "an empty corpus": (text("empty.jsonl", ""), ["--corpus", "empty.jsonl"], "empty|no text|no document"),
    "blank documents": (text("blank.jsonl", '{"text": " "}\n'), ["--corpus", "blank.jsonl"], "blank"),
    "invalid UTF-8": (
        text("latin.jsonl", b'{"text": "caf\xe9 au lait"}\n'),
        ["--corpus", "latin.jsonl"],
        "latin.jsonl:1.*UTF-8",
    ),
    "a line that is not JSON": (
        text("broken.jsonl", '{"text": "fine words, eight or more of them"}\n{"text": \n'),
        ["--corpus", "broken.jsonl"],
        "broken.jsonl:2.*JSON",
    ),
    "a missing field": (
        text("other.jsonl", '{"body": "x"}\n'),
        ["--corpus", "other.jsonl"],
        "other.jsonl:1.*'text'",
    ),
    "segments all too short": (
        text("short.jsonl", '{"text": "a"}\n'),
        ["--corpus", "short.jsonl"],
        "no segment of the corpus has at least 4 tokens",
    ),
    "a limit without room": (
        nothing,
        ["--set", "corpus.segment_tokens=16", "--set", "prompt.preset=eight-words"],
        "no room for text",
    ),
    "projections that do not exist": (
        nothing,
        ["--set", "lora.rank=2", "--set", 'lora.projections=["query"]'],
        "lora.projections names query, which llama does not have",
    ),
    "an unknown tracker": (nothing, ["--set", 'training.report_to=["paper"]'], "report_to names 'paper'"),
    "an output that exists": (text("taken/file", "x"), ["--out", "taken"], "taken exists and is not empty"),
    "an output below a file": (nothing, ["--out", "recipe.toml/out"], "cannot write .*recipe.toml"),
    "nothing to resume": (nothing, ["--resume"], "no unfinished run in .* to resume"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_error_and_leaves_nothing(case: str, workspace: Path) -> None:
    prepare, arguments, message = BAD[case]
    (workspace / "taken").mkdir(exist_ok=True)
    prepare(workspace)
    before = sorted(workspace.rglob("*"))
    done = llara(*adapt("never"), *arguments, cwd=workspace)
    assert_one_error(done, message)
    assert sorted(workspace.rglob("*")) == before


@pytest.mark.parametrize(
    ("stage", "kilobytes", "settings"),
    [
        ("the corpus", 8, []),
        ("the first checkpoint", 512, []),
        ("the model", 256, ["training.save_steps=0"]),
    ],
)
def test_a_full_disk_gives_one_error_and_leaves_nothing(
    stage: str, kilobytes: int, settings: list[str], workspace: Path, small_disk: Callable[[str], Path]
) -> None:
    disk = small_disk(f"size={kilobytes}k")
    done = llara(*adapt(str(disk / "out"), *settings), cwd=workspace)
    assert_one_error(done, "cannot write .*(No space left|checkpoint).*free the disk")
    assert not list(disk.iterdir())


def test_a_read_only_directory_gives_one_error(workspace: Path, small_disk: Callable[[str], Path]) -> None:
    disk = small_disk("ro")
    assert_one_error(llara(*adapt(str(disk / "out")), cwd=workspace), "cannot write .*Read-only")
