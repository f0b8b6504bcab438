"""What SECURITY.md promises: no text from outside becomes code, markup or a command."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from loopctl import ConfigError, LoopControllerCallback, load_config, when

PAYLOAD = "__import__('builtins').__dict__.__setitem__('injected', 1)"


class Text(str):
    """Says one thing and writes another."""

    def __repr__(self) -> str:
        return f"0\n    {PAYLOAD}\n#"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)


class Integer(int):
    __repr__ = __str__ = Text.__repr__  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        return repr(self)


class Real(float):
    __repr__ = __str__ = Text.__repr__  # type: ignore[assignment]

    def __format__(self, spec: str) -> str:
        return repr(self)


@pytest.fixture(autouse=True)
def _nothing_was_injected() -> Any:
    yield
    assert not hasattr(builtins, "injected")


def trained(config: Any) -> LoopControllerCallback:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)
    callback = LoopControllerCallback(config)
    x = np.ones((4, 2), "float32")
    model.fit(x, x[:, :1], batch_size=2, verbose=0, callbacks=[callback])
    return callback


def branch(**settings: Any) -> dict[str, Any]:
    return {"gate": {"cond": when.always, True: settings}}


@pytest.mark.parametrize(
    "name",
    [
        f"a(self, data):\n    {PAYLOAD}\ndef b",
        "a\n",
        "a b",
        "a#",
        "a'",
        'a"""',
        "{a}",
        "lambda",
        "None",
        "",
        "1a",
        "a.b",
        Text("gate"),
        "ﬁx",  # a ligature, which Python reads as two letters
        "ｇate",  # a wide letter, which Python reads as g
        3,
        b"gate",
    ],
    ids=repr,
)
def test_what_is_no_plain_identifier_names_no_action(name: Any) -> None:
    with pytest.raises(ConfigError, match="can't name an action"):
        LoopControllerCallback({name: {"cond": when.always, True: {}}})


HOSTILE_NUMBERS: dict[str, dict[str, Any]] = {
    "bounds": branch(clipping=(Real(-1), Real(1))),
    "integer bounds": branch(clipping=(Integer(-1), Integer(1))),
    "norm": branch(clipping={"norm": Real(1)}),
    "global norm": branch(clipping={"global_norm": Integer(1)}),
    "repeat": branch(repeat=Integer(2)),
    "predicate": {"gate": {"cond": when.batches % Integer(3) < Real(2), True: {}}},
    "window": {"gate": {"cond": when.loss.mean(Integer(3)) < Real(2), True: {}}},
    "period": {"gate": {"cond": when.every(Integer(3)), True: {}}},
}


@pytest.mark.parametrize("kind", HOSTILE_NUMBERS)
def test_numbers_are_written_as_numbers(kind: str, tmp_path: Path) -> None:
    """Whatever the type they came in says of itself; in exported modules too."""
    callback = trained(HOSTILE_NUMBERS[kind])
    assert "__import__" not in callback.source() + callback.source("gate", True)
    callback.export(tmp_path / "exported.py")
    text = (tmp_path / "exported.py").read_text()
    ast.parse(text)
    assert "__setitem__('injected'" not in text


def test_names_of_columns_are_plain_text() -> None:
    with pytest.raises(TypeError, match="plain string"):
        when.column(Text("mae"))


def test_names_of_variables_and_layers_stay_out_of_the_source() -> None:
    layer = keras.layers.Dense(1, name=f"x\n    {PAYLOAD}\n")
    model = keras.Sequential([keras.Input((2,)), layer])
    model.compile("sgd", "mse", jit_compile=False)
    callback = LoopControllerCallback(branch(regularize=[layer.name], variables="*kernel"))
    callback.attach(model)
    assert "injected" not in callback.source("gate", True)


@pytest.mark.parametrize(
    "text",
    [
        PAYLOAD,
        "batches < (lambda: 3)()",
        "batches.__class__ < 3",
        "loss.__init__.__globals__.last() < 1",
        "loss.mean(__import__('os').getpid()) < 1",
        "[x for x in (1,)]",
        "f'{batches}' < 1",
        "batches if epochs else batches",
        "(batches := 3) < 4",
        "column(open('/etc/passwd').read()).last() < 1",
        "batches ** 10 ** 10 < 1",
        "'a' * 10 ** 9 == 'b'",
    ],
)
def test_text_of_predicates_is_read_not_run(text: str) -> None:
    with pytest.raises(ConfigError):
        when.parse(text)


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".yaml", f'gate:\n  cond: every(2)\n  true: !!python/object/apply:eval ["{PAYLOAD}"]\n'),
        (".yaml", f'gate: !!python/object/new:os.system ["{PAYLOAD}"]\n'),
        (".toml", f'[gate]\ncond = "{PAYLOAD}"\ntrue = {{}}\n'),
        (".json", f'{{"gate": {{"cond": "every(2)", "true": {{"loss": "{PAYLOAD}"}}}}}}'),
        (".json", f'{{"{PAYLOAD}": {{"cond": "every(2)", "true": {{}}}}}}'),
    ],
)
def test_files_run_nothing_but_what_they_import(suffix: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / f"config{suffix}"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_config(path)
