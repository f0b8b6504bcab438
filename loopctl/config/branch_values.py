"""Values in a branch of a config -> values of a `Substep`, each by its own rule."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from loopctl.config.errors import ConfigError, closest
from loopctl.config.losses import losses_in
from loopctl.config.plan import Clipping, Selector
from loopctl.config.predicates import Condition, Number

NORMS = ("norm", "global_norm")


def function(value: Any, where: str) -> Callable[..., Any]:
    if not callable(value):
        raise ConfigError(f"{where} is {value!r}: a callable is needed")
    found: Callable[..., Any] = value
    return found


def graph_predicate(value: Any, where: str) -> Condition:
    if isinstance(value, Condition):
        return value
    if isinstance(value, Number):
        raise ConfigError(
            f"{where} is {value!r}, a number: compare it with something, as in {value < 1!r}"
        )
    raise ConfigError(
        f"{where} is {value!r}: a graph predicate such as when.every(100) is needed, which is "
        "evaluated after each step; a Python function can be called after each execution, with "
        '"when": "batch_end"'
    )


def flag(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where} is {value!r}: True or False is needed")
    return value


def count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{where} is {value!r}: a whole number of at least 1 is needed")
    return value


def selector(value: Any, where: str) -> Selector:
    """A function of the model, or globs over ``variable.path``."""
    if callable(value):
        chosen: Selector = value
        return chosen
    globs = [value] if isinstance(value, str) else value
    fits = isinstance(globs, list | tuple) and all(isinstance(glob, str) for glob in globs)
    if not fits or not globs:
        raise ConfigError(
            f"{where} is {value!r}: a function of the model, a glob such as '*/kernel' or a list "
            "of globs is needed"
        )
    return tuple(globs)


def layers(value: Any, where: str) -> bool | Selector:
    """All layers, none, or those that globs over ``layer.name`` or a function choose."""
    if isinstance(value, bool):
        return value
    try:
        return selector(value, where)
    except ConfigError:
        raise ConfigError(
            f"{where} is {value!r}: True, False, a list of layers' names or globs, or a function "
            "of the model that returns layers is needed"
        ) from None


def optimizer(value: Any, where: str) -> Any:
    """An optimizer, or a function that makes one: in the scope of a strategy, later known."""
    if isinstance(value, type):
        raise ConfigError(
            f"{where} is the class {value.__name__}: an instance is needed, e.g. {value.__name__}()"
        )
    try:
        found = keras.optimizers.get(value)
    except ValueError:
        names = [name for name in dir(keras.optimizers) if name[0].isupper()]
        raise ConfigError(
            f"{where} is {value!r}, which is not a Keras optimizer.{closest(value, names)}"
        ) from None
    return found if found is value else functools.partial(keras.optimizers.get, value)


def loss(value: Any, where: str) -> Any:
    """One loss, or lists, tuples and dicts of losses and None; None alone for zero."""
    if value is None or value is False:
        return None
    if isinstance(value, Mapping):
        found: Any = {key: loss(one, f"{where}[{key!r}]") for key, one in value.items()}
    elif isinstance(value, list | tuple):
        found = [loss(one, f"{where}[{i}]") for i, one in enumerate(value)]
        found = tuple(found) if isinstance(value, tuple) else found
    else:
        return _single_loss(value, where)
    if not losses_in(found):
        raise ConfigError(f"{where} has no loss for any output: use None for zero data loss")
    return found


def _single_loss(value: Any, where: str) -> Callable[..., Any]:
    if isinstance(value, str):
        try:
            value = keras.losses.get(value)
        except ValueError:
            names = [name for name in dir(keras.losses) if not name.startswith("_")]
            raise ConfigError(
                f"{where} is {value!r}, which is not the name of a Keras "
                f"loss.{closest(value, names)}"
            ) from None
    if isinstance(value, type):
        raise ConfigError(
            f"{where} is the class {value.__name__}: an instance is needed, e.g. {value.__name__}()"
        )
    if callable(value):
        found: Callable[..., Any] = value
        return found
    raise ConfigError(
        f"{where} is {value!r}: a keras.losses.Loss, a function (y_true, y_pred), a Keras loss's "
        "name, a list or dict of these (one per output), or None/False for zero data loss is needed"
    )


def clipping(value: Any, where: str) -> Clipping:
    if isinstance(value, Mapping):
        return _norm(value, where)
    if not isinstance(value, tuple | list) or len(value) != 2:
        meant = ""
        if isinstance(value, int | float) and _is_number(value) and value > 0:
            meant = f'. Did you mean {{"norm": {value}}} or (-{value}, {value})?'
        raise ConfigError(
            f"{where} is {value!r}: a pair (lo, hi), e.g. (-0.1, 0.1), "
            f'{{"norm": n}} or {{"global_norm": n}} is needed{meant}'
        )
    for bound in value:
        if not _is_number(bound):
            raise ConfigError(f"{where} is {value!r}: both bounds must be finite numbers")
    lower, upper = float(value[0]), float(value[1])
    if lower >= upper:
        hint = f" Did you mean ({value[1]!r}, {value[0]!r})?" if lower > upper else ""
        raise ConfigError(
            f"{where} is {value!r}: the lower bound must be below the upper one.{hint}"
        )
    return Clipping("value", lower, upper)


def ascent(value: Any, where: str) -> float | Number | Callable[..., Any]:
    """The radius of an ascent, or a function of gradients and variables that returns offsets."""
    if isinstance(value, Number) or callable(value):
        chosen: Number | Callable[..., Any] = value
        return chosen
    if not _is_number(value) or value <= 0:
        raise ConfigError(
            f"{where} is {value!r}: a positive radius, such as 0.05, a value of `when`, or a "
            "function (gradients, variables) -> offsets is needed"
        )
    return float(value)


def _norm(value: Mapping[Any, Any], where: str) -> Clipping:
    unknown = [key for key in value if key not in NORMS]
    if unknown:
        raise ConfigError(
            f"{where} has the unknown key {unknown[0]!r}: allowed are 'norm' and "
            f"'global_norm'.{closest(unknown[0], NORMS)}"
        )
    if len(value) != 1:
        raise ConfigError(f'{where} is {value!r}: one of "norm" and "global_norm" is needed')
    ((kind, bound),) = value.items()
    if not _is_number(bound) or bound <= 0:
        raise ConfigError(f'{where}["{kind}"] is {bound!r}: a positive number is needed')
    return Clipping(kind, 0.0, float(bound))


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)
