"""Sharpness-aware minimisation by hand in JAX, an epoch in one `lax.scan`: see `jax_scan`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

RADIUS, RATE, MOMENTUM = 0.05, 0.01, 0.9  # of the preset, and of the SGD it is measured with


def make(shuffled: bool) -> Callable[..., Any]:
    """An epoch: each gradient is taken uphill, and applied where the weights were.

    Args:
        shuffled: whether the rows are brought into another order first.
    """

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        *hidden, last = weights
        for layer in hidden:
            x = jax.nn.relu(x @ layer["kernel"] + layer["bias"])
        return jnp.mean((x @ last["kernel"] + last["bias"] - y) ** 2)

    def step(carry: Any, batch: Any) -> Any:
        weights, momenta = carry
        loss, gradients = jax.value_and_grad(loss_of)(weights, *batch)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradients)))
        uphill = jax.tree.map(lambda w, g: w + RADIUS / (norm + 1e-12) * g, weights, gradients)
        gradients = jax.grad(loss_of)(uphill, *batch)
        momenta = jax.tree.map(lambda m, g: MOMENTUM * m - RATE * g, momenta, gradients)
        weights = jax.tree.map(jnp.add, weights, momenta)
        return (weights, momenta), jnp.stack([loss])

    @jax.jit
    def epoch(weights: Any, momenta: Any, x: Any, y: Any, key: Any, delayed: Any) -> Any:
        if shuffled:
            order = jax.random.permutation(key, x.shape[0] * x.shape[1])
            x, y = (part.reshape(-1, part.shape[-1])[order].reshape(part.shape) for part in (x, y))
        (weights, momenta), rows = jax.lax.scan(step, (weights, momenta), (x, y))
        return weights, momenta, rows

    return epoch
