"""Reading contract files: every mistake is named, with its place and what would be right."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

import verify.contracts
from verify.contracts import read
from verify.contracts.schema import json_schema
from verify.errors import ContractError

SHOP = "tests.verify.contracts.shop"
GOOD = """
# What the warm-up may train.
[contracts.warmup]
target = "shop.training:controlled"
step = "warmup_on"
tags = ["fast"]
loss = { is = "Huber", delta = 2.0, weight = 0.5 }
regularization = [{ on = "*kernel", is = "L2", l2 = 0.01 }]
clipping = [-0.1, 0.1]
watched = ["*head*", "!*bias"]

[contracts."the rest"]
file = "exported"
signature = "train"
loss = false
clipping = { global_norm = 1.0 }
[contracts."the rest".guards.flag.true]
loss = ["mse", { is = "shop.losses:own" }]
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "some.graph.toml"
    path.write_text(text)
    return path


def test_contracts_come_with_their_lines(tmp_path: Path) -> None:
    first, second = read(written(tmp_path, GOOD))
    assert (first.name, first.line) == ("warmup", 3)
    assert (second.name, second.line) == ("the rest", 12)
    assert second.place.endswith("some.graph.toml:12")
    assert first.promise.loss.model_extra == {"delta": 2.0}  # type: ignore[union-attr]


HEAD = '[contracts.a]\ntarget = "m:f"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "los = 'mse'", "contracts.a.los: unknown key; did you mean loss?"),
        ("[contract.a]\nloss = 'mse'", "contract: unknown key; did you mean contracts?"),
        (HEAD + "clipping = 3", "a.clipping: 3 is not allowed; it may be false or a list or"),
        (HEAD + "clipping = {nrm = 1}", "a.clipping"),
        (HEAD + "watched = [1]", "contracts.a.watched"),
        (HEAD + "max_ops = -1", "a.max_ops: -1 is not allowed; it may be greater than or equal"),
        (HEAD + "tags = ['a b']\nloss = 'mse'", "contracts.a.tags"),
        (HEAD, "contracts.a: promises nothing of the step"),
        ("[contracts.a]\nloss = 'mse'", "contracts.a: says neither target and file"),
        (HEAD + "file = 'x'\nloss = 'mse'", "contracts.a: says both target and file"),
        ("[contracts.a]\ntarget = 'm'\nloss = 'mse'", 'is no "package.module:factory"'),
        (f"[contracts.a]\ntarget = '{SHOP}.plain'\nloss = 'mse'", f"did you mean {SHOP}:plain?"),
        ("[contracts.a]\ntarget = 'm:f(1)'\nloss = 'mse'", 'is no "package.module:factory"'),
        (HEAD + "signature = 's'\nloss = 'mse'", "a.signature: a signature chooses a function"),
        (HEAD + "[contracts.a.guards.f.true]\nwached = '*'", "f.true.wached: unknown key; did you"),
        ("[contracts]", "contracts"),
        ("[contracts.a\n", "not TOML"),
        ("", "contracts"),
    ],
)
def test_a_mistake_is_named(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ContractError) as error:
        read(path)
    assert message in str(error.value)
    assert all(line.startswith(str(path)) for line in str(error.value).splitlines())


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + "los = 'mse'\nclipping = 3\n[contracts.b]\nwatched = 1\n")
    with pytest.raises(ContractError) as error:
        read(path)
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a = " + b"[" * 100_000])
def test_what_is_no_contract_at_all(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.graph.toml"
    path.write_bytes(content)
    with pytest.raises(ContractError, match="some"):
        read(path)
    with pytest.raises(ContractError, match="can't be read"):
        read(tmp_path / "missing.graph.toml")
    path.write_bytes(b"#" * (5 << 20))
    with pytest.raises(ContractError, match="larger than 4 MiB"):
        read(path)


def test_the_shipped_schema_is_that_of_the_code() -> None:
    shipped = Path(verify.contracts.__path__[0]) / "contract.schema.json"
    assert shipped.read_text("utf-8") == json_schema()
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(GOOD), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"contracts": {"a": {"target": "m:f", "los": "mse"}}}, schema)
