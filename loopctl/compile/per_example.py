"""Gradients of single examples: clipped one by one, added up, with noise (DP-SGD)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from loopctl.compile.data_losses import MEANS, compiled_loss, computes_loss
from loopctl.config import ConfigError, ControlPlan, losses_in


def check_examples(plan: ControlPlan, model: keras.Model) -> None:
    """Whether the losses of branches whose gradients are taken per example are means of these.

    Raises:
        ConfigError: naming the branch.
    """
    several = model.distribute_strategy.num_replicas_in_sync > 1
    for substep in plan.substeps:
        if substep.per_example is None:
            continue
        where = f'{substep.place()} has "per_example"'
        computes = substep.compiled and computes_loss(model)
        if substep.compiled and compiled_loss(model) is None and not computes:
            raise ConfigError(
                f"{where}, but there is no loss of an example: model {model.name!r} was compiled "
                "without one, and losses that layers add do not belong to an example"
            )
        losses = [] if computes else losses_in(model.loss if substep.compiled else substep.loss)
        for loss in losses:
            reduction = getattr(loss, "reduction", MEANS[0])
            if reduction not in MEANS[:2]:
                raise ConfigError(
                    f"{where} and the loss {loss.name!r} with reduction {reduction!r}: the mean "
                    f"over the examples is taken of their gradients, {MEANS[0]!r} is needed"
                )
        if several and (computes or any(map(_reduces_by_itself, losses))):
            raise ConfigError(
                f"{where} and a loss with its own reduction, for which it is not "
                "known how it depends on the number of replicas: give one whose `call` returns a "
                "value for each sample"
            )


def _reduces_by_itself(loss: Any) -> bool:
    is_loss = isinstance(loss, keras.losses.Loss)
    return is_loss and type(loss).__call__ is not keras.losses.Loss.__call__


def clipped_sums(
    loss: Callable[[Any], Any],
    model: Any,
    data: Any,
    weights: list[Any],
    clip: Any,
    scale: Any = 1.0,
) -> list[Any]:
    """The sum, over the examples of a batch, of each example's gradient, clipped.

    Each example goes through the model in a batch of its own. No variable is written: metrics and
    moving statistics don't see these passes.

    Args:
        loss: computes a scalar from a batch, with the model's variables.
        data: the batch; each of its tensors has an axis of examples first.
        weights: by which gradients are taken; variables of the model.
        clip: norm of all gradients of an example together, scalar.
        scale: by which the loss is multiplied, scalar; gradients are free of it.

    Returns:
        One sum for each of `weights`, in at least float32; None if the loss does not depend on it.
    """
    flat = keras.tree.flatten(data)
    _check_parts(flat)
    parts = [tf.convert_to_tensor(part) for part in flat if part is not None]
    wide = tf.float64 if any(weight.dtype == "float64" for weight in weights) else tf.float32
    values = [tf.convert_to_tensor(weight) for weight in weights]
    known = {id(weight): value for weight, value in zip(weights, values, strict=True)}
    state = [(v, known.get(id(v), v.value)) for v in model.trainable_variables]
    # Of layers that draw random numbers, each example has a state of its own.
    drawing = [v for v in model.non_trainable_variables if _is_seed(v)]
    rows = tf.shape(parts[0])[0]
    seeds = [tf.cast(_draw(rows, v.value), v.dtype) for v in drawing]
    reached: list[int] = []

    def of_one(given: Any) -> Any:
        own, example = given
        tensors = iter([tf.expand_dims(part, 0) for part in example])
        batch = [None if part is None else next(tensors) for part in flat]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for value in values:
                tape.watch(value)
            mapping = [*state, *zip(drawing, own, strict=True)]
            with keras.StatelessScope(mapping, collect_losses=True) as scope:
                found = loss(keras.tree.pack_sequence_as(data, batch))
        _check_unmoved(model, scope)
        gradients = tape.gradient(found, values)
        reached[:] = [i for i, gradient in enumerate(gradients) if gradient is not None]
        return [found, *(tf.convert_to_tensor(gradients[i]) for i in reached)]

    _, *each = _mapped(of_one, (seeds, parts), rows)
    each = [tf.cast(gradients, wide) for gradients in each]
    factors = _factors(each, tf.cast(clip, wide), tf.cast(scale, wide))
    sums: list[Any] = [None] * len(weights)
    for place, gradients in zip(reached, each, strict=True):
        by_rows = tf.reshape(factors, [-1] + [1] * (gradients.shape.rank - 1))
        sums[place] = tf.reduce_sum(gradients * by_rows, axis=0)
    return sums


def _mapped(function: Callable[[Any], Any], given: Any, rows: Any) -> list[Any]:
    """The results of a function of one row, as rows; eagerly one by one, to be looked into."""
    if tf.executing_eagerly():
        each = [function(tf.nest.map_structure(lambda p, i=i: p[i], given)) for i in range(rows)]
        return [tf.stack(results) for results in zip(*each, strict=True)]
    specs = tf.nest.map_structure(lambda p: tf.TensorSpec(p.shape[1:], p.dtype), given)
    # Traced as functions, of which nothing stays in this graph if one can't be vectorised.
    one = tf.function(function, autograph=False).get_concrete_function(specs)
    reason = "on a CPU, its products of matrices in a batch may end the process"
    if not _ends_the_process(one):
        try:
            whole = tf.function(lambda: tf.vectorized_map(one, given)).get_concrete_function()
            vectorised: list[Any] = whole()
            return vectorised
        except (NotImplementedError, TypeError, ValueError) as error:
            reason = str(error).strip().splitlines()[-1]
    tf.get_logger().warning(
        "Gradients of examples are computed in a loop, which is slower: TensorFlow can't vectorise "
        "this model (%s)",
        reason,
    )
    outputs = one.structured_outputs
    signature = tf.nest.map_structure(lambda o: tf.TensorSpec(o.shape, o.dtype), outputs)
    in_loop: list[Any] = tf.map_fn(one, given, fn_output_signature=signature)
    return in_loop


def _ends_the_process(function: Any) -> bool:
    """Whether a function, vectorised, may have a product that oneDNN computes on a CPU.

    If one of its factors is the same for all examples, such as the kernel of a Dense layer on
    sequences, that writes where it must not (TensorFlow 2.21).
    """
    if tf.config.list_logical_devices("GPU"):
        return False
    definition = function.graph.as_graph_def()
    bodies = [definition.node, *(body.node_def for body in definition.library.function)]
    return any(node.op.startswith("BatchMatMul") for nodes in bodies for node in nodes)


def _factors(each: list[Any], clip: Any, scale: Any) -> Any:
    """What each row of gradients is multiplied by: free of `scale`, of a norm up to `clip`.

    NaN where anything in a row is not finite: in no variable is that to be hidden.
    """
    squares = [tf.reduce_sum(g * g, axis=list(range(1, g.shape.rank))) for g in each]
    norms = tf.sqrt(tf.add_n(squares)) / scale if squares else tf.zeros((0,), clip.dtype)
    factors = tf.math.divide_no_nan(clip, tf.maximum(norms, clip)) / scale
    return tf.where(tf.math.is_finite(norms), factors, tf.constant(float("nan"), clip.dtype))


def _is_seed(variable: Any) -> bool:
    """Whether a variable is the state of a ``keras.random.SeedGenerator``.

    tests/loopctl/compile/test_per_example.py notices when that gets another name.
    """
    named: bool = variable.name == "seed_generator_state"
    return named and tuple(variable.shape) == (2,)


def _draw(rows: Any, seed: Any) -> Any:
    """So many seeds, (rows, 2), as a seed says."""
    largest, shape = tf.int32.max, (rows, 2)
    return tf.random.stateless_uniform(shape, tf.cast(seed, tf.int64), 0, largest, tf.int32)


def _check_parts(parts: list[Any]) -> None:
    for part in parts:
        if isinstance(part, tf.RaggedTensor | tf.SparseTensor):
            raise ConfigError(
                f'"per_example" splits a batch of tensors, but a part of it is a '
                f"{type(part).__name__}: make it dense"
            )


def _check_unmoved(model: Any, scope: Any) -> None:
    """Whether a pass has left the state alone that layers keep of what they have seen."""
    for variable in model.non_trainable_variables:
        floating = tf.as_dtype(variable.dtype).is_floating
        if floating and scope.get_current_value(variable) is not None:
            raise ConfigError(
                f'"per_example" passes examples one by one, but a layer mixes them: '
                f"{variable.path} depends on the batch. Normalise each by itself, as "
                'LayerNormalization and GroupNormalization do, or name the layer in "inference"'
            )


def examples_in(data: Any) -> Any:
    """How many examples a batch has, of all replicas, scalar float32."""
    parts = [part for part in keras.tree.flatten(data) if part is not None]
    rows = tf.cast(tf.shape(parts[0])[0], tf.float32)
    context = tf.distribute.get_replica_context()
    return rows if context.num_replicas_in_sync == 1 else context.all_reduce("SUM", rows)


def means(sums: list[Any], examples: Any, weights: list[Any], scale: Any = 1.0) -> list[Any]:
    """Sums over so many examples as gradients of `weights`, with a loss scale multiplied in."""
    return [
        None
        if s is None
        else tf.cast(s * tf.cast(scale, s.dtype) / tf.cast(examples, s.dtype), weight.dtype)
        for s, weight in zip(sums, weights, strict=True)
    ]


def terms_of_weights(layers: list[Any]) -> list[Any]:
    """What the regularisers of weights add to a loss, as ``layer.losses`` has it after a pass.

    Raises:
        ConfigError: layers have added something else as well, which is of the batch.
    """
    found = []
    for layer in layers:
        terms = [v.regularizer(v) for v in layer.trainable_variables if v.regularizer is not None]
        if len(layer.losses) > len(terms):
            raise ConfigError(
                f'"per_example" can\'t clip what layers compute from a batch, but {layer.name!r} '
                "adds to the loss with add_loss or an activity_regularizer: choose layers in "
                '"regularize" '
                "that do not, or none"
            )
        found += terms
    return found


def added(gradients: list[Any], others: list[Any]) -> list[Any]:
    """Gradients by the same variables of two losses that are added."""
    return [
        a if b is None else tf.convert_to_tensor(b) if a is None else a + tf.convert_to_tensor(b)
        for a, b in zip(gradients, others, strict=True)
    ]


def called(text: str) -> list[Any]:
    """Which of these the text of substeps needs, in the order of definition."""
    found: list[Any] = [ConfigError, _is_seed, _draw, _check_parts, _check_unmoved]
    found += [_ends_the_process, _mapped, _factors, clipped_sums, examples_in, means]
    for name, thing in (("terms_of_weights", terms_of_weights), ("added", added)):
        found += [thing] if f" {name}(" in text else []
    return found + ([Noise] if " noise.add(" in text else [])


class Noise:
    """Normal noise, fresh in each step.

    Made in the scope of the model's strategy. Its seed is drawn from `random`, as Keras draws its
    own. Replicas draw numbers of their own, of so much less variance that their sum has it all;
    this holds whether or not they began with the same seed.
    """

    def __init__(self) -> None:
        self.state = tf.Variable(
            [random.getrandbits(62), 0],
            trainable=False,
            dtype=tf.int64,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
            name="noise",
        )

    def add(self, sums: list[Any], deviation: Any, parts: int = 1) -> list[Any]:
        """`sums` with noise, in a replica; those that are None stay so.

        Args:
            deviation: standard deviation of the noise in the whole sum, scalar.
            parts: the train steps whose sums are added up to the whole, in each replica.
        """
        context = tf.distribute.get_replica_context()
        split = float(parts * context.num_replicas_in_sync) ** 0.5
        replica = tf.cast(context.replica_id_in_sync_group, tf.int64)
        key, end = tf.unstack(self.state.assign_add([0, len(sums)]))
        found: list[Any] = []
        for place, one in enumerate(sums):
            if one is None:
                found.append(None)
                continue
            seed = tf.stack([key + replica, end - 1 - place])
            # What XLA chooses by itself on a CPU takes eight times as long.
            drawn = tf.random.stateless_normal(tf.shape(one), seed, dtype=one.dtype, alg="philox")
            found.append(one + drawn * tf.cast(deviation / split, one.dtype))
        return found
