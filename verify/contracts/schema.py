"""What a contract file may say, as pydantic models; the JSON schema that editors use is theirs."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import pydantic

Globs = Annotated[
    str | list[str],
    pydantic.Field(description="Paths or globs over variable.path; `!glob` makes an exception."),
]
Off = Annotated[Literal[False], pydantic.Field(description="There is none.")]


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class Made(pydantic.BaseModel):
    """An object of Keras by its class's name, or of your own as `package.module:name`.

    What is said besides `is` (and `weight`, `on`) are its settings.
    """

    model_config = pydantic.ConfigDict(extra="allow", strict=True, frozen=True)

    is_: str = pydantic.Field(alias="is")


class Loss(Made):
    weight: float | int = 1.0


class Term(Made):
    on: Globs


class Norm(_Strict):
    norm: float | int


class GlobalNorm(_Strict):
    global_norm: float | int


class Expected(_Strict):
    """What a step has to be; see `verify.assert_graph`. What is left out is not checked."""

    loss: Off | str | Loss | list[str | Loss] | None = None
    regularization: bool | int | list[Term] | None = None
    clipping: (
        Off
        | Annotated[list[float | int], pydantic.Field(min_length=2, max_length=2)]
        | Norm
        | GlobalNorm
        | None
    ) = None
    watched: Globs | None = None
    unwatched: Globs | None = None
    decayed: Globs | None = None
    guards: Off | dict[str, dict[str, Expected]] | None = None
    forbids: Annotated[
        str | list[str] | None,
        pydantic.Field(description="Globs over op types; `!glob` makes an exception."),
    ] = None
    max_ops: Annotated[int | None, pydantic.Field(ge=0)] = None
    max_bytes: Annotated[int | None, pydantic.Field(ge=0)] = None
    allow_writes: bool = False

    @property
    def says_something_of_the_step(self) -> bool:
        expectations = Expected.model_fields.keys() - {"allow_writes"}
        return bool(self.model_fields_set & expectations)


class Promise(Expected):
    """One contract: a step, and what it has to be."""

    target: Annotated[
        str | None,
        pydantic.Field(
            description="`package.module:factory`; what the factory returns is verified: a target "
            "of verify.assert_graph, or a tuple of it and its arguments."
        ),
    ] = None
    file: Annotated[
        str | None,
        pydantic.Field(description="Path of a SavedModel or GraphDef, from this file's folder."),
    ] = None
    step: Annotated[
        str | None,
        pydantic.Field(description="Attribute of what the factory returns, e.g. `warmup_on`."),
    ] = None
    signature: Annotated[
        str | None, pydantic.Field(description="Which function of a SavedModel, if several.")
    ] = None
    tags: list[Annotated[str, pydantic.Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]] = []


class File(_Strict):
    """A contract file, `*.graph.toml`."""

    contracts: Annotated[dict[str, Promise], pydantic.Field(min_length=1)]


def json_schema() -> str:
    """The JSON schema of contract files, as shipped beside this module."""
    made: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **File.model_json_schema(by_alias=True),
        "title": "loopctl graph contract",
    }
    return json.dumps(made, indent=2) + "\n"
