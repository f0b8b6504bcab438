"""Whether calls of a ``tf.function`` share one trace, and what keeps them from it.

Which calls share a trace is up to their arguments alone. So it is a stand-in that is traced, with
the function's parameters and options and nothing in it: neither what the function does nor what it
was called with before matters, and it is left with the traces that it had.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from verify.assertions.failure import fail
from verify.assertions.retrace_advice import Advice
from verify.graphs import idle_iterator, model_of
from verify.kinds import Violation


def assert_no_retrace(fn: Any, calls: Sequence[Any]) -> None:
    """Asserts that all calls of a function use the same trace; it is neither run nor traced.

    Args:
        fn: a ``tf.function``, or a compiled Keras model or one of its ``train_function``,
            ``test_function`` and ``predict_function``. Models take batches as ``train_on_batch``
            does, and iterators or datasets as ``fit`` does.
        calls: for each call, a tuple of positional arguments, a mapping of named arguments, or a
            pair of both; anything else is the only argument. For a model, a batch, an iterator or
            a dataset for each call.

    Raises:
        GraphAssertionError: for each call that would cause another trace, names the arguments that
            differ from those of the most similar earlier call, and what to change.
        TypeError: `fn` is neither a ``tf.function`` nor a compiled model, or does not take these
            arguments.
        ValueError: there are fewer than two calls.
    """
    __tracebackhide__ = True
    if len(calls) < 2:
        raise ValueError("at least two calls are needed to see a second trace")
    subject = _subject(fn)
    given = [subject.arguments(call) for call in calls]
    violations: list[Violation] = []
    traces: list[Any] = []  # kept, so that no two have the same identity
    for number, (args, named) in enumerate(given, start=1):
        try:
            trace = subject.stand_in.get_concrete_function(*args, **named)
        except TypeError as error:
            told = str(error).strip().partition("\n")[0]
            raise TypeError(f"{subject.name} does not take call {number}: {told}") from None
        if traces and all(trace is not other for other in traces):
            earlier = [
                subject.advice.differences(subject.bound(one), subject.bound((args, named)))
                for one in given[: number - 1]
            ]
            hints = min(earlier, key=len) or ["no difference that verify can name"]
            expected = f"call {number} to use an earlier trace"
            violations.append(Violation("retrace", expected, "it is traced again", (*hints,)))
        traces.append(trace)
    fail(subject.name, violations)


_FUNCTIONS = ("train_function", "test_function", "predict_function")
_Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class _Subject:
    """Something whose traces are counted: by a `stand_in` of the same `parameters` and options."""

    name: str
    stand_in: Any
    parameters: inspect.Signature
    advice: Advice
    model: Any = None

    def arguments(self, call: Any) -> _Call:
        if self.model is None:
            return _arguments(call)
        if isinstance(call, tuple | list) and len(call) == 1:
            (call,) = call
        if isinstance(call, tf.data.Dataset):
            call = idle_iterator(call.element_spec, self.model.distribute_strategy)
        return (call,), {}

    def bound(self, call: _Call) -> Mapping[str, Any]:
        return self.parameters.bind(*call[0], **call[1]).arguments


def _subject(fn: Any) -> _Subject:
    model = model_of(fn)
    if model is not None:
        if not getattr(model, "compiled", True):
            raise TypeError(f"{model.name!r} is not compiled: it has no function that is traced")
        if model.run_eagerly:
            raise TypeError(f"{model.name!r} runs eagerly (run_eagerly=True): nothing is traced")
        parameters = inspect.signature(lambda data: None)
        # Keras makes all its functions so, and loopctl too.
        stand_in = _stand_in(parameters, None, relaxes=True)
        own = next((name for name in _FUNCTIONS if getattr(model, name, None) is fn), None)
        name = model.name if own is None else f"{model.name}.{own}"
        return _Subject(name, stand_in, parameters, Advice(relaxes=True, by_keras=True), model)
    if not hasattr(fn, "experimental_get_tracing_count"):
        raise TypeError(
            f"{fn!r} is neither a tf.function nor a Keras model or one of its functions: nothing "
            "is traced"
        )
    parameters = inspect.signature(fn.python_function)
    # The one option that decides over traces and has no public name.
    relaxes = bool(getattr(fn, "_reduce_retracing", False))
    stand_in = _stand_in(parameters, fn.input_signature, relaxes)
    name = str(getattr(fn, "__name__", "step"))
    return _Subject(name, stand_in, parameters, Advice(relaxes))


def _stand_in(parameters: inspect.Signature, signature: Any, relaxes: bool) -> Any:
    def nothing(*args: Any, **named: Any) -> None:
        del args, named

    nothing.__signature__ = parameters  # type: ignore[attr-defined]  # what `inspect` looks for
    return tf.function(
        nothing, input_signature=signature, reduce_retracing=relaxes, autograph=False
    )


def _arguments(call: Any) -> _Call:
    if isinstance(call, Mapping):
        return (), dict(call)
    if not isinstance(call, tuple):
        return (call,), {}
    if len(call) == 2 and isinstance(call[0], tuple) and isinstance(call[1], Mapping):
        return call[0], dict(call[1])
    return call, {}
