"""Callables that are made of settings, in files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loopctl import ConfigError, load_config, save_config, when
from loopctl.objectives import Submodel, Trained

NAME = __name__


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A transform of gradients with settings of all kinds."""

    factor: float
    name: str = "a.dotted.text"
    by: Callable[..., Any] | None = None
    inner: Any = None
    table: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seen: int = dataclasses.field(default=0, init=False)

    def __call__(self, gradients: Any, variables: Any) -> Any:
        return [gradient * self.factor for gradient in gradients]


@dataclasses.dataclass
class Counting:
    """What has been counted is no field."""

    step: int = 1

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError("step is below 1")
        self.identity = object()

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, gradients: Any, variables: Any) -> Any:
        return gradients


def halved(gradients: Any, variables: Any) -> Any:
    return [gradient / 2 for gradient in gradients]


def config_of(transform: Any) -> dict[str, Any]:
    return {"a": {"cond": when.always, True: {"gradients": transform}}}


@pytest.mark.parametrize("suffix", [".toml", ".json", ".yaml"])
@pytest.mark.parametrize(
    "made",
    [
        Scaled(0.5),
        Scaled(1e-7, by=halved, table={"deep": {"x": [1, 2.5, True, "text"]}}),
        Scaled(2.0, inner=Scaled(3.0, by=Scaled), table={"f": halved, "g": [Scaled(1.0)]}),
    ],
    ids=["plain", "nested values", "nested objects"],
)
def test_what_is_read_is_equal(made: Scaled, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"control{suffix}"
    save_config(config_of(made), path)
    assert load_config(path)["a"][True]["gradients"] == made


def test_every_key_of_callables_may_be_made_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "control.toml"
    branch = {
        "variables": Trained(("online", "predictor")),
        "average": {"decay": 0.9, "into": Submodel("a.b"), "of": Submodel("online")},
        "ascend": Scaled(0.1),
        "regularize": Submodel("online"),
    }
    save_config({"a": {"cond": Submodel("stop_training"), True: branch}}, path)
    read = load_config(path)["a"]
    assert (read["cond"], read[True]) == (Submodel("stop_training"), branch)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (Scaled(1.0, by=lambda z: z), '["gradients"].by is <function <lambda>'),
        (Scaled(1.0, table={"x": np.zeros(2)}), "[\"gradients\"].table['x'] is array"),
        (Scaled(1.0, table={"import": "a.b"}), "[\"gradients\"].table is {'import'"),
        (Scaled(1.0, inner=[Scaled(1.0, inner=object())]), '["gradients"].inner[0].inner is <obj'),
        (Scaled(1.0, inner=(1, 2)), "is not equal to an object made from its fields"),
        (Counting(), "is not equal to an object made from its fields"),
    ],
    ids=["lambda", "array", "a table like one of ours", "nested", "tuple", "state"],
)
def test_what_is_not_read_as_it_was_is_not_written(made: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    with pytest.raises(ConfigError) as error:
        save_config(config_of(made), path)
    assert message in str(error.value)
    assert 'config["a"][True]["gradients"]' in str(error.value)
    assert not path.exists()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (f'{{class_name = "{NAME}.Scald"}}', "Did you mean 'Scaled'?"),
        (f'{{class_name = "{NAME}.halved"}}', "which is not a dataclass"),
        (f'{{class_name = "{NAME}.Scaled", config = {{factr = 1}}}}', "Did you mean 'factor'?"),
        (f'{{class_name = "{NAME}.Scaled", config = {{seen = 1}}}}', "unknown key 'seen'"),
        (f'{{class_name = "{NAME}.Scaled", config = 3}}', "is 3: a table of fields is needed"),
        (f'{{class_name = "{NAME}.Scaled", confg = {{}}}}', "Did you mean 'config'?"),
        (f'{{class_name = "{NAME}.Scaled"}}', "can't be made: "),
        (f'{{class_name = "{NAME}.Counting", config = {{step = 0}}}}', "step is below 1"),
        (
            f'{{class_name = "{NAME}.Scaled", config = {{factor = 1, by = {{import = "no.f"}}}}}}',
            "there is no module 'no'",
        ),
    ],
)
def test_errors_name_the_place(table: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "control.toml"
    path.write_text(f'[a]\ncond = "always"\n[a.true]\ngradients = {table}\n')
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert str(error.value).startswith(f'{path}: config["a"][True]["gradients"]')
    assert message in str(error.value)
