"""The data loss of a substep: a branch's own, as ``Model.compile`` reads it, or the model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl.compile.objectives import has_call
from loopctl.compile.weighed_losses import weighed_loss
from loopctl.config import ConfigError, ControlPlan, Substep, losses_in, map_losses
from loopctl_shared import warn_user

MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")  # reductions
DataLoss = Callable[..., Any]


def _as_tensor(kind: Any) -> Any:
    """Objects of a class with a `value` are tensors to TensorFlow, and hence to Keras."""

    def tensor(weight: Any, dtype: Any = None, **_: Any) -> Any:
        return tf.cast(tf.convert_to_tensor(weight.value), dtype or keras.backend.floatx())

    tf.register_tensor_conversion_function(kind, tensor)
    return kind


@_as_tensor
class Weight:
    """What a loss of Keras is multiplied with: scalar, another one in each call."""

    value: Any = 1.0


class BranchLoss:
    """The loss of a branch: Keras' own reading of losses, outputs, targets and weights of outputs.

    Which loss goes with which output and target, Keras decides in a class that is not public. A
    model without layers gives it by public names: it is compiled, and asked for its loss.

    Args:
        loss, weights: as ``Model.compile`` takes them.
        names: of the model's outputs, if it has any.
        places: instead of `weights`, arranged alike: which of the weights that are given when the
            loss is called; None for 1.
    """

    def __init__(
        self, loss: Any, weights: Any = None, names: Any = None, places: Any = None
    ) -> None:
        self.weights: dict[int, Weight] = {}
        if places is not None:
            self.weights = {i: Weight() for i in keras.tree.flatten(places) if i is not None}
            weights = keras.tree.map_structure(lambda i: self.weights.get(i, 1.0), places)
        self.carrier = keras.Model(name="branch_loss")
        if names:
            self.carrier.output_names = names
        options = {"optimizer": None, "jit_compile": False}
        self.carrier.compile(loss=loss, loss_weights=weights, **options)

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None, weights: Any = ()
    ) -> Any:
        for place, weight in self.weights.items():
            weight.value = weights[place] if weights else 1.0
        return self.carrier.compute_loss(None, y_true, y_pred, sample_weight)


def compiled_loss(model: keras.Model) -> Any:
    """The loss given to ``model.compile``, without the regularisation of the layers.

    Private: the public ``compute_loss`` always adds ``model.losses``, which a config may have
    switched off. tests/loopctl/compile/test_data_losses.py notices when it moves.
    """
    return model._compile_loss


def computed_loss(model: Any, *arguments: Any, **options: Any) -> Any:
    """The loss of a model's own ``compute_loss``, without what its layers add.

    Which is the business of "regularize": while the loss is computed, ``model.losses`` is empty.
    """
    kind = type(model)
    bare = type(kind.__name__, (kind,), {"losses": property(lambda self: [])})
    object.__setattr__(model, "__class__", bare)
    try:
        return model.compute_loss(*arguments, **options)
    finally:
        object.__setattr__(model, "__class__", kind)


def computes_loss(model: keras.Model) -> bool:
    """Whether a model has a ``compute_loss`` of its own."""
    return getattr(model.compute_loss, "__func__", None) is not keras.Model.compute_loss


def check_losses(plan: ControlPlan, model: keras.Model) -> None:
    """Whether every substep has a loss, and none takes the place of a model's own train step.

    Raises:
        ConfigError: naming the branch, or the model.
    """
    if getattr(model.train_step, "__func__", None) is not keras.Model.train_step:
        raise ConfigError(
            f"model {model.name!r} has its own train_step, which a config would "
            'replace: write what it does as the "objective" of a branch, a function (model, data) '
            '-> loss, or of several with "variables" each, or move it into compute_loss, which a '
            "config keeps"
        )
    for substep in plan.substeps:
        if substep.objective is None and not has_call(model):
            raise ConfigError(
                f'{substep.place()} has no "objective", and model {model.name!r} can\'t be called, '
                'since its class has no call: say with an "objective" which of its layers to call'
            )
    if compiled_loss(model) is not None or computes_loss(model):
        return
    for substep in plan.substeps:
        if substep.compiled and not substep.regularize:
            raise ConfigError(
                f'{substep.place()} has no "loss", and model {model.name!r} was compiled without '
                'one: give a loss to compile or to the branch, or write "regularize": True if it '
                "is to be trained on what its layers add"
            )


def branch_loss(substep: Substep, model: keras.Model) -> DataLoss | None:
    """The loss of `substep`'s own, ready to be called; None if it has none.

    Raises:
        ConfigError: it does not fit the model's outputs, as far as these are known.
    """
    if substep.objective is not None:
        return None
    weights = places = None
    if substep.loss_weights is not None:
        where = substep.place("loss_weights")
        given, places = weighed_loss(substep.loss_weights, substep, model)
    elif substep.compiled or substep.loss is None:
        return None
    else:
        where, given = substep.place("loss"), substep.loss
        weights = output_weights(model, given, where)
    names = getattr(model, "output_names", None)
    prepared = map_losses(_named, given)
    several = model.distribute_strategy.num_replicas_in_sync > 1
    if several:
        prepared = map_losses(_per_sample, prepared)
    loss = BranchLoss(prepared, weights, names, places)
    stands = map_losses(_stand_in, prepared)
    trial = loss if several else BranchLoss(stands, weights, names, places)
    _check_structure(trial, given, model, where)
    map_losses(_end_trial, prepared)

    def located(y_true: Any, y_pred: Any, sample_weight: Any = None, weights: Any = ()) -> Any:
        try:
            return loss(y_true, y_pred, sample_weight, weights)
        except (KeyError, ValueError) as error:
            if not any(map(keras.tree.is_nested, (given, y_true, y_pred))):
                raise  # a single loss of one output is the user's or Keras' own matter
            raise ConfigError(
                f"{where} can't be computed from the targets {_shown(y_true)} and the predictions "
                f"{_shown(y_pred)}: {_first_line(error)}"
            ) from error

    return located


def output_weights(model: keras.Model, loss: Any, where: str) -> Any:
    """The weights of outputs that `model` was compiled with, arranged as `loss` is.

    They belong to the outputs, whatever loss a branch has for these.

    Raises:
        ConfigError: a loss needs a weight of its own for each output, or is not for all of them.
    """
    compiled = compiled_loss(model)
    # Private: ``get_compile_config`` has the values of variables, not the variables.
    # tests/loopctl/compile/test_data_losses.py notices when it moves.
    weights = None if compiled is None else compiled._user_loss_weights
    if weights is None:
        return None
    names = list(getattr(model, "output_names", None) or [])
    named = isinstance(weights, Mapping) and weights.keys() == set(names)
    flat = [weights[name] for name in names] if named else keras.tree.flatten(weights)
    if isinstance(loss, Mapping):
        by_name = weights if isinstance(weights, Mapping) else dict(zip(names, flat, strict=False))
        return {key: by_name.get(key, 1.0) for key in loss}
    if isinstance(loss, list | tuple):
        if len(flat) == len(loss):
            return type(loss)(flat)
        raise ConfigError(
            f"{where} is a list of {len(loss)}, but model {model.name!r} was compiled with weights "
            f"for {len(flat)} outputs: give a loss, or None, for each"
        )
    if any(weight is not flat[0] and _number(weight) != _number(flat[0]) for weight in flat):
        raise ConfigError(
            f"{where} is one loss for {len(flat)} outputs, for which model {model.name!r} has "
            f"weights {weights!r}: give one loss for each"
        )
    return flat[:1]


def _number(weight: Any) -> Any:
    return float(weight) if isinstance(weight, int | float) else weight.path


def _check_structure(trial: BranchLoss, loss: Any, model: keras.Model, where: str) -> None:
    """Whether Keras finds an output for each loss, where the model tells what outputs it has.

    Tried with losses that stand for the real ones, on targets in each form that Keras accepts.
    Among replicas it is the loss itself that is tried: it has to make the variables of its metrics
    outside of a replica.
    """
    outputs = model.output if hasattr(model, "output") else getattr(model, "outputs", None)
    if outputs is None:
        return
    if isinstance(model, keras.Sequential) and not hasattr(model, "output"):
        outputs = outputs[0]
    y_pred = keras.tree.map_structure(lambda _: tf.zeros((1, 1)), outputs)
    names, flat = getattr(model, "output_names", None), keras.tree.flatten(y_pred)
    forms = [y_pred, flat, *([dict(zip(names, flat, strict=True))] if names else [])]
    errors: list[Exception] = []
    for y_true in forms:
        try:
            with model.distribute_strategy.scope(), keras.StatelessScope():
                trial(y_true, y_pred)
            break
        except (KeyError, TypeError, ValueError) as error:
            errors.append(error)
    else:
        shown = f"{type(outputs).__name__} of " if keras.tree.is_nested(outputs) else ""
        raise ConfigError(
            f"{where} does not fit model {model.name!r}, whose output is "
            f"{shown}{', '.join(map(repr, names or [])) or 'one tensor'}: {_first_line(errors[0])}"
        ) from errors[0]
    several = isinstance(loss, list | tuple) and len(losses_in(loss)) > 1
    if several and not keras.tree.is_nested(outputs):
        warn_user(
            f"{where} has {len(losses_in(loss))} losses for the single output of model "
            f"{model.name!r}: as after compile, only the first one is used"
        )


def _stand_in(loss: Any) -> Any:
    return keras.losses.mean_squared_error


def _named(loss: Any) -> Any:
    """`loss`, under a name that TensorFlow accepts: that of a function becomes one of a scope.

    The losses that a model was compiled with may be names. Which crossentropy is meant by that
    alone, Keras can tell by shapes only.
    """
    if isinstance(loss, str):
        return loss if loss.lower() in ("crossentropy", "ce") else keras.losses.get(loss)
    name = getattr(loss, "__name__", "")
    if isinstance(loss, keras.losses.Loss) or name.isascii():
        return loss

    def own(y_true: Any, y_pred: Any) -> Any:
        return loss(y_true, y_pred)

    return own


class _PerSample:
    """A function that may give one number for a batch, as that number for each sample.

    Among replicas it counts once then: Keras divides what it has per sample alone. On `trial` it
    takes any targets and predictions.
    """

    name = "own_loss"

    def __init__(self, function: Callable[[Any, Any], Any], reduction: str = MEANS[0]) -> None:
        self.function, self.reduction, self.trial = function, reduction, True

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        if self.trial:
            return keras.losses.mean_squared_error(y_true, y_pred)
        values = tf.convert_to_tensor(self.function(y_true, y_pred))
        if values.shape.rank != 0 or self.reduction not in MEANS:
            return values
        return tf.repeat(values, tf.shape(keras.tree.flatten(y_pred)[0])[0])


class _LossPerSample(keras.losses.Loss):
    """The same of a Keras loss."""

    def __init__(self, loss: keras.losses.Loss) -> None:
        super().__init__(name=loss.name, reduction=loss.reduction, dtype=loss.dtype)
        self.call = _PerSample(loss.call, loss.reduction)


def _per_sample(loss: Any) -> Any:
    if isinstance(loss, str):
        return loss
    if not isinstance(loss, keras.losses.Loss):
        return _PerSample(loss)
    # One that is called otherwise reduces by itself.
    return _LossPerSample(loss) if type(loss).__call__ is keras.losses.Loss.__call__ else loss


def _end_trial(loss: Any) -> None:
    function = loss.call if isinstance(loss, _LossPerSample) else loss
    if isinstance(function, _PerSample):
        function.trial = False


def _shown(parts: Any) -> str:
    shapes = keras.tree.map_structure(lambda part: str(tuple(part.shape)), parts)
    return str(shapes).replace("'", "")


def _first_line(error: Exception) -> str:
    return str(error.args[0] if error.args else error).splitlines()[0]
