"""The generated source is readable, is what runs, and holds no text of the user's."""

from __future__ import annotations

import ast
import gc
import linecache
import traceback
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from loopctl import ConfigError, LoopControllerCallback, when


def always(callback: LoopControllerCallback) -> bool:
    return True


CONFIG: dict[str, Any] = {
    "gate": {
        "cond": always,
        True: {"clipping": (-0.1, 0.25), "loss": "mae"},
        False: {"variables": lambda model: model.layers[1].trainable_variables},
    },
    "late": {"cond": always, True: {"loss": False, "regularize": True}},
}


def test_the_source_tells_what_each_substep_does(model: keras.Model) -> None:
    callback = LoopControllerCallback(CONFIG).attach(model)
    on, off, late = (callback.source(*key) for key in (("gate",), ("gate", False), ("late",)))
    assert "tf.clip_by_value(gradient, -0.1, 0.25)" in on
    assert "own_loss(y, y_pred, sample_weight)" in on
    assert "compiled_loss(y, y_pred, sample_weight)" in off
    assert "clip" not in off
    assert "terms = self.losses" in late
    assert "self.losses" not in on
    assert "compute_metrics" in on
    assert "compute_metrics" not in late, "a batch counts once in the metrics"
    main = callback.source()
    assert main.index("gate_on") < main.index("gate_off") < main.index("late_on")
    for text in (main, on, off, late):
        assert ast.parse(text)
        assert max(map(len, text.splitlines())) <= 110


def test_tracebacks_show_the_generated_lines(model: keras.Model) -> None:
    def failing(y_true: Any, y_pred: Any) -> Any:
        raise ZeroDivisionError("in the user's loss")

    config = {"gate": {"cond": always, True: {"loss": failing}}}
    callback = LoopControllerCallback(config).attach(model)
    with pytest.raises(ZeroDivisionError) as error:
        model.gate_on.get_concrete_function((tf.zeros((4, 3)), tf.zeros((4, 1))))
    frames = traceback.extract_tb(error.value.__traceback__)
    lines = [frame.line for frame in frames if frame.filename.startswith("<loopctl gate_on")]
    assert "loss = own_loss(y, y_pred, sample_weight)" in lines
    assert lines[0] in callback.source("gate")


def test_what_is_shown_is_what_runs(model: keras.Model) -> None:
    callback = LoopControllerCallback(CONFIG).attach(model)
    filename = model.gate_on.python_function.__func__.__code__.co_filename
    assert "".join(linecache.getlines(filename)) == callback.source("gate", True)


def test_sources_go_with_what_they_are_the_source_of() -> None:
    def texts() -> set[str]:
        gc.collect()
        return {name for name in linecache.cache if name.startswith("<loopctl ")}

    before = texts()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = LoopControllerCallback({"gate": {"cond": always, True: {}, False: {}}}).attach(model)
    model.fit(np.zeros((4, 3)), np.zeros((4, 1)), verbose=0, callbacks=[callback])
    assert len(texts() - before) == len(callback.steps.source)
    del model, callback
    assert texts() <= before


def test_hostile_names_never_reach_the_source() -> None:
    hostile = {"x: __import__('os').abort() #": {"cond": always, True: {}}}
    with pytest.raises(ConfigError, match="an identifier such as 'gate' is needed"):
        LoopControllerCallback(hostile)


def test_a_column_of_any_name_stays_in_its_comment(model: keras.Model) -> None:
    cond = when.column("x\nraise SystemExit\r#").last() < 1
    source = LoopControllerCallback({"gate": {"cond": cond, True: {}}}).attach(model).source()
    (line,) = [line for line in source.splitlines() if "SystemExit" in line]
    assert line.strip() == "# when.column('x\\nraise SystemExit\\r#').last() < 1"


def test_source_of_what_is_not_there(model: keras.Model) -> None:
    callback = LoopControllerCallback(CONFIG)
    with pytest.raises(ConfigError, match="attach the callback to a model"):
        callback.source()
    callback.attach(model)
    with pytest.raises(ConfigError, match=r'config\["late"\]\[False\] is not a substep'):
        callback.source("late", False)
