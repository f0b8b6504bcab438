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
from verify.assertions.config_keys import selected
from verify.assertions.expectation import UNSET
from verify.find import Detector
from verify.graphs import key_of
from verify.kinds import Violation, literal
from verify.match import NoValueError
from verify.references import (
    Untraced,
    another,
    counter_of,
    decays,
    optimizer_settings,
    schedule_of,
)

_ALL = "*"
_COMPUTED = ("learning_rate", "loss_weights", "ascend", "per_example")
_TELLING = (3, 1, 2, 5, 10, 30, 100, 1000)  # steps, after which values are looked at
_SIGMAS = 5.0  # by which a standard deviation that is measured may be off


class UnsaidError(Exception):
    """What a key says can't be said of a substep by itself: why."""


def _groups(model: keras.Model, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The optimizers of a branch as they are given, by globs; one alone is that of all."""
    given = settings.get("optimizer", model.optimizer)
    if isinstance(given, Mapping) and "class_name" not in given:
        return dict(given)
    return {_ALL: given}


def optimizers_of(model: keras.Model, settings: Mapping[str, Any]) -> dict[int | str, Any]:
    """By key of each variable that a branch may train: what updates it, at the branch's rate.

    Raises:
        UnsaidError: no optimizer of Keras has such rates.
    """
    rate = settings.get("learning_rate")
    groups = {g: keras.optimizers.get(one) for g, one in _groups(model, settings).items()}
    found: dict[int | str, Any] = {}
    for variable in selected(model, settings):
        matching = (o for glob, o in groups.items() if fnmatch.fnmatchcase(variable.path, glob))
        inner = inner_optimizer(next(matching))
        if rate is not None and hasattr(inner, "optimizers"):
            raise UnsaidError("several optimizers in one have rates of their own")
        said = None if rate is None else _rate_of(inner, rate, variable)
        found[key_of(variable)] = inner if said is None else _at_rate(inner, said, variable)
    return found


def by_path(optimizers: Mapping[int | str, Any], variables: list[Any]) -> dict[Any, Any]:
    """What `optimizer` is to be of some variables: those that are updated alike together."""
    groups: dict[str, tuple[Any, list[str]]] = {}
    for variable in variables:
        one = optimizers[key_of(variable)]
        alike = repr((type(one), optimizer_settings(one)))
        groups.setdefault(alike, (one, []))[1].append(literal(variable.path))
    return {(*paths,): one for one, paths in groups.values()}


def _rate_of(optimizer: Any, said: Any, variable: Any) -> Any:
    """The rate of one variable, a number or a schedule; None for that of the optimizer."""
    if not isinstance(said, Mapping):
        return Computed.of(said)
    glob = next((glob for glob in said if fnmatch.fnmatchcase(variable.path, glob)), None)
    if glob is None:
        return None
    factor = said[glob]
    base = schedule_of(optimizer) or optimizer_settings(optimizer)["learning_rate"]
    if isinstance(base, int | float) and isinstance(factor, int | float):
        return base * factor
    return Computed.product(Computed.of(base), Computed.of(factor))


def _at_rate(optimizer: Any, rate: Any, variable: Any) -> Any:
    """An optimizer of the same settings at another rate, for one variable."""
    # That it is spared is no setting.
    spared = optimizer.weight_decay and not decays(optimizer, variable)
    others = {"weight_decay": 0.0} if spared else {}
    try:
        return another(optimizer, learning_rate=rate, **others)
    except Untraced as why:
        raise UnsaidError(f"{type(optimizer).__name__} can't be made again: {why}") from None


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


def telling_count(settings: Mapping[str, Any]) -> tuple[frozenset[str], int]:
    """(what a branch counts to compute values, a number at which none of these is zero)."""
    said = (value for key, value in settings.items() if key in _COMPUTED)
    every = [one for value in said for one in tf.nest.flatten(value) if hasattr(one, "evaluate")]
    names = frozenset(name for one in every for name in one.counters)
    for count in _TELLING:
        try:
            values = [float(one.evaluate(Counts(tf.constant(count, tf.int64)))) for one in every]
        except UnsaidError:
            break
        if all(values):
            return names, count
    return names, _TELLING[0]


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


def clip_of(model: keras.Model, settings: Mapping[str, Any], trained: list[Any]) -> Any:
    """The clip to be expected: the branch's, or the one its optimizer was constructed with.

    Args:
        trained: the variables whose gradients it is on.
    """
    several = map(keras.optimizers.get, _groups(model, settings).values())
    clips = [_clip(inner_optimizer(one)) for one in several]
    said, alike = settings.get("clipping"), all(one == clips[0] for one in clips)
    if said is not None:
        # Of two clips of a kind, one after the other, the narrower one is to be seen; to a number,
        # and to a variable that is alone, clips of other kinds may be the same.
        narrow = _narrower(said, clips[0]) if alike else said
        few = len(trained) == 1 or any(np.prod(v.shape) == 1 for v in trained)
        two = not alike or clips[0] is not None
        return UNSET if few and two and narrow is said else narrow
    # A transform of the user's may clip as it likes.
    return UNSET if not alike or (clips[0] is None and "gradients" in settings) else clips[0]


def _narrower(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        return {kind: min(norm, other[kind]) for kind, norm in one.items()}
    if isinstance(one, Mapping) or isinstance(other, Mapping | None):
        return one
    return max(one[0], other[0]), min(one[1], other[1])


def accumulates(model: keras.Model, settings: Mapping[str, Any]) -> bool:
    """Whether an optimizer of a branch makes one update of several steps by itself."""
    every = map(keras.optimizers.get, _groups(model, settings).values())
    return any(inner_optimizer(one).gradient_accumulation_steps for one in every)


def is_counted(computed: Any) -> bool:
    """Whether a value of ``when`` is computed from counts alone."""
    try:
        computed.evaluate(Counts(tf.constant(0, tf.int64)))
    except UnsaidError:
        return False
    return True


def clips_of(model: keras.Model, settings: Mapping[str, Any]) -> list[Any]:
    """The clips that come one after the other: of the branch, and of its optimizer.

    Raises:
        UnsaidError: of several optimizers, or of one that clips what it has added up.
    """
    groups = [
        inner_optimizer(keras.optimizers.get(one)) for one in _groups(model, settings).values()
    ]
    own = [_clip(one) for one in groups]
    if any(own) and (len(own) > 1 or groups[0].gradient_accumulation_steps):
        raise UnsaidError("optimizers clip by themselves")
    return [clip for clip in (settings.get("clipping"), own[0]) if clip is not None]


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
    try:
        for name, found in _times_applied(detector, model, settings).items():
            # That nothing is updated is told by what is trained.
            if found not in (0, repeat):
                wish = f"{repeat} update{'s' if repeat > 1 else ''} in a train step"
                return [Violation("repeat", wish, f"{found} of {name}")]
    except NoValueError as why:
        raise UnsaidError(str(why)) from None
    return []


def _times_applied(
    detector: Detector, model: keras.Model, settings: Mapping[str, Any]
) -> dict[str, int]:
    """How often each optimizer counts that it is applied; of a name, another one is made.

    Of that, how often the variables are written by a gradient.
    """
    given = _groups(model, settings).values()
    made = [one for one in given if isinstance(one, keras.optimizers.Optimizer)]
    if len(made) == len(given):
        counted = {one.name: counter_of(inner_optimizer(one)) for one in made}
        return {name: detector.times_written(key) for name, key in counted.items()}
    chosen = selected(model, settings)
    return {variable.path: detector.times_updated(key_of(variable)) for variable in chosen}


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
        above = detector.flow.ancestors([update.node.index], without=detector.flow.propagated)
        read = (v for node, v in detector.flat.reads() if node.index in above)
        left_out = rate.counters - {v.path.rpartition("/")[2] for v in read}
        if left_out:
            found = f"it does not depend on {', '.join(sorted(left_out))}: {variable.path}"
            return [Violation("learning_rate", str(rate), found)]
    return []


def unlike_noise(
    detector: Detector,
    settings: Mapping[str, Any],
    examples: int | None,
    regularised: frozenset[int | str],
) -> list[Violation]:
    """Whether as much noise is added to the gradients of examples as is said.

    Args:
        regularised: the keys of variables to whose gradients terms are added after the noise, and
            which do not tell.

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
        plain = [one for one in detector.flow.trained if one.variable.key not in regularised]
        added = [detector.added(one, 1.0 / examples) for one in plain]
    except NoValueError as why:
        raise UnsaidError(f"how much noise: {why}") from None
    if detector.flow.trained and not plain:
        raise UnsaidError("how much noise: each gradient has a term that is added after it")
    if not added:
        return []  # what is not trained is told by itself
    every = np.concatenate(added)
    wanted, found = clip * noise / examples, float(np.std(every))
    if abs(found / wanted - 1.0) <= _SIGMAS / np.sqrt(2 * every.size):
        return []
    wish = f"noise of a standard deviation of {wanted:.3g} in the mean"
    return [Violation("per_example", wish, f"{found:.3g}, of {every.size} numbers")]


def skipped(detector: Detector, settings: Mapping[str, Any]) -> list[Violation]:
    """Whether an update is left out whose gradients are not finite, and only if that is said.

    Raises:
        UnsaidError: that can't be told.
    """
    own_pass = [key for key in ("ascend", "per_example") if key in settings]
    if own_pass or detector.flow.scales:
        # Where gradients end is not known well enough: others may be asked whether they are finite.
        raise UnsaidError(f"with {own_pass[0] if own_pass else 'a loss scale'}")
    try:
        paths = detector.written_anyway()
    except NoValueError as why:
        raise UnsaidError(str(why)) from None
    said = settings.get("skip_nonfinite", False)
    if said != bool(paths):
        return []
    wish = f"{'no' if said else 'an'} update where an element of a gradient is NaN"
    told = f"changed all the same: {', '.join(paths)}" if said else "none is made"
    return [Violation("skip_nonfinite", wish, told)]
