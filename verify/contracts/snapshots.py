"""Facts of steps, kept in files by syrupy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from loopctl_shared import write_whole
from verify.assertions import GraphAssertionError, user_line
from verify.step_facts import (
    changes,
    changes_since_first_edition,
    facts,
    is_of_first_edition,
    snapshot_of,
)


class GraphFacts(SingleFileSnapshotExtension):  # type: ignore[misc, unused-ignore]
    """A file of facts for each snapshot, ``__snapshots__/<module>/<test>.graph``."""

    _write_mode = WriteMode.TEXT
    file_extension = "graph"

    @classmethod
    def write_snapshot_collection(cls, *, snapshot_collection: Any, **_: Any) -> None:
        """As syrupy does, but whole or not at all."""
        (snapshot,) = snapshot_collection
        write_whole(Path(snapshot_collection.location), snapshot.data)


class GraphSnapshot:
    """What the fixture `graph_snapshot` gives a test."""

    def __init__(self, snapshot: Any) -> None:
        self._snapshot = snapshot.use_extension(GraphFacts)

    def __call__(
        self,
        target: Any,
        *args: Any,
        model: Any = None,
        signature: str | None = None,
        name: str | None = None,
    ) -> None:
        """Asserts that the step has the facts that were kept.

        Args:
            target, args, model, signature: as for `verify.facts`.
            name: of the snapshot, where a test has several.

        Raises:
            GraphAssertionError: nothing is kept yet, or other facts are.
        """
        __tracebackhide__ = True  # pytest shows the test's own line
        found = snapshot_of(facts(target, *args, model=model, signature=signature))
        number = self._snapshot.num_executions
        if self._snapshot(name=name) == found:
            return
        result = self._snapshot.executions[number]
        if result.exception is not None:
            raise result.exception
        told, lines = _told(result.snapshot_name, result.recalled_data, found)
        line = user_line()
        raise GraphAssertionError("\n".join([*lines, *([line] if line else [])]), (), told)


def _told(name: str, kept: str | None, found: str) -> tuple[str | None, list[str]]:
    """Why a snapshot is not what was found, in one line if there is one, and in several."""
    if kept is None:
        return None, [f"nothing is kept as {name}: run pytest --graph-update"]
    if is_of_first_edition(kept):
        changed = changes_since_first_edition(kept, found)
        told = "loopctl 0.1 kept it, which told less of a step"
        lines = (
            ["and this is told otherwise today (- as kept, + as it is)", *changed]
            if changed
            else ["of what it told nothing has changed"]
        )
        new = (
            f"{'if that is meant, ' * bool(changed)}pytest --graph-update keeps what is told today"
        )
        return f"{told}; {'; '.join(lines)}", [f"{name}: {told}", *lines, new]
    changed = changes(kept, found)
    return f"the step has changed: {'; '.join(changed)}", [
        f"{name}: the step has changed (- as kept, + as it is)",
        *changed,
        "if that is meant, run pytest --graph-update",
    ]
