"""Texts on the page: marked where the server says, whatever characters they hold, and never markup."""

from __future__ import annotations

import random
import re
from typing import Any

import page_stub
import pytest
from page_visit import Open, Served, Visit

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect


def found(name: str) -> dict[str, Any]:
    return next(one for one in page_stub.DOCUMENTS if one["id"] == name)


def test_marks_are_the_words_that_python_cut_out_of_text_with_emoji_and_chinese(visit: Open) -> None:
    one = visit()
    for query, name in (("file", "faq/unicode"), ("打开文件", "zh/打开文件")):
        one.search(query)
        one.page.locator(f'#column-dense .hit[data-id="{name}"] a, .hit[data-id="{name}"] a').first.click()
        text = found(name)["text"]
        expect(one.page.locator("#panel .prose")).to_have_text(text, use_inner_text=False)
        words = [text[int(start) : int(end)] for start, end, _ in page_stub.highlights(query, text)]
        assert words
        assert one.page.locator("#panel .prose mark").all_text_contents() == words


def test_spans_are_cut_as_python_cuts_them(visit: Open) -> None:
    random.seed(5)
    alphabet = "ab \n中文é🐍👩\u200d\ud800"
    cases = []
    for _ in range(200):
        text = "".join(random.choices(alphabet, k=random.randint(1, 40)))
        cuts = sorted(random.sample(range(len(text) + 1), k=min(len(text) + 1, 4)))
        spans = [(a, b, 0.5) for a, b in zip(cuts[::2], cuts[1::2], strict=False) if a < b]
        cases.append((text, spans, [text[a:b] for a, b, _ in spans]))
    as_units = [[one.encode("utf-16-be", "surrogatepass").hex() for one in words] for _, _, words in cases]
    answer = visit().page.evaluate(
        """async (cases) => {
          const { toUnits, pieces } = await import("/page/text.js");
          const unit = (s, i) => s.charCodeAt(i).toString(16).padStart(4, "0");
          const hex = (s) => [...Array(s.length).keys()].map((i) => unit(s, i)).join("");
          return cases.map(([units, spans]) => {
            const text = String.fromCharCode(...units);
            const all = pieces(text, toUnits(text, spans));
            if (all.map((p) => p.text).join("") !== text) return "text lost";
            return all.filter((p) => p.weight).map((p) => hex(p.text));
          });
        }""",
        [[units(text), spans] for text, spans, _ in cases],
    )
    assert answer == as_units


def units(text: str) -> list[int]:
    """UTF-16 units, lone surrogates kept."""
    raw = text.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(raw[i : i + 2]) for i in range(0, len(raw), 2)]


def test_an_excerpt_begins_and_ends_beside_whole_characters(visit: Open) -> None:
    ends = visit().page.evaluate(
        """async () => {
          const { excerpt } = await import("/page/text.js");
          const text = "🐍".repeat(900);
          return [...Array(40).keys()].map((i) => {
            const { start, end } = excerpt(text, [{ start: 900 + i, end: 902 + i, weight: 1 }]);
            return [start % 2, end % 2, start <= 900 + i && end >= 902 + i];
          });
        }"""
    )
    assert ends == [[0, 0, True]] * 40


def test_markup_in_documents_ids_and_fields_is_shown_as_text(visit: Open) -> None:
    one = visit()
    one.search("<img src=x onerror=window.hacked=1> windows file")
    attack = found("attack/<img src=x onerror=alert(1)>")
    hit = one.page.locator("#column-bm25 .hit").first
    assert hit.get_attribute("data-id") == attack["id"]
    assert hit.locator("h3").text_content() == attack["title"]
    hit.locator("a").click()
    one.page.wait_for_selector("#panel .prose")
    assert one.page.text_content("#panel .prose") == attack["text"]
    assert "<u>field</u>" in (one.page.text_content("#panel .metadata") or "")
    for tab in ("match", "memory", "prompt"):
        one.tab(tab)
    assert one.page.locator("main :is(img, script, b:not(.ours)), #panel :is(img, script)").count() == 0
    assert one.page.evaluate("window.hacked") is None


def test_the_panel_shows_what_carries_the_similarity(visit: Open) -> None:
    query = "sort a list by key"
    one = visit(f"?q={query}")
    one.settle()
    one.open_first()
    one.page.click("#panel-tab-match")
    one.page.wait_for_selector("#panel .similarity")
    document = found("howto/sorting")
    pair = page_stub.pair(query, page_stub.whole_text(document), 20)
    assert one.page.text_content("#panel .similarity b") == f"{pair['similarity']:.3f}"
    texts = one.page.locator("#panel .heat").all_text_contents()
    assert texts == [query, page_stub.whole_text(document)]
    most = max(abs(word["share"]) for word in pair["document_words"])
    against = [word["word"] for word in pair["document_words"] if word["share"] < -0.04 * most]
    assert one.page.locator("#panel .heat").nth(1).locator(".against").all_text_contents() == against
    shared = one.page.locator("#panel .bars .word").all_text_contents()
    assert shared == [word["word"] for word in pair["shared"]]


def test_the_inspector_shows_words_prompts_and_mask_of_the_query(visit: Open) -> None:
    one = visit("?q=open a file")
    one.settle()
    one.page.click("#inspect")
    one.page.wait_for_selector("#panel .bars")
    inspection = page_stub.inspect("open a file", 30)
    for role in ("self", "next"):
        shown = one.page.locator(f'#panel [data-role="{role}"] .word').all_text_contents()
        assert shown == [word["word"] for word in inspection["roles"][role]["words"]]
    own = [word["word"] for word in inspection["roles"]["next"]["words"] if not word["in_text"]]
    assert one.page.locator('#panel [data-role="next"] [data-known="no"] .word').all_text_contents() == own
    one.page.click("#panel-tab-prompt")
    one.page.wait_for_selector("#panel .mask svg")
    for role in ("self", "next"):
        tokens = one.page.locator(f'#panel [data-role="{role}"] .token').all_text_contents()
        assert tokens == [token["text"] for token in inspection["roles"][role]["tokens"]]
    assert drawn(one) == inspection["mask"]["rows"]


def drawn(visit: Visit) -> list[str]:
    """The mask's rows, read back from the picture's paths."""
    paths = visit.page.locator(".mask .cells").all()
    runs = [
        run
        for path in paths
        for run in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path.get_attribute("d") or "")
    ]
    size = max(int(y) for _, y, _ in runs) + 1
    rows = [["0"] * size for _ in range(size)]
    for x, y, length in runs:
        for column in range(int(x), int(x) + int(length)):
            rows[int(y)][column] = "1"
    return ["".join(row) for row in rows]


def test_of_a_text_that_is_longer_than_the_server_takes_the_beginning_is_looked_into(
    visit: Open, served: Served
) -> None:
    served.faults.text_characters = 40
    one = visit("?q=file&doc=faq/unicode")
    for tab, part in (("memory", ".bars"), ("prompt", ".token")):
        one.tab(tab)
        assert one.page.locator(f"#panel-body {part}").count() > 0
        expect(one.page.locator("#panel-body .about").first).to_have_text(
            re.compile("the first 40 characters")
        )
    served.faults.text_characters = 100_000
    one.page.reload()
    one.tab("memory")
    expect(one.page.locator("#panel-body .about").first).to_have_text(re.compile("^Read through"))


def test_texts_are_cut_between_characters(visit: Open) -> None:
    one = visit()
    script = "async ([text, n]) => (await import('/page/text.js')).firstPoints(text, n)"
    for text, most in (("🐍🐍a", 2), ("🐍🐍a", 3), ("abc", 2), ("", 1)):
        assert one.page.evaluate(script, [text, most]) == text[:most]
