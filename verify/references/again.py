"""A step's function, traced once more: what Python decides may be another thing then."""

from __future__ import annotations

import inspect
from typing import Any

from verify.graphs import Arguments, FlatGraph, flatten, is_model
from verify.references.users_code import Untraced, traced


def traced_again(owner: Any, arguments: Arguments | None) -> FlatGraph:
    """The graph of another trace of a function, or of a model's ``train_step``.

    Args:
        owner: that function, a ``tf.function`` or one of Python's, or the model.
        arguments: what the step is handed.

    Raises:
        Untraced: the function or its arguments are not known, or it can't be traced on them.
    """
    plain = owner if inspect.isroutine(owner) else None
    function = owner.train_step if is_model(owner) else getattr(owner, "python_function", plain)
    if function is None or arguments is None:
        raise Untraced("the Python function of the step, or what it is handed, is not known")
    return flatten(traced(function, *arguments.positional, **arguments.by_name))
