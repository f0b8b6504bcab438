"""What a contract file may say, as pydantic models; the JSON schema that editors use is theirs.

The keys that say what a step has to be are those of the kinds, see `verify.kinds`.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import pydantic

from verify.kinds import KEYWORDS, Keyword, Strict


class _Expectations(Strict):
    """What a step has to be; see `verify.assert_graph`. What is left out is not checked."""

    @property
    def says_something_of_the_step(self) -> bool:
        checked = {name for name, keyword in KEYWORDS.items() if keyword.check is not None}
        return bool(self.model_fields_set & checked)


def _field(keyword: Keyword) -> Any:
    spelling = keyword.spelling
    return (spelling if keyword.check is None else spelling | None), keyword.default


Expected: Any = pydantic.create_model(
    "Expected",
    __base__=_Expectations,
    __module__=__name__,
    __doc__=_Expectations.__doc__,
    **{name: _field(keyword) for name, keyword in KEYWORDS.items()},
)
Expected.model_rebuild()  # `guards` holds expectations again


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
    tags: list[Annotated[str, pydantic.Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]] = (
        pydantic.Field([])
    )


class File(Strict):
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
