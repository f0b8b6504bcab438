"""What control costs: ratios of medians, each pair measured in turns in one run.

``ci/bench control`` takes some minutes; ``--quick`` leaves out the ResNet and takes fewer rounds.
``--with-jax`` measures an epoch in one program beside a `lax.scan` written by hand.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from benchmarks.ways.in_jax import Scan
from inalu import recipe
from loopctl import Backup, LoopControllerCallback, when
from loopctl.look import nodes

CLIP = (-0.1, 0.1)


class Timer(keras.callbacks.Callback):
    """Seconds of the last epoch."""

    seconds = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds = time.perf_counter() - self.began


class Variant:
    """A model in training, one epoch at a time; `fit`: what else `fit` is given."""

    def __init__(
        self,
        model: keras.Model,
        data: Any,
        config: Any = None,
        fit: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.model, self.data, self.fit, self.timer = model, data, fit or {}, Timer()
        self.callbacks: list[Any] = [self.timer]
        self.control = None
        if config is not None:
            self.control = LoopControllerCallback(config, **options)
            self.callbacks = [self.control, self.timer]

    def epoch(self) -> float:
        self.model.fit(self.data, verbose=0, callbacks=self.callbacks, **self.fit)
        return self.timer.seconds


class Timed(Protocol):
    """What is measured."""

    def epoch(self) -> float:
        """Seconds."""


class FirstStep:
    """A model that is new each time, from the call of `fit` to the end of its first step.

    Args:
        make: a compiled model.
        callbacks: made anew as well.
    """

    def __init__(
        self, make: Callable[[], keras.Model], data: Any, callbacks: Callable[[], list[Any]]
    ) -> None:
        self.make, self.data, self.callbacks = make, data, callbacks

    def epoch(self) -> float:
        model, callbacks = self.make(), self.callbacks()
        began = time.perf_counter()
        epoch = next((one.epoch for one in callbacks if isinstance(one, Backup)), 0)
        settings = {"initial_epoch": epoch, "epochs": epoch + 1, "steps_per_epoch": 1}
        model.fit(self.data, verbose=0, callbacks=callbacks, **settings)
        return time.perf_counter() - began


def compare(title: str, goal: str, steps: int, rounds: int, variants: Mapping[str, Timed]) -> None:
    """Prints medians per step and their ratio: the first of two variants over the second."""
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, variant in variants.items():
            seconds = variant.epoch()
            if turn:  # the first traces
                times[name].append(seconds)
    (first, a), (second, b) = ((n, statistics.median(t) / steps) for n, t in times.items())
    spread = [max(t) / min(t) for t in times.values()]
    print(f"{title}: {first} over {second}: {a / b:.2f}   (goal {goal})")
    for name, median, wide in ((first, a, spread[0]), (second, b, spread[1])):
        print(f"    {name:<34} {median * 1e6:10.0f} µs a step, slowest/fastest round {wide:.2f}")


def dataset(shape: tuple[int, ...], outputs: int, batch: int, steps: int) -> tf.data.Dataset:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(batch, *shape)).astype("float32")
    y = generator.normal(size=(batch, outputs)).astype("float32")
    return tf.data.Dataset.from_tensors((x, y)).cache().repeat(steps)


def small(cls: type = keras.Model, **options: Any) -> keras.Model:
    """The 7-3-2-1 stack of Dense layers."""
    inputs = outputs = keras.Input((7,))
    for units in (3, 2, 1):
        outputs = keras.layers.Dense(units, "tanh")(outputs)
    model = cls(inputs, outputs)
    model.compile(keras.optimizers.RMSprop(0.01), "mse", metrics=["mae"], **options)
    return model


def resnet(cls: type = keras.Model, **options: Any) -> keras.Model:
    base = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), include_top=False)
    outputs = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(base.output))
    model = cls(base.input, outputs)
    model.compile(keras.optimizers.SGD(0.01), "mse", metrics=["mae"], **options)
    return model


class ByHand(keras.Model):
    """The logic of `GATE` as a user would write it: a step counter, a condition, two updates."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.steps = self.add_weight(shape=(), dtype="int64", trainable=False, name="steps")

    def train_step(self, data: Any) -> Any:
        x, y = data
        on = [v for v in self.trainable_variables if not v.name.endswith("bias")]
        off = [v for v in self.trainable_variables if v.name.endswith("bias")]
        with tf.GradientTape(persistent=True) as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x, y, y_pred)

        def update(variables: Any) -> Callable[[], Any]:
            def apply() -> Any:
                gradients = tape.gradient(loss, [v.value for v in variables])
                gradients = [tf.clip_by_value(g, *CLIP) for g in gradients]
                self.optimizer.apply(gradients, variables)
                return tf.constant(0)

            return apply

        self.optimizer.build(self.trainable_variables)
        tf.cond(self.steps.value % 10 < 8, update(on), update(off))
        self.steps.assign_add(1)
        metrics = self.compute_metrics(x, y, y_pred)
        metrics["loss"] = loss
        return metrics


GATE = {
    "gate": {
        "cond": when.batches % 10 < 8,
        True: {"clipping": CLIP, "excluded_variables": "*bias", "regularize": True},
        False: {"clipping": CLIP, "variables": "*bias", "regularize": True},
    }
}
HOST = {"gate": {**GATE["gate"], "cond": lambda self: self.batches % 10 < 8}}
RECIPE = {
    "gate": {**recipe.config["gate"], "cond": when.batches % 10 < 8},
    "delay": {**recipe.config["delay"], "cond": when.reinit_epochs > 10},
}


def inalu(**options: Any) -> keras.Model:
    model = recipe.build_model()
    model.compile(keras.optimizers.RMSprop(0.01), "mse", metrics=["mae"], **options)
    return model


def arrays(steps: int, inputs: int = 7, outputs: int = 1) -> tuple[Any, Any]:
    """Batches of the stacks, (steps, 64, inputs) and (steps, 64, outputs) float32."""
    generator = np.random.default_rng(0)
    shapes = (steps, 64, inputs), (steps, 64, outputs)
    x, y = (generator.normal(size=shape).astype("float32") for shape in shapes)
    return x, y


def beside_jax(
    name: str,
    build: Callable[..., keras.Model],
    config: Any,
    data: tuple[Any, Any],
    rounds: int,
) -> None:
    """An epoch in one program, by loopctl and by hand in JAX, in order and shuffled.

    Args:
        name: of the recipe in `benchmarks.ways.jax_scan`.
        data: batches, (steps, batch, ...) each.
    """
    (x, y), steps = data, len(data[0])
    options = {"steps_per_execution": steps, "jit_compile": True}
    batches = tf.data.Dataset.from_tensor_slices((x, y)).cache().repeat()
    for shuffled in (False, True):
        model = build(**options)
        scan = Scan(name, model, x, y, shuffled)
        variant = Variant(model, batches, config, {"steps_per_epoch": steps})
        variant.epoch()
        check(name, variant.control.history.column("loss"), scan.losses())
        # Of two epochs the second: the first looks at the data.
        variant.fit["epochs"] = 2
        if shuffled:
            variant.data = x.reshape(-1, x.shape[-1])
            variant.fit = {"y": y.reshape(-1, y.shape[-1]), "batch_size": x.shape[1], "epochs": 2}
        compare(
            f"(j) an epoch in one program, {name}, {'shuffled arrays' if shuffled else 'in order'}",
            "≤ 1.5",
            steps,
            rounds,
            {"loopctl, XLA": variant, "lax.scan by hand": scan},
        )
        scan.close()


def check(name: str, ours: Any, theirs: list[float]) -> None:
    """Ends the program if what is written by hand does not train as loopctl does."""
    for i, (a, b) in enumerate(zip(ours[:10], theirs, strict=False)):
        if not np.isclose(a, b, rtol=1e-3, atol=0.0):
            sys.exit(f"{name}: the loss of step {i} is {a:.6g}, by hand in JAX {b:.6g}")


def one_at_a_time(steps: int, rounds: int) -> None:
    x, y = (part.reshape(-1, part.shape[-1]) for part in arrays(steps))
    fit = {"y": y, "batch_size": 64, "epochs": 2}
    variants = {
        "loopctl": Variant(small(), x, GATE, fit),
        "plain fit": Variant(small(), x, None, fit),
    }
    compare("(g) one step at a time, arrays", "≤ 0.5", steps, rounds, variants)


def beginnings(rounds: int) -> None:
    data = dataset((7,), 1, 64, 1)
    folder = tempfile.mkdtemp()
    small().fit(data, verbose=0, callbacks=[LoopControllerCallback(GATE), Backup(folder)])

    def control() -> list[Any]:
        return [LoopControllerCallback(GATE)]

    def resumed() -> list[Any]:
        copy = tempfile.mkdtemp()
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        return [LoopControllerCallback(GATE), Backup(copy)]

    ours = FirstStep(small, data, control)
    by_hand = FirstStep(lambda: small(ByHand), data, list)
    variants = {"loopctl": ours, "hand-written train_step": by_hand}
    compare("(h) to the end of the first step", "≤ 1.1", 1, rounds, variants)
    again = FirstStep(small, data, resumed)
    variants = {"resumed": again, "begun": ours}
    compare("(i) the same, resumed", "≤ 1.2", 1, rounds, variants)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--with-jax", action="store_true", help="only beside JAX, installed into .venv-jax"
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    rounds, steps = (5, 500) if quick else (7, 2000)
    tensorflow = f"TensorFlow {tf.__version__}, Keras {keras.__version__}"
    print(f"{tensorflow}; medians of {rounds} rounds of {steps} steps, batch 64\n")
    if arguments.with_jax:
        for name, build, config in (("alternation", small, GATE), ("iNALU", inalu, RECIPE)):
            beside_jax(name, build, config, arrays(steps), rounds)
        return
    data = dataset((7,), 1, 64, steps)
    for many in (1, 100):
        compare(
            f"(a) control by hand, small, steps_per_execution={many}",
            "≤ 1.05",
            steps,
            rounds,
            {
                "loopctl": Variant(small(steps_per_execution=many), data, GATE),
                "hand-written train_step": Variant(small(ByHand, steps_per_execution=many), data),
            },
        )
    if not quick:
        few = dataset((32, 32, 3), 10, 8, 6)
        compare(
            "(a) control by hand, ResNet50",
            "≤ 1.05",
            6,
            5,
            {
                "loopctl": Variant(resnet(), few, GATE),
                "hand-written train_step": Variant(resnet(ByHand), few),
            },
        )
    compare(
        "(b) conditions",
        "≥ 3.5",
        steps,
        rounds,
        {
            "on the host, each step": Variant(small(), data, HOST),
            "in the graph, 100 steps at once": Variant(small(steps_per_execution=100), data, GATE),
        },
    )
    for title, goal, jit in (
        ("(c) iNALU recipe", "≤ 1.2", False),
        ("(d) the same, XLA", "-", True),
    ):
        options = {"steps_per_execution": 100, "jit_compile": jit}
        compare(
            title,
            goal,
            steps,
            rounds,
            {
                "loopctl, 100 at once": Variant(inalu(**options), data, RECIPE),
                "plain fit, 100 at once": Variant(inalu(**options), data),
            },
        )
    forms = {
        "separate forward passes": Variant(
            inalu(steps_per_execution=100), data, RECIPE, optimize=False
        ),
        "shared forward pass": Variant(inalu(steps_per_execution=100), data, RECIPE),
    }
    compare("(e) forward passes", "-", steps, rounds, forms)
    for name, variant in forms.items():
        print(f"    {name:<34} {nodes(variant.control.main_step, data.element_spec):10} nodes")
    began = []
    for _ in range(rounds):
        model = inalu()
        start = time.perf_counter()
        LoopControllerCallback(RECIPE).attach(model)
        began.append(time.perf_counter() - start)
    print(f"(f) attach to the iNALU stack: {statistics.median(began) * 1e3:.1f} ms")
    one_at_a_time(steps, rounds)
    beginnings(rounds)


if __name__ == "__main__":
    main()
