"""What the tests of a running service ask, and how they read its answers."""

from __future__ import annotations

import httpx
import numpy as np
import openai

TEXTS = ["how do I open a file", "a list keeps its items in order", "", "巴黎在法国", "x" * 5_000]


def vectors_of(answer: openai.types.CreateEmbeddingResponse) -> np.ndarray:
    assert [item.index for item in answer.data] == list(range(len(answer.data)))
    return np.array([item.embedding for item in answer.data], dtype=np.float32)


def error_of(answer: httpx.Response) -> dict[str, str]:
    """The error, in the one shape that there is."""
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert list(content) == ["error"]
    assert list(content["error"]) == ["message", "type", "code"]
    assert "Traceback" not in answer.text
    error: dict[str, str] = content["error"]
    return error
