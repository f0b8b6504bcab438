"""What is gone is drawn where it was, what is new where it is, and what stayed only once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from verify.picture.difference import Difference
from verify.picture.groups import Group
from verify.picture.outline import Outline, outline_of
from verify.picture.places import Places
from verify.step import Step, capture

BATCH = (tf.TensorSpec((8, 6)), tf.TensorSpec((8, 1)))


def step(optimizer: Any = "sgd", **settings: Any) -> Step:
    keras.utils.clear_session()
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, "relu", name="hidden", **settings),
            keras.layers.Dense(1, name="head"),
        ],
        name="model",
    )
    model.compile(optimizer, "mse")
    return capture(model, BATCH)


def drawn(old: Step, new: Step) -> Outline:
    return outline_of(Difference(Places(old), Places(new)))


def ops(group: Group, around: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    path = f"{around}/{group.name}"
    for op in group.ops:
        yield path, op
    for inner in group.groups.values():
        yield from ops(inner, path)


def marked(made: Outline, mark: str) -> Counter[str]:
    return Counter(op["op"] for _, op in ops(made.root) if op.get("mark") == mark)


def test_the_same_step_has_no_marks() -> None:
    made = drawn(step(), step())
    assert not any("mark" in op for _, op in ops(made.root))
    assert {len(wire) for wire in made.wires} == {3}
    assert made.sides == ("model.train_step", "model.train_step")


def test_a_wire_of_one_step_only_is_marked_though_both_its_ends_stay() -> None:
    """Without the clip, the optimizer is handed what the backward pass makes: by wires that are new
    between ops that are not."""
    clipped, plain = step(keras.optimizers.SGD(clipnorm=1.0)), step()
    away, back = drawn(clipped, plain), drawn(plain, clipped)

    def rewired(made: Outline, mark: str) -> set[tuple[str, str]]:
        marks = {op["i"]: op.get("mark") for _, op in ops(made.root)}
        op_type = {op["i"]: op["op"] for _, op in ops(made.root)}
        found = (wire[:2] for wire in made.wires if wire[3:] == (mark,))
        stayed = ((a, b) for a, b in found if not {marks[a], marks[b]} & {"added", "gone"})
        return {(op_type[a], op_type[b]) for a, b in stayed}

    assert rewired(away, "added") == rewired(back, "gone") != set()
    assert rewired(away, "gone") == rewired(back, "added")


def test_wires_of_what_is_gone_or_new_are_gone_or_new() -> None:
    made = drawn(step(keras.optimizers.SGD(clipnorm=1.0)), step(kernel_regularizer="l2"))
    marks = {op["i"]: op.get("mark") for _, op in ops(made.root)}
    for wire in made.wires:
        for mark in ("added", "gone"):
            if mark in (marks[wire[0]], marks[wire[1]]):
                assert wire[3:] == (mark,)


def test_what_is_gone_stands_in_its_group_and_keeps_its_wires() -> None:
    clipped = step(keras.optimizers.SGD(clipnorm=1.0))
    made = drawn(clipped, step())
    assert not marked(made, "added")
    gone = [(path, op) for path, op in ops(made.root) if op.get("mark") == "gone"]
    assert {"Maximum", "RealDiv"} <= {op["op"] for _, op in gone}
    assert any("/clip" in path for path, _ in gone)
    assert all(
        path.startswith(("/model.train_step/clip", "/model.train_step/opt")) for path, _ in gone
    )

    numbers = {op["i"] for _, op in gone}
    listed = [op["i"] for _, op in ops(made.root)]
    assert len(listed) == len(set(listed))
    ends = {end for wire in made.wires for end in wire[:2]}
    assert ends <= set(listed)
    between = [w for w in made.wires if len(numbers & set(w[:2])) == 1]
    assert between  # to and from what has stayed


def test_both_ways_are_mirrored() -> None:
    clipped, plain = step(keras.optimizers.SGD(clipnorm=1.0)), step()
    away, added = drawn(clipped, plain), drawn(plain, clipped)
    assert marked(away, "gone") == marked(added, "added")
    assert marked(added, "gone") == marked(away, "added") == Counter()


def test_the_whole_of_a_part_is_gone_not_only_its_first_op() -> None:
    made = drawn(step(kernel_regularizer="l2"), step())
    gone = marked(made, "gone")
    assert {"Square", "Sum", "Mul"} <= gone.keys()
    assert any("hidden" in path for path, op in ops(made.root) if op.get("mark") == "gone")


def test_variables_that_are_gone_are_marked() -> None:
    made = drawn(step("adam"), step("sgd"))
    marks = {op["id"]: op.get("mark") for path, op in ops(made.root) if "/variables" in path}
    gone = {name for name, mark in marks.items() if mark == "gone"}
    assert any(name.endswith("hidden_kernel_velocity") for name in gone)
    assert not any(name.startswith("model/") for name in gone)


def test_another_constant_is_gone_and_new() -> None:
    made = drawn(*(step(keras.optimizers.SGD(clipnorm=norm)) for norm in (1.5, 2.5)))
    assert marked(made, "gone") == marked(made, "added")
    assert "Const" in marked(made, "gone")


def test_a_constant_goes_with_what_used_it() -> None:
    """Though the step has others of the same value, from which no wire leads to what is gone."""
    made = drawn(step(keras.optimizers.SGD(clipnorm=1.0)), step())
    place = {op["i"]: path for path, op in ops(made.root)}
    op_type = {op["i"]: op["op"] for _, op in ops(made.root)}
    gone = {op["i"] for _, op in ops(made.root) if op.get("mark") == "gone"}
    into = {source for source, target, *_ in made.wires if target in gone and source not in gone}
    assert not {place[source] for source in into if op_type[source] == "Const"}
