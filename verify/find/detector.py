"""All that can be asked about the gradients of one step, or of one branch of it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from verify.find.accumulation import Accumulation
from verify.find.alignment import Alignment
from verify.find.calls import Calls
from verify.find.changed import Changed
from verify.find.clips import Clip, Clips
from verify.find.conditions import Condition, conditions
from verify.find.decays import shrinks
from verify.find.exchanged import exchanged
from verify.find.fingerprints import whole_fingerprint
from verify.find.followers import Followers
from verify.find.forwards import Forwards
from verify.find.gradient_values import GradientValues
from verify.find.losses import Losses
from verify.find.mixtures import Mixtures
from verify.find.modes import Modes
from verify.find.moving import Moving
from verify.find.nonfinite import written_anyway
from verify.find.objectives import Objectives
from verify.find.observed import Array, Observed
from verify.find.optimizers import Optimizers, Rule
from verify.find.outputs import Outputs
from verify.find.random_numbers import Draws
from verify.find.regularization_terms import Terms
from verify.find.rounds import Part, alone, part_of
from verify.find.sample_weights import SampleWeights
from verify.find.search import Found, Search
from verify.find.single_writes import SingleWrites
from verify.find.treatments import Treatment, Treatments
from verify.find.turns import updated as times_updated
from verify.find.turns import written as times_written
from verify.find.witnesses import Sides
from verify.find.writes import Told, Written, told_of, written
from verify.flow import Unexplained, Update, fingerprint
from verify.graphs import Node, Region, Tensor, VariableRef
from verify.match import Miss, Pattern
from verify.step import Step

_NO_OPTIMIZERS: Mapping[int | str, Any] = MappingProxyType({})
_OF_PARTS = "only the gradients of single calls are, which are added up afterwards"


class Detector:
    """Losses, regularisation terms, clips, and what is none of these. What it has found is kept.

    Args:
        step: what is looked at.
        region: the branch of it.
        expected: by key, the optimizers that are said to update variables: each tells what enters
            it, where it is not at hand.
    """

    def __init__(
        self, step: Step, region: Region = (), expected: Mapping[int | str, Any] = _NO_OPTIMIZERS
    ) -> None:
        self.step, self.flat, self.expected = step, step.flat, expected
        self.search = Search(step, region)
        self.flow = self.search.flow
        self._losses = Losses(self.search, lambda found: bool(self.rest(found)[0]))
        self._terms = Terms(self.search, self._unexplained)
        self._left = Unexplained(self.flow)

    def losses(self, loss: Any) -> tuple[list[Found], Miss | None]:
        """Where the gradient of `loss` reaches an update, and the nearest miss elsewhere."""
        return self._losses.of(loss)

    def rules_out(self, loss: Any) -> bool:
        """Whether a loss of Keras is not in the step, going by the values of its gradients."""
        return self._losses.rules_out(loss)

    @functools.cached_property
    def alignment(self) -> Alignment:
        """Whether predictions and targets are of the same examples."""
        return Alignment(self.gradient_values, self._losses.shapes)

    @property
    def outputs(self) -> Outputs:
        """What the model returns, where it is known."""
        return self._losses.outputs

    def loss_sides(self, loss: Any, draw: int) -> list[Sides]:
        """What the gradient of a loss is, by each prediction that it may be of, and what is there.

        Of what is there, it is what is the most alike.
        """
        return self._losses.sides(loss, draw)

    def makes(self, loss: Any, found: Found, tensor: Tensor) -> bool:
        """Whether a tensor is a multiple of a loss that was found."""
        return self._losses.makes(loss, found, tensor)

    def is_weighed_by(self, found: Found, variable: VariableRef) -> bool:
        """Whether the value of a variable is what a loss is multiplied by."""
        return self._losses.is_weighed_by(found, variable)

    def targets_of(self, found: Found) -> frozenset[str | int]:
        """The keys, or positions, of the target that a loss is computed against."""
        seen, stack = set[Tensor](), [] if found.target is None else [found.target]
        while stack:
            tensor = stack.pop()
            if tensor not in seen:
                seen.add(tensor)
                stack += self.flat.node(tensor).data
        return frozenset(
            key for key, tensors in self.step.target_of.items() if not seen.isdisjoint(tensors)
        )

    @property
    def terms(self) -> list[Found]:
        """Recognised regularisation terms, one per variable and regulariser."""
        return self._terms.all

    def regulariser(
        self, update: Update, pattern: Pattern | None
    ) -> tuple[list[Found], Miss | None]:
        """Where the gradient of one regulariser by the updated variable reaches that update."""
        return self._terms.of(update, pattern)

    def is_term_weighed_by(
        self, update: Update, pattern: Pattern, found: Found, variable: VariableRef
    ) -> bool:
        """Whether the value of a variable is what a regulariser is multiplied by."""
        return self._terms.is_weighed_by(update, pattern, found, variable)

    def rest(self, recognised: Iterable[Found]) -> tuple[list[Update], list[Update]]:
        """Updates that other gradients reach: (by way of data, of the variable alone)."""
        return self._left.without(frozenset(node for found in recognised for node in found.nodes))

    def fingerprint(self, nodes: Iterable[int]) -> str:
        """What tells the losses apart whose gradients come to these nodes, see `verify.flow`."""
        reached = frozenset(nodes)
        losses = [
            self.flow.whole[seed]
            for seed in self.flow.seeds
            if not reached.isdisjoint(self.search.below(seed.node))
        ]
        return fingerprint(self.flow, losses)

    @functools.cached_property
    def conditions(self) -> tuple[Condition, ...]:
        """The expressions of variables by which the step chooses."""
        return tuple(conditions(self.flow))

    @functools.cached_property
    def whole_fingerprint(self) -> str:
        """Digits that tell what is differentiated, by values where they can be computed."""
        return whole_fingerprint(self.gradient_values)

    def clips(self, update: Update) -> list[Clip]:
        """Clips on the gradient of one update, before the optimizer."""
        found = self._where_alone(update)._clips.of(update)
        return [
            dataclasses.replace(clip, misses=_OF_PARTS)
            if clip.complete and self.accumulation.adds_up_after(clip.node, update)
            else clip
            for clip in found
        ]

    def clip_ops(self, update: Update, clip: Clip) -> frozenset[int]:
        """The nodes of a clip that was found on the gradient of an update."""
        return self._where_alone(update)._clips.ops(clip)

    def clipped_of(self, update: Update) -> Tensor | None:
        """What the first clip of a gradient takes, where that was found by its ops."""
        clips = self._where_alone(update)._clips
        first = min((clip.node for clip in clips.of(update) if clip.complete), default=-1)
        return clips.clipped.get(first)

    def is_changed_before(self, update: Update) -> bool:
        """Whether something that is no multiple is made of a gradient, before its first clip."""
        clipped, looking = self.clipped_of(update), self._where_alone(update)
        return clipped is not None and looking.treatments.is_changed(update, clipped)

    def treatment_of(self, update: Update) -> Treatment | None:
        """What is done to a gradient before the optimizer; None where that is not known."""
        return self._where_alone(update).treatments.of(update)

    def made_as(self, update: Update, optimizer: Any) -> Rule | None:
        """How an update is made, if an optimizer with these settings would make it so."""
        return self._where_alone(update).optimizers.made_as(update.variable.key, optimizer)

    def made_of(self, update: Update) -> Iterator[Tensor]:
        """What is made of a gradient before anything that was kept is added, in its order."""
        key = update.variable.key
        for tensor in self._observed.ways.get(key, ())[1:]:
            if self._observed.is_of_state(key, tensor):
                break
            yield tensor

    def opposes(self, update: Update, rule: Rule) -> bool:
        """Whether what enters an optimizer by this rule leads the opposite way of the gradient."""
        return self._where_alone(update).treatments.opposes(update, rule)

    def _where_alone(self, update: Update) -> Detector:
        """What looks at the branch or round in which an update is the only one of its variable.

        One that is trained in several branches is updated once in each.
        """
        in_loop = bool(self.flat.loops(update.node.path))
        if not in_loop and self._observed.knows(update):
            return self
        for guard, position in () if in_loop else self.flat.choices(update.node.path):
            region = guard.branches[position]
            if len(region) <= len(self.flow.region):
                continue
            if region not in self._parts:
                self._parts[region] = Detector(self.step, region, self.expected)
            part = self._parts[region]
            if part._observed.knows(update):
                return part
        which = part_of(self.flow, update)
        if which is None:
            return self
        if which not in self._alone:
            step = dataclasses.replace(self.step, flat=alone(self.flow, which))
            self._alone[which] = Detector(step, self.flow.region, self.expected)
        part = self._alone[which]._where_alone(update)
        return part if part._observed.knows(update) else self

    @functools.cached_property
    def _alone(self) -> dict[Part, Detector]:
        return {}

    @functools.cached_property
    def _parts(self) -> dict[Region, Detector]:
        return {}

    @functools.cached_property
    def _clips(self) -> Clips:
        return Clips(self.flow, self.treatments)

    @functools.cached_property
    def treatments(self) -> Treatments:
        """What is done to gradients before the optimizer."""
        return Treatments(self._observed, self.optimizers)

    @functools.cached_property
    def optimizers(self) -> Optimizers:
        """By which optimizer each variable is updated."""
        return Optimizers(self._observed, self.accumulation.sums, self.expected)

    @functools.cached_property
    def gradient_values(self) -> GradientValues:
        """The gradients that update variables, as values."""
        return GradientValues(self._observed)

    @functools.cached_property
    def objectives(self) -> Objectives:
        """Whether gradients are those of a function."""
        return Objectives(self.gradient_values)

    @functools.cached_property
    def forwards(self) -> Forwards:
        """Whether losses judge what a function computes."""
        return Forwards(self.gradient_values)

    @functools.cached_property
    def draws(self) -> Draws:
        """What decides trained variables and is drawn at random."""
        return Draws(self._observed, self.changed)

    @functools.cached_property
    def sample_weights(self) -> SampleWeights:
        """What sample weights do to gradients."""
        return SampleWeights(self.gradient_values)

    @functools.cached_property
    def modes(self) -> Modes:
        """In which mode layers run for what is differentiated."""
        return Modes(self.search)

    @functools.cached_property
    def shrinks(self) -> dict[str, bool]:
        """By path of each variable that a share of itself is added to: whether it gets smaller."""
        return shrinks(self._observed, self.optimizers, self.treatments)

    @property
    def decayed(self) -> frozenset[str]:
        """Paths of the variables that shrink by a share of themselves, beside any gradient."""
        return frozenset(path for path, smaller in self.shrinks.items() if smaller)

    @property
    def growing(self) -> frozenset[str]:
        """Paths of the variables that grow by a share of themselves, instead of shrinking."""
        return frozenset(path for path, smaller in self.shrinks.items() if not smaller)

    @functools.cached_property
    def exchanged(self) -> dict[str, str]:
        """Variables that are updated by the gradient of another one, by path, with that one's."""
        return dict(exchanged(self._observed))

    def written_anyway(self) -> list[str]:
        """Paths of the trained variables that are changed though a gradient is not finite.

        Raises:
            NoValueError: that can't be computed.
        """
        return written_anyway(self._observed)

    def added(self, update: Update, share: float) -> Array:
        """What enters an optimizer besides a share of a gradient that is small.

        Raises:
            NoValueError: it is not known.
        """
        return self._where_alone(update).treatments.added(update, share)

    def times_written(self, key: int | str) -> int:
        """How often a variable is written, by its key, the turns of loops counted.

        Raises:
            NoValueError: that is not known.
        """
        return times_written(self.flow, key)

    def times_updated(self, key: int | str) -> int:
        """How often a variable is written by a gradient, by its key, the turns of loops counted.

        Raises:
            NoValueError: that is not known.
        """
        return times_updated(self.flow, key)

    @functools.cached_property
    def writes(self) -> SingleWrites:
        """The writes one by one."""
        return SingleWrites(self._observed)

    @functools.cached_property
    def accumulation(self) -> Accumulation:
        """Of how many calls gradients are averaged before they are applied."""
        return Accumulation(Calls(self._observed, self.writes))

    @functools.cached_property
    def changed(self) -> Changed:
        """Which variables are changed at all."""
        return Changed(self._observed, self.writes)

    @functools.cached_property
    def moving(self) -> Moving:
        """Which statistics are moved."""
        return Moving(self._observed, self.writes)

    @functools.cached_property
    def followers(self) -> Followers:
        """Which variables follow others."""
        return Followers(self._observed, self.writes)

    @functools.cached_property
    def _by_values(self) -> Told:
        return Told(self.moving.shares, self.followers.all)

    @functools.cached_property
    def written(self) -> Written:
        """What is written, by kind."""
        return written(self.flow, self._by_values)

    @functools.cached_property
    def mixtures(self) -> list[str]:
        """Paths of averages of what other variables hold, of which no single one explains it."""
        mixtures = Mixtures(self._observed, self.writes)
        return mixtures.among(self.written.averages, without=self.followers.all)

    def told_of(self, node: Node, variable: VariableRef) -> str:
        """What kind of write one is, in words."""
        return told_of(self.flow, node, variable, self._by_values)

    def rule_of(self, update: Update) -> Rule | None:
        """How one update is made; None where that is not known."""
        return self._where_alone(update).optimizers.of(update)

    @functools.cached_property
    def _observed(self) -> Observed:
        return Observed(self.step, self.flow)

    def _unexplained(self, terms: list[Found]) -> tuple[list[Update], list[Update]]:
        """What neither these terms nor losses explain that were looked for, or are the model's."""
        left = self.rest([*self._losses.found, *terms])
        if left[0] and self.step.reference is not None:
            for loss in self.step.reference.losses:
                self.losses(loss)
            left = self.rest([*self._losses.found, *terms])
        return left
