"""Tables of results, for a terminal and for a page of documentation."""

from __future__ import annotations

import dataclasses

from rich.table import Table


@dataclasses.dataclass(frozen=True)
class Rows:
    """A table: its headings, and text for each cell. The first and last column may be words."""

    headings: tuple[str, ...]
    cells: list[tuple[str, ...]]

    def table(self, title: str = "") -> Table:
        """For a terminal."""
        rows = Table(title=title or None, title_justify="left")
        for heading, right in zip(self.headings, self._numbers(), strict=True):
            rows.add_column(heading, justify="right" if right else "left")
        for row in self.cells:
            rows.add_row(*row)
        return rows

    def markdown(self) -> str:
        """For a page of documentation."""
        rule = tuple("---:" if right else "---" for right in self._numbers())
        lines = [self.headings, rule, *self.cells]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def _numbers(self) -> list[bool]:
        """Per column, whether all begin like a number."""
        columns = zip(*self.cells, strict=True)
        return [all(cell[:1] in "–->0123456789" for cell in column) for column in columns]
