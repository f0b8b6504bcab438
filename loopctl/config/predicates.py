"""Graph predicates: the expressions that they are made of, and how each is evaluated and shown."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from loopctl.config.predicate_values import COUNTERS, HostValues, Statistic, Values
from loopctl_shared import near_spellings

RESERVED = frozenset(
    (
        *COUNTERS,
        *("always", "annotations", "column", "every", "parse", "parse_value"),
        *("cosine", "linear", "maximum", "minimum", "piecewise", "plateau", "since_best"),
    )
)
"""Names in `loopctl.when` that are no columns of the history."""


class Expression:
    """What is computed before every train step, from counters and recent values."""

    precedence = 6

    def evaluate(self, values: Values) -> Any:
        raise NotImplementedError

    @property
    def parts(self) -> tuple[Any, ...]:
        """What the value is computed from."""
        return ()

    @property
    def counters(self) -> frozenset[str]:
        """Names of the counters that decide."""
        return frozenset(part.name for part in walk(self) if isinstance(part, Counter))

    @property
    def statistics(self) -> tuple[Statistic, ...]:
        """The statistics that decide, each once."""
        return tuple(
            dict.fromkeys(
                Statistic(part.name, part.window)
                for part in walk(self)
                if isinstance(part, SeriesMean)
            )
        )


class Number(Expression):
    """A scalar in an expression; takes part in arithmetic and comparisons."""

    def at(self, callback: Any) -> float:
        """What it is on the host, for the present state of `callback`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(self.evaluate(HostValues(callback)))

    def __add__(self, other: Any) -> Number:
        return Arithmetic("+", self, as_number(other))

    def __radd__(self, other: Any) -> Number:
        return Arithmetic("+", as_number(other), self)

    def __sub__(self, other: Any) -> Number:
        return Arithmetic("-", self, as_number(other))

    def __rsub__(self, other: Any) -> Number:
        return Arithmetic("-", as_number(other), self)

    def __mul__(self, other: Any) -> Number:
        return Arithmetic("*", self, as_number(other))

    def __rmul__(self, other: Any) -> Number:
        return Arithmetic("*", as_number(other), self)

    def __truediv__(self, other: Any) -> Number:
        return Arithmetic("/", self, _divisor(other))

    def __rtruediv__(self, other: Any) -> Number:
        return Arithmetic("/", as_number(other), self)

    def __floordiv__(self, other: Any) -> Number:
        return Arithmetic("//", self, _divisor(other))

    def __rfloordiv__(self, other: Any) -> Number:
        return Arithmetic("//", as_number(other), self)

    def __mod__(self, other: Any) -> Number:
        return Arithmetic("%", self, _divisor(other))

    def __rmod__(self, other: Any) -> Number:
        return Arithmetic("%", as_number(other), self)

    def __neg__(self) -> Number:
        return Arithmetic("-", Constant(0), self)

    def __lt__(self, other: Any) -> Condition:
        return Comparison("<", self, as_number(other))

    def __le__(self, other: Any) -> Condition:
        return Comparison("<=", self, as_number(other))

    def __gt__(self, other: Any) -> Condition:
        return Comparison(">", self, as_number(other))

    def __ge__(self, other: Any) -> Condition:
        return Comparison(">=", self, as_number(other))

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]  # builds a condition
        return Comparison("==", self, as_number(other))

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return Comparison("!=", self, as_number(other))

    __hash__ = object.__hash__


class Condition(Expression):
    """Chooses the branch of an action; True or False in every train step."""

    def __call__(self, callback: Any) -> bool:
        """The outcome on the host, for the present state of `callback`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return bool(self.evaluate(HostValues(callback)))

    def __and__(self, other: Condition) -> Condition:
        return Logic("&", (self, _condition(other)))

    def __or__(self, other: Condition) -> Condition:
        return Logic("|", (self, _condition(other)))

    def __invert__(self) -> Condition:
        return Logic("~", (self,))

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} has no truth value: it is evaluated in every train step. Combine "
            "conditions with &, | and ~ (not: and, or, not, a < b < c), comparisons in parentheses"
        )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Constant(Number):
    value: float

    def evaluate(self, values: Values) -> Any:
        return values.constant(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Counter(Number):
    name: str

    def evaluate(self, values: Values) -> Any:
        return values.counter(self.name)

    def __repr__(self) -> str:
        return f"when.{self.name}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SeriesMean(Number):
    """Mean of the last `window` values of a column; the last value, if `window` is 1."""

    name: str
    window: int

    def evaluate(self, values: Values) -> Any:
        return values.statistic(Statistic(self.name, self.window))

    def __repr__(self) -> str:
        call = "last()" if self.window == 1 else f"mean({self.window})"
        return f"{Series(self.name)!r}.{call}"


@dataclasses.dataclass(frozen=True)
class Series:
    """A column of the callback's history, by name."""

    name: str

    def __post_init__(self) -> None:
        if type(self.name) is not str:  # a subclass could write another text into source
            raise TypeError(f"a column has a plain string for its name, not a {type(self.name)}")

    def last(self) -> Number:
        """Its value in the last train step."""
        return SeriesMean(self.name, 1)

    def mean(self, window: int) -> Number:
        """The mean of its last `window` values, or of all since the last reinitialisation."""
        if isinstance(window, bool) or not isinstance(window, int) or window < 1:
            raise ValueError(f"{self!r}.mean({window!r}): a window of at least 1 step is needed")
        return SeriesMean(self.name, int(window))

    @property
    def hint(self) -> str:
        """What to write where a number is needed."""
        near = near_spellings(self.name, COUNTERS)
        meant = f"; did you mean when.{near[0]}, the counter?" if near else ""
        return f"it is a column of the history: take its .last() or .mean(n){meant}"

    def _no_number(self, other: Any) -> Any:
        as_number(self)

    __lt__ = __le__ = __gt__ = __ge__ = _no_number
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = _no_number
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = _no_number

    def __eq__(self, other: object) -> bool:
        return self.name == other.name if isinstance(other, Series) else self._no_number(other)

    def __repr__(self) -> str:
        plain = self.name.isidentifier() and self.name not in RESERVED
        return f"when.{self.name}" if plain else f"when.column({self.name!r})"


_ARITHMETIC: dict[str, tuple[int, Callable[[Any, Any], Any]]] = {
    "+": (3, operator.add),
    "-": (3, operator.sub),
    "*": (4, operator.mul),
    "/": (4, operator.truediv),
    "//": (4, operator.floordiv),
    "%": (4, operator.mod),
}
_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_LOGIC: dict[str, tuple[int, Callable[..., Any]]] = {
    "|": (1, operator.or_),
    "&": (2, operator.and_),
    "~": (5, operator.invert),
}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Arithmetic(Number):
    symbol: str
    left: Number
    right: Number

    @property
    def precedence(self) -> int:  # type: ignore[override]
        return _ARITHMETIC[self.symbol][0]

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.left, self.right

    def evaluate(self, values: Values) -> Any:
        left, right = both_alike(values, self.left, self.right)
        if self.symbol == "/":
            left, right = values.real(left), values.real(right)
        return _ARITHMETIC[self.symbol][1](left, right)

    def __repr__(self) -> str:
        own = self.precedence
        if isinstance(self.left, Constant) and self.left.value == 0 and self.symbol == "-":
            return f"-{_shown(self.right, 5)}"
        return f"{_shown(self.left, own)} {self.symbol} {_shown(self.right, own + 1)}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison(Condition):
    symbol: str
    left: Number
    right: Number
    precedence = 0

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.left, self.right

    def evaluate(self, values: Values) -> Any:
        return _COMPARISONS[self.symbol](*both_alike(values, self.left, self.right))

    def __repr__(self) -> str:
        return f"{self.left!r} {self.symbol} {self.right!r}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Logic(Condition):
    symbol: str
    operands: tuple[Condition, ...]

    @property
    def precedence(self) -> int:  # type: ignore[override]
        return _LOGIC[self.symbol][0]

    @property
    def parts(self) -> tuple[Any, ...]:
        return self.operands

    def evaluate(self, values: Values) -> Any:
        return _LOGIC[self.symbol][1](*(operand.evaluate(values) for operand in self.operands))

    def __repr__(self) -> str:
        own = self.precedence
        shown = [_shown(operand, own + i) for i, operand in enumerate(self.operands)]
        return f" {self.symbol} ".join(shown) if len(shown) > 1 else f"~{shown[0]}"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Every(Condition):
    """True in one of `period` train steps, beginning with the first."""

    period: int

    @property
    def parts(self) -> tuple[Any, ...]:
        return (Counter("batches"),)

    def evaluate(self, values: Values) -> Any:
        return (Counter("batches") % self.period == 0).evaluate(values)

    def __repr__(self) -> str:
        return f"when.every({self.period})"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Always(Condition):
    def evaluate(self, values: Values) -> Any:
        return Comparison("==", Constant(0), Constant(0)).evaluate(values)

    def __repr__(self) -> str:
        return "when.always"


def walk(expression: Any) -> Iterator[Any]:
    """`expression` and everything it is made of."""
    yield expression
    for part in expression.parts:
        yield from walk(part)


def as_number(value: Any) -> Number:
    """`value` as a part of an expression.

    Raises:
        TypeError: it is no number.
    """
    if isinstance(value, Number):
        return value
    if isinstance(value, np.integer | np.floating):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        hint = f"; {value.hint}" if isinstance(value, Series) else ""
        raise TypeError(f"{value!r} can't be used in a graph predicate: a number is needed{hint}")
    # Plain numbers: a predicate's text becomes source, and a subclass could write anything.
    return Constant(int(value) if isinstance(value, int) else float(value))


def _divisor(value: Any) -> Number:
    number = as_number(value)
    if isinstance(number, Constant) and number.value == 0:
        raise ZeroDivisionError("division by zero in a graph predicate")
    return number


def _condition(value: Any) -> Condition:
    if not isinstance(value, Condition):
        raise TypeError(
            f"{value!r} can't be combined with a graph predicate: another one is needed "
            "(comparisons in parentheses, since & and | bind tighter)"
        )
    return value


def both_alike(values: Values, left: Number, right: Number) -> tuple[Any, Any]:
    """Both values, as float64 unless both are integers."""
    a, b = left.evaluate(values), right.evaluate(values)
    return (a, b) if a.dtype == b.dtype else (values.real(a), values.real(b))


def _shown(expression: Any, least: int) -> str:
    return repr(expression) if expression.precedence >= least else f"({expression!r})"


def every(period: int) -> Condition:
    """True in one train step out of `period`, starting with the first."""
    if isinstance(period, bool) or not isinstance(period, int) or period < 1:
        raise ValueError(f"when.every({period!r}): a period of at least 1 step is needed")
    return Every(int(period))
