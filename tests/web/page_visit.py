"""A page in a browser, and what must not happen there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from page_stub import Faults
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

__all__ = ["Open", "Served", "Visit", "open_page"]


@dataclass
class Served:
    """Where the stand-in listens, and what goes wrong there."""

    url: str
    faults: Faults


@dataclass
class Visit:
    """A page in a browser of its own, with the errors in its console and its requests to other servers."""

    page: Page
    url: str
    failures_expected: bool = False
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing went wrong, nothing was asked of others."""
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
        """Click the first hit."""
        self.page.locator(".column:not([hidden]) .hit a").first.click()
        self.page.wait_for_selector("#panel .prose")

    def tab(self, name: str) -> None:
        """Choose a tab of the panel and wait until it is filled."""
        self.page.click(f"#panel-tab-{name}")
        self.page.wait_for_selector("#panel .body:not([aria-busy])")

    def ids(self, mode: str) -> list[str]:
        """Document ids of a column, as shown."""
        found = self.page.locator(f"#column-{mode} .hit").all()
        return [one.get_attribute("data-id") or "" for one in found]

    def _heard(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.errors.append(said.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self.url):
            self.elsewhere.append(request.url)


Open = Callable[..., Visit]


def open_page(
    browser: Browser,
    url: str,
    address: str = "",
    *,
    failures_expected: bool = False,
    ready: str = "#facts dl",
    **context: Any,
) -> Visit:
    """Open ``url + address`` and wait for ``ready``; ``context`` goes to Playwright's browser context."""
    settings = {"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **context}
    page = browser.new_context(**settings).new_page()
    page.set_default_timeout(10_000)
    visit = Visit(page, url, failures_expected)
    page.on("console", visit._heard)
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.on("request", visit._asked)
    page.goto(url + address)
    page.wait_for_selector(ready, state="attached")
    return visit
