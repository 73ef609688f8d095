"""The page, used as people use it: typed into, read, clicked, by keyboard, on a phone, in both languages."""

from __future__ import annotations

import random
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


def test_nothing_found_is_said(visit: Open) -> None:
    one = visit()
    one.search("zzzzz")
    assert one.page.locator("#column-dense .nothing").text_content() == "Nothing found."
    assert one.page.text_content("#spoken") == "Nothing found."


def test_the_facts_are_those_of_model_and_index(visit: Open) -> None:
    facts = visit().page.locator("#facts dd").all_text_contents()
    assert facts[:6] == ["llara-mini", "6.12M", "256", "512 tokens", "paper", "4be1c9d07a3f"]
    assert facts[6:] == [str(len(page_stub.DOCUMENTS)), "exact", "faiss", "10.5 MB", "–", "llara 0.1.0"]


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

    light, dark = re.split(r"@media \(prefers-color-scheme: dark\)", STYLE, maxsplit=1)
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
    problems += serious("results")
    one.open_first()
    for tab in ("read", "match", "memory", "prompt"):
        one.tab(tab)
        problems += serious(tab)
    one.page.click("#helper")
    problems += serious("help")
    assert problems == []
