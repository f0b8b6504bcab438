"""Rules about what is made of gradients: treatments, rates, optimizers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from verify.find import LEFT_OVER, Detector, Found, describe
from verify.flow import Update
from verify.graphs import IDENTITIES, RESHAPES, key_of
from verify.references import (
    counter_of,
    decays,
    is_of_keras,
    known_name,
    optimizer_name,
    optimizer_settings,
    variables_of,
)
from verify.rules.parity import even, scale_matters
from verify.rules.rule import Rules, Told, each, ruled
from verify.rules.seen import Seen, paths_of

RULES: Rules = []

_KEEPS = IDENTITIES | RESHAPES | {"Cast"}  # ops that treat no gradient


@ruled(
    RULES,
    "V201",
    "A learning rate of zero",
    wrong="""A variable is updated from its gradient by an optimizer whose learning rate is
    currently 0.""",
    why="""The variable does not change. The optimizer's moments and step count do, which makes it
    look as if something happened.""",
    instead="""a learning rate, or a schedule that starts above zero; `trainable = False` for what
    is to stay as it is.""",
)
def the_rate_is_zero(seen: Seen) -> Iterator[Told]:
    still = []
    for update in seen.trained:
        rule = seen.detector.rule_of(update)
        if rule is not None and _rate(rule.optimizer, rule.rate) == 0:
            still.append(update)
    yield from each(paths_of(still), "its learning rate is 0")


def _rate(optimizer: Any, rate: float | None) -> float | None:
    """The learning rate now, if it is a number."""
    if optimizer is None:
        return rate
    said = optimizer_settings(optimizer)["learning_rate"]
    return float(said) if isinstance(said, int | float) else None


@ruled(
    RULES,
    "V202",
    "The loss is made greater",
    wrong="""All gradients of the step come from one of Keras' losses, of a prediction against the
    targets of the batch, and all of them are followed upwards: they are added to their variables,
    or the gradients or the loss are negated.""",
    why="Training makes the error as large as possible.",
    instead="""`v.assign_sub(rate * gradient)`, and the loss as it is; an optimizer goes downhill by
    itself.""",
)
def the_loss_is_made_greater(seen: Seen) -> Iterator[Told]:
    if seen.detector.search.scaling.dynamic or not seen.is_explained:
        return
    ascends: list[tuple[Any, Found]] = []
    for loss, found in seen.losses:
        own = loss in (seen.model.losses if seen.model is not None else ())
        if not (is_of_keras(loss) or own) or found.made or not _is_of_batch(seen, found):
            return
        signs = {_sign(seen.detector, update, found) for update in found.updates}
        if signs != {-1.0}:
            return
        ascends.append((loss, found))
    for loss, found in ascends:
        yield Told(f"{known_name(loss)} of {found.prediction} is maximised", found.paths)


def _is_of_batch(seen: Seen, found: Found) -> bool:
    """Whether the target of a loss is made of those that the step is handed."""
    if found.target is None or not seen.step.targets:
        return False
    above = seen.flow.ancestors([found.target[0]])
    return any(index in above for index, _ in seen.step.targets)


def _sign(detector: Detector, update: Update, found: Found) -> float | None:
    """Whether a loss is descended (1) or ascended (-1) by an update; None if that is not known."""
    rule, treatment = detector.rule_of(update), detector.treatment_of(update)
    if rule is None or found.weight is None or treatment is None or not treatment.follows:
        return None
    rate = _rate(rule.optimizer, rule.rate)
    if rule.optimizer is not None and rate is None:
        rate = 1.0  # a schedule
    times = treatment.scale if treatment.factor is None else treatment.factor
    return None if not rate else float(np.sign(rate * times * found.weight))


@ruled(
    RULES,
    "V203",
    "The sign of gradients is lost",
    wrong="""A gradient and its negative lead to the same update: what enters the optimizer is an
    absolute value, a square or a norm.""",
    why="The step goes in the same direction, whether that makes the loss smaller or greater.",
    instead="the gradient itself; its size decides how far to go, not in which direction.",
)
def the_sign_is_lost(seen: Seen) -> Iterator[Told]:
    yield from each(
        paths_of(even(seen)), "its gradient and minus its gradient make the same update"
    )


@ruled(
    RULES,
    "V204",
    "A treated gradient that is thrown away",
    wrong="""Something is computed from a complete gradient after backpropagation, such as a clipped
    or scaled gradient, but it has no effect on what is written or returned.""",
    why="The original gradient enters the optimizer, neither clipped nor scaled.",
    instead="""`gradients = [tf.clip_by_norm(g, 1.0) for g in gradients]`, and that list in
    `optimizer.apply`.""",
)
def thrown_away(seen: Seen) -> Iterator[Told]:
    values, flat, flow = seen.detector.gradient_values, seen.flat, seen.flow
    for update in seen.trained:
        dead = dict[int, None]()
        for tensor in values.ways.get(update, ()):
            if tensor[0] in flow.propagated and tensor != values.ways[update][0]:
                continue
            for user in flow.consumers[tensor[0]]:
                as_large = flat.shape((user, 0)) == update.variable.shape != ()
                treats = flat.nodes[user].op not in _KEEPS and user not in flow.propagated
                if user not in seen.live and treats and as_large:
                    dead[user] = None
        if dead:
            made = ", ".join(flat.nodes[index].id for index in list(dead)[:2])
            path = update.variable.path
            yield Told(f"what {made} makes of the gradient of {path} is used by nothing", (path,))


@ruled(
    RULES,
    "V205",
    "A clip that no small gradient passes",
    wrong="Gradients are clipped to bounds that do not include zero, or to a norm of 0.",
    why="""Even a gradient of zero moves its variable, always in the same direction; or no gradient
    moves it.""",
    instead="bounds on both sides of zero, `tf.clip_by_value(g, -0.1, 0.1)`; a norm above zero.",
)
def clipped_away_from_zero(seen: Seen) -> Iterator[Told]:
    found: dict[str, list[str]] = {}
    for update in seen.trained:
        for clip in seen.detector.clips(update):
            around = clip.lower < 0 < clip.upper if clip.kind == "value" else clip.upper > 0
            one_sided = clip.kind == "value" and 0 in (clip.lower, clip.upper)
            if not around and not one_sided:
                told = describe((clip.kind, clip.lower, clip.upper))
                found.setdefault(told, []).append(update.variable.path)
    for told, paths in found.items():
        yield from each(paths, f"its gradient is clipped to {told}")


@ruled(
    RULES,
    "V206",
    "Weights that grow by a share of themselves",
    wrong="""In each step, a share of a variable is added to it, independent of any gradient. Weight
    decay would subtract it.""",
    why="The variable grows exponentially, whatever the loss is.",
    instead="`v.assign_sub(decay * v)`, or `weight_decay=` of the optimizer.",
)
def growing(seen: Seen) -> Iterator[Told]:
    yield from each(seen.detector.growing, "a share of itself is added to it in each step")


@ruled(
    RULES,
    "V207",
    "A loss scale that is not undone",
    wrong="""A loss is multiplied by a dynamic loss scale but its gradients are not divided by it
    exactly once, or gradients are divided by a scale that multiplied no loss.""",
    why="The learning rate is effectively thousands of times too large or too small.",
    instead="""`optimizer.scale_loss(loss)` within the tape, once, with a
    `keras.optimizers.LossScaleOptimizer` that applies the gradients.""",
)
def scaled_once(seen: Seen) -> Iterator[Told]:
    scaling = seen.detector.search.scaling
    if not scaling.dynamic:
        return
    for loss, found in seen.losses:
        for wrong in scaling.misuse(found.upstream, found.updates):
            yield Told(f"the gradient of {known_name(loss)} is {wrong}", found.paths)


@ruled(
    RULES,
    "V208",
    "Accumulated gradients that are not emptied",
    wrong="""Gradients of several calls are added up for one update, and the sums are not reset to
    zero after it.""",
    why="Each update uses all gradients so far, and these become older and older.",
    instead="""`total.assign(tf.zeros_like(total))` after the update, for each sum, in the same
    branch.""",
)
def not_emptied(seen: Seen) -> Iterator[Told]:
    accumulation = seen.detector.accumulation
    if not seen.trained or not accumulation.calls.may_wait:
        return
    found: dict[str, list[str]] = {}
    for key, one in accumulation.of_any().items():
        if one.told in LEFT_OVER:
            found.setdefault(one.told, []).append(accumulation.path(key))
    for told, paths in found.items():
        yield from each(paths, f"its update is made of {told}")


@ruled(
    RULES,
    "V209",
    "An optimizer that counts wrongly",
    wrong="""An optimizer of Keras updates variables, but the step does not count this in its
    `iterations`, or counts it a second time without another update.""",
    why="""Schedules and the bias correction of Adam's moments depend on that count: without
    counting they stay at the first step, and with double counting they run ahead.""",
    instead="`optimizer.apply(gradients, variables)` alone, which also counts.",
)
def counts_wrongly(seen: Seen) -> Iterator[Told]:
    for optimizer in seen.step.optimizers:
        key = counter_of(optimizer)
        updates = [u for u in seen.trained if _is_by(seen.detector, u, optimizer)]
        if not updates:
            continue
        counts = [node for node, variable in seen.flat.writes() if variable.key == key]
        name = optimizer_name(optimizer)
        if not counts:
            # A descent by hand writes what an optimizer would that only happens to be at hand.
            if _is_used(seen, optimizer):
                yield Told(f"{name} makes updates and does not count them", paths_of(updates))
            continue
        own = {key_of(v) for v in (*optimizer.variables, *seen.held.values())}
        for before, after in itertools.pairwise(counts):
            between = (
                variable.key
                for node, variable in seen.flat.writes()
                if before.index < node.index < after.index
            )
            if before.path == after.path and own.isdisjoint(between):
                yield Told(f"{name} counts a step at {after.id} in which it makes no update")


def _is_used(seen: Seen, optimizer: Any) -> bool:
    """Whether a step writes what an optimizer keeps, or goes by its count."""
    counter = counter_of(optimizer)
    read = {variable.key for _, variable in seen.flat.reads()}
    written = {variable.key for _, variable in seen.flat.writes()}
    kept = {key_of(v) for v in optimizer.variables}
    return counter in read or not kept.isdisjoint(written)


def _is_by(detector: Detector, update: Update, optimizer: Any) -> bool:
    rule = detector.rule_of(update)
    return rule is not None and rule.optimizer is optimizer


_ENDLESS = {"momentum": 1.0, "beta_1": 1.0, "beta_2": 1.0, "rho": 1.0}


@ruled(
    RULES,
    "V210",
    "An optimizer that forgets nothing",
    wrong="""An optimizer of Keras updates variables with a momentum, or a decay of a moment, of 1
    or more.""",
    why="""A moment that keeps all of its old value takes in nothing new, or grows without end: the
    first gradient counts for ever.""",
    instead="a share below one: `momentum=0.9`, `beta_1=0.9`, `beta_2=0.999`.",
)
def forgets_nothing(seen: Seen) -> Iterator[Told]:
    counted = {variable.key for _, variable in seen.flat.writes()}
    for optimizer in seen.step.optimizers:
        if counter_of(optimizer) not in counted:
            continue
        own = variables_of(optimizer)
        updated = paths_of(u for u in seen.trained if u.variable.key in own)
        said = optimizer_settings(optimizer) if updated else {}
        for name, most in _ENDLESS.items():
            value = said.get(name)
            if isinstance(value, int | float) and value >= most:
                yield Told(f"{type(optimizer).__name__} has {name}={value:g}", updated)


@ruled(
    RULES,
    "V211",
    "A decay that leaves nothing",
    wrong="""An optimizer of Keras has a weight decay that, multiplied by its learning rate, is 1 or
    more.""",
    why="""Each step sets the whole variable to zero or changes its sign, so nothing that is learned
    remains.""",
    instead="a decay that is small when multiplied by the learning rate: `weight_decay=0.01`.",
)
def decays_all(seen: Seen) -> Iterator[Told]:
    counted = {variable.key for _, variable in seen.flat.writes()}
    for optimizer in seen.step.optimizers:
        decay, rate = getattr(optimizer, "weight_decay", None), _rate(optimizer, None)
        if not decay or not rate or counter_of(optimizer) not in counted:
            continue
        own = variables_of(optimizer)
        updates = [
            u
            for u in seen.trained
            if u.variable.key in own and decays(optimizer, own[u.variable.key])
        ]
        if decay * rate >= 1:
            told = f"it loses {decay * rate:.3g} times itself in each step"
            yield from each(paths_of(updates), told)


@ruled(
    RULES,
    "V212",
    "A variable that only decays",
    wrong="""A trainable variable shrinks by a share of itself in each step, and no gradient updates
    it in any branch.""",
    why="It goes to zero, whatever its use was.",
    instead="decay only for what is trained: `weight_decay=` of the optimizer that trains it.",
)
def only_decays(seen: Seen) -> Iterator[Told]:
    trained = {*paths_of(seen.trained)} | {u.variable.path for u in seen.flow.unseen}
    if trained:
        left = seen.detector.decayed - trained
        yield from each(left, "it decays in each step, and no gradient updates it")


@ruled(
    RULES,
    "V213",
    "Gradients that are added up and not used",
    wrong="""Gradients are added to variables, which are reset from time to time, but no update,
    output or other variable uses these sums.""",
    why="Each update uses the gradient of a single call; all others are thrown away.",
    instead="the sums in `optimizer.apply`, divided by the number of calls.",
)
def sums_are_not_used(seen: Seen) -> Iterator[Told]:
    flow, flat = seen.flow, seen.flat
    outputs = {index for index, _ in flat.outputs}
    writes = {node.index: variable for node, variable in flat.writes()}
    chosen = {guard.predicate[0] for guard in flat.guards}
    idle = []
    for path in seen.detector.written.accumulators if seen.trained else ():
        reads = [node.index for node, variable in flat.reads() if variable.path == path]
        below = flow.descendants(reads)
        others = {index for index in below & writes.keys() if writes[index].path != path}
        if not others and below.isdisjoint(outputs | chosen):
            idle.append(path)
    yield from each(idle, "gradients are added to it, and nothing is made of their sum")


@ruled(
    RULES,
    "V214",
    "Clipped before the loss scale is divided out",
    wrong="""A loss is multiplied by a dynamic loss scale and its gradients are divided by it, but
    the update still depends on the scale: the gradients are clipped or normalised while they are
    multiplied by it.""",
    why="The bound is thousands of times too tight, and changes whenever the scale does.",
    instead="""the division first: clip the result of `tape.gradient` after dividing it by the
    scale.""",
)
def clipped_while_scaled(seen: Seen) -> Iterator[Told]:
    scaling = seen.detector.search.scaling
    if not scaling.dynamic or not seen.losses or not seen.is_explained:
        return
    scales = {variable.key for variable in scaling.dynamic.values()}
    for _, found in seen.losses:
        by = {variable.key for variable in scaling.multiplied(found.upstream)}
        if scales != by & scales or [*scaling.misuse(found.upstream, found.updates)]:
            return  # that is told by itself
    yield from each(paths_of(scale_matters(seen)), "how it is updated depends on the loss scale")
