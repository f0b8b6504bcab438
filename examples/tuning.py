"""A trained network is tuned to few samples of another task, slower the deeper."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from examples import figures
from loopctl import LoopControllerCallback, presets

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def task(count: int, shift: float, seed: int) -> tuple[Any, Any]:
    """Samples (count, 6) around `shift`, and a number of each, (count, 1)."""
    x = np.random.default_rng(seed).normal(shift, 1, (count, 6)).astype("float32")
    return x, np.sin(x[:, :1]) + x[:, 1:2] * x[:, 2:3] + shift


def pretrained() -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(32, name="deep"),
        keras.layers.BatchNormalization(name="normalization"),
        keras.layers.ReLU(),
        keras.layers.Dense(16, "relu", name="middle"),
        keras.layers.Dense(1, name="head"),
    ]
    model = keras.Sequential([keras.Input((6,)), *layers], name="net")
    model.compile(keras.optimizers.Adam(0.01), "mse", steps_per_execution=8)
    model.fit(*task(2048, 0.0, 1), batch_size=64, epochs=20, verbose=0)
    return model


def train(epochs: int, *callbacks: Any) -> tuple[keras.Model, LoopControllerCallback]:
    model = pretrained()
    model.compile(keras.optimizers.Adam(0.02), "mse", steps_per_execution=8)
    config = presets.discriminative_fine_tuning(
        {"*/deep/*": 0.01, "*/normalization/*": 0.01, "*/middle/*": 0.1},
        head="*/head/*",
        head_epochs=2,
    )
    control = LoopControllerCallback(config)
    tune(model, epochs, control, *callbacks)
    return model, control


def tune(model: keras.Model, epochs: int, *callbacks: Any) -> None:
    """To few samples of the other task."""
    few = task(128, 0.5, 2)
    model.fit(*few, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks))


def error(model: keras.Model) -> float:
    """On new samples of the task that it is tuned to."""
    x, y = task(1024, 0.5, 3)
    return float(np.mean((np.asarray(model(x)) - y) ** 2))


class Errors(keras.callbacks.Callback):
    """Before the tuning, and after each epoch."""

    def on_train_begin(self, logs: Any = None) -> None:
        self.found = [error(self.model)]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.found.append(error(self.model))


def plainly(epochs: int, *callbacks: Any) -> keras.Model:
    """The same without control: all at one rate, and statistics move."""
    model = pretrained()
    model.compile(keras.optimizers.Adam(0.02), "mse", steps_per_execution=8)
    tune(model, epochs, *callbacks)
    return model


def draw(models: dict[str, keras.Model], errors: dict[str, list[float]]) -> Figure:
    """Of models that were tuned, by name."""
    figure, (curve, bars) = figures.panels("error on new samples", "how far kernels moved")
    series = {name: (np.arange(len(found)), found) for name, found in errors.items()}
    figures.lines(curve, "epoch", "mean squared error", series)
    curve.set_ylim(bottom=0)
    before = {v.path: v.numpy() for v in pretrained().trainable_variables}
    names = ("deep", "middle", "head")
    for i, (name, model) in enumerate(models.items()):
        kernels = [model.get_layer(layer).kernel for layer in names]
        moved = [np.abs(kernel.numpy() - before[kernel.path]).mean() for kernel in kernels]
        bars.bar(np.arange(3) + 0.4 * i - 0.2, moved, 0.4, color=figures.COLORS[i], label=name)
    bars.set_xticks(range(3), names, fontsize=9)
    bars.set_ylabel("mean change of a weight", fontsize=9)
    bars.set_ylim(top=1.35 * bars.get_ylim()[1])
    bars.legend(fontsize=8, loc="upper right")
    return figure


def picture(epochs: int = 20) -> Figure:
    ours, plain = Errors(), Errors()
    models = {
        "slower the deeper": train(epochs, ours)[0],
        "all at one rate": plainly(epochs, plain),
    }
    return draw(models, dict(zip(models, (ours.found, plain.found), strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    before, (model, control) = pretrained(), train(parser.parse_args().epochs)
    print(f"error before: {error(before):.3f}, after: {error(model):.3f}")
    for old, new in zip(before.trainable_variables, model.trainable_variables, strict=True):
        print(f"{new.path} moved by {np.abs(old.numpy() - new.numpy()).mean():.4f}")
    control.summary()


if __name__ == "__main__":
    main()
