"""The text form of graph predicates, for config files: ``"batches % 10 < 8 and epochs >= 2"``."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from loopctl.config import plateaus, predicates, schedules
from loopctl.config.errors import ConfigError, closest
from loopctl.config.predicate_values import COUNTERS

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
    ast.Mod: lambda a, b: a % b,
    ast.BitAnd: lambda a, b: a & b,
    ast.BitOr: lambda a, b: a | b,
}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_ALLOWED = (
    "counters (" + ", ".join(COUNTERS) + "), every(n), always, <name>.last(), "
    '<name>.mean(n), column("<name>"), linear(a, b, over=n), cosine(a, b, over=n), '
    "piecewise([n, ...], [a, b, ...]), minimum(a, b), maximum(a, b), plateau(<name>, n), "
    "since_best(<name>), numbers, + - * / // %, comparisons, & | ~ (or: and, or, not)"
)
_SCHEDULES = {f.__name__: f for f in (schedules.linear, schedules.cosine, schedules.piecewise)}
_BESTS = {f.__name__: f for f in (plateaus.plateau, plateaus.since_best)}
_EXTREMES = {f.__name__: f for f in (schedules.minimum, schedules.maximum)}


def parse(text: str, *, where: str = "predicate") -> predicates.Condition:
    """The graph predicate that `text` spells, with or without the prefix ``when.``.

    Raises:
        ConfigError: `text` does not spell a predicate; the message begins with `where`.
    """
    result = _parsed(text, where, "graph predicate")
    if not isinstance(result, predicates.Condition):
        raise ConfigError(
            f"{where} is {text!r}, which is a number and not a condition: compare it with something"
        )
    return result


def parse_value(text: str, *, where: str = "value") -> predicates.Number:
    """The number that `text` spells, such as ``linear(0, 1, over=100)``.

    Raises:
        ConfigError: `text` does not spell a number; the message begins with `where`.
    """
    result = _parsed(text, where, "value of `when`")
    if not isinstance(result, predicates.Number):
        raise ConfigError(f"{where} is {text!r}, which is a condition: a number is needed")
    return result


def _parsed(text: str, where: str, kind: str) -> Any:
    try:
        return _build(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, TypeError, ValueError, ZeroDivisionError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        stop = "" if reason.endswith((".", "?")) else "."
        raise ConfigError(
            f"{where} is {text!r}, which is not a {kind}: {reason}{stop} Allowed are {_ALLOWED}"
        ) from None


def _build(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return predicates.Constant(node.value)  # type: ignore[arg-type]  # checked just above
    if isinstance(node, ast.Name | ast.Attribute):
        return _named(_name(node))
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_build(node.left), _build(node.right))
    if isinstance(node, ast.UnaryOp):
        return _unary(node)
    if isinstance(node, ast.BoolOp):
        combine = _BINARY[ast.BitAnd if isinstance(node.op, ast.And) else ast.BitOr]
        first, *others = (_build(value) for value in node.values)
        for other in others:
            first = combine(first, other)
        return first
    if isinstance(node, ast.Compare):
        return _compare(node)
    if isinstance(node, ast.Call):
        return _call(node)
    raise ValueError(f"{ast.unparse(node)!r} is not understood")


def _unary(node: ast.UnaryOp) -> Any:
    operand = _build(node.operand)
    if isinstance(node.op, ast.Not | ast.Invert):
        return ~operand
    if isinstance(node.op, ast.USub):
        return (
            predicates.Constant(-operand.value)
            if isinstance(operand, predicates.Constant)
            else -operand
        )
    raise ValueError(f"{ast.unparse(node)!r} is not understood")


def _compare(node: ast.Compare) -> Any:
    operands = [_build(operand) for operand in (node.left, *node.comparators)]
    result: Any = None
    for symbol, left, right in zip(node.ops, operands, operands[1:], strict=False):
        if type(symbol) not in _COMPARE:
            raise ValueError(f"{ast.unparse(node)!r} is not understood")
        if not (isinstance(left, predicates.Number) and isinstance(right, predicates.Number)):
            raise ValueError(
                f"{ast.unparse(node)!r} compares something that is not a number (a series needs "
                ".last() or .mean(n); & and | need parentheses around comparisons)"
            )
        one = predicates.Comparison(_COMPARE[type(symbol)], left, right)
        result = one if result is None else result & one
    return result


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id == "when":
            return node.attr
        raise ValueError(f"{ast.unparse(node)!r} is not understood: did you mean to call it?")
    raise ValueError(f"{ast.unparse(node)!r} is not understood")


def _named(name: str) -> Any:
    if name in COUNTERS:
        return predicates.Counter(name)
    if name == "always":
        return predicates.Always()
    hint = closest(name, [*COUNTERS, "always"])
    raise ValueError(f"{name!r} is not a counter, and a series needs .last() or .mean(n).{hint}")


def _call(node: ast.Call) -> Any:
    function = node.func
    name = (
        "" if isinstance(function, ast.Attribute) and _is_statistic(function) else _name(function)
    )
    if name in _SCHEDULES:
        options = {
            str(k.arg): _build(k.value) if k.arg == "of" else _plain(k.value) for k in node.keywords
        }
        return _SCHEDULES[name](*map(_plain, node.args), **options)
    if name in _BESTS and node.args:
        column, *numbers = node.args
        options = {str(k.arg): _literal(k.value) for k in node.keywords}
        return _BESTS[name](_series(column), *map(_literal, numbers), **options)
    if name in _EXTREMES and not node.keywords:
        return _EXTREMES[name](*map(_build, node.args))
    arguments: list[Any] = [a.value if isinstance(a, ast.Constant) else None for a in node.args]
    if isinstance(function, ast.Attribute) and not name and not node.keywords:
        series = _series(function.value)
        return series.last(*arguments) if function.attr == "last" else series.mean(*arguments)
    if name == "every" and not node.keywords:
        return predicates.every(*arguments)
    hint = closest(name, ["every", "column", *_SCHEDULES, *_EXTREMES, *_BESTS])
    raise ValueError(f"{ast.unparse(node)!r} is not understood.{hint}")


def _is_statistic(function: ast.Attribute) -> bool:
    return function.attr in ("last", "mean")


def _plain(node: ast.expr) -> Any:
    """A number, or a list of numbers, that is written out."""
    if isinstance(node, ast.List | ast.Tuple):
        return [_plain(one) for one in node.elts]
    built = _build(node)
    if not isinstance(built, predicates.Constant):
        raise ValueError(f"{ast.unparse(node)!r} is not a number")
    return built.value


def _literal(node: ast.expr) -> Any:
    """A number or a text that is written out."""
    return node.value if isinstance(node, ast.Constant) else _plain(node)


def _series(node: ast.expr) -> predicates.Series:
    if isinstance(node, ast.Call) and _name(node.func) == "column" and len(node.args) == 1:
        argument = node.args[0]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
            return predicates.Series(argument.value)
        raise ValueError(f"{ast.unparse(node)!r}: the name of a column is needed")
    return predicates.Series(_name(node))
