"""`LoopControllerCallback`: Keras' hooks around a compiled control plan."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from loopctl.config import parse
from loopctl.errors import ConfigError, place
from loopctl.history import History
from loopctl.selection import check_names
from loopctl.state import GraphState
from loopctl.steps import Steps, compiled_loss, train_function

_OWNER = "_loopctl_callback"  # attribute of a controlled model: the callback that controls it


class LoopControllerCallback(keras.callbacks.Callback):
    """Compiles a dict of named actions into the train step of an ordinary ``model.fit``.

    Args:
        config: ``{"<action>": {"cond": fn(callback) -> bool, True: {...}, False: {...}}}``; the
            branches' keys are ``loss``, ``regularize``, ``variables``, ``excluded_variables`` and
            ``clipping``. Actions run in order inside one train step.
        async_config: ``{"<name>": {"cond": fn(callback) -> bool, "model": fn(model),
            "callback": fn(callback)}}``, evaluated in order at each epoch's end.
        verbose: 0 silent; 1 says when async actions happen.

    Attributes:
        epochs, batches, batches_in_epochs: finished epochs, train steps, and train steps of the
            current epoch, since ``fit`` began.
        history: one mapping per train step: every loss, metric and control state by name.
        reinit_epochs, reinit_batches, reinit_history: the same since the last reinitialisation,
            that is since `epochs`, `batches` or `history` was last assigned.
        config, async_config: as given.

    Raises:
        ConfigError: at construction, or at `attach` for what only a model can tell.

    Source:
        Thesis, sections 3.2 and 4.1, appendix C.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        async_config: Mapping[str, Any] | None = None,
        verbose: int = 0,
    ) -> None:
        super().__init__()
        self.plan = parse(config, async_config)
        self.config, self.async_config, self.verbose = config, async_config, verbose
        self._steps: Steps | None = None
        self._state: GraphState | None = None
        self._controlled: keras.Model | None = None
        self._function: Any = None  # what a train step runs, once traced
        self._fit: Any = None  # tells one fit from another
        self._armed = False  # whether the next step is one of a fit with this callback
        self._logged = 0
        self._restart()

    def _restart(self) -> None:
        self._epochs = self._batches = 0
        self.batches_in_epochs = 0
        self.reinit_epochs = self.reinit_batches = 0
        self._history, self._reinit_start = History(), 0

    # -- tracked values ---------------------------------------------------------------------------

    @property
    def epochs(self) -> int:
        return self._epochs

    @epochs.setter
    def epochs(self, value: int) -> None:
        self._epochs, self.reinit_epochs = int(value), 0

    @property
    def batches(self) -> int:
        return self._batches

    @batches.setter
    def batches(self, value: int) -> None:
        self._batches, self.reinit_batches = int(value), 0

    @property
    def history(self) -> History:
        return self._history

    @history.setter
    def history(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._history, self._reinit_start = History(rows), 0
        self._reinit_start = len(self._history)

    @property
    def reinit_history(self) -> History:
        if self._reinit_start == 0:
            return self._history
        return History(self._history[self._reinit_start :])

    @reinit_history.setter
    def reinit_history(self, rows: Iterable[Mapping[str, Any]]) -> None:
        kept = list(rows)
        self._reinit_start = len(self._history)
        for row in kept:
            self._history.append(row)

    # -- compiling --------------------------------------------------------------------------------

    def attach(self, model: keras.Model) -> LoopControllerCallback:
        """Compiles the plan for `model` with no training, so that its graphs can be verified.

        Binds ``model.control_variables`` and ``model.<action>_on`` / ``_off``. The model has to be
        compiled and built. A plan that does not fit leaves it untouched.

        Returns:
            This callback.
        """
        self._bind(model, self._compile(model))
        return self

    def _compile(self, model: keras.Model) -> tuple[Steps, GraphState]:
        if not model.compiled:
            raise ConfigError(f"model {model.name!r} is not compiled: call model.compile first")
        owner = getattr(model, _OWNER, None)
        # Keras hands one `params` to all callbacks of a fit: a callback of a fit that died has
        # other ones, and is no rival.
        rival = None if owner is self else owner
        if rival is not None and rival.params is self.params and rival._training(model):
            raise ConfigError(
                f"model {model.name!r} is being trained under another LoopControllerCallback: "
                "put all actions into one config"
            )
        check_names(self.plan, model, frozenset() if owner is None else owner._bound_names())
        state = GraphState(self.plan, model.distribute_strategy)
        return Steps(self.plan, model, state), state

    def _bind(self, model: keras.Model, compiled: tuple[Steps, GraphState]) -> None:
        owner = getattr(model, _OWNER, None)
        if owner is not None:
            owner.release()
        if self._controlled is not None:
            self.release()
        self._steps, self._state = compiled
        self._controlled = model
        self.set_model(model)
        # Past Keras' attribute tracking: what belongs to the training of a model must change
        # neither its weights nor what it saves.
        object.__setattr__(model, _OWNER, self)
        object.__setattr__(model, "control_variables", self._state.controls)
        for name, function in self._steps.substeps.items():
            object.__setattr__(model, name, function)

    def release(self) -> None:
        """Undoes `attach`: the model is as if it had never been controlled."""
        model = self._controlled
        if model is None:
            return
        self._uninstall(model)
        for name in (_OWNER, "control_variables", *self._bound_names()):
            object.__delattr__(model, name)
        self._steps = self._state = self._controlled = None

    def _bound_names(self) -> frozenset[str]:
        return frozenset() if self._steps is None else frozenset(self._steps.substeps)

    @property
    def main_step(self) -> Any:
        """The main step as a ``tf.function`` of one argument `data`; None before `attach`."""
        return None if self._steps is None else self._steps.main

    def source(self, action: str | None = None, branch: bool = True) -> str:
        """The text of the main step, or of one substep, that really runs.

        Raises:
            ConfigError: not attached, or no such substep.
        """
        if self._steps is None:
            raise ConfigError("there is no source yet: attach the callback to a model, or fit it")
        if action is None:
            return self._steps.source["main_step"]
        name = f"{action}_{'on' if branch else 'off'}"
        if name not in self._steps.source:
            raise ConfigError(f"{place(action, branch)} is no substep of this config")
        return self._steps.source[name]

    # -- training ---------------------------------------------------------------------------------

    def _training(self, model: keras.Model) -> bool:
        return bool(getattr(model, "train_function", None) == self._run)

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        self._restart()
        current = self._steps is not None and self._controlled is model
        if current and self._steps is not None:
            recompiled = self._steps.compiled_loss is not compiled_loss(model)
            current = self._steps.optimizer is model.optimizer and not recompiled
        if model.built and model.trainable_variables and not current:
            self._bind(model, self._compile(model))
        elif not current:  # a model that is built by its first batch
            check_names(self.plan, model, frozenset())
            self.release()
        if model.steps_per_execution > 1:
            names = ", ".join(repr(action.name) for action in self.plan.actions)
            warnings.warn(
                f"steps_per_execution={model.steps_per_execution}: the Python conditions of "
                f"{names} can only be evaluated once per execution, not before every train step",
                stacklevel=2,
            )
        self._function = None
        self._fit = getattr(model, "history", None)  # made anew by every fit
        model.train_function = self._run

    def _run(self, iterator: Any) -> Mapping[str, Any]:
        """Stands in for ``model.train_function`` while `fit` runs under this callback."""
        armed, self._armed = self._armed, False
        model = self.model
        if not armed or getattr(model, "history", None) is not self._fit:
            # A fit that died left us here, and this one is without us: hand back to Keras.
            self._uninstall(model)
            model.make_train_function()
            logs: Mapping[str, Any] = model.train_function(iterator)
            return logs
        try:
            if self._steps is None:
                self._build(iterator)
            if self._function is None:
                self._function = train_function(model, self._require_steps(), self._record)
            result: Mapping[str, Any] = self._function(iterator)
        except ConfigError:  # found while tracing: nothing has run yet, and nothing is to stay
            self._uninstall(model)
            self.release()
            raise
        return result

    def _build(self, iterator: Any) -> None:
        """Builds a model from the specs of its first batch and completes the attachment."""
        spec = getattr(iterator, "element_spec", None)
        if spec is None:
            raise ConfigError(
                f"model {self.model.name!r} has no variables yet and its data do not tell their "
                "shapes: build it before fit"
            )
        x = keras.utils.unpack_x_y_sample_weight(spec)[0]
        self.model(keras.tree.map_structure(lambda s: keras.KerasTensor(s.shape, s.dtype.name), x))
        self._bind(self.model, self._compile(self.model))
        self._decide()
        self.model.train_function = self._run

    def _require_steps(self) -> Steps:
        assert self._steps is not None
        return self._steps

    def _uninstall(self, model: keras.Model) -> None:
        if self._training(model):
            model.train_function = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches_in_epochs = 0
        if self._state is not None:
            self._state.reset_epoch()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._state is not None:
            self._decide()
        self._armed = True

    def _decide(self) -> None:
        """Evaluates the conditions on the host and hands their outcomes to the graph."""
        assert self._state is not None
        for action in self.plan.actions:
            outcome = action.cond(self)
            try:
                state = as_bool(outcome, place(action.name, "cond"))
            except ConfigError:  # the config is rejected, if late: nothing of it is to stay
                self.release()
                raise
            self._state.controls[action.name].assign(state)

    def _record(self, values: Mapping[str, Any], steps: int) -> None:
        columns = {name: np.asarray(value).tolist() for name, value in values.items()}
        self._history.extend(columns, steps)
        self._logged = steps

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._batches += self._logged
        self.reinit_batches += self._logged
        self.batches_in_epochs += self._logged

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._epochs += 1
        self.reinit_epochs += 1
        for action in self.plan.async_actions:
            where = place(action.name, "cond", root="async_config")
            if not as_bool(action.cond(self), where):
                continue
            if self.verbose:
                print(f"\nloopctl: {action.name} after epoch {epoch + 1}")  # noqa: T201
            if action.model is not None:
                action.model(self.model)
            if action.callback is not None:
                action.callback(self)

    def on_train_end(self, logs: Any = None) -> None:
        self._uninstall(self.model)


def as_bool(value: Any, where: str) -> bool:
    """What a condition returned, if it is a boolean: Python's, NumPy's or a scalar tensor's."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if tf.is_tensor(value) and value.dtype == tf.bool and value.shape.rank == 0:
        return bool(value)
    raise ConfigError(f"{where} returned {value!r}: a bool is needed")
