"""The table tells what a config does to a model."""

from __future__ import annotations

from typing import Any

import keras
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, when
from loopctl.look import nodes


def halved(gradients: list[Any], variables: list[Any]) -> list[Any]:
    return [gradient / 2 for gradient in gradients]


def often(callback: LoopControllerCallback) -> bool:
    return callback.batches % 2 == 0


CONFIG: dict[str, Any] = {
    "gate": {
        "cond": when.batches % 10 < 8,
        True: {"clipping": (-0.1, 0.1), "gradients": halved, "variables": "*/bias"},
        False: {"regularize": ["dense"], "clipping": {"global_norm": 2}},
    },
    "late": {
        "cond": often,
        True: {"loss": None, "regularize": True, "optimizer": "adam", "repeat": 3},
        False: {"loss": keras.losses.Huber()},
    },
}
BATCH = (tf.TensorSpec((4, 3)), tf.TensorSpec((4, 1)))


def summary(
    callback: LoopControllerCallback, batch: Any = None, line_length: int | None = None
) -> str:
    texts: list[str] = []
    callback.summary(batch, line_length=line_length, print_fn=texts.append)
    (text,) = texts
    return text


def test_what_an_update_is(model: keras.Model) -> None:
    rates = {"*/kernel": 0.5, "*/bias": when.linear(1, 0, over=9)}
    optimizers = {"*/kernel": "adam", "*/bias": "sgd"}
    config = {
        "gate": {
            "cond": when.always,
            True: {
                "loss_weights": 0.5,
                "ascend": 0.05,
                "skip_nonfinite": True,
                "optimizer": optimizers,
                "learning_rate": rates,
            },
            False: {"ascend": when.linear(0, 1, over=3), "learning_rate": 0.25},
        },
        "blur": {"cond": when.always, True: {"per_example": {"clip": 0.5, "noise": 1.1}}},
    }
    text = summary(LoopControllerCallback(config).attach(model), line_length=400)
    on, off, blur = (line for line in text.splitlines() if line.startswith("│"))
    for told in (
        "weighed by 0.5",
        "uphill: 0.05, if finite",
        "*/kernel: Adam, */bias: SGD, at */kernel × 0.5, */bias × when.linear(1, 0, over=9)",
    ):
        assert told in on
    assert "uphill: when.linear(0, 1, over=3)" in off
    assert "compiled, at 0.25" in off
    assert "each example's clipped to 0.5, noise of 1.1 times that" in blur


def test_every_substep_has_a_row(model: keras.Model) -> None:
    text = summary(LoopControllerCallback(CONFIG).attach(model), BATCH, line_length=160)
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert len(rows) == 4
    for row, expected in zip(
        rows,
        [
            ("gate", "when.batches % 10 < 8", "True", "compiled: mse", "2 of 4 (5 weights)"),
            ("False", "dense", "4 of 4 (21 weights)", "clipped to global norm 2"),
            ("late", "often", "True × 3", "none", "all layers", "Adam"),
            ("False", "Huber", "as they are", "compiled"),
        ],
        strict=True,
    ):
        for part in expected:
            assert part in row
    assert "halved, then clipped to [-0.1, 0.1]" in rows[0]
    assert "gate: both branches share one forward pass." in text
    assert "late: both" not in text
    assert max(map(len, text.splitlines())) <= 160


def test_lines_are_as_long_as_is_asked_or_as_the_terminal_is_wide(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback = LoopControllerCallback(CONFIG).attach(model)
    for columns, asked, widest in (("100", None, 100), ("100", 70, 70), ("0", None, 120)):
        monkeypatch.setenv("COLUMNS", columns)
        lines = summary(callback, line_length=asked).splitlines()
        assert 0.8 * widest <= max(map(len, lines)) <= widest


def test_sizes_of_the_last_fit(
    model: keras.Model, data: tuple[Any, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    callback = LoopControllerCallback(CONFIG)
    with pytest.raises(ConfigError, match="attach the callback"):
        callback.summary()
    callback.attach(model)
    callback.summary()
    printed = capsys.readouterr().out
    assert printed == summary(callback) + "\n"
    assert "nodes with" not in printed
    model.fit(*data, verbose=0, callbacks=[callback])
    shared, separate = (
        int(word) for word in summary(callback).splitlines()[-1].split() if word.isdigit()
    )
    assert shared < separate


def test_nodes_are_counted_through_called_functions() -> None:
    @tf.function
    def inner(x: Any) -> Any:
        return x * 2 + 1

    @tf.function
    def outer(x: Any) -> Any:
        return inner(inner(x))

    batch = tf.TensorSpec(())
    alone = nodes(inner, batch)
    assert nodes(outer, batch) > alone
