"""The named parts of objectives' losses, as a step reports them and an epoch sums them up."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from loopctl.config import ConfigError, ControlPlan


class Group:
    """Parts that are computed together: (parts,) in one variable, and in one their sums.

    One of each for all of them, since of a small step it is ops that take time.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._idle = [float("nan")] * len(names)
        self._values = tf.Variable(self._idle, trainable=False, name="parts")
        zeros = [0.0] * (len(names) + 1)
        self.sums = tf.Variable(zeros, trainable=False, name="parts_totals_and_samples")

    def keep(self, parts: Iterable[Any], samples: Any) -> None:
        """Counts the parts of a step, scalars float32 in the order of names."""
        values = tf.stack(list(parts))
        self._values.assign(values)
        self.sums.assign_add(tf.concat([values * samples, [samples]], 0))

    def take(self) -> dict[str, Any]:
        """The parts of this step by name, NaN if they were not computed; forgets them."""
        values = self._values.read_value()
        self._values.assign(self._idle)
        return dict(zip(self.names, tf.unstack(values), strict=True))

    def totals(self) -> dict[str, Any]:
        """Sum over samples and number of samples by name, (2,) float32."""
        *totals, samples = tf.unstack(self.sums)
        return {n: tf.stack([t, samples]) for n, t in zip(self.names, totals, strict=True)}

    def reset(self) -> None:
        self.sums.assign([0.0] * (len(self.names) + 1))


class Parts:
    """The named parts of objectives: their values in a step, and their means over an epoch.

    Which names there are is known when objectives have been traced, or rehearsed. Each has its
    place in a variable from then on: in a step in which its action was idle, it is NaN. Branches of
    one action may have parts of the same name; of these one runs in a step.
    """

    def __init__(self, plan: ControlPlan) -> None:
        self._taken = plan.names | plan.logged
        self._groups: dict[tuple[str, tuple[str, ...]], Group] = {}  # by action and parts

    def of(self, action: str, results: tuple[Any, Mapping[str, Any]], samples: Any) -> Any:
        """Keeps the parts that a substep of `action` has computed; returns its loss, float32."""
        loss, parts = results
        self.know(action, parts)
        if parts:
            self._groups[action, tuple(parts)].keep(parts.values(), samples)
        return loss

    def know(self, action: str, parts: Iterable[str]) -> None:
        """Makes the variables of parts, outside of a graph that is being traced."""
        names = tuple(parts)
        if names and (action, names) not in self._groups:
            with tf.init_scope():
                self._groups[action, names] = Group([f"{action}_{name}" for name in names])

    def values(self, metrics: Collection[str]) -> dict[str, Any]:
        """The parts of this step by name, scalar float32.

        Raises:
            ConfigError: a name is that of something else that a step reports.
        """
        found: dict[str, Any] = {}
        told: dict[str, str] = {}  # by which action
        for (action, _), group in self._groups.items():
            for name, value in group.take().items():
                if (
                    name in self._taken
                    or name in metrics
                    or told.setdefault(name, action) != action
                ):
                    raise ConfigError(
                        f"a part of an objective would be reported as {name!r} (<action>_<name>), "
                        "which is already a name in the logs of fit: give it another name"
                    )
                other = found.get(name)
                found[name] = (
                    value if other is None else tf.where(tf.math.is_nan(other), value, other)
                )
        return found

    def means(self) -> dict[str, Any]:
        """Of the steps of an epoch in which each was computed, scalar float32 by name."""
        totals: dict[str, Any] = {}
        for group in self._groups.values():
            for name, total in group.totals().items():
                totals[name] = totals[name] + total if name in totals else total
        return {name: total[0] / total[1] for name, total in totals.items()}

    @property
    def within_epoch(self) -> dict[str, list[Any]]:
        """The variables of these means."""
        return {f"parts/{' '.join(g.names)}": [g.sums] for g in self._groups.values()}

    def reset_epoch(self) -> None:
        for group in self._groups.values():
            group.reset()
