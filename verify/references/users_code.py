"""Running a user's code for a reference of our own, which may fail and must not end a verdict."""

from __future__ import annotations

import contextlib
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

_TOLD = 200  # characters of an error's text in a hint
_CONVERTED = "in user code:"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Keras prints the first line of its errors in bold


class Untraced(Exception):  # noqa: N818 - no error of anybody: there is no reference, then
    """The user's model can't be traced on the batch as it is fed; the message says why."""


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Within it, a user's code is run.

    Raises:
        Untraced: it has raised anything.
    """
    try:
        yield
    # The step that is verified has been traced by now; this is a second run, for what a model adds
    # by itself or a schedule comes to, and nobody has promised that these can be called as they
    # are: a model may have a `train_step` and no `call`, take shifted tokens, or several inputs. A
    # user's code can raise anything then.
    except Exception as error:
        # Keras lists the arguments below; of interest is what it says first. Autograph says last
        # what the error is, after where it comes from.
        told = _COLOURS.sub("", str(error)).partition("Arguments received by")[0].strip()
        if told.startswith(_CONVERTED):
            told = told.rpartition("\n\n")[2].strip().removeprefix(f"{type(error).__name__}: ")
        text = textwrap.shorten(told, _TOLD, placeholder=" ...") or "no message"
        raise Untraced(f"{type(error).__name__}: {text}") from error


def traced(function: Callable[..., Any], *specs: Any, **by_name: Any) -> Any:
    """The concrete function of `function`, which calls a user's model or function, on `specs`.

    Variables among these are no arguments of it.

    Raises:
        Untraced: the model does not take them.
    """
    with running():
        made, given = _without_variables(function, (specs, by_name))
        return tf.function(made, autograph=False).get_concrete_function(*given[0], **given[1])


def _without_variables(function: Callable[..., Any], given: Any) -> tuple[Callable[..., Any], Any]:
    """A function that has what it was given as variables at hand; and what is left to give it."""
    leaves = tf.nest.flatten(given)
    if not any(isinstance(leaf, tf.Variable) for leaf in leaves):
        return function, given

    def called(*tensors: Any) -> Any:
        left = iter(tensors)
        every = [next(left) if isinstance(leaf, tf.TypeSpec) else leaf for leaf in leaves]
        specs, by_name = tf.nest.pack_sequence_as(given, every)
        return function(*specs, **by_name)

    return called, ([leaf for leaf in leaves if isinstance(leaf, tf.TypeSpec)], {})
