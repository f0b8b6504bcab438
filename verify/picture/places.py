"""Where in a picture each op of a step stands."""

from __future__ import annotations

from verify.find import Detector
from verify.graphs import CASES, IFS, FlatGraph, Node, VariableRef
from verify.picture.clusters import clusters
from verify.picture.layers import layers
from verify.step import Step, choosers

Place = tuple[tuple[str, str], ...]
"""Groups around an op, outermost first: the name and the kind of each."""


class Places:
    """The places of a step's ops and variables."""

    def __init__(self, step: Step) -> None:
        self.detector = detector = Detector(step)
        self.step, self.flat = step, step.flat
        self._parts = clusters(detector)
        self._layers = layers(detector.flow, self._parts)
        self._labels = _branches(step.flat)
        self._trained = {update.variable.key for update in detector.flow.trained}
        variables = step.flat.variables.values()
        trained = [v for v in variables if v.key in self._trained]
        # What is trained is in models, unlike what optimizers and metrics keep.
        self._models = {v.path.partition("/")[0] for v in trained or variables}
        self._written = {variable.key for _, variable in step.flat.writes()}

    def of(self, node: Node, by_layer: bool = False) -> Place:
        """Where an op stands: in a part of the step and there in a layer, or the other way "
        "round."""
        around, calls = list[tuple[str, str]](), list[tuple[str, str]]()
        for depth, site in enumerate(node.path, 1):
            label = self._labels.get(node.path[:depth])
            if label is not None:
                around.append((label, "branch"))
            else:
                calls.append((site, "scope"))
        part, names = (self._parts[node.index], "cluster"), self._layers[node.index]
        if not by_layer:
            return (*around, part, *calls, *((name, "layer") for name in names))
        # Scopes around models, those of branches for instance, are no layers.
        models = (i for i, name in enumerate(names) if name.partition(" (")[0] in self._models)
        own = names[next(models, len(names)) :]
        return (*around, *((name, "layer") for name in own), part, *calls)

    def role(self, variable: VariableRef) -> str:
        """What becomes of a variable in the step."""
        if variable.key in self._trained:
            return "trained"
        if variable.trainable:
            return "not trained"
        return "state" if variable.key in self._written else "read only"


def _branches(flat: FlatGraph) -> dict[tuple[str, ...], str]:
    """Call paths of branches, and what has to be true for each to be taken."""
    labels: dict[tuple[str, ...], str] = {}
    for guard in flat.guards:
        if guard.op not in IFS | CASES:
            continue
        by = ", ".join(variable.path for variable in choosers(flat, guard)) or guard.name
        for number, branch in enumerate(guard.branches):
            value = str(number == 0) if guard.op in IFS else f"case {number}"
            labels[branch] = f"if {by}: {value}"
    return labels
