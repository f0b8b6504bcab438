"""The page in a real browser. Not part of the default run: `ci/browser` runs it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from tests.verify.contracts import shop
from verify.picture import write
from verify.step import Step, capture

pytestmark = pytest.mark.browser
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Opened:
    """A page in the browser, and what its console said."""

    def __init__(self, page: Any) -> None:
        self.page, self.errors = page, list[str]()
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def show(self, step: Step, path: Path) -> None:
        write(step, path)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(".box")

    def boxes(self) -> list[str]:
        return [box.get_attribute("data-name") for box in self.page.locator(".box").all()]


@pytest.fixture
def opened() -> Iterator[Opened]:
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert browser is not None, f"none of {', '.join(_BROWSERS)} is installed"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        opened = Opened(chromium.new_page(viewport={"width": 1500, "height": 900}))
        yield opened
        chromium.close()
    assert opened.errors == []


def test_open_expand_search_collapse(opened: Opened, tmp_path: Path) -> None:
    opened.show(capture(*shop.main()), tmp_path / "step.html")
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


def test_the_size_of_resnet50(opened: Opened, tmp_path: Path) -> None:
    model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)
    model.compile("adam", "categorical_crossentropy")
    batch = tf.TensorSpec((8, 64, 64, 3)), tf.TensorSpec((8, 10))
    opened.show(capture(model, batch), tmp_path / "resnet50.html")
    assert len(opened.boxes()) < 20
    for group in ("forward", "optimizer", "backward"):
        opened.page.locator(f'.box[data-name="{group}"]').first.dispatch_event("click")
    assert 14 < len(opened.boxes()) < 300
