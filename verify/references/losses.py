"""References of data losses: every form in which an expected loss may enter a step."""

from __future__ import annotations

import functools
import inspect
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl_shared import near_spellings
from verify.graphs import Spec
from verify.match import Pattern
from verify.references.tracing import MISFIT, pattern

# Keras' crossentropies look behind a softmax or sigmoid that made the prediction and continue from
# its logits, so that the reference must be traced behind such an activation too.
PREDICTION_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "": lambda z: z,
    "Softmax": keras.activations.softmax,
    "Sigmoid": keras.activations.sigmoid,
}

_MOST_KNOWN = 4096  # sets of patterns kept in memory
_MEANS = ("sum_over_batch_size", "mean")  # two names of Keras for one reduction


@functools.cache
def _function_loss(library: Any) -> type:
    """The Loss that one Keras makes of a plain function ``(y_true, y_pred) -> loss values``."""

    class FunctionLoss(library.losses.Loss):
        """A plain function under the default reduction."""

        def __init__(self, function: Callable[..., Any]) -> None:
            super().__init__(name="function_loss")  # that of a lambda is no name scope
            self.function = function

        def call(self, y_true: Any, y_pred: Any) -> Any:
            if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
                y_true = tf.expand_dims(y_true, -1) if len(y_true.shape) == 1 else y_true
            return self.function(y_true, y_pred)

    return FunctionLoss


class _Reduced:
    """A ``keras.losses.Loss`` whose values, by example, somebody reduces on their own."""

    def __init__(self, loss: Any, reduce: Callable[[Any], Any]) -> None:
        self.values, self.reduce = _with_reduction(loss, "none"), reduce
        self.dtype = loss.dtype

    def __call__(self, y_true: Any, y_pred: Any, *weights: Any) -> Any:
        return self.reduce(self.values(y_true, y_pred, *weights))


class _Uncast:
    """The mean of a Loss' own values, of labels as they are: a Loss casts them to its dtype."""

    def __init__(self, loss: Any) -> None:
        self.loss, self.dtype = loss, loss.dtype

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(self.loss.call(y_true, y_pred))


def loss_forms(loss: Any, labels: str = "float32") -> list[Callable[..., Any]]:
    """The ways in which an expected loss may enter a step, as ``f(y_true, y_pred[, weight])``.

    `labels` is the dtype of the target. A ``keras.losses.Loss`` is taken as it is, reduction
    included; its default, a mean, may also be taken by hand of the values that it has unreduced, or
    that its function has of integers as they are. A function, or a Loss that is not reduced, says
    nothing of its reduction: Keras' default, a plain mean or an average over replicas and, if a
    function returns a scalar, none are all accepted.
    """
    loss = loss_of(loss)
    if is_loss(loss):
        if not isinstance(loss, keras.losses.Loss):
            return [loss]
        if loss.reduction in _MEANS:
            uncast = [] if tf.as_dtype(labels).is_floating else [_Uncast(loss)]
            return [loss, _Reduced(loss, tf.reduce_mean), *uncast]
        if loss.reduction not in (None, "none"):
            return [loss]
        return [
            _with_reduction(loss, "sum_over_batch_size"),
            _Reduced(loss, tf.reduce_mean),
            _Reduced(loss, tf.nn.compute_average_loss),
        ]
    plain: Callable[..., Any] = loss

    def bare(y_true: Any, y_pred: Any) -> Any:
        value = tf.convert_to_tensor(plain(y_true, y_pred))
        if value.shape.rank:  # a tape would add them up, which is no mean
            raise ValueError("a function that makes a loss for each example is not one by itself")
        return value

    def mean(y_true: Any, y_pred: Any) -> Any:
        return tf.reduce_mean(plain(y_true, y_pred))

    # Keras 2 reduces in other ops than Keras 3; it is never imported for that.
    libraries = [keras, *(sys.modules[name] for name in ("tf_keras",) if name in sys.modules)]
    return [*(_function_loss(library)(plain) for library in libraries), mean, bare]


def loss_values(loss: Any, labels: str = "float32") -> list[Callable[..., Any]]:
    """Those of the ways of `loss_forms` in which a loss of Keras has other values."""
    first, *others = loss_forms(loss, labels)
    return [first, *(other for other in others if isinstance(other, _Uncast))]


def loss_of(said: Any) -> Any:
    """A Loss or a function: what was said, or what it is the name of in Keras.

    Raises:
        TypeError: no loss at all.
        ValueError: a name that Keras does not have.
    """
    if isinstance(said, str):
        try:
            return keras.losses.get(said)
        except ValueError:
            losses = (name for name, one in vars(keras.losses).items() if callable(one))
            near = near_spellings(said, set(losses) - {"get", "serialize", "deserialize"})
            told = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"Keras has no loss {said!r}{told}") from None
    if isinstance(said, type):
        raise TypeError(
            f"{said.__name__} is a class: an instance is needed, such as {said.__name__}()"
        )
    if not callable(said):
        raise TypeError(f"{said!r} is no loss: a Loss, a function or a name of Keras is needed")
    return said


def is_loss(loss: Any) -> bool:
    """Whether this is a Loss object, of Keras 3 or of Keras 2 (``tf_keras``)."""
    return isinstance(loss, keras.losses.Loss) or (
        callable(loss) and hasattr(loss, "reduction") and hasattr(loss, "get_config")
    )


def is_of_keras(loss: Any) -> bool:
    """Whether a loss is Keras' own, so that its name and settings say all of it."""
    made = loss_of(loss)
    if is_loss(made):
        return _settings(made) is not None
    return str(getattr(made, "__module__", "")).partition(".")[0] in ("keras", "tf_keras")


def loss_name(loss: Any) -> str:
    """What a person calls this loss: its class and settings that are not the default, or a name."""
    if isinstance(loss, str):
        return loss
    if not is_loss(loss):
        return str(getattr(loss, "__name__", loss))
    defaults = {k: one.default for k, one in inspect.signature(type(loss)).parameters.items()}
    usual = {"reduction": "sum_over_batch_size"} | defaults
    # A class of the user's own may keep what its config does not tell.
    own = {k: v for k, v in vars(loss).items() if isinstance(v, bool | int | float | str)}
    settings = [
        f"{key}={value!r}"
        for key, value in (own | settings_of(loss)).items()
        if key in usual and key not in ("name", "dtype") and value != usual[key]
    ]
    return f"{type(loss).__name__}({', '.join(settings)})" if settings else type(loss).__name__


def known_name(loss: Any) -> str:
    """What facts call a loss: one of Keras' own by its class, however it was given."""
    made = loss_of(loss)
    return loss_name(loss) if is_loss(made) else _classes().get(made, loss_name(loss))


@functools.cache
def _classes() -> dict[Any, str]:
    """By each of Keras' functions of losses, the class that is a mean of it."""
    made = (one() for one in vars(keras.losses).values() if _is_class(one))
    return {one.fn: type(one).__name__ for one in made if hasattr(one, "fn")}


def _is_class(one: Any) -> bool:
    return isinstance(one, type) and issubclass(one, keras.losses.Loss) and one != keras.losses.Loss


def other_reductions(loss: Any) -> list[Any]:
    """A loss of Keras as it is when it is reduced in another way; a function of it is a mean."""
    loss = loss_of(loss)
    if not is_loss(loss):
        return [_with_reduction(_function_loss(keras)(loss), "sum")]
    if not isinstance(loss, keras.losses.Loss):
        return []
    reductions = ("sum", "sum_over_batch_size")
    return [_with_reduction(loss, other) for other in reductions if loss.reduction != other]


def _with_reduction(loss: Any, reduction: str) -> Any:
    # Not copy.copy: Keras copies by config, and that of Huber lacks its delta.
    other = object.__new__(type(loss))
    vars(other).update(vars(loss), reduction=reduction)
    return other


class LossKey:
    """Makes any loss, hashable or not, a key.

    It equals that of the same object, and of losses of Keras' own classes with the same settings:
    their references are the same, so that they are traced once in a process.
    """

    def __init__(self, loss: Any) -> None:
        self.loss = loss
        self._identity = _settings(loss) or id(loss)

    def __hash__(self) -> int:
        return hash(self._identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LossKey) and self._identity == other._identity


def _settings(loss: Any) -> tuple[Any, ...] | None:
    """All that sets a loss of Keras' own apart from others of its class; None of any other loss."""
    kind = type(loss)
    if not isinstance(loss, keras.losses.Loss):
        return None
    if kind is not getattr(keras.losses, kind.__name__, None):
        return None
    found: list[Any] = [kind]
    for name, value in sorted(vars(loss).items()):
        named = value if isinstance(value, Mapping) else {"": value}
        for key, one in named.items():
            setting = one.name if isinstance(one, keras.DTypePolicy) else one
            plain = isinstance(setting, str | int | float | None)
            if not plain and not inspect.isfunction(setting):
                return None
            # 1, 1.0 and True are equal, and may be different settings.
            found.append((name, key, type(setting), setting))
    return tuple(found)


def settings_of(loss: Any) -> dict[str, Any]:
    """The arguments that a Loss was made with."""
    # Keras' config of Huber lacks its delta, which there is no public way to ask for. Private, and
    # tests/verify/find/test_every_loss.py notices if it moves.
    return {**loss.get_config(), **getattr(loss, "_fn_kwargs", {})}


def loss_patterns(
    loss: Any,
    y_true: Spec,
    y_pred: Spec,
    weight: Spec | None,
    ops: Collection[str],
    masked: bool = False,
    linear: bool = False,
) -> Iterator[Pattern]:
    """Patterns of the gradient of `loss` with respect to the prediction (or its logits).

    `ops`: the op types of the graph in which these are to be found. `masked`: of a prediction that
    carries a Keras mask, of its shape but for the last axis, which a Loss heeds by itself.
    `linear`: also where the gradient is the same for every prediction and target, so that structure
    by itself tells nothing.
    """
    loss_key = LossKey(loss)
    for op in PREDICTION_FORMS:
        if not op or op in ops:
            made = _loss_patterns(loss_key, y_true, y_pred, weight, op, masked)
            yield from (pattern for pattern, tells in made if tells or linear)


@functools.lru_cache(maxsize=_MOST_KNOWN)
def _loss_patterns(
    loss_key: LossKey, y_true: Spec, y_pred: Spec, weight: Spec | None, op: str, masked: bool
) -> list[tuple[Pattern, bool]]:
    """Each with whether it takes more than what the backward pass begins with."""
    found: list[tuple[Pattern, bool]] = []
    shape = y_pred[0] or ()
    if masked and not shape:
        return found
    for function in loss_forms(loss_key.loss, y_true[1]):
        for given in dict.fromkeys((None, weight)):
            specs: dict[str, Spec] = {"target": y_true, "prediction": y_pred}
            # A Loss computes in its own dtype, a function in that of the prediction.
            specs["upstream"] = ((), getattr(function, "dtype", y_pred[1]))
            if given is not None:
                specs["sample weight"] = given
            if masked:
                specs["mask"] = (shape[:-1], "bool")
            try:
                made = _loss_pattern(function, PREDICTION_FORMS[op], specs)
            except MISFIT:
                continue
            if made is not None:
                used = _used(made)
                if "upstream" in used and ("mask" in used) == masked:
                    found.append((made, not used.isdisjoint({"prediction", "target"})))
    return found


def _loss_pattern(
    function: Callable[..., Any], activation: Callable[[Any], Any], specs: Mapping[str, Spec]
) -> Pattern | None:
    """The gradient of one form of a loss by the prediction, before its activation; roles: specs."""

    def gradient(*arguments: Any) -> Any:
        given = dict(zip(specs, arguments, strict=True))
        weights = [given["sample weight"]] if "sample weight" in given else []
        with tf.GradientTape() as tape:
            tape.watch(given["prediction"])
            prediction = activation(given["prediction"])
            if "mask" in given:
                # Keras documents that a mask travels so, but has no public way to set one;
                # tests/verify/find/test_models.py notices if it moves.
                prediction._keras_mask = given["mask"]
            value = function(given["target"], prediction, *weights)
        result = tape.gradient(value, given["prediction"], output_gradients=given["upstream"])
        return result, activation(given["prediction"])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras' advice on logits is not for us
        return pattern(gradient, list(specs.values()), list(specs))


def _used(made: Pattern) -> set[str]:
    """The roles that the roots depend on: what a graph can tell of the pattern."""
    reached: set[int] = set()
    stack = [root[0] for root in made.roots]
    while stack:
        index = stack.pop()
        if index not in reached:
            reached.add(index)
            stack.extend(source for source, _ in made.flat.nodes[index].data)
    return {role for index, role in made.leaves.items() if index in reached}
