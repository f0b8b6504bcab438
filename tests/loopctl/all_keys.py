"""A model and branches that have every key, for tests of training on several devices."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from loopctl import LoopControllerCallback, when

SIZE, STEPS = 8, 6
layers = keras.layers


class Networks(keras.Model):
    """Two that are trained, and one that follows the first."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.body, self.target = (
            keras.Sequential(
                [keras.Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2)], name=name
            )
            for name in ("body", "target")
        )
        self.norm, self.head = norm, layers.Dense(1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.head(self.norm(self.body(x), training=training))


def apart(model: Any, data: Any) -> Any:
    """Squared errors of the model, and of its body from its target's outputs."""
    x, y = data[:2]
    followed = keras.ops.stop_gradient(model.target(x))
    return {
        "errors": keras.ops.mean((model(x, training=True) - y) ** 2),
        "apart": keras.ops.mean((model.body(x) - followed) ** 2),
    }


BRANCHES: dict[str, dict[str, Any]] = {
    "objective, loss_weights, average into": {
        "objective": apart,
        "loss_weights": {"apart": when.linear(0, 1, over=4)},
        "excluded_variables": "target*",
        "average": {"decay": 0.5, "into": "target", "of": "body"},
    },
    "accumulate, learning_rate, average": {
        "accumulate": 2,
        "learning_rate": when.cosine(0.1, 0.01, over=4),
        "average": {"decay": 0.9},
    },
    "optimizers by glob, clipping": {
        "optimizer": {
            "body*": lambda: keras.optimizers.Adam(0.05),
            "[!b]*": lambda: keras.optimizers.SGD(0.1),
        },
        "clipping": {"global_norm": 0.5},
    },
    "ascend, inference": {"ascend": 0.1, "inference": True},
    "per_example, rates by glob": {
        "per_example": {"clip": 0.5},
        "inference": True,
        "learning_rate": {"*kernel": 0.5},
    },
    "skip_nonfinite": {"skip_nonfinite": True, "loss": "mae"},
}


def data() -> tuple[Any, Any]:
    """Inputs (samples, 3) and targets (samples, 1)."""
    x = np.random.default_rng(0).normal(size=(SIZE * STEPS, 3)).astype("float32")
    return x, x.sum(axis=1, keepdims=True)


def made(name: str) -> tuple[keras.Model, LoopControllerCallback]:
    """A compiled model, the same on every device, and control by one of the branches."""
    branch = BRANCHES[name]
    keras.utils.set_random_seed(1)
    # While it trains, a batch normalisation takes each replica's part of a batch for the whole.
    norm = layers.BatchNormalization() if "inference" in branch else layers.LayerNormalization()
    model = Networks(norm)
    model.build((None, 3))
    model.compile(keras.optimizers.SGD(0.1), "mse", steps_per_execution=3)
    samples = np.random.default_rng(1)
    for weight in model.weights:  # whatever a strategy draws
        weight.assign(samples.uniform(0.1, 0.5, size=weight.shape))
    if "optimizer" in branch:  # of this model alone
        own = {glob: make() for glob, make in branch["optimizer"].items()}
        branch = {**branch, "optimizer": own}
    return model, LoopControllerCallback({"it": {"cond": when.always, True: branch}})


def outcome(model: keras.Model, callback: LoopControllerCallback) -> tuple[list[Any], list[float]]:
    """Weights, and losses by step."""
    losses = callback.history.column("loss").tolist()
    return [weight.tolist() for weight in model.get_weights()], losses


def alone(name: str) -> tuple[list[Any], list[float]]:
    """What comes of `fit` on the devices of the strategy in scope."""
    model, callback = made(name)
    x, y = data()
    model.fit(x, y, batch_size=SIZE, shuffle=False, verbose=0, callbacks=[callback])
    return outcome(model, callback)


def assert_same(found: tuple[Any, Any], wanted: tuple[Any, Any]) -> None:
    """Up to the rounding of sums that are taken in another order."""
    np.testing.assert_allclose(found[1], wanted[1], rtol=1e-4, atol=1e-6)
    for one, other in zip(found[0], wanted[0], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
