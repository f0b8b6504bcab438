"""Graph predicates: what they say, and that they hold in every single step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopctl import ConfigError, LoopControllerCallback, StepHistory, when
from loopctl.config import Condition
from loopctl.config.predicates import RESERVED
from tests.grids import grid
from verify import strategies

Data = tuple[Any, Any]


def column(callback: Any, name: str, window: int) -> list[float]:
    return [float(step[name]) for step in callback.history[-window:]]


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


CASES: list[tuple[Condition, Callable[[Any], bool]]] = [
    (when.batches % 10 < 8, lambda self: self.batches % 10 < 8),
    (when.every(3), lambda self: self.batches % 3 == 0),
    (when.epochs >= 1, lambda self: self.epochs >= 1),
    (when.batches_in_epochs == 2, lambda self: self.batches_in_epochs == 2),
    (when.batches // 3 * 2 > when.epochs + 3, lambda self: self.batches // 3 * 2 > self.epochs + 3),
    (-when.batches / 4 + 1.5 <= 0, lambda self: -self.batches / 4 + 1.5 <= 0),
    (7 - when.batches != 3, lambda self: 7 - self.batches != 3),
    (
        (when.batches > 2) & ~(when.epochs == 1) | when.every(7),
        lambda self: (self.batches > 2 and self.epochs != 1) or self.batches % 7 == 0,
    ),
    (when.loss.last() < 0.9, lambda self: mean(column(self, "loss", 1)) < 0.9),
    (when.loss.mean(4) >= 0.8, lambda self: mean(column(self, "loss", 4)) >= 0.8),
    (when.mae.mean(100) < 1, lambda self: mean(column(self, "mae", 100)) < 1),
    (when.column("loss_gate").last() < 9, lambda self: mean(column(self, "loss_gate", 1)) < 9),
    (when.gate.last() < 1, lambda self: mean(column(self, "gate", 1)) < 1),
    (when.always, lambda self: True),
    (
        when.linear(0, 1, over=8) * when.piecewise([3, 9], [1.0, -1.0, 1.0]) > 0.2,
        lambda self: min(self.batches / 8, 1) * (-1 if 3 <= self.batches < 9 else 1) > 0.2,
    ),
    (
        when.maximum(when.cosine(1, 0, over=10), when.loss.last() - 1) < 0.5,
        lambda self: (
            bool(self.history)
            and max(
                (1 + math.cos(math.pi * min(self.batches / 10, 1))) / 2,
                mean(column(self, "loss", 1)) - 1,
            )
            < 0.5
        ),
    ),
]


def run(model: keras.Model, data: Data, cond: Any, **options: Any) -> list[bool]:
    """The control states of two epochs of 11 steps; the branches train differently."""
    model.compile("sgd", "mse", metrics=["mae"], **options)
    callback = LoopControllerCallback({"gate": {"cond": cond, True: {}, False: {"loss": "mae"}}})
    x, y = (np.concatenate([part, part[:12]]) for part in data)
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[callback])
    assert len(callback.history) == 22
    return [bool(step["gate"]) for step in callback.history]


@pytest.fixture(scope="module")
def expected() -> dict[str, list[bool]]:
    """What each Python form decided, which is the same however the graph's form is run."""
    return {}


WAYS: list[dict[str, Any]] = [
    {"steps_per_execution": 4},
    {"jit_compile": True},
    {"run_eagerly": True},
]


@pytest.mark.parametrize(
    ("case", "options"),
    grid(CASES, WAYS),
    ids=lambda value: repr(value[0]) if isinstance(value, tuple) else next(iter(value)),
)
def test_every_step_is_decided_as_by_the_python_form(
    case: tuple[Condition, Callable[[Any], bool]],
    options: dict[str, Any],
    model: keras.Model,
    data: Data,
    expected: dict[str, list[bool]],
) -> None:
    condition, python = case
    if repr(condition) not in expected:
        start = model.get_weights()
        expected[repr(condition)] = run(model, data, python)
        model.set_weights(start)
    assert run(model, data, condition, **options) == expected[repr(condition)]


@settings(max_examples=settings.default.max_examples // 3)
@given(strategies.predicate_pairs(), st.integers(2, 9))
def test_random_predicates_in_executions_of_any_length(pair: Any, steps: int) -> None:
    setup = strategies.Setup(
        "sequential", 2, "tanh", "none", "none", "mse", "sgd", metrics=False, config={}, twin={}
    )
    x, y = setup.data(8, 4)
    states = []
    for cond, count in ((pair[0], steps), (pair[1], 1)):
        model = setup.model(steps_per_execution=count)
        callback = LoopControllerCallback({"late": {"cond": cond, True: {"clipping": (-1, 1)}}})
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0, epochs=2, callbacks=[callback])
        states.append([bool(step["late"]) for step in callback.history])
    assert states[0] == states[1]


# -- what is defined at the edges ------------------------------------------------------------------


class Seen:
    """A callback, as far as conditions look at it."""

    batches = batches_in_epochs = epochs = reinit_batches = reinit_epochs = 0

    def __init__(self, *losses: float) -> None:
        self.reinit_history = StepHistory([{"loss": loss} for loss in losses])


def test_nothing_seen_and_nan_compare_as_nan_does() -> None:
    nothing, broken = Seen(), Seen(1.0, math.nan, 3.0)
    for callback in (nothing, broken):
        assert not (when.loss.mean(3) < 9)(callback)
        assert not (when.loss.mean(3) >= 9)(callback)
        assert (when.loss.mean(3) != 9)(callback)
        assert (~(when.loss.mean(3) < 9))(callback)
    assert (when.loss.last() == 3)(broken), "a NaN that has left the window is forgotten"


def test_a_window_that_is_not_full_is_what_there_is() -> None:
    assert (when.loss.mean(1000) == 2)(Seen(1.0, 3.0))
    assert (when.loss.mean(1) == 3)(Seen(1.0, 3.0))


@pytest.mark.parametrize("steps", [1, 3])
def test_reinitialisation_restarts_counters_and_windows(
    steps: int, model: keras.Model, data: Data
) -> None:
    """The graph forgets when the host does: `loss.mean` sees no step from before."""
    model.compile("sgd", "mse", steps_per_execution=steps)

    def forget(self: LoopControllerCallback) -> None:
        self.history, self.batches = [], 0

    config = {
        "gate": {"cond": when.batches < 3, True: {}},
        "seen": {"cond": when.loss_gate.mean(50) < 1e9, True: {}},
        "since": {"cond": when.reinit_epochs >= 1, True: {}},
    }
    callback = LoopControllerCallback(
        config,
        {"forget": {"cond": lambda self: self.epochs == 1, "callback": forget}},
    )
    rows: list[dict[str, Any]] = []
    keep = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rows.extend(callback.history[-8:])
    )
    model.fit(*data, batch_size=4, epochs=3, verbose=0, callbacks=[keep, callback])
    gate = [row["gate"] for row in rows]
    assert gate[:8] == gate[8:16] == [True] * 3 + [False] * 5
    seen = [row["seen"] for row in rows]
    # NaN of the idle gate spoils the mean until it is forgotten.
    assert seen[8] is False
    assert seen[9:11] == [True, True]


def test_a_series_that_is_not_there(model: keras.Model, data: Data) -> None:
    callback = LoopControllerCallback({"gate": {"cond": when.maee.last() < 1, True: {}}})
    with pytest.raises(ConfigError, match=r"no such value: it has loss, mae, .* mean 'mae'\?"):
        model.fit(*data, verbose=0, callbacks=[callback])
    assert not hasattr(model, "control_variables")


def test_conditions_serve_async_actions_on_the_host(model: keras.Model, data: Data) -> None:
    callback = LoopControllerCallback(
        {"all": {"cond": when.always, True: {}}},
        {
            "stop": {
                "cond": (when.epochs == 2) & (when.loss.mean(99) > 0),
                "model": lambda m: setattr(m, "stop_training", True),
            }
        },
    )
    model.fit(*data, epochs=9, verbose=0, callbacks=[callback])
    assert callback.epochs == 2


def test_no_warning_where_the_graph_decides(
    model: keras.Model, data: Data, recwarn: pytest.WarningsRecorder
) -> None:
    model.compile("sgd", "mse", steps_per_execution=2)
    config = {"gate": {"cond": when.every(2), True: {}}}
    model.fit(*data, verbose=0, callbacks=[LoopControllerCallback(config)])
    assert not [w for w in recwarn if "steps_per_execution" in str(w.message)]


# -- spelling -------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [case[0] for case in CASES], ids=repr)
def test_repr_is_source_and_text_form(condition: Condition) -> None:
    text = repr(condition)
    assert repr(eval(text, {"when": when})) == text
    assert repr(when.parse(text)) == text
    assert repr(when.parse(text.replace("when.", ""))) == text


def test_words_and_chains_in_the_text_form() -> None:
    assert repr(when.parse("0 < batches < 8 and not epochs == 2 or every(3)")) == (
        "(0 < when.batches) & (when.batches < 8) & ~(when.epochs == 2) | when.every(3)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batches % 10", "which is a number and not a condition"),
        ("batchs < 3", "Did you mean 'batches'?"),
        ("loss < 3", "a series needs .last() or .mean(n)"),
        ("batches < 8 & epochs < 2", "unsupported operand type"),
        ("__import__('os').abort()", "is not understood"),
        ("loss.mean(0) < 1", "a window of at least 1 step is needed"),
        ("loss.mean(True) < 1", "a window of at least 1 step is needed"),
        ("loss.lst() < 1", "is not understood"),
        ("batches % 0 == 1", "division by zero"),
        ("batches <", "invalid syntax"),
        ("every(x)", "a period of at least 1 step"),
        ("column(3).last() < 1", "the name of a column is needed"),
    ],
)
def test_text_that_is_no_predicate(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        when.parse(text, where='config["gate"]["cond"]')
    assert str(error.value).startswith(f'config["gate"]["cond"] is {text!r}')
    assert message in str(error.value)


def test_python_s_own_words_are_refused() -> None:
    with pytest.raises(TypeError, match=r"Combine conditions with &, \| and ~"):
        bool(when.batches > 1)
    with pytest.raises(TypeError, match="Combine conditions"):
        assert 1 < when.batches < 3
    with pytest.raises(TypeError, match="a number is needed"):
        assert when.batches < "3"
    with pytest.raises(TypeError, match="can't be combined"):
        (when.batches > 1) & True  # type: ignore[operator]
    with pytest.raises(ValueError, match="at least 1 step"):
        when.every(0)
    with pytest.raises(ZeroDivisionError):
        when.batches // 0
    with pytest.raises(AttributeError):
        when._private  # noqa: B018


def test_reserved_names_are_those_of_the_module() -> None:
    public = {name for name in vars(when) if not name.startswith("_")}
    assert public == RESERVED
