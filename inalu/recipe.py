"""Chapter 6 of the thesis as printed: model, configs and evaluation, figures 6.1 to 6.6.

How the modules' papers train them is `inalu.papers`. Functions named `cond` or `callback` in a
config are bound to the callback, all others to the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from inalu.layers import NALU
from inalu.task import FEATURES

if TYPE_CHECKING:
    from loopctl import LoopControllerCallback

__all__ = [
    "InExtrapolationEvaluationCallback",
    "async_config",
    "build_model",
    "compile_model",
    "config",
    "delay_reg",
    "early_stopping",
    "gate_open",
    "get_gates_variables",
    "reinit_cond",
    "reinitialise_fn",
    "reinitialise_metrics",
    "stop_training",
]


def build_model(input_dim: tuple[int, ...] = (FEATURES,), **nalu: Any) -> Any:
    """The 3-2-1 stack of iNALU layers for inputs (batch, *input_dim), not compiled.

    Args:
        input_dim: shape of one sample.
        **nalu: further arguments of every `NALU`, such as its initializers. With a seed, initial
            weights depend on that alone: the layers have names of their own, not Keras' counters.

    Source: figure 6.1.
    """
    return keras.Sequential(
        [
            keras.layers.InputLayer(input_dim),
            NALU(3, clipping=20, name="layer_1", **nalu),
            NALU(2, clipping=20, name="layer_2", **nalu),
            NALU(1, clipping=20, name="layer_3", **nalu),
        ]
    )


def compile_model(model: Any, **options: Any) -> None:
    """Compile the model in place: RMSprop with a learning rate of 0.01, MSE. Source: figure 6.2.

    Args:
        model: to compile.
        **options: further arguments of `Model.compile`, such as steps_per_execution.
    """
    model.compile(
        optimizer=keras.optimizers.RMSprop(learning_rate=0.01),
        loss="mse",
        metrics=["mae"],
        **options,
    )


def gate_open(self: LoopControllerCallback) -> bool:
    """Whether the weights are trained, in 8 of 10 batches; else the gates are. Figure 6.3."""
    return self.batches % 10 < 8


def delay_reg(self: LoopControllerCallback) -> bool:
    """Whether the model is near enough to a solution to be made discrete. Figure 6.3."""
    return bool(
        self.reinit_epochs > 10 and self.reinit_history and self.reinit_history[-1]["loss"] < 1.0
    )


def get_gates_variables(self: Any) -> list[Any]:
    """The gates of the model's NALU layers. Figure 6.3."""
    return [layer.g for layer in self.layers if isinstance(layer, NALU)]


config: dict[str, Any] = {
    "gate": {
        "cond": gate_open,
        True: {
            "clipping": (-0.1, 0.1),
            "excluded_variables": get_gates_variables,
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
            "regularize": True,
        },
    },
}
"""Weights and gates in turns, and the regulariser once the loss is small. Figure 6.4."""


def reinit_cond(self: LoopControllerCallback) -> bool:
    """Whether the model is stuck: after 10 000 steps the loss is still high. Figure 6.5."""
    reinit_loss = [x["loss"] for x in self.history]
    return len(reinit_loss) > 10000 and bool(tf.math.reduce_mean(reinit_loss[-3000:]) > 0.2)


def reinitialise_fn(self: Any) -> None:
    """Start all NALU layers of the model afresh. Figure 6.5."""
    for layer in self.layers:
        if isinstance(layer, NALU):
            layer.reinitialize()


def reinitialise_metrics(self: LoopControllerCallback) -> None:
    """Forget what was tracked of the abandoned weights. Figure 6.5."""
    self.history = []
    self.epochs = 0
    self.batches = 0


def early_stopping(self: LoopControllerCallback) -> bool:
    """Whether the mean loss of the last 3000 steps is below 1e-10. Figure 6.5."""
    return bool(
        tf.experimental.numpy.log10(
            tf.math.reduce_mean([x["loss"] for x in self.history][-3000:]),
        )
        < -10
    )


def stop_training(self: LoopControllerCallback) -> None:
    """End `fit` after this epoch. Figure 6.5."""
    self.model.stop_training = True


async_config: dict[str, Any] = {
    "reinitialize": {
        "cond": reinit_cond,
        "model": reinitialise_fn,
        "callback": reinitialise_metrics,
    },
    "early_stopping": {
        "cond": early_stopping,
        "callback": stop_training,
    },
}
"""Reinitialisation and early stopping at each epoch's end. Figure 6.5."""


class InExtrapolationEvaluationCallback(keras.callbacks.Callback):
    """Mean squared errors inside and outside of the training range, at each epoch's end.

    Args:
        ext_data: (x, y) outside of the training range, arrays (n, features) and (n, outputs).
        int_data: (x, y) of the training range, arrays likewise.

    Attributes:
        ext_results, int_results: dicts from epoch, counted from 0 and on through several
            `fit`s, to the mean squared error as a float.
        test_per_epochs: evaluate in every epoch that this number divides.
        epochs: epochs seen.

    Source: appendix D of the thesis; used in figure 6.6 and plotted in 6.9 and 6.10.
    """

    def __init__(
        self, ext_data: Sequence[Any], int_data: Sequence[Any], test_per_epochs: int = 1
    ) -> None:
        super().__init__()
        self.ext_data, self.int_data = ext_data, int_data
        self.ext_results: dict[int, float] = {}
        self.int_results: dict[int, float] = {}
        self.test_per_epochs = test_per_epochs
        self.epochs = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self.epochs % self.test_per_epochs == 0:
            self.int_results[self.epochs] = self._error(self.int_data)
            self.ext_results[self.epochs] = self._error(self.ext_data)
        self.epochs += 1

    def _error(self, data: Iterable[Any]) -> float:
        x, y = data
        predicted = self.model.predict(x, batch_size=8192, verbose=0)
        return float(np.mean(np.square(np.asarray(predicted, np.float64) - y)))
