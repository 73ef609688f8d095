"""Take the pictures of the page that the docs show, from any running server.

    python scripts/screenshots.py http://127.0.0.1:8000 --query "how do I open a file" --out docs/images

It needs ``playwright`` and a Chromium; ``--chromium`` says where. The PNGs are reduced to 256 colours.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

LIMIT_BYTES = 200_000


@dataclass(frozen=True)
class Shot:
    """One picture: size in CSS pixels, the address after the query, and what to do before it is taken."""

    name: str
    width: int
    height: int
    address: str = ""
    dark: bool = False
    language: str = "en"
    open_hit: bool = False
    tab: str | None = None


DOCS = [
    Shot("page-results", 1440, 900),
    Shot("page-match", 1440, 900, open_hit=True, tab="match"),
    Shot("page-memory-dark", 1440, 900, address="&inspect=query", dark=True),
    Shot("page-phone", 390, 844),
]
OTHERS = [
    Shot("page-home", 1280, 800, address="?"),
    Shot("page-results-dark", 1440, 900, dark=True),
    Shot("page-read-dark", 1440, 900, open_hit=True, dark=True),
    Shot("page-prompt", 1440, 1000, address="&inspect=query&tab=prompt"),
    Shot("page-phone-match", 390, 844, open_hit=True, tab="match", dark=True),
    Shot("page-chinese", 1440, 900, language="zh-CN"),
]


def take(browser: Browser, url: str, query: str, shot: Shot) -> bytes:
    """The picture as PNG, two device pixels to a CSS pixel on a phone, one elsewhere."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.dark else "light",
        locale=shot.language,
        device_scale_factor=2 if shot.width < 600 else 1,
        reduced_motion="reduce",
    )
    try:
        page: Page = context.new_page()
        page.goto(
            url + (shot.address if shot.address.startswith("?") else f"?q={quote(query)}{shot.address}")
        )
        page.wait_for_selector("#facts dl")
        if not shot.address.startswith("?"):
            page.wait_for_selector(".hit")
            page.wait_for_selector("#expects:not([hidden])", timeout=20_000)
        if shot.open_hit:
            page.locator(".column:not([hidden]) .hit a").first.click()
            page.wait_for_selector("#panel .prose")
        if shot.tab:
            page.click(f"#panel-tab-{shot.tab}")
        page.wait_for_selector("[aria-busy]", state="detached")
        page.evaluate("document.activeElement.blur()")
        page.mouse.move(0, 0)
        return page.screenshot()
    finally:
        context.close()


def reduced(png: bytes) -> bytes:
    """The same picture in at most 256 colours: text and flat colour look the same, in a third of the size."""
    colours = Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    out = io.BytesIO()
    colours.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url", help="of a running llara serve")
    parser.add_argument("--query", default="how do I open a file", help="what to search for")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder to write to")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these pictures")
    parser.add_argument("--all", action="store_true", help="those that the docs do not show, too")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser's executable")
    options = parser.parse_args()
    shots = [*DOCS, *(OTHERS if options.all or options.only else [])]
    if options.only:
        shots = [shot for shot in shots if shot.name in options.only]
    options.out.mkdir(parents=True, exist_ok=True)
    url = options.url.rstrip("/") + "/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        for shot in shots:
            png = reduced(take(browser, url, options.query, shot))
            (options.out / f"{shot.name}.png").write_bytes(png)
            warning = "  more than the docs should carry" if len(png) > LIMIT_BYTES else ""
            print(f"{options.out / shot.name}.png {len(png):,} bytes{warning}", file=sys.stderr)
        browser.close()


if __name__ == "__main__":
    main()
