"""A browser for the tests of the picture's page that are marked so."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.verify.contracts import shop
from tests.verify.picture.opened import Opened
from verify.picture import write_difference
from verify.step import Step, capture

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert browser is not None, f"none of {', '.join(_BROWSERS)} is installed"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(chromium: Any, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """A page that is new; by `parametrize`, with settings of a browser's context."""
    settings = {"viewport": {"width": 1500, "height": 900}} | getattr(request, "param", {})
    context = chromium.new_context(**settings)
    opened = Opened(context.new_page())
    yield opened
    context.close()
    assert opened.errors == []


@pytest.fixture(scope="module")
def main_step() -> Step:
    return capture(*shop.main())


@pytest.fixture(scope="module")
def difference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From a step that clips to one that does not."""
    model, batch = shop.controlled()
    path = tmp_path_factory.mktemp("difference") / "difference.html"
    write_difference(capture(model.warmup_on, batch), capture(model.warmup_off, batch), path)
    return path
