"""How contracts spell what Python has objects for, and back: losses, regularisers, globs."""

from __future__ import annotations

import ast
import inspect
import json
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from verify.errors import ContractError
from verify.kinds.dotted_names import imported

Globs = Annotated[
    str | list[str],
    pydantic.Field(description="Paths or globs over variable.path; `!glob` makes an exception."),
]
Off = Annotated[Literal[False], pydantic.Field(description="There is none.")]


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class Made(pydantic.BaseModel):
    """An object of Keras by its class's name, or of your own as `package.module:name`.

    What is said besides `is` (and `weight`, `on`) are its settings.
    """

    model_config = pydantic.ConfigDict(extra="allow", strict=True, frozen=True)

    is_: str = pydantic.Field(alias="is")


class Loss(Made):
    weight: float | int = 1.0


class Fingerprint(Strict):
    """A loss that is none of Keras', by what facts tell of it."""

    fingerprint: str


class Term(Made):
    on: Globs


Range = Annotated[
    list[float | int],
    pydantic.Field(min_length=2, max_length=2, description="Between two numbers: [least, most]."),
]


class Norm(Strict):
    norm: float | int | Range


class GlobalNorm(Strict):
    global_norm: float | int | Range


class Followed(Strict):
    """What a variable follows; without a rate, at any."""

    source: Globs
    rate: float | int | None = None


FORMS = {
    "Loss": "a table",
    "Optimizer": "a table",
    "Fingerprint": '{fingerprint = "..."}',
    "Term": "a table",
    "Norm": "{norm = n}",
    "Followed": "{source = glob, rate = n}",
    "GlobalNorm": "{global_norm = n}",
}
"""Tables that a contract may hold, by the name of their model, in the words of TOML."""


def _of_keras(place: str, module: Any, name: str) -> Any:
    found = getattr(module, name, None)
    if not inspect.isclass(found) and not inspect.isfunction(found):
        raise ContractError(f"{place}: Keras has no {module.__name__.rpartition('.')[2]}.{name}")
    return found


def _made(place: str, kind: Any, settings: dict[str, Any]) -> Any:
    """The object a contract means: one for all contracts, so that its graph is traced once."""
    if not inspect.isclass(kind) and not settings:
        return kind
    key = (kind, json.dumps(settings, sort_keys=True, default=repr))
    if key not in _MADE:
        try:
            _MADE[key] = kind(**settings)
        except (TypeError, ValueError) as error:
            raise ContractError(f"{place}: {kind.__name__} with {settings}: {error}") from None
    return _MADE[key]


_MADE: dict[tuple[Any, str], Any] = {}


def object_of(place: str, library: Any, name: str, settings: dict[str, Any]) -> Any:
    """The object that a contract means: of one's own, ``package.module:name``, or of Keras.

    Args:
        place: where the contract says so.
        library: the module of Keras that has objects of this kind.
        settings: what a class is called with; a function takes none.

    Raises:
        ContractError: there is none, or it does not take these settings.
    """
    found = imported(place, name) if ":" in name else _of_keras(place, library, name)
    return _made(place, found, settings)


def spelt(named: str, weight: float | None, key: str) -> Any:
    """A class with its settings, as `loss_name` and the like tell it, for a contract."""
    table: dict[str, Any] = {"is": named}
    tree = ast.parse(named, mode="eval").body if "(" in named else None
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
        table = {"is": tree.func.id}
        table |= {str(k.arg): ast.literal_eval(k.value) for k in tree.keywords}
    if key and weight is not None and not np.isclose(weight, 1):
        table[key] = float(f"{weight:.6g}")
    return table if len(table) > 1 else table["is"]


def as_table(made: Any) -> dict[str, Any]:
    return made if isinstance(made, dict) else {"is": made}


def literal(path: str) -> str:
    """A glob that matches this path alone."""
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in path)
