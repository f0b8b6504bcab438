"""How large a picture is, and how soon it is seen: `ci/bench picture`, with Chromium installed.

Prints, of a step of 15,000 nodes, of ResNet50 and of a transformer: the size of the page, and
medians of milliseconds until the browser has painted anything, and until the step is drawn.
`ci/bench picture --shot docs/step.png` writes the picture of the README instead.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf
from playwright.sync_api import sync_playwright

from benchmarks.verify import resnet, transformer
from tests.verify.contracts import shop
from tests.verify.picture.large import outline_of_size
from verify.picture.files import step_page
from verify.picture.html import page
from verify.step import capture

_ROUNDS = 5
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_PAINTED = """() => new Promise((told) => requestAnimationFrame(() => setTimeout(() => {
  const at = (name) => performance.getEntriesByName(name)[0].startTime;
  told([at("first-contentful-paint"), at("drawn")]);
}, 100)))"""


def _step(made: Any) -> str:
    model, batch = made
    model.compile("adam", "sparse_categorical_crossentropy")
    return step_page(capture(model, (batch, tf.TensorSpec((batch.shape[0],), "int32"))))


def _seen(browser: Any, address: str) -> list[float]:
    """Milliseconds to the first paint, and to the picture."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    shown = context.new_page()
    shown.goto(address)
    shown.wait_for_selector(".picture .box")
    found: list[float] = shown.evaluate(_PAINTED)
    context.close()
    return found


def _bench(browser: Any, path: Path) -> None:
    pages = {
        "15,000 nodes": page(outline_of_size(15_000), ""),
        "ResNet50": _step(resnet()),
        "transformer": _step(transformer()),
    }
    print(f"{'':<14}{'kB':>8}{'painted':>10}{'drawn':>10}")
    for name, text in pages.items():
        path.write_text(text, "utf-8")
        rounds = [_seen(browser, path.as_uri()) for _ in range(_ROUNDS)]
        painted, drawn = (statistics.median(times) for times in zip(*rounds, strict=True))
        print(f"{name:<14}{len(text) / 1000:>8.0f}{painted:>7.0f} ms{drawn:>7.0f} ms")


def _shoot(browser: Any, path: Path, shot: Path) -> None:
    path.write_text(step_page(capture(*shop.main())), "utf-8")
    shown = browser.new_page(viewport={"width": 1400, "height": 800})
    shown.goto(path.as_uri())
    shown.wait_for_selector(".picture .box")
    shown.screenshot(path=shot)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shot", type=Path, metavar="FILE.png")
    options = parser.parse_args()
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        path = Path(folder, "page.html")
        if options.shot:
            _shoot(browser, path, options.shot)
        else:
            _bench(browser, path)
        browser.close()


if __name__ == "__main__":
    main()
