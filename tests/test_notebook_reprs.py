"""What a notebook shows of our objects says what they print."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import keras
import pytest
import tensorflow as tf

import verify
from loopctl import LoopControllerCallback, StepHistory, when
from loopctl.look.summary import table

BATCH = (tf.TensorSpec((4, 3)), tf.TensorSpec((4, 1)))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="net")
    made.compile("sgd", loss="mse")
    return made


def text(shown: Any) -> str:
    html = shown._repr_html_().replace("<wbr/>", "")  # where a line may break
    return " ".join("\n".join(ElementTree.fromstring(html).itertext()).split())


def test_facts(model: keras.Model) -> None:
    facts = verify.facts(model, BATCH)
    shown = text(facts)
    assert all(word in shown for word in str(facts).split())


def test_what_is_wrong(model: keras.Model) -> None:
    with pytest.raises(verify.GraphAssertionError) as caught:
        verify.assert_graph(model, BATCH, loss="mae", clipping={"norm": 1.0})
    assert text(caught.value).startswith("net.train_step: 2 violations expected found ")
    for one in caught.value.violations:
        assert all(word in text(one) for word in (one.keyword, *one.found.split()))


def test_an_error_without_violations_is_its_message() -> None:
    assert text(verify.GraphAssertionError("<a> has changed", ())) == "<a> has changed"


def test_findings() -> None:
    made = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    made.compile("sgd", loss=lambda y, p: tf.nn.softmax_cross_entropy_with_logits(y, p))
    found = verify.lint(made, (tf.TensorSpec((4, 3)), tf.TensorSpec((4, 2))))
    assert "V301" in text(found)
    assert text(type(found)()) == "nothing found"


@pytest.mark.parametrize(("steps", "rows"), [(0, 0), (3, 3), (10, 10), (11, 11), (500, 11)])
def test_a_history_has_its_first_and_last_steps(steps: int, rows: int) -> None:
    history = StepHistory([{"loss": i / 7, "on": i % 2 == 0} for i in range(steps)])
    shown = ElementTree.fromstring(history._repr_html_())
    cells = [[cell.text for cell in row] for row in shown.iter("tr")][1:]
    assert len(cells) == rows
    if steps == 500:
        assert [row[0] for row in cells] == [
            "0",
            "1",
            "2",
            "3",
            "4",
            "…",
            *["495", "496", "497", "498", "499"],
        ]
        assert cells[-1][1:] == ["71.2857", "False"]


def test_a_callback_is_its_summary(model: keras.Model) -> None:
    callback = LoopControllerCallback({"a": {"cond": when.epochs < 1, True: {"loss": "mae"}}})
    assert "attach" in text(callback)
    told: list[str] = []
    callback.attach(model)
    callback.summary(line_length=200, print_fn=told.append)
    assert all(word in text(callback) for word in re.findall(r"[^\s\u2500-\u257f]+", told[0]))


def test_a_summary_is_shown_once(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a notebook rich displays what is printed to any file."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    displayed: list[str] = []
    monkeypatch.setattr("rich.jupyter.display", lambda *args: displayed.append(str(args)))
    callback = LoopControllerCallback({"a": {"cond": when.epochs < 1, True: {"loss": "mae"}}})
    callback.attach(model)
    assert re.search("Control of 'net'", table(callback.steps, None, None, 120))
    assert displayed == []
