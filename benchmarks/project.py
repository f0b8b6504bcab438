"""What the tests of a project cost: `ci/bench project`; part of `ci/bench verify`.

A project of ten models is written to a folder. 20 assertions on its steps, under pytest, are held
against building the models and tracing their steps once; then `loopctl-verify check` of 50
contracts on five of them, and ``--help``. Times are of the processor, so that another program on
the machine does not matter; whatever is over its goal is marked.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

_MODELS = """
import keras, tensorflow as tf

L = keras.layers
IMAGES, ROWS, WORDS = (8, 32, 32, 3), (8, 20), (8, 16, 32)
CLASSES, NUMBERS = tf.TensorSpec((8,), "int32"), tf.TensorSpec((8, 1))


def _made(layers, x, y, loss="sparse_categorical_crossentropy", optimizer="adam"):
    model = layers
    if isinstance(layers, list):
        model = keras.Sequential([keras.Input(x[1:]), *layers])
    model.compile(optimizer, loss)
    print(f"made {sys._getframe(1).f_code.co_name}", file=sys.stderr)
    return model, (tf.TensorSpec(x), y)


def dense():
    return _made([*[L.Dense(64, "relu") for _ in range(3)], L.Dense(1)], ROWS, NUMBERS, "mse")


def momentum():
    rule = keras.optimizers.SGD(0.1, momentum=0.9)
    return _made([*[L.Dense(32, "gelu") for _ in range(8)], L.Dense(1)], ROWS, NUMBERS, "mae", rule)


def clipped():
    rule = keras.optimizers.Adam(1e-3, clipnorm=1.0)
    return _made([L.Dense(16, "relu"), L.Dense(4), L.Dense(1)], ROWS, NUMBERS, "huber", rule)


def digits():
    layers = [L.Conv2D(16, 3, activation="relu"), L.MaxPooling2D(), L.Flatten(), L.Dropout(0.5)]
    return _made([*layers, L.Dense(10, "softmax")], IMAGES, CLASSES)


def normalised():
    layers = []
    for n in (16, 32, 64):
        layers += [L.Conv2D(n, 3, kernel_regularizer="l2"), L.BatchNormalization(), L.ReLU()]
    return _made([*layers, L.GlobalAveragePooling2D(), L.Dense(10, "softmax")], IMAGES, CLASSES)


def lstm():
    return _made([L.LSTM(32), L.Dense(10, "softmax")], WORDS, CLASSES)


def gru():
    return _made([L.Bidirectional(L.GRU(16)), L.Dense(1)], WORDS, NUMBERS, "mse")


def transformer():
    x = inputs = keras.Input((16, 32))
    for _ in range(4):
        x = L.LayerNormalization()(x + L.MultiHeadAttention(4, 8)(x, x))
        x = L.LayerNormalization()(x + L.Dense(32)(L.Dense(128, "gelu")(x)))
    outputs = L.Dense(10, "softmax")(L.GlobalAveragePooling1D()(x))
    return _made(keras.Model(inputs, outputs), WORDS, CLASSES)


def mobilenet():
    made = keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=10)
    return _made(made, IMAGES, CLASSES)


def resnet():
    made = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    return _made(made, IMAGES, CLASSES)


SMALL = [dense, momentum, clipped, lstm, gru]
ALL = [*SMALL, digits, normalised, transformer, mobilenet, resnet]
"""

_TRACE = """
import tensorflow as tf
from models import ALL

for make in ALL:
    model, batch = make()
    tf.function(model.train_step, autograph=False).get_concrete_function(batch)
"""

_TESTS = """
import pytest, verify
from models import ALL


@pytest.fixture(scope="module", params=ALL, ids=lambda make: make.__name__)
def made(request):
    model, batch = request.param()
    return model, verify.trace(model, batch)


def test_what_is_differentiated(made):
    model, step = made
    verify.assert_graph(step, loss=model.loss, watched="*")


def test_what_is_done_with_it(made):
    model, step = made
    verify.assert_graph(step, optimizer=model.optimizer, guards=None, forbids="*PyFunc*")
"""

_PROMISES = (
    "forward = true",
    'watched = "*"',
    "decayed = []",
    "guards = false",
    "conditions = false",
    'forbids = "*PyFunc*"',
    "max_ops = 20000",
    "max_bytes = 10000000",
    "training = true",
    "follows = false",
)


def project() -> None:
    """Prints what the tests of a project cost."""
    print("a project of ten models, seconds of the processor")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "models.py").write_text("import sys\n" + _MODELS)
        (place / "trace.py").write_text(_TRACE)
        (place / "test_steps.py").write_text(_TESTS)
        traced, _ = _run(place, "trace.py")
        asserted, told = _run(place, "-m", "pytest", "-q", "-p", "no:cacheprovider")
        print(f"  models built and traced    {traced:6.1f}")
        _say("pytest, 20 assertions", asserted, asserted / traced, 1.3, told, "20 passed")
        with (place / "steps.graph.toml").open("w") as file:
            for model in ("dense", "momentum", "clipped", "lstm", "gru"):
                for number, promise in enumerate(_PROMISES):
                    file.write(
                        f'[contracts.{model}{number}]\ntarget = "models:{model}"\n{promise}\n'
                    )
        checked, told = _run(place, "-m", "verify", "check")
        made = Counter(line for line in told.splitlines() if line.startswith("made "))
        most = max(made.values(), default=0)
        _say(
            "check, 50 contracts",
            checked,
            most,
            1,
            told,
            "50 contracts: 50 kept",
            "models made, each",
        )
        helped = min(_run(place, "-m", "verify", "--help")[0] for _ in range(3))
        _say("--help", helped, helped, 0.3, "", "", "seconds")


def _say(
    name: str, took: float, figure: float, goal: float, told: str, wanted: str, of: str = "of that"
) -> None:
    if wanted not in told:
        raise RuntimeError(f"{name}: {told[-2000:]}")
    over = "" if figure <= goal else "  OVER"
    print(f"  {name:<26} {took:6.1f}   {figure:.2f} {of} (goal {goal:g}){over}", flush=True)


def _run(place: Path, *arguments: str) -> tuple[float, str]:
    """Seconds of the processor, and what was printed, of a Python in a folder."""
    here = str(Path(__file__).parents[1])
    paths = os.pathsep.join([here, str(place)])
    before = os.times()
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    after = os.times()
    took = after.children_user + after.children_system
    return took - before.children_user - before.children_system, done.stdout


if __name__ == "__main__":
    project()
