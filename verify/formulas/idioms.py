"""Formulas that have a name: what several ops compute that people write as one function."""

from __future__ import annotations

from verify.formulas.expressions import Expression, call, infix, number, weighted

_ZERO, _ONE, _TWO = number(0), number(1), number(2)


def idiom(made: Expression) -> Expression:
    """The same by its name, if it has one."""
    if made.kind == "call" and made.text == "where":
        return _chosen(made)
    if made.kind == "call" and made.text in ("max", "min"):
        return _limited(made)
    if made.kind == "sum":
        return _sigmoid_crossentropy(made)
    if made.kind == "/":
        return _normalised(made)
    return made


def root(of: Expression) -> Expression:
    """A square root; of a sum of squares, the norm."""
    square = of.parts[0] if of.kind == "call" and of.text == "sum" else of
    if square is not of and square.kind == "^" and square.parts[1] == _TWO:
        return call("norm", square.parts[0], *of.parts[1:])
    return call("sqrt", of)


def _chosen(made: Expression) -> Expression:
    """The positive part and the negative absolute value, of which TensorFlow makes others."""
    if len(made.parts) != 3 or made.parts[0].kind != ">=" or made.parts[0].parts[1] != _ZERO:
        return made
    x, (_, if_so, if_not) = made.parts[0].parts[0], made.parts
    if (if_so, if_not) == (x, _ZERO):
        return call("relu", x)
    if (if_so, if_not) == (weighted([(-1, x)]), x):
        return weighted([(-1, call("abs", x))])
    return made


def _limited(made: Expression) -> Expression:
    """Between two numbers."""
    if len(made.parts) != 2:
        return made
    (one, other), inverse = made.parts, {"max": "min", "min": "max"}[made.text]
    of, bound = (other, one) if one.kind == "number" else (one, other)
    if bound.kind != "number" or of.kind != "call" or of.text != inverse or len(of.parts) != 2:
        return made
    numbers = [part for part in of.parts if part.kind == "number"]
    inner = [part for part in of.parts if part.kind != "number"]
    if len(numbers) != 1:
        return made
    low, high = (bound, numbers[0]) if made.text == "max" else (numbers[0], bound)
    return call("clip", inner[0], low, high)


def _sigmoid_crossentropy(made: Expression) -> Expression:
    """``relu(x) - x * z + log(1 + exp(-|x|))``, of logits x and labels z."""
    terms = dict(zip(made.parts, made.signs, strict=True))
    for part, sign in terms.items():
        if part.kind != "call" or part.text != "relu":
            continue
        x = part.parts[0]
        exp = call("exp", weighted([(-1, call("abs", x))]))
        softened = call("log", weighted([(1, exp), (1, _ONE)]))
        if terms.get(softened) != sign:
            continue
        labels = _factor(terms, x, -sign)
        left = [(s, p) for p, s in terms.items() if p not in (part, softened)]
        left = [(s, p) for s, p in left if _of(p, x) is None]
        return weighted([(sign, call("sigmoid_crossentropy", labels, x)), *left])
    return made


def _factor(terms: dict[Expression, float], x: Expression, sign: float) -> Expression:
    """What x is multiplied by in a sum, divided by a number."""
    found = ((s, _of(part, x)) for part, s in terms.items())
    return weighted((s / sign, by) for s, by in found if by is not None)


def _of(part: Expression, x: Expression) -> Expression | None:
    """What x is multiplied by in a product, None if it is no factor of it."""
    if part == x:
        return _ONE
    if part.kind == "*" and x in part.parts:
        return part.parts[1] if part.parts[0] == x else part.parts[0]
    return None


def _normalised(made: Expression) -> Expression:
    """Divided by its norm, which is kept away from zero."""
    x, by = made.parts
    if by.kind != "call" or by.text != "sqrt" or by.parts[0].kind != "call":
        return made
    limited = by.parts[0]
    if limited.text != "max" or limited.parts[1].kind != "number":
        return made
    summed = limited.parts[0]
    if summed.kind == "call" and summed.text == "sum" and summed.parts[0] == infix("^", x, _TWO):
        return call("l2_normalize", x, *summed.parts[1:])
    return made
