"""How many values a body may hold."""

from __future__ import annotations

import json
import time

import pytest

from llara.serve.errors import ApiError
from llara.serve.shape import check_shape

MANY = 600_000


@pytest.mark.parametrize(
    ("body", "most_items", "code"),
    [
        (b"{%s}" % b",".join(b'"a%d":1' % number for number in range(MANY)), 2_048, "too_large"),
        (b'{"input":[%s"a"]}' % (b'"a",' * MANY), 2_048, "too_large"),
        (rb'{"input":[%s"a"]}' % (rb'"\\",' * MANY), 2_048, "too_large"),
        (b'{"input":[%s[1]]}' % (b"[-1]," * MANY), 2_048, "too_large"),
        (b'{"input":[%s1]}' % (b"1," * 3 * MANY), 2_048, "too_large"),
        (b'{"input":[%s{}]}' % (b"{}," * MANY), 2_048, "unknown_field"),
        (b'{"query":[%s1]}' % (b"1," * MANY), 0, "too_large"),
        (b"[" * MANY, 2_048, "too_large"),
        (b'\\"' * MANY, 0, None),  # no JSON, and quick to find so
        (b'"' * MANY, 0, "too_large"),
    ],
)
def test_a_body_of_many_values_is_refused_before_it_is_parsed(body, most_items, code):
    started = time.perf_counter()
    if code is None:
        check_shape(body, most_items)
    else:
        with pytest.raises(ApiError) as refused:
            check_shape(body, most_items)
        assert refused.value.code == code
    assert time.perf_counter() - started < 0.5  # seconds, where pydantic takes that long


@pytest.mark.parametrize(
    "value",
    [
        {"input": ['{"a": [1, 2], "b": "\\"'] * 2_048, "model": "m", "user": '\\"},{', "dimensions": 3},
        {"input": [[7] * 512] * 2_048},
        {"input": "a,[{:" * 20_000},
        {"input": ["\\" * 1_001 + '"' * 1_001] * 100},
    ],
)
def test_whatever_texts_hold_is_no_value(value):
    check_shape(json.dumps(value).encode(), 2_048)
    check_shape(json.dumps(value, ensure_ascii=False, indent=1).encode(), 2_048)


def test_many_unknown_names_do_not_hold_up_others(client):
    body = b"{%s}" % b",".join(b'"a%d":1' % number for number in range(MANY))
    started = time.perf_counter()
    for path in ("/search", "/inspect/pair", "/v1/embeddings"):
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")
    assert time.perf_counter() - started < 5
