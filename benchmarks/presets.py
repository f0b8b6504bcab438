"""What presets cost over the same steps written by hand: ratios of medians, measured in turns.

The steps by hand report what control reports: means over an epoch of each loss and its named parts,
by `keras.metrics.Mean`, as the examples of Keras do.

``ci/bench presets`` takes a few minutes; ``--with-jax`` measures an epoch of the sharpness-aware
one in one program beside a `lax.scan` written by hand.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from benchmarks.control import Variant, arrays, beside_jax, compare, dataset
from loopctl import presets

GOAL = "≤ 1.0"
BATCH = 64
FEATURES, CLASSES, NOISE = 16, 10, 4


def dense(inputs: int, outputs: int, hidden: int = 32) -> keras.Sequential:
    layers = [
        keras.Input((inputs,)),
        keras.layers.Dense(hidden, "relu"),
        keras.layers.Dense(outputs),
    ]
    return keras.Sequential(layers)


def values(model: Any) -> list[Any]:
    return [variable.value for variable in model.trainable_variables]


# -- sharpness-aware -------------------------------------------------------------------------------


class Means:
    """Means over an epoch, of losses by name."""

    def __init__(self, *names: str) -> None:
        self.means = {name: keras.metrics.Mean(name=name) for name in names}

    def update(self, **losses: Any) -> None:
        for name, loss in losses.items():
            self.means[name].update_state(loss)

    def result(self) -> dict[str, Any]:
        return {name: mean.result() for name, mean in self.means.items()}

    def reset(self) -> None:
        for mean in self.means.values():
            mean.reset_state()


class Flat(keras.Model):
    """Gradients are taken uphill, and applied where the weights were."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.told = Means("loss")

    def reset_metrics(self) -> None:
        super().reset_metrics()
        self.told.reset()

    def train_step(self, data: Any) -> Any:
        x, y = data
        weights = values(self)

        def gradients() -> tuple[Any, Any, Any]:
            with tf.GradientTape() as tape:
                prediction = self(x, training=True)
                loss = self.compute_loss(x, y, prediction)
            return tape.gradient(loss, weights), loss, prediction

        first, loss, prediction = gradients()
        scale = 0.05 / (tf.linalg.global_norm(first) + 1e-12)
        climbs = [scale * gradient for gradient in first]
        for weight, climb in zip(weights, climbs, strict=True):
            weight.assign_add(climb)
        second, _, _ = gradients()
        for weight, climb in zip(weights, climbs, strict=True):
            weight.assign_sub(climb)
        self.optimizer.apply(second, self.trainable_variables)
        self.told.update(loss=loss)
        return {**self.compute_metrics(x, y, prediction), **self.told.result()}


def flat(cls: type, **options: Any) -> keras.Model:
    base = dense(FEATURES, CLASSES)
    model = cls(base.inputs, base.outputs)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse", **options)
    return model


# -- distillation ----------------------------------------------------------------------------------


class Pair(keras.Model):
    """A student and a teacher."""

    def __init__(self) -> None:
        super().__init__()
        self.student, self.teacher = dense(FEATURES, CLASSES), dense(FEATURES, CLASSES, 128)
        self.teacher.trainable = False

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.student(x, training=training)


class PairByHand(Pair):
    """Learns from labels, and from what the teacher makes of the same batch."""

    def __init__(self) -> None:
        super().__init__()
        self.told = Means("loss", "hard", "soft")

    def reset_metrics(self) -> None:
        super().reset_metrics()
        self.told.reset()

    def train_step(self, data: Any) -> Any:
        x, y = data
        labels = tf.reshape(y, (-1,))
        told = self.teacher(x, training=False)
        with tf.GradientTape() as tape:
            logits = self.student(x, training=True)
            hard = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(labels, tf.int32), logits)
            near = tf.nn.softmax(told / 2.0)
            apart = tf.nn.log_softmax(told / 2.0) - tf.nn.log_softmax(logits / 2.0)
            soft = 0.9 * tf.reduce_mean(tf.reduce_sum(near * apart, -1)) * 4.0
            hard = 0.1 * tf.reduce_mean(hard)
            loss = hard + soft
        gradients = tape.gradient(loss, values(self.student))
        self.optimizer.apply(gradients, self.student.trainable_variables)
        self.told.update(loss=loss, hard=hard, soft=soft)
        return {**self.compute_metrics(x, y, logits), **self.told.result()}


def pair(cls: type, **options: Any) -> keras.Model:
    model = cls()
    model.build((None, FEATURES))
    model.compile(keras.optimizers.Adam(0.001), **options)
    return model


# -- GAN with a penalty ----------------------------------------------------------------------------


class Adversaries(keras.Model):
    """A generator and a critic of what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = dense(NOISE, FEATURES), dense(FEATURES, 1)
        self.seed = keras.random.SeedGenerator(1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.critic(x, training=training)


class AdversariesByHand(Adversaries):
    """The critic is trained in each step, the generator in one of five."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = self.add_weight(shape=(), dtype="int64", trainable=False, name="steps")
        # Made before the step is traced; each trains what it is for.
        self.judging, self.forging = (keras.optimizers.Adam(1e-4, beta_1=0.5) for _ in range(2))
        self.judging.build(self.critic.trainable_variables)
        self.forging.build(self.generator.trainable_variables)
        self.told = Means("loss", "fake", "real", "penalty", "forge")

    def reset_metrics(self) -> None:
        super().reset_metrics()
        self.told.reset()

    def drawn(self, real: Any) -> Any:
        shape = (tf.shape(real)[0], NOISE)
        return self.generator(keras.random.normal(shape, seed=self.seed), training=True)

    def train_step(self, data: Any) -> Any:
        real = data[0]
        with tf.GradientTape() as tape:
            fake = self.drawn(real)
            share = keras.random.uniform((tf.shape(real)[0], 1), seed=self.seed)
            mixed = share * real + (1 - share) * fake
            with tf.GradientTape() as inner:
                inner.watch(mixed)
                scores = self.critic(mixed, training=True)
            slopes = inner.gradient(scores, mixed)
            norms = tf.sqrt(tf.reduce_sum(slopes**2, axis=1) + 1e-12)
            parts = {
                "fake": tf.reduce_mean(self.critic(fake, training=True)),
                "real": -tf.reduce_mean(self.critic(real, training=True)),
                "penalty": 10.0 * tf.reduce_mean((norms - 1) ** 2),
            }
            loss = parts["fake"] + parts["real"] + parts["penalty"]
        weights = values(self.critic)
        self.judging.apply(tape.gradient(loss, weights), self.critic.trainable_variables)

        def forge() -> Any:
            with tf.GradientTape() as tape:
                loss = -tf.reduce_mean(self.critic(self.drawn(real), training=True))
            gradients = tape.gradient(loss, values(self.generator))
            self.forging.apply(gradients, self.generator.trainable_variables)
            self.told.update(forge=loss)
            return tf.constant(0)

        self.steps.assign_add(1)
        tf.cond(self.steps.value % 5 == 0, forge, lambda: tf.constant(0))
        self.told.update(loss=loss, **parts)
        return self.told.result()


def adversaries(cls: type, **options: Any) -> keras.Model:
    model = cls()
    model.build((None, FEATURES))
    model.compile(keras.optimizers.Adam(1e-4, beta_1=0.5), **options)
    return model


def penalized() -> Any:
    """With an optimizer of its own, which belongs to one model."""
    generator_optimizer = keras.optimizers.Adam(1e-4, beta_1=0.5)
    return presets.adversarial_with_penalty(generator_optimizer=generator_optimizer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds of fewer steps")
    parser.add_argument(
        "--with-jax", action="store_true", help="only beside JAX, installed into .venv-jax"
    )
    options = parser.parse_args()
    rounds, steps = (5, 500) if options.quick else (7, 2000)
    print(f"TensorFlow {tf.__version__}, Keras {keras.__version__}; medians of {rounds} rounds of")
    print(f"{steps} steps, batch {BATCH}\n")
    if options.with_jax:
        data = arrays(steps, FEATURES, CLASSES)
        config = presets.sharpness_aware()
        beside_jax("sharpness-aware", functools.partial(flat, keras.Model), config, data, rounds)
        return
    numbers = dataset((FEATURES,), CLASSES, BATCH, steps)
    labels = numbers.map(lambda x, y: (x, tf.argmax(y, -1))).cache()
    made: dict[str, tuple[Callable[..., Any], type, type, Callable[[], Any], Any]] = {
        "sharpness-aware": (flat, keras.Model, Flat, presets.sharpness_aware, numbers),
        "distillation": (pair, Pair, PairByHand, presets.distillation, labels),
        "GAN with a penalty": (adversaries, Adversaries, AdversariesByHand, penalized, numbers),
    }
    for name, (build, controlled, by_hand, config, data) in made.items():
        for many in (1, 100):
            options = {"steps_per_execution": many}
            compare(
                f"{name}, steps_per_execution={many}",
                GOAL,
                steps,
                rounds,
                {
                    "loopctl": Variant(build(controlled, **options), data, config()),
                    "hand-written train_step": Variant(build(by_hand, **options), data),
                },
            )


if __name__ == "__main__":
    main()
