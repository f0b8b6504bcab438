"""The page in a real browser. Not part of the default run: `ci/browser` runs it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.verify.picture.large import outline_of_size
from tests.verify.picture.opened import Opened
from verify.picture import write
from verify.picture.html import page
from verify.step import Step, capture

pytestmark = pytest.mark.browser


def marked(opened: Opened, mark: str) -> list[str]:
    return [box.get_attribute("data-name") for box in opened.page.locator(f".box.{mark}").all()]


def test_open_expand_search_collapse(opened: Opened, main_step: Step, tmp_path: Path) -> None:
    opened.show(main_step, tmp_path / "step.html")
    page, at_first = opened.page, opened.boxes()
    assert {"forward", "loss", "backward", "clip", "optimizer"} <= set(at_first)
    assert page.locator(".frame.branch").count() == 2
    assert "clipping" in page.inner_text("#facts")

    page.locator('.box[data-name="clip"]').click()
    assert page.locator('.frame[data-name="clip"]').count() == 1
    assert sorted(opened.boxes()) != sorted(at_first)

    page.fill("#search", "maximum")
    assert page.inner_text("#found") == "8 found"  # by type and by name
    page.press("#search", "Enter")
    assert page.locator(".box.hit").count() >= 1
    page.locator(".box.hit").first.click()
    assert "maximum" in page.inner_text("#chosen").lower()

    page.click("#collapse")
    assert sorted(opened.boxes()) == sorted(at_first)


def test_what_is_found_is_opened_centred_and_told_one_after_the_other(
    opened: Opened, main_step: Step, tmp_path: Path
) -> None:
    opened.show(main_step, tmp_path / "step.html")
    page = opened.page
    page.fill("#search", "relu")
    many = int(page.inner_text("#found").split()[0])
    assert many > 2
    seen = []
    for number in range(1, many + 1):
        page.press("#search", "Enter")
        assert page.inner_text("#found") == f"{number} of {many}"
        assert page.locator(".current").count() == 1
        assert opened.from_the_middle(".current") < 8
        seen.append(page.inner_text("#chosen"))
        assert "relu" in seen[-1].lower()
        # Groups that were opened for the ones before are closed again.
        assert len(opened.boxes()) < 90
    assert len(set(seen)) == many
    page.press("#search", "Enter")  # after the last, the first
    assert page.inner_text("#chosen") == seen[0]
    page.press("#search", "Shift+Enter")
    assert page.inner_text("#chosen") == seen[-1]
    page.click("#previous")
    assert page.inner_text("#chosen") == seen[-2]
    page.click("#next")
    page.press("body", "F3")
    page.press(".picture .box >> nth=0", "n")
    assert page.inner_text("#chosen") == seen[1]
    page.press(".picture .box >> nth=0", "Shift+N")
    assert page.inner_text("#chosen") == seen[0]
    page.press("#search", "Escape")
    assert page.input_value("#search") == page.inner_text("#found") == ""
    assert page.locator(".hit, .current").count() == 0


def test_layers_and_variables_are_found_too(
    opened: Opened, main_step: Step, tmp_path: Path
) -> None:
    opened.show(main_step, tmp_path / "step.html")
    opened.page.fill("#search", "hidden/kernel")
    opened.page.press("#search", "Enter")
    assert "variable" in opened.page.inner_text("#chosen")
    opened.page.fill("#search", "nowhere")
    assert opened.page.inner_text("#found") == "0 found"
    assert opened.page.is_disabled("#next")
    opened.page.fill("#search", "head")
    opened.page.press("#search", "Enter")
    assert opened.page.inner_text("#chosen").startswith("group\nhead\n")


def test_a_group_opens_to_layers(opened: Opened, main_step: Step, tmp_path: Path) -> None:
    opened.show(main_step, tmp_path / "step.html")
    opened.page.locator('.box[data-name="forward"]').first.click()
    assert {"hidden", "head"} <= set(opened.boxes())


def test_everything_by_keyboard(opened: Opened, main_step: Step, tmp_path: Path) -> None:
    opened.show(main_step, tmp_path / "step.html")
    page = opened.page

    def focused(attribute: str) -> str:
        return str(page.evaluate(f"document.activeElement.getAttribute('{attribute}')"))

    page.focus("#ask")
    names = []
    for _ in range(60):
        page.keyboard.press("Tab")
        if focused("role") != "button":
            break
        names.append(focused("aria-label"))
        assert page.evaluate("document.activeElement.matches(':focus-visible')")
    assert len(names) == page.locator(".picture [role=button]").count()
    assert any(name.startswith("forward, ") for name in names)

    page.focus('.box[data-name="forward"] >> nth=0')
    assert focused("aria-expanded") == "false"
    page.keyboard.press("Enter")
    assert focused("aria-expanded") == "true"  # the same group, which keeps the focus
    assert focused("aria-label").startswith("forward, ")
    page.keyboard.press("Space")
    assert focused("aria-expanded") == "false"

    whole = opened.view()
    page.keyboard.press("ArrowRight")
    assert opened.view()[0] > whole[0]
    page.keyboard.press("ArrowDown")
    assert opened.view()[1] > whole[1]
    page.keyboard.press("+")
    assert opened.view()[2] < whole[2]
    page.keyboard.press("-")
    assert opened.view()[2] == pytest.approx(whole[2])
    page.keyboard.press("0")
    fitted = opened.view()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("f")
    assert opened.view() == pytest.approx(fitted)

    page.keyboard.press("?")
    assert page.is_visible("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")
    page.keyboard.press("/")
    assert focused("id") == "search"


@pytest.mark.parametrize(
    "opened",
    [{"viewport": {"width": 390, "height": 800}, "has_touch": True, "is_mobile": True}],
    indirect=True,
)
def test_by_touch(opened: Opened, main_step: Step, tmp_path: Path) -> None:
    opened.show(main_step, tmp_path / "step.html")
    page = opened.page
    stage = page.locator("#stage").bounding_box()
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + 20
    fingers = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        listed = [{"x": px, "y": py, "id": n} for n, (px, py) in enumerate(points)]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": listed})

    before, boxes = opened.view(), opened.boxes()
    touch("touchStart", (x, y))
    touch("touchMove", (x - 30, y + 10))
    touch("touchMove", (x - 60, y + 20))
    touch("touchEnd")
    after = opened.view()
    scale = before[2] / stage["width"]
    assert after[0] - before[0] == pytest.approx(60 * scale, rel=0.05)
    assert after[1] - before[1] == pytest.approx(-20 * scale, rel=0.05)
    assert after[2] == pytest.approx(before[2])

    touch("touchStart", (x - 40, y + 100), (x + 40, y + 100))
    touch("touchMove", (x - 60, y + 100), (x + 60, y + 100))
    touch("touchMove", (x - 80, y + 100), (x + 80, y + 100))
    touch("touchEnd")
    pinched = opened.view()
    assert pinched[2] == pytest.approx(after[2] / 2, rel=0.05)
    middle = [view[0] + view[2] / 2 for view in (after, pinched)]
    assert middle[0] == pytest.approx(middle[1], abs=5 * scale)
    assert opened.boxes() == boxes  # no move was taken for a tap

    page.tap("#fit")
    page.locator('.box[data-name="forward"]').first.tap()
    assert opened.boxes() != boxes
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("opened", [{"color_scheme": "dark"}], indirect=True)
def test_by_night(opened: Opened, main_step: Step, tmp_path: Path) -> None:
    opened.show(main_step, tmp_path / "step.html")

    def light(selector: str, of: str) -> float:
        got = opened.page.evaluate(
            "([s, of]) => getComputedStyle(document.querySelector(s))[of]", [selector, of]
        )
        return max(float(part) for part in re.findall(r"[\d.]+", got)[:3])

    for selector in ("html", "#stage", "button", "input"):
        assert light(selector, "backgroundColor") < 80
    for name in ("forward", "loss", "backward", "optimizer", "clip"):
        assert light(f'.box[data-name="{name}"] rect', "fill") < 128
    assert light(".box text", "fill") > 200
    assert light("#facts dd", "color") > 200


def test_a_difference_shows_what_is_gone(opened: Opened, difference: Path) -> None:
    page = opened.page
    page.goto(difference.as_uri())
    page.wait_for_selector(".box")
    page.click("#apart")  # as one picture
    assert "clip" in marked(opened, "gone")
    assert page.locator('.box.ghost[data-name="clip"]').count() == 1
    legend = page.inner_text("#legend")
    gone, new = (int(re.findall(rf"{what}: (\d+)", legend)[0]) for what in ("gone", "new"))
    assert gone > 0
    assert new > 0
    dashes = "s => getComputedStyle(document.querySelector(s)).strokeDasharray"
    assert page.evaluate(dashes, ".box.ghost rect") != "none"
    assert page.locator(".wire.gone").count() > 0

    assert page.inner_text("#found") == f"{gone + new} changes"
    told = []
    for number in range(1, gone + new + 1):
        page.press("body", "n")
        assert page.inner_text("#found") == f"{number} of {gone + new} changes"
        told.append(page.inner_text('#chosen dt:text-is("change") + dd'))
    assert (told.count("gone"), told.count("new")) == (gone, new)
    assert page.locator(".current.gone, .current.added").count() == 1
    page.fill("#search", "hidden")  # a text is looked for instead
    assert page.inner_text("#found").endswith(" found")


def test_names_are_text_wherever_they_are_shown(opened: Opened, tmp_path: Path) -> None:
    evil = "<img src=x onerror=injected=1>'\"--tone:red"
    weight = tf.Variable(1.0, name="weight")
    step = capture(tf.function(lambda x: weight.assign_sub(x)), tf.TensorSpec(()))
    for node in step.flat.nodes:
        node.name = f"{evil}/{evil}{node.index}"
    opened.show(step, tmp_path / "step.html")
    opened.page.fill("#search", "onerror")
    for _ in range(4):
        opened.page.press("#search", "Enter")
        assert "onerror" in opened.page.inner_text("#chosen")
    assert opened.page.locator("img").count() == 0
    assert opened.page.evaluate("typeof injected") == "undefined"


def test_the_size_of_resnet50(opened: Opened, tmp_path: Path) -> None:
    model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)
    model.compile("adam", "categorical_crossentropy")
    batch = tf.TensorSpec((8, 64, 64, 3)), tf.TensorSpec((8, 10))
    opened.show(capture(model, batch), tmp_path / "resnet50.html")
    assert len(opened.boxes()) < 20
    for group in ("forward", "optimizer", "backward"):
        opened.page.locator(f'.box[data-name="{group}"]').first.dispatch_event("click")
    assert 14 < len(opened.boxes()) < 300
    opened.page.fill("#search", "conv4_block3_2_bn")
    opened.page.press("#search", "Enter")
    assert "conv4 › conv4_block3" in opened.page.inner_text("#chosen")
    assert len(opened.boxes()) < 300


@pytest.mark.parametrize("body", [lambda: None, lambda: tf.constant(1.0) + 1.0])
def test_a_step_that_does_next_to_nothing(opened: Opened, body: Any, tmp_path: Path) -> None:
    write(capture(tf.function(body, autograph=False)), tmp_path / "step.html")
    opened.page.goto((tmp_path / "step.html").as_uri())
    opened.page.wait_for_function("performance.getEntriesByName('drawn').length")
    assert all(math.isfinite(number) for number in opened.view())
    opened.page.keyboard.press("+")
    opened.page.keyboard.press("0")


def test_15000_nodes(opened: Opened, tmp_path: Path) -> None:
    (tmp_path / "large.html").write_text(page(outline_of_size(15_000), ""), "utf-8")
    opened.page.goto((tmp_path / "large.html").as_uri())
    opened.page.wait_for_selector(".box")
    assert len(opened.boxes()) < 20
    opened.page.locator('.box[data-name="forward"]').click()
    opened.page.fill("#search", "block7_layer3")
    opened.page.press("#search", "Enter")
    assert "block7_layer3" in opened.page.inner_text("#chosen")
    assert 10 < len(opened.boxes()) < 300
