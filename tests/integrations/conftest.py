"""A model as a user has one, and the snippets of docs/integrations.md."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForCausalLM

from llara.model import MINI, resolve

QUERY = "how do I open a file?"
DOCUMENTS = ["open() returns a file object.", "A list holds items in order."]
ROUNDING = 1e-5  # float32; a query encoded as a document differs by 0.05

PAGE = Path(__file__).parents[2] / "docs/integrations.md"
Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def model_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """llara-mini in float32, so that batches of other sizes give the same numbers."""
    directory = tmp_path_factory.mktemp("models") / "my-model"
    shutil.copytree(resolve(MINI), directory)
    model = AutoModelForCausalLM.from_pretrained(resolve(MINI), dtype=torch.float32)
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def model(model_directory: Path) -> SentenceTransformer:
    return SentenceTransformer(str(model_directory), device="cpu")


@pytest.fixture(scope="session")
def assert_same_vectors(model: SentenceTransformer) -> Callable[..., None]:
    """A snippet's ``query`` and ``documents`` are the vectors that the model itself gives."""
    expected = model.encode_query(QUERY)
    assert np.abs(expected - model.encode_document(QUERY)).max() > 0.01  # the roles can be told apart

    def check(names: dict[str, Any], tolerance: float = ROUNDING) -> None:
        np.testing.assert_allclose(names["query"], expected, atol=tolerance)
        np.testing.assert_allclose(names["documents"], model.encode_document(DOCUMENTS), atol=tolerance)

    return check


@pytest.fixture
def run(model_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``run(heading, replace={})``: what a section's snippets leave behind, run in turn beside my-model."""
    (tmp_path / "my-model").symlink_to(model_directory)
    monkeypatch.chdir(tmp_path)

    def run_section(heading: str, replace: dict[str, str] | None = None) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "__main__"}
        found = snippets(heading)
        assert found, f"{PAGE.name} has no snippet under {heading!r}"
        for code in found:
            for old, new in (replace or {}).items():
                code = code.replace(old, new)
            exec(compile(code, f"{PAGE.name}, {heading}", "exec"), names)
        return names

    return run_section


def snippets(heading: str) -> list[str]:
    """The Python blocks under a heading of the second or third level, up to the next of the same level."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(rf"^(##+) {re.escape(heading)}\n", text, maxsplit=1, flags=re.MULTILINE)
    if len(section) != 3:
        return []
    _, level, rest = section
    body = re.split(rf"^#{{2,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```python\n(.*?)^```$", body, flags=re.MULTILINE | re.DOTALL)
