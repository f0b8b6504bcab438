"""What a plain fit would do and a config does not, without a word: a warning says so, once."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import pytest

from loopctl import LoopControllerCallback, when


def fit(model: keras.Model, *callbacks: Any, epochs: int = 1) -> None:
    x = np.ones((8, 3), "float32")
    y = x[:, :1]
    model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, callbacks=list(callbacks))


def control(**branch: Any) -> LoopControllerCallback:
    return LoopControllerCallback({"gate": {"cond": when.always, True: branch}})


def test_losses_of_layers_that_no_branch_speaks_of(model: keras.Model) -> None:
    callback = control()
    with pytest.warns(UserWarning, match="add losses .* that no branch of the config") as seen:
        fit(model, callback, epochs=2)
    assert len(seen) == 1
    assert seen[0].filename == __file__


@pytest.mark.parametrize("said", [True, False, ["dense"]])
def test_no_word_is_lost_on_what_the_config_says(said: Any, model: keras.Model) -> None:
    model.layers[0].name = "dense"
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(model, control(regularize=said))


def falling(epoch: int, rate: float) -> float:
    return 0.1 / (epoch + 1)


def small(rate: Any = 0.1) -> keras.Model:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def test_optimizers_that_a_learning_rate_callback_leaves_alone() -> None:
    own = keras.optimizers.SGD(0.5)
    with pytest.warns(
        UserWarning, match=r'optimizer of config\["gate"\]\[True\]\["optimizer"\] does not change'
    ):
        fit(
            small(),
            control(optimizer=own),
            keras.callbacks.LearningRateScheduler(falling),
            epochs=3,
        )
    assert float(own.learning_rate) == 0.5


def test_branches_whose_rate_a_learning_rate_callback_does_not_reach() -> None:
    scheduler = keras.callbacks.LearningRateScheduler(falling)
    with pytest.warns(
        UserWarning, match=r'no effect on config\["gate"\]\[True\]\["learning_rate"\]: these'
    ) as seen:
        fit(small(), control(learning_rate=0.05), scheduler, epochs=3)
    assert sum("no effect on config" in str(warning.message) for warning in seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(small(), control(learning_rate={"*": 0.1}), scheduler, epochs=3)


@pytest.mark.parametrize("own", [None, "the compiled one", "set as well"])
def test_none_is_told_of_where_every_rate_is_set(own: str | None) -> None:
    model, optimizer = small(), keras.optimizers.SGD(0.5)
    branch = {"optimizer": optimizer if own == "set as well" else model.optimizer} if own else {}
    both = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: setattr(optimizer, "learning_rate", falling(epoch, 0))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(
            model,
            control(**branch),
            keras.callbacks.LearningRateScheduler(falling),
            both,
            epochs=3,
        )


def test_a_schedule_is_nobodys_setting() -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        fit(small(schedule), control(optimizer="sgd"), epochs=3)
