"""Chapter 6's recipe as a loop in plain TensorFlow, with nothing of Keras but the layers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.ways.run import COLUMNS, Run, assign
from inalu import recipe
from inalu.experiment import WINDOW
from inalu.layers.nalu import sparsity
from inalu.task import Batches

Update = Callable[[list[Any], list[Any]], None]  # of variables by gradients


class ByHand:
    """The same without Keras' `fit` and loopctl: a whole epoch in one call of a `tf.function`.

    Args:
        seed: of initial weights.
        keras_optimizer: apply Keras' RMSprop. Otherwise TensorFlow's kernel for the same equations,
            one op a variable, which is the fastest that we know.
        jit_compile: the steps under XLA, all in one program.
        delay: epochs before the regulariser.
        enough: the loss below which it is applied.
    """

    def __init__(
        self,
        seed: int,
        batches: Batches,
        epochs: int,
        *,
        keras_optimizer: bool = False,
        jit_compile: bool = False,
        delay: int = 10,
        enough: float = 1.0,
    ) -> None:
        self.seed, self.batches, self.most = seed, batches, epochs
        self.keras_optimizer, self.jit_compile = keras_optimizer, jit_compile
        self.delay, self.enough = delay, enough
        self.model: Any = None

    def _make(self) -> None:
        keras.utils.set_random_seed(self.seed)
        self.model = recipe.build_model(seed=self.seed)
        self.gates = [layer.g for layer in self.model.layers]
        gates = {id(v) for v in self.gates}
        self.weights = [v for v in self.model.trainable_variables if id(v) not in gates]
        update, slots = (_keras if self.keras_optimizer else _kernel)(self.weights + self.gates)
        self.update: Update = update
        self.last = tf.Variable(np.nan, dtype=keras.config.floatx())
        self.fresh = [*slots, self.last]  # what begins anew with new weights
        self.variables = [*self.model.variables, *self.fresh]
        self.initial = [np.asarray(v) for v in self.variables]
        self.steps = tf.function(self._steps, jit_compile=self.jit_compile, autograph=False)
        self.epoch = tf.function(lambda done: self.steps(*self.batches.arrays(), done))

    def train(self) -> Run:
        start = time.perf_counter()
        if self.model is None:
            self._make()
        assign(self.variables, self.initial)
        seconds, rows, begun, converged = [], [], 0, False
        for epoch in range(self.most):
            began = time.perf_counter()
            self.batches.on_epoch_begin(epoch)
            rows.append(self.epoch(tf.constant(epoch - begun)).numpy())
            recent = np.concatenate([row[:, 0] for row in rows[begun:]])
            mean = np.mean(recent[-WINDOW:], dtype=np.float64)
            converged = bool(mean < 1e-10)
            if len(recent) > 10_000 and mean > 0.2:
                begun = epoch + 1
                recipe.reinitialise_fn(self.model)
                assign(self.fresh, self.initial[-len(self.fresh) :])
            seconds.append(time.perf_counter() - began)
            if converged:
                break
        return Run(
            time.perf_counter() - start,
            seconds,
            [bool(row[-1, -1]) for row in rows],
            dict(zip(COLUMNS, np.concatenate(rows).T, strict=True)),
            begun > 0,
            converged,
        )

    def _steps(self, x: Any, y: Any, done: Any) -> Any:
        """All steps of an epoch, `done` epochs after weights were drawn: (steps, columns)."""
        steps, dtype = x.shape[0], self.last.dtype

        def step(i: Any, error: Any, rows: Any) -> Any:
            opened = (done * steps + i) % 10 < 8
            delayed = (done >= self.delay) & (self.last.read_value() < self.enough)

            def train(variables: list[Any]) -> Any:
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    for variable in variables:
                        tape.watch(variable.value)
                    wrong = self.model(x[i], training=True) - tf.cast(y[i], dtype)
                    loss = tf.reduce_mean(tf.square(wrong))
                gradients = tape.gradient(loss, [v.value for v in variables])
                self.update(variables, [tf.clip_by_value(g, -0.1, 0.1) for g in gradients])
                return loss, tf.reduce_mean(tf.abs(wrong))

            loss, absolute = tf.cond(opened, lambda: train(self.weights), lambda: train(self.gates))
            regularisation = tf.cond(delayed, self._regularize, lambda: tf.constant(np.nan, dtype))
            self.last.assign(loss)
            error += absolute
            states = [tf.cast(state, dtype) for state in (opened, delayed)]
            row = [loss, error / tf.cast(i + 1, dtype), regularisation, *states]
            return i + 1, error, rows.write(i, tf.stack(row))

        rows = tf.TensorArray(dtype, steps, element_shape=(len(COLUMNS),))
        begin = (tf.constant(0), tf.constant(0.0, dtype), rows)
        *_, rows = tf.while_loop(lambda i, *_: i < steps, step, begin, parallel_iterations=1)
        return rows.stack()

    def _regularize(self) -> Any:
        variables = self.weights + self.gates
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable.value)
            terms = [
                sparsity((layer.w_a, layer.m_a, layer.w_m, layer.m_m, layer.g))
                for layer in self.model.layers
            ]
            loss = tf.add_n(terms)
        self.update(variables, tape.gradient(loss, [v.value for v in variables]))
        return loss


def _keras(variables: list[Any]) -> tuple[Update, list[Any]]:
    """RMSprop as Keras has it, and its slots."""
    optimizer = keras.optimizers.RMSprop(0.01)
    optimizer.build(variables)
    return (lambda chosen, gradients: optimizer.apply(gradients, chosen)), optimizer.variables


def _kernel(variables: list[Any]) -> tuple[Update, list[Any]]:
    """RMSprop as TensorFlow has it, and its slots."""
    slots = {id(v): [tf.Variable(tf.zeros_like(v)) for _ in range(2)] for v in variables}

    def update(chosen: list[Any], gradients: list[Any]) -> None:
        for variable, gradient in zip(chosen, gradients, strict=True):
            squares, momentum = slots[id(variable)]
            # Keras' learning rate is a float32, also in double precision.
            constants = np.float32(0.01), 0.9, 0.0, 1e-7
            rate, rho, kept, epsilon = (tf.constant(c, gradient.dtype) for c in constants)
            tf.raw_ops.ResourceApplyRMSProp(
                var=variable.value.handle,
                ms=squares.handle,
                mom=momentum.handle,
                lr=rate,
                rho=rho,
                momentum=kept,
                epsilon=epsilon,
                grad=gradient,
            )

    return update, list(itertools.chain.from_iterable(slots.values()))
