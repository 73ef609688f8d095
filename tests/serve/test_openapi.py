"""The service does what its description says: schemathesis makes up requests, right and wrong ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx

HERE = Path(__file__).parent
EXAMPLES = 10  # made up for each operation, beside those that cover its description


def test_schemathesis_finds_nothing(server, tmp_path):
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        *("run", f"{server.url}/openapi.json", "--seed=1", f"--max-examples={EXAMPLES}"),
        f"--header=Authorization: Bearer {server.key}",
    ]
    found = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])},
        check=False,
    )
    assert found.returncode == 0, found.stdout[-6_000:] + found.stderr[-2_000:]
    assert "No issues found" in found.stdout


def test_every_operation_is_described_with_its_errors(server):
    document = httpx.get(f"{server.url}/openapi.json", headers=server.headers).json()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) >= {
        "GET /health",
        "GET /info",
        "GET /metrics",
        "GET /v1/models",
        "GET /v1/models/{model}",
        "POST /v1/embeddings",
        "POST /search",
        "GET /documents/{id}",
        "POST /inspect",
        "POST /inspect/pair",
    }
    for name, operation in operations.items():
        errors = {status for status in operation["responses"] if status != "200"}
        assert errors >= {"401", "500"}, name
        for status in errors:
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorAnswer"}, (name, status)
        assert bool(operation.get("security")) == (name not in ("GET /health", "GET /info")), name
    taken = document["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert taken["properties"]["dimensions"]["anyOf"][0]["maximum"] == 384
