"""Optimizers: by what rule, and at what rate, a step updates what it trains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import keras
import numpy as np
import pydantic

from verify.errors import ContractError
from verify.find import Detector, Rule
from verify.flow import Update
from verify.kinds.contract_spelling import Made, Range, object_of, spelt
from verify.kinds.facts import Facts, OptimizerFact
from verify.kinds.kind import Asked, Keyword, Kind, Read, Row
from verify.kinds.lines import lines_of_writes
from verify.kinds.rates import AtRates, Rates, is_pair, lowest, rates_of
from verify.kinds.selection import by_model, frozen_among, names, select
from verify.kinds.violation import NO_RULE, UNTOLD, Violation
from verify.references import (
    has_schedule,
    optimizer_name,
    optimizer_settings,
    other_settings,
    rate_after,
    schedule_name,
    schedule_of,
    why_unrated,
    why_untold,
)

_NONE = "no gradient reaches an update"
_AGAIN = "more than once by the same gradient"
_UPHILL = "the step increases what it differentiates: negate that, or pass allow_transforms=True"


def _facts(detector: Detector) -> Iterator[OptimizerFact]:
    by: dict[str, tuple[float | None, list[str]]] = {}
    told: dict[Any, tuple[str, float | None]] = {}  # once of what most variables have in common
    for update in detector.flow.trained:
        rule = detector.rule_of(update)
        if rule is not None:
            made = id(rule.optimizer), rule.rate, rule.decay
            if made not in told:
                told[made] = _name(rule) + _miscounted(detector, rule), _rate(rule)
            name, rate = told[made]
            by.setdefault(name, (rate, []))[1].append(update.variable.path)
    for name, (rate, paths) in by.items():
        yield OptimizerFact(name, rate, tuple(sorted(set(paths))))


def _name(rule: Rule) -> str:
    if rule.optimizer is not None:
        return optimizer_name(rule.optimizer)
    rate = "of the step" if rule.rate is None else f"{rule.rate:.6g}"
    # Keras multiplies the decay by the rate.
    decay = (
        "" if not rule.decay or not rule.rate else f", weight_decay={rule.decay / rule.rate:.6g}"
    )
    return f"SGD(learning_rate={rate}{decay})"


def _miscounted(detector: Detector, rule: Rule) -> str:
    """What to add of an optimizer that counts steps that it does not make."""
    one = None if rule.optimizer is None else detector.optimizers.miscounted(rule.optimizer)
    return "" if one is None else f", which counts {one[0]} steps where it makes {one[1]}"


def _rate(rule: Rule) -> float | None:
    """The learning rate now, None where it depends on the step."""
    if rule.optimizer is None:
        return rule.rate
    rate = optimizer_settings(rule.optimizer)["learning_rate"]
    return float(rate) if isinstance(rate, int | float) else None


# -- what was asserted -----------------------------------------------------------------------------


def _by_selection(
    detector: Detector, expected: Any, keyword: str
) -> list[tuple[set[str], Any, tuple[str, ...]]]:
    """What is expected of which trained variables, and what to add where there are none."""
    trained = {update.variable.path for update in detector.flow.trained}
    if not isinstance(expected, Mapping) or "class_name" in expected:  # a config of Keras
        weights = [v.path for v in detector.step.model_weights if v.trainable]
        return [(trained, expected, (*frozen_among(detector, weights),))]
    chosen = (
        ({v.path for v in select(detector, key, keyword, frozen=True)}, one)
        for key, one in expected.items()
    )
    return [(paths & trained, one, (*frozen_among(detector, paths),)) for paths, one in chosen]


def _optimizer(detector: Detector, expected: Any, asked: Asked) -> list[Violation]:
    violations: list[Violation] = []
    transforms = asked.values.get("allow_transforms", False)
    for paths, wanted, frozen in _by_selection(detector, expected, "optimizer"):
        made = None if wanted is None else _made(wanted)
        wish = "no update" if made is None else f"each update as by {_wish(made)}"
        if not paths and made is not None:
            violations.append(Violation("optimizer", wish, _NONE, frozen))
        wrong: dict[str, tuple[list[str], tuple[str, ...]]] = {}
        for update in detector.flow.trained:
            path, rule = update.variable.path, detector.rule_of(update)
            if path not in paths:
                continue
            one = made.at(_rate_within(rule, made)) if isinstance(made, AtRates) else made
            as_made = None if one is None else detector.made_as(update, one)
            why = "" if one is None or _is_of(rule, one) else why_untold(one)
            if why:
                wrong.setdefault(f"{UNTOLD}: {why}", ([], ()))[0].append(path)
            elif as_made is None:
                told = _unknown(update) if rule is None else _name(rule)
                hints = () if made is None or rule is None else _differences(rule, made)
                wrong.setdefault(told, ([], hints))[0].append(path)
            elif update in detector.flow.repeated:
                told = f"{optimizer_name(one)}, {_AGAIN}"
                wrong.setdefault(told, ([], ()))[0].append(path)
            elif counting := _miscounted(detector, as_made):
                wrong.setdefault(optimizer_name(one) + counting, ([], ()))[0].append(path)
            elif not transforms and detector.opposes(update, as_made):
                told = f"{optimizer_name(one)} of the opposite of each gradient"
                wrong.setdefault(told, ([], (_UPHILL,)))[0].append(path)
        violations += [
            Violation(
                "optimizer", wish, f"{told}: {names(of)}", hints, lines_of_writes(detector, of)
            )
            for told, (of, hints) in wrong.items()
        ]
    return violations


def _is_of(rule: Rule | None, optimizer: Any) -> bool:
    """Whether an update is at the very rate of an optimizer, whatever that is."""
    if rule is None or rule.optimizer is None:
        return False
    schedule = schedule_of(rule.optimizer)
    return rule.optimizer is optimizer or bool(schedule and schedule is schedule_of(optimizer))


def _made(wanted: Any) -> Any:
    """An optimizer from itself, a name or a config; what scales losses for one makes no update.

    At any of several rates, if the config says two.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(wanted, AtRates):
        return wanted
    if isinstance(wanted, type):
        name = wanted.__name__
        raise TypeError(f"optimizer: {name} is a class: an instance is needed, such as {name}()")
    config, rates = lowest(wanted) if isinstance(wanted, Mapping) else (wanted, None)
    try:
        made = keras.optimizers.get(config)
    except ValueError as error:
        raise TypeError(f"optimizer: {wanted!r} is not an optimizer of Keras: {error}") from None
    inner = getattr(made, "inner_optimizer", made)
    return inner if rates is None else AtRates(inner, rates)


def _wish(made: Any) -> str:
    if isinstance(made, AtRates):
        return f"{optimizer_name(made.optimizer)}, or at a rate up to {made.rates.most:.6g}"
    return optimizer_name(made)


def _rate_within(rule: Rule | None, made: AtRates) -> float:
    """The rate of an update, if that is one of those that are asked for; else one of these."""
    rate = None if rule is None else _rate(rule)
    return rate if rate is not None and rate in made.rates else made.rates.least


def _unknown(update: Update) -> str:
    rows = update.node.op.startswith("ResourceScatter")
    return f"{NO_RULE}, of some rows at a time" if rows else NO_RULE


def _differences(rule: Rule, expected: Any) -> tuple[str, ...]:
    """The settings that differ, where the optimizer is of the expected class."""
    rates = None
    if isinstance(expected, AtRates):
        rates, expected = expected.rates, expected.at(_rate_within(rule, expected))
    if rule.optimizer is None and (schedule := schedule_of(expected)) is not None:
        return _at_other_rates(rule, schedule)
    if type(rule.optimizer) is not type(expected):
        return ()
    found = other_settings(rule.optimizer, expected)
    if rates is not None:
        told = {name: str(rates) if name == "learning_rate" else said for name, _, said in found}
        found = tuple((name, there, told[name]) for name, there, _ in found)
    if not found:  # what is told apart then is no setting
        return ("one of the two exempts it from weight decay: see exclude_from_weight_decay",)
    return tuple(f"{name} is {there}, expected {wanted}" for name, there, wanted in found)


def _learning_rate(detector: Detector, expected: Any, asked: Asked) -> list[Violation]:
    violations: list[Violation] = []
    by_hand = _asked_for(detector, asked)
    for paths, wanted, frozen in _by_selection(detector, expected, "learning_rate"):
        schedule = isinstance(wanted, keras.optimizers.schedules.LearningRateSchedule)
        rates = _rates(wanted) if not schedule else None
        wish = schedule_name(wanted) if rates is None else _spelt_rates(rates)
        if not paths:
            violations.append(Violation("learning_rate", wish, _NONE, frozen))
        wrong: dict[str, tuple[list[str], tuple[str, ...]]] = {}
        for update in detector.flow.trained:
            path, rule = update.variable.path, detector.rule_of(update)
            if path not in paths:
                continue
            rule = rule or by_hand.get(path)
            rate = None if rule is None else _rate(rule)
            if rates is None:
                made = None if rule is None else rule.optimizer
                by_schedule = keras.optimizers.SGD(wanted) if rule and made is None else None
                right = (
                    detector.made_as(update, by_schedule) is not None
                    if by_schedule is not None
                    else made is not None and has_schedule(made, wanted)
                )
            else:
                right = rate is not None and rate in rates
            own = None if rule is None or rule.optimizer is None else schedule_of(rule.optimizer)
            why = why_unrated(wanted) if own is not wanted else ""
            if why:
                wrong.setdefault(f"{UNTOLD}: {why}", ([], ()))[0].append(path)
            elif not right or update in detector.flow.repeated:
                told = _unknown(update) if rule is None else _name(rule)
                told += f", {_AGAIN}" if right else ""
                hints = _at_other_rates(rule, wanted) if rule is not None and schedule else ()
                wrong.setdefault(told, ([], hints))[0].append(path)
        violations += [
            Violation(
                "learning_rate", wish, f"{told}: {names(of)}", hints, lines_of_writes(detector, of)
            )
            for told, (of, hints) in wrong.items()
        ]
    return violations


def _at_other_rates(rule: Rule, schedule: Any) -> tuple[str, ...]:
    """After how many steps a rate by hand first differs from that of a schedule, if it does."""
    for steps, rate in rule.rates if rule.rate is None else ():
        wanted = rate_after(schedule, steps)
        if wanted is None or not np.isclose(rate, wanted, rtol=1e-4, atol=1e-12):
            after = f"after {steps} step{'s' * (steps != 1)}"
            return (f"{after} it is {rate:.6g}, expected {wanted or 0:.6g}",)
    return ()


def _rates(wanted: Any) -> Rates:
    """The rates that are asked for: one, or all between two.

    Raises:
        TypeError: it is no number.
    """
    if is_pair(wanted):
        return rates_of(wanted, "learning_rate")
    if isinstance(wanted, bool) or not isinstance(wanted, int | float):
        raise TypeError(f"learning_rate: {wanted!r} is neither a number nor a schedule")
    return Rates(float(wanted), float(wanted))


def _spelt_rates(rates: Rates) -> str:
    return f"{rates.least:.6g}" if rates.least == rates.most else str(rates)


def _asked_for(detector: Detector, asked: Asked) -> dict[str, Rule]:
    """How variables are updated by no optimizer at hand, if as by those that are asked for too."""
    expected = asked.values.get("optimizer")
    found: dict[str, Rule] = {}
    if expected is None:
        return found
    for paths, wanted, _ in _by_selection(detector, expected, "optimizer"):
        made = None if wanted is None else _made(wanted)
        for update in detector.flow.trained:
            if made is not None and update.variable.path in paths and not detector.rule_of(update):
                one = made.at(made.rates.least) if isinstance(made, AtRates) else made
                rule = detector.made_as(update, one)
                found |= {} if rule is None else {update.variable.path: rule}
    return found


# -- contracts -------------------------------------------------------------------------------------


class Optimizer(Made):
    """An optimizer of Keras, or of your own, with its settings."""


def _read(place: str, said: Any, _: Read) -> Any:
    if isinstance(said, dict):
        return {key: _read(f"{place}[{key!r}]", one, _) for key, one in said.items()}
    if isinstance(said, Optimizer):
        settings = dict(said.model_extra or {})
        rates = None
        if is_pair(between := settings.get("learning_rate")):
            try:
                rates = rates_of(between, "learning_rate")
            except TypeError as error:
                raise ContractError(f"{place}: {error}") from None
            settings["learning_rate"] = rates.least
        made = object_of(place, keras.optimizers, said.is_, settings)
        return made if rates is None else AtRates(made, rates)
    if ":" in said or hasattr(keras.optimizers, said):
        return object_of(place, keras.optimizers, said, {})
    try:
        return keras.optimizers.get(said)  # an alias
    except ValueError:
        raise ContractError(f"{place}: Keras has no optimizer {said!r}") from None


def _spelt(facts: Facts) -> dict[str, Any]:
    """The one optimizer of all that is watched, if a contract can say it."""
    if len(facts.optimizers) != 1 or set(facts.optimizers[0].variables) != set(facts.watched):
        return {}
    (one,) = facts.optimizers
    if one.rate is None:
        return {}
    try:
        return {"optimizer": spelt(one.name, None, "")}
    except (ValueError, SyntaxError):  # settings that are no literals
        return {}


_Table = dict[str, str | Optimizer]
_Spelling = Annotated[str | Optimizer | _Table, pydantic.Field(union_mode="left_to_right")]
_Rate = float | int | Range
_Rates = _Rate | dict[str, _Rate]


class _Optimizers(Kind):
    keywords = (
        Keyword("optimizer", _Spelling, _optimizer, rank=5, read=_read, by_entry=True),
        Keyword("learning_rate", _Rates, _learning_rate, rank=5, by_entry=True),
    )

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"optimizers": tuple(_facts(detector))}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("optimizer", (_told(one, facts.watched) for one in facts.optimizers))]

    def snapshot(self, facts: Facts) -> list[Row]:
        told = (
            line
            for one in facts.optimizers
            for line in (
                [one.name]
                if set(one.variables) == set(facts.watched)
                else [f"{one.name} of {path}" for path in one.variables]
            )
        )
        return [Row.of("optimizer", told)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return _spelt(facts)


def _told(one: OptimizerFact, watched: tuple[str, ...]) -> str:
    if set(one.variables) == set(watched):
        return one.name
    return f"{one.name} of {by_model(one.variables, watched)}"


KIND = _Optimizers()
