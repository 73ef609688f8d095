"""The page when the server is slow, busy, locked or gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import page_stub
import pytest
from page_visit import Open, Served

if TYPE_CHECKING:
    from playwright.sync_api import Route

RECORD = """() => {
  window.seen = new Set();
  new MutationObserver(() => {
    for (const hit of document.querySelectorAll(".hit")) window.seen.add(hit.dataset.id);
  }).observe(document.body, { childList: true, subtree: true });
}"""


def test_an_answer_to_an_older_question_is_never_shown(visit: Open, served: Served) -> None:
    served.faults.delay = {"decimal arithmetic": 0.6}
    one = visit()
    one.page.evaluate(RECORD)
    one.page.fill("#query", "decimal arithmetic")
    one.page.wait_for_timeout(250)
    assert ("dense", "decimal arithmetic") in served.faults.asked  # it is on its way
    one.page.fill("#query", "timezone")
    one.page.wait_for_selector('.hit[data-id="library/datetime"]')
    one.page.wait_for_timeout(800)
    old = {hit["id"] for hit in page_stub.search("decimal arithmetic", 10, "dense")}
    new = {hit["id"] for mode in ("dense", "bm25") for hit in page_stub.search("timezone", 10, mode)}
    assert old - new
    assert set(one.page.evaluate("[...window.seen]")) == new


def test_while_an_answer_is_awaited_no_old_hit_can_be_taken_for_it(visit: Open, served: Served) -> None:
    served.faults.delay = {"sort slowly": 1.2}
    one = visit()
    one.search("timezone")
    one.page.wait_for_selector(".expected")
    one.page.fill("#query", "sort slowly")
    assert one.page.get_attribute("#results", "aria-busy") == "true"
    one.page.wait_for_selector(".bone")
    assert one.page.locator(".hit, .expected:visible").count() == 0
    one.page.wait_for_selector('.hit[data-id="howto/sorting"]')


def test_what_is_typed_before_the_server_said_what_it_has_is_searched(visit: Open) -> None:
    one = visit()
    held: list[Route] = []
    one.page.route("**/info", lambda route: held.append(route))
    one.page.reload()
    one.page.fill("#query", "timezone")
    held[0].continue_()
    one.page.wait_for_selector("#facts dl", state="attached")
    one.settle()
    assert one.page.locator(".hit").count() > 0


def test_typing_asks_once_for_a_pause_not_for_each_letter(visit: Open, served: Served) -> None:
    one = visit()
    one.page.evaluate(
        """() => {
          const query = document.querySelector("#query");
          for (const letter of "concurrent threads") {
            query.value += letter;
            query.dispatchEvent(new InputEvent("input"));
          }
        }"""
    )
    one.settle()
    assert {query for _, query in served.faults.asked} == {"concurrent threads"}


def test_a_key_is_asked_for_and_kept_for_the_tab_only(visit: Open, served: Served) -> None:
    served.faults.key = "right"
    one = visit(failures_expected=True)
    page = one.page
    page.fill("#key-input", "wrong")
    page.keyboard.press("Enter")
    page.fill("#query", "sort")
    page.wait_for_selector("#key[open]")
    assert "did not accept" in (page.text_content("#key") or "")
    page.fill("#key-input", "right")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")
    page.reload()
    page.wait_for_selector(".hit")
    assert "right" not in page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    assert visit(failures_expected=True).page.locator("#key").is_visible()


def test_a_key_that_no_header_can_carry_is_asked_for_again(visit: Open, served: Served) -> None:
    served.faults.key = "right"
    page = visit("?q=sort", failures_expected=True).page
    page.fill("#key-input", "schlüssel日")
    page.keyboard.press("Enter")
    page.wait_for_selector("#key[open] [aria-invalid=true]")
    page.fill("#key-input", "right")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")


def test_where_the_browser_keeps_nothing_the_page_works_all_the_same(visit: Open) -> None:
    one = visit()
    one.page.add_init_script(
        "Object.defineProperty(window, 'sessionStorage', { get() { throw new Error('refused'); } })"
    )
    one.page.reload()
    one.search("timezone")
    assert one.page.locator(".hit").count() > 0


def test_a_query_too_long_for_an_address_is_searched_and_left_out_of_it(visit: Open, served: Served) -> None:
    one = visit()
    text = "时区 timezone " * 400
    one.page.fill("#query", text)
    one.page.wait_for_selector(".hit")
    assert served.faults.asked[-1][1].strip() == text.strip()
    assert len(one.page.evaluate("location.href")) < 4_200
    one.open_first()
    one.page.click("#panel-close")
    one.page.wait_for_selector("#panel", state="hidden")
    assert one.page.input_value("#query").strip() == text.strip()
    assert one.page.locator(".hit").count() > 0


def test_without_a_key_the_page_says_so_and_offers_to_enter_one(visit: Open, served: Served) -> None:
    served.faults.key = "right"
    one = visit("?q=sort", failures_expected=True)
    one.page.wait_for_selector("#key[open]")
    one.page.keyboard.press("Escape")
    one.page.click("#notice button")
    one.page.fill("#key-input", "right")
    one.page.keyboard.press("Enter")
    one.page.wait_for_selector(".hit")
    assert one.page.locator("#notice").is_hidden()


@pytest.mark.parametrize(
    ("status", "says"),
    [(429, "Too many requests"), (503, "full or shutting down"), (500, "failed"), (400, "refused")],
)
def test_a_refusal_is_said_and_can_be_tried_again(
    visit: Open, served: Served, status: int, says: str
) -> None:
    served.faults.status["/search"] = (status, {}, "because <b>of this</b>")
    one = visit(failures_expected=True)
    one.search("sort")
    notice = one.page.text_content("#notice") or ""
    assert says in notice
    assert ("because <b>of this</b>" in notice) == (status in (500, 400))
    served.faults.status.clear()
    one.page.click("#notice button")
    one.page.wait_for_selector(".hit")
    assert one.page.locator("#notice").is_hidden()


def test_a_busy_server_is_asked_again_when_it_said(visit: Open, served: Served) -> None:
    served.faults.status["/search"] = (429, {"Retry-After": "1"}, "busy")
    one = visit(failures_expected=True)
    one.search("sort")
    assert "in 1 s" in (one.page.text_content("#notice") or "")
    served.faults.status.clear()
    one.page.wait_for_selector(".hit")


def test_a_server_that_went_away_is_found_again(visit: Open) -> None:
    one = visit(failures_expected=True)
    one.page.route("**/search", lambda route: route.abort())
    one.page.route("**/health", lambda route: route.abort())
    one.search("sort")
    assert "does not answer" in (one.page.text_content("#notice") or "")
    one.page.unroute_all()
    one.page.wait_for_selector(".hit")
    assert one.page.locator("#notice").is_hidden()


def test_a_page_without_its_server_says_what_to_start(visit: Open, served: Served) -> None:
    served.faults.status["/info"] = (503, {}, "starting")
    one = visit("?q=sort", failures_expected=True, ready="#notice:not([hidden])")
    served.faults.status.clear()
    one.page.click("#notice button")
    one.page.wait_for_selector(".hit")
    assert one.page.input_value("#query") == "sort"


def test_a_document_that_is_not_there_is_said(visit: Open) -> None:
    one = visit("?q=sort&doc=no/such", failures_expected=True)
    one.page.wait_for_selector("#panel .nothing")
    assert "no document 'no/such'" in (one.page.text_content("#panel .nothing") or "")
