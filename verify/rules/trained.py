"""Rules about what a step trains at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from verify.find import stopped
from verify.graphs import draws, is_stateful, key_of, path_of
from verify.references import counter_of, variables_of
from verify.rules.rule import Rules, Told, each, ruled
from verify.rules.seen import Seen, paths_of
from verify.rules.symmetry import tied

RULES: Rules = []


def _begins(seen: Seen) -> bool:
    """Whether a step sets out to train, as Keras' own does, and one that takes gradients."""
    if seen.evaluates or seen.flow.unseen:
        return False
    if not seen.flow.seeds:
        return seen.is_of_keras or any(_goes_by_itself(seen, o) for o in seen.step.optimizers)
    # Gradients that are handed out are applied elsewhere.
    outputs = {index for index, _ in seen.flat.outputs}
    kept = {n.index for n, v in seen.flat.writes() if not seen.flow.is_trainable(v)}
    return (outputs | kept).isdisjoint(seen.flow.backward)


def _goes_by_itself(seen: Seen, optimizer: Any) -> bool:
    """Whether an optimizer makes updates of nothing but what it and its variables hold."""
    flat, flow = seen.flat, seen.flow
    kept, trained = {key_of(v) for v in optimizer.variables}, variables_of(optimizer).keys()
    written = {variable.key: node.index for node, variable in flat.writes()}
    if counter_of(optimizer) not in written or trained.isdisjoint(written):
        return False
    above = flow.ancestors(written[key] for key in trained & written.keys())
    nodes = [flat.nodes[index] for index in above]
    taken = {variable.key for node, variable in flat.reads() if node.index in above}
    # A call of Python may know of a batch, or of gradients.
    others = (n for n in nodes if draws(n.op) or (is_stateful(n.op) and flat.variable(n) is None))
    alone = next(others, None) is None and above.isdisjoint(flow.of_data)
    return alone and taken <= kept | trained


@ruled(
    RULES,
    "V101",
    "Nothing is trained",
    wrong="""The step computes gradients, calls an optimizer, or is Keras' own train step, but no
    gradient reaches the update of a variable: the gradients are dropped, multiplied by zero or
    taken by variables that are not trainable, or there are none and zeros take their place.""",
    why="Training runs and the loss is reported, but no weight ever changes.",
    instead="""`optimizer.apply(gradients, variables)` in the step itself, and `layer.trainable =
    True` before `compile` for what is to be trained.""",
)
def nothing_is_trained(seen: Seen) -> Iterator[Told]:
    # What is written and lost again is told by itself.
    if not seen.trained and not seen.flow.lost and _begins(seen):
        why = "its gradients reach no variable" if seen.flow.seeds else "no gradient is taken"
        yield Told(f"the step trains nothing: {why}")


@ruled(
    RULES,
    "V102",
    "An update is undone",
    wrong="""What a gradient writes to a variable is taken back or overwritten before the step ends,
    and no other update of that variable remains.""",
    why="After the step, the variable holds what it held before, or a constant.",
    instead="the update after whatever resets the variable, or no reset in the step.",
)
def an_update_is_undone(seen: Seen) -> Iterator[Told]:
    yield from _lost(seen, never_made=False)


@ruled(
    RULES,
    "V103",
    "An update that is never made",
    wrong="""Every update of a variable is in a branch that a constant never chooses: a Python
    value, or the value of a variable, was read while the step was traced.""",
    why="The branch is not taken in any step, whatever becomes of the flag later.",
    instead="""a `tf.Variable` as the flag, read within the step: `tf.cond(flag, ...)`, not
    `tf.cond(tf.constant(flag.numpy()), ...)`.""",
)
def an_update_is_never_made(seen: Seen) -> Iterator[Told]:
    yield from _lost(seen, never_made=True)


def _lost(seen: Seen, never_made: bool) -> Iterator[Told]:
    left = seen.flow.trained_of.keys()
    for update, why in seen.flow.lost.items():
        by_gradient = update.node.index in seen.flow.backward
        if update.variable.key in left or not by_gradient:
            continue
        if seen.flow.is_never_made(update.node) == never_made:
            path = update.variable.path
            yield Told(f"{path} is updated at {update.node.id}, but {why}", (path,))


@ruled(
    RULES,
    "V104",
    "A gradient is applied twice",
    wrong="The same gradient updates a variable in two places of the step.",
    why="""The variable moves twice as far as the learning rate says, and the moments and step count
    of an optimizer are those of two steps.""",
    instead="one `optimizer.apply`, or a gradient of its own for each.",
)
def a_gradient_is_applied_twice(seen: Seen) -> Iterator[Told]:
    again = seen.flow.repeated
    places = ", ".join(dict.fromkeys(update.node.id for update in again[:3]))
    yield from each(
        paths_of(again), f"the gradient that has updated it does so once more (at {places})"
    )


@ruled(
    RULES,
    "V105",
    "A variable is updated by another one's gradient",
    wrong="""The values that update a variable are those of the gradient by another variable of the
    same shape.""",
    why="The shapes fit, so no error is raised, but the step does not reduce the loss.",
    instead="""gradients and variables in the same order: `zip(tape.gradient(loss, variables),
    variables)`.""",
)
def gradients_are_exchanged(seen: Seen) -> Iterator[Told]:
    for path, other in seen.detector.exchanged.items():
        yield Told(f"{path} is updated by the gradient of {other}", (path,))


@ruled(
    RULES,
    "V106",
    "Frozen after tracing",
    wrong="A layer was frozen after the step had been traced, and the step still trains it.",
    why="`trainable = False` is only read while a step is traced.",
    instead="`model.compile(...)` after `layer.trainable = False`, or a new `tf.function`.",
)
def frozen_after_tracing(seen: Seen) -> Iterator[Told]:
    step = seen.step
    paths = {v.key: v.path for v in (*step.model_weights, *step.variables)}
    late = step.frozen_late | step.frozen_behind_fit
    yield from each(
        (paths[key] for key in late), "frozen after the step was traced, which still trains it"
    )


def _left_out(seen: Seen) -> dict[int | str, str]:
    """The weights that Keras' own step should train and does not, with their paths."""
    if not seen.is_of_keras or seen.model is None or not seen.trained:
        return {}
    trained = seen.flow.trained_of
    lost = {update.variable.key for update in seen.flow.lost}
    found = {key_of(v): path_of(v) for v in seen.model.model.trainable_variables}
    return {key: path for key, path in found.items() if key not in trained and key not in lost}


@ruled(
    RULES,
    "V107",
    "A weight that the loss does not depend on",
    wrong="""The model is trained by Keras' own train step, and no loss that is differentiated
    depends on one of its trainable weights.""",
    why="""The weight keeps its initial value: its layer is not called, or the output of the layer
    is not used.""",
    instead="""the layer's output in what `call` returns, a loss for each output, or `trainable =
    False` for what is not to be trained.""",
)
def not_read(seen: Seen) -> Iterator[Told]:
    behind = {*stopped(seen.flow)}
    unread = {
        key: path
        for key, path in _left_out(seen).items()
        if key not in seen.flow.differentiated and path not in behind
    }
    yield from each(unread.values(), "no loss that the step differentiates depends on it")


@ruled(
    RULES,
    "V108",
    "A weight behind stop_gradient",
    wrong="""The model is trained by Keras' own train step and its loss depends on a trainable
    weight, but only through something that gradients cannot pass: `stop_gradient`, rounding, an
    integer value, or a call of Python.""",
    why="The weight keeps its initial value, while everything around it is trained.",
    instead="""something differentiable in its place, or `trainable = False` if the weight is to
    stay as it is.""",
)
def not_differentiable(seen: Seen) -> Iterator[Told]:
    behind = {*stopped(seen.flow)}
    cut = {
        key: path
        for key, path in _left_out(seen).items()
        if key in seen.flow.differentiated or path in behind
    }
    yield from each(cut.values(), "the loss depends on it, and no gradient goes back to it")


@ruled(
    RULES,
    "V109",
    "All gradients are zero",
    wrong="""Whatever the batch and the weights are, every gradient of the step is zero, or every
    gradient by a variable that the loss depends on: the loss is flat.""",
    why="""The loss does not depend on any weight, because it is the loss of a constant (a softmax
    of one unit, a value that is rounded or outside its bounds).""",
    instead="""a loss that changes with the prediction: `sigmoid` for one unit; no `round`, `sign`
    or `argmax` before the loss.""",
)
def flat(seen: Seen) -> Iterator[Told]:
    if seen.trained and seen.influence.are_all_zero:
        yield Told(
            "every gradient is zero, whatever the batch and the weights", paths_of(seen.trained)
        )
    # TensorFlow's gradient of a sign is a constant: no backward pass is seen behind it.
    flow = seen.flow
    judged = {i for seed in flow.seeds for i, _ in flow.sums_of(seed)} & flow.of_data
    left = [u for u in flow.unseen if u.variable.key in flow.differentiated - {*flow.trained_of}]
    if judged and left and seen.influence.leaves(left):
        told = "what is differentiated is computed from it, and its gradient is zero"
        yield Told(f"{told}, whatever the batch is", paths_of(left))


@ruled(
    RULES,
    "V110",
    "The data loss has no gradient",
    wrong="""What is differentiated depends on the weights and on the batch, but no value of the
    batch affects any gradient: the data loss is behind `stop_gradient`, or a sign, a rounded or an
    integer value, and only the regularisation trains the weights.""",
    why="Weights decay, and nothing is learned from the data.",
    instead="""the loss of what the model returns, without `tf.stop_gradient`, `tf.round`,
    `.numpy()` or `tf.constant` in between.""",
)
def only_regularised(seen: Seen) -> Iterator[Told]:
    flow = seen.flow
    if not seen.trained or not seen.flat.arguments:
        return
    both = flow.of_data & flow.of_weights & seen.differentiated
    stops = {i for i in both if seen.flat.nodes[i].op == "StopGradient"}
    of_data = flow.descendants(flow.data)
    if any(update.node.index in of_data for update in seen.trained):
        fed = [(i, 0) for i in seen.flat.arguments if i not in seen.flat.variables]
        if not seen.influence.ignores(fed):
            return
    if stops or seen.influence.interacts:
        what = "stop_gradient" if stops else "what has no gradient"
        yield Told(f"the data loss is behind {what}: no data decide any gradient")


@ruled(
    RULES,
    "V111",
    "Units that can't become different",
    wrong="""All units of a layer have the same weights and get the same gradients: its kernel was
    initialised to a single number, and so was the kernel of the layer that takes its output.""",
    why="The units remain copies of one another for ever, so the layer acts like a single unit.",
    instead="""a random initialiser (`"glorot_uniform"`) for kernels; zeros and ones are for biases
    and scales.""",
)
def units_stay_alike(seen: Seen) -> Iterator[Told]:
    yield from each(tied(seen), "its units are all alike, and get gradients that are all alike")
