"""Unification of a traced reference: exact where it matters, indifferent where it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from verify.flatten import flatten
from verify.match import Match, Matcher, Miss
from verify.reference import pattern

SPEC = ((3,), "float32")


def unify(expected: Callable[..., Any], there: Callable[..., Any]) -> Match | Miss:
    """The reference `expected`, with wildcards for both arguments, against the graph of `there`."""
    reference = pattern(expected, [SPEC, SPEC], ["first", "second"])
    assert reference is not None
    spec = tf.TensorSpec((3,))
    flat = flatten(tf.function(there).get_concrete_function(spec, spec))
    return Matcher(flat).unify(reference, reference.roots[0], flat.outputs[0], {})


@pytest.mark.parametrize(
    "there",
    [
        lambda a, b: 2.0 * (a - b) ** 2,
        lambda a, b: (a - b) ** 2 * 2.0,
        lambda a, b: tf.identity((a - b) ** 2) * (1.0 + tf.cast(tf.size(a), "float32") - 2.0),
        lambda a, b: 2.0 * (b - a) ** 2,
    ],
    ids=["as is", "swapped", "identity and folded constant", "roles exchanged"],
)
def test_the_same_computation(there: Callable[..., Any]) -> None:
    assert isinstance(unify(lambda a, b: 2.0 * (a - b) ** 2, there), Match)


@pytest.mark.parametrize(
    ("there", "difference"),
    [
        (lambda a, b: 3.0 * (a - b) ** 2, "3, expected 2"),
        (lambda a, b: 2.0 * (a + b) ** 2, "AddV2, expected Sub"),
        (lambda a, b: 2.0 * (a - b) ** 3, "3, expected 2"),
    ],
)
def test_the_first_difference_is_told(there: Callable[..., Any], difference: str) -> None:
    result = unify(lambda a, b: 2.0 * tf.pow(a - b, 2.0), there)
    assert isinstance(result, Miss)
    assert result.difference == difference


def test_a_wildcard_stands_for_one_tensor() -> None:
    result = unify(lambda a, b: a * (a - b), lambda a, b: (a + 1.0) * (a - b))
    assert isinstance(result, Miss)
    assert isinstance(
        unify(lambda a, b: a * (a - b), lambda a, b: tf.exp(a) * (tf.exp(a) - b)), Miss
    )


def test_attributes_count() -> None:
    there = unify(
        lambda a, b: tf.reduce_sum(a - b, keepdims=False),
        lambda a, b: tf.reduce_sum(a - b, keepdims=True),
    )
    assert isinstance(there, Miss)
