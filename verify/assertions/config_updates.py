"""By which optimizers a branch of a config updates what: at which rates, how often, when not."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from loopctl_shared import inner_optimizer
from verify.assertions.expectation import UNSET
from verify.find import Detector
from verify.graphs import key_of
from verify.kinds import Violation, literal
from verify.match import NoValueError
from verify.references import decays, optimizer_settings

_ALL = "*"
_SIGMAS = 5.0  # by which a standard deviation that is measured may be off


class UnsaidError(Exception):
    """What a key says can't be said of a substep by itself: why."""


def _groups(model: keras.Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizers of a branch as they are given, by globs; one alone is that of all."""
    given = settings.get("optimizer", model.optimizer)
    if isinstance(given, Mapping) and "class_name" not in given:
        return dict(given)
    return {_ALL: given}


def rated(model: keras.Model, settings: Mapping[str, Any], chosen: list[Any]) -> Any:
    """What `optimizer` is to be: one, or by paths, at the rates of a branch.

    Args:
        chosen: the variables that the branch trains.

    Raises:
        UnsaidError: no optimizer of Keras has such rates.
    """
    rate = settings.get("learning_rate")
    groups = {g: keras.optimizers.get(one) for g, one in _groups(model, settings).items()}
    if rate is None:
        return groups[_ALL] if groups.keys() == {_ALL} else groups
    found: dict[str, Any] = {}
    for variable in chosen:
        optimizer = next(
            one for glob, one in groups.items() if fnmatch.fnmatchcase(variable.path, glob)
        )
        inner = inner_optimizer(optimizer)
        if hasattr(inner, "optimizers"):
            raise UnsaidError("several optimizers in one have rates of their own")
        found[literal(variable.path)] = _at_rate(inner, _rate_of(inner, rate, variable), variable)
    return found


def _rate_of(optimizer: Any, said: Any, variable: Any) -> Any:
    """The rate of one variable: a number, or a schedule."""
    if not isinstance(said, Mapping):
        return Computed.of(said)
    globs = (glob for glob in said if fnmatch.fnmatchcase(variable.path, glob))
    factor = said.get(next(globs, None), 1.0)
    base = optimizer_settings(optimizer)["learning_rate"]
    if isinstance(base, Mapping):
        base = keras.optimizers.schedules.deserialize(base)
    if isinstance(base, int | float) and isinstance(factor, int | float):
        return base * factor
    return Computed.product(Computed.of(base), Computed.of(factor))


def _at_rate(optimizer: Any, rate: Any, variable: Any) -> Any:
    """An optimizer of the same settings at another rate, for one variable."""
    config = {**optimizer.get_config(), "learning_rate": rate}
    if config.get("weight_decay") and not decays(optimizer, variable):
        config["weight_decay"] = 0.0  # that it is spared is no setting
    return type(optimizer).from_config(config)


@dataclasses.dataclass(frozen=True)
class Counts:
    """Where every counter has come to the same number; see ``when`` for what asks for it."""

    count: Any

    def constant(self, value: float) -> Any:
        return tf.constant(value, tf.int64 if isinstance(value, int) else tf.float64)

    def counter(self, name: str) -> Any:
        return tf.cast(self.count, tf.int64)

    def statistic(self, statistic: Any) -> Any:
        raise UnsaidError(f"it is computed from {statistic.name}")

    def since_best(self, best: Any) -> Any:
        raise UnsaidError(f"it is computed from {best.name}")

    def real(self, value: Any) -> Any:
        return tf.cast(value, tf.float64)

    def where(self, condition: Any, value: Any, other: Any) -> Any:
        return tf.where(condition, value, other)

    def cosine(self, value: Any) -> Any:
        return tf.cos(value)


# An optimizer is made of its config, which has schedules in it.
@keras.saving.register_keras_serializable(package="verify")
class Computed(keras.optimizers.schedules.LearningRateSchedule):
    """A rate that is computed of a count: all counts are fed alike where a step is evaluated."""

    _known: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    def __init__(self, said: str) -> None:
        self.said = said

    def __call__(self, step: Any) -> Any:
        return tf.cast(self._known[self.said](step), tf.float32)

    def get_config(self) -> dict[str, Any]:
        return {"said": self.said}

    @classmethod
    def of(cls, rate: Any) -> Any:
        """A rate as a number or a schedule.

        Raises:
            UnsaidError: it is computed from other values than counts.
        """
        if not hasattr(rate, "evaluate"):
            return (
                rate
                if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule)
                else (float(rate))
            )
        rate.evaluate(Counts(tf.constant(0, tf.int64)))
        cls._known[str(rate)] = lambda step: rate.evaluate(Counts(step))
        return cls(str(rate))

    @classmethod
    def product(cls, one: Any, other: Any) -> Any:
        said = " * ".join(str(getattr(rate, "said", rate)) for rate in (one, other))

        def made(step: Any) -> Any:
            values = [rate(step) if callable(rate) else rate for rate in (one, other)]
            return tf.cast(values[0], tf.float32) * tf.cast(values[1], tf.float32)

        cls._known[said] = made
        return cls(said)


def clip_of(model: keras.Model, settings: Mapping[str, Any]) -> Any:
    """The clip to be expected: the branch's, or the one its optimizer was constructed with."""
    if "clipping" in settings:
        return settings["clipping"]
    several = map(keras.optimizers.get, _groups(model, settings).values())
    clips = [_clip(inner_optimizer(one)) for one in several]
    if any(one != clips[0] for one in clips):
        return UNSET
    # A transform of the user's may clip as it likes.
    return UNSET if clips[0] is None and "gradients" in settings else clips[0]


def _clip(optimizer: Any) -> Any:
    if optimizer.clipvalue:
        return (-optimizer.clipvalue, optimizer.clipvalue)
    if optimizer.clipnorm:
        return {"norm": optimizer.clipnorm}
    if optimizer.global_clipnorm:
        return {"global_norm": optimizer.global_clipnorm}
    return None


# -- how often, and when not -----------------------------------------------------------------------


def applied(detector: Detector, model: keras.Model, settings: Mapping[str, Any]) -> list[Violation]:
    """Whether a branch of the main step makes as many updates as `repeat` says.

    Raises:
        UnsaidError: that can't be told.
    """
    repeat = settings.get("repeat", 1)
    for one in _groups(model, settings).values():
        if not isinstance(one, keras.optimizers.Optimizer):
            continue  # of a name, another one is made
        try:
            found = detector.times_written(key_of(inner_optimizer(one).iterations))
        except NoValueError as why:
            raise UnsaidError(str(why)) from None
        # That nothing is updated is told by what is trained.
        if found not in (0, repeat):
            wish = f"{repeat} update{'s' if repeat > 1 else ''} in a train step"
            return [Violation("repeat", wish, f"{found} of {one.name}")]
    return []


def miscounted(
    detector: Detector, settings: Mapping[str, Any], chosen: list[Any]
) -> list[Violation]:
    """Whether rates that are computed are so from the counters that they name."""
    said = settings.get("learning_rate")
    keys: dict[int | str, Any] = {key_of(v): v for v in chosen}
    for update in detector.flow.trained:
        variable = keys.get(update.variable.key)
        if variable is None:
            continue
        groups = said if isinstance(said, Mapping) else {_ALL: said}
        matched = (r for glob, r in groups.items() if fnmatch.fnmatchcase(variable.path, glob))
        rate: Any = next(matched, None)
        if not hasattr(rate, "evaluate"):
            continue
        read = detector.step.flat.read_for(update.node.data)
        left_out = rate.counters - {v.path.rpartition("/")[2] for v in read}
        if left_out:
            found = f"it does not depend on {', '.join(sorted(left_out))}: {variable.path}"
            return [Violation("learning_rate", str(rate), found)]
    return []


def unlike_noise(
    detector: Detector, settings: Mapping[str, Any], examples: int | None
) -> list[Violation]:
    """Whether as much noise is added to the gradients of examples as is said.

    Raises:
        UnsaidError: that can't be told.
    """
    clip, noise = settings["per_example"]["clip"], settings["per_example"].get("noise")
    if not noise:
        return []
    if not isinstance(clip, int | float) or not isinstance(noise, int | float):
        raise UnsaidError("how much noise is computed while training")
    if examples is None:
        raise UnsaidError("how much noise: of how many examples is not known")
    if settings.get("accumulate", 1) > 1 or "clipping" in settings or "gradients" in settings:
        raise UnsaidError("how much noise: other keys change it")
    try:
        added = [detector.added(one, 1.0 / examples) for one in detector.flow.trained]
    except NoValueError as why:
        raise UnsaidError(f"how much noise: {why}") from None
    every = np.concatenate(added)
    wanted, found = clip * noise / examples, float(np.std(every))
    if abs(found / wanted - 1.0) <= _SIGMAS / np.sqrt(2 * every.size):
        return []
    wish = f"noise of a standard deviation of {wanted:.3g} in the mean"
    return [Violation("per_example", wish, f"{found:.3g}, of {every.size} numbers")]


def skipped(detector: Detector) -> list[Violation]:
    """Whether an update is left out whose gradients are not finite.

    Raises:
        UnsaidError: that can't be told.
    """
    try:
        paths = detector.written_anyway()
    except NoValueError as why:
        raise UnsaidError(str(why)) from None
    if not paths:
        return []
    wish = "no update where an element of a gradient is NaN"
    return [Violation("skip_nonfinite", wish, f"changed all the same: {', '.join(paths)}")]
