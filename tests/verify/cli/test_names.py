"""Names that nobody meant well with, through every output: nothing is forged, all still parses."""

from __future__ import annotations

import functools
import io
import json
import tomllib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import hypothesis
import keras
import pytest
import tensorflow as tf
import tomlkit
from hypothesis import strategies as st

import verify
from verify.cli import main
from verify.cli.check import FORMATS
from verify.contracts.subject import forget
from verify.printable import printable

EVIL = "w\n::error file=x.py,line=1::forged\nkept   all (c:1)\x1b[2J\u202e\"'<b>]]>&%0A$\\"
SQUARE = keras.losses.MeanSquaredError()  # the first that verify looks for
NAMES = st.one_of(
    st.text(min_size=1, max_size=12),
    st.lists(
        st.sampled_from(
            [
                "w",
                "\n",
                "::error::x",
                "##[error]y",
                "\x1b[31m",
                "\r",
                '"',
                "'",
                "\\",
                "<",
                "]]>",
                "&",
                "%0A",
                "$",
                "\u2028",
                "\u202e",
                "#",
                "[",
                "*",
                ":tada:",
                "[bold]",
                "\x00",
                "{{",
            ]
        ),
        min_size=1,
        max_size=6,
    ).map("".join),
).filter(lambda name: not any(0xD800 <= ord(c) < 0xE000 for c in name))


@functools.cache
def original() -> Any:
    """A step with a guard, whose variables are made in the graph, by name."""
    weight = tf.Variable([[1.0], [2.0]], name="weight")
    flag = tf.Variable(True, name="flag", trainable=False)

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = SQUARE(y, tf.sigmoid(x @ weight))
        gradient = tape.gradient(loss, weight)
        weight.assign_sub(tf.cond(flag, lambda: 0.1, lambda: 0.0) * gradient)
        return loss

    specs = tf.TensorSpec((None, 2)), tf.TensorSpec((None, 1))
    return step.get_concrete_function(*specs).graph.as_graph_def(add_shapes=True)


def named(folder: Path, weight: str, flag: str) -> Path:
    """A file of that step with other names of its variables."""
    made = tf.compat.v1.GraphDef()
    made.CopyFrom(original())
    placeholders = [node for node in made.node if node.op == "Placeholder"]
    names = {}
    for node, name, dtype, shape in zip(
        placeholders[2:], (weight, flag), (tf.float32, tf.bool), ([2, 1], []), strict=True
    ):
        names[node.name] = f"handle_{dtype.name}"
        node.Clear()
        node.name, node.op = f"handle_{dtype.name}", "VarHandleOp"
        node.attr["dtype"].type = dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
        node.attr["shared_name"].s = name.encode()
        node.attr["_output_shapes"].list.shape.add()
    for node in made.node:
        node.input[:] = [names.get(reference, reference) for reference in node.input]
    path = folder / "step.pb"
    path.write_bytes(made.SerializeToString())
    return path


def told(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
    status = main(command)
    printed = capsys.readouterr()
    return status, printed.out + printed.err


def assert_harmless(text: str) -> None:
    for line in text.split("\n"):
        assert printable(line.replace("\\", "")) == line.replace("\\", "")
        assert not line.lstrip().startswith("::")


@hypothesis.settings(max_examples=hypothesis.settings().max_examples // 3)
@hypothesis.example(weight=EVIL, flag="::x\n" + EVIL, contract=EVIL)
@hypothesis.given(weight=NAMES, flag=NAMES.map("f{}".format), contract=NAMES)
def test_no_output_is_forged(
    weight: str, flag: str, contract: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hypothesis.assume(weight != flag)
    forget()
    path = named(tmp_path, weight, flag)
    status, text = told(capsys, "show", str(path))
    assert status == 0
    assert printable(weight) in text
    assert_harmless(text)
    assert_harmless(told(capsys, "diff", str(path), str(path))[1])
    # What `init` says is read back, and kept.
    status, text = told(capsys, "init", str(path))
    assert status == 0
    assert_harmless(text)
    assert len(tomllib.loads(text)["contracts"]) == 1
    file = tmp_path / "a.graph.toml"
    file.unlink(missing_ok=True)
    assert told(capsys, "init", str(path), "-o", str(file))[0] == 0
    assert told(capsys, "check", str(file))[0] == 0
    key = tomlkit.key(contract).as_string()
    file.write_text(f"[contracts.{key}]\nfile = 'step.pb'\nclipping = [-1, 1]\n", "utf-8")
    for form in FORMATS:
        status, text = told(capsys, "check", str(file), "--format", form)
        assert_report(form, status, text)


def assert_report(form: str, status: int, text: str) -> None:
    assert status == 1, text
    if form in ("json", "sarif"):
        json.loads(text)
    elif form == "junit":
        ElementTree.fromstring(text)
    elif form == "github":
        command, summary, end = text.split("\n")
        assert command.startswith("::error file=")
        assert (summary.startswith("0 kept, 1 broken"), end) == (True, "")
    if form in ("text", "junit"):
        assert_harmless(text)
    if form == "text":
        marked = [line for line in text.splitlines() if not line.startswith(" ")]
        assert [line[:6] for line in marked] == ["broken", "0 kept"]


@pytest.mark.parametrize("kind", ["html", "svg", "dot", "graphml"])
def test_pictures(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, picture = named(tmp_path, EVIL, "$\\frac$" + EVIL), tmp_path / f"step.{kind}"
    status, text = told(capsys, "draw", str(path), "-o", str(picture))
    assert (status, text.count("\n")) == (0, 1)
    drawn = picture.read_text("utf-8")
    assert "\x1b" not in drawn
    assert "\u202e" not in drawn
    if kind != "dot":
        assert "<b>" not in drawn
    if kind in ("svg", "graphml"):
        ElementTree.parse(io.BytesIO(drawn.encode()))
    if kind == "dot":
        for line in drawn.splitlines():
            unquoted = line.replace("\\\\", "").replace('\\"', "")
            assert unquoted.count('"') % 2 == 0


def test_errors_of_assertions(tmp_path: Path) -> None:
    path = named(tmp_path, EVIL, "flag")
    with pytest.raises(verify.GraphAssertionError) as error:
        verify.assert_graph(str(path), watched=None)
    assert printable(EVIL) in str(error.value)
    assert "\x1b" not in str(error.value)


def test_a_saved_model_with_such_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    class Trained(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = tf.Variable([[1.0], [2.0]], name="weight")

        @tf.function
        def step(self, x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = SQUARE(y, tf.sigmoid(x @ self.weight))
            self.weight.assign_sub(0.1 * tape.gradient(loss, self.weight))
            return {"loss": loss}

    module = Trained()
    specs = tf.TensorSpec((None, 2)), tf.TensorSpec((None, 1))
    signatures = {"train": module.step.get_concrete_function(*specs)}
    tf.saved_model.save(module, str(tmp_path / "model"), signatures=signatures)
    file = tmp_path / "model" / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    for node in saved.meta_graphs[0].object_graph_def.nodes:
        if node.WhichOneof("kind") == "variable":
            node.variable.name = EVIL
    file.write_bytes(saved.SerializeToString())
    status, text = told(capsys, "show", f"{tmp_path / 'model'}#train")
    assert status == 0
    assert printable(EVIL) in text
    assert_harmless(text)
