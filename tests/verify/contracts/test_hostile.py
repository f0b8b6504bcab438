"""Files that nobody meant well with: one clear error, no traceback, no hang."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from verify.cli import main
from verify.contracts import Subject, captured, read
from verify.contracts.subject import forget
from verify.errors import ContractError

PIECES = st.sampled_from(
    [
        "[contracts.a]\n",
        "[contracts.a.guards.b.true]\n",
        "[[contracts]]\n",
        "contracts = []\n",
        'target = "os:getcwd"\n',
        'file = "/dev/null"\n',
        'loss = "mse"\n',
        "loss = {}\n",
        "clipping = [[]]\n",
        "guards = 1\n",
        "watched = {a = 1}\n",
        "regularization = [{on = 1}]\n",
        "tags = [[]]\n",
        "a.b.c = inf\n",
        "'' = ''\n",
        "max_ops = 1e400\n",
        '"\\u0000" = nan\n',
    ]
)


@hypothesis.settings(max_examples=150)
@hypothesis.given(st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=80))
def test_contract_files_are_read_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.graph.toml"
    path.write_text(text, "utf-8")
    with contextlib.suppress(ContractError):
        assert read(path)


def definition() -> Any:
    @tf.function
    def inner(x: tf.Tensor) -> tf.Tensor:
        return tf.cond(x > 0, lambda: tf.sin(x), lambda: x * 2.0)

    concrete = tf.function(lambda x: inner(x) + inner(x + 1.0))
    return concrete.get_concrete_function(tf.TensorSpec(())).graph.as_graph_def(add_shapes=True)


def refused(folder: Path, content: bytes, name: str = "step.pb") -> str:
    path = folder / name
    path.write_bytes(content)
    with pytest.raises(ContractError) as error:
        captured(Subject("here", file=path))
    return str(error.value)


def test_truncated_graphs(tmp_path: Path) -> None:
    whole = definition().SerializeToString()
    for length in range(0, len(whole), max(1, len(whole) // 25)):
        forget()
        assert "here: can't be traced: ValueError" in refused(tmp_path, whole[:length])


def test_damaged_graphs_are_read_or_refused(tmp_path: Path) -> None:
    whole = definition().SerializeToString()
    chance = random.Random(0)
    path = tmp_path / "step.pb"
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(bytes(damaged))
        forget()
        with contextlib.suppress(ContractError):
            captured(Subject("here", file=path))


def library(*functions: tuple[str, list[str]]) -> Any:
    """A definition that calls the first of these functions; each calls the ones listed."""
    made = tf.compat.v1.GraphDef()
    for name, calls in functions:
        function = made.library.function.add()
        function.signature.name = name
        for number, called in enumerate(calls):
            node = function.node_def.add(name=f"call{number}", op="PartitionedCall")
            node.attr["f"].func.name = called
    node = made.node.add(name="call", op="PartitionedCall")
    node.attr["f"].func.name = functions[0][0]
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (library(("f", ["g"]), ("g", ["f"])), "the function f calls itself"),
        (library(("f", ["gone"])), "the function gone is called by call0 and missing"),
        (
            library(*((f"f{i}", [f"f{i + 1}"] * 2) for i in range(60)), ("f60", [])),
            "inlined, these would be",
        ),
        (
            library(*((f"f{i}", [f"f{i + 1}"]) for i in range(5000)), ("f5000", [])),
            "nested more than 100 deep",
        ),
    ],
    ids=["recursive", "missing", "enormous", "deep"],
)
def test_functions_that_can_not_be_inlined(made: Any, message: str, tmp_path: Path) -> None:
    assert message in refused(tmp_path, made.SerializeToString())


def test_cycles(tmp_path: Path) -> None:
    made = tf.compat.v1.GraphDef()
    for name, other in (("a", "b"), ("b", "a")):
        node = made.node.add(name=name, op="Identity", input=[other])
        node.attr["T"].type = tf.float32.as_datatype_enum
    refused(tmp_path, made.SerializeToString())


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"\x0a\xff" * 50, b"text"])
def test_saved_models_that_are_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(content)
    with pytest.raises(ContractError, match="can't be traced"):
        captured(Subject("here", file=tmp_path / "model"))


@pytest.mark.parametrize("name", ["step.pb", "step.pbtxt", "step"])
def test_the_command_line_ends_with_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"\xfe\xfe no graph")
    (tmp_path / "a.graph.toml").write_text(f'[contracts.a]\nfile = "{name}"\nloss = false\n')
    assert main(["check", str(tmp_path)]) == 2
    assert main(["show", str(tmp_path / name)]) == 2
    assert main(["draw", str(tmp_path / name), "-o", str(tmp_path / "x.html")]) == 2
    told = capsys.readouterr()
    assert "Traceback" not in told.out + told.err
    assert not (tmp_path / "x.html").exists()
