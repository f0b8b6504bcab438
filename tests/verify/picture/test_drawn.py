"""`verify.draw`: what a notebook shows is the page that is saved."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
import tensorflow as tf

import verify
from tests.verify.contracts import shop
from verify.errors import ContractError

EVIL = "\"></iframe><script>alert('1')</script>"


@pytest.fixture(scope="module")
def picture() -> verify.Picture:
    return verify.draw(*shop.plain())


def shown(picture: verify.Picture) -> str:
    """What is in the frame, all of which is one attribute of it."""
    frame = r'<iframe title="[^"<>]*" srcdoc="([^"<>]*)" style="[^"<>]*"></iframe>'
    found = re.fullmatch(frame, picture._repr_html_())
    assert found is not None
    return html.unescape(found[1])


def test_a_notebook_shows_what_is_saved(picture: verify.Picture, tmp_path: Path) -> None:
    picture.save(tmp_path / "step.html")
    page = (tmp_path / "step.html").read_text("utf-8")
    assert shown(picture) == picture.html == page
    assert "<title>shop.train_step</title>" in page


def test_where_nothing_is_shown_it_says_what_it_is(picture: verify.Picture) -> None:
    assert repr(picture) == "<picture of shop.train_step; save('step.html') to look at it>"


def test_a_name_stays_in_its_frame() -> None:
    weight = tf.Variable(1.0, name="weight")

    def step(x: tf.Tensor) -> None:
        weight.assign_sub(x)

    step.__name__ = EVIL
    made = verify.draw(tf.function(step, autograph=False), tf.TensorSpec(()))
    assert "<script>alert" not in shown(made)
    assert EVIL not in made._repr_html_()


def test_both_sides(tmp_path: Path) -> None:
    model, batch = shop.controlled()
    made = verify.draw(model.warmup_on, batch, before=model.warmup_off)
    assert "before: warmup_off" in repr(made)
    assert "<title>warmup_off → warmup_on</title>" in made.html
    assert re.search(r'<li class="new">\+ clipping: \[-0.1, 0.1\]', made.html)
    made.save(str(tmp_path / "both.html"))
    assert (tmp_path / "both.html").read_text("utf-8") == made.html
    with pytest.raises(ContractError, match=r"drawn as \.html"):
        made.save(tmp_path / "both.svg")


def test_a_step_is_saved_in_every_way(picture: verify.Picture, tmp_path: Path) -> None:
    picture.save(tmp_path / "step.dot")
    assert (tmp_path / "step.dot").read_text().startswith("digraph")
    with pytest.raises(ContractError, match=r"a picture is \.html"):
        picture.save(tmp_path / "step.gif")
