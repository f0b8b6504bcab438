"""What notebooks show: text from elsewhere is no markup, and colours are the page's own."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from loopctl_shared import html_page, html_table

NAME = '<script>alert("&")</script>\n  two'


def test_a_page_is_the_text() -> None:
    shown = ElementTree.fromstring(html_page(NAME))
    assert (shown.tag, shown.text, len(shown)) == ("pre", NAME, 0)


def test_a_table_holds_its_cells() -> None:
    shown = ElementTree.fromstring(html_table((NAME, "b"), [("1", NAME), ("3", "4")], NAME))
    assert [cell.text for cell in shown.iter("th")] == [NAME, "b"]
    assert [["".join(cell.itertext()) for cell in row] for row in shown.iter("tr")][1:] == [
        ["1", NAME],
        ["3", "4"],
    ]
    assert [told.text for told in shown.iter("caption")] == [NAME]
    assert not [*ElementTree.fromstring(html_table(("a",), [])).iter("caption")]


def test_a_long_path_does_not_widen_a_table() -> None:
    shown = ElementTree.fromstring(html_table(("a",), [("net/dense/kernel",)]))
    (cell,) = shown.iter("td")
    assert [cell.text, *(part.tail for part in cell.iter("wbr"))] == ["net/", "dense/", "kernel"]


@pytest.mark.parametrize("html", [html_page("a"), html_table(("a",), [("b",)], "c")])
def test_colours_are_those_of_what_is_around(html: str) -> None:
    assert "background:none;color:inherit" in html
    assert "#" not in html
    assert "rgb(" not in html
