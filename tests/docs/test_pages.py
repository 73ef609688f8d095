"""Pages that are made of the code say what the code says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse lays help out otherwise from 3.13 on")
def test_command_line_settings_and_names_are_documented_as_they_are() -> None:
    command = [sys.executable, "scripts/reference_pages.py", "--check"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
