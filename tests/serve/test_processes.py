"""Starting, ending and replacing: what the command line promises of its processes."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from served import Server, start

LONG = "a text that takes the model a while " * 15


def workers_of(server: Server) -> list[int]:
    """The processes that answer, the oldest first: forked by a process that the server started for that."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    children = {pid for pid, parent in pairs if parent == server.process.pid}
    return sorted(pid for pid, parent in pairs if parent in children)


async def load(server: Server, stop: asyncio.Event, outcomes: list[str]) -> None:
    """One client that asks again and again; notes how each request ended."""
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        while not stop.is_set():
            try:
                answer = await client.post("/v1/embeddings", json={"input": LONG})
                size = len(answer.json()["data"][0]["embedding"]) if answer.status_code == 200 else 0
                outcomes.append("whole" if size == 384 else f"status {answer.status_code}")
            except httpx.ConnectError:
                outcomes.append("not taken")
                return
            except httpx.HTTPError as error:
                outcomes.append(type(error).__name__)


def test_sigterm_under_load_finishes_everything_that_was_accepted(tmp_path):
    server = start(tmp_path, "--model", "llara-mini")

    async def play() -> list[str]:
        stop, outcomes = asyncio.Event(), []  # type: asyncio.Event, list[str]
        clients = [asyncio.ensure_future(load(server, stop, outcomes)) for _ in range(16)]
        while len(outcomes) < 16:
            await asyncio.sleep(0.01)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(asyncio.gather(*clients), 30)  # each ends when nobody listens any more
        return outcomes

    outcomes = asyncio.run(play())
    assert server.process.wait(30) == 0
    # A request that is sent as its open connection is closed was not accepted: the log does not know it.
    assert (
        {"whole", "not taken"} <= set(outcomes) <= {"whole", "not taken", "ReadError", "RemoteProtocolError"}
    )
    assert outcomes.count("not taken") == 16
    log = server.log.read_text()
    assert len(re.findall(r"POST /v1/embeddings 200", log)) == outcomes.count("whole")
    assert len(re.findall(r"POST", log)) == outcomes.count("whole")
    assert "Traceback" not in log


def test_a_worker_that_dies_is_replaced_and_all_end_together(tmp_path, index):
    server = start(tmp_path, "--index", index, "--workers", "2")
    before = workers_of(server)
    assert len(before) == 2

    def hits() -> list[dict[str, object]]:
        answer = httpx.post(f"{server.url}/search", json={"query": "open a file"}, timeout=60)
        found: list[dict[str, object]] = answer.json()["hits"]
        return found

    found = [hits() for _ in range(3)]
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 150
    while "died (SIGKILL); starting another" not in server.log.read_text() or len(workers_of(server)) < 2:
        assert time.monotonic() < deadline, server.log.read_text()
        # A new connection each time: the one that is left takes all of them.
        assert httpx.post(f"{server.url}/search", json={"query": "a"}, timeout=60).status_code == 200
    assert before[1] in workers_of(server)
    assert [hits(), *found] == [found[0]] * 4
    assert server.metric("llara_requests_total") >= 4  # of all processes, the dead one's too
    assert server.end() == 0
    assert "Traceback" not in server.log.read_text()
    for pid in {*before, *workers_of(server)}:
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("seconds", [0.1, 1.5])
def test_ctrl_c_while_several_processes_start_is_an_interruption(index, seconds):
    command = [sys.executable, "-m", "llara", "serve", "--index", str(index), "--port", "0", "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while not children.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all of them
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")


def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "llara", "serve", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
        timeout=60,
    )


def test_it_does_not_listen_to_other_machines_without_a_key(tmp_path):
    done = command("--model", "llara-mini", "--host", "0.0.0.0", LLARA_API_KEY="")
    assert (done.returncode, done.stdout) == (1, "")
    assert "lets other machines in, and there is no key" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read the keys in"),
        ("\n# none\n", "holds no key; expected one a line"),
        ("good-key-1\nshort\n", "key 2 of"),
        ("a key with blanks in it\n", "key 1 of"),
    ],
)
def test_a_file_of_keys_that_is_not_one_is_refused_without_repeating_it(tmp_path, content, message):
    from llara.errors import InputError
    from llara.serve.settings import read_keys

    path = tmp_path / "keys"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as refused:
        read_keys(path)
    assert "short" not in str(refused.value)
    assert "blanks in it" not in str(refused.value)


def test_a_file_may_hold_several_keys(tmp_path, monkeypatch):
    from llara.serve.settings import ServeSettings, read_keys

    path = tmp_path / "keys"
    path.write_text("# of the web server\nfirst-key\n\nother-key\nfirst-key\n")
    assert read_keys(path) == ("first-key", "other-key")
    path.write_text("\ufefffirst-key\r\n", encoding="utf-8")  # as some editors begin and end lines
    assert read_keys(path) == ("first-key",)
    path.write_text("first-key\nother-key\n")
    monkeypatch.setenv("LLARA_API_KEY", "key-of-the-environment")
    assert read_keys(None) == ("key-of-the-environment",)
    assert read_keys(path) == ("first-key", "other-key")
    assert "key" not in repr(ServeSettings(model="m", keys=("first-key",))).replace("keys", "")


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("body_byte=1", r"unknown setting body_byte; did you mean body_bytes\?"),
        ("body_bytes", "'body_bytes' is not an assignment; write --limit name=value"),
        ("body_bytes=5", "body_bytes = 5, expected at least 1024"),
        ("wait_ms=soon", "wait_ms = 'soon', expected a number"),
        ("inputs=100000", "inputs is 100000 and queue_texts 8192"),
    ],
)
def test_a_wrong_limit_is_refused(limit, message):
    from llara.errors import ConfigError
    from llara.serve.settings import limits_from

    with pytest.raises(ConfigError, match=message):
        limits_from([limit])


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *[
            ("localhost", True),
            ("127.0.0.1", True),
            ("127.0.0.2", True),
            ("127.255.1.9", True),
            ("::1", True),
        ],
        *[("0.0.0.0", False), ("::", False), ("192.168.1.4", False), ("127.example", False)],
    ],
)
def test_every_loopback_address_is_this_machines_alone(host, local):
    from llara.serve.settings import ServeSettings

    settings = ServeSettings(model="m", host=host)
    assert (settings.is_local, settings.hides_from_other_hosts) == (local, local)
    assert host in settings.own_hosts


def test_an_empty_host_is_refused():
    from llara.errors import ConfigError
    from llara.serve.settings import ServeSettings

    for host in ("", " "):
        with pytest.raises(ConfigError, match="the host is empty; give an address of this machine"):
            ServeSettings(model="m", host=host)


def test_limits_are_changed_one_by_one():
    from llara.serve.settings import Limits, limits_from

    changed = limits_from(["body_bytes=10_000", "wait_ms=0", "batch_tokens=64"])
    assert changed == Limits(body_bytes=10_000, wait_ms=0.0, batch_tokens=64)


def test_an_address_that_is_taken_is_an_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("--model", "llara-mini", "--port", port)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr


def test_answers_are_not_held_back_for_forty_milliseconds():
    from llara.serve.listening import bind
    from llara.serve.settings import ServeSettings

    for host in ("127.0.0.1", "localhost"):
        # asyncio sets TCP_NODELAY on what it accepts only if the socket names its protocol.
        with bind(ServeSettings(model="m", host=host, port=0)) as sock:
            assert sock.proto == socket.IPPROTO_TCP


def test_nothing_to_serve_is_wrong_usage():
    done = command()
    assert (done.returncode, done.stdout) == (2, "")
    assert "also needed: --index, or --model" in done.stderr


def test_without_the_extra_the_error_says_how_to_install_it(tmp_path):
    for module in ("fastapi", "uvicorn"):
        code = (
            "import importlib.util as u, sys; found = u.find_spec\n"
            f"u.find_spec = lambda name, *a: None if name == {module!r} else found(name, *a)\n"
            "from llara.cli import main; sys.exit(main(['serve', '--model', 'llara-mini']))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert (
            done.stderr == f"error: {module} is not installed. Install it with: pip install 'llara[serve]'\n"
        )
