"""`Guard`: a callback that holds what ``fit`` runs against a contract, before and while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from loopctl_shared import MONITOR, inner_optimizer, warn_user
from verify.assertions import GraphAssertionError, listing
from verify.graphs import no_collection
from verify.guard.alarms import Alarms
from verify.guard.board import Board
from verify.guard.monitors import Monitors
from verify.guard.promises import Promise, promise_of
from verify.guard.running import is_controlled, monitored_train_function, step_that_runs
from verify.guard.watching import watched_by
from verify.kinds import Violation
from verify.rules import chosen
from verify.step import Step, capture

OnViolation = str | Callable[[Sequence[Violation]], object]
_WAYS = ("raise", "warn")


class GuardWarning(UserWarning):
    """What a `Guard` has found, as a warning (``on_violation="warn"``)."""

    __module__ = "verify"  # as of verify.GraphAssertionError


class Guard(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Checks the step that ``fit`` runs against a contract, and stops ``fit`` if it breaks it.

    The check takes place before the first batch of each ``fit``, and again whenever the model gets
    another train function. It covers the very step that is about to run: that of plain Keras, under
    a `LoopControllerCallback`, or in `loopctl.distributed.fit`. For a loop of your own, call
    `check`.

    With `every`, steps are also monitored in the graph while they run: watched variables change,
    others (``unwatched``, ``unchanged``) do not, loss and trained variables are finite, updates are
    neither too large nor too small (`ratio`), and replicas hold the same numbers. This works under
    XLA and with many steps per execution; violations are then reported after the execution.

    Args:
        contract: the path of a ``*.graph.toml``, followed by ``#name`` if it has several
            contracts, or of a snapshot that the fixture `graph_snapshot` has written. Or use
            keywords.
        every: monitor one step in this many; None: only check before training.
        within: a watched variable has to change within this many steps. Choose more than the
            longest pause if variables are trained in turns or gradients are accumulated.
        ratio: bounds, such as ``(1e-6, 0.1)``, of the norm of an update divided by that of the
            weights, for trained variables with at least two axes. None: not checked.
        lint: whether to apply the rules of `verify.lint` as well, to the weights that training
            starts from; no contract is then needed.
        ignore: ids of rules to leave out.
        on_violation: ``"raise"`` a `GraphAssertionError`; ``"warn"`` and go on training; or a
            function that is called with the list of violations, after which training goes on.
        log_dir: where to write ``guard/ratio/<path>`` (if `ratio` is given) and all violations,
            as text, for TensorBoard.
        expected: keywords of `verify.assert_graph`, instead of `contract`.

    Raises:
        ContractError: `contract` can't be read, or does not have the contract named.
        TypeError: both a contract and keywords are given, or neither; or a keyword is unknown.
        ValueError: `every`, `within`, `ratio` or `on_violation` has an invalid value, or `ignore`
            names no rule or is given without `lint`.
    """

    # Keras need not wait for the numbers of each step: what is called after it does nothing
    # but under control, where it has to wait for them anyway.
    async_safe = True

    def __init__(
        self,
        contract: str | Path | None = None,
        every: int | None = None,
        *,
        within: int = 100,
        ratio: tuple[float, float] | None = None,
        lint: bool = False,
        ignore: Iterable[str] = (),
        on_violation: OnViolation = "raise",
        log_dir: str | Path | None = None,
        **expected: Any,
    ) -> None:
        super().__init__()
        _check(every, within, ratio, on_violation)
        if ignore and not lint:
            raise ValueError("ignore= leaves rules out: it needs lint=True")
        rules = chosen((), ignore) if lint else ()
        self.promise: Promise = promise_of(contract, expected, rules)
        self.every, self.within, self.ratio = every, within, ratio
        self.on_violation = on_violation
        self._board = None if log_dir is None else Board(Path(log_dir))
        self._fit: Any = None  # tells one fit from another
        self._plain: Any = None  # the train function that is there without this callback
        self._checked: Any = None  # the one that was checked, or what stands in for it
        self._watched: Any = None  # the one that is watched
        self._monitors: Monitors | None = None
        self._alarms: Alarms | None = None
        self._runs: Callable[[Monitors, Any], Any] = self._run_watched  # how it runs
        self._ran = self._looked = 0  # steps

    # -- a loop of one's own -----------------------------------------------------------------------

    def check(self, step: Any, *args: Any, model: Any = None, signature: str | None = None) -> None:
        """Checks one step, for example before a loop of your own runs it.

        Args:
            step, args, model, signature: as for `verify.assert_graph`.

        Raises:
            GraphAssertionError: the step breaks the contract, unless `on_violation` says otherwise.
        """
        with no_collection():
            self._hold(capture(step, *args, model=model, signature=signature))

    # -- Keras' hooks ------------------------------------------------------------------------------

    def on_train_begin(self, logs: Any = None) -> None:
        self._checked = self._plain = self._watched = self._monitors = None
        self._fit = getattr(self.model, "history", None)  # made anew by every fit
        self._ran = self._looked = 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.model.train_function != self._checked:
            self._plain = self.model.train_function
            self.model.train_function = self._first

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._monitors is not None and self._watched is None:
            self._count_and_look(self._monitors)

    def on_train_end(self, logs: Any = None) -> None:
        if self._monitors is not None and self._looked:
            self._look(ended=True)
        self._leave()

    def monitors_of(self, model: keras.Model) -> Monitors | None:
        """What is to watch the steps of a model now; `loopctl` asks, who makes its own steps."""
        watches = model is self.model and getattr(model, "history", None) is self._fit
        return self._monitors if watches else None

    # -- what they do ------------------------------------------------------------------------------

    def _first(self, iterator: Any) -> Any:
        """Stands in for ``model.train_function`` until that has been checked."""
        model, plain = self.model, self._plain
        model.train_function = self._checked = plain
        if getattr(model, "history", None) is not self._fit:  # left of a fit that raised
            return model.train_function(iterator)
        if self._holds(plain, iterator):
            return model.train_function(iterator)
        logs = model.train_function(iterator)
        if not self._holds(model.train_function, iterator):
            raise TypeError(
                f"a Guard can't tell what the train function of {model.name!r} runs: it is neither "
                "Keras' own nor that of a LoopControllerCallback"
            )
        return logs

    def _holds(self, function: Any, iterator: Any) -> bool:
        """Checks what a train function runs; whether that could be told."""
        with no_collection():
            step = step_that_runs(self.model, function, iterator)
            if step is not None:
                self._hold(step)
                if self.every is not None:
                    self._watch(step)
        return step is not None

    def _watch(self, step: Step) -> None:
        model = self.model
        controlled = is_controlled(model, self._plain)
        clipping = self.promise.values.get("clipping")
        self._monitors = Monitors(
            model.distribute_strategy,
            watched_by(self.promise, step, model),
            self.every or 1,
            within=self.within,
            ratio=self.ratio,
            compiled=bool(model.jit_compile),
            idle=controlled,
            clipping=(inner_optimizer(model.optimizer), clipping) if clipping else None,
        )
        self._alarms = Alarms(self._monitors)
        if controlled:
            object.__setattr__(model, MONITOR, self)
            return
        if self._is_around_executions(self._monitors):
            self._watched, self._runs = self._plain, self._run_around
        else:
            self._watched = monitored_train_function(model, self._monitors, self._plain)
            self._runs = self._run_watched
        model.train_function = self._checked = self._run

    def _is_around_executions(self, monitors: Monitors) -> bool:
        """Whether it is enough to look after those executions that a step to look at is in.

        Then the train function runs as it is.
        """
        at_once = int(self.model.steps_per_execution)
        if monitors.clips is not None or (monitors.ratio is not None and at_once > 1):
            return False
        if monitors.every == 1:  # a look within the step's function costs least, if it has one
            return at_once == 1 and bool(self.model.run_eagerly)
        # What is looked at has to be the last step of an execution.
        steps = self.params.get("steps")
        return at_once == 1 or bool(steps and not (steps % at_once or monitors.every % at_once))

    def _run(self, iterator: Any) -> Any:
        """Stands in for ``model.train_function`` while steps are watched."""
        monitors = self.monitors_of(self.model)
        if monitors is None:  # left of a fit that raised
            self._leave()
            return self.model.train_function(iterator)
        return self._runs(monitors, iterator)

    def _run_watched(self, monitors: Monitors, iterator: Any) -> Any:
        logs = monitors.taken(self._watched(iterator))
        self._count_and_look(monitors)
        return logs

    def _run_around(self, monitors: Monitors, iterator: Any) -> Any:
        self._ran += int(self.model.steps_per_execution)
        if self._ran % monitors.every:
            return self._watched(iterator)
        before = monitors.begin()
        logs = self._watched(iterator)
        self._looked = self._ran
        monitors.end(before, self._ran, logs)
        self._look_if_odd(monitors)
        return logs

    def _count_and_look(self, monitors: Monitors) -> None:
        """Looks at what steps have seen of themselves, if one of them was to be looked at."""
        # How many steps there were at most; how many there were in truth takes a look at the graph.
        self._ran += (at_once := int(self.model.steps_per_execution))
        if self._ran - self._looked < monitors.every:
            return
        if at_once > 1 or monitors.idle:
            self._ran = monitors.steps
        if self._ran - self._looked >= monitors.every:
            self._looked = self._ran - self._ran % monitors.every
            self._look_if_odd(monitors)

    def _look_if_odd(self, monitors: Monitors) -> None:
        if self._board is not None or monitors.tells(self._looked):
            self._look()

    def _leave(self) -> None:
        """Leaves the model as it would be without this callback."""
        model = self.model
        if model is None:  # in a loop of one's own
            return
        if model.train_function in (self._run, self._first):
            model.train_function = self._plain
        if getattr(model, MONITOR, None) is self:
            object.__delattr__(model, MONITOR)
        self._watched = self._checked = self._monitors = self._fit = None

    def _look(self, ended: bool = False) -> None:
        assert self._alarms is not None  # made with what it is about
        found = self._alarms.violations(self._looked, ended)
        if self._board is not None:
            self._board.write(self._looked, self._alarms.ratios, found)
        self._tell(f"{self.model.name} at step {self._looked}", found)

    def _hold(self, step: Step) -> None:
        self._tell(step.name, self.promise.violations(step))

    def _tell(self, name: str, found: Sequence[Violation]) -> None:
        placed = [self._placed(violation) for violation in found]
        if not placed:
            return
        if callable(self.on_violation):
            self.on_violation(placed)
        elif self.on_violation == "warn":
            warn_user(listing(name, placed), GuardWarning)
        else:
            self._leave()
            raise GraphAssertionError(listing(name, placed), placed)

    def _placed(self, violation: Violation) -> Violation:
        """A violation that says where what it breaks is written, if that is in a file."""
        place = self.promise.place(violation.keyword)
        if place is None:
            return violation
        return dataclasses.replace(violation, hints=(*violation.hints, f"promised at {place}"))


def _check(every: Any, within: Any, ratio: Any, on_violation: Any) -> None:
    for name, value in (("every", every), ("within", within)):
        if name == "every" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}: it has to be a number of steps, 1 or more")
    if ratio is not None:
        if len(tuple(ratio)) != 2 or not 0 <= ratio[0] < ratio[1]:
            raise ValueError(f"ratio is {ratio!r}: it has to be two numbers, 0 <= low < high")
        if every is None:
            raise ValueError("ratio= is monitored while training: it needs every=n")
    if not callable(on_violation) and on_violation not in _WAYS:
        raise ValueError(
            f"on_violation is {on_violation!r}: it may be 'raise', 'warn' or a function of the "
            "violations"
        )
