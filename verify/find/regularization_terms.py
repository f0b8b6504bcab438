"""Which regularisation terms have a gradient that reaches the update of their variable."""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from verify.find.search import Disjoint, Found, Search
from verify.find.terms_by_value import TermsByValue
from verify.flow import Update
from verify.graphs import Spec, Tensor, VariableRef
from verify.match import Miss, Pattern, Predicate
from verify.references import (
    FAMILIES,
    AddedLoss,
    regulariser_family,
    regulariser_name,
    regulariser_pattern,
)

_CAST = 1  # mixed precision casts what it reads


class Terms:
    """Finds terms in one step, or in one branch of it.

    `unexplained` tells, of gradients recognised, which updates others reach: (by way of data, of
    the variable alone).
    """

    def __init__(
        self,
        search: Search,
        unexplained: Callable[[list[Found]], tuple[list[Update], list[Update]]],
    ) -> None:
        self.search, self.flow, self.flat = search, search.flow, search.flat
        self._unexplained = unexplained
        self._known_near: dict[tuple[int | str, int], set[int]] = {}

    @functools.cached_property
    def all(self) -> list[Found]:
        """Recognised terms, one per variable and regulariser.

        First what the model's own variables say, then Keras' families where something is left, and
        only then what the model adds when it is called: that needs a trace of it.
        """
        found = Disjoint()
        reference = self.search.step.reference
        for key, regulariser in () if reference is None else reference.regularisers:
            for update in self.flow.trained_of.get(key, ())[:1]:
                pattern = regulariser_pattern(regulariser, _value(update))
                self._take(found, self._of(update, pattern)[0], regulariser_name(regulariser))
        data, alone = self._unexplained(found.all)
        for update in alone:
            for name in FAMILIES:
                pattern = regulariser_family(name, _value(update))
                self._take(found, self._of(update, pattern)[0], name)
        for update in self._unexplained(found.all)[1] if alone else ():
            if (told := self._by_value.family(update, found.nodes)) is not None:
                self._take(
                    found, [dataclasses.replace(told[1], variable=update.variable.key)], told[0]
                )
        if reference is not None and (data or alone) and any(self._unexplained(found.all)):
            for loss in reference.added_losses:
                found.add(found.fresh(self._added(loss)))
        alike: dict[Any, list[Found]] = {}
        for one in found.all:
            alike.setdefault((one.variable, one.label), []).append(one)
        return [
            self._whole(joined) for group in alike.values() for joined in self.search.joined(group)
        ]

    def of(self, update: Update, pattern: Pattern | None) -> tuple[list[Found], Miss | None]:
        """Where the gradient of one regulariser by the updated variable reaches that update."""
        found, miss = self._of(update, pattern)
        if not found and pattern is not None:
            key = update.variable.key
            by_value = self._by_value.of(update, pattern)
            found = self.search.joined([dataclasses.replace(one, variable=key) for one in by_value])
        return [self._whole(one) for one in found], miss

    def is_weighed_by(
        self, update: Update, pattern: Pattern, found: Found, variable: VariableRef
    ) -> bool:
        """Whether the value of a variable, and nothing else, multiplies a regulariser."""
        factors = [
            self._by_value.factor(update, pattern, found.nodes, {variable.key: held})
            for held in (1.0, 2.0)
        ]
        return all(
            factor is not None and np.isclose(factor, held, rtol=1e-4)
            for factor, held in zip(factors, (1.0, 2.0), strict=True)
        )

    @functools.cached_property
    def _by_value(self) -> TermsByValue:
        return TermsByValue(self.search)

    def _of(self, update: Update, pattern: Pattern | None) -> tuple[list[Found], Miss | None]:
        if pattern is None:
            return [], None
        key = update.variable.key
        hops = [pattern.hops("variable", summand) for summand in pattern.summands]
        known = [distance for distance in hops if distance is not None]
        near = self._near(key, max(known)) if len(known) == len(hops) else None
        found, miss = self.search.find(pattern, self._predicates(key), among=near)
        mine = [
            dataclasses.replace(match, variable=key)
            for match in found
            if any(u.variable.key == key for u in match.updates)
        ]
        return self.search.joined(mine), miss

    def _whole(self, found: Found) -> Found:
        """A term with the weight that it has when all replicas' gradients are added up."""
        if found.weight is None:
            return found
        step = self.search.step
        return dataclasses.replace(found, weight=found.weight * step.parts * step.workers)

    def _added(self, loss: AddedLoss) -> list[Found]:
        """Where a loss that the model adds has all its gradients; one for each of its variables."""
        predicates = self._added_predicates(loss)
        parts: list[list[Found]] = []
        for pattern in loss.patterns:
            parts.append(self.search.find(pattern, predicates, loss.label)[0])
            if not parts[-1]:
                return []
        by_key = {v.key for v in self.search.step.variables}
        return [
            dataclasses.replace(functools.reduce(operator.add, together), variable=key)
            for together in zip(*parts, strict=False)
            for key in loss.keys
            if key in by_key and any(u.variable.key == key for f in together for u in f.updates)
        ]

    def _near(self, key: int | str, hops: int) -> set[int]:
        """What is computed from a variable's value by at most so many ops."""
        if (key, hops) not in self._known_near:
            reads = [node.index for node, v in self._reads.get(key, ())]
            self._known_near[key, hops] = self.flow.near(reads, hops + _CAST)
        return self._known_near[key, hops]

    @functools.cached_property
    def _reads(self) -> dict[int | str, list[Any]]:
        reads: dict[int | str, list[Any]] = {}
        for node, variable in self.flat.reads():
            reads.setdefault(variable.key, []).append((node, variable))
        return reads

    def _take(self, found: Disjoint, matches: list[Found], name: str) -> None:
        for one in matches:
            # What a family's match is called says the constants that were found.
            found.add(found.fresh([dataclasses.replace(one, label=name + one.label)]))

    def _predicates(self, key: int | str) -> dict[str, Predicate]:
        def is_value(tensor: Tensor) -> bool:
            node = self.flat.node(tensor)
            if node.op == "Cast" and node.data:  # mixed precision reads through a cast
                node = self.flat.node(node.data[0])
            variable = self.flat.variable(node)
            return variable is not None and variable.key == key

        return {"variable": is_value, "upstream": self.search.is_upstream}

    def _added_predicates(self, loss: AddedLoss) -> dict[str, Predicate]:
        flow = self.flow

        def is_value(tensor: Tensor) -> bool:
            return tensor[0] in flow.of_weights and tensor[0] not in flow.backward

        return {
            **{role: is_value for one in loss.patterns for role in one.leaves.values()},
            "data": lambda tensor: tensor[0] in flow.of_data,
            "upstream": self.search.is_upstream,
        }


def _value(update: Update) -> Spec:
    return update.variable.shape, update.variable.dtype
