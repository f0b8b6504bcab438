"""`assert_config`: every branch of a config against the graphs that really train."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import verify
from loopctl import LoopControllerCallback, when
from tests.grids import grid

BATCH = (np.zeros((8, 4), "float32"), np.zeros((8, 1), "float32"))


def kernels(model: keras.Model) -> list[Any]:
    return [layer.kernel for layer in model.layers]


def always(callback: LoopControllerCallback) -> bool:
    return True


INTENDED: dict[str, Any] = {
    "kernels": {
        "cond": always,
        True: {"clipping": (-0.1, 0.1), "variables": kernels, "loss": "huber"},
        False: {"excluded_variables": kernels},
    },
    "sparse": {"cond": always, True: {"loss": None, "regularize": True}},
}


def controlled(config: dict[str, Any]) -> tuple[keras.Model, LoopControllerCallback]:
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, "tanh", kernel_regularizer="l2", bias_regularizer="l1"),
            keras.layers.Dense(1),
        ]
    )
    model.compile("rmsprop", "mse", metrics=["mae"])
    return model, LoopControllerCallback(config).attach(model)


def changed(action: str, branch: bool, **settings: Any) -> dict[str, Any]:
    """The intended config with other settings in one branch (None removes a key)."""
    entry = {**INTENDED[action][branch], **settings}
    entry = {key: value for key, value in entry.items() if value is not ...}
    return {**INTENDED, action: {**INTENDED[action], branch: entry}}


def test_a_controlled_model_is_what_its_config_says() -> None:
    model, callback = controlled(INTENDED)
    verify.assert_config(model, callback, BATCH)
    model.fit(*BATCH, epochs=2, verbose=0, callbacks=[callback])
    verify.assert_config(model, callback, BATCH)
    verify.assert_config(model, callback, (*BATCH, np.ones(8, "float32")))


@pytest.mark.parametrize(
    ("faulty", "keyword"),
    [
        (changed("kernels", True, clipping=...), "clipping"),
        (changed("kernels", True, clipping=(-0.1, 0.2)), "clipping"),
        (changed("kernels", False, clipping=(-1, 1)), "clipping"),
        (changed("kernels", True, variables=lambda m: m.trainable_variables[:2]), "watched"),
        (changed("kernels", False, excluded_variables=lambda m: kernels(m)[:1]), "watched"),
        (changed("kernels", True, loss="mae"), "loss"),
        (changed("kernels", True, loss=...), "loss"),
        (changed("kernels", False, regularize=True), "regularization"),
        (changed("sparse", True, regularize=False), "regularization"),
        (changed("sparse", True, loss=...), "loss"),
        (changed("sparse", True, variables=kernels), "regularization"),
    ],
)
def test_every_deviation_from_the_config_is_found(faulty: dict[str, Any], keyword: str) -> None:
    """The callback runs the faulty config; the model is checked against the intended one."""
    model, callback = controlled(faulty)
    intended = SimpleNamespace(config=INTENDED, main_step=callback.main_step, model=model)
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_config(model, intended, BATCH)
    (told,) = [v for v in error.value.violations if v.keyword.endswith(f") {keyword}")]
    assert "_on and main step" in told.keyword or "_off and main step" in told.keyword
    assert f"asserted at {__file__}" in str(error.value)


@pytest.mark.parametrize(
    "optimizer",
    [
        keras.optimizers.SGD(0.01),
        keras.optimizers.RMSprop(0.002),
        keras.optimizers.RMSprop(rho=0.8),
    ],
)
def test_another_optimizer_is_found(optimizer: keras.optimizers.Optimizer) -> None:
    model, callback = controlled(changed("kernels", True, optimizer=optimizer))
    verify.assert_config(model, callback, BATCH)
    intended = SimpleNamespace(config=INTENDED, main_step=callback.main_step, model=model)
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_config(model, intended, BATCH)
    (told,) = error.value.violations
    assert told.keyword == "config['kernels'][True] (kernels_on) optimizer"
    assert told.expected == "each update as by RMSprop(learning_rate=0.001)"


def test_layers_that_infer_are_found() -> None:
    """Of a layer that overlooked the mode when the steps were traced."""

    class Deaf(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.drop = keras.layers.Dropout(0.5)
            self.deaf = False

        def call(self, x: Any, training: bool = False) -> Any:
            return self.drop(x, training=training and not self.deaf)

    deaf = Deaf()
    model = keras.Sequential([keras.Input((4,)), deaf, keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = LoopControllerCallback({"a": {"cond": when.always, True: {}}})
    callback.attach(model)
    deaf.deaf = True
    for step in (model.a_on, callback.main_step):
        verify.facts(step, BATCH)
    deaf.deaf = False
    with pytest.raises(verify.GraphAssertionError, match=r"\) training: .*in training mode"):
        verify.assert_config(model, callback, BATCH)


def test_swapped_branches_of_the_main_step_are_found() -> None:
    model, callback = controlled(INTENDED)
    entry = INTENDED["kernels"]
    swapped = {"kernels": {"cond": always, True: entry[False], False: entry[True]}}
    intended = SimpleNamespace(config=swapped, main_step=callback.main_step, model=model)
    with pytest.raises(verify.GraphAssertionError, match="main step"):
        verify.assert_config(model, intended, BATCH)


def test_a_branch_that_trains_nothing_clips_nothing() -> None:
    idle = {"idle": {"cond": always, True: {"loss": None, "clipping": (-1, 1)}}}
    verify.assert_config(*controlled(idle), BATCH)


def test_a_model_that_is_not_controlled_is_refused() -> None:
    model, callback = controlled(INTENDED)
    callback.release()
    with pytest.raises(ValueError, match="attach the callback first"):
        verify.assert_config(model, callback, BATCH)


def test_of_a_callback_that_was_replaced_the_config_counts() -> None:
    model, first = controlled(INTENDED)
    LoopControllerCallback(INTENDED).attach(model)
    verify.assert_config(model, first, BATCH)


def test_a_loss_for_one_of_two_outputs() -> None:
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(1)(inputs), keras.layers.Dense(1)(inputs)]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mse"])
    config = {"gate": {"cond": always, True: {"loss": ["huber", None]}, False: {}}}
    callback = LoopControllerCallback(config).attach(model)
    verify.assert_config(model, callback, (BATCH[0], (BATCH[1], BATCH[1])))


def test_compiled_losses_keep_their_weights() -> None:
    inputs = keras.Input((4,))
    outputs = {name: keras.layers.Dense(1, name=name)(inputs) for name in ("a", "b")}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.5})
    config = {"gate": {"cond": always, True: {"loss": {"a": "mae", "b": "mse"}}, False: {}}}
    callback = LoopControllerCallback(config).attach(model)
    verify.assert_config(model, callback, (BATCH[0], {"a": BATCH[1], "b": BATCH[1]}))


# Both branches go back through one forward pass; selections are globs.
SHARED: dict[str, Any] = {
    "gate": {
        "cond": when.batches % 10 < 8,
        True: {"clipping": (-0.1, 0.1), "variables": "*kernel"},
        False: {"regularize": ["dense"], "excluded_variables": ["*_1/bias"], "clipping": (-1, 1)},
    },
    "late": {
        "cond": (when.loss.mean(3) < 1) & when.every(2),
        True: {"loss": "mae", "repeat": 3, "optimizer": "adam", "clipping": (-0.5, 0.5)},
    },
}


@pytest.mark.parametrize("scaled", [False, True])
def test_shared_forward_passes_repetition_and_loss_scales(scaled: bool) -> None:
    model, callback = controlled(SHARED)
    if scaled:
        model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()), "mse")
        callback.attach(model)
    assert "gate_shared" in callback.source()
    verify.assert_config(model, callback, BATCH)


@pytest.mark.parametrize(
    ("action", "branch", "settings", "keyword"),
    [
        ("gate", True, {"clipping": (-0.1, 0.2)}, "clipping"),
        ("gate", True, {"variables": "*dense/*"}, "watched"),
        ("gate", True, {"regularize": True}, "regularization"),
        ("gate", False, {"regularize": False}, "regularization"),
        ("gate", False, {"regularize": ["dense_1"]}, "regularization"),
        ("gate", False, {"excluded_variables": ["*/kernel"]}, "watched"),
        ("late", True, {"loss": "mse"}, "loss"),
        ("late", True, {"clipping": (-0.5, 0.25)}, "clipping"),
        ("gate", False, {"clipping": {"norm": 1.0}}, "clipping"),
        ("late", True, {"clipping": {"global_norm": 0.5}}, "clipping"),
    ],
)
def test_deviations_from_shared_and_repeated_substeps(
    action: str, branch: bool, settings: Any, keyword: str
) -> None:
    entry = {**SHARED[action][branch], **settings}
    faulty = {**SHARED, action: {**SHARED[action], branch: entry}}
    model, callback = controlled(faulty)
    claimed = SimpleNamespace(config=SHARED, main_step=callback.main_step, model=model)
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_config(model, claimed, BATCH)
    place = f"config[{action!r}][{branch}]"
    both = (f"{place} ({action}_{'on' if branch else 'off'} and main step) {keyword}",)
    apart = tuple(f"{place} ({where}) {keyword}" for where in (f"{action}_on", "main step"))
    found = {violation.keyword for violation in error.value.violations}
    assert set(both) <= found or set(apart) <= found
    assert all(violation.keyword.startswith(place) for violation in error.value.violations)


def right(y_true: Any, logits: Any) -> Any:
    return keras.losses.binary_crossentropy(y_true, logits, from_logits=True)


class Noise(keras.layers.Layer):
    """Random numbers in the shape of its input, or the input itself."""

    def __init__(self, random: bool) -> None:
        super().__init__()
        self.random, self.seed = random, keras.random.SeedGenerator(1)

    def call(self, x: Any) -> Any:
        return keras.random.normal(keras.ops.shape(x), seed=self.seed) if self.random else x


@pytest.mark.parametrize(
    ("loss", "random"),
    grid(
        [{"real": right, "fake": right}, {"real": "mse", "fake": "mae"}, {"fake": right}],
        [True, False],
    ),
)
def test_one_network_that_judges_twice(loss: Any, random: bool) -> None:
    """As a GAN's does: the same loss on two outputs, one of them made of random numbers."""
    inputs = {name: keras.Input((4,), name=name) for name in ("real", "fake")}
    judge = keras.Sequential([keras.layers.Dense(3, "tanh"), keras.layers.Dense(1)], name="judge")
    forge = keras.layers.Dense(4, kernel_regularizer="l2")
    outputs = {"real": judge(inputs["real"]), "fake": judge(forge(Noise(random)(inputs["fake"])))}
    model = keras.Model(inputs, outputs)
    model.compile("sgd", {"real": right, "fake": right})
    config = {
        "judge": {"cond": when.every(2), True: {"loss": loss, "variables": "judge/*"}},
        "forge": {"cond": when.always, True: {"loss": {"fake": right}, "regularize": True}},
    }
    callback = LoopControllerCallback(config).attach(model)
    x, y = (dict.fromkeys(("real", "fake"), part) for part in BATCH)
    verify.assert_config(model, callback, (x, y))


class Untold(keras.Model):
    """A model that does not take ``training``."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.norm = keras.layers.Dropout(0.5), keras.layers.BatchNormalization()
        self.head = keras.layers.Dense(1)

    def call(self, x: Any) -> Any:
        return self.head(self.norm(self.drop(x)))


def dropping(model: Any, data: Any) -> Any:
    found = model.head(model.norm(model.drop(data[0], training=True), training=False))
    return keras.ops.mean((found - data[1]) ** 2)


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"update_statistics": True}])
def test_a_model_that_is_not_told_that_it_trains(settings: Any) -> None:
    """`fit` calls it as it is, and the layers that it calls infer."""
    model = Untold()
    model(BATCH[0])
    model.compile("sgd", "mse")
    callback = LoopControllerCallback({"a": {"cond": when.always, True: settings}}).attach(model)
    assert verify.assert_config(model, callback, BATCH) == ()
    other = {"a": {"cond": when.always, True: {"objective": dropping}}}
    LoopControllerCallback(other).attach(model)
    with pytest.raises(verify.GraphAssertionError, match=r"(training|objective): expected"):
        verify.assert_config(model, SimpleNamespace(config=callback.config), BATCH)
