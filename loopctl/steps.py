"""Source -> functions: compiled under their own file name, bound to a model, ready to train."""

from __future__ import annotations

import itertools
import linecache
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl.errors import ConfigError
from loopctl.plan import ControlPlan
from loopctl.selection import metrics_of, select
from loopctl.source import main_step_source, substep_source
from loopctl.state import GraphState, count_samples

_serial = itertools.count()


class Steps:
    """The compiled steps of one plan on one model.

    `source` holds the texts by function name; `substeps` and `main` are ``tf.function``s of one
    argument `data`, for inspection and for training.
    """

    def __init__(self, plan: ControlPlan, model: keras.Model, state: GraphState) -> None:
        if not model.built or not model.trainable_variables:
            raise ConfigError(
                f"model {model.name!r} has no variables yet: build it (give it an Input, or call "
                "it on a batch) before its substeps can be compiled"
            )
        self.optimizer = model.optimizer
        self.compiled_loss = compiled_loss(model)
        selections = {s.name: select(s, model) for s in plan.substeps}
        _check_scaling(plan, model)
        # Subsets are applied later: the optimizer must know every variable from the start.
        self.optimizer.build(model.trainable_variables)
        strategy = model.distribute_strategy
        self.source: dict[str, str] = {}
        functions: dict[str, Callable[..., Any]] = {}
        for substep in plan.substeps:
            self.source[substep.name] = substep_source(
                substep,
                measures=plan.measures(substep),
                replicas=strategy.num_replicas_in_sync,
                training=_takes_training(model),
            )
            weights = selections[substep.name]
            namespace = {
                "weights": weights,
                "variables": [weight.value for weight in weights],
                "compiled_loss": self.compiled_loss,
                "own_loss": substep.loss,
                "floatx": keras.backend.floatx(),
                "unpack_x_y_sample_weight": keras.utils.unpack_x_y_sample_weight,
            }
            functions[substep.name] = _execute(self.source[substep.name], substep.name, namespace)
        self.source["main_step"] = main_step_source(plan)
        namespace = {
            **{name: types.MethodType(function, model) for name, function in functions.items()},
            "strategy": strategy,
            "epoch_means": state.means,
            "idle": tf.constant(float("nan")),
            "count_samples": count_samples,
            "as_numbers": _as_numbers,
            "metrics_of": metrics_of,
            "plan": plan,
        }
        main_step = _execute(self.source["main_step"], "main_step", namespace)
        self.plain_main = types.MethodType(main_step, model)
        # Bound methods keep the argument list of the graphs to `data` alone.
        self.main = tf.function(self.plain_main, autograph=False)
        self.substeps = {
            name: tf.function(types.MethodType(function, model), autograph=False)
            for name, function in functions.items()
        }


def compiled_loss(model: keras.Model) -> Any:
    """The loss given to ``model.compile``, without the regularisation of the layers.

    Private: the public ``compute_loss`` always adds ``model.losses``, which a config may have
    switched off. tests/loopctl/test_steps.py notices when it moves.
    """
    return model._compile_loss


def _check_scaling(plan: ControlPlan, model: keras.Model) -> None:
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        for substep in plan.substeps:
            if substep.clipping is not None:
                raise ConfigError(
                    f"{substep.place('clipping')} under a LossScaleOptimizer would clip scaled "
                    "gradients, which is not supported: compile with auto_scale_loss=False"
                )


def _takes_training(model: keras.Model) -> bool:
    """Whether ``model(x, training=True)`` is accepted: always for Sequential and functional."""
    code = getattr(model.call, "__code__", None)
    if code is None:
        return True
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return "training" in names or bool(code.co_flags & 0x08)  # 0x08: takes **kwargs


def _as_numbers(states: Mapping[str, Any]) -> dict[str, Any]:
    """Booleans as 0.0 and 1.0: Keras' progress bar takes means of what it shows."""
    return {name: tf.cast(state, tf.float32) for name, state in states.items()}


def _execute(source: str, name: str, namespace: Mapping[str, Any]) -> Callable[..., Any]:
    """Defines the function in `source`, so that tracebacks and debuggers can show its lines."""
    filename = f"<loopctl {name} {next(_serial)}>"
    lines = source.splitlines(keepends=True)
    linecache.cache[filename] = (len(source), None, lines, filename)
    scope: dict[str, Any] = {"tf": tf, **namespace}
    exec(compile(source, filename, "exec"), scope)
    function: Callable[..., Any] = scope[name]
    return function


def train_function(
    model: keras.Model, steps: Steps, record: Callable[[Mapping[str, Any], int], None]
) -> Callable[[Any], Mapping[str, Any]]:
    """What ``fit`` calls once per execution: runs it, records every step's values, returns logs.

    Args:
        record: takes the values by name, each of shape (steps,), and the number of steps.
    """
    one_step = _without_optionals(steps.plain_main)
    per_execution = int(model.steps_per_execution)
    if not model.run_eagerly:
        one_step = tf.function(
            one_step, reduce_retracing=True, jit_compile=model.jit_compile, autograph=False
        )

    def several(iterator: Any) -> tuple[Mapping[str, Any], Mapping[str, Any], Any]:
        return _in_graph(one_step, iterator, per_execution)

    if not model.run_eagerly:
        several = tf.function(several, reduce_retracing=True, autograph=False)

    def run(iterator: Any) -> Mapping[str, Any]:
        logs: Mapping[str, Any]
        if per_execution > 1 and isinstance(iterator, tf.data.Iterator):
            values, logs, count = several(iterator)
            record(values, int(count))
            return logs
        ran = False
        for data in _take(iterator, per_execution):
            values, logs = one_step(data)
            record({name: value[None] for name, value in values.items()}, 1)
            ran = True
        if not ran:
            raise StopIteration
        return logs

    return run


def _take(iterator: Any, count: int) -> Iterable[Any]:
    """At most `count` batches; the end of the data ends it quietly."""
    for _ in range(count):
        try:
            yield next(iterator)
        except (StopIteration, tf.errors.OutOfRangeError):
            return


def _in_graph(
    one_step: Callable[[Any], Any], iterator: Any, count: int
) -> tuple[Mapping[str, Any], Mapping[str, Any], Any]:
    """Up to `count` steps in one graph: stacked values, the last logs, the number of steps."""
    values, logs = one_step(iterator.get_next())
    stacks = {
        name: tf.TensorArray(value.dtype, count, element_shape=value.shape).write(0, value)
        for name, value in values.items()
    }
    nothing = tf.experimental.Optional.empty(iterator.element_spec)

    def upcoming(done: Any) -> Any:
        # The data of the next execution must not be drawn in this one.
        return tf.cond(done < count, iterator.get_next_as_optional, lambda: nothing)

    def body(done: Any, batch: Any, stacks: Any, logs: Any) -> Any:
        values, logs = one_step(batch.get_value())
        stacks = {name: stack.write(done, values[name]) for name, stack in stacks.items()}
        return done + 1, upcoming(done + 1), stacks, logs

    done, _, stacks, logs = tf.while_loop(
        lambda done, batch, stacks, logs: batch.has_value(),
        body,
        (tf.constant(1), upcoming(tf.constant(1)), stacks, logs),
    )
    return {name: stack.stack()[:done] for name, stack in stacks.items()}, logs, done


def _without_optionals(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Keras' data adapters mark a missing element of a batch by an Optional; models want None."""

    def wrapped(data: Any) -> Any:
        return step(
            keras.tree.map_structure(
                lambda part: None if isinstance(part, tf.experimental.Optional) else part, data
            )
        )

    return wrapped
