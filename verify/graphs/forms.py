"""What ops that are alike have in common: all that is written of them but their names and inputs.

A graph of a million ops has a few hundred forms. Attributes, shapes and dtypes are worked out once
for each, whoever asks of whichever graph; and what a graph was read from need not be kept.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs.op_definitions import output_dtypes, output_offsets, shape_of

_SETTINGS: dict[tuple[tuple[str, bytes], ...], dict[str, bytes]] = {}
_FORMS: weakref.WeakValueDictionary[bytes, Form] = weakref.WeakValueDictionary()
_LARGE = 1 << 12  # bytes: constants beyond are looked at one by one


class Form:
    """All that is written of an op but its name and inputs.

    `definition`: a ``NodeDef`` without these.
    """

    __slots__ = (
        "__weakref__",
        "_attrs",
        "_dtypes",
        "_offsets",
        "_settings",
        "_shapes",
        "_value",
        "definition",
        "op",
    )

    def __init__(self, definition: Any) -> None:
        self.definition, self.op = definition, sys.intern(definition.op)
        self._attrs: dict[str, Any] | None = None
        self._settings: dict[str, bytes] | None = None
        self._shapes: list[tuple[int | None, ...] | None] | None = None
        self._dtypes: list[str] | None = None
        self._offsets: dict[str, int] | None = None
        self._value: np.ndarray[Any, Any] | None = None

    @property
    def attrs(self) -> dict[str, Any]:
        """The op's attributes, as ``AttrValue``."""
        if self._attrs is None:
            self._attrs = dict(self.definition.attr)
            self._attrs.pop("_output_shapes", None)
        return self._attrs

    @property
    def settings(self) -> dict[str, bytes]:
        """The attributes that decide what the op does, serialised; one object for equal ones."""
        if self._settings is None:
            own = {
                name: value.SerializeToString(deterministic=True)
                for name, value in self.attrs.items()
                if not name.startswith("_")
            }
            self._settings = _SETTINGS.setdefault(tuple(sorted(own.items())), own)
        return self._settings

    @property
    def shapes(self) -> list[tuple[int | None, ...] | None]:
        if self._shapes is None:
            known = self.definition.attr.get("_output_shapes")
            self._shapes = [] if known is None else [shape_of(one) for one in known.list.shape]
        return self._shapes

    @property
    def dtypes(self) -> list[str]:
        if self._dtypes is None:
            self._dtypes = output_dtypes(self.definition)
        return self._dtypes

    @property
    def value(self) -> np.ndarray[Any, Any]:
        """What a ``Const`` holds."""
        if self._value is None:
            self._value = np.asarray(tf.make_ndarray(self.definition.attr["value"].tensor))
        return self._value

    def offset(self, argument: str) -> int:
        """Where the outputs begin that the op has by one of its names for them."""
        if self._offsets is None:
            self._offsets = output_offsets(self.definition)
        return self._offsets[argument] if len(self._offsets) > 1 else 0

    def holding(self, value: np.ndarray[Any, Any]) -> Form:
        """That of a constant of this op's shape and dtype."""
        held = type(self.definition)(op="Const")
        for attribute in ("_output_shapes", "dtype"):
            held.attr[attribute].CopyFrom(self.definition.attr[attribute])
        held.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
        made = Form(held)
        made._value = value
        return made


def form_of(definition: Any) -> Form:
    """The form of a ``NodeDef``, which is left as it is: the same object for ops that are alike."""
    own = type(definition)()
    own.CopyFrom(definition)
    own.ClearField("name")
    own.ClearField("input")
    written = own.SerializeToString(deterministic=True)
    if len(written) > _LARGE:
        return Form(own)
    known = _FORMS.get(written)
    if known is None:
        known = _FORMS[written] = Form(own)
    return known
