"""The page on the real server: one walk through all of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import page_stub
import pytest
from page_visit import Visit, open_page

from llara.search import Searcher

if TYPE_CHECKING:
    from playwright.sync_api import Browser

KEY = "the-key-of-this-test"


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from llara.encode import encode_file
    from llara.indexes import build_index

    pytest.importorskip("llara.serve.app", reason="there is no llara serve")
    folder = tmp_path_factory.mktemp("page")
    encode_file("llara-mini", [str(page_stub.CORPUS)], folder / "vectors", role="document")
    return build_index(folder / "vectors", folder / "index", words=("bm25",))


@pytest.fixture(scope="module")
def url(index: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "llara", "serve", "--index", str(index), "--port", "0"]
    log = index.parent / "log.txt"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "LLARA_API_KEY": KEY},
        )
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found, log.read_text()
    yield found[0].rstrip("/") + "/"
    process.terminate()
    assert process.wait(30) == 0
    assert "Traceback" not in log.read_text()


def enter(browser: Browser, url: str) -> Visit:
    one = open_page(browser, url)
    one.page.fill("#key-input", KEY)
    one.page.keyboard.press("Enter")
    return one


def test_the_page_works_on_the_real_server(browser: Browser, url: str, index: Path) -> None:
    query = "打开 a file 🐍 in python"
    one = enter(browser, url)
    one.search(query)
    assert one.page.text_content("#notice") == ""
    searcher = Searcher.open(index)
    for mode in ("dense", "bm25", "hybrid"):
        assert one.ids(mode) == [hit.id for hit in searcher.search([query], 10, mode=mode)[0]]
    assert one.page.locator("#column-dense mark").count() > 0
    one.page.wait_for_selector("#expects .expected")
    one.open_first()
    first = searcher.search([query], 1)[0][0]
    assert one.page.text_content("#panel .prose") == first.text
    one.tab("match")
    assert one.page.text_content("#panel .similarity b") == f"{first.score:.3f}"
    whole = f"{first.title} {first.text}" if first.title else first.text
    assert one.page.locator("#panel .heat").all_text_contents() == [query, whole]
    one.tab("memory")
    assert one.page.locator('#panel [data-role="self"] .word').count() > 10
    one.tab("prompt")
    tokens = one.page.locator('#panel [data-role="self"] .token').all_text_contents()
    assert "".join(tokens).endswith("The original sentence: </s>")
    assert one.page.locator("#panel .mask .cells").count() == 3
    one.page.context.close()
    one.check()


def test_the_description_of_the_service_is_a_page_that_can_be_tried(browser: Browser, url: str) -> None:
    one = enter(browser, url)
    one.page.click("#facts a[href=docs]")
    one.page.click("[id$=list_models] .opblock-summary")
    one.page.click("text=Try it out")
    one.page.click("text=Execute")
    one.page.wait_for_selector(".live-responses-table :text('llara-mini')")
    one.page.context.close()
    one.check()
