"""What monitors have seen -> violations, each told once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

from verify.guard.monitors import Monitors, Seen, Watched
from verify.kinds import Violation, names


@dataclasses.dataclass(frozen=True)
class _Alarm:
    """What is wrong with one variable. `expected` says what has to be, of ``{}``, its path."""

    keyword: str
    path: str
    expected: str
    found: str


class Alarms:
    """Judges what monitors see.

    Args:
        monitors: that see it.
    """

    def __init__(self, monitors: Monitors) -> None:
        self._monitors = monitors
        self._told = set[tuple[str, str]]()
        self.ratios: dict[str, float] = {}
        """What was seen last of each variable whose updates are compared with it."""

    def violations(self, looked: int, ended: bool = False) -> list[Violation]:
        """What is wrong and was not told before.

        Args:
            looked: the step that was looked at last.
            ended: no more steps are to come.
        """
        seen = self._monitors.seen()
        found = [*self._of_losses(), *self._of_clips(), *self._among_replicas(seen)]
        for index, watched in enumerate(self._monitors.watched):
            found += self._of(watched, [replica[index] for replica in seen], looked, ended)
        fresh = [one for one in found if (one.keyword, one.path) not in self._told]
        self._told |= {(one.keyword, one.path) for one in fresh}
        alike: dict[tuple[str, str, str], list[str]] = {}
        for one in fresh:
            alike.setdefault((one.keyword, one.expected, one.found), []).append(one.path)
        return [
            Violation(keyword, expected.format(names(paths)), found)
            for (keyword, expected, found), paths in alike.items()
        ]

    def _of_losses(self) -> Iterator[_Alarm]:
        if step := self._monitors.infinite_loss:
            yield _Alarm("finite", "loss", "a finite {}", f"none at {self._by(step)}")

    def _of_clips(self) -> Iterator[_Alarm]:
        clips = self._monitors.clips
        if clips is not None and (step := int(clips.broken.numpy())):
            found = f"{float(clips.worst.numpy()):.4g} at step {step}"
            yield _Alarm("clipping", "clipping", clips.told, found)

    def _of(self, watched: Watched, seen: list[Seen], looked: int, ended: bool) -> Iterator[_Alarm]:
        path = watched.path
        if written := min((one.written for one in seen if one.written), default=0):
            found = f"step {written} writes to it"
            yield _Alarm(watched.still, path, "no step writes to {}", found)
        if infinite := min((one.infinite for one in seen if one.infinite), default=0):
            found = f"others after {self._by(infinite)}"
            yield _Alarm("finite", path, "finite numbers in {}", found)
        moved = min(one.moved for one in seen)
        within = self._monitors.within
        if watched.moves and (looked - moved >= within or (ended and not moved)):
            found = f"none since step {moved}" if moved else "none"
            expected = f"a move at least once in {within} steps, of {{}}"
            yield _Alarm("watched", path, expected, f"{found}, in {looked} steps")
        if watched.trained and self._monitors.ratio is not None and len(watched.variable.shape) > 1:
            yield from self._of_ratio(path, seen, looked)

    def _of_ratio(self, path: str, seen: list[Seen], looked: int) -> Iterator[_Alarm]:
        assert self._monitors.ratio is not None  # asked for
        low, high = self._monitors.ratio
        ratio = max((one.ratio for one in seen), key=lambda r: -1.0 if math.isnan(r) else r)
        if math.isnan(ratio):
            return
        self.ratios[path] = ratio
        # A step that leaves a variable alone, as one of another branch, has no update to measure.
        if ratio and not low <= ratio <= high:
            expected = f"updates of {low:g} to {high:g} times the norm of {{}}"
            yield _Alarm("ratio", path, expected, f"{ratio:.3g} times at step {looked}")

    def _among_replicas(self, seen: list[list[Seen]]) -> Iterator[_Alarm]:
        for index, watched in enumerate(self._monitors.watched):
            sums = {replica[index].checksum for replica in seen}
            if watched.trained and len(sums) > 1:
                found = f"{len(sums)} of {len(seen)} replicas hold something else"
                yield _Alarm(
                    "replicas", watched.path, "the same numbers on all replicas, in {}", found
                )

    def _by(self, step: int) -> str:
        every = self._monitors.every
        return f"step {step}" if every == 1 else f"one of the steps {step - every + 1} to {step}"
