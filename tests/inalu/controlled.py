"""The recipes' steps, for the contracts beside this file."""

from __future__ import annotations

from functools import partial
from typing import Any

import keras
import tensorflow as tf

from inalu import recipe
from inalu.experiment import Settings, controlled
from inalu.papers import RECIPES
from loopctl import LoopControllerCallback

BATCH = (tf.TensorSpec((64, 7)), tf.TensorSpec((64, 1)))


def chapter_6() -> Any:
    """The model of chapter 6 under the control of figure 6.4, and a batch."""
    model = recipe.build_model()
    recipe.compile_model(model)
    LoopControllerCallback(recipe.config, recipe.async_config).attach(model)
    return model, BATCH


def experiment() -> Any:
    """The same as ``python -m inalu train`` runs it, with graph predicates."""
    model, _ = controlled(Settings(seed=0))
    return model, BATCH


def plain() -> Any:
    """The model without control: the regulariser is always there, and nothing is clipped."""
    model: keras.Model = recipe.build_model()
    recipe.compile_model(model)
    return model, BATCH


def published(name: str) -> Any:
    """One unit of a module under the control of its paper's recipe, for two inputs."""
    recipe_of = RECIPES[name]
    model = keras.Sequential([keras.Input((2,)), recipe_of.layer(1)])
    recipe_of.compile(model)
    outputs = model.output_shape[-1]
    return model, (tf.TensorSpec((128, 2)), tf.TensorSpec((128, outputs)))


nac = partial(published, "NAC")
multiplying_nac = partial(published, "NAC*")
nalu = partial(published, "NALU")
inalu = partial(published, "iNALU")
nau = partial(published, "NAU")
nmu = partial(published, "NMU")
npu = partial(published, "NPU")
real_npu = partial(published, "RealNPU")
nlrl = partial(published, "NLRL")
nsr = partial(published, "NSR")
