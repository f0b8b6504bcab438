"""The second oracle: a plain eager training loop that takes a config at its word.

Shares no code with loopctl or verify. It computes what a config means with nothing but a tape and
an optimizer, so that a bug in generated source or graphs can't hide here too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from tests.oracle.examples import mean_of_clipped
from tests.oracle.groups import Scaled, Split
from tests.oracle.scaling import scale_of


@dataclasses.dataclass
class Context:
    """What conditions see as `self`."""

    model: keras.Model
    epochs: int = 0
    batches: int = 0
    batches_in_epochs: int = 0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    skipped: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def reinit_history(self) -> list[dict[str, Any]]:
        return self.history

    @property
    def reinit_epochs(self) -> int:
        return self.epochs

    @property
    def reinit_batches(self) -> int:
        return self.batches


def train(
    model: keras.Model,
    config: Mapping[str, Any],
    batches: Iterable[Any],
    epochs: int = 1,
) -> list[dict[str, Any]]:
    """Trains `model` in place and returns one mapping of losses and control states per step."""
    context = Context(model)
    model.optimizer.build(model.trainable_variables)
    branches = [
        (name, action.get(state, {})) for name, action in config.items() for state in (1, 0)
    ]
    skips = {name for name, branch in branches if branch.get("skip_nonfinite")}
    context.skipped = {f"skipped_{name}": 0 for name in skips}
    own = {
        (name, state): made(action[state]["optimizer"])
        for name, action in config.items()
        for state in (True, False)
        if "optimizer" in action.get(state, {})
    }
    sums: dict[tuple[str, bool], Sums] = {(n, s): Sums() for n in config for s in (True, False)}
    averages: dict[tuple[str, bool], list[Any]] = {}
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        own = {
            key: Scaled(one) if isinstance(one, Split) else keras.optimizers.LossScaleOptimizer(one)
            for key, one in own.items()
        }
    for _ in range(epochs):
        context.batches_in_epochs = 0
        for batch in batches:
            states = {name: bool(action["cond"](context)) for name, action in config.items()}
            losses = {f"loss_{name}": float("nan") for name in config}
            parts: dict[str, float] = {}
            for name, state in states.items():
                settings = config[name].get(state)
                for _ in range(0 if settings is None else settings.get("repeat", 1)):
                    optimizer = own.get((name, state), model.optimizer)
                    losses[f"loss_{name}"], named, updated, sound = substep(
                        context, settings, batch, optimizer, sums[name, state]
                    )
                    if not sound:
                        context.skipped[f"skipped_{name}"] += 1
                    if "average" in settings and updated:
                        average(context, settings, averages.setdefault((name, state), []))
                    parts |= {f"{name}_{part}": value for part, value in named.items()}
            ran = [name for name, state in states.items() if config[name].get(state) is not None]
            first = losses[f"loss_{ran[0]}"] if ran else float("nan")
            context.history.append({"loss": first, **losses, **parts, **context.skipped, **states})
            context.batches += 1
            context.batches_in_epochs += 1
        context.epochs += 1
    # As `fit` ends: an optimizer that averages weights puts the averages in their place.
    model.optimizer.finalize_variable_values(model.trainable_variables)
    for (name, state), values in averages.items():
        for variable, value in zip(selected(model, config[name][state]), values, strict=False):
            variable.assign(value)
    return context.history


def made(given: Any) -> Any:
    """An optimizer, or several by globs."""
    if isinstance(given, Mapping) and "class_name" not in given:
        return Split({glob: keras.optimizers.get(one) for glob, one in given.items()})
    return keras.optimizers.get(given)


class Sums:
    """Gradients of train steps that wait for an update."""

    def __init__(self) -> None:
        self.waiting: list[list[Any]] = []

    def mean(self, gradients: list[Any], steps: int) -> list[Any] | None:
        """The mean over `steps` steps when there are as many, else None."""
        self.waiting.append(gradients)
        if len(self.waiting) < steps:
            return None
        means = [tf.add_n(parts) / steps for parts in zip(*self.waiting, strict=True)]
        self.waiting = []
        return means


def substep(
    context: Context,
    settings: Mapping[str, Any],
    batch: Any,
    optimizer: keras.optimizers.Optimizer,
    sums: Sums,
) -> tuple[float, dict[str, float], bool, bool]:
    """One forward and backward pass as one branch of a config says.

    Returns:
        Its loss, the named parts of that, whether it has come to an update, and whether none was
        left out because of gradients that are not finite.
    """
    model = context.model
    variables = selected(model, settings)
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    scales = isinstance(optimizer, keras.optimizers.LossScaleOptimizer | Scaled)
    scale = scale_of(optimizer)
    total, parts, found = slopes(context, settings, batch, variables, scale)
    if "per_example" in settings:

        def gradients_of(said: Mapping[str, Any], some: Any) -> list[Any]:
            return slopes(context, said, some, variables, scale)[2]

        bound = number(context, settings["per_example"]["clip"])
        found = mean_of_clipped(gradients_of, settings, batch, bound)
    if "ascend" in settings:
        chosen = [(g, v) for g, v in zip(found, variables, strict=True) if g is not None]
        offsets = climbs(context, settings["ascend"], chosen)
        kept = [variable.numpy() for _, variable in chosen]
        for (_, variable), offset in zip(chosen, offsets, strict=True):
            variable.assign_add(offset)
        _, _, found = slopes(context, settings, batch, variables, scale)
        for (_, variable), value in zip(chosen, kept, strict=True):
            variable.assign(value)
    pairs = [(g, v) for g, v in zip(found, variables, strict=True) if g is not None]
    reached = [variable for _, variable in pairs]
    means = sums.mean([g for g, _ in pairs], settings.get("accumulate", 1))
    pairs = [] if means is None else list(zip(means, reached, strict=True))
    scale = scale_of(optimizer)
    sound = finite(pairs)
    if pairs and sound:
        if "gradients" in settings:
            treated = settings["gradients"]([g for g, _ in pairs], reached)
            pairs = list(zip(treated, reached, strict=True))
        if "clipping" in settings:
            pairs = clip(settings["clipping"], pairs)
    sound = (sound and finite(pairs)) or not settings.get("skip_nonfinite", False)
    if not sound and not scales:
        pairs = []
    pairs = [(g * scale, v) for g, v in pairs]
    if pairs:  # gradients that have overflown are the loss scale's to skip
        apply(context, optimizer, pairs, settings.get("learning_rate"))
    updated = sound and (bool(pairs) or settings.get("accumulate", 1) == 1)
    return float(total), {name: float(part) for name, part in parts.items()}, updated, sound


def slopes(
    context: Context, settings: Mapping[str, Any], batch: Any, variables: list[Any], scale: float
) -> tuple[Any, Mapping[str, Any], list[Any]]:
    """The loss, its named parts, and the gradients; None where a variable has none."""
    model = context.model
    with tf.GradientTape() as tape, inferring(model, settings.get("inference", False)):
        total, parts = forward(context, settings, batch)
        for term in penalties(settings.get("regularize", False), model):
            total = total + term
        scaled = total * scale
    found = tape.gradient(scaled, [v.value for v in variables])
    gradients = [None if g is None else tf.convert_to_tensor(g) / scale for g in found]
    return total, parts, gradients


def climbs(context: Context, ascend: Any, pairs: list[tuple[Any, Any]]) -> list[Any]:
    """Where to take gradients: so far uphill, or where a function of these says."""
    gradients, variables = [g for g, _ in pairs], [v for _, v in pairs]
    if callable(ascend) and ascend.__code__.co_argcount == 2:
        return list(ascend(gradients, variables))
    size = sum(float(tf.reduce_sum(g * g)) for g in gradients) ** 0.5
    return [g * (number(context, ascend) / (size + 1e-12)) for g in gradients]


def finite(pairs: list[tuple[Any, Any]]) -> bool:
    return all(bool(tf.reduce_all(tf.math.is_finite(gradient))) for gradient, _ in pairs)


def apply(context: Context, optimizer: Any, pairs: list[tuple[Any, Any]], rates: Any) -> None:
    """One update, at rates of a branch's own: one after another, as if each were the only one."""
    if isinstance(optimizer, Scaled):
        apply(context, optimizer.groups, optimizer.unscaled(pairs), rates)
        return
    if isinstance(optimizer, Split):
        for part, own in optimizer.parts(pairs):
            apply(context, part, own, rates)
        return
    if rates is None:
        optimizer.apply_gradients(pairs)
        return
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    kept, counted = float(inner.learning_rate), int(inner.iterations)
    groups: dict[float, list[Any]] = {}
    for gradient, variable in pairs:
        if isinstance(rates, Mapping):
            factors = [f for glob, f in rates.items() if fnmatch.fnmatchcase(variable.path, glob)]
            rate = kept * number(context, factors[0]) if factors else kept
        elif isinstance(rates, keras.optimizers.schedules.LearningRateSchedule):
            rate = float(rates(counted))
        else:
            rate = number(context, rates)
        groups.setdefault(rate, []).append((gradient, variable))
    for rate, group in groups.items():
        inner.iterations.assign(counted)
        inner.learning_rate = rate
        optimizer.apply_gradients(group)
    inner.learning_rate = kept


def number(context: Context, value: Any) -> float:
    """A number, or what a function makes of the state of training: of `when`, its own."""
    value = getattr(value, "at", value)
    return float(value(context) if callable(value) else value)


def forward(
    context: Context, settings: Mapping[str, Any], batch: Any
) -> tuple[Any, Mapping[str, Any]]:
    """The loss of a batch without the terms of layers, and its named parts."""
    model, weights = context.model, settings.get("loss_weights", 1.0)
    if "objective" in settings:
        found = settings["objective"](model, batch)
        found = found[0] if isinstance(found, tuple) else found
        if isinstance(found, Mapping):
            parts = {name: tf.cast(part, keras.config.floatx()) for name, part in found.items()}
            by_name = weights if isinstance(weights, Mapping) else dict.fromkeys(parts, weights)
            counted = [
                part * number(context, by_name.get(name, 1.0)) for name, part in parts.items()
            ]
            return sum(counted), parts
        return tf.cast(found, keras.config.floatx()) * number(context, weights), {}
    x, y, *sample_weights = (tf.convert_to_tensor(part) for part in batch)
    training = settings.get("inference") is not True
    prediction = tf.cast(model(x, training=training), keras.config.floatx())
    if "loss" not in settings and type(model).compute_loss is not keras.Model.compute_loss:
        # What the layers add counts by "regularize" alone.
        return model.compute_loss(x, y, prediction, *sample_weights) - sum(model.losses), {}
    loss = data_loss(settings.get("loss", model.loss), y, prediction, *sample_weights)
    return loss * number(context, weights), {}


def average(context: Context, settings: Mapping[str, Any], values: list[Any]) -> None:
    """Moves the averages of what a branch trains, in `values` or in the weights of `into`."""
    how, model = settings["average"], context.model
    decay = how["decay"] if "start" not in how or how["start"](context) else 0.0
    if "into" in how:
        layers = {layer.name: layer for layer in model.layers}
        target = layers[how["into"]]
        followed = layers[how["of"]].weights if "of" in how else selected(model, settings)
        for slow, fast in zip(target.weights, followed, strict=True):
            slow.assign(decay * slow.numpy() + (1 - decay) * fast.numpy())
        return
    fresh = [variable.numpy() for variable in selected(model, settings)]
    old = values or fresh
    values[:] = [decay * a + (1 - decay) * b for a, b in zip(old, fresh, strict=True)]


def selected(model: keras.Model, settings: Mapping[str, Any]) -> list[Any]:
    """The variables that a branch trains."""
    variables = list(model.trainable_variables)
    if "variables" in settings:
        return choose(settings["variables"], model)
    if "excluded_variables" in settings:
        excluded = {variable.path for variable in choose(settings["excluded_variables"], model)}
        return [variable for variable in variables if variable.path not in excluded]
    return variables


@contextlib.contextmanager
def inferring(model: keras.Model, names: Any) -> Iterator[None]:
    """Some layers, or all, with training=False as they are called."""
    names = [names] if isinstance(names, str) else names
    held = [] if names is False else [x for x in model.layers if names is True or x.name in names]
    held = [layer for layer in held if "training" in inspect.signature(layer.call).parameters]
    for layer in held:
        object.__setattr__(layer, "call", _fixed(layer.call))
    yield
    for layer in held:
        object.__delattr__(layer, "call")


def _fixed(call: Any) -> Any:
    def fixed(*args: Any, **options: Any) -> Any:
        return call(*args, **{**options, "training": False})

    return fixed


def choose(selection: Any, model: keras.Model) -> list[Any]:
    """Variables by a function of the model or by globs over their paths."""
    if callable(selection):
        return list(selection(model))
    globs = [selection] if isinstance(selection, str) else selection
    return [
        variable
        for variable in model.trainable_variables
        if any(fnmatch.fnmatchcase(variable.path, glob) for glob in globs)
    ]


def penalties(regularize: Any, model: keras.Model) -> list[Any]:
    """The losses of all layers, of none or of some, chosen by a function or by name."""
    if regularize is True:
        return list(model.losses)
    if regularize is False:
        return []
    if callable(regularize):
        layers = list(regularize(model))
    else:
        names = [regularize] if isinstance(regularize, str) else regularize
        layers = [layer for layer in model.layers if layer.name in names]
    return [term for layer in layers for term in layer.losses]


def clip(how: Any, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Clips by value, by the norm of each gradient or by that of all of them."""
    if not isinstance(how, Mapping):
        low, high = how
        return [(tf.minimum(tf.maximum(g, low), high), v) for g, v in pairs]
    ((kind, limit),) = how.items()
    squares = [float(tf.reduce_sum(g * g)) for g, _ in pairs]
    if kind == "global_norm":
        squares = [sum(squares)] * len(pairs)
    return [
        (g * min(1.0, limit / max(square, 1e-30) ** 0.5), v)
        for (g, v), square in zip(pairs, squares, strict=True)
    ]


def data_loss(loss: Any, y: Any, prediction: Any, weight: Any = None) -> Any:
    """The mean, over all samples, of a loss: weighted per sample, zero for None and False.

    A list or dict holds the loss of the one output that there is.
    """
    if isinstance(loss, Mapping):
        (loss,) = loss.values()
    elif isinstance(loss, list | tuple):
        loss = loss[0]
    if loss is None or loss is False:
        return tf.constant(0.0)
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if isinstance(loss, keras.losses.Loss):
        return loss(y, prediction, weight)
    values = loss(y, prediction)
    if weight is not None:
        values = values * weight
    return tf.reduce_mean(values)
