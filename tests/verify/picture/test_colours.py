"""Text can be read on every colour, and colours told apart by everybody, by day and by night."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
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
    ((day, night),) = re.findall(rf"--{text}: light-dark\((#\w+), (#\w+)\)", STYLE)
    colour = (COLOURS | MARKS)[name]
    assert contrast(day, colour) >= 4.5
    assert contrast(night, by_night(colour)) >= 4.5


def test_no_colour_is_fixed_beside_the_two_sets() -> None:
    rules = STYLE.partition("* { box-sizing")[2]
    values = re.findall(r":([^;{}]+);", rules)
    assert not [v for v in values if re.search(r"#|rgb|\bwhite\b|\bblack\b", v)]


# What people see of linear RGB who lack a kind of cone (Machado, Oliveira and Fernandes, 2009).
_SEEN = {
    "all": np.eye(3),
    "no red": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no green": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "no blue": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
) / np.array([[0.95047], [1.0], [1.08883]])


def lab(colour: str, seen: Any) -> Any:
    """The colour in CIELAB, where the distance is how different two look."""
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    x, y, z = (
        np.cbrt(part) if part > 0.008856 else 7.787 * part + 16 / 116
        for part in _XYZ @ np.clip(seen @ linear, 0, 1)
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colours: dict[str, str], seen: Any) -> tuple[float, set[str]]:
    by_name = {name: lab(colour, seen) for name, colour in colours.items()}
    pairs = itertools.combinations(by_name, 2)
    return min((float(np.linalg.norm(by_name[a] - by_name[b])), {a, b}) for a, b in pairs)


def test_the_distance_of_colours() -> None:
    red_and_green = {"red": "#ff0000", "brown": "#8f7a00"}
    assert nearest(red_and_green, _SEEN["all"])[0] > 60
    assert nearest(red_and_green, _SEEN["no green"])[0] < 35
    assert nearest({"white": "#ffffff", "black": "#000000"}, np.eye(3))[0] == pytest.approx(100)


@pytest.mark.parametrize("seen", _SEEN)
@pytest.mark.parametrize(("shade", "least"), [(str, 10), (by_night, 5)])
def test_colours_are_told_apart_by_everybody(
    shade: Callable[[str], str], least: float, seen: str
) -> None:
    """2.3 is a difference that is just seen; these are side by side in a legend."""
    for colours in ({n: c for n, c in COLOURS.items() if n != "branch"}, MARKS):
        distance, pair = nearest({name: shade(c) for name, c in colours.items()}, _SEEN[seen])
        assert distance >= least, pair
