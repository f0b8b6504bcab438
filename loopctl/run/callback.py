"""`LoopControllerCallback`: Keras' hooks around a compiled control plan."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from loopctl.compile import GraphState, Steps, check_names, compiled_loss, is_built, unbuilt_layers
from loopctl.config import ConfigError, parse, place
from loopctl.look import Inspected
from loopctl.run import first_batch
from loopctl.run.async_actions import as_bool
from loopctl.run.class_weights import sample_weights
from loopctl.run.data_in_memory import DataInMemory, Reader
from loopctl.run.differences import Differences
from loopctl.run.pauses import Pauses
from loopctl.run.positions import last_logs
from loopctl.run.resuming import Resumable
from loopctl.run.train_function import TrainFunction
from loopctl_shared import CONTROLLER

_SAVED = "_loopctl_state"  # attribute of a model in training: what Keras saves with it


class LoopControllerCallback(Resumable, Inspected, keras.callbacks.Callback):
    """A Keras callback that compiles a dict of named actions into the train step of ``model.fit``.

    Args:
        config: ``{"<action>": {"cond": ..., True: {...}, False: {...}}}``. A condition is either a
            function of this callback, called on the host before every train step, or a graph
            predicate (`loopctl.when`), evaluated in the graph. Actions run in order within one
            train step. Keys of a branch:

            - ``loss``: a ``keras.losses.Loss``, function, name, or one per output; None for zero
            - ``loss_weights``: as for ``compile``; also numbers of `loopctl.when`, variables
            - ``objective``: ``fn(model, data)`` -> a loss, ``(loss, y_pred)`` or a dict of losses
            - ``regularize``: True, False, globs over layers' names, ``fn(model) -> layers``
            - ``inference``: layers that run with ``training=False``; values as for ``regularize``
            - ``variables`` or ``excluded_variables``: ``fn(model) -> variables``, globs over paths
            - ``ascend``: a radius (SAM), or ``fn(gradients, variables) -> offsets``
            - ``per_example``: ``{"clip": c, "noise": s}``: clips each example's gradient (DP-SGD)
            - ``gradients``: ``fn(gradients, variables) -> gradients``, before clipping
            - ``clipping``: ``(lo, hi)``, ``{"norm": n}`` or ``{"global_norm": n}``
            - ``optimizer``: an optimizer of this branch's own, or ``{glob: optimizer}``
            - ``learning_rate``: a number, also of `loopctl.when`, a schedule, ``{glob: factor}``
            - ``repeat``: how often the branch runs per train step
            - ``accumulate``: over how many train steps gradients are averaged for one update
            - ``average``: ``{"decay": d}``, a moving average of what the branch trains; optionally
              with ``"start"`` (a graph predicate) and ``"into"`` (a model that follows)
            - ``skip_nonfinite``: whether to skip (and count) updates with non-finite gradients
            - ``update_statistics``: whether moving statistics are updated; once per step if missing
        async_config: ``{"<name>": {"cond": fn(callback) -> bool, "model": fn(model),
            "callback": fn(callback), "when": "epoch_end", "reset_optimizer": False}}``, evaluated
            in order at the end of each epoch, or at ``"validation_end"``, ``"batch_end"`` or
            ``"train_begin"``; with ``"step": when.every(100)`` instead, after such train steps.
            ``reset_optimizer`` resets the optimizers' state for variables that ``model`` changed.
        verbose: 0 for silence; 1 to print a line when an async action runs.
        optimize: whether branches of an action share one forward pass where possible.

    Attributes:
        epochs, batches, batches_in_epochs: the numbers of finished epochs, of train steps, and of
            train steps in the current epoch, since ``fit`` began.
        history: one mapping per train step with every loss, metric and control state by name.
        reinit_epochs, reinit_batches, reinit_history: the same since the last reinitialisation,
            that is, since `epochs`, `batches` or `history` was last assigned.
        config, async_config: as passed.

    Raises:
        ConfigError: at construction, or at `attach` if a mistake can only be seen with a model.

    Source:
        Thesis, sections 3.2, 4.1, 7.1 and 7.2, appendix C.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        async_config: Mapping[str, Any] | None = None,
        verbose: int = 0,
        *,
        optimize: bool = True,
    ) -> None:
        self.plan = parse(config, async_config)
        super().__init__()
        self.config, self.async_config, self.verbose = config, async_config, verbose
        self.optimize = optimize
        self._differences = Differences(self.plan)
        self._steps: Steps | None = None
        self._function: TrainFunction | None = None  # what runs an execution, once traced
        self._data = DataInMemory()
        self._called: Any = None  # the model that has been built by a first batch
        self._fit: Any = None  # tells one fit from another
        self._armed = False  # whether the next step is one of a fit with this callback
        self._known_states: dict[str, bool] = {}  # control states as the host last set them

    # -- compiling --------------------------------------------------------------------------------

    def attach(self, model: keras.Model) -> LoopControllerCallback:
        """Compiles the config for `model` without training, so that its graphs can be verified.

        Sets ``model.control_variables`` and ``model.<action>_on`` / ``_off``. The model has to be
        compiled and built. If the config does not fit the model, the model is not changed.

        Returns:
            This callback.

        Raises:
            ConfigError: the model is not compiled or built, or is being trained under another
                callback, or the config does not fit it.
        """
        if unbuilt := unbuilt_layers(model):
            warnings.warn(
                f"model {model.name!r} has layers that have no variables yet; they are not trained "
                f"until `fit` has built them: {', '.join(unbuilt)}; call it on a batch first",
                stacklevel=2,
            )
        self._bind(model, self._compile(model))
        return self

    def _compile(self, model: keras.Model) -> Steps:
        if not model.compiled:
            raise ConfigError(f"model {model.name!r} is not compiled: call model.compile first")
        owner = getattr(model, CONTROLLER, None)
        # Keras hands one `params` to all callbacks of a fit: a callback that is left of a fit that
        # raised has other ones, and does not count.
        other = None if owner is self else owner
        if other is not None and other.params is self.params and other._training(model):
            raise ConfigError(
                f"model {model.name!r} is already controlled by another LoopControllerCallback: "
                "put all actions into one config"
            )
        self._check_names(model)
        return Steps(self.plan, model, GraphState(self.plan, model), self.optimize)

    def _check_names(self, model: keras.Model) -> None:
        """Whether the names of actions are free, but for those that control has taken itself."""
        owner = getattr(model, CONTROLLER, None)
        check_names(self.plan, model, frozenset() if owner is None else owner._bound_names())

    def _is_current(self, model: keras.Model) -> bool:
        """Whether the compiled steps are those of `model` as it is compiled now."""
        steps = self._steps
        return (
            steps is not None
            and steps.model is model
            and steps.compiled_loss is compiled_loss(model)
            and steps.optimizers.compiled is model.optimizer
        )

    def _bind(self, model: keras.Model, steps: Steps) -> None:
        owner = getattr(model, CONTROLLER, None)
        if owner is not None:
            owner.release()
        self.release()
        self._steps, self._function = steps, None
        # One without a call, whose layers are built: among replicas `fit` would call it to see.
        model.built = True
        super().set_model(model)
        self._known_states, self._stale, self._anew = {}, True, True
        # Past Keras' attribute tracking: what belongs to the training of a model must change
        # neither its weights nor what it saves.
        object.__setattr__(model, CONTROLLER, self)
        object.__setattr__(model, "control_variables", steps.state.controls)
        for name, function in steps.substeps.items():
            object.__setattr__(model, name, function)

    def release(self) -> None:
        """Undoes `attach`: the model is as if it had never been controlled."""
        if self._steps is None:
            return
        model = self._steps.model
        self._uninstall(model)
        for name in (CONTROLLER, "control_variables", *self._bound_names()):
            object.__delattr__(model, name)
        self._steps = self._function = None

    def _bound_names(self) -> frozenset[str]:
        return frozenset() if self._steps is None else frozenset(self._steps.substeps)

    # -- training ---------------------------------------------------------------------------------

    def set_model(self, model: keras.Model) -> None:
        """Keras' hook, before any callback's ``on_train_begin``: one of them may load weights."""
        super().set_model(model)
        self._begun = False
        object.__setattr__(model, _SAVED, self._saved)

    def _training(self, model: keras.Model) -> bool:
        return bool(getattr(model, "train_function", None) == self._run)

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        self._restart()
        self._data.forget()  # of a fit that raised
        self._within = {}
        self.position.begin_training()
        self._differences.begin()
        self._forget_validations()
        self._epoch, self._known_states = None, {}
        # What is unbuilt after a call is not used at all.
        complete = is_built(model) and (model is self._called or not unbuilt_layers(model))
        current = complete and self._is_current(model)
        try:
            if complete and model.trainable_variables and not current:
                self._bind(model, self._compile(model))
            elif not current:  # a model that is built by its first batch
                self._check_names(model)
                self.release()
        except ConfigError:
            self._uninstall(model)
            raise
        if model.steps_per_execution > 1 and self.plan.host_actions:
            names = ", ".join(repr(action.name) for action in self.plan.host_actions)
            warnings.warn(
                f"steps_per_execution={model.steps_per_execution}: the Python conditions of "
                f"{names} can only be evaluated once per execution, not before every train step; "
                "graph predicates (loopctl.when) can",
                stacklevel=2,
            )
        if self._steps is not None:
            self._steps.remembered.restart()
        self._restore()
        self._fit = getattr(model, "history", None)  # made anew by every fit
        model.train_function = self._run
        object.__setattr__(model, _SAVED, self._saved)
        self._at("train_begin", "as training begins")

    def _run(self, iterator: Any) -> Mapping[str, Any]:
        """Stands in for ``model.train_function`` while `fit` runs under this callback."""
        armed, self._armed = self._armed, False
        model = self.model
        if not armed or getattr(model, "history", None) is not self._fit:
            # Left by a fit that raised, while this fit is without control: Keras' own function.
            self._uninstall(model)
            model.make_train_function()
            logs: Mapping[str, Any] = model.train_function(iterator)
            return logs
        try:
            if self._steps is None:
                self._build(iterator)
            if self.position.pass_over(iterator, int(model.steps_per_execution)):
                return self._reported(last_logs(self.steps, [*self.history[-1:], {}][0]))
            return self._execute(iterator)
        except ConfigError:  # found while tracing: nothing has run yet, and nothing is to stay
            self._uninstall(model)
            self.release()
            raise

    def _execute(self, iterator: Any) -> Mapping[str, Any]:
        if self._function is None or not self._function.serves(self.model):
            main, logs = self.steps.plain_main, self.steps.logs
            prepare = functools.partial(first_batch.prepare, self.steps)
            pauses = Pauses(self.plan, self.steps, self._after_step)
            self._function = TrainFunction(
                self.model, main, logs, self._count_steps, prepare, pauses
            )
        self._tell(self.steps.state.progress)
        reported = self._function(iterator, self._reader(iterator))
        if self._function.python:  # else, layers have added what they did before
            self._function.python = False
            self._differences.of_losses(self.model)
        return self._reported(reported)

    def _reader(self, iterator: Any) -> Reader | None:
        """What goes through the data of `iterator` in memory, unless its place is to be kept."""
        # What is given to `train_on_batch`, in the middle of a fit perhaps, leaves its data alone.
        if self.position.wanted or not isinstance(iterator, tf.data.Iterator):
            return None
        if self.model.run_eagerly or tf.config.functions_run_eagerly():
            return None
        return self._data.reader(iterator)

    def _reported(self, reported: Mapping[str, Any]) -> Mapping[str, Any]:
        if self.plan.always_runs or self.steps.state.loss.seen:
            return reported
        # Nothing has run in this epoch: a NaN would tell other callbacks of a failure.
        return {name: value for name, value in reported.items() if name != "loss"}

    def _build(self, iterator: Any) -> None:
        """Builds a model from its first batch and completes the attachment."""
        first_batch.build(self.model, iterator)
        self._called = self.model
        self._bind(self.model, self._compile(self.model))
        self._restore()
        self._decide()
        self.model.train_function = self._run

    def _uninstall(self, model: keras.Model) -> None:
        if self._training(model):
            model.train_function = None
        if getattr(model, _SAVED, None) is self._saved:
            object.__delattr__(model, _SAVED)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._begun = True
        self._restore()  # loaded by a callback that comes after this one
        if self._epoch is not None and epoch > self._epoch:
            # Restored from what was saved at that epoch's end, before this callback's turn.
            self._validations.restored_early(self._epoch)
            self._end_epoch(self._epoch)
        self._epoch = epoch
        self.position.begin(epoch)
        self.batches_in_epochs = 0
        if self._steps is not None:
            self._steps.state.reset_epoch()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self._steps is not None:
            if self.batches_in_epochs == 0:  # every callback has had its turn in this epoch
                self._differences.of_rates(self._steps.optimizers)
            if not self.position.ahead:
                self._decide()
        self._armed = True

    def _decide(self) -> None:
        """Evaluates the Python conditions and hands their outcomes to the graph."""
        for action in self.plan.host_actions:
            outcome = action.cond(self)
            try:
                state = as_bool(outcome, place(action.name, "cond"))
            except ConfigError:  # the config is rejected, if late: nothing of it is to stay
                self.release()
                raise
            if self._known_states.get(action.name) is not state:
                self.steps.state.controls[action.name].assign(state)
                self._known_states[action.name] = state

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
    ) -> dict[str, float]:
        """Runs one controlled train step outside of ``fit``, and returns its logs.

        Counters and history continue from call to call. If there are to be epochs, call
        ``callback.on_epoch_begin(epoch)`` and ``on_epoch_end(epoch)`` yourself.

        Args:
            x, y, sample_weight: one batch, (batch, ...) arrays or tensors, or structures of these.
            class_weight: instead of `sample_weight`: weights by class.

        Returns:
            Losses and metrics as means over the epoch so far, and control states.

        Raises:
            ValueError: both kinds of weights are given, or `y` does not contain classes.
        """
        if class_weight is not None:
            if sample_weight is not None:
                raise ValueError("sample_weight and class_weight can't be given together")
            sample_weight = sample_weights(y, class_weight)
        data = keras.utils.pack_x_y_sample_weight(x, y, sample_weight)
        batch = tf.nest.map_structure(
            lambda part: part if tf.is_tensor(part) else tf.convert_to_tensor(part), data
        )
        if not self._is_current(self.steps.model):
            self.attach(self.steps.model)
        self._restore()
        self._decide()
        logs = self._execute(iter([batch]))
        self._at("batch_end", f"after batch {self.batches}")
        return {name: float(value) for name, value in logs.items()}

    def on_train_end(self, logs: Any = None) -> None:
        self._data.forget()
        self._restore()  # loaded by a callback that comes after this one, with no epoch left
        if self._steps is not None:
            self._steps.optimizers.finalize()
            self._steps.remembered.finalize()
        self._uninstall(self.model)
