"""Which part of a training step each op belongs to, told by dataflow."""

from __future__ import annotations

from collections.abc import Iterable

from verify.find import Detector, known_losses
from verify.flow import Flow, reached
from verify.graphs import READS, is_stateful
from verify.kinds import KINDS
from verify.picture.colours import CLUSTERS

_SUMS = {"Add", "AddV2", "AddN", "Pack", "Sum"}  # of losses, to the total
_JOIN = "AddN"  # where contributions to one gradient meet


def clusters(detector: Detector) -> list[str]:
    """Per node of the flat graph, one of `CLUSTERS`."""
    flow, flat = detector.flow, detector.flat
    own = _of_kinds(detector)
    optimizing = _optimizer_ops(detector) - own.keys()
    toward_loss = flow.ancestors(_totals(flow))
    targets = _of_losses(detector) & toward_loss
    ahead = flow.of_weights - flow.backward
    unused = _unused(flow)
    predicting = flow.ancestors((ahead & flow.of_data & toward_loss) - targets)
    if not flow.seeds:  # nothing is trained: all that is made of weights predicts
        predicting, toward_loss = flow.ancestors(ahead), ahead

    parts: list[str] = [""] * len(flat.nodes)
    for index in range(len(parts)):
        if index in own:
            parts[index] = own[index]
        elif index in unused:
            parts[index] = "unused"
        elif index in optimizing:
            parts[index] = "optimizer"
        elif index in flow.backward:
            parts[index] = "backward"
        elif index in ahead:
            if index not in toward_loss:
                continue  # metrics, and what a backward pass needs: it goes where it is used
            if index in targets:
                parts[index] = "loss"
            else:
                parts[index] = "forward" if index in predicting else "regularization"
        elif index in flow.of_data:
            parts[index] = "input"
    _follow_consumers(flow, parts)
    return parts


def _totals(flow: Flow) -> set[int]:
    """What is differentiated: the losses that seeds were found by, and what sums them up."""
    totals: set[int] = set()
    for seed in flow.seeds:
        stack = [seed.loss[0]]
        while stack:
            index = stack.pop()
            if index not in totals:
                totals.add(index)
                stack += [
                    user
                    for user in flow.consumers[index]
                    if flow.flat.nodes[user].op in _SUMS
                    and user < seed.node
                    and user not in flow.backward
                ]
    return totals


def _of_losses(detector: Detector) -> set[int]:
    """What is computed from targets and predictions both, or from what a loss judges."""
    flow, fed = detector.flow, detector.step.targets
    at = {node.id: node.index for node in detector.flat.nodes}
    known = [found for _, found in known_losses(detector)]
    predictions = {at[found.prediction] for found in known if found.prediction in at}
    # Keras takes logits of a softmax from before it.
    predictions |= {found.predicted[0] for found in known if found.predicted is not None}
    # What is predicted may lead to what else is: then it is no loss yet.
    judged = flow.descendants(predictions) - flow.ancestors(predictions)
    if fed is None:  # arguments say nothing
        return judged
    return (judged | flow.after(fed)) & flow.of_weights


def _unused(flow: Flow) -> set[int]:
    """What nothing depends on that is written, handed back or done."""
    nodes = flow.flat.nodes
    done = (n for n in nodes if is_stateful(n.op) and n.op not in READS)
    ends = {node.index for node in done} | {n.index for n in nodes if n.op == "Placeholder"}
    ends |= {node.index for node, _ in flow.flat.writes()} | flow.flat.variables.keys()
    ends |= {index for index, _ in flow.flat.outputs}
    ends |= {guard.predicate[0] for guard in flow.flat.guards}
    used, stack = set(ends), list(ends)
    while stack:
        node = nodes[stack.pop()]
        # As they are wired: identities that are looked through are used all the same.
        for source in (*(t[0] for t in node.inputs), *(t[0] for t in node.data), *node.control):
            if source not in used:
                used.add(source)
                stack.append(source)
    return {node.index for node in nodes} - used


def _of_kinds(detector: Detector) -> dict[int, str]:
    """The ops that kinds of facts know as their own, with the names of their clusters."""
    return {
        index: kind.cluster.name
        for kind in KINDS
        if kind.cluster is not None
        for index in kind.ops(detector)
    }


def _optimizer_ops(detector: Detector) -> set[int]:
    """Ops from where gradients are whole to the updates."""
    flow = detector.flow
    complete: set[int] = set()  # what hands a whole gradient on
    for update in flow.trained:
        clips = detector.clips(update)
        if clips:
            complete |= {clip.node for clip in clips}
        else:
            complete |= _gradients(flow, update.node.index, update.variable.shape)
    # A gradient of one variable may be on the way to that of another: of a bias, added beforehand.
    data = [[source for source, _ in node.data] for node in flow.flat.nodes]
    optimizing = flow.descendants(complete, reached(complete, data) - complete) - complete
    optimizing |= {update.node.index for update in flow.trained}
    # Weight decay.
    return optimizing | {u.node.index for u in flow.updates if u.variable.path in detector.decayed}


def _gradients(flow: Flow, write: int, shape: tuple[int | None, ...]) -> set[int]:
    """Where the elementwise ops before an update begin: the nodes that give its gradient."""
    nodes, flat = flow.flat.nodes, flow.flat
    found: set[int] = set()
    seen = {write}
    stack = [write]
    while stack:
        for index in flow.producers[stack.pop()]:  # state that is written and read again included
            if index not in flow.backward or index in seen:
                continue
            seen.add(index)
            node = nodes[index]
            inputs = [t for t in node.data if t[0] in flow.backward]
            if node.op == _JOIN or not all(flat.shape(t) in (shape, ()) for t in inputs):
                found.add(index)
            else:
                stack.append(index)
    return found


def _follow_consumers(flow: Flow, parts: list[str]) -> None:
    """Constants, counters and reads of state belong to what first uses them."""
    open_ends = [index for index, part in enumerate(parts) if not part]
    while open_ends:
        for index in reversed(open_ends):
            used_by = {parts[user] for user in flow.consumers[index]} - {"", "unused"}
            if used_by:
                parts[index] = min(used_by, key=CLUSTERS.index)
        left = [index for index in open_ends if not parts[index]]
        if len(left) == len(open_ends):  # else once more: in a loop what comes first may use it
            break
        open_ends = left
    for index in open_ends:
        parts[index] = parts[index] or "metrics and state"


def counted(parts: Iterable[str]) -> dict[str, int]:
    """How many ops each cluster has, in the order of `CLUSTERS`."""
    listed = list(parts)
    return {cluster: listed.count(cluster) for cluster in CLUSTERS if cluster in listed}
