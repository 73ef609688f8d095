"""Pages that are made of the code say what the code says."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from llara.cli import build_parser

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse lays help out otherwise from 3.13 on")
def test_command_line_settings_and_names_are_documented_as_they_are() -> None:
    command = [sys.executable, "scripts/reference_pages.py", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_a_page_are_ones_that_the_command_line_takes(page: Path) -> None:
    parser = build_parser()
    for command in commands(page):
        try:
            parser.parse_args(command[1:])
        except SystemExit:
            pytest.fail(f"{page.name}: {shlex.join(command)}")


def commands(page: Path) -> list[list[str]]:
    """The commands of a page's shell blocks that are written out, without [options] and ... to fill in."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [
        list(itertools.takewhile(lambda word: word not in ("|", ">"), shlex.split(line, comments=True)))
        for line in lines
        if line.startswith("llara ") and "..." not in line.partition("#")[0] and "[" not in line
    ]


def test_commands_are_found() -> None:
    assert len(commands(ROOT / "docs/tutorial.md")) >= 8
