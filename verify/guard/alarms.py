"""What monitors have seen -> violations, each told once."""

from __future__ import annotations

import math
from collections.abc import Iterator

from verify.guard.monitors import Monitors, Seen, Watched
from verify.kinds import Violation


class Alarms:
    """Judges what monitors see.

    Args:
        monitors: that see it.
        within: in how many steps what has to move has to have moved.
        ratio: bounds of updates over what they update.
    """

    def __init__(self, monitors: Monitors, within: int, ratio: tuple[float, float] | None) -> None:
        self._monitors, self._ratio = monitors, ratio
        self._within = max(within, monitors.every)
        self._told = set[tuple[str, str]]()
        self.ratios: dict[str, float] = {}
        """What was seen last of each variable whose updates are compared with it."""

    def violations(self, ended: bool = False) -> list[Violation]:
        """What is wrong and was not told before. `ended`: no more steps are to come."""
        seen = self._monitors.seen()
        steps = self._monitors.steps
        looked = steps - steps % self._monitors.every
        found = [*self._of_loss(), *self._among_replicas(seen)]
        for index, watched in enumerate(self._monitors.watched):
            found += self._of(watched, [replica[index] for replica in seen], looked, ended)
        fresh = [(about, one) for about, one in found if (one.keyword, about) not in self._told]
        self._told |= {(violation.keyword, about) for about, violation in fresh}
        return [violation for _, violation in fresh]

    def _of_loss(self) -> Iterator[tuple[str, Violation]]:
        if step := self._monitors.infinite_loss:
            yield "loss", Violation("finite", "a finite loss", f"it is not at {self._by(step)}")

    def _of(
        self, watched: Watched, seen: list[Seen], looked: int, ended: bool
    ) -> Iterator[tuple[str, Violation]]:
        path = watched.path
        if written := min((one.written for one in seen if one.written), default=0):
            found = f"step {written} writes it"
            yield path, Violation("unwatched", f"{path} is not written", found)
        if infinite := min((one.infinite for one in seen if one.infinite), default=0):
            found = f"it is not after {self._by(infinite)}"
            yield path, Violation("finite", f"{path} is finite", found)
        moved = min(one.moved for one in seen)
        over = looked - moved >= self._within or (ended and not moved)
        if watched.moves and over:
            since = f"since step {moved}" if moved else "at all"
            yield (
                path,
                Violation(
                    "watched",
                    f"{path} moves at least once in {self._within} steps",
                    f"in {looked} steps it has not moved {since}",
                ),
            )
        if watched.trained and self._ratio is not None and len(watched.variable.shape) > 1:
            yield from self._of_ratio(path, seen, looked)

    def _of_ratio(
        self, path: str, seen: list[Seen], looked: int
    ) -> Iterator[tuple[str, Violation]]:
        assert self._ratio is not None  # asked for
        low, high = self._ratio
        ratio = max((one.ratio for one in seen), key=lambda r: -1.0 if math.isnan(r) else r)
        if math.isnan(ratio):
            return
        self.ratios[path] = ratio
        # A step that leaves a variable alone, as one of another branch, has no update to measure.
        if ratio and not low <= ratio <= high:
            yield (
                path,
                Violation(
                    "ratio",
                    f"updates of {path} of {low:g} to {high:g} times its norm",
                    f"{ratio:.3g} times at step {looked}",
                ),
            )

    def _among_replicas(self, seen: list[list[Seen]]) -> Iterator[tuple[str, Violation]]:
        for index, watched in enumerate(self._monitors.watched):
            sums = {replica[index].checksum for replica in seen}
            if watched.trained and len(sums) > 1:
                found = f"{len(sums)} of {len(seen)} replicas hold something else"
                yield watched.path, Violation("replicas", f"{watched.path} is the same", found)

    def _by(self, step: int) -> str:
        every = self._monitors.every
        return f"step {step}" if every == 1 else f"one of the steps {step - every + 1} to {step}"
