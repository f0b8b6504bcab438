"""The steps do what we meant, and do not change unnoticed."""

import keras
from shop.training import BATCH, CONFIG, build, controlled

import verify
from loopctl import LoopControllerCallback


def test_the_warmup_trains_the_head_alone():
    model, batch = controlled()
    verify.assert_graph(
        model.warmup_on, batch, loss=keras.losses.Huber(), watched="*head*", clipping=(-0.1, 0.1)
    )


def test_the_config_is_what_runs():
    model = build()
    callback = LoopControllerCallback(CONFIG).attach(model)
    verify.assert_config(model, callback, BATCH)


def test_the_steps_are_as_they_were(graph_snapshot):
    model, batch = controlled()
    graph_snapshot(model.warmup_on, batch, name="on")
    graph_snapshot(model.warmup_off, batch, name="off")
