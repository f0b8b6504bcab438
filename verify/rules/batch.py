"""Rules about what of a batch decides what is trained: inputs, targets, weights, rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from verify.graphs import WHILES, Tensor
from verify.references import is_of_keras, known_name
from verify.rules.rows import misaligned, misaligned_weights
from verify.rules.rule import Rules, Told, ruled
from verify.rules.seen import Seen, paths_of

RULES: Rules = []

# Ops that take some rows and leave others, by positions.
_TAKES = {"GatherV2", "Slice", "Split", "SplitV", "StridedSlice", *WHILES}


def _are_features(seen: Seen, tensors: Iterable[Tensor]) -> bool:
    """Whether tensors are real numbers by example, no counts or keys."""
    listed = list(tensors)
    shapes = [seen.flat.shape(tensor) for tensor in listed]
    real = all("float" in seen.flat.dtype(tensor) for tensor in listed)
    return bool(listed) and real and all(s is not None and len(s) > 1 for s in shapes)


def _from(seen: Seen, tensors: Iterable[Tensor]) -> set[int]:
    """What some tensors decide, other than by their shapes."""
    return seen.flow.descendants((index for index, _ in tensors))


@ruled(
    RULES,
    "V401",
    "Inputs that decide nothing",
    wrong="""The step takes inputs and targets, but the gradients are the same whatever the inputs
    are: the model is called on something else, such as zeros or the target.""",
    why="The model learns a constant, or learns to copy what it should predict.",
    instead="`model(x, training=True)`, on the `x` of the batch.",
)
def inputs_are_ignored(seen: Seen) -> Iterator[Told]:
    inputs = seen.step.inputs - (seen.step.targets or frozenset())
    if seen.trained and _are_features(seen, inputs) and seen.influence.ignores(inputs):
        yield Told("the inputs decide no gradient", paths_of(seen.trained))


@ruled(
    RULES,
    "V402",
    "Targets that decide nothing",
    wrong="""The targets are part of what is differentiated, but the gradients are the same whatever
    the targets are: they are multiplied by zero, or only their shape is used. Or one of Keras'
    losses compares what the model returns with a constant, while the targets only affect the
    metrics.""",
    why="The model learns nothing from the targets, whatever the metrics show.",
    instead="`loss(y, prediction)` with the `y` of the batch.",
)
def targets_are_ignored(seen: Seen) -> Iterator[Told]:
    targets = seen.step.targets or frozenset()
    if not seen.trained or not targets or seen.step.inputs & targets:
        return
    below = _from(seen, targets)
    if any(update.node.index in below for update in seen.trained):
        entered = below & seen.differentiated
        if entered and seen.influence.ignores(targets):
            yield Told("the targets decide no gradient", paths_of(seen.trained))
        return
    written = {node.index for node, _ in seen.flat.writes()}
    measured = written | {index for index, _ in seen.flat.outputs}
    if measured.isdisjoint(below) or not seen.is_explained:
        return
    for loss, found in seen.losses:
        returned = found.predicted is not None and seen.detector.outputs.is_returned(
            found.predicted
        )
        if is_of_keras(loss) and returned and found.made_up is not None:
            told = f"{known_name(loss)} judges {found.prediction} against {found.made_up:g}"
            yield Told(f"the targets decide no gradient: {told}", found.paths)


@ruled(
    RULES,
    "V403",
    "Targets of other examples",
    wrong="""The target of an example affects the gradient by the prediction of another example, but
    not by its own: one of the two is shuffled, reversed or shifted along the batch, and the other
    is not.""",
    why="""Each prediction is trained towards a random target, so the mean is all that can be
    learned.""",
    instead="the same permutation for `x` and `y`, or a `tf.data` shuffle of both together.",
)
def of_other_examples(seen: Seen) -> Iterator[Told]:
    for tensor, row, other in misaligned(seen):
        what = seen.flat.node(tensor).id
        told = f"the target of row {row} is what row {other} of {what} is judged by"
        yield Told(f"{told}, which is made of the input of another row", (what,))


@ruled(
    RULES,
    "V404",
    "Sample weights that decide nothing",
    wrong="The step takes sample weights, but no gradient depends on them.",
    why="Class weights, masks and importances are silently ignored.",
    instead="`loss(y, prediction, sample_weight=w)`, or `self.compute_loss(x, y, y_pred, w)`.",
)
def weights_are_ignored(seen: Seen) -> Iterator[Told]:
    weights = seen.detector.sample_weights
    if not seen.trained or not weights.handed:
        return
    # A third argument that nothing is made of may be anything.
    used = any(seen.flow.consumers[index] for index, _ in weights.handed)
    if used and (not weights.reached or seen.influence.ignores(weights.handed)):
        yield Told("the sample weights decide no gradient", paths_of(seen.trained))


@ruled(
    RULES,
    "V405",
    "Rows of the batch that decide nothing",
    wrong="""The gradients are the same whatever the first, or the last, example of a batch is,
    because the step selects other rows by their position.""",
    why="Nothing is learned from the same part of every batch.",
    instead="the loss of all rows; use `drop_remainder` in the data, not in the step.",
)
def rows_are_ignored(seen: Seen) -> Iterator[Told]:
    fed = [*seen.detector.gradient_values.fed.values()]
    shapes = [seen.flat.shape(tensor) for tensor in fed]
    sizes = {shape[0] if shape else None for shape in shapes}
    targets, inputs = seen.step.targets or frozenset(), seen.step.inputs
    if not targets or not inputs or len(sizes) != 1 or not all(shapes):
        return
    between = _from(seen, fed) & seen.differentiated
    if not any(seen.flat.nodes[i].op in _TAKES for i in between):
        return
    for row, told in ((0, "first"), (-1, "last")):
        if seen.influence.ignores_row(fed, row):
            yield Told(f"the {told} example of a batch decides no gradient")


@ruled(
    RULES,
    "V406",
    "Sample weights of other examples",
    wrong="""The sample weight of an example affects the gradient by the prediction of another
    example, and not by its own.""",
    why="Important examples count little, and others count in their place.",
    instead="weights in the order of the examples: shuffle `x`, `y` and `sample_weight` together.",
)
def weights_of_others(seen: Seen) -> Iterator[Told]:
    for tensor, row, other in misaligned_weights(seen):
        what = seen.flat.node(tensor).id
        told = f"the sample weight of row {row} multiplies the loss of row {other} of {what}"
        yield Told(f"{told}, which is judged by another target", (what,))
