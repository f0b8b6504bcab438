"""Text can be read on every colour, by day and by night."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from verify.picture.colours import COLOURS, MARKS, by_night

STYLE = (Path(__file__).parents[3] / "verify/picture/assets/page.css").read_text("utf-8")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", [*COLOURS, *MARKS])
@pytest.mark.parametrize("text", ["ink", "quiet"])
def test_text_on_a_colour(name: str, text: str) -> None:
    day, night = re.findall(rf"--{text}: (#\w+)", STYLE)
    colour = (COLOURS | MARKS)[name]
    assert contrast(day, colour) >= 4.5
    assert contrast(night, by_night(colour)) >= 4.5


def test_no_colour_is_fixed_beside_the_two_sets() -> None:
    rules = STYLE.partition("* { box-sizing")[2]
    values = re.findall(r":([^;{}]+);", rules)
    assert not [v for v in values if re.search(r"#|rgb|\bwhite\b|\bblack\b", v)]
