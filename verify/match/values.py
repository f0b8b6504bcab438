"""The values of tensors, computed from others that are fed instead of what a step would read.

A traced graph is taken as a pure function: variables, arguments and random numbers are fed, any
tensor may be cut and fed too, and whatever else is needed is computed op by op, on demand. Branches
run if their predicate chooses them, loops as often as theirs says, and what a step has written to
a variable is what it reads of it later. Nothing stateful runs, and no variable is touched.

Real numbers are computed in float64, whatever the graph says: two spellings of one formula then
agree nearly everywhere, and half precision does not tell them apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from verify.graphs import (
    CASES,
    IFS,
    READS,
    REFUSED,
    WHILES,
    Node,
    Tensor,
    VariableRef,
    branch_taken,
    call_op,
    draws,
    is_stateful,
)
from verify.match.assigning import assigned
from verify.match.feed import Feed, NoValueError
from verify.match.plan import Loop, Plan, wide

_MOST_TURNS = 10_000  # of a loop
_MOST_KEPT = 1 << 12  # values, between two questions
_ARGUMENTS = {"Placeholder", "PlaceholderWithDefault", "_Arg"}
ITERATORS = {"IteratorGetNext", "IteratorGetNextSync"}
_NEXT = "IteratorGetNextAsOptional"
_OPTIONAL = {"OptionalGetValue", "OptionalHasValue"}

State = Any
"""The value of a variable at one point of a step."""

# Ops that look at the bits of numbers.
_AS_THEY_ARE = {"Bitcast", "NextAfter"}
# Ops that would write into what they are handed, which others may still ask for.
_IN_PLACE = {"InplaceAdd", "InplaceSub", "InplaceUpdate"}


class _Frame:
    """What is known in one turn of a loop, or outside of all."""

    def __init__(self, loop: Loop | None, parent: _Frame | None, turn: tuple[int, ...]) -> None:
        self.loop, self.parent, self.turn = loop, parent, turn
        self.known: dict[Tensor, Any] = {}


class Evaluation:
    """Values of a graph's tensors for one feed; what has been computed is kept, until it is much.

    Args:
        plan: of the graph.
        feed: what variables, arguments and random numbers are.
        cut: values of any other tensors, which are then not computed.
        recorded: whether tapes outside record what is computed, which is then kept for good.
    """

    def __init__(
        self,
        plan: Plan,
        feed: Feed,
        cut: Mapping[Tensor, Any] | None = None,
        recorded: bool = False,
    ) -> None:
        self.plan, self.flat, self.feed, self._recorded = plan, plan.flat, feed, recorded
        self._cut = {} if cut is None else cut
        self._most = _MOST_KEPT
        self._begin()
        self.taken: dict[tuple[str, ...], set[int]] = {}
        """Per branching op, by call path and name: the branches that were taken."""

    def _begin(self) -> None:
        """Nothing is known yet, or any more."""
        self._first: dict[tuple[Loop, ...], _Frame] = {(): _Frame(None, None, ())}
        self._outside = self._first[()].known  # of what no loop is around
        self._states: dict[tuple[int | str, int, int], State] = {}

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        """One question. Before it, what is known is forgotten if it is too much.

        It is not as long as it is less than twice of what one question took: where all need a norm
        of all gradients, say, that is not computed for each.
        """
        if len(self._outside) > self._most and not self._recorded:
            self._begin()
        known = len(self._outside)
        with self._eagerly(), tf.device("CPU:0"):
            yield
        self._most = max(self._most, 2 * (len(self._outside) - known))

    def final(self, variable: VariableRef, before: Node | None = None) -> Any:
        """What a variable holds when the step is over, or when an op runs; of float64 if real.

        Raises:
            NoValueError: it depends on what can't be computed here.
        """
        try:
            with self._asked():
                path, index = (
                    ((), len(self.flat.nodes)) if before is None else (before.path, before.index)
                )
                return self._state(variable, index, self._first_turn(path))
        except RecursionError:
            raise NoValueError("values depend on one another in too long a chain") from None

    def value(self, tensor: Tensor) -> Any:
        """An eager tensor, of float64 if it is real; within a loop, that of its first turn.

        Raises:
            NoValueError: it depends on what can't be computed here.
        """
        if tensor in self._outside:
            return self._outside[tensor]
        try:
            with self._asked():
                return self._value(tensor, self._first_turn(self.flat.node(tensor).path))
        except RecursionError:
            raise NoValueError("values depend on one another in too long a chain") from None

    def was_at(self, path: tuple[str, ...]) -> bool:
        """Whether all branches were taken that a call path leads through."""
        return all(
            position in self.taken.get((*guard.path, guard.name), ())
            for guard, position in self.flat.choices(path)
        )

    def _eagerly(self) -> contextlib.AbstractContextManager[Any]:
        """Out of any graph that is being built, where a tape does not record."""
        recorded = self._recorded and tf.executing_eagerly()
        return contextlib.nullcontext() if recorded else tf.init_scope()

    def _first_turn(self, path: tuple[str, ...]) -> _Frame:
        """The frame of the first turn of all loops around a place."""
        loops = self.plan.loops_around(path)
        for count in range(1, len(loops) + 1):
            outer = self._first[loops[: count - 1]]
            if loops[:count] not in self._first:
                self._first[loops[:count]] = _Frame(loops[count - 1], outer, (*outer.turn, 0))
        return self._first[loops]

    def _value(self, wanted: Tensor, frame: _Frame) -> Any:
        wanted = self._through(wanted)
        stack = [wanted]
        while stack:
            tensor = stack[-1]
            home = self._home(tensor, frame)
            if tensor in home.known:
                stack.pop()
                continue
            if home is not frame:
                self._value(tensor, home)
                continue
            missing = self._advance(tensor, frame)
            if missing:
                stack.extend(missing)
        return self._home(wanted, frame).known[wanted]

    def _through(self, tensor: Tensor) -> Tensor:
        return tensor if tensor in self._cut else self.flat.through(tensor)

    def _home(self, tensor: Tensor, frame: _Frame) -> _Frame:
        """The frame that a tensor has its value in."""
        if tensor in self._cut or not self.plan.loops:
            return self._first[()]
        own = self.plan.loop_of_head.get(tensor[0])
        around = self.plan.loop_around(self.flat.node(tensor).path)
        home: _Frame | None = frame
        while home is not None:
            if home.loop is around or (own is not None and home.loop is own):
                return home
            home = home.parent
        raise NoValueError(f"{self.flat.node(tensor).id} has a value for each turn of a loop")

    def _advance(self, tensor: Tensor, frame: _Frame) -> list[Tensor]:
        """Makes a tensor known, or tells what has to be known before."""
        node = self.flat.node(tensor)
        if tensor in self._cut:
            frame.known[tensor] = wide(self._cut[tensor])
        elif node.op == "Const":
            frame.known[tensor] = self.plan.constant(tensor)
        elif node.op in IFS | CASES and node.position is not None:
            return self._choose(tensor, node, frame)
        elif node.op in WHILES and frame.loop is self.plan.loop_of_head[node.index]:
            assert frame.parent is not None  # that of a loop has one
            frame.known[tensor] = self._value(node.data[0], frame.parent)
        elif node.op in WHILES:
            self._run_loop(self.plan.loop_of_head[node.index], tensor, frame)
        elif node.index in self.plan.arguments or node.op in _ARGUMENTS | ITERATORS:
            frame.known[tensor] = wide(self.feed.argument(node, tensor[1]))
        elif node.op in _OPTIONAL and self.flat.node(node.data[0]).op == _NEXT:
            has = node.op == "OptionalHasValue"  # as long as the data last
            value = tf.constant(True) if has else self.feed.argument(node, tensor[1])
            frame.known[tensor] = wide(value)
        elif (variable := self.flat.variable(node)) is not None:
            return self._access(tensor, node, variable, frame)
        else:
            return self._compute(node, frame)
        return []

    # -- ops ---------------------------------------------------------------------------------------

    def _missing(self, tensors: Sequence[Tensor], frame: _Frame) -> list[Tensor]:
        return [t for t in tensors if t not in self._home(t, frame).known]

    def _known(self, tensor: Tensor, frame: _Frame) -> Any:
        return self._home(tensor, frame).known[tensor]

    def _compute(self, node: Node, frame: _Frame) -> list[Tensor]:
        if missing := self._missing(node.data, frame):
            return missing
        inputs = [self._known(tensor, frame) for tensor in node.data]
        results: Sequence[Any] | None
        if node.op == "Empty":  # stateful, since it may hold anything until it is written
            results = [tf.zeros(inputs[0], node.dtypes[0])]
        elif is_stateful(node.op):
            if not draws(node.op):
                raise NoValueError(f"{node.id} is a stateful {node.op}")
            results = self.feed.drawn(node, inputs, frame.turn)
        else:
            results = self._call(node, inputs)
        if results is None:
            raise NoValueError(f"{node.op} can't be run by itself ({node.id})")
        frame.known.update({(node.index, i): wide(result) for i, result in enumerate(results)})
        return []

    def _call(self, node: Node, inputs: Sequence[Any]) -> Sequence[Any] | None:
        if node.op in _IN_PLACE:
            inputs = [tf.raw_ops.DeepCopy(x=inputs[0]), *inputs[1:]]
        if node.op not in _AS_THEY_ARE:
            try:
                return call_op(node, inputs, wide=True)
            except REFUSED:  # there may be no kernel for float64
                pass
        dtypes = [self.flat.dtype(tensor) for tensor in node.data]
        narrow = [
            tf.cast(value, dtype) if value.dtype == tf.float64 else value
            for value, dtype in zip(inputs, dtypes, strict=True)
        ]
        try:
            return call_op(node, narrow)
        except REFUSED as error:
            raise NoValueError(f"{node.id} can't be computed: {_first_line(error)}") from None

    def _choose(self, tensor: Tensor, node: Node, frame: _Frame) -> list[Tensor]:
        predicate, *choices = (self._through(t) for t in node.data)
        if missing := self._missing([predicate], frame):
            return missing
        which = _branch(node.op, self._known(predicate, frame), len(choices))
        self.taken.setdefault((*node.path, node.op_name), set()).add(which)
        taken = choices[which]
        if missing := self._missing([taken], frame):
            return missing
        frame.known[tensor] = self._known(taken, frame)
        return []

    # -- loops -------------------------------------------------------------------------------------

    def _run_loop(self, loop: Loop, wanted: Tensor, frame: _Frame) -> None:
        """Runs a loop for one of its variables and for whatever that depends on."""
        nodes, plan = self.flat.nodes, self.plan
        needed = {wanted[0], *plan.depends_on_head(self._through(loop.predicate), loop)}
        stack = list(needed)
        while stack:
            for source in nodes[stack.pop()].data[1:]:
                fresh = {*plan.depends_on_head(source, loop)} - needed
                needed |= fresh
                stack.extend(fresh)
        current = {(i, 0): self._value(nodes[i].data[0], frame) for i in sorted(needed)}
        turns = 0
        while True:
            inner = _Frame(loop, frame, (*frame.turn, turns))
            inner.known.update(current)
            if not _is_true(self._value(loop.predicate, inner)):
                break
            if (turns := turns + 1) > _MOST_TURNS:
                raise NoValueError(f"{nodes[wanted[0]].id} takes over {_MOST_TURNS} turns")
            current = {
                head: self._value(nodes[head[0]].data[1], inner)
                if len(nodes[head[0]].data) > 1
                else value
                for head, value in current.items()
            }
        frame.known.update(current)

    # -- variables ---------------------------------------------------------------------------------

    def _access(
        self, tensor: Tensor, node: Node, variable: VariableRef, frame: _Frame
    ) -> list[Tensor]:
        if node.op == "VariableShape":
            dtype = tf.as_dtype(node.dtypes[0])
            state = self._state(variable, node.index, frame)
            frame.known[tensor] = tf.shape(state, out_type=dtype)
            return []
        if node.op == "VarIsInitializedOp":
            frame.known[tensor] = tf.constant(True)
            return []
        if draws(node.op):  # a generator's state moves on; what is drawn from it is fed
            results = self.feed.drawn(node, [], frame.turn)
            frame.known.update({(node.index, i): wide(one) for i, one in enumerate(results)})
            return []
        if node.op not in READS:
            raise NoValueError(f"{node.id} both reads and writes {variable.path}")
        indices = [t for t in node.data if t[0] not in self.flat.variables]
        if missing := self._missing(indices, frame):
            return missing
        state = self._state(variable, node.index, frame)
        if node.op == "ReadVariableOp":
            frame.known[tensor] = state
            return []
        (at,) = (self._known(t, frame) for t in indices)
        try:
            if node.op == "ResourceGather":
                dims = int(node.attrs["batch_dims"].i) if "batch_dims" in node.attrs else 0
                frame.known[tensor] = tf.gather(state, at, axis=dims, batch_dims=dims)
            else:
                frame.known[tensor] = tf.gather_nd(state, at)
        except REFUSED as error:
            raise NoValueError(f"{node.id} can't be computed: {_first_line(error)}") from None
        return []

    def _state(self, variable: VariableRef, reader: int, frame: _Frame) -> State:
        """What a variable holds when the op `reader` runs: what was written in this step before."""
        where = variable.key, variable.replica
        writes = self.plan.writes.get(where, ())
        if frame not in self._first.values():
            for write in writes:
                if self.plan.loop_around(write.path) is not None:
                    told = f"{write.id} writes {variable.path} in a loop that may read it"
                    raise NoValueError(told)
        before = [write for write in writes if write.index < reader]
        known = 0
        state = None
        for count in range(len(before), 0, -1):
            if (*where, before[count - 1].index) in self._states:
                known, state = count, self._states[*where, before[count - 1].index]
                break
        if not known:
            state = wide(self.feed.variable(variable))
        for write in before[known:]:
            state = self._written(write, variable, state, frame)
            self._states[*where, write.index] = state
        return state

    def _written(self, write: Node, variable: VariableRef, state: State, reading: _Frame) -> State:
        frame = self._first_turn(write.path)
        outer: _Frame | None = reading
        while outer is not None and outer is not frame:
            outer = outer.parent
        if outer is None:
            raise NoValueError(f"{write.id} writes {variable.path} in a loop, before it is read")
        for guard, position in self.flat.choices(write.path):
            predicate = self._value(guard.predicate, self._first_turn(guard.path))
            taken = _branch(guard.op, predicate, len(guard.branches))
            self.taken.setdefault((*guard.path, guard.name), set()).add(taken)
            if taken != position:
                return state
        values = [self._value(t, frame) for t in write.data if t[0] not in self.flat.variables]
        if (after := assigned(write, state, values)) is not None:
            return after
        raise NoValueError(f"{write.id} writes {variable.path} before it is read")


def _branch(op: str, predicate: Any, branches: int) -> int:
    chosen = _is_true(predicate) if op in IFS else int(predicate)
    return branch_taken(op, chosen, branches)


def _is_true(value: Any) -> bool:
    if value.dtype == tf.string:
        return bool(tf.strings.length(value) > 0)
    return bool(tf.reduce_all(tf.cast(value, tf.bool)))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
