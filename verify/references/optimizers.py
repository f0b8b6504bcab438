"""The update that an optimizer makes, by tracing the very object, and what it is called."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
from collections.abc import Mapping, Sequence, Set
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from verify.graphs import FlatGraph, flatten, key_of, numbers_of
from verify.references.schedules import Schedule, told_rate, why_unrated
from verify.references.tracing import MISFIT
from verify.references.users_code import Untraced, running

# What an optimizer is made of, that has settings of its own.
_WITHIN = (keras.optimizers.Optimizer, Schedule)
_CLIPS = {"clipvalue": None, "clipnorm": None, "global_clipnorm": None}


@dataclasses.dataclass(frozen=True)
class OptimizerStep:
    """What an optimizer does with gradients, the arguments, of `variables`.

    `arguments`: of each gradient, its own; of one that consists of rows these, their numbers, and
    the shape of the table. `numbers`: what scalar variables hold, by key; `owner` keeps all of them
    alive.
    """

    flat: FlatGraph
    variables: tuple[int | str, ...]
    arguments: tuple[tuple[int, ...], ...]
    numbers: Mapping[int | str, float]
    owner: Any = dataclasses.field(repr=False)


def variables_of(optimizer: Any) -> Mapping[int | str, Any]:
    """The variables that an optimizer was built for, by key.

    Private: an optimizer does not tell otherwise. tests/verify/references/test_optimizers.py
    notices if it moves.
    """
    return {key_of(variable): variable for variable in optimizer._trainable_variables}


def counter_of(optimizer: Any) -> int | str:
    """The key of the variable that an optimizer counts its calls in.

    ``iterations`` is that variable, or what is made of it where gradients of several calls are
    added up. Private then; tests/verify/references/test_optimizers.py notices if it moves.
    """
    counter = optimizer.iterations
    if not isinstance(counter, keras.Variable):
        counter = getattr(optimizer, "inner_optimizer", optimizer)._iterations
    return key_of(counter)


def optimizer_step(
    optimizer: Any, variables: Sequence[Any], tables: Set[int | str] = frozenset()
) -> OptimizerStep | None:
    """What an optimizer does with gradients of some of its variables.

    It does not clip them: that is told by itself. Nothing is written: it is traced only. None where
    it does not take them.

    Args:
        tables: keys of variables whose gradients consist of rows. Keras' optimizers do not add up
            those of one row before they square them, so that its gradient as a whole would lead
            elsewhere. One that takes no rows is given whole gradients.
    """
    in_rows = [key_of(variable) in tables for variable in variables]
    specs = [_spec(*one) for one in zip(variables, in_rows, strict=True)]
    made = _traced(optimizer, variables, specs)
    return optimizer_step(optimizer, variables) if made is None and any(in_rows) else made


def _spec(variable: Any, in_rows: bool) -> tf.TypeSpec:
    shape, dtype = tuple(variable.shape), tf.as_dtype(variable.dtype)
    if not in_rows:
        return tf.TensorSpec(shape, dtype)
    return tf.IndexedSlicesSpec(shape, dtype, tf.int32, tf.int32)


def _traced(
    optimizer: Any, variables: Sequence[Any], specs: Sequence[tf.TypeSpec]
) -> OptimizerStep | None:
    plain = _without_clip(optimizer)

    def apply(*gradients: Any) -> None:
        # Above replicas, Keras does not add up gradients of theirs: that is done by a custom
        # gradient, and TensorFlow keeps every graph for good that it has made one for.
        tf.distribute.get_replica_context().merge_call(
            lambda _, *own: plain.apply(list(own), list(variables)), args=gradients
        )

    try:
        concrete = tf.function(apply, autograph=False).get_concrete_function(*specs)
    except MISFIT:
        return None
    keys = tuple(key_of(variable) for variable in variables)
    flat, owner = flatten(concrete), (concrete, variables, plain)
    parts = iter(flat.arguments)
    sizes = (len(tf.nest.flatten(spec, expand_composites=True)) for spec in specs)
    arguments = tuple(tuple(itertools.islice(parts, size)) for size in sizes)
    return OptimizerStep(flat, keys, arguments, numbers_of(concrete.graph.variables), owner)


def accumulators(optimizer: Any) -> tuple[int, frozenset[int | str]]:
    """Of how many gradients an optimizer applies the mean, and the keys of what it adds them up in.

    Private: nothing else says which of its variables these are.
    tests/verify/references/test_optimizers.py notices if it moves.
    """
    steps = optimizer.gradient_accumulation_steps
    if not steps:
        return 1, frozenset()
    # One that is not built has added nothing up yet.
    sums = (one for one in getattr(optimizer, "_accumulated_gradients", ()) if one is not None)
    return int(steps), frozenset(key_of(one) for one in sums)


def stand_in(
    optimizer: Any,
    paths: Sequence[str],
    shapes: Sequence[Any],
    dtype: str = "float32",
    in_rows: bool = False,
) -> OptimizerStep | None:
    """What an optimizer with the same settings does, on variables of its own."""
    variables = []
    for path, shape in zip(paths, shapes, strict=True):
        *scopes, name = path.split("/")
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(keras.name_scope(scope))
            variables.append(keras.Variable(np.zeros(shape), dtype=dtype, name=name))
    try:
        made = another(optimizer)
    except Untraced:
        return None
    made.build(variables)
    return optimizer_step(made, variables, {key_of(v) for v in variables if in_rows})


def another(optimizer: Any, **settings: Any) -> Any:
    """An optimizer of the same class and settings, but for these.

    Raises:
        Untraced: it is a user's own, whose config does not tell how to make another.
    """
    with running():
        return type(optimizer).from_config(_config(optimizer) | settings)


def _without_clip(optimizer: Any) -> Any:
    """The same optimizer, of the same variables, but that it clips nothing."""
    return _as_it_is(optimizer, **_CLIPS)


def _as_it_is(optimizer: Any, **others: Any) -> Any:
    """The same optimizer, of the same variables, with other attributes.

    `copy.copy` of Keras' objects saves and loads them: it makes new variables.
    """
    plain = object.__new__(type(optimizer))
    vars(plain).update(vars(optimizer), **others)
    return plain


# -- what it is called -----------------------------------------------------------------------------


def optimizer_settings(optimizer: Any) -> dict[str, Any]:
    """The settings of an optimizer, the learning rate first; its clips are told by themselves.

    A learning rate is the number that holds now, or the settings of a schedule.
    """
    config = _own(optimizer) | _config(optimizer)
    settings = {"learning_rate": told_rate(config.pop("learning_rate", None))}
    others = {k: v for k, v in config.items() if k != "name" and k not in _CLIPS}
    return settings | others


def _config(optimizer: Any) -> dict[str, Any]:
    """The config of an optimizer; a function that makes its rate is in it as that function.

    Private: Keras serialises such a function, which has to be registered, and to have a config.
    tests/verify/references/test_optimizers.py notices if it moves.
    """
    rate = _rate_function(optimizer)
    if rate is None:
        return dict(optimizer.get_config())
    return dict(_as_it_is(optimizer, _learning_rate=None).get_config()) | {"learning_rate": rate}


def _rate_function(optimizer: Any) -> Any:
    rate = getattr(optimizer, "_learning_rate", None)
    return rate if callable(rate) else None


def why_untold(optimizer: Any) -> str:
    """Why the rate of an optimizer can't be told: what the function that makes it raised."""
    return why_unrated(_rate_function(optimizer))


def schedule_of(optimizer: Any) -> Schedule | None:
    """The schedule that makes the learning rate of an optimizer, if one does."""
    rate = _rate_function(optimizer)
    return rate if isinstance(rate, Schedule) else None


def _own(optimizer: Any) -> dict[str, Any]:
    """What an optimizer of the user's own is set to, whatever its config tells."""
    if type(optimizer).__module__.startswith("keras."):
        return {}
    usual = vars(keras.optimizers.SGD())
    own = vars(optimizer).items()
    return {k: v for k, v in own if k not in usual and k[0] != "_" and _is_plain(v)}


def optimizer_state(optimizer: Any) -> tuple[Any, ...]:
    """What an optimizer is and is set to at the moment: equal if it updates as it did.

    It is known by its variables; attributes are settings that its config may not tell. Where its
    rate is somebody's function, nobody knows: no state equals another then.
    """
    keys = tuple(key_of(variable) for variable in optimizer.variables)
    if any(callable(v) and not isinstance(v, _WITHIN) for v in vars(optimizer).values()):
        return (object(),)
    return type(optimizer), repr(optimizer_settings(optimizer)), keys, _attributes(optimizer)


def _attributes(thing: Any) -> tuple[Any, ...]:
    return tuple(
        (name, _attributes(value) if isinstance(value, _WITHIN) else repr(value))
        for name, value in vars(thing).items()
        if isinstance(value, _WITHIN) or _is_plain(value)
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_is_plain, (*value.keys(), *value.values())))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def optimizer_name(optimizer: Any) -> str:
    """What an optimizer is called, with its learning rate and the settings that are not usual."""
    usual = {  # of all optimizers, and of this one
        **inspect.signature(keras.optimizers.SGD).parameters,
        **inspect.signature(type(optimizer)).parameters,
    }
    told = ", ".join(
        f"{name}={_told(value)}"
        for name, value in optimizer_settings(optimizer).items()
        if name == "learning_rate" or name not in usual or value != usual[name].default
    )
    return f"{type(optimizer).__name__}({told})"


def other_settings(a: Any, b: Any) -> tuple[tuple[str, str, str], ...]:
    """The settings in which two optimizers of one class differ: name, one's and the other's."""
    ours, theirs = optimizer_settings(a), optimizer_settings(b)
    return tuple(
        (name, _told(ours.get(name)), _told(theirs.get(name)))
        for name in dict.fromkeys((*theirs, *ours))
        if not _same(ours.get(name), theirs.get(name))
    )


def _told(value: Any) -> str:
    if isinstance(value, Mapping) and "class_name" in value:
        settings = {k: v for k, v in value.get("config", {}).items() if k != "name"}
        told = ", ".join(f"{k}={_told(v)}" for k, v in settings.items())
        return f"{value['class_name']}({told})"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def same_settings(a: Any, b: Any) -> bool:
    """Whether two optimizers are of one class, and have the same settings but for clips."""
    return type(a) is type(b) and not other_settings(a, b)


def decays(optimizer: Any, variable: Any) -> bool:
    """Whether an optimizer does not spare a variable from its weight decay, if it has one.

    Private: which variables are spared is no setting, and `exclude_from_weight_decay` keeps them to
    itself. tests/verify/references/test_optimizers.py notices if it moves.
    """
    return bool(optimizer._use_weight_decay(variable))


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(k == "name" or _same(a[k], b[k]) for k in a)
    if isinstance(a, float) and isinstance(b, int | float):
        return bool(np.isclose(a, b, rtol=1e-6, atol=0))
    return bool(a == b)


def schedule_name(schedule: Any) -> str:
    """What a schedule is called, with its settings."""
    return _told(told_rate(schedule))


def has_schedule(optimizer: Any, schedule: Any) -> bool:
    """Whether the learning rate of an optimizer is a schedule like this one."""
    rate = _rate_function(optimizer)
    return rate is not None and _same(told_rate(rate), told_rate(schedule))
