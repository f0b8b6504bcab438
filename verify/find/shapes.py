"""What the shapes of variables are cut down to where values tell what a step does with them."""

from __future__ import annotations

import dataclasses

LENGTH = 4  # that dimensions of variables are cut down to, where the ops take that


@dataclasses.dataclass(frozen=True)
class Shapes:
    """What the shapes of variables are cut down to: most ops of an optimizer take any.

    `length`: of dimensions, None for all; `whole`: shapes that are not cut, since gradients of
    variables of that shape come in others.
    """

    length: int | None = LENGTH
    whole: frozenset[tuple[int | None, ...]] = frozenset()

    def of(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        if self.length is None or shape in self.whole:
            return shape
        return tuple(n if n is None else min(n, self.length) for n in shape)
