"""A function's graph as Grappler, TensorFlow's graph optimizer, leaves it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

# TensorFlow optimises when it runs a function and shows the result to no one; this entry is the
# one that its own converters use. tests/verify/graphs/test_targets.py notices when it moves.
from tensorflow.python.grappler import tf_optimizer

_LOWERED = "_lower_using_switch_merge"


def optimized_definition(graph: Any, name: str) -> Any:
    """The optimised ``GraphDef`` of a ``FuncGraph``, with shapes.

    Branches and loops stay functional ops; for running, TensorFlow lowers them further.

    Raises:
        ValueError: Grappler refuses the graph.
    """
    definition = graph.as_graph_def(add_shapes=True)
    for nodes in (definition.node, *(body.node_def for body in definition.library.function)):
        for node in nodes:
            if _LOWERED in node.attr:
                node.attr[_LOWERED].b = False
    meta = tf.compat.v1.train.export_meta_graph(graph_def=definition, graph=graph)
    fetched = [tensor.op.name for tensor in (*graph.inputs, *graph.outputs)]
    fetched += [operation.name for operation in graph.control_outputs]
    meta.collection_def.clear()  # variables' initialisers, say, are no part of the step
    meta.collection_def["train_op"].node_list.value.extend(dict.fromkeys(fetched))
    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.min_graph_nodes = -1  # small graphs too
    try:
        optimized = tf_optimizer.OptimizeGraph(config, meta)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(f"{name} can't be optimised: {error}") from error
    outside = tf.Graph()
    with outside.as_default():
        tf.import_graph_def(optimized, name="")
    return outside.as_graph_def(add_shapes=True)
