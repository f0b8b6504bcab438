"""Recipes of `ci/bench control` and `presets` in JAX alone: an epoch is one `lax.scan`.

Run as `jax_scan.py DATA.npz` by `benchmarks.ways.in_jax`, with the Python of its own environment,
it answers each line of its input by a line: ``check`` by the losses of an epoch from the first
weights, and ``epoch`` by the seconds of one more.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import jax_sharpness
import numpy as np

Weights = list[dict[str, Any]]  # by layer and name


def dense(layer: dict[str, Any], x: Any) -> Any:
    return jnp.tanh(x @ layer["kernel"] + layer["bias"])


def nalu(layer: dict[str, Any], x: Any) -> Any:
    added = jnp.tanh(layer["w_a"]) * jax.nn.sigmoid(layer["m_a"])
    multiplied = jnp.tanh(layer["w_m"]) * jax.nn.sigmoid(layer["m_m"])
    exponent = jnp.log(jnp.maximum(jnp.abs(x), 1e-7)) @ multiplied
    strength = jnp.abs(multiplied)
    signs = jnp.sign(x)[:, :, None] * strength + (1.0 - strength)
    product = jnp.exp(jnp.minimum(exponent, 20.0)) * jnp.prod(signs, axis=1)
    gate = jax.nn.sigmoid(layer["g"])
    return gate * (x @ added) + (1.0 - gate) * product


def sparsity(weights: Weights) -> Any:
    terms = [
        jnp.mean(jnp.maximum(jnp.minimum(-value, value) + 20.0, 0.0)) / 20.0
        for layer in weights
        for value in layer.values()
    ]
    return sum(terms[1:], terms[0])


def make(
    layer: Callable[..., Any], gated: str, regularized: bool, shuffled: bool
) -> Callable[..., Any]:
    """An epoch: eight steps for all variables but those of name `gated`, then two for these.

    Args:
        regularized: whether a regulariser may follow, as in chapter 6.
        shuffled: whether the rows are brought into another order first.
    """

    def losses(weights: Weights, x: Any, y: Any) -> tuple[Any, Any]:
        for one in weights:
            x = layer(one, x)
        return jnp.mean((x - y) ** 2), jnp.mean(jnp.abs(x - y))

    def apply(weights: Weights, slots: Weights, gradients: Weights) -> tuple[Weights, Weights]:
        """RMSprop as Keras has it, of what there is a gradient for."""
        new, kept = [], []
        for one, slot, gradient in zip(weights, slots, gradients, strict=True):
            moved = {n: 0.9 * slot[n] + 0.1 * jnp.square(g) for n, g in gradient.items()}
            steps = {n: 0.01 * g / jnp.sqrt(moved[n] + 1e-7) for n, g in gradient.items()}
            new.append({n: v - steps[n] if n in steps else v for n, v in one.items()})
            kept.append({**slot, **moved})
        return new, kept

    def substep(weights: Weights, slots: Weights, x: Any, y: Any, gates: bool) -> Any:
        chosen = [{n: v for n, v in one.items() if (n == gated) is gates} for one in weights]

        def of_chosen(part: Weights) -> tuple[Any, Any]:
            return losses([{**a, **b} for a, b in zip(weights, part, strict=True)], x, y)

        (loss, error), gradients = jax.value_and_grad(of_chosen, has_aux=True)(chosen)
        gradients = jax.tree.map(lambda g: jnp.clip(g, -0.1, 0.1), gradients)
        return *apply(weights, slots, gradients), loss, error

    def regularize(weights: Weights, slots: Weights) -> Any:
        value, gradients = jax.value_and_grad(sparsity)(weights)
        return *apply(weights, slots, gradients), value

    def step(carry: Any, batch: Any) -> Any:
        weights, slots, done, before, errors, delayed = carry
        x, y = batch
        opened = done % 10 < 8
        weights, slots, loss, error = jax.lax.cond(
            opened,
            lambda: substep(weights, slots, x, y, gates=False),
            lambda: substep(weights, slots, x, y, gates=True),
        )
        errors = errors + error
        row = [loss, errors / (done + 1), opened.astype(jnp.float32)]
        if regularized:
            late = delayed & (before < 1.0)
            weights, slots, value = jax.lax.cond(
                late, lambda: regularize(weights, slots), lambda: (weights, slots, jnp.nan)
            )
            row += [value, late.astype(jnp.float32)]
        return (weights, slots, done + 1, loss, errors, delayed), jnp.stack(row)

    @jax.jit
    def epoch(weights: Weights, slots: Weights, x: Any, y: Any, key: Any, delayed: Any) -> Any:
        if shuffled:
            order = jax.random.permutation(key, x.shape[0] * x.shape[1])
            x, y = (part.reshape(-1, part.shape[-1])[order].reshape(part.shape) for part in (x, y))
        start = (weights, slots, 0, jnp.float32(jnp.nan), 0.0, delayed)
        (weights, slots, *_), rows = jax.lax.scan(step, start, (x, y))
        return weights, slots, rows

    return epoch


def main() -> None:
    data = dict(np.load(sys.argv[1]))
    layers = 1 + max(int(name.split("/")[1]) for name in data if name.startswith("weight/"))
    first: Weights = [{} for _ in range(layers)]
    for name, value in data.items():
        if name.startswith("weight/"):
            _, place, short = name.split("/")
            first[int(place)][short] = jnp.asarray(value)
    made = {
        "alternation": functools.partial(make, dense, "bias", False),
        "iNALU": functools.partial(make, nalu, "g", True),
        "sharpness-aware": jax_sharpness.make,
    }[str(data["recipe"])]
    epochs = {kind: made(kind) for kind in {False, bool(data["shuffled"])}}
    x, y = jnp.asarray(data["x"]), jnp.asarray(data["y"])
    state = first, jax.tree.map(jnp.zeros_like, first)
    off = jnp.asarray(False)
    for turn, line in enumerate(sys.stdin):
        if line.strip() == "check":
            rows = epochs[False](*state, x, y, jax.random.key(0), off)[2]
            print(json.dumps(np.asarray(rows[:, 0], float).tolist()), flush=True)
            continue
        began = time.perf_counter()
        *new, rows = epochs[bool(data["shuffled"])](*state, x, y, jax.random.key(turn), off)
        np.asarray(rows)  # as the history has it
        print(time.perf_counter() - began, flush=True)
        state = new[0], new[1]


main()
