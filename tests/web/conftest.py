"""The page in a real Chromium, served by the stand-in of ``page_stub``."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from page_visit import Open, Served, Visit, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium for one file: while it runs, an event loop runs in this thread, and no other can."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def stand_in() -> Iterator[Served]:
    pytest.importorskip("fastapi", reason="fastapi is not installed: pip install llara[serve]")
    uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install llara[serve]")
    from page_stub import Faults, build

    faults = Faults()
    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(build(faults), log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}/", faults)
    running.should_exit = True
    thread.join(timeout=5)


@pytest.fixture
def served(stand_in: Served) -> Served:
    """The stand-in, in good health at the beginning of each test."""
    from page_stub import Faults

    vars(stand_in.faults).update(vars(Faults()))
    return stand_in


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Open]:
    """``visit(address, **options of open_page)``; at the end each visit must have been without errors."""
    made: list[Visit] = []

    def go(address: str = "", **options: Any) -> Visit:
        made.append(open_page(browser, served.url, address, **options))
        return made[-1]

    yield go
    for one in made:
        one.page.context.close()
    for one in made:
        one.check()
