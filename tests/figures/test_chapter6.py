"""The script of figures 6.1 to 6.6 and appendix D, typed in as printed, on little data.

Imports are from our packages; mended are the line breaks of appendix D and the spelling
`get_gates_varialbes`, which the figures themselves do not share.
"""

from typing import List

import keras
import numpy as np
import pytest
import tensorflow as tf

from inalu import NALU
from inalu.task import arithmetic_dataset
from loopctl import LoopControllerCallback

INPUT_DIM = (7,)

# fmt: off

# --- figures 6.1 and 6.2, in a function for a fresh model in every test


def compiled_model():
    # define model
    model = tf.keras.Sequential([
        tf.keras.layers.InputLayer(INPUT_DIM),
        NALU(3, clipping=20),
        NALU(2, clipping=20),
        NALU(1, clipping=20)
    ])
    # compile model
    model.compile(
        optimizer=tf.keras.optimizers.RMSprop(learning_rate=0.01),
        loss="mse",
        metrics=["mae"],
    )
    return model


# --- figure 6.3


def gate_open(self) -> bool:
    return self.batches % 10 < 8

def delay_reg(self) -> bool:
    return (
        self.reinit_epochs > 10
        and self.reinit_history
        and self.reinit_history[-1]["loss"] < 1.0
    )

def get_gates_variables(self) -> List[tf.Variable]:
    return [
        layer.g for layer in self.layers
        if isinstance(layer, NALU)]


# --- figure 6.4

config = {
    "gate": {
        "cond": gate_open,
        True: {"clipping": (-0.1, 0.1),
                "excluded_variables": get_gates_variables
               },
        False: {
            "clipping": (-0.1, 0.1),
            "variables": get_gates_variables,
           },
      },
    "delay": {
        "cond": delay_reg,
        True: {
            "loss": False,
            "regularize": True
           },
      },
}


# --- figure 6.5


def reinit_cond(self):
    reinit_loss = [x["loss"] for x in self.history]
    return (len(reinit_loss) > 10000) and (
        tf.math.reduce_mean(reinit_loss[-3000:]) > 0.2
    )

def reinitialise_fn(self):
    for layer in self.layers:
        if isinstance(layer, NALU):
            layer.reinitialize()

def reinitialise_metrics(self):
    self.history = []
    self.epochs = 0
    self.batches = 0

def early_stopping(self):
    return tf.experimental.numpy.log10(
        tf.math.reduce_mean([x["loss"] for x in self.history][-3000:])
    ) < -10

def stop_training(self):
    self.model.stop_training = True

async_config = {
    "reinitialize": {
        "cond": reinit_cond,
        "model": reinitialise_fn,
        "callback": reinitialise_metrics,
    },
    "early_stopping": {
        "cond": early_stopping,
        "callback": stop_training,
    }
}


# --- appendix D


class InExtrapolationEvaluationCallback(tf.keras.callbacks.Callback):
    def __init__(self, ext_data, int_data, *args, **kwargs):
        super(InExtrapolationEvaluationCallback, self).__init__(*args, **kwargs)
        self.ext_data, self.int_data = ext_data, int_data
        self.ext_results, self.int_results = {}, {}
        self.test_per_epochs = 1
        self.epochs = 0

    def on_epoch_end(self, epochs, log=None):
        if self.epochs % self.test_per_epochs==0:
            self.int_results[self.epochs] = tf.reduce_mean(tf.keras.losses.get("mse")(
                self.model.predict(self.int_data[0], verbose = 0),
                self.int_data[1])).numpy()
            self.ext_results[self.epochs] = tf.reduce_mean(tf.keras.losses.get("mse")(
                self.model.predict(self.ext_data[0], verbose = 0),
                self.ext_data[1])).numpy()
        self.epochs+=1


# --- figure 6.6, in a function for its parameters


def fit(model, data, epochs, *others):
    data_dp = data.train.batches(64).dataset
    ext_dp = (data.extrapolation.x, data.extrapolation.y)
    int_dp = (data.interpolation.x, data.interpolation.y)
    loopControl = LoopControllerCallback(config, async_config, verbose=1)
    inExEvaluation = InExtrapolationEvaluationCallback(ext_dp, int_dp)
    history = model.fit(data_dp, epochs=epochs, verbose=0, callbacks=[
        *(other(loopControl) for other in others),
        loopControl,
        inExEvaluation
    ])
    return loopControl, inExEvaluation, history


# fmt: on
# --- what the script promises

STEPS = 10


EPOCHS = 14


@pytest.fixture(scope="module")
def data():
    # Of a narrow range, where the loss is soon below the threshold of `delay_reg`.
    return arithmetic_dataset(64 * STEPS, low=-0.5, high=0.5)


class Watch(keras.callbacks.Callback):
    """Notes what each step of the first epoch changes, and after each epoch the gates' sizes."""

    def __init__(self, loop):
        super().__init__()
        self.changed, self.sizes = [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.before = [v.numpy() for v in self.model.trainable_variables]

    def on_train_batch_end(self, batch, logs=None):
        after = self.model.trainable_variables
        self.changed.append(
            {v.path for v, b in zip(after, self.before, strict=True) if (v.numpy() != b).any()}
        )

    def on_epoch_end(self, epoch, logs=None):
        self.sizes.append([np.abs(g.numpy()).mean() for g in get_gates_variables(self.model)])


@pytest.fixture(scope="module")
def run(data):
    """Model, watch, and what `fit` returned, of one run of the script."""
    keras.utils.set_random_seed(20240501)
    watches = []

    def watch(loop):
        watches.append(Watch(loop))
        return watches[-1]

    model = compiled_model()
    found = fit(model, data, EPOCHS, watch)
    return model, *watches, found


def test_the_script_runs_under_control(run):
    _, _, (loopControl, inExEvaluation, history) = run
    assert loopControl.epochs == loopControl.reinit_epochs == EPOCHS
    assert loopControl.batches == loopControl.reinit_batches == EPOCHS * STEPS
    steps = loopControl.history
    assert len(steps) == EPOCHS * STEPS
    assert [bool(step["gate"]) for step in steps] == ([True] * 8 + [False] * 2) * EPOCHS
    delayed = [bool(step["delay"]) for step in steps]
    assert not any(delayed[: 11 * STEPS])
    assert all(delayed[11 * STEPS :])
    assert all(step["loss"] < 1.0 for step in steps)
    assert len(history.history["loss"]) == EPOCHS
    # As in figure 5.4, an epoch's state is that of its last step.
    assert history.history["gate"] == [False] * EPOCHS
    assert history.history["delay"] == [False] * 11 + [True] * 3
    assert {"mae", "loss_gate"} <= set(history.history)
    assert sorted(inExEvaluation.ext_results) == list(range(EPOCHS))
    assert np.isfinite([*inExEvaluation.int_results.values()]).all()


def test_each_state_trains_its_variables_only(run):
    model, watch, _ = run
    gates = {v.path for v in get_gates_variables(model)}
    everything = {v.path for v in model.trainable_variables}
    # Until the regulariser, which moves all of them, comes in.
    for step, paths in enumerate(watch.changed[: 11 * STEPS]):
        assert paths == (everything - gates if step % 10 < 8 else gates)


def test_regularisation_moves_weights_away_from_zero(run):
    _, watch, _ = run
    # From the twelfth epoch on, 10 steps of RMSprop an epoch in one direction.
    assert np.all(np.diff(watch.sizes[10:], axis=0) > 0.05)


class Pretend(keras.callbacks.Callback):
    """Puts thousands of steps into the tracked history: of one that is stuck, then converged.

    At the ends of the second and the fifth epoch; `fit` calls it before the control.
    """

    def __init__(self, loop):
        super().__init__()
        self.loop = loop

    def on_epoch_begin(self, epoch, logs=None):
        tracked = (len(self.loop.history), self.loop.epochs, self.loop.batches)
        if epoch == 2:
            self.drawn = [v.numpy() for v in self.model.trainable_variables]
            self.tracked_first = tracked
        if epoch == 4:
            self.tracked_later = tracked

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            self.weights = [v.numpy() for v in self.model.trainable_variables]
            self.loop.history = [{"loss": 1.0}] * 10_001
        if epoch == 4:
            self.loop.history = [{"loss": loss} for loss in [1.0, *[1e-12] * 3000]]


@pytest.fixture(scope="module")
def pretended(data):
    """A run of the script in which that was pretended, and what `fit` returned."""
    pretends = []

    def pretend(loop):
        pretends.append(Pretend(loop))
        return pretends[-1]

    _, _, history = fit(compiled_model(), data, 7, pretend)
    return *pretends, history


def test_reinitialisation(pretended):
    pretend, _ = pretended
    for old, new in zip(pretend.weights, pretend.drawn, strict=True):
        assert (old != new).all()
    assert pretend.tracked_first == (0, 0, 0)
    assert pretend.tracked_later == (2 * STEPS, 2, 2 * STEPS)


def test_early_stopping(pretended):
    """Not before it is told that it has converged, and then at once."""
    _, history = pretended
    assert len(history.history["loss"]) == 5
