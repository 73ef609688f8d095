"""The page in a real Chromium, served by the stand-in of ``page_stub``."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from page_stub import Faults
    from playwright.sync_api import Browser, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "/usr/bin/chromium")


@dataclass
class Served:
    """Where the stand-in listens, and what goes wrong there."""

    url: str
    faults: Faults


@dataclass
class Visit:
    """A page in a browser of its own, and what it should not do: errors in the console, requests elsewhere."""

    page: Page
    url: str
    failures_expected: bool = False
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def check(self) -> None:
        refused = "Failed to load resource"  # the browser's own note of an answer that is no success
        errors = [one for one in self.errors if not (self.failures_expected and refused in one)]
        assert errors == []
        assert self.elsewhere == []

    def search(self, query: str) -> None:
        """Type a query and wait until every column has answered it."""
        self.page.fill("#query", query)
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked is answered; the page is busy from the first letter on."""
        self.page.wait_for_selector("#results:not([aria-busy])", state="attached")

    def open_first(self) -> None:
        self.page.locator(".column:not([hidden]) .hit a").first.click()
        self.page.wait_for_selector("#panel .prose")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Served]:
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
def served(server: Served) -> Iterator[Served]:
    """The server, in good health at the beginning of each test."""
    from page_stub import Faults

    vars(server.faults).update(vars(Faults()))
    yield server


@pytest.fixture
def visit(browser: Browser, served: Served) -> Iterator[Callable[..., Visit]]:
    """``visit(address, **context)`` opens the page; at the end each must have been without errors."""
    made: list[Visit] = []

    def go(
        address: str = "", *, failures_expected: bool = False, ready: str = "#facts dl", **context: Any
    ) -> Visit:
        settings = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **context}
        page = browser.new_context(**settings).new_page()
        page.set_default_timeout(10_000)
        one = Visit(page, served.url, failures_expected)
        page.on("console", lambda said: one.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: one.errors.append(str(error)))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(served.url) else one.elsewhere.append(asked.url),
        )
        page.goto(served.url + address)
        page.wait_for_selector(ready, state="attached")
        made.append(one)
        return one

    yield go
    for one in made:
        one.page.context.close()
    for one in made:
        one.check()
