"""A Hugging Face dataset name as a corpus, against a small server that speaks as the Hub does."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("datasets")

COMMIT = "a" * 40
CARD = b"""---
configs:
- {config_name: en, data_files: en/train.jsonl}
- {config_name: de, data_files: de/train.jsonl}
---
"""
ROWS = b"".join(json.dumps({"id": n, "text": f"Text {n}.", "other": [n]}).encode() + b"\n" for n in range(3))
FILES = {"README.md": CARD, "en/train.jsonl": ROWS}
TREE = [{"type": "file", "path": "en/train.jsonl", "size": len(ROWS), "oid": "b" * 40}]
SCRIPT = """
import sys
from llara.corpus import read_documents
from llara.errors import InputError
for name in sys.argv[1:]:
    try:
        print([(d.id, d.text) for d in read_documents([name])])
    except InputError as error:
        print(error)
"""


class Hub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        name = next((name for name in FILES if path.endswith(f"/{name}")), None)
        if "/someone/texts" not in path:
            self.reply(404, error="RepoNotFound")
        elif "/tree/" in path:
            self.reply(200, json.dumps(TREE).encode())
        elif path.startswith("/api/"):
            self.reply(200, json.dumps({"id": "someone/texts", "sha": COMMIT, "siblings": []}).encode())
        elif name:
            self.reply(200, FILES[name])
        else:
            self.reply(404, error="EntryNotFound")

    do_HEAD = do_GET  # noqa: N815 (the standard library's name)

    def reply(self, status: int, body: bytes = b"", error: str = "") -> None:
        self.send_response(status)
        for header, value in {
            "Content-Length": str(len(body)),
            "ETag": '"e"',
            "X-Repo-Commit": COMMIT,
            "X-Error-Code": error,
        }.items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


def read_in_new_process(tmp_path, names, **environment) -> list[str]:
    """Standard output, line by line; the Hub's address is read once, when its library is imported."""
    environment = {**os.environ, "HF_HOME": str(tmp_path), **environment}
    command = [sys.executable, "-c", SCRIPT, *names]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_dataset_is_streamed_by_name_and_what_is_wrong_with_a_name_is_said(tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        read, no_config, unknown = read_in_new_process(
            tmp_path,
            ["someone/texts:en", "someone/texts", "someone/else"],
            HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}",
            HF_HUB_OFFLINE="0",
        )
    finally:
        server.shutdown()
        server.server_close()
    assert read == "[('0', 'Text 0.'), ('1', 'Text 1.'), ('2', 'Text 2.')]"
    assert no_config.startswith("someone/texts: the dataset cannot be read (Config name is missing.")
    assert "'en', 'de'" in no_config
    assert unknown.startswith(
        "someone/else: no such file or folder here, and no such dataset on the Hugging Face Hub"
    )


def test_without_a_connection_the_error_says_so(tmp_path):
    (line,) = read_in_new_process(tmp_path, ["someone/texts"], HF_HUB_OFFLINE="1")
    assert line.startswith(
        "someone/texts: no such file or folder here, and the Hugging Face Hub cannot be reached"
    )
