"""Graph definitions as nobody should have written them: real train steps, changed at random.

``python -m tests.verify.graphs.mutants 5000`` tries so many and counts what becomes of them.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import random
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from verify.cli import main
from verify.contracts.subject import forget


def _branching() -> Any:
    """A step with a choice of two, one of several, and a loop; its gradients go through them."""
    weight = tf.Variable([[1.0], [2.0]], name="weight")
    flag = tf.Variable(True, name="flag", trainable=False)
    which = tf.Variable(0, name="which", trainable=False)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = tf.cond(flag, lambda: tf.tanh(x @ weight), lambda: x @ weight)
            hidden = tf.while_loop(
                lambda i, _: i < 3,
                lambda i, h: (i + 1, h * 0.5),
                (0, hidden),
                maximum_iterations=4,
            )[1]
            loss = tf.reduce_mean((hidden - y) ** 2)
        gradient = tape.gradient(loss, weight)
        rates = [lambda: 0.1, lambda: 0.01, lambda: 0.0]
        clipped = tf.clip_by_value(gradient, -1.0, 1.0)
        weight.assign_sub(tf.switch_case(tf.identity(which), rates) * clipped)
        return loss

    return _definition(step)


def _regularised() -> Any:
    """A step of plain calls, with a term, a norm and constants that fold."""
    kernel = tf.Variable([[0.5], [1.0]], name="kernel")
    bias = tf.Variable([0.0], name="bias")

    @tf.function
    def predict(x: Any) -> Any:
        return tf.reshape(x @ kernel + bias, tf.concat([[-1], tf.fill([1], 1)], 0))

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.abs(predict(x) - y)) + 0.01 * tf.reduce_sum(kernel**2)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, [kernel, bias]), 1.0)
        for variable, gradient in zip((kernel, bias), gradients, strict=True):
            variable.assign_sub(0.1 * gradient)
        return loss

    return _definition(step)


def _definition(step: Any) -> Any:
    specs = tf.TensorSpec((None, 2)), tf.TensorSpec((None, 1))
    return step.get_concrete_function(*specs).graph.as_graph_def(add_shapes=True)


@functools.cache
def originals() -> tuple[Any, ...]:
    return _branching(), _regularised()


# -- changes ---------------------------------------------------------------------------------------


def _bodies(made: Any) -> list[Any]:
    return [made.node, *(function.node_def for function in made.library.function)]


def _node(made: Any, chance: random.Random) -> Any:
    """A node of the graph or of a function, as often of one body as of another."""
    return chance.choice(chance.choice([body for body in _bodies(made) if body]))


def _attribute(made: Any, chance: random.Random) -> Any:
    node = _node(made, chance)
    return node.attr[chance.choice(sorted(node.attr) or ["T"])]


def _drop_attribute(made: Any, chance: random.Random) -> None:
    node = _node(made, chance)
    if node.attr:
        del node.attr[chance.choice(sorted(node.attr))]


def _exchange_attribute(made: Any, chance: random.Random) -> None:
    _attribute(made, chance).CopyFrom(_attribute(made, chance))


def _clear_attribute(made: Any, chance: random.Random) -> None:
    _attribute(made, chance).Clear()


def _number(made: Any, chance: random.Random) -> None:
    value = _attribute(made, chance)
    number = chance.choice([-1, 0, 1, 7, 1 << 20, (1 << 63) - 1, -(1 << 63)])
    if chance.random() < 0.3:
        value.type = chance.choice([0, 1, 3, 20, 21, 99, 101, 4000])
    elif value.HasField("tensor"):
        value.tensor.tensor_shape.dim.add(size=number)
    elif value.HasField("list") and value.list.shape:
        chance.choice(value.list.shape).dim.add(size=number)
    elif value.HasField("shape"):
        value.shape.dim.add(size=number)
    else:
        value.i = number


def _content(made: Any, chance: random.Random) -> None:
    node = _node(made, chance)
    tensor = node.attr["value"].tensor if node.op == "Const" else _attribute(made, chance).tensor
    tensor.tensor_content = chance.choice([b"", b"\x00", tensor.tensor_content * 2, b"\xff" * 64])


def _bytes(made: Any, chance: random.Random) -> None:
    _attribute(made, chance).s = bytes(chance.randrange(256) for _ in range(4))


def _rewire(made: Any, chance: random.Random) -> None:
    body = chance.choice([body for body in _bodies(made) if body])
    node = chance.choice(body)
    name = chance.choice([chance.choice(body).name, node.name, "gone", ""])
    ends = ["", ":0", ":1", ":99", ":output:0", ":z:1", ":-1", ":x", ":output:99999999999"]
    written = chance.choice(["", "", "^"]) + name + chance.choice(ends)
    if node.input and chance.random() < 0.8:
        node.input[chance.randrange(len(node.input))] = written
    else:
        node.input.append(written)


def _drop_input(made: Any, chance: random.Random) -> None:
    node = _node(made, chance)
    if node.input:
        del node.input[chance.randrange(len(node.input))]


def _drop_node(made: Any, chance: random.Random) -> None:
    body = chance.choice([body for body in _bodies(made) if body])
    del body[chance.randrange(len(body))]


def _copy_node(made: Any, chance: random.Random) -> None:
    chance.choice(_bodies(made)).add().CopyFrom(_node(made, chance))


def _other_op(made: Any, chance: random.Random) -> None:
    ops = ["Identity", "While", "If", "Case", "PartitionedCall", "Const", "Fill", "NoOp", "gone"]
    ops += [function.signature.name for function in made.library.function]
    _node(made, chance).op = chance.choice([*ops, _node(made, chance).op])


def _rename(made: Any, chance: random.Random) -> None:
    names = ["", "a\nb", "::error::x", "^x", "x:0", "\u202eevil", _node(made, chance).name]
    _node(made, chance).name = chance.choice(names)


def _other_function(made: Any, chance: random.Random) -> None:
    names = [function.signature.name for function in made.library.function]
    for node in [node for body in _bodies(made) for node in body]:
        for value in node.attr.values():
            if value.HasField("func") and chance.random() < 0.2:
                value.func.name = chance.choice([*names, "gone"])


def _signature(made: Any, chance: random.Random) -> None:
    if not made.library.function:
        return
    function = chance.choice(made.library.function)
    what = chance.choice(["input", "output", "ret", "type", "twice"])
    if what == "ret" and function.ret:
        function.ret[chance.choice(sorted(function.ret))] = chance.choice(["", "gone:z:0", "x:9"])
    elif what == "twice":
        made.library.function.add().CopyFrom(function)
    elif what == "type" and function.signature.input_arg:
        argument = chance.choice(function.signature.input_arg)
        argument.type = chance.choice([0, 3, 20, 999])
    else:
        arguments = function.signature.input_arg
        if what == "output":
            arguments = function.signature.output_arg
        if arguments and chance.random() < 0.5:
            del arguments[chance.randrange(len(arguments))]
        else:
            arguments.add(name="more", type=1)


CHANGES: tuple[Callable[[Any, random.Random], None], ...] = (
    _drop_attribute,
    _exchange_attribute,
    _clear_attribute,
    _number,
    _content,
    _bytes,
    _rewire,
    _drop_input,
    _drop_node,
    _copy_node,
    _other_op,
    _rename,
    _other_function,
    _signature,
)


def mutant(seed: int) -> bytes:
    """A serialised ``GraphDef`` with one to three changes, or with bytes cut or flipped."""
    chance = random.Random(seed)
    made = tf.compat.v1.GraphDef()
    made.CopyFrom(chance.choice(originals()))
    if chance.random() < 0.2:
        written = bytearray(made.SerializeToString(deterministic=True))
        if chance.random() < 0.3:
            return bytes(written[: chance.randrange(len(written))])
        for _ in range(chance.randrange(1, 4)):
            written[chance.randrange(len(written))] ^= 1 << chance.randrange(8)
        return bytes(written)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        chance.choice(CHANGES)(made, chance)
    return bytes(made.SerializeToString(deterministic=True))


# -- what becomes of them --------------------------------------------------------------------------


def outcome(path: Path, *commands: list[str]) -> list[int]:
    """The exit status of each command, or an exception that came out of it."""
    statuses = []
    for command in commands:
        forget()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            statuses.append(main([part.replace("FILE", str(path)) for part in command]))
        lines = printed.getvalue().splitlines()
        assert "Traceback" not in printed.getvalue()
        assert not any(line.lstrip().startswith("::") for line in lines)
    return statuses


def _run(first: int, count: int, folder: Path) -> None:
    """Stops at the first that comes to something else than an exit status, or takes minutes."""
    counts: Counter[str] = Counter()

    def late(*_: Any) -> None:
        raise KeyboardInterrupt  # which nothing takes for an error of the file

    signal.signal(signal.SIGALRM, late)
    path = folder / f"mutant{first}.pb"
    picture = str(folder / f"mutant{first}.html")
    every = ["show", "FILE"], ["init", "FILE"], ["draw", "FILE", "-o", picture]
    for seed in range(first, first + count):
        print(seed, end="\r", file=sys.stderr)
        path.write_bytes(mutant(seed))
        signal.alarm(300)
        statuses = outcome(path, *(every if seed % 5 == 0 else every[:1]))
        signal.alarm(0)
        counts[f"status {' '.join(map(str, sorted(set(statuses))))}"] += 1
    print(dict(counts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Tries mutants and counts their outcomes.")
    parser.add_argument("count", type=int)
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    options = parser.parse_args()
    _run(options.first, options.count, options.folder)
