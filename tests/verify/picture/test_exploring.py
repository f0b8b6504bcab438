"""To find one's way in a step, in a real browser: map, links, neighbours, both sides, notebooks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

import verify
from tests.verify.contracts import shop
from tests.verify.picture.opened import Opened
from verify.step import Step

pytestmark = pytest.mark.browser


@pytest.fixture
def shown(opened: Opened, main_step: Step, tmp_path: Path) -> Opened:
    opened.show(main_step, tmp_path / "step.html")
    return opened


def fragment(opened: Opened) -> str:
    return unquote(opened.page.evaluate("location.hash"))


def box(name: str) -> str:
    return f'.picture .box[data-name="{name}"]'


# -- links -----------------------------------------------------------------------------------------


def test_a_link_leads_to_what_was_chosen(shown: Opened, tmp_path: Path) -> None:
    page, closed = shown.page, len(shown.boxes())
    page.fill("#search", "hidden/kernel")
    page.press("#search", "Enter")
    chosen = page.inner_text("#chosen")
    address = page.evaluate("location.href")
    assert fragment(shown) == "#shop/hidden/kernel"
    assert page.get_attribute("#chosen a", "href") == address[address.index("#") :]

    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".picked")
    assert page.inner_text("#chosen") == chosen
    assert len(shown.boxes()) > closed
    assert shown.from_the_middle(".picked") < 8


def test_a_link_to_a_group_and_back_to_another(shown: Opened) -> None:
    page = shown.page
    page.locator(box("clip")).click()
    assert fragment(shown) == "#if warmup: True › clip"
    page.evaluate(f"location.hash = {quote('if warmup: False › loss')!r}")
    page.wait_for_function("document.querySelector('#chosen').innerText.includes('loss')")
    assert "in\nif warmup: False" in page.inner_text("#chosen").replace("\n\n", "\n")
    page.keyboard.press("Escape")
    assert fragment(shown) == ""
    assert page.locator(".picked").count() == 0


@pytest.mark.parametrize("name", ["nowhere", "<img src=x onerror=injected=1>"])
def test_a_link_to_nothing_says_so(shown: Opened, name: str) -> None:
    shown.page.evaluate(f"location.hash = {quote(name)!r}")
    shown.page.wait_for_function("document.querySelector('#chosen').innerText.includes('called')")
    assert shown.page.inner_text("#chosen") == f"Nothing in this step is called {name}."
    assert shown.page.evaluate("typeof injected") == "undefined"


# -- what is wired to what -------------------------------------------------------------------------


def test_what_a_box_is_wired_to_can_be_followed(shown: Opened) -> None:
    page = shown.page
    page.fill("#search", "clip_by_value/minimum")
    page.press("#search", "Enter")
    assert page.locator(".wire.near").count() > 0
    near = page.evaluate("getComputedStyle(document.querySelector('.wire.near')).opacity")
    far = page.evaluate("getComputedStyle(document.querySelector('.wire:not(.near)')).opacity")
    assert float(far) < 0.5 < float(near)
    before = page.inner_text("#chosen dd >> nth=1")
    page.locator('#chosen dt:text-is("to") + dd button').first.click()
    after = page.inner_text("#chosen dd >> nth=1")
    assert after != before
    assert page.locator("#chosen button", has_text=before).count() == 1  # and back again
    assert shown.from_the_middle(".picked") < 8

    page.mouse.click(*_empty(page))
    assert page.locator(".picked, .near").count() == 0
    assert page.inner_text("#chosen").startswith("Click a box")


def test_facts_lead_to_what_they_name(shown: Opened) -> None:
    page = shown.page
    page.locator("#facts button", has_text="shop/hidden/kernel").first.click()
    assert "variable\nshop/hidden/kernel" in re.sub(r"\n+", "\n", page.inner_text("#chosen"))
    assert shown.from_the_middle(".picked") < 8


def test_what_is_gone_is_shown_where_it_was(opened: Opened, difference: Path) -> None:
    """Though the new step may have an op of the same name."""
    page = opened.page
    page.goto(difference.as_uri())
    page.wait_for_selector("#facts button")
    for list_of, told in (("gone", "gone"), ("new", "new")):
        page.locator(f'#facts dt:text-is("{list_of}") + dd button').first.click()
        assert page.inner_text('#chosen dt:text-is("change") + dd') == told


def _empty(page: Any) -> tuple[float, float]:
    """Where nothing is drawn."""
    stage = page.locator("#stage").bounding_box()
    return stage["x"] + 4, stage["y"] + 4


# -- map -------------------------------------------------------------------------------------------


def test_a_map_where_only_a_part_is_seen(shown: Opened) -> None:
    page = shown.page
    assert not page.is_visible("#map")
    for _ in range(4):
        page.keyboard.press("+")
    assert page.is_visible("#map")
    seen = page.locator("#map .looking").bounding_box()
    whole = page.locator("#map").bounding_box()
    assert seen["width"] < whole["width"] / 2
    page.mouse.click(whole["x"] + whole["width"] * 0.3, whole["y"] + whole["height"] * 0.4)
    here = shown.view()
    page.mouse.move(whole["x"] + whole["width"] * 0.3, whole["y"] + whole["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(whole["x"] + whole["width"] * 0.6, whole["y"] + whole["height"] * 0.4)
    page.mouse.up()
    assert shown.view()[0] > here[0]
    assert shown.view()[1:] == pytest.approx(here[1:])
    page.keyboard.press("0")
    assert not page.is_visible("#map")


PHONE = {"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_a_phone_begins_with_what_can_be_read(shown: Opened) -> None:
    page = shown.page
    assert page.locator(f"{box('forward')} text").first.bounding_box()["height"] >= 7
    assert page.is_visible("#map")
    page.tap("#beside")
    assert not page.is_visible("aside")
    tall = page.locator("#stage").bounding_box()["height"]
    assert tall > 600
    page.tap("#beside")
    assert page.is_visible("aside")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


# -- both sides of a difference --------------------------------------------------------------------


def test_before_and_after_are_side_by_side(opened: Opened, difference: Path) -> None:
    page = opened.page
    page.goto(difference.as_uri())
    page.wait_for_selector(".box")
    assert page.locator(".pane h2").all_inner_texts() == ["before: warmup_on", "after: warmup_off"]
    old, new = (page.locator(".pane").nth(i) for i in (0, 1))
    assert old.locator('.box[data-name="clip"]').count() == 1
    assert new.locator('.box[data-name="clip"]').count() == 0
    assert old.locator(".added").count() == new.locator(".gone").count() == 0
    losses = [pane.locator(box("loss")).get_attribute("aria-label") for pane in (old, new)]
    assert re.fullmatch(r"loss, \d+ ops, \d+ gone", losses[0])
    assert re.fullmatch(r"loss, \d+ ops, \d+ new", losses[1])
    # What went through the clip goes by it now.
    wires = '[data-from="{}"][data-to="{}"]'.format(
        *(page.locator(box(n)).first.get_attribute("data-key") for n in ("backward", "optimizer"))
    )
    assert "added" in new.locator(wires).first.get_attribute("class")

    # The same thing is at the same place, wherever one looks.
    def places() -> list[list[float]]:
        return page.evaluate(
            """() => [...document.querySelectorAll('.pane')].map((pane) => {
              const at = pane.querySelector('[data-name="forward"] rect').getBoundingClientRect();
              const from = pane.querySelector('.picture').getBoundingClientRect();
              return [at.x - from.x, at.y - from.y, at.width];
            })"""
        )

    first, second = places()
    assert first == pytest.approx(second, abs=0.01)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    moved, also = places()
    assert moved == pytest.approx(also, abs=0.01) != pytest.approx(first, abs=1)

    page.keyboard.press("s")
    assert page.locator(".pane").count() == 1
    assert page.get_attribute("#apart", "aria-pressed") == "false"


def test_by_layer_first(shown: Opened) -> None:
    page, at_first = shown.page, shown.boxes()
    page.click("#layers")
    boxes = shown.boxes()
    assert sorted(boxes) != sorted(at_first)
    assert {"hidden", "head"} <= {name.partition("/")[0] for name in boxes}
    page.locator('.box[data-name="hidden"]').first.click()
    inside = {*shown.boxes()}
    assert {"forward", "backward", "optimizer"} <= inside
    page.fill("#search", "relu")
    page.press("#search", "Enter")
    assert page.inner_text("#found").startswith("1 of ")
    page.press("#search", "Escape")
    page.press(".picture .box >> nth=0", "l")
    assert page.get_attribute("#layers", "aria-pressed") == "false"
    assert "relu" in page.inner_text("#chosen").lower()  # an op is in both
    page.click("#collapse")
    assert sorted(shown.boxes()) == sorted(at_first)


def test_a_link_to_a_layer_opens_the_tree_that_has_it(shown: Opened) -> None:
    page = shown.page
    page.click("#layers")
    page.locator('.box[data-name="hidden"]').first.click()
    name = page.evaluate("location.hash")
    page.click("#layers")
    assert page.evaluate("location.hash") == ""
    page.evaluate(f"location.hash = {name!r}")
    page.wait_for_selector('#layers[aria-pressed="true"]')
    assert "hidden" in page.inner_text("#chosen")


def test_a_step_by_itself_has_no_sides(shown: Opened) -> None:
    assert not shown.page.is_visible("#apart")
    shown.page.keyboard.press("s")
    assert shown.page.locator(".pane").count() == 1


# -- day and night, notebooks ----------------------------------------------------------------------


def paper(page: Any) -> float:
    got = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return max(float(part) for part in re.findall(r"[\d.]+", got)[:3])


def test_dark_by_hand(shown: Opened) -> None:
    page = shown.page
    assert paper(page) > 240
    page.click("#dark")
    assert paper(page) < 60
    assert page.get_attribute("#dark", "aria-pressed") == "true"
    page.keyboard.press("d")
    assert paper(page) > 240


@pytest.mark.parametrize("dark", [True, False])
def test_in_a_notebook_it_is_as_dark_as_what_is_around(
    opened: Opened, dark: bool, tmp_path: Path
) -> None:
    picture = verify.draw(*shop.plain())
    colour = "#111" if dark else "#fff"
    told = f"<body style='background: {colour}; height: 3000px'>{picture._repr_html_()}</body>"
    (tmp_path / "notebook.html").write_text(f"<!DOCTYPE html>{told}", "utf-8")
    page = opened.page
    page.goto((tmp_path / "notebook.html").as_uri())
    (frame,) = page.frames[1:]
    frame.wait_for_selector(".picture .box")
    assert (paper(frame) < 60) is dark
    assert not frame.is_visible("aside")

    # The wheel moves the notebook, and zooms with Ctrl.
    view = frame.get_attribute(".picture", "viewBox")
    at = page.locator("iframe").bounding_box()
    page.mouse.move(at["x"] + 300, at["y"] + 300)
    page.mouse.wheel(0, 200)
    page.wait_for_function("scrollY > 0")
    assert frame.get_attribute(".picture", "viewBox") == view
    page.keyboard.down("Control")
    page.mouse.wheel(0, -50)
    page.keyboard.up("Control")
    frame.wait_for_function(
        f"document.querySelector('.picture').getAttribute('viewBox') !== {view!r}"
    )

    frame.click(box("forward"))
    assert frame.locator(box("hidden")).count() == 1
    assert page.evaluate("location.hash") == ""
