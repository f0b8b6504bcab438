"""What of Keras touches training, and what comes of it under control: cases, and a table of them.

``python -m tests.loopctl.features`` writes the table into docs/keras.md.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tests.replicas import mirrored

PAGE = Path(__file__).parents[2] / "docs" / "keras.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of the table -->\n"
HERE = "tests/loopctl/test_features.py"

callbacks, optimizers = keras.callbacks, keras.optimizers
Logs = dict[str, list[float]]


def nothing(model: keras.Model) -> None:
    """Leaves a model as it is."""


def sgd() -> Any:
    return optimizers.SGD(0.05)


@dataclasses.dataclass(frozen=True)
class Feature:
    """A row of the table: `name` of a feature, what `comes` of it, and what holds that.

    With `acted` there is a case, which trains as in a plain fit: it tells from a trained model,
    logs and callbacks whether the feature did anything. `held` are other tests.
    """

    name: str
    comes: str
    acted: Callable[[keras.Model, Logs, list[Any]], object] | None = None
    optimizer: Callable[[], Any] = sgd
    prepare: Callable[[keras.Model], object] = nothing
    callbacks: Callable[[], list[Any]] = list
    compile: dict[str, Any] = dataclasses.field(default_factory=dict)
    dtype: str = "float32"
    fit: dict[str, Any] = dataclasses.field(default_factory=dict)
    scope: Callable[[], Any] | None = None
    held: tuple[str, ...] = ()


def temporary(name: str) -> str:
    return str(Path(tempfile.mkdtemp()) / name)


def averaging() -> Any:
    return optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5)


def lora(model: keras.Model) -> None:
    model.get_layer("hidden").enable_lora(2)


def quantized(mode: str) -> Callable[[keras.Model], object]:
    return lambda model: model.get_layer("hidden").quantize(mode)


def quantized_with_lora(model: keras.Model) -> None:
    model.get_layer("hidden").quantize("int8")
    lora(model)


def replicas() -> Any:
    return mirrored().scope()


def data_parallel() -> Any:
    return keras.distribution.DataParallel(devices=["cpu:0"]).scope()


def same(values: list[float]) -> bool:
    return len({round(value, 9) for value in values}) == 1


FEATURES: tuple[Feature, ...] = (
    Feature(
        "`LearningRateScheduler`",
        "sets the learning rate of the compiled optimizer. It does not affect branches with their "
        "own optimizer or `learning_rate`, and a warning names these; factors multiply its rate",
        lambda model, logs, _: not same(logs["learning_rate"]),
        callbacks=lambda: [callbacks.LearningRateScheduler(lambda epoch: 0.1 / (epoch + 1))],
        held=("tests/loopctl/run/test_differences.py",),
    ),
    Feature(
        "`ReduceLROnPlateau`",
        "works like LearningRateScheduler; `loss` is never NaN because an action was idle",
        lambda model, logs, _: logs["learning_rate"][-1] < 0.05,
        callbacks=lambda: [callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=9)],
        held=("tests/loopctl/run/test_train_function.py",),
    ),
    Feature(
        "`EarlyStopping`",
        "works; `restore_best_weights` restores weights, but not loopctl's counters and history",
        lambda model, logs, _: len(logs["loss"]) == 2,
        callbacks=lambda: [
            callbacks.EarlyStopping("loss", patience=1, min_delta=9, restore_best_weights=True)
        ],
        held=("tests/loopctl/run/test_train_function.py",),
    ),
    Feature(
        "`TerminateOnNaN`",
        "works; it stops if the loss is NaN, but not because an action is idle",
        lambda model, logs, _: len(logs["loss"]) == 1,
        optimizer=lambda: optimizers.SGD(1e30),
        callbacks=lambda: [callbacks.TerminateOnNaN()],
        held=("tests/loopctl/run/test_train_function.py",),
    ),
    Feature(
        "`SwapEMAWeights`",
        "swaps the averages of the compiled optimizer; those of branches' own optimizers, and "
        "those of `average`, replace the weights when training ends",
        lambda model, logs, _: model.optimizer.use_ema,
        optimizer=averaging,
        callbacks=lambda: [callbacks.SwapEMAWeights(swap_on_epoch=True)],
        held=("tests/loopctl/compile/test_optimizers.py",),
    ),
    Feature(
        "`ModelCheckpoint`",
        "works; the files also contain loopctl's state, which a plain model ignores",
        lambda model, logs, used: used[0].best < np.inf,
        callbacks=lambda: [
            callbacks.ModelCheckpoint(temporary("best.keras"), "loss", save_best_only=True)
        ],
        held=("tests/loopctl/run/test_saved_state.py",),
    ),
    Feature(
        "`BackupAndRestore`",
        "works: loopctl's state is restored with the model",
        lambda model, logs, used: used[0].backup_dir,
        callbacks=lambda: [callbacks.BackupAndRestore(temporary("backup"))],
        held=("tests/loopctl/run/test_saved_state.py",),
    ),
    Feature(
        "`OrbaxCheckpoint`",
        "saves variables only, and nothing of loopctl's state: to resume, use `loopctl.Backup` or "
        "`BackupAndRestore`. Not tested, as it needs a package that loopctl does not need",
    ),
    Feature(
        "`TensorBoard`, `CSVLogger`, `History`",
        "work; their logs include control states and the losses of actions. "
        "`loopctl.board.StepBoard` writes every step",
        lambda model, logs, used: Path(used[1].filename).stat().st_size > 0,
        callbacks=lambda: [
            callbacks.TensorBoard(temporary("board"), update_freq=1),
            callbacks.CSVLogger(temporary("log.csv")),
        ],
        held=("tests/loopctl/test_board.py",),
    ),
    Feature(
        "`MultiOptimizer`",
        "works, also if a branch only trains some of its variables. Callbacks that set learning "
        "rates do not support it, with loopctl or without. In a branch, `{glob: optimizer}` does "
        "the same",
        held=("tests/loopctl/compile/test_optimizers.py",),
    ),
    Feature(
        "`use_ema`, `gradient_accumulation_steps` of optimizers",
        "work; branches that accumulate gradients for different variables need optimizers of their "
        "own",
        lambda model, logs, _: model.optimizer.gradient_accumulation_steps == 2,
        optimizer=lambda: optimizers.SGD(
            0.05, use_ema=True, ema_momentum=0.5, gradient_accumulation_steps=2
        ),
        held=("tests/loopctl/compile/test_optimizers.py",),
    ),
    Feature(
        "`auto_scale_loss`, `LossScaleOptimizer`",
        "work: gradients are clipped and changed without the scale, and updates that overflow are "
        "skipped; the optimizers of branches scale if the compiled one does",
        lambda model, logs, _: isinstance(model.optimizer, optimizers.LossScaleOptimizer),
        dtype="mixed_float16",
        held=("tests/loopctl/compile/test_gradient_treatment.py",),
    ),
    Feature(
        "`auto_scale_loss=False`",
        "works",
        lambda model, logs, _: not isinstance(model.optimizer, optimizers.LossScaleOptimizer),
        dtype="mixed_float16",
        compile={"auto_scale_loss": False},
    ),
    Feature(
        '`jit_compile="auto"`',
        "works: steps are compiled with XLA if Keras would do so",
        lambda model, logs, _: isinstance(model.jit_compile, bool),
        compile={"jit_compile": "auto"},
        held=("tests/loopctl/run/test_execution_loops.py",),
    ),
    Feature(
        "`steps_per_execution`",
        "works; graph predicates are evaluated in every step, but Python conditions only once per "
        "execution, and a warning says so",
        lambda model, logs, _: model.steps_per_execution == 3,
        compile={"steps_per_execution": 3},
        held=("tests/loopctl/test_when.py",),
    ),
    Feature(
        "`run_eagerly`",
        "works",
        lambda model, logs, _: model.run_eagerly,
        compile={"run_eagerly": True},
        held=("tests/loopctl/run/test_fit.py",),
    ),
    Feature(
        "`tf.distribute.MirroredStrategy`",
        "works; clips and other changes are applied to the gradients of the global batch",
        lambda model, logs, _: model.distribute_strategy.num_replicas_in_sync == 2,
        scope=replicas,
        held=("tests/loopctl/test_distributed.py",),
    ),
    Feature(
        "`tf.distribute.MultiWorkerMirroredStrategy`",
        "Keras' own `fit` fails with it; `loopctl.distributed.fit` works",
        held=("tests/loopctl/test_distributed.py",),
    ),
    Feature(
        "`keras.distribution.DataParallel`",
        "works for one device; for several, use TensorFlow's strategies",
        lambda model, logs, _: keras.distribution.distribution() is not None,
        scope=data_parallel,
    ),
    Feature(
        "LoRA (`enable_lora`)",
        "works: `variables` selects among what is then trainable, `*lora*`",
        lambda model, logs, _: "lora" in str([v.path for v in model.trainable_variables]),
        prepare=lora,
    ),
    Feature(
        "layers quantized to int8, LoRA on these",
        "work: whatever is trainable is trained",
        lambda model, logs, _: "int8" in str([v.dtype for v in model.variables]),
        prepare=quantized_with_lora,
    ),
    Feature(
        "layers quantized to float8",
        "work; keys that change gradients (`clipping`, `gradients`, `ascend`, `per_example`, "
        "`accumulate`) are an error, since these layers pass new scales as gradients",
        lambda model, logs, _: [v for v in model.variables if v.overwrite_with_gradient],
        prepare=quantized("float8"),
        held=(f"{HERE}::test_values_in_the_place_of_gradients_are_not_changed",),
    ),
    Feature(
        "`compute_loss`, `add_loss`, `train_step` of the model's own",
        "`compute_loss` counts as the compiled loss. Losses from `add_loss` are included with "
        "`regularize`, and a warning says so if no branch has that key. A `train_step` is an "
        "error: write an `objective`",
        held=(
            "tests/loopctl/compile/test_data_losses.py",
            "tests/loopctl/run/test_differences.py",
        ),
    ),
)


def cases() -> list[Feature]:
    return [feature for feature in FEATURES if feature.acted is not None]


def tests(feature: Feature) -> tuple[str, ...]:
    """The files and functions that hold what a row says."""
    return ((HERE,) if feature.acted is not None else ()) + feature.held


def table() -> str:
    rows = ["| feature of Keras | with loopctl | tested by |", "|---|---|---|"]
    for feature in FEATURES:
        shown = ", ".join(f"`{test}`" for test in tests(feature)) or "–"
        rows.append(f"| {feature.name} | {feature.comes} | {shown} |")
    return "\n".join(rows) + "\n"


def page(text: str) -> str:
    """`text` with the table between its marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
