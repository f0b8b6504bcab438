"""Data losses: which ones a step differentiates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import keras
import numpy as np
import pydantic

from verify.errors import ContractError
from verify.find import Detector, Disjoint, Found, Sides, known_losses
from verify.graphs import key_of, path_of, resource
from verify.kinds.contract_spelling import Fingerprint, Loss, Off, object_of, spelt
from verify.kinds.facts import Facts, LossFact, times
from verify.kinds.gradients import astray, factor_of
from verify.kinds.kind import Asked, Cluster, Keyword, Kind, Read, Row
from verify.kinds.lines import at_losses
from verify.kinds.misfed_losses import misfed
from verify.kinds.other_losses import UNNAMED, example, told_instead
from verify.kinds.selection import by_model, frozen_among, names, select
from verify.kinds.unseen import UNSEEN, unseen
from verify.kinds.violation import Violation, doubts, nearest, weight
from verify.kinds.whole_losses import as_a_whole
from verify.match import Miss
from verify.references import LossKey, is_of_keras, known_name, loss_name, loss_of, other_reductions

_SCALE_IT = (
    "a loss scale has to multiply the loss (optimizer.scale_loss) and to divide the gradients"
)


def _facts(detector: Detector) -> Iterator[LossFact]:
    losses = known_losses(detector)
    for loss, found in losses:
        by = detector.search.scaling.multiplied(found.upstream) if found.weight is None else ()
        yield LossFact(
            known_name(loss),
            found.weight,
            found.prediction,
            found.paths,
            tuple(sorted({v.path for v in by})),
            # Of a target that the step makes, the name of a loss does not say enough.
            "" if is_of_keras(loss) and not found.made else detector.fingerprint(found.nodes),
        )
    unknown = detector.rest([*(found for _, found in losses), *detector.terms])[0]
    if unknown:
        paths = tuple(sorted({update.variable.path for update in unknown}))
        digits = detector.fingerprint(update.node.index for update in unknown)
        yield LossFact(UNNAMED, None, "", paths, fingerprint=digits)


# -- what was asserted -----------------------------------------------------------------------------


@at_losses
def _check(detector: Detector, expected: Any, asked: Asked) -> list[Violation]:
    unnamed = [one for one in _listed(expected) if isinstance(one, Unnamed)]
    if unnamed:
        expected = [one for one in _listed(expected) if not isinstance(one, Unnamed)]
    wanted = _wanted(detector, expected)
    violations: list[Violation] = []
    recognised = Disjoint()
    missing: list[tuple[_Wanted, Miss | None]] = []
    # A list may name one loss several times: each stands for one place where it acts.
    queues: dict[Any, Iterator[Found]] = {}
    for want in wanted:
        loss, factor = want.loss, want.factor
        found, miss = detector.losses(loss)
        key = (LossKey(loss), _key(factor), want.output, want.selection)
        if key not in queues:
            fitting = [f for f in found if want.fits(detector, f)]
            queues[key] = _nearest_first(detector, fitting, factor)
        one = next((f for f in queues[key] if recognised.fresh([f])), None)
        if one is None:
            missing.append((want, miss))
            continue
        recognised.add([one])
        violations += _weight(detector, loss, one, factor, asked)
        violations += _multiplied(detector, loss, one, asked)
        violations += misfed(detector, loss, one)
        for wrong in detector.search.scaling.misuse(one.upstream, one.updates):
            text = f"its gradient is {wrong}"
            violations.append(Violation("loss", loss_name(loss), text, (_SCALE_IT,)))
    violations += _unnamed(detector, unnamed, recognised)
    if not wanted and not unnamed and (paths := unseen(detector)):
        violations.append(Violation("loss", "no data loss", f"{names(paths)} {UNSEEN}"))
    rest = detector.rest([*recognised.all, *detector.terms])[0]
    whole = [(w.loss, w.factor) for w in wanted if not w.is_somewhere and not unnamed]
    if (missing or violations or rest) and 0 < len(whole) == len(wanted):
        told = as_a_whole(detector, whole, " and ".join(w.told for w in wanted), asked)
        if told is not None:
            return told
    if unnamed:
        rest = []  # told by its fingerprint
    trained = names({update.variable.path for update in rest})
    instead, named = told_instead(detector, recognised, [w.loss for w, _ in missing], rest)
    for want, miss in missing:
        elsewhere = [_where(detector, found) for found in detector.losses(want.loss)[0]]
        frozen = frozen_among(detector, want.trains or ())
        if elsewhere and want.is_somewhere:
            violations.append(Violation("loss", want.told, elsewhere[0], (*elsewhere[1:], *frozen)))
            continue
        text = "no gradient of it reaches an update"
        if rest:
            text = f"{instead} reaches the update of {trained}"
        hints = (*nearest(miss), *(doubts(detector) if rest else ()), *frozen)
        if not named:
            hints = (*example(detector, want.loss), *hints)
        violations.append(Violation("loss", want.told, text, hints))
    if rest and not missing:
        only = " and ".join(want.told for want in wanted) + " only" if wanted else "no data loss"
        text = f"{instead} reaches the update of {trained}"
        violations.append(Violation("loss", only, text, doubts(detector)))
    return violations


@dataclasses.dataclass(frozen=True)
class Unnamed:
    """A loss that has no name in Keras, by the fingerprint that facts tell of it."""

    fingerprint: str


def _unnamed(detector: Detector, expected: list[Unnamed], recognised: Disjoint) -> list[Violation]:
    """Whether what is differentiated besides named losses has these fingerprints, and no others."""
    if not expected:
        return []
    known = [(loss, one) for loss, one in known_losses(detector) if recognised.fresh([one])]
    found = [detector.fingerprint(one.nodes) for loss, one in known if not is_of_keras(loss)]
    others = [loss_name(loss) for loss, _ in known if is_of_keras(loss)]
    every = [*recognised.all, *(one for _, one in known), *detector.terms]
    if left := detector.rest(every)[0]:
        found.append(detector.fingerprint(update.node.index for update in left))
    if sorted(found) == sorted(one.fingerprint for one in expected) and not others:
        return []
    there = ", ".join([*(f"[{one}]" for one in found), *others]) or "no such loss"
    wanted = ", ".join(f"[{one.fingerprint}]" for one in expected)
    return [Violation("loss", f"losses with the fingerprint {wanted}", there, doubts(detector))]


def _listed(expected: Any) -> list[Any]:
    return list(expected) if isinstance(expected, list | tuple) else [expected]


def _multiplied(detector: Detector, loss: Any, found: Found, asked: Asked) -> list[Violation]:
    """Whether the gradient of a loss is multiplied again, before the optimizer."""
    if asked.values.get("allow_transforms", False) or found.unscaled:
        return []
    if detector.search.scaling.dynamic:  # whether that is used well is told by itself
        return []
    against = astray(detector, found.paths)
    if against:
        text = f"what enters the optimizer does not follow its gradient, for {names(against)}"
        return [Violation("loss", loss_name(loss), text)]
    factor = factor_of(detector, found.paths)
    text = f"its gradient is multiplied by {factor:.6g} before the optimizer"
    hint = "allow_transforms=True allows this"
    same = np.isclose(factor, 1.0, rtol=1e-4)
    return [] if same else [Violation("loss", loss_name(loss), text, (hint,))]


def _weight(
    detector: Detector, loss: Any, found: Found, factor: Any, asked: Asked
) -> list[Violation]:
    """What is wrong with what a loss is multiplied by: perhaps it is no mean."""
    by = detector.search.scaling.factors(found.upstream) if found.weight is None else frozenset()
    decided = f"a weight that {names(v.path for v in by)} decides"
    if not isinstance(factor, int | float):
        own = [v for v in by if v.key == key_of(factor)]
        if len(by) == len(own) == 1 and detector.is_weighed_by(found, own[0]):
            return []
        text = decided if found.weight is None else f"weight {found.weight:.6g}"
        name = f"{loss_name(loss)} with weight {path_of(factor)}"
        return [Violation("loss", name, text)]
    if by:
        return [Violation("loss", f"{loss_name(loss)} with weight {factor:g}", decided)]
    # What is taken for a loss scale may be a weight, and a transform its reciprocal.
    scale = found.scale if asked.values.get("allow_transforms", False) else 1.0
    wrong = weight("loss", loss_name(loss), found.weight, factor, scale)
    for other in other_reductions(loss) if wrong else ():
        for same in detector.losses(other)[0]:
            if same.paths == found.paths and not weight("loss", "", same.weight, factor):
                plain = isinstance(loss, str) or not hasattr(loss, "reduction")
                told = "its sum over the batch" if plain else loss_name(other)
                return [Violation("loss", loss_name(loss), told, wrong[0].hints)]
    return wrong


def _nearest_first(detector: Detector, found: list[Found], factor: Any) -> Iterator[Found]:
    """Those multiplied by the expected factor, then the others."""

    def is_other(one: Found) -> bool:
        if not isinstance(factor, int | float):
            factors = detector.search.scaling.factors(one.upstream)
            return all(variable.key != key_of(factor) for variable in factors)
        return one.weight is not None and not np.isclose(one.weight, factor)

    return iter(sorted(found, key=is_other))


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """An expected loss: multiplied by what, of which output, and which variables it trains."""

    loss: Any
    factor: Any
    output: str | int | None = None
    selection: str | None = None
    trains: frozenset[str] | None = None

    def fits(self, detector: Detector, found: Found) -> bool:
        """Whether a loss that was found is of that output and its target, or trains just these."""
        if self.trains is not None and frozenset(found.paths) != self.trains:
            return False
        if self.output is None:
            return True
        if found.predicted is None or self.output not in detector.outputs.called(found.predicted):
            return False
        against = detector.targets_of(found)
        same = {self.output, _position(detector, self.output)}
        return not detector.step.target_of or not same.isdisjoint(against)

    @property
    def is_somewhere(self) -> bool:
        """Whether it is expected in one place, not wherever it is."""
        return self.output is not None or self.selection is not None

    @property
    def told(self) -> str:
        name = loss_name(self.loss)
        if self.output is not None:
            return f"{name} of output {self.output!r}"
        return f"{name} for {self.selection}" if self.selection is not None else name


def _wanted(detector: Detector, expected: Any) -> list[_Wanted]:
    """Expected losses: wherever they are; by output of the model; or by what they train."""
    if not isinstance(expected, Mapping):
        return [_Wanted(loss, factor) for loss, factor in _weighted(expected)]
    outputs = detector.outputs.names
    named = [key for key in expected if key in outputs]
    if named and len(named) < len(expected):
        other = next(key for key in expected if key not in outputs)
        raise ValueError(
            f"loss: {other!r} is not an output of the model; its outputs are "
            f"{', '.join(map(repr, outputs))}"
        )
    found = []
    for key, losses in expected.items():
        if named:
            found += [_Wanted(loss, factor, output=key) for loss, factor in _weighted(losses)]
            continue
        try:
            trains = frozenset(v.path for v in select(detector, key, "loss", frozen=True))
        except ValueError as error:
            known = ", ".join(map(repr, outputs)) or "not found in the step"
            raise ValueError(f"{error}; outputs of the model: {known}") from None
        found += [
            _Wanted(loss, factor, selection=str(key), trains=trains)
            for loss, factor in _weighted(losses)
        ]
    return found


def _position(detector: Detector, output: str | int) -> str | int:
    names = detector.outputs.names
    return names.index(output) if output in names else output


def _where(detector: Detector, found: Found) -> str:
    """Where a loss is that was asked for elsewhere."""
    outputs = () if found.predicted is None else detector.outputs.called(found.predicted)
    of = [f"output {one!r}" for one in sorted(outputs, key=str) if isinstance(one, str)]
    against = [f"target {one!r}" for one in sorted(detector.targets_of(found), key=str)]
    place = " against ".join((*of, *against)) or found.prediction or "the step"
    return f"that of {place}, which trains {names(found.paths)}"


def _key(factor: Any) -> Any:
    """What tells a factor from others: a number, or a variable."""
    return factor if isinstance(factor, int | float) else ("variable", key_of(factor))


def _weighted(expected: Any) -> list[tuple[Any, Any]]:
    """Expected losses, each with the constant factor that multiplies it."""
    if expected is None:
        return []
    several = isinstance(expected, list | tuple) and not _is_pair(expected)
    listed = expected if several else [expected]
    found = [one if _is_pair(one) else (one, 1.0) for one in listed]
    for loss, _ in found:
        try:
            loss_of(loss)
        except (TypeError, ValueError) as error:
            raise type(error)(f"loss: {error}") from None
    return found


def _is_pair(expected: Any) -> bool:
    return (
        isinstance(expected, tuple)
        and len(expected) == 2
        and (isinstance(expected[1], int | float) or hasattr(resource(expected[1]), "handle"))
        and not isinstance(expected[1], bool)
    )


# -- contracts -------------------------------------------------------------------------------------


def _read(place: str, said: Any, _: Read) -> Any:
    if said is False:
        return None
    if isinstance(said, dict):
        return {key: _read(f"{place}[{key!r}]", one, _) for key, one in said.items()}
    return [_loss(place, one) for one in (said if isinstance(said, list) else [said])]


def _loss(place: str, said: str | Loss | Fingerprint) -> Any:
    if isinstance(said, Fingerprint):
        return Unnamed(said.fingerprint)
    if isinstance(said, Loss):
        found = object_of(place, keras.losses, said.is_, said.model_extra or {})
        return (found, float(said.weight))
    if ":" in said or hasattr(keras.losses, said):
        return (object_of(place, keras.losses, said, {}), 1.0)
    try:
        loss_of(said)  # an alias, or a loss that the user has registered
    except ValueError as error:
        raise ContractError(f"{place}: {error}") from None
    return (said, 1.0)


# From left to right: a table with `is` is a loss, any other is of losses.
_Table = dict[str, str | Loss | list[str | Loss]]
_Spelling = Annotated[
    Off | str | Loss | Fingerprint | list[str | Loss | Fingerprint] | _Table,
    pydantic.Field(union_mode="left_to_right"),
]


def _sides(detector: Detector, expected: Any, draw: int) -> list[Sides]:
    losses = [want.loss for want in _wanted(detector, expected)]
    return [sides for loss in losses for sides in detector.loss_sides(loss, draw)]


class _Losses(Kind):
    keywords = (Keyword("loss", _Spelling, _check, rank=2, read=_read, sides=_sides),)
    cluster = Cluster("loss", "#f5ce9e", before="backward")

    def find(self, detector: Detector) -> dict[str, Any]:
        return {"losses": tuple(_facts(detector))}

    def page(self, facts: Facts) -> list[Row]:
        return [Row.of("loss", (_told(one, facts.watched) for one in facts.losses), always=True)]

    def snapshot(self, facts: Facts) -> list[Row]:
        # Without the prediction: another version of TensorFlow may call its op otherwise.
        every = set(facts.watched)
        told = (
            f"{one.name}{times(one.weight)}{_scaled(one)}"
            + ("" if set(one.variables) == every else f" for {', '.join(one.variables)} only")
            for one in facts.losses
        )
        return [Row.of("loss", told, always=True)]

    def baseline(self, facts: Facts) -> dict[str, Any]:
        return {"loss": [_spelt(one) for one in facts.losses] or False}


def _spelt(loss: LossFact) -> Any:
    if loss.fingerprint:
        return {"fingerprint": loss.fingerprint}
    return spelt(loss.name, loss.weight, "weight")


def _told(loss: LossFact, watched: tuple[str, ...]) -> str:
    where = f" of {loss.prediction}" if loss.prediction else ""
    every = set(loss.variables) == set(watched)
    trains = "" if every else f" for {by_model(loss.variables, watched)} only"
    return f"{loss.name}{where}{times(loss.weight)}{_scaled(loss)}{trains}"


def _scaled(loss: LossFact) -> str:
    scaled = f" scaled by {', '.join(loss.scaled_by)}" if loss.scaled_by else ""
    return scaled + (f" [{loss.fingerprint}]" if loss.fingerprint else "")


KIND = _Losses()
