"""An exported module trains an equal model to the same weights, without loopctl."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings

from loopctl import ConfigError, LoopControllerCallback, when
from tests.loopctl import file_config
from verify import strategies

STEPS, SIZE = 6, 8


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as an import does; dataclasses look there
    spec.loader.exec_module(module)
    return module


def batches(x: Any, y: Any) -> list[Any]:
    return [(x[i : i + SIZE], y[i : i + SIZE]) for i in range(0, len(x), SIZE)]


@settings(max_examples=settings.default.max_examples // 3)
@given(strategies.setups(strategies.predicate_pairs()))
def test_the_same_weights(
    tmp_path_factory: pytest.TempPathFactory, setup: strategies.Setup
) -> None:
    path = tmp_path_factory.mktemp("export") / "exported.py"
    x, y = setup.data(STEPS, SIZE)
    model, callback = setup.model(), LoopControllerCallback(setup.config)
    model.fit(x, y, batch_size=SIZE, epochs=2, shuffle=False, verbose=0, callbacks=[callback])
    try:
        callback.export(path)
    except ConfigError as error:
        assert "has no name" in str(error) or "Keras does not report" in str(error)  # noqa: PT017
        return
    twin = setup.model()
    trainer = load(path).make_trainer(twin)
    history = trainer.fit(batches(x, y), epochs=2)
    for ours, theirs in zip(callback.history, history, strict=True):
        for name in ours.keys() - {"mae"}:
            np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-4, atol=1e-6)
    for a, b in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_losses_keep_their_settings(tmp_path: Path, model: keras.Model) -> None:
    config = {"gate": {"cond": when.always, True: {"loss": keras.losses.Huber(delta=2.0)}}}
    path = tmp_path / "exported.py"
    LoopControllerCallback(config).attach(model).export(path)
    assert "'delta': 2.0" in path.read_text()


def test_own_optimizers_that_average_are_refused(tmp_path: Path) -> None:
    own = keras.optimizers.SGD(0.1, use_ema=True)
    config = {"gate": {"cond": when.always, True: {"optimizer": own}}}
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    callback = LoopControllerCallback(config).attach(model)
    with pytest.raises(ConfigError, match="averages weights"):
        callback.export(tmp_path / "exported.py")


LATE = {
    "loss": None,
    "regularize": ["below"],
    "learning_rate": when.cosine(0.1, 0.01, over=7, of=when.batches - 1),
}
FREE = {
    "objective": file_config.apart,
    "loss_weights": {"odd": when.linear(0, 1, over=4)},
    "regularize": True,
    "repeat": 2,
    "variables": "b/*",
    "average": {"decay": 0.5},
}
FALLING = keras.optimizers.schedules.ExponentialDecay(0.05, 2, 0.5)
# Noise of no size: how much there is, tests/loopctl/compile/test_per_example.py asks.
EACH = {
    "per_example": {"clip": 0.5, "noise": when.piecewise([99], [0, 1])},
    "inference": "batch*",
    "regularize": ["below"],
    "variables": ["below/*", "a/*"],
}
CONFIG: dict[str, Any] = {
    "gate": {
        "cond": file_config.often,
        True: {
            "gradients": file_config.halved,
            "clipping": (-0.1, 0.1),
            "loss": ["mae", None],
            "skip_nonfinite": True,
            "learning_rate": {"below/*": when.linear(1, 0, over=9), "a/*": 0.5},
        },
        False: {
            "variables": file_config.kernels,
            "repeat": 2,
            "optimizer": {"[ab]/*": keras.optimizers.Adam(0.1), "below/*": "sgd"},
            "loss_weights": [0.5, when.piecewise([3], [1, 2])],
        },
    },
    "late": {"cond": when.loss.mean(3) < 1e9, True: LATE},
    "still": {"cond": when.every(2), True: {"inference": True, "loss": ["mae", None]}},
    "part": {"cond": when.every(2), False: {"inference": "batch*", "loss": ["mae", None]}},
    "more": {
        "cond": when.every(2),
        True: {
            "variables": ["below/*", "a/*"],
            "optimizer": "sgd",
            "accumulate": 2,
            "ascend": when.linear(0, 0.5, over=4),
            "skip_nonfinite": True,
            "learning_rate": FALLING,
            "average": {"decay": 0.5, "start": when.batches >= 2},
        },
    },
    "free": {"cond": when.every(3), False: FREE},
    "each": {"cond": when.every(2), True: EACH},
}


def build() -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((3,))
    below = keras.layers.Dense(4, kernel_regularizer="l2", name="below")(inputs)
    normal = keras.layers.BatchNormalization()(below)
    outputs = [keras.layers.Dense(1, name=name)(normal) for name in ("a", "b")]
    model = keras.Model(inputs, outputs)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05))
    model.compile(optimizer, ["mse", "mse"], loss_weights=[0.5, 2.0])
    return model


def test_everything_in_one_module(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")
    y = [x[:, :1], x[:, 1:2]]
    model, callback = build(), LoopControllerCallback(CONFIG)
    model.fit(x, y, batch_size=SIZE, shuffle=False, verbose=0, callbacks=[callback])
    path = tmp_path / "exported.py"
    callback.export(path)
    twin = build()
    pairs = [(x[i : i + SIZE], tuple(part[i : i + SIZE] for part in y)) for i in range(0, 48, SIZE)]
    trainer = load(path).make_trainer(twin)
    trainer.fit(pairs)
    for a, b in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_the_module_stands_alone_and_reads_well(model: keras.Model, tmp_path: Path) -> None:
    config = {"gate": {"cond": when.batches % 3 < 2, True: {"clipping": (-1, 1)}, False: {}}}
    path = tmp_path / "exported.py"
    LoopControllerCallback(config).attach(model).export(path)
    text = path.read_text()
    assert "import loopctl" not in text
    assert "from loopctl" not in text
    assert "lambda trainer: When(trainer).batches % 3 < 2" in text
    compile(text, "exported", "exec")
    code = "import sys; sys.modules['loopctl'] = None; import exported"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def test_lambdas_can_not_be_exported(model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "exported.py"
    config = {"gate": {"cond": lambda self: True, True: {}}}
    callback = LoopControllerCallback(config).attach(model)
    with pytest.raises(ConfigError, match=r'config\["gate"\]\["cond"\] is <function .*top level'):
        callback.export(path)
    assert not path.exists()


def test_a_trainer_can_be_reinitialised(model: keras.Model, tmp_path: Path) -> None:
    path = tmp_path / "exported.py"
    config = {"gate": {"cond": when.reinit_batches >= 2, True: {}}}
    LoopControllerCallback(config).attach(model).export(path)
    trainer = load(path).make_trainer(model)
    data = (np.zeros((4, 3), "float32"), np.zeros((4, 1), "float32"))
    states = [trainer.train_on_batch(data)["gate"] for _ in range(3)]
    trainer.batches, trainer.history = 0, []
    assert len(trainer.reinit_history) == 0
    states += [trainer.train_on_batch(data)["gate"] for _ in range(3)]
    assert states == [False, False, True] * 2
    assert (trainer.batches, trainer.reinit_batches, len(trainer.history)) == (3, 3, 3)
