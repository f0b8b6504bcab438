"""Unification of a traced reference: exact where it matters, indifferent where it does not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from verify.graphs import FlatGraph, flatten
from verify.match import Match, Matcher, Miss, Pattern, shown_apart
from verify.match.structure import same_value
from verify.references.tracing import pattern

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


def test_a_variable_stands_for_itself_alone() -> None:
    mine, other = tf.Variable([1.0, 2.0, 3.0]), tf.Variable([1.0, 2.0, 3.0])
    assert isinstance(unify(lambda a, b: a * mine - b, lambda a, b: a * mine - b), Match)
    for there in (lambda a, b: a * other - b, lambda a, b: a * tf.exp(b) - b):
        result = unify(lambda a, b: a * mine - b, there)
        assert isinstance(result, Miss)


def test_a_constant_may_be_written_twice() -> None:
    """As in a branch, whose gradient has copies of the constants of its forward pass."""
    two = tf.constant([2.0, 2.0, 2.0])

    def once(a: Any, b: Any) -> Any:
        shared = two + 0.0
        return tf.exp(a * shared) - b * shared

    assert isinstance(unify(once, lambda a, b: tf.exp(a * two) - b * tf.fill((3,), 2.0)), Match)
    assert isinstance(unify(once, lambda a, b: tf.exp(a * two) - b * tf.fill((3,), 3.0)), Miss)


# -- what a match and a miss tell -----------------------------------------------------------------


def reference(function: Callable[..., Any]) -> Pattern:
    made = pattern(function, [SPEC, SPEC], ["first", "second"])
    assert made is not None
    return made


def matcher(there: Callable[..., Any]) -> Matcher:
    spec = tf.TensorSpec((3,))
    return Matcher(flatten(tf.function(there, autograph=False).get_concrete_function(spec, spec)))


def index(flat: FlatGraph, op: str) -> int:
    (found,) = [node.index for node in flat.nodes if node.op == op]
    return found


def test_a_match_names_what_it_is_made_of() -> None:
    there = matcher(lambda a, b: tf.exp(a - tf.sin(b)))
    expected = reference(lambda a, b: tf.exp(a - b))
    found = there.unify(expected, expected.roots[0], there.flat.outputs[0], {})
    assert isinstance(found, Match)
    assert found.root == there.flat.outputs[0]
    sine = index(there.flat, "Sin")
    assert found.leaves == {"first": (there.flat.arguments[0], 0), "second": (sine, 0)}
    assert found.constants == {}
    assert found.nodes == {index(there.flat, "Exp"), index(there.flat, "Sub")}


def test_a_miss_tells_the_deepest_agreement() -> None:
    there = matcher(lambda a, b: tf.exp(tf.sin(tf.cos(a) - b)))
    expected = reference(lambda a, b: tf.exp(tf.sin(tf.tan(a) - b)))
    found = there.unify(expected, expected.roots[0], there.flat.outputs[0], {})
    assert isinstance(found, Miss)
    assert found.agreed == 3  # Exp, Sin, Sub
    assert found.difference == "Cos, expected Tan"
    assert found.at == there.flat.nodes[index(there.flat, "Cos")].id


def test_a_miss_at_the_root() -> None:
    there = matcher(lambda a, b: a - b)
    expected = reference(lambda a, b: a / b)
    found = there.unify(expected, expected.roots[0], there.flat.outputs[0], {})
    assert found == Miss(0, "Sub, expected RealDiv", there.flat.node(there.flat.outputs[0]).id)


def test_predicates_decide_what_a_wildcard_may_be() -> None:
    there = matcher(lambda a, b: tf.exp(a) - b)
    expected = reference(lambda a, b: a - b)
    root, target = expected.roots[0], there.flat.outputs[0]
    sees: list[Any] = []
    assert isinstance(
        there.unify(expected, root, target, {"first": lambda t: sees.append(t) or True}), Match
    )
    assert sees == [(index(there.flat, "Exp"), 0)]
    refused = there.unify(expected, root, target, {"second": lambda t: False})
    assert isinstance(refused, Miss)
    assert refused.difference == "not second"


def test_roles_that_are_bound_beforehand() -> None:
    there = matcher(lambda a, b: tf.exp(a) - b)
    expected = reference(lambda a, b: a - b)
    root, target = expected.roots[0], there.flat.outputs[0]
    right, wrong = (index(there.flat, "Exp"), 0), (there.flat.arguments[0], 0)
    assert isinstance(there.unify(expected, root, target, {}, {"first": right}), Match)
    miss = there.unify(expected, root, target, {}, {"first": wrong})
    assert isinstance(miss, Miss)
    assert miss.difference == "a second first"


def test_one_output_of_several() -> None:
    def part(i: int) -> Callable[..., Any]:
        return lambda a, b: tf.exp(tf.unstack(a)[i]) + tf.reduce_sum(b)

    assert isinstance(unify(part(1), part(1)), Match)
    miss = unify(part(1), part(2))
    assert isinstance(miss, Miss)
    assert miss.difference == "output 2, expected output 1"


def test_another_number_of_inputs() -> None:
    miss = unify(lambda a, b: tf.stack([a, b, b]), lambda a, b: tf.stack([a, b]))
    assert isinstance(miss, Miss)
    assert miss.difference in ("Pack of 2 inputs", "Pack with another N")


def test_a_value_used_twice_is_one_value() -> None:
    def there(a: Any, b: Any) -> Any:
        return (tf.exp(a) - b) * tf.sin(tf.exp(a) - b)

    def expected(a: Any, b: Any) -> Any:
        difference = tf.exp(a) - b
        return difference * tf.sin(difference)

    miss = unify(expected, there)
    assert isinstance(miss, Miss)
    assert miss.difference == "another tensor than before"
    assert isinstance(unify(expected, expected), Match)


def test_what_a_failed_order_bound_is_forgotten() -> None:
    """Of a sum the first order fails late, after it has bound both wildcards."""
    expected = reference(lambda a, b: tf.exp(a) * b + tf.exp(b))
    there = matcher(lambda a, b: tf.exp(b) + tf.exp(a) * b)
    found = there.unify(expected, expected.roots[0], there.flat.outputs[0], {})
    assert isinstance(found, Match)
    arguments = there.flat.arguments
    assert found.leaves == {"first": (arguments[0], 0), "second": (arguments[1], 0)}


def test_free_constants_are_read_off() -> None:
    plain = reference(lambda a, b: 7.0 * a + 7.0 * b)
    sevens = [n.index for n in plain.flat.nodes if n.op == "Const"]
    expected = dataclasses.replace(plain, free=dict.fromkeys(sevens, "factor"))

    def against(there: Callable[..., Any]) -> Match | Miss:
        found = matcher(there)
        return found.unify(expected, expected.roots[0], found.flat.outputs[0], {})

    match = against(lambda a, b: 0.5 * a + 0.5 * b)
    assert isinstance(match, Match)
    assert match.constants == {"factor": 0.5}
    for there, difference in (
        (lambda a, b: 0.5 * a + 0.25 * b, "a second factor"),
        (lambda a, b: tf.constant([1.0, 2.0, 3.0]) * a + 0.5 * b, "not a scalar factor"),
        (lambda a, b: tf.sin(b) * a + 0.5 * b, "expected a constant"),
    ):
        miss = against(there)
        assert isinstance(miss, Miss)
        assert difference in miss.difference


def test_all_matches_and_the_nearest_miss_are_found() -> None:
    there = matcher(lambda a, b: tf.exp(a - b) + tf.exp(tf.sin(a) - b) + tf.exp(tf.cos(a)))
    expected = reference(lambda a, b: tf.exp(a - b))
    matches, miss = there.find(expected, expected.roots[0], {})
    assert len(matches) == 2
    exps = [node.index for node in there.flat.nodes if node.op == "Exp"]
    assert {match.root[0] for match in matches} < set(exps)
    assert miss is None  # what can't match by its inputs is not even tried
    some, _ = there.find(expected, expected.roots[0], {}, within={matches[0].root[0]})
    assert [match.root for match in some] == [matches[0].root]
    many, _ = there.find(expected, expected.roots[0], {}, within=range(len(there.flat.nodes)))
    assert len(many) == 2
    none, nearest = there.find(
        expected, expected.roots[0], {"first": lambda t: there.flat.node(t).op == "Cos"}
    )
    assert none == []
    assert isinstance(nearest, Miss)
    assert nearest.difference == "not first"
    assert nearest.agreed == 2


def test_the_nearer_of_two_misses_is_told() -> None:
    there = matcher(lambda a, b: tf.exp(tf.sin(a - b)) + tf.exp(tf.sin(tf.cos(a) / b)))
    expected = reference(lambda a, b: tf.exp(tf.sin(a / tf.tan(b))))
    _, miss = there.find(expected, expected.roots[0], {})
    assert isinstance(miss, Miss)
    assert (miss.agreed, miss.difference) == (3, "Placeholder, expected Tan")


# -- what a pattern says of itself ----------------------------------------------------------------


def test_ops_that_a_match_must_have() -> None:
    """Neither leaves, which stand for anything, nor what constants decide, which may be folded."""
    made = reference(lambda a, b: tf.exp(a - 2.0 * tf.ones((3,))) / b)
    assert made.ops == {"Exp", "Sub", "RealDiv"}


def test_how_far_a_leaf_is() -> None:
    made = reference(lambda a, b: tf.exp(tf.sin(a) - b))
    assert made.hops("second", made.roots[0]) == 2
    assert made.hops("first", made.roots[0]) == 3
    alone = reference(lambda a, b: tf.exp(a))
    assert alone.hops("second", alone.roots[0]) is None


def test_inputs_by_which_candidates_are_told() -> None:
    made = reference(lambda a, b: tf.sin(a) / b)
    assert made.inputs(made.roots[0]) == ("Sin", None)
    made = reference(lambda a, b: 2.0 / tf.sin(b))
    assert made.inputs(made.roots[0]) == (None, "Sin")


def test_summands() -> None:
    made = reference(lambda a, b: tf.add_n([tf.sin(a), tf.add_n([tf.cos(b), a]), b]))
    assert [made.flat.node(t).op for t in made.summands] == ["Sin", "Cos"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (np.float32(0.1), np.float32(0.1), True),
        (np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1)), True),
        (np.float32(0.1), np.float32(0.1001), False),
        (np.float32(0.1), np.float64(0.1), False),
        (np.float64(0.1), np.float64(0.1) + 2e-17, True),
        (np.float64(0.1), np.float64(0.1 + 1e-9), False),
        (np.float32(0.0), np.float32(1e-30), False),
        (np.float32("nan"), np.float32("nan"), True),
        (np.float32("nan"), np.float32(1), False),
        (np.int32(3), np.int32(3), True),
        (np.int32(3), np.int32(4), False),
        (np.int32(3), np.int64(3), False),
        (np.array([1, 2]), np.array([1, 2]), True),
        (np.array([1, 2]), np.array([2, 1]), False),
        (np.array([1.0]), np.array(1.0), False),
        (np.array([[1.0, 2.0]]), np.array([1.0, 2.0]), False),
        (np.array("a", object), np.array("a", object), True),
    ],
)
def test_constants_are_equal_but_for_rounding(one: Any, other: Any, same: bool) -> None:
    assert same_value(np.asarray(one), np.asarray(other)) is same


@pytest.mark.parametrize(
    ("one", "other", "texts"),
    [
        (np.float32(0.1), np.float32(0.2), ("0.1", "0.2")),
        (np.array([[2]]), np.array([3, 4]), ("2", "int64[2]")),
        (np.float64(1 / 3), np.float64(1.0), ("0.333333", "1")),
        (np.array(True), np.array(False), ("True", "False")),
        (
            np.array([[1.0, 2.0]], "float32"),
            np.array([[1.0, 2.5]], "float32"),
            ("float32[1, 2] with 2.0 at [0, 1]", "float32[1, 2] with 2.5 at [0, 1]"),
        ),
    ],
)
def test_constants_that_differ_in_messages(one: Any, other: Any, texts: tuple[str, str]) -> None:
    assert shown_apart(np.asarray(one), np.asarray(other)) == texts


@pytest.mark.parametrize("apart", [1e-12, 1e-9, 1.0])
def test_constants_that_differ_never_look_alike(apart: float) -> None:
    one, other = shown_apart(np.asarray(1.0), np.asarray(1.0 + apart))
    assert one != other
