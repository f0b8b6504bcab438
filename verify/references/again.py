"""A step's function, traced once more: what Python decides may be another thing then."""

from __future__ import annotations

from typing import Any

from verify.graphs import Arguments, FlatGraph, flatten, model_of
from verify.references.users_code import Untraced, traced


def traced_again(owner: Any, arguments: Arguments | None) -> FlatGraph:
    """The graph of another trace of a function, or of a model's ``train_step``.

    Args:
        owner: that function, a ``tf.function`` or one of Python's; or the model, or a function of
            Keras that trains it.
        arguments: what the step is handed.

    Raises:
        Untraced: the function or its arguments are not known, or it can't be traced on them.
    """
    model = model_of(owner)
    if model is not None:
        function = model.train_step
    elif hasattr(owner, "captured_inputs"):  # a concrete function
        function = None
    else:
        function = getattr(owner, "python_function", owner)
    if not callable(function) or arguments is None:
        raise Untraced("the Python function of the step, or what it is handed, is not known")
    if not arguments.again:
        made = flatten(traced(function, *arguments.positional, **arguments.by_name))
        arguments.again.append(made)
    return arguments.again[0]
