"""Whatever a training step comes as, the same is read from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf
import tf_keras
from tensorflow.python.grappler import tf_optimizer

import verify
from tests.replicas import mirrored
from tests.verify.steps import batch, dense, step

MSE = keras.losses.MeanSquaredError()
L2 = keras.regularizers.L2(0.01)


def compiled(**settings: Any) -> keras.Model:
    model = dense(kernel=L2)
    model.compile(keras.optimizers.Adam(clipvalue=0.5), "mse", metrics=["mae"], **settings)
    return model


def assert_as_compiled(target: Any, *args: Any, **keywords: Any) -> None:
    """What `compiled` is, and that nothing else would be believed of it."""
    expected: dict[str, Any] = {
        "loss": "mse",
        "regularization": 1,
        "clipping": (-0.5, 0.5),
        "watched": "*",
    }
    verify.assert_graph(target, *args, **expected, **keywords)
    for keyword, wrong in [("loss", "mae"), ("regularization", 0), ("clipping", (-0.4, 0.5))]:
        with pytest.raises(verify.GraphAssertionError, match=keyword):
            verify.assert_graph(target, *args, **{keyword: wrong}, **keywords)


@pytest.mark.parametrize("jit", [False, True], ids=["graph", "XLA"])
@pytest.mark.parametrize("steps", [1, 8])
def test_the_train_function_of_a_model(steps: int, jit: bool) -> None:
    model = compiled(steps_per_execution=steps, jit_compile=jit)
    model.make_train_function()
    assert_as_compiled(model.train_function, *batch())


@pytest.mark.parametrize("steps", [1, 4])
def test_a_model_of_two_replicas(steps: int) -> None:
    """Each replica's part of the batch has its own loss, half of it; both are one loss."""
    with mirrored().scope():
        model = dense(kernel=L2)
        model.compile("adam", "mse", metrics=["mae"], steps_per_execution=steps)
    model.make_train_function()
    for target in (model, model.train_function):
        verify.assert_graph(target, *batch(), loss="mse", regularization=1, watched="*")
        with pytest.raises(verify.GraphAssertionError, match="MeanSquaredError of"):
            verify.assert_graph(target, *batch(), loss="mae")
    facts = verify.facts(model.train_function, *batch())
    assert facts.watched == tuple(sorted(v.path for v in model.trainable_variables))


def test_the_sum_of_two_replicas_is_the_whole_sum() -> None:
    """While each has a share of a mean."""
    summed = keras.losses.MeanSquaredError(reduction="sum")
    with mirrored().scope():
        model = dense()
        model.compile("sgd", summed)
    verify.assert_graph(model, batch(), loss=summed, watched="*")
    with pytest.raises(verify.GraphAssertionError, match=r"reduction='sum'\)"):
        verify.assert_graph(model, batch(), loss=keras.losses.MeanSquaredError())


def test_a_clip_of_each_replicas_part_is_no_clip_of_the_gradient() -> None:
    """Keras clips before it reduces: two replicas' sum may be twice the bound."""
    with mirrored().scope():
        model = compiled()
    with pytest.raises(verify.GraphAssertionError, match="only parts of its gradient"):
        verify.assert_graph(model, *batch(), clipping=(-0.5, 0.5))


@pytest.mark.parametrize("kind", ["train", "test", "predict"])
def test_steps_and_functions_of_a_model(kind: str) -> None:
    model = compiled(steps_per_execution=2)
    getattr(model, f"make_{kind}_function")()
    given = batch() if kind != "predict" else batch()[:1]
    for target in (getattr(model, f"{kind}_step"), getattr(model, f"{kind}_function")):
        facts = verify.facts(target, *given)
        assert bool(facts.watched) == bool(facts.losses) == (kind == "train")
        assert bool(facts.written.metrics) == (kind != "predict")


def test_an_iterator_says_itself_what_is_in_it() -> None:
    model = compiled()
    model.make_train_function()
    data = tf.data.Dataset.from_tensors((tf.zeros((8, 4)), tf.zeros((8, 1))))
    assert_as_compiled(model.train_function, iter(data))
    assert_as_compiled(model, data)


def test_roles_come_from_a_concrete_function_over_an_iterator() -> None:
    """The spec of its elements is private to TensorFlow: this notices when it moves."""
    model = compiled()

    @tf.function
    def train(iterator: Any) -> Any:
        return model.train_step(next(iterator))

    data = tf.data.Dataset.from_tensors((tf.zeros((8, 4)), tf.zeros((8, 1)), tf.zeros((8,))))
    concrete = train.get_concrete_function(iter(data))
    assert_as_compiled(concrete, model=model)


def test_a_custom_train_step() -> None:
    class Halved(keras.Sequential):
        def train_step(self, data: Any) -> Any:
            x, y = data
            with tf.GradientTape() as tape:
                loss = 0.5 * self.compute_loss(x, y, self(x, training=True))
            gradients = tape.gradient(loss, [v.value for v in self.trainable_variables])
            self.optimizer.apply(gradients, self.trainable_variables)
            return {"loss": loss}

    model = Halved(dense().layers)
    model.compile("sgd", "mse")
    with pytest.raises(verify.GraphAssertionError, match=r"weight 0\.5"):
        verify.assert_graph(model, *batch(), loss="mse")


class Linear(tf.Module):
    """A train step with no Keras in it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.ones((4, 1)), name="weight")
        self.bias = tf.Variable([0.0], name="bias", trainable=False)

    def train(self, x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x @ self.weight + self.bias - y) ** 2)
        gradient = tf.clip_by_norm(tape.gradient(loss, self.weight), 2.0)
        self.weight.assign_sub(0.1 * gradient)
        return loss


def assert_linear(target: Any, *args: Any, **keywords: Any) -> None:
    verify.assert_graph(
        target,
        *args,
        loss=lambda y, prediction: (prediction - y) ** 2,
        clipping={"norm": 2.0},
        watched="*weight*",
        **keywords,
    )
    with pytest.raises(verify.GraphAssertionError, match="norm 2"):
        verify.assert_graph(target, *args, clipping={"norm": 3.0}, **keywords)


def test_methods_of_a_module() -> None:
    module = Linear()
    assert_linear(module.train, *batch())
    assert_linear(tf.function(module.train), *batch())


def test_a_function_graph() -> None:
    module = Linear()
    concrete = tf.function(module.train).get_concrete_function(*batch())
    assert_linear(concrete.graph)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    module = Linear()
    module.step = tf.function(module.train, input_signature=batch())
    signatures = {"train": module.step.get_concrete_function()}
    tf.saved_model.save(module, str(tmp_path / "linear"), signatures=signatures)
    return tmp_path / "linear"


@pytest.mark.parametrize("signature", ["train", "step"])
def test_a_saved_model(saved: Path, signature: str) -> None:
    """By a signature, or by a function that it was saved with."""
    assert_linear(str(saved), signature=signature)


def test_a_saved_step_is_the_same_as_that_it_was_saved_of(saved: Path) -> None:
    other = tf.function(Linear().train)
    verify.assert_same_step(saved, other, *batch(), signature="step")
    verify.assert_same_step(str(saved), saved, signature="step")
    with pytest.raises(TypeError, match="signature= is for SavedModels"):
        verify.assert_same_step(other, other, *batch(), signature="step")


def test_a_saved_model_says_what_it_has(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"choose one, signature=\.\.\.: step, train"):
        verify.facts(saved)
    with pytest.raises(ValueError, match="no function 'serve': it has step, train"):
        verify.facts(saved, signature="serve")
    with pytest.raises(ValueError, match="give its directory"):
        verify.facts(saved / "saved_model.pb")


@pytest.mark.parametrize("suffix", [".pb", ".pbtxt"])
def test_a_file_with_a_graph_definition(tmp_path: Path, suffix: str) -> None:
    """It says neither which variables are trainable nor which argument is the target."""
    concrete = tf.function(Linear().train).get_concrete_function(*batch())
    path = tmp_path / f"step{suffix}"
    definition = concrete.graph.as_graph_def(add_shapes=True)
    tf.io.write_graph(definition, str(tmp_path), path.name, as_text=suffix == ".pbtxt")
    facts = verify.facts(path)
    assert len(facts.watched) == 1
    assert len(facts.read_only) == 1
    assert [(clip.kind, clip.upper, clip.complete) for clip in facts.clipping] == [
        ("norm", 2.0, True)
    ]
    verify.assert_graph(path, loss=lambda y, p: (p - y) ** 2)
    with pytest.raises(verify.GraphAssertionError):
        verify.assert_graph(path, loss="mae")


def test_a_graph_definition_without_shapes_is_no_ground_for_a_verdict() -> None:
    concrete = tf.function(Linear().train).get_concrete_function(*batch())
    definition = concrete.graph.as_graph_def()
    assert len(verify.graph(definition)) > 0
    with pytest.raises(ValueError, match="does not say what shape"):
        verify.facts(definition)


def test_a_graph_of_version_one_names_its_variables() -> None:
    graph = tf.Graph()
    with graph.as_default():
        weight = tf.compat.v1.get_variable("weight", (4, 1), use_resource=True)
        x = tf.compat.v1.placeholder(tf.float32, (8, 4))
        y = tf.compat.v1.placeholder(tf.float32, (8, 1))
        loss = tf.reduce_mean((x @ weight - y) ** 2)
        tf.compat.v1.train.GradientDescentOptimizer(0.1).minimize(loss)
    assert verify.facts(graph).watched == ("weight",)
    verify.assert_graph(graph, loss=lambda y, p: (p - y) ** 2, clipping=None, regularization=0)


def keras_2() -> Any:
    model = tf_keras.Sequential(
        [
            tf_keras.layers.InputLayer((4,)),
            tf_keras.layers.Dense(
                5, "tanh", kernel_regularizer=tf_keras.regularizers.L2(0.01), name="first"
            ),
            tf_keras.layers.Dense(1, name="second"),
        ]
    )
    model.compile(tf_keras.optimizers.Adam(clipvalue=0.5), "mse", metrics=["mae"])
    return model


def test_a_model_of_keras_2() -> None:
    model = keras_2()
    model.make_train_function()
    assert_as_compiled(model, *batch())
    assert_as_compiled(model.train_function, *batch())
    facts = verify.facts(model, *batch())
    assert facts.watched == ("first/bias", "first/kernel", "second/bias", "second/kernel")
    assert [loss.name for loss in facts.losses] == ["MeanSquaredError"]
    assert not verify.facts(model.test_step, *batch()).watched


def test_the_optimized_graph_does_the_same_in_fewer_ops() -> None:
    model = dense()
    train = step(model, MSE)
    plain = verify.graph(train, *batch())
    optimized = verify.graph(train, *batch(), optimized=True)
    assert 0 < len(optimized) < len(plain)

    def written(graph: Any) -> set[str]:
        return {v for _, v in graph.nodes(data="variable")} & {
            data["variable"] for _, data in graph.nodes(data=True) if data["access"] == "write"
        }

    assert written(optimized) == written(plain) != set()


def test_branches_stay_branches_when_optimized() -> None:
    flag = tf.Variable(True, trainable=False, name="flag")
    weight = tf.Variable(1.0, name="weight")

    @tf.function
    def train(x: Any) -> None:
        tf.cond(flag, lambda: weight.assign_add(x), lambda: weight.assign_sub(x))

    graph = verify.graph(train, tf.TensorSpec(()), optimized=True)
    written = [d for _, d in graph.nodes(data=True) if d["variable"] == "weight"]
    assert {d["path"][0].split("[")[1] for d in written if d["access"] == "write"} == {
        "then_branch]",
        "else_branch]",
    }


def test_the_private_entry_to_the_optimizer_is_where_it_was() -> None:
    assert callable(tf_optimizer.OptimizeGraph)


@pytest.mark.parametrize(
    ("target", "args", "error", "message"),
    [
        (lambda: 42, (), TypeError, "expected a tf.function or another callable"),
        (lambda: "/nowhere", (), FileNotFoundError, "neither a SavedModel's directory nor"),
        (lambda: lambda x, y: x, (), TypeError, "give a batch"),
        (lambda: dense().train_step, batch(), TypeError, "not compiled"),
    ],
)
def test_what_is_no_target(
    target: Callable[[], Any], args: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        verify.facts(target(), *args)


def test_an_eager_train_function_has_no_graph() -> None:
    model = compiled(run_eagerly=True)
    model.make_train_function()
    with pytest.raises(TypeError, match="runs eagerly"):
        verify.facts(model.train_function, *batch())


def test_a_loop_over_a_dataset_is_refused() -> None:
    weight = tf.Variable(1.0, name="weight")

    @tf.function
    def epoch(data: Any) -> None:
        for x in data:
            weight.assign_sub(0.1 * x)

    batches = tf.data.Dataset.from_tensor_slices([1.0, 2.0])
    with pytest.raises(ValueError, match=r"epoch: \w+Dataset gets weight .* one batch"):
        verify.facts(epoch.get_concrete_function(batches))
