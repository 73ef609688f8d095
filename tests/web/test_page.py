"""The page, used as people use it: typed into, read, clicked, by keyboard, on a phone, in both languages."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import page_stub
import pytest
from page_visit import Open, Served, Visit

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = sync_api.expect


def expected(query: str, mode: str, k: int = 10) -> list[str]:
    return [hit["id"] for hit in page_stub.search(query, k, mode)]


def found(name: str) -> dict[str, Any]:
    return next(one for one in page_stub.DOCUMENTS if one["id"] == name)


def sideways(visit: Visit) -> int:
    """By how many pixels the page is wider than the screen."""
    return visit.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def test_typing_shows_each_mode_in_a_column_and_the_ranks_elsewhere_on_each_hit(visit: Open) -> None:
    one = visit()
    one.page.locator("#query").press_sequentially("read a file", delay=15)
    one.settle()
    for mode in ("dense", "bm25", "hybrid"):
        assert one.ids(mode) == expected("read a file", mode)
        assert one.page.locator(f"#column-{mode}").is_visible()
    bm25 = expected("read a file", "bm25")
    for place, name in enumerate(expected("read a file", "dense")):
        badge = one.page.locator('#column-dense .hit [data-mode="bm25"]').nth(place)
        rank = bm25.index(name) + 1 if name in bm25 else "–"
        assert badge.locator("[aria-hidden]").text_content() == f"BM25 {rank}"


def test_a_click_opens_the_whole_document_with_its_fields(visit: Open) -> None:
    one = visit("?q=timezone")
    one.settle()
    one.open_first()
    document = found("library/datetime")
    assert one.page.text_content("#panel-title") == document["title"]
    assert one.page.text_content("#panel .prose") == document["text"]
    assert one.page.text_content("#panel .metadata dd") == "Data types"


def test_everything_can_be_done_from_the_keyboard(visit: Open) -> None:
    one = visit()
    page = one.page
    focused = "document.activeElement.closest('.hit')?.dataset.id ?? document.activeElement.id"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    assert page.evaluate(focused) == "query"
    page.keyboard.type("open file")
    one.settle()
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == expected("open file", "dense")[0]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(focused) == expected("open file", "dense")[1]
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == expected("open file", "bm25")[1]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#panel .prose")
    assert page.evaluate(focused) == "panel-title"
    page.keyboard.press("j")
    page.wait_for_selector(f'.hit[data-id="{expected("open file", "dense")[2]}"] [aria-current]')
    page.keyboard.press("k")
    page.wait_for_selector(f'.hit[data-id="{expected("open file", "dense")[1]}"] [aria-current]')
    page.focus("#panel-tab-read")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#panel .similarity")
    assert page.evaluate(focused) == "panel-tab-match"
    page.keyboard.press("Escape")
    page.wait_for_selector("#panel", state="hidden")
    assert page.evaluate(focused) == expected("open file", "dense")[1]
    page.keyboard.press("i")
    page.wait_for_selector("#panel .bars")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()


def test_letters_are_typed_in_the_query_not_taken_as_keys(visit: Open) -> None:
    one = visit()
    one.page.focus("#query")
    one.page.keyboard.type("i/j?k")
    assert one.page.input_value("#query") == "i/j?k"
    assert one.page.locator("#help").is_hidden()


def test_the_address_brings_back_query_modes_and_document(visit: Open) -> None:
    one = visit()
    one.search("sort a list")
    one.page.click('#modes [data-mode="hybrid"]')
    one.settle()
    one.page.locator("#column-bm25 .hit a").first.click()
    one.page.wait_for_selector("#panel .prose")
    address = parse_qs(urlsplit(one.page.url).query)
    assert address == {"q": ["sort a list"], "modes": ["dense,bm25"], "doc": ["howto/sorting"]}
    other = visit(one.page.url.removeprefix(one.url))
    other.page.wait_for_selector("#panel .prose mark")
    assert other.page.input_value("#query") == "sort a list"
    assert other.page.text_content("#panel-title") == "Sorting techniques"
    assert other.page.locator(".column").count() == 2


def test_the_back_button_goes_back_a_question_at_a_time(visit: Open) -> None:
    one = visit()
    one.page.locator("#query").press_sequentially("sort", delay=200)  # four questions on the way to one
    one.settle()
    one.page.keyboard.press("Enter")
    one.page.fill("#query", "timezone")
    one.settle()
    one.open_first()
    query = one.page.locator("#query")
    one.page.go_back()
    one.page.wait_for_selector("#panel", state="hidden")
    expect(query).to_have_value("timezone")
    one.page.go_back()
    expect(query).to_have_value("sort")
    one.settle()
    assert one.ids("dense") == expected("sort", "dense")
    one.page.go_back()
    expect(query).to_have_value("")
    assert one.page.locator("#home").is_visible()


def test_only_the_modes_of_the_index_are_offered_and_how_to_get_the_others(
    visit: Open, served: Served
) -> None:
    served.faults.modes = ("dense",)
    one = visit("?modes=bm25,hybrid,nonsense")
    ways = one.page.locator("#ways").text_content() or ""
    assert "llara index --bm25" in ways
    one.search("open file")
    assert one.page.locator(".column").count() == 1
    assert one.page.locator("#modes button, .tabs:visible button").count() == 0
    assert "llara index --bm25" in (one.page.text_content("#others") or "")
    assert {mode for mode, _ in served.faults.asked} == {"dense"}


def test_more_hits_are_shown_on_demand(visit: Open) -> None:
    query = "open sort number error thread network date text python"
    one = visit()
    one.search(query)
    assert len(one.ids("dense")) == 10
    one.page.focus("#column-dense .foot button")
    one.page.keyboard.press("Enter")
    one.settle()
    assert one.ids("dense") == expected(query, "dense", 20)
    focused = one.page.evaluate("document.activeElement.closest('.hit')?.dataset.id")
    assert focused == one.ids("dense")[10]  # the first new one
    assert len(one.ids("dense")) > 10
    assert parse_qs(urlsplit(one.page.url).query)["k"] == ["20"]


def test_nothing_found_is_said(visit: Open) -> None:
    one = visit()
    one.search("zzzzz")
    assert one.page.locator("#column-dense .nothing").text_content() == "Nothing found."
    assert one.page.text_content("#spoken") == "Nothing found."


def test_no_hit_moves_when_the_words_of_the_query_come(visit: Open) -> None:
    one = visit()
    held: list[Any] = []
    one.page.route("**/inspect", lambda route: held.append(route))
    one.search("open a file")
    while not held:
        one.page.wait_for_timeout(10)
    before = one.page.locator(".hit").first.bounding_box()
    one.page.focus("#inspect")
    held[0].continue_()
    one.page.wait_for_selector("#expects .expected")
    assert one.page.locator(".hit").first.bounding_box() == before
    assert one.page.evaluate("document.activeElement.id") == "inspect"


def test_the_facts_are_those_of_model_and_index(visit: Open) -> None:
    facts = visit().page.locator("#facts dd").all_text_contents()
    assert facts[:6] == ["llara-mini", "6.12M", "256", "512 tokens", "paper", "4be1c9d07a3f"]
    documents = str(len(page_stub.DOCUMENTS))
    assert facts[6:] == [documents, "exact", "faiss", "10.5 MB", "–", "llara 0.1.0", "/docs"]


def test_a_chinese_reader_gets_chinese_and_can_change(visit: Open) -> None:
    one = visit(locale="zh-CN")
    assert one.page.text_content("h1") == "按意思搜索，并看清原因。"
    one.search("打开文件")
    assert one.page.locator("#column-dense h2 span").first.text_content() == "稠密"
    one.page.click("#language")
    one.settle()
    assert one.page.locator("#column-dense h2 span").first.text_content() == "Dense"
    assert one.page.get_attribute("html", "lang") == "en"
    one.page.reload()
    one.page.wait_for_selector(".hit")
    assert one.page.get_attribute("#query", "placeholder") == "Ask in your own words"


def test_both_languages_say_the_same_things(visit: Open) -> None:
    words = visit().page.evaluate("import('/page/words.js').then(({ WORDS }) => WORDS)")
    assert words["en"].keys() == words["zh"].keys()
    for name, sentence in words["en"].items():
        for holes in (r"\{\w+\}", r"`[^`]+`"):
            assert sorted(re.findall(holes, sentence)) == sorted(re.findall(holes, words["zh"][name])), name


def test_dark_follows_the_system_until_the_reader_chooses(visit: Open) -> None:
    one = visit(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    assert one.page.evaluate(background) == "rgb(21, 23, 26)"
    one.page.click("#theme")
    assert one.page.evaluate(background) == "rgb(252, 252, 250)"
    one.page.reload()
    assert one.page.evaluate(background) == "rgb(252, 252, 250)"


def test_the_colours_are_those_of_the_report(visit: Open) -> None:
    from llara.report.style import STYLE

    light, dark = re.split(r"@media[^{]*prefers-color-scheme: dark", STYLE, maxsplit=1)
    for scheme, source in (("light", light), ("dark", dark)):
        page = visit(color_scheme=scheme).page
        for name in ("paper", "card", "ink", "faint", "grid", "wash", "chart1", "chart2"):
            colour = re.search(rf"--{name}: #(\w{{6}})", source)
            assert colour is not None
            shown = page.evaluate(
                """(name) => {
                  const probe = document.body.appendChild(document.createElement("i"));
                  probe.style.color = `var(--${name})`;
                  return getComputedStyle(probe).color;
                }""",
                name,
            )
            assert shown == "rgb({}, {}, {})".format(*bytes.fromhex(colour[1]))


def test_a_phone_shows_tabs_and_never_scrolls_sideways(visit: Open) -> None:
    one = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert sideways(one) == 0
    one.search("windows file")
    assert one.page.locator(".column:visible").count() == 1
    one.page.click("#tab-bm25")
    assert one.page.locator("#column-bm25").is_visible()
    assert sideways(one) == 0
    one.open_first()
    for tab in ("read", "match", "memory", "prompt"):
        one.tab(tab)
        inside = one.page.locator("#panel .body").evaluate("(body) => body.scrollWidth - body.clientWidth")
        assert (sideways(one), inside) == (0, 0), tab
    one.page.go_back()
    one.page.wait_for_selector("#panel", state="hidden")


def test_nothing_moves_for_a_reader_who_wants_less_motion(visit: Open) -> None:
    one = visit(reduced_motion="reduce")
    one.search("file")
    moving = one.page.evaluate(
        """[...document.querySelectorAll("*")].filter((node) => {
          const style = getComputedStyle(node);
          const changes = style.transitionDuration !== "0s" && style.transitionProperty !== "none";
          return changes || style.animationName !== "none";
        }).length"""
    )
    assert moving == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Open, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    one = visit(color_scheme=scheme, reduced_motion="reduce")

    def serious(state: str) -> list[str]:
        findings = axe.run(one.page, options={"resultTypes": ["violations"]}).response["violations"]
        bad = [one for one in findings if one["impact"] in ("serious", "critical")]
        return [f"{state}: {bad_one['id']}: {bad_one['nodes'][0]['html']}" for bad_one in bad]

    problems = serious("home")
    one.search("open a file")
    one.open_first()
    for tab in ("match", "memory", "prompt"):  # the results are beside each
        one.tab(tab)
        problems += serious(tab)
    one.page.click("#helper")
    problems += serious("help")
    assert problems == []
