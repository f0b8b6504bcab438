"""What verification costs: `ci/bench verify [--most NODES]`.

Prints ratios and figures of one run: facts and assertions over the tracing of the step they are
about; the cost of a node in graphs of more and more nodes; networkx' search for the same motif
over ours; and memory. `--memory-of NODES` prints the memory alone that facts of so large a graph
take, by the peak of a process that does nothing else.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib
import resource
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import keras
import networkx as nx
import tensorflow as tf
from networkx.algorithms import isomorphism

import verify
from benchmarks.project import project
from tests.corpus.case import Case
from verify.assertions import Expectation
from verify.flow import Flow
from verify.graphs import no_collection, to_networkx
from verify.graphs.inlining import flatten_definition
from verify.match import Pattern
from verify.references import loss_patterns, regulariser_pattern, value_patterns
from verify.step import Step, capture
from verify.step_facts import step_facts

_ROUNDS = 5  # of which the fastest counts, where a search is over in milliseconds


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# -- over tracing ----------------------------------------------------------------------------------


def resnet() -> tuple[keras.Model, tf.TensorSpec]:
    model = keras.applications.ResNet50(weights=None, classes=10, input_shape=(64, 64, 3))
    return model, tf.TensorSpec((4, 64, 64, 3))


def mobilenet() -> tuple[keras.Model, tf.TensorSpec]:
    model = keras.applications.MobileNetV3Small(weights=None, classes=10, input_shape=(64, 64, 3))
    return model, tf.TensorSpec((4, 64, 64, 3))


def transformer() -> tuple[keras.Model, tf.TensorSpec]:
    layers = keras.layers
    inputs = keras.Input((32,), dtype="int32")
    x = layers.Embedding(1000, 64)(inputs)
    for _ in range(12):
        x = layers.LayerNormalization()(x + layers.MultiHeadAttention(4, 16)(x, x))
        x = layers.LayerNormalization()(x + layers.Dense(64)(layers.Dense(256, "gelu")(x)))
    outputs = layers.Dense(10, "softmax")(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, outputs), tf.TensorSpec((4, 32), "int32")


def over_tracing() -> None:
    print("facts and all assertions over the tracing of the train step, one cold run each")
    for name, make in (
        ("ResNet50", resnet),
        ("MobileNetV3Small", mobilenet),
        ("transformer, 12 layers", transformer),
    ):
        model, x = make()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        function = tf.function(model.train_step, autograph=False)
        batch = (x, tf.TensorSpec((4,), "int32"))
        traced: list[Any] = []
        # B023: these functions are called at once, in the round of the loop that made them.
        tracing = seconds(lambda: traced.append(function.get_concrete_function(batch)))  # noqa: B023
        (concrete,) = traced
        gc.collect()
        asserting = seconds(
            lambda: verify.assert_graph(
                concrete,  # noqa: B023
                loss="sparse_categorical_crossentropy",
                regularization=0,
                clipping=None,
                watched="*",
                decayed=None,
                guards=None,
                forbids="*PyFunc*",
                max_ops=10**6,
                model=model,  # noqa: B023
            )
        )
        telling = seconds(lambda: verify.facts(concrete, model=model))  # noqa: B023
        nodes = len(capture(concrete).flat.nodes)
        print(
            f"  {name:<24} {(asserting + telling) / tracing:6.1%}   "
            f"({nodes} nodes; traced in {tracing:.1f} s, asserted {asserting:.2f} s, "
            f"facts {telling:.2f} s)"
        )


# -- steps that somebody wrote ---------------------------------------------------------------------


def resnet_by_hand() -> Case:
    """ResNet50 by a tape, with a loss that Keras does not have, and a descent by hand."""
    model, x = resnet()
    weights = [variable.value for variable in model.trainable_variables]

    def own(y: Any, probabilities: Any) -> Any:
        right = tf.reduce_sum(tf.one_hot(y, 10) * probabilities, -1)
        return tf.reduce_mean((1.0 - right) ** 2 - 0.1 * tf.math.log(right + 1e-7))

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> None:
        with tf.GradientTape() as tape:
            loss = own(y, model(x, training=True))
        for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
            weight.assign_sub(0.1 * gradient)

    return Case(step, (x, tf.TensorSpec((4,), "int32")), {"loss": own, "watched": "*"})


def by_hand() -> None:
    print(
        "after tracing, of steps with losses that have no name: the first time in a process, again"
    )
    corpus = ("vae", "wgan_gp", "distillation", "cyclegan", "simclr", "ppo")
    made = {name: importlib.import_module(f"tests.corpus.{name}").case for name in corpus}
    for name, case in (made | {"ResNet50": resnet_by_hand}).items():
        told = []
        for _ in range(2):
            one = case()
            one.step.get_concrete_function(*one.batch)
            gc.collect()
            told.append((seconds(one.check), seconds(lambda: verify.facts(one.step, *one.batch))))  # noqa: B023
        (asserted, facts), (again, facts_again) = told
        print(
            f"  {name:<24} asserted {asserted:.2f} s, {again:.2f} s; "
            f"facts {facts:.2f} s, {facts_again:.2f} s"
        )


# -- per node --------------------------------------------------------------------------------------


def small_step() -> tuple[Any, keras.Model]:
    model = keras.Sequential(
        [
            keras.Input((8,)),
            keras.layers.Dense(16, "tanh", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dense(16, "relu", kernel_regularizer=keras.regularizers.L2(0.01)),
            keras.layers.Dense(4),
        ]
    )
    model.compile(keras.optimizers.Adam(clipvalue=0.1), "mse", metrics=["mae"])
    function = tf.function(model.train_step, autograph=False)
    batch = (tf.TensorSpec((4, 8)), tf.TensorSpec((4, 4)))
    return function.get_concrete_function(batch), model


def concatenated(concrete: Any, copies: int) -> Any:
    """One GraphDef with so many copies of a step's, each with names of its own."""
    single = concrete.graph.as_graph_def(add_shapes=True)
    whole = tf.compat.v1.GraphDef()
    whole.library.CopyFrom(single.library)
    for copy in range(copies):
        for node in single.node:
            made = whole.node.add()
            made.CopyFrom(node)
            made.name = f"copy{copy}/{node.name}"
            del made.input[:]
            made.input.extend(
                f"^copy{copy}/{name[1:]}" if name[0] == "^" else f"copy{copy}/{name}"
                for name in node.input
            )
    return whole


def concatenated_step(concrete: Any, copies: int) -> Step:
    """The step of that definition, each copy with variables and arguments of its own."""
    single = capture(concrete)
    flat = flatten_definition(concatenated(concrete, copies), "concatenated")
    place = {node.name: node.index for node in flat.nodes if not node.path}
    targets = set()
    for copy in range(copies):
        for index, variable in single.flat.variables.items():
            flat.variables[place[f"copy{copy}/{single.flat.nodes[index].name}"]] = (
                dataclasses.replace(
                    variable, key=f"{copy}/{variable.key}", path=f"copy{copy}/{variable.path}"
                )
            )
        for index in single.flat.arguments:
            flat.arguments.append(place[f"copy{copy}/{single.flat.nodes[index].name}"])
        for index, output in single.targets or ():
            targets.add((place[f"copy{copy}/{single.flat.nodes[index].name}"], output))
    return Step("concatenated", flat, frozenset(targets), frozenset())


def per_node(most: int) -> None:
    print("time per node of reading a GraphDef, and of all assertions on it")
    concrete, _ = small_step()
    size = len(capture(concrete).flat.nodes)
    expected = {"regularization": True, "clipping": (-0.1, 0.1), "watched": "*"}
    single = Expectation.of({**expected, "loss": "mse"})
    single.violations(concatenated_step(concrete, 1))  # traces the references, once
    first: float | None = None
    nodes = 1000
    while nodes <= most:
        copies = max(1, round(nodes / size))
        everything = Expectation.of({**expected, "loss": ["mse"] * copies})
        with no_collection():
            steps: list[Step] = []
            # B023: both are called at once.
            reading = seconds(lambda: steps.append(concatenated_step(concrete, copies)))  # noqa: B023
            count = len(steps[0].flat.nodes)
            violations: list[Any] = []
            judging = seconds(lambda: violations.extend(everything.violations(steps[0])))  # noqa: B023
        if violations:
            raise SystemExit(f"a correct step was refused: {violations[0]}")
        cost = (reading + judging) / count
        first = first or cost
        print(
            f"  {count:>9} nodes {cost * 1e6:6.1f} us a node, {cost / first:5.2f} times the first"
            f"   (read {reading / count * 1e6:.1f}, assertions {judging / count * 1e6:.1f})"
        )
        del steps
        gc.collect()
        nodes *= 10


# -- over networkx ---------------------------------------------------------------------------------


def motif(pattern: Pattern) -> nx.DiGraph[int]:
    """What a pattern asks of ops and wires, as networkx understands it; leaves match anything."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    stack = [root[0] for root in pattern.summands]
    while stack:
        index = stack.pop()
        if index in graph and "op" in graph.nodes[index]:
            continue
        node = pattern.flat.nodes[index]
        leaf = index in pattern.leaves
        graph.add_node(index, op=None if leaf else node.op)
        for source, _ in () if leaf else node.data:
            graph.add_edge(source, index)
            stack.append(source)
    return graph


def over_networkx() -> None:
    print("networkx' DiGraphMatcher (VF2) over our matcher: all matches of a motif")
    concrete, _ = small_step()
    spec = ((4, 4), "float32")
    kernel = ((8, 16), "float32")
    for copies in (1, 10, 100):
        step = concatenated_step(concrete, copies)
        flow = Flow(step.flat)
        target: nx.DiGraph[int] = nx.DiGraph()
        for node in step.flat.nodes:
            target.add_node(node.index, op=node.op)
            target.add_edges_from((source, node.index) for source, _ in node.data)
        ops = flow.matcher.by_op
        loss = loss_patterns(keras.losses.MeanSquaredError(), spec, spec, None, ops)[0]
        term = regulariser_pattern(keras.regularizers.L2(0.01), kernel)
        motifs = {"a loss' gradient": loss, "a regulariser's": term}
        motifs["a clip"] = value_patterns("float32")[0]
        for name, pattern in motifs.items():
            if pattern is None:
                raise SystemExit(f"{name} has no motif")
            ours, quick = _found(flow, pattern)
            theirs, slow = _embedded(target, motif(pattern))
            print(
                f"  {len(target):>6} nodes, {name:<17} {slow / quick:7.0f} times   "
                f"({ours} in {quick * 1e3:.2f} ms; networkx: {theirs} in {slow * 1e3:.0f} ms)"
            )


def _found(flow: Flow, pattern: Pattern) -> tuple[int, float]:
    """How many matches of a motif we find, and how long that takes, constants folded before."""
    found: list[Any] = []
    predicates = {"upstream": lambda tensor: tensor[0] in flow.backward}

    def find() -> None:
        found[:] = flow.matcher.find(pattern, pattern.summands[0], predicates, flow.backward)[0]

    with no_collection():
        took = min(seconds(find) for _ in range(_ROUNDS))
    return len(found), took


def _embedded(target: nx.DiGraph[int], wanted: nx.DiGraph[int]) -> tuple[int, float]:
    """How many embeddings of a motif networkx finds, and how long that takes."""

    def alike(there: dict[str, Any], asked: dict[str, Any]) -> bool:
        return asked["op"] is None or bool(there["op"] == asked["op"])

    found: list[Any] = []

    def search() -> None:
        matcher = isomorphism.DiGraphMatcher(target, wanted, node_match=alike)
        found[:] = matcher.subgraph_monomorphisms_iter()

    with no_collection():
        took = min(seconds(search) for _ in range(_ROUNDS))
    return len(found), took


# -- memory ----------------------------------------------------------------------------------------


def memory() -> None:
    print("memory")
    concrete, _ = small_step()
    definition = concatenated(concrete, 20)
    gc.collect()
    tracemalloc.start()
    flat = flatten_definition(definition, "step")
    read = tracemalloc.get_traced_memory()[0]
    flow = Flow(flat)
    flow.producers  # noqa: B018  # cached: asking makes the index that is measured
    indexed = tracemalloc.get_traced_memory()[0] - read
    public = to_networkx(flat)
    networkx = tracemalloc.get_traced_memory()[0] - read - indexed
    tracemalloc.stop()
    count = len(flat.nodes)
    print(f"  protocol buffer  {definition.ByteSize() / count:6.0f} bytes a node, serialised")
    print(f"  flat graph       {read / count:6.0f} bytes a node")
    print(f"  dataflow         {indexed / count:6.0f} bytes a node")
    print(f"  networkx         {networkx / len(public):6.0f} bytes a node")


def memory_of(nodes: int) -> None:
    """The peak of this process while a graph is read and all facts are made of it."""

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    concrete, _ = small_step()
    size = len(capture(concrete).flat.nodes)
    step_facts(concatenated_step(concrete, 1))
    before = peak()
    step = concatenated_step(concrete, max(1, round(nodes / size)))
    read, count = peak(), len(step.flat.nodes)
    step_facts(step)
    print(
        f"facts of {count} nodes: {peak() / 2**30:.2f} GiB, of which {before / 2**30:.2f} without; "
        f"{(peak() - before) / count:.0f} bytes a node, {(read - before) / count:.0f} once read"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="ci/bench verify", description=__doc__)
    parser.add_argument(
        "--most", type=int, default=10**6, metavar="NODES", help="the largest graph (10^6)"
    )
    parser.add_argument(
        "--memory-of", type=int, metavar="NODES", help="only the memory of facts of such a graph"
    )
    asked = parser.parse_args()
    if asked.memory_of is not None:
        memory_of(asked.memory_of)
        return
    most = asked.most
    over_tracing()
    by_hand()
    per_node(most)
    over_networkx()
    memory()
    project()


if __name__ == "__main__":
    main()
