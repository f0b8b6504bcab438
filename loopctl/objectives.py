"""Objectives and selections of variables of which presets are made, as callables with settings.

Each can be the value of ``objective``, ``variables`` or ``average`` in a config. As dataclasses at
the top level of a module, they can be written to files, compared and printed; so can your own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

__all__ = [
    "Adversary",
    "Bootstrapped",
    "Critic",
    "Distilled",
    "DoubleQ",
    "Submodel",
    "Trained",
]


@dataclasses.dataclass(frozen=True)
class Submodel:
    """Returns the attribute `name` of a model, for ``average``."""

    name: str

    def __call__(self, model: Any) -> Any:
        return getattr(model, self.name)


@dataclasses.dataclass(frozen=True)
class Trained:
    """Returns the trainable variables of a model's attributes `names`, for ``variables``."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))  # files have lists

    def __call__(self, model: Any) -> list[Any]:
        return [v for name in self.names for v in getattr(model, name).trainable_variables]


@dataclasses.dataclass(frozen=True)
class Distilled:
    """A student's loss against the labels, `hard`, and against a teacher's answers, `soft`.

    Both return logits, (batch, classes); labels are integers, (batch,) or (batch, 1).

    Args:
        student, teacher: names of the model's attributes. The teacher runs in inference mode.
        temperature: logits are divided by this.
        soft: the weight of the teacher's answers; that of the labels is 1 - `soft`.

    Source: Hinton et al., Distilling the Knowledge in a Neural Network (2015), section 2.
    """

    student: str = "student"
    teacher: str = "teacher"
    temperature: float = 2.0
    soft: float = 0.9

    def __call__(self, model: Any, data: Any) -> Any:
        x, y, _ = keras.utils.unpack_x_y_sample_weight(data)
        logits = getattr(model, self.student)(x, training=True)
        told = keras.ops.stop_gradient(getattr(model, self.teacher)(x, training=False))
        labels = keras.ops.reshape(y, (-1,))
        hard = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        wanted, found = told / self.temperature, logits / self.temperature
        divergence = keras.ops.softmax(wanted) * (
            keras.ops.log_softmax(wanted) - keras.ops.log_softmax(found)
        )
        close = keras.ops.mean(keras.ops.sum(divergence, axis=-1)) * self.temperature**2
        return {"hard": (1 - self.soft) * keras.ops.mean(hard), "soft": self.soft * close}, logits


@dataclasses.dataclass(frozen=True)
class Critic:
    """A critic's loss on real and generated samples, with a penalty on its gradient (WGAN-GP).

    Its parts are called `fake`, `real` and `penalty`. The generator takes noise, (batch, features),
    drawn with the model's ``seed``, a ``keras.random.SeedGenerator``, if it has one.

    Args:
        generator, critic: names of the model's attributes.
        penalty: the weight of the penalty.

    Source: Gulrajani et al., Improved Training of Wasserstein GANs (2017), algorithm 1.
    """

    generator: str = "generator"
    critic: str = "critic"
    penalty: float = 10.0

    def __call__(self, model: Any, data: Any) -> Any:
        real, judge = keras.utils.unpack_x_y_sample_weight(data)[0], getattr(model, self.critic)
        fake = _drawn(model, self.generator, real)
        share = (keras.ops.shape(real)[0], *[1] * (len(real.shape) - 1))
        between = keras.random.uniform(share, seed=getattr(model, "seed", None))
        mixed = between * real + (1 - between) * fake
        with tf.GradientTape() as tape:
            tape.watch(mixed)
            scores = judge(mixed, training=True)
        slopes = tape.gradient(scores, mixed)
        squares = keras.ops.sum(keras.ops.square(slopes), axis=tuple(range(1, len(mixed.shape))))
        norms = keras.ops.sqrt(squares + 1e-12)
        return {
            "fake": keras.ops.mean(judge(fake, training=True)),
            "real": -keras.ops.mean(judge(real, training=True)),
            "penalty": self.penalty * keras.ops.mean(keras.ops.square(norms - 1)),
        }


@dataclasses.dataclass(frozen=True)
class Adversary:
    """A generator's loss: the lower, the better a critic rates its samples.

    Args:
        generator, critic: names of the model's attributes, as for `Critic`.

    Source: as for `Critic`.
    """

    generator: str = "generator"
    critic: str = "critic"

    def __call__(self, model: Any, data: Any) -> Any:
        real = keras.utils.unpack_x_y_sample_weight(data)[0]
        fake = _drawn(model, self.generator, real)
        return -keras.ops.mean(getattr(model, self.critic)(fake, training=True))


def _drawn(model: Any, generator: str, real: Any) -> Any:
    """As many generated samples as there are real ones."""
    maker = getattr(model, generator)
    shape = (keras.ops.shape(real)[0], *maker.input_shape[1:])
    return maker(keras.random.normal(shape, seed=getattr(model, "seed", None)), training=True)


@dataclasses.dataclass(frozen=True)
class Bootstrapped:
    """How far the prediction from one view of a sample is from the code of another view (BYOL).

    Args:
        views: returns two views of a batch: ``fn(x) -> (one, other)``.
        online, predictor, target: names of the model's attributes. The predictor's output for the
            online network's view is compared with the target network's output for the other view.

    Source: Grill et al., Bootstrap Your Own Latent (2020), section 3.1.
    """

    views: Callable[[Any], tuple[Any, Any]]
    online: str = "online"
    predictor: str = "predictor"
    target: str = "target"

    def __call__(self, model: Any, data: Any) -> Any:
        one, other = self.views(keras.utils.unpack_x_y_sample_weight(data)[0])

        def apart(seen: Any, hidden: Any) -> Any:
            told = getattr(model, self.predictor)(getattr(model, self.online)(seen, training=True))
            meant = keras.ops.stop_gradient(getattr(model, self.target)(hidden, training=False))
            return 2 + 2 * keras.losses.cosine_similarity(meant, told)

        return keras.ops.mean(apart(one, other) + apart(other, one)) / 2


@dataclasses.dataclass(frozen=True)
class DoubleQ:
    """The error of the values of actions, given rewards and next states (double Q-learning).

    A batch is a dict of ``state`` and ``next_state``, (batch, ...), ``action``, integers (batch,),
    ``reward`` and ``done``, floats (batch,). Both networks return a value for each action.

    Args:
        online, target: names of the model's attributes.
        discount: the factor by which later rewards count less.

    Source: van Hasselt et al., Deep Reinforcement Learning with Double Q-learning (2016).
    """

    online: str = "online"
    target: str = "target"
    discount: float = 0.99

    def __call__(self, model: Any, data: Any) -> Any:
        learner, teacher = getattr(model, self.online), getattr(model, self.target)
        values = learner(data["state"], training=True)
        count = values.shape[-1]
        chosen = keras.ops.sum(values * keras.ops.one_hot(data["action"], count), axis=-1)
        best = keras.ops.argmax(learner(data["next_state"], training=False), axis=-1)
        later = teacher(data["next_state"], training=False) * keras.ops.one_hot(best, count)
        going = 1 - data["done"]
        wanted = data["reward"] + self.discount * going * keras.ops.sum(later, axis=-1)
        error = keras.losses.huber(
            keras.ops.stop_gradient(wanted)[:, None], keras.ops.expand_dims(chosen, -1)
        )
        return keras.ops.mean(error)
