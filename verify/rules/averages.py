"""Rules about averages of weights, moving statistics, and steps that evaluate."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from verify.find import Follow
from verify.rules.rule import Rules, Told, each, ruled
from verify.rules.seen import Seen, paths_of

RULES: Rules = []


@ruled(
    RULES,
    "V701",
    "A write that changes nothing",
    wrong="""A variable that is not trained is written in each step, from weights or data, and
    afterwards holds what it held before: an average with a rate of 0, or a statistic with a
    momentum of 1.""",
    why="The average keeps its initial value and is used as if it were an average.",
    instead="`slow.assign(0.99 * slow + 0.01 * fast)`; for Keras' layers a `momentum` below 1.",
)
def writes_nothing(seen: Seen) -> Iterator[Told]:
    flow, flat = seen.flow, seen.flat
    kept = {
        variable.key: variable
        for node, variable in flat.writes()
        if "float" in variable.dtype
        and variable.shape != ()
        and not flow.is_trainable(variable)
        and node.index not in flow.backward
        and node.index in flow.of_data | flow.of_weights
    }
    if not kept:
        return
    changed = seen.detector.changed.by(kept.values())
    still = {key: variable for key, variable in kept.items() if key not in changed}
    made = {key for key in still if key in seen.detector.writes.by_key}
    yield from each((still[key].path for key in made), "what is written to it is what it held")


def _follows(seen: Seen) -> Iterator[Follow]:
    for follows in seen.detector.followers.mixed.values():
        yield from follows


@ruled(
    RULES,
    "V702",
    "An average that is trained",
    wrong="""A variable follows another one by a share in each step, and a gradient updates it as
    well. (The other one does not follow it in turn.)""",
    why="""A target network or a teacher should lag behind. If it is trained itself, it is no longer
    a stable target.""",
    instead="`tf.stop_gradient(teacher(x))`, and only the student's variables in `tape.gradient`.",
)
def a_trained_average(seen: Seen) -> Iterator[Told]:
    every = [follow for follow in _follows(seen) if follow.sums]
    pairs = {(follow.target.key, follow.source.key) for follow in every}
    for follow in every:
        mutual = (follow.source.key, follow.target.key) in pairs
        if mutual or follow.rate is None or follow.rate >= 1:
            continue
        target = follow.target
        others = [u for u in seen.flow.trained_of.get(target.key, ()) if u.node != follow.node]
        if others:
            told = f"it follows {follow.source.path} at {follow.rate:.6g}, and is trained as well"
            yield Told(told, (target.path,))


@ruled(
    RULES,
    "V703",
    "An average whose shares do not add up to one",
    wrong="""A variable becomes a share of itself plus a share of another one, both below one, and
    these shares do not add up to 1.""",
    why="It fades to zero or grows without bounds, while it looks like an average.",
    instead="`slow.assign((1.0 - rate) * slow + rate * fast)`.",
)
def shares_do_not_add_up(seen: Seen) -> Iterator[Told]:
    for follow in _follows(seen):
        total = follow.keeps + follow.takes
        shares = 0 < follow.keeps < 1 and 0 < follow.takes < 1
        if shares and not np.isclose(total, 1.0, rtol=0, atol=1e-3):
            told = f"{follow.keeps:.6g} of itself and {follow.takes:.6g} of {follow.source.path}"
            yield Told(f"it becomes {told}", (follow.target.path,))


@ruled(
    RULES,
    "V704",
    "Evaluation that moves what is trained",
    wrong="""A test or predict step of a model updates weights from gradients, or updates statistics
    that its layers normalise with.""",
    why="The validation data influence the model that they should judge.",
    instead="`model(x, training=False)` in `test_step` and `predict_step`.",
)
def evaluation_trains(seen: Seen) -> Iterator[Told]:
    if not seen.evaluates:
        return
    yield from each(paths_of(seen.trained), "a step that evaluates trains it")
    own = {variable.path for variable in seen.step.model_weights}
    moved = own.intersection(seen.detector.written.statistics)
    yield from each(moved, "a step that evaluates moves it")
