"""Any target -> a step: its flat graph, and what its arguments and variables mean."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from verify.flow import differentiated, flow_of
from verify.graphs import (
    Arguments,
    FlatGraph,
    Node,
    SourceLine,
    Tensor,
    VariableRef,
    arguments_of,
    graph_of_fit,
    key_of,
    line_of,
    no_collection,
    read,
    roles_of,
)
from verify.references import ModelReference


@dataclasses.dataclass(frozen=True, repr=False)
class Step:
    """A captured step.

    `targets`, `weights`: tensors that carry ``y`` and ``sample_weight``, None if the arguments do
    not tell; `inputs`: those that carry ``x``, where there is a ``y``; `target_of`: the targets by
    key or position, where there are several; `arguments`: all that it is handed, None where that is
    not known. `reference`: the model that the step trains, where
    known, `model_weights` its weights, which the step may use or not. `declared`: the graph came
    without Python objects, so that no variable says whether it is trained. `losses`, `optimizers`:
    objects that the step's function has at hand. `numbers`: what scalar variables hold now, by key.
    `parts`: of how many replicas' gradients, which are added up elsewhere, those of this step are
    one; `workers`: how many of them train this model together. `callables`: the names of layers and
    models at hand. `graph`: the ``FuncGraph`` that knows which lines of code made it.
    """

    name: str
    flat: FlatGraph
    targets: frozenset[Tensor] | None = None
    weights: frozenset[Tensor] | None = None
    reference: ModelReference | None = None
    declared: bool = False
    losses: tuple[Any, ...] = ()
    owner: Any = dataclasses.field(default=None, repr=False)
    model_weights: tuple[VariableRef, ...] = ()
    target_of: Mapping[str | int, frozenset[Tensor]] = dataclasses.field(default_factory=dict)
    optimizers: tuple[Any, ...] = ()
    numbers: Mapping[int | str, float] = dataclasses.field(default_factory=dict)
    inputs: frozenset[Tensor] = frozenset()
    arguments: Arguments | None = None
    parts: int = 1
    workers: int = 1
    callables: frozenset[str] = frozenset()
    graph: Any = dataclasses.field(default=None, repr=False)

    def __repr__(self) -> str:
        return f"<step {self.name} of {len(self.flat.nodes)} ops>"

    def lines_of(self, nodes: Iterable[Node]) -> Iterator[SourceLine]:
        """The lines of the user's code that made ops, as far as they are known."""
        if self.graph is not None:
            found = (line_of(self.graph, node) for node in nodes)
            yield from (line for line in found if line is not None)

    @property
    def flags(self) -> frozenset[int | str] | None:
        """Keys of the variables that are trainable now, None where no model tells."""
        return None if self.reference is None else self.reference.trainable

    @functools.cached_property
    def frozen_late(self) -> frozenset[int | str]:
        """Keys of the weights of the model that are frozen now, and that the graph still trains.

        It was traced before they were frozen. They are read by a loss that is differentiated, and
        what is written to them comes from there: neither statistics nor averages are.
        """
        return self._trained_though_frozen(self.flat)

    @functools.cached_property
    def frozen_behind_fit(self) -> frozenset[int | str]:
        """The same where the step is traced anew: of the graph that ``fit`` goes on running."""
        reference = self.reference
        if reference is None or self.owner is not reference.model or not self._frozen:
            return frozenset()
        running = graph_of_fit(reference.model)
        return frozenset() if running is None else self._trained_though_frozen(running)

    @functools.cached_property
    def _frozen(self) -> frozenset[int | str]:
        """Keys of the weights of the model that could be trained, and are frozen now."""
        if self.flags is None:
            return frozenset()
        return frozenset(v.key for v in self.model_weights if v.trainable) - self.flags

    def _trained_though_frozen(self, flat: FlatGraph) -> frozenset[int | str]:
        may = self._frozen & {variable.key for _, variable in flat.writes()}
        if not may:
            return frozenset()
        flow = flow_of(flat, trainable=(self.flags or frozenset()) | may)
        return may & flow.trained_of.keys() & flow.differentiated

    @functools.cached_property
    def trainable(self) -> frozenset[int | str] | None:
        """Keys of the variables that count as trainable, None to ask the variables.

        What the graph trains does, whatever the model says of it now.
        """
        if self.reference is not None:
            return self.reference.trainable | self.frozen_late
        if not self.declared and not self.optimizers:
            return None
        if not self.declared:
            # Some of what Keras' optimizers keep says of itself that it could be trained.
            kept = {key_of(v) for optimizer in self.optimizers for v in optimizer.variables}
            return frozenset(v.key for v in self.variables if v.trainable) - kept
        for node, variable in self.flat.reads():
            if node.shapes[:1] in ([], [None]):
                raise ValueError(
                    f"{self.name} does not say what shape {variable.path} has: write the GraphDef "
                    "with shapes, graph.as_graph_def(add_shapes=True)"
                )
        return differentiated(self.flat)

    @functools.cached_property
    def variables(self) -> list[VariableRef]:
        """One for each variable, whatever its replicas."""
        return list({variable.key: variable for variable in self.flat.variables.values()}.values())

    @functools.cached_property
    def paths(self) -> dict[int | str, str]:
        """The paths of the variables, by key."""
        return {variable.key: variable.path for variable in self.variables}

    @functools.cached_property
    def replicas(self) -> int:
        return 1 + max((v.replica for v in self.flat.variables.values()), default=0)


def capture(
    target: Any,
    *args: Any,
    model: Any = None,
    reference: ModelReference | None = None,
    signature: str | None = None,
    optimized: bool = False,
) -> Step:
    """Traces `target` on `args`.

    Args:
        target: what `trace` has made; a ``tf.function`` or any other callable, e.g. a
            ``tf.Module``'s method; a ``ConcreteFunction``; a compiled Keras model, of Keras 3 or
            of ``tf_keras`` (its ``train_step``), or its ``train_step``, ``test_step``,
            ``predict_step``, ``train_function``, ``test_function`` or ``predict_function``; a
            ``FuncGraph``; a ``GraphDef``; the path of a SavedModel or of a file with a
            ``GraphDef`` (``.pb``, ``.pbtxt``).
        args: a batch as ``(x, y)`` or ``(x, y, sample_weight)``, in one tuple or one by one:
            tensors, arrays or ``tf.TensorSpec``; or a ``tf.data.Dataset`` of such; for what takes
            one, an iterator. A batch is that of one replica.
        model: the model trained by the step, where the target does not tell: its trainable
            variables and the regularisers it adds are then taken from it.
        reference: what has been traced from that model before, to be used again.
        signature: which function of a SavedModel, if it has several.
        optimized: take the graph as Grappler leaves it.

    Raises:
        TypeError: `target` is nothing that can be traced, or needs arguments that are missing.
        ValueError: no such signature; a variable goes into a function that is not read, as in a
            loop over a dataset.
    """
    if isinstance(target, Step):
        return _traced_before(target, args, model, signature, optimized)
    found = read(target, args, model, signature, optimized)
    roles = roles_of(found.signature, found.flat)
    if reference is None and found.model is not None:
        reference = ModelReference(found.model, None if roles is None else roles.x)
    return Step(
        found.name,
        found.flat,
        None if roles is None else roles.targets,
        None if roles is None else roles.weights,
        reference,
        found.declared,
        found.losses,
        found.owner,
        found.weights,
        {} if roles is None else roles.target_of,
        found.optimizers,
        found.numbers,
        frozenset() if roles is None else roles.inputs,
        arguments_of(found.signature, found.flat),
        callables=found.callables,
        graph=found.graph,
    )


def trace(target: Any, *args: Any, model: Any = None, signature: str | None = None) -> Step:
    """Returns a step that is traced once, for use with any number of functions of `verify`.

    Tracing takes most of the time. Pass the result, without a batch, wherever a target is expected:
    ``verify.assert_graph(step, loss="mse")``. It is the step as it was when it was traced, so it
    does not show later changes, such as a layer that was frozen or a model that was compiled again.

    Args:
        target, args, model, signature: as for `verify.assert_graph`.

    Raises:
        TypeError, ValueError: as for `verify.assert_graph`.
    """
    with no_collection():
        return capture(target, *args, model=model, signature=signature)


def _traced_before(step: Step, args: Any, model: Any, signature: Any, optimized: bool) -> Step:
    """
    Raises:
        TypeError: something is said that is for tracing.
    """
    said = {
        "a batch": args,
        "model": model is not None,
        "signature": signature,
        "optimized": optimized,
    }
    given = [name for name, is_said in said.items() if is_said]
    if given:
        raise TypeError(f"{step.name} has been traced: {' and '.join(given)} go to verify.trace")
    return step
