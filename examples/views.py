"""Which cluster a sample is of is learned without labels, from what two views share (BYOL)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from examples import figures
from loopctl import LoopControllerCallback, presets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLUSTERS, SIGNAL, NUISANCE = 4, 4, 12


class Learner(keras.Model):
    """Three networks: of views, of what one tells of another, and a slow one of views."""

    def __init__(self) -> None:
        super().__init__()
        dense = keras.layers.Dense

        def network(name: str) -> keras.Model:
            layers = [dense(64), keras.layers.BatchNormalization(), keras.layers.ReLU(), dense(8)]
            return keras.Sequential([keras.Input((SIGNAL + NUISANCE,)), *layers], name=name)

        self.online, self.target = network("online"), network("target")
        self.target.set_weights(self.online.get_weights())
        self.target.trainable = False
        self.predictor = keras.Sequential([keras.Input((8,)), dense(32, "relu"), dense(8)])


def samples(count: int, seed: int = 0) -> tuple[Any, Any]:
    """(count, features), whose first few tell the cluster and whose others are large noise."""
    generator = np.random.default_rng(seed)
    cluster = np.arange(count) % CLUSTERS
    signal = 2 * np.eye(SIGNAL)[cluster] + generator.normal(0, 0.3, (count, SIGNAL))
    noise = generator.normal(0, 2, (count, NUISANCE))
    return np.concatenate([signal, noise], axis=1).astype("float32"), cluster


def two_views(x: Any) -> tuple[Any, Any]:
    """The same signal, each with noise of another sample of the batch."""

    def view(shift: int) -> Any:
        other = keras.ops.roll(x[:, SIGNAL:], shift, axis=0)
        return keras.ops.concatenate([x[:, :SIGNAL], other], axis=1)

    return view(1), view(2)


def train(epochs: int) -> tuple[Learner, LoopControllerCallback]:
    keras.utils.set_random_seed(0)
    model = Learner()
    model.compile(keras.optimizers.Adam(3e-3), steps_per_execution=16)
    control = LoopControllerCallback(presets.bootstrapped_views(two_views))
    x, _ = samples(4096)
    model.fit(x, batch_size=128, epochs=epochs, verbose=0, callbacks=[control])
    return model, control


def told(seen: Any, seed: int = 1) -> float:
    """How many of new samples have the nearest of forty labelled ones in their own cluster."""
    x, y = samples(840, seed)
    codes = np.asarray(seen(x))
    codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    near = np.argmax(codes[40:] @ codes[:40].T, axis=1)
    return float(np.mean(y[:40][near] == y[40:]))


def draw(model: Learner) -> Figure:
    """How alike samples are that are sorted by their cluster, as they are and as they are seen."""
    titles = ("how alike samples are", "to what was learned")
    figure, axes = figures.panels(*titles, height=3.2)
    x, cluster = samples(48, 1)
    x = x[np.argsort(cluster, kind="stable")]
    for one, rows in zip(axes, (x, np.asarray(model.online(x, training=False))), strict=True):
        rows = rows - rows.mean(axis=0)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        image = one.imshow(rows @ rows.T, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
        middles = (np.arange(CLUSTERS) + 0.5) * len(rows) / CLUSTERS
        names = [f"cluster {i + 1}" for i in range(CLUSTERS)]
        one.set_xticks(middles, names, fontsize=8)
        one.set_yticks(middles, names if one is axes[0] else [""] * CLUSTERS, fontsize=8)
        one.tick_params(length=0)
    figure.colorbar(image, ax=axes, label="cosine", shrink=0.8)
    return figure


def picture(epochs: int = 20) -> Figure:
    return draw(train(epochs)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    model, _ = train(parser.parse_args().epochs)
    print(f"clusters told by raw samples: {told(lambda x: x):.3f}")
    print(f"by what was learned:          {told(lambda x: model.online(x, training=False)):.3f}")


if __name__ == "__main__":
    main()
