"""Everything that is expected of a step at once: a value for each keyword that is checked."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from loopctl_shared import near_spellings, plain_numbers
from verify.find import Detector
from verify.graphs import Region
from verify.kinds import KEYWORDS, Keyword, Violation
from verify.step import Step


class _Unset:
    """The value of a keyword that was left out: not checked."""

    def __repr__(self) -> str:
        return "unchecked"


UNSET: Any = _Unset()


@dataclasses.dataclass(frozen=True)
class Expectation:
    """What a step should be. What has no value, or `UNSET`, is not checked; see `assert_graph`."""

    values: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: types.MappingProxyType({})
    )

    @classmethod
    def of(cls, settings: Any) -> Expectation:
        """An expectation, or a mapping of the keywords of `assert_graph`.

        Raises:
            TypeError: an unknown keyword, or an option that is neither True nor False.
            ValueError: a mapping that asks nothing.
        """
        if isinstance(settings, cls):
            return settings
        for name in settings:
            if name not in KEYWORDS:
                near = near_spellings(name, KEYWORDS)
                told = f" Did you mean {near[0]!r}?" if near else ""
                raise TypeError(
                    f"there is no keyword {name!r}; there are {', '.join(KEYWORDS)}.{told}"
                )
        given = {
            name: plain_numbers(value) for name, value in settings.items() if value is not UNSET
        }
        for name, value in given.items():
            _check_that_it_asks(KEYWORDS[name], value)
        return cls(types.MappingProxyType(given))

    def violations(self, step: Step, region: Region = ()) -> list[Violation]:
        """Every way in which the step (or the branch at `region`) is not as expected."""
        return self.violations_of(Detector(step, region))

    def violations_of(self, detector: Detector) -> list[Violation]:
        """The same, of what a detector looks at, which may have been asked before."""
        return [
            violation
            for keyword in sorted(KEYWORDS.values(), key=lambda keyword: keyword.rank)
            if keyword.check is not None and keyword.name in self.values
            for violation in keyword.check(detector, self.values[keyword.name], self)
        ]

    def violations_in_branch(self, step: Step, settings: Any) -> list[Violation]:
        """Every way in which a branch is not as `settings` say, an expectation or keywords."""
        return Expectation.of(settings).violations(step)


def _check_that_it_asks(keyword: Keyword, value: Any) -> None:
    """What would hold whatever the step does is a mistake."""
    if isinstance(keyword.default, bool) and not isinstance(value, bool):
        raise TypeError(f"{keyword.name}: {value!r} is neither True nor False")
    if keyword.by_entry and isinstance(value, Mapping | list | tuple) and not value:
        raise ValueError(
            f"{keyword.name}: {value!r} has no entry, and so asks nothing; leave the keyword out"
        )
