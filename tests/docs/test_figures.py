"""The figure of the joint prompt shows what the paper says, and the one in the docs is the one drawn now."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
DRAW = "import sys; sys.path.insert(0, 'scripts'); import method_figures, pathlib; "
DRAW += "method_figures.draw_joint(pathlib.Path(sys.argv[1]))"


def test_the_joint_prompt_is_drawn_as_the_paper_has_it(tmp_path: Path) -> None:
    drawn = tmp_path / "joint.svg"
    subprocess.run([sys.executable, "-c", DRAW, str(drawn)], cwd=ROOT, check=True)
    text, prompt = 6, 6  # tokens: <s> W ings st all . and, twice, four words of a prompt, a blank, </s>
    parts = ["text"] * text + ["self"] * prompt + ["next"] * prompt
    expected = {
        (query, key)
        for query in range(len(parts))
        for key in range(query + 1)
        if parts[key] in ("text", parts[query])
    }
    assert squares(drawn) == expected
    assert squares(ROOT / "docs/figures/method-joint.svg") == expected


def squares(path: Path) -> set[tuple[int, int]]:
    found = re.findall(r'id="sees-(\d+)-(\d+)"', path.read_text(encoding="utf-8"))
    return {(int(query), int(key)) for query, key in found}
