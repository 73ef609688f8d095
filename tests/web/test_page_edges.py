"""The page at its edges: servers without an index or an inspector, blank documents, scripts, long queries."""

import pytest
from page_visit import Open, Served

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


def test_without_an_index_the_page_says_so_once_and_inspects(visit: Open, served: Served) -> None:
    served.faults.modes = ()
    one = visit()
    assert one.page.text_content("#served") == "llara-mini"
    assert one.page.text_content("#ways") == ""
    assert "llara serve --index" in (one.page.text_content("#others") or "")
    one.page.fill("#query", "sort a list")
    one.page.click("#inspect")
    one.page.wait_for_selector('#panel [data-role="next"] .word')


def test_of_a_model_that_cannot_be_inspected_nothing_is_asked(visit: Open, served: Served) -> None:
    served.faults.preset = None
    one = visit(failures_expected=True)
    one.page.route("**/inspect", lambda _: pytest.fail("it was asked"))
    one.search("open a file")
    assert one.page.locator("#expects").is_hidden()
    one.page.unroute("**/inspect")
    one.open_first()
    one.tab("memory")
    assert "not made by llara" in (one.page.text_content("#panel .nothing") or "")


def test_a_mode_switched_beside_an_open_hit_stays_switched_when_it_closes(visit: Open) -> None:
    one = visit("?q=open+file&modes=dense,hybrid")
    one.settle()
    one.open_first()
    one.page.click('.tabs button[data-mode="bm25"]')
    one.settle()
    one.page.click("#panel-close")
    one.page.wait_for_selector("#panel", state="hidden")
    assert "modes=dense,hybrid" not in one.page.url
    assert "doc=" not in one.page.url


@pytest.mark.parametrize("size", [(1280, 900), (390, 844)])
def test_of_a_long_query_the_inspector_is_reached(visit: Open, size: tuple[int, int]) -> None:
    one = visit(viewport={"width": size[0], "height": size[1]})
    one.search("sort the open files " * 250)
    one.page.click("#inspect")
    one.page.wait_for_selector("#panel .body:not([aria-busy])")
    box = one.page.locator("#panel .body").bounding_box()
    assert box is not None
    assert box["height"] > size[1] / 3


def test_titles_and_query_run_as_their_script_does(visit: Open) -> None:
    one = visit()
    one.page.fill("#query", "فتح ملف (open)")
    one.settle()
    direction = "getComputedStyle(document.querySelector('#query')).direction"
    assert one.page.evaluate(direction) == "rtl"
    assert {link.get_attribute("dir") for link in one.page.locator(".hit a").all()} == {"auto"}
