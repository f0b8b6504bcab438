"""Facts of steps, kept in files by syrupy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from syrupy.extensions.single_file import SingleFileSnapshotExtension, WriteMode

from loopctl_shared import write_whole
from verify.assertions import GraphAssertionError, user_line
from verify.step_facts import changes, facts, lines_of


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
        found = lines_of(facts(target, *args, model=model, signature=signature))
        number = self._snapshot.num_executions
        if self._snapshot(name=name) == found:
            return
        result = self._snapshot.executions[number]
        if result.exception is not None:
            raise result.exception
        if result.recalled_data is None:
            told = None
            lines = [f"nothing is kept as {result.snapshot_name}: run pytest --graph-update"]
        else:
            lines = [f"{result.snapshot_name}: the step has changed (- as kept, + as it is)"]
            changed = changes(result.recalled_data, found)
            lines += changed
            told = f"the step has changed: {'; '.join(changed)}"
            lines.append("if that is meant, run pytest --graph-update")
        line = user_line()
        raise GraphAssertionError("\n".join([*lines, *([line] if line else [])]), (), told)
