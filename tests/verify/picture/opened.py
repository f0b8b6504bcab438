"""The picture's page, open in a browser."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from verify.picture import write
from verify.step import Step

_PICTURE = ".picture >> nth=0"


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

    def view(self) -> list[float]:
        """Corner and size of what is seen, in the units of the picture."""
        return [float(n) for n in self.page.get_attribute(_PICTURE, "viewBox").split()]

    def from_the_middle(self, selector: str) -> float:
        """How far the middle of something is from that of the stage, in pixels."""
        boxes = (
            self.page.locator(which).bounding_box() for which in (selector, ".picture >> nth=0")
        )
        (x, y), (to_x, to_y) = ((b["x"] + b["width"] / 2, b["y"] + b["height"] / 2) for b in boxes)
        return math.hypot(x - to_x, y - to_y)
