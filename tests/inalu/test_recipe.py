"""The recipe's functions, on a stand-in for the callback that has only what they read."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from inalu import NALU, recipe
from inalu.task import arithmetic_dataset, target
from tests.inalu.discrete import solved


def losses(*values):
    return [{"loss": value} for value in values]


def test_model():
    model = recipe.build_model()
    recipe.compile_model(model)
    assert model.input_shape == (None, 7)
    assert [(type(layer), layer.units, layer.clipping) for layer in model.layers] == [
        (NALU, units, 20.0) for units in (3, 2, 1)
    ]
    assert isinstance(model.optimizer, keras.optimizers.RMSprop)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.01)
    assert model.loss == "mse"
    gates = recipe.get_gates_variables(model)
    assert [v.path for v in gates] == [layer.g.path for layer in model.layers]


def test_seeded_weights_do_not_depend_on_models_built_before():
    first, again = (recipe.build_model(seed=1).get_weights() for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_gate_is_open_in_8_of_10():
    states = [recipe.gate_open(SimpleNamespace(batches=i)) for i in range(20)]
    assert states == ([True] * 8 + [False] * 2) * 2


@pytest.mark.parametrize(
    ("epochs", "history", "expected"),
    [
        (10, losses(0.5), False),
        (11, losses(0.5), True),
        (11, losses(0.5, 1.0), False),
        (11, losses(2.0, 0.1), True),
        (11, [], False),
        (11, losses(float("nan")), False),
    ],
)
def test_regularisation_is_delayed(epochs, history, expected):
    callback = SimpleNamespace(reinit_epochs=epochs, reinit_history=history)
    assert recipe.delay_reg(callback) is expected


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (losses(*[1.0] * 10_000), False),
        (losses(*[1.0] * 10_001), True),
        (losses(*[1.0] * 8000, *[0.1] * 3000), False),
        (losses(*[0.1] * 8000, *[0.3] * 3000), True),
    ],
)
def test_reinitialisation_waits(history, expected):
    assert recipe.reinit_cond(SimpleNamespace(history=history)) is expected


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (losses(*[1.0] * 100, *[1e-12] * 3000), True),
        (losses(*[1e-12] * 2999, 1e-5), False),
        ([], False),
    ],
)
def test_early_stopping(history, expected):
    assert recipe.early_stopping(SimpleNamespace(history=history)) is expected


def test_reinitialise():
    model = recipe.build_model()
    before = [v.numpy() for v in model.trainable_variables]
    recipe.reinitialise_fn(model)
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert (old != new.numpy()).all()
    callback = SimpleNamespace(history=losses(1.0), epochs=3, batches=7)
    recipe.reinitialise_metrics(callback)
    assert vars(callback) == {"history": [], "epochs": 0, "batches": 0}
    callback = SimpleNamespace(model=SimpleNamespace(stop_training=False))
    recipe.stop_training(callback)
    assert callback.model.stop_training is True


def test_evaluation():
    data = arithmetic_dataset(100)
    inside = (data.interpolation.x, data.interpolation.y)
    outside = (data.extrapolation.x, data.extrapolation.y)
    evaluation = recipe.InExtrapolationEvaluationCallback(outside, inside, test_per_epochs=2)
    model = keras.Sequential([keras.layers.InputLayer((7,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    for _ in range(2):
        model.fit(*inside, epochs=3, verbose=0, callbacks=[evaluation])
    assert evaluation.epochs == 6
    for results, (x, y) in [
        (evaluation.int_results, inside),
        (evaluation.ext_results, outside),
    ]:
        assert list(results) == [0, 2, 4]
        expected = np.mean((model.predict(x, verbose=0).astype(np.float64) - y) ** 2)
        assert list(results.values()) == pytest.approx([expected] * 3)


def test_the_stack_can_hold_the_solution():
    """Discrete weights as in figure 6.11 give the target, inside and outside of the range."""
    model = solved()
    data = arithmetic_dataset(1000)
    for part in (data.train, data.extrapolation):
        found = model.predict(part.x, verbose=0)
        np.testing.assert_allclose(found, target(part.x), rtol=1e-4, atol=1e-4)
