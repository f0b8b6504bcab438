"""What a graph is fed to find out what it computes: numbers of a domain, the same for a seed."""

from __future__ import annotations

import enum
import zlib
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from verify.graphs import FlatGraph, Node, Spec, VariableRef, draws
from verify.match.feed import NoValueError
from verify.match.values import ITERATORS

Array = np.ndarray[Any, Any]

# A batch whose size is open has another one in the next draw: so a mean is no sum.
_BATCHES = (48, 32)
_COUNTS = 7  # what an integer that counts is drawn below
_OPEN = (5, 3, 2)  # other dimensions that are open, by position
# From draws in which nearly everything is linear to such where every bound is met.
_SPREADS = (1.0, 4.0, 0.3, 100.0, 1.0, 2.0, 1.0, 0.6)
DRAWS = len(_SPREADS)


NUMBERS = frozenset(
    dtype.name
    for dtype in tf.dtypes.__dict__.values()
    if isinstance(dtype, tf.DType) and (dtype.is_floating or dtype.is_integer or dtype.is_bool)
)
"""The dtypes that there are draws of."""


class Domain(enum.Enum):
    """Which numbers a tensor holds."""

    REAL = "any real number"
    POSITIVE = "positive numbers"
    UNIT = "numbers between 0 and 1"
    ROWS = "probabilities that add up to 1"
    ONE_HOT = "rows with a single 1"
    SIGN = "-1 or 1"
    BINARY = "0 or 1"
    CLASSES = "class numbers"
    WHOLE = "any whole numbers"


def concrete(shape: tuple[int | None, ...], draw: int) -> tuple[int, ...]:
    """A shape without open dimensions; equal dimensions by position for all tensors of a draw."""
    sizes = (_BATCHES[draw % len(_BATCHES)], *_OPEN)
    return tuple(
        sizes[min(position, len(sizes) - 1)] if size is None else size
        for position, size in enumerate(shape)
    )


def drawn(
    spec: Spec,
    domain: Domain,
    draw: int,
    key: str,
    classes: int = 2,
    seed: int = 0,
    spread: float | None = None,
) -> Array:
    """Numbers of a domain in the shape and dtype of `spec`.

    Args:
        draw: which one of several, see `DRAWS`.
        key: what tells this tensor from others of the same draw.
        classes: how many classes there are, of `Domain.CLASSES`.
        spread: how large numbers are, if not as usual in that draw.
    """
    shape = concrete(spec[0] or (), draw)
    rng = np.random.default_rng([seed, draw, zlib.crc32(key.encode())])
    spread = min(spread or _SPREADS[draw % DRAWS], _most(spec[1]))
    values: Array
    match domain:
        case Domain.REAL:
            values = rng.normal(size=shape) * spread
        case Domain.POSITIVE:
            values = np.exp(rng.normal(size=shape) * min(spread, 2.0))
        case Domain.UNIT:
            values = rng.uniform(0.03, 0.97, size=shape)
        case Domain.ROWS:
            values = np.exp(rng.normal(size=shape))
            values /= values.sum(axis=-1, keepdims=True) if shape else 1.0
        case Domain.ONE_HOT:
            size = shape[-1] if shape else 1
            values = np.eye(size)[rng.integers(size, size=shape[:-1])]
        case Domain.SIGN:
            values = rng.choice([-1.0, 1.0], size=shape)
        case Domain.BINARY:
            values = rng.integers(2, size=shape)
        case Domain.CLASSES:
            values = rng.integers(classes, size=shape)
        case Domain.WHOLE:
            most = int(min(_COUNTS * max(spread, 1.0), _most(spec[1])))
            values = rng.integers(-most if tf.as_dtype(spec[1]).min else 0, most + 1, size=shape)
    if spec[1] == "bool":
        counted = domain in (Domain.BINARY, Domain.CLASSES)
        return np.asarray(values > (0 if counted else np.median(values)))
    return np.asarray(values).astype(tf.as_dtype(spec[1]).as_numpy_dtype)


def _most(dtype: str) -> float:
    """Numbers of this size can still be squared, or added to others, in a dtype."""
    return 1.0 if dtype == "bool" else float(tf.as_dtype(dtype).max) ** 0.5


class Drawn:
    """Feeds a whole graph: variables, arguments and random numbers of one draw."""

    def __init__(self, draw: int, seed: int = 0) -> None:
        self.draw, self.seed = draw, seed

    def variable(self, variable: VariableRef) -> Any:
        return tf.constant(self._weights((variable.shape, variable.dtype), variable.path))

    def argument(self, node: Node, output: int) -> Any:
        shape = node.shapes[output] if output < len(node.shapes) else None
        if shape is None:
            raise NoValueError(f"{node.id} has no known rank")
        return self._any((shape, node.dtypes[output]), f"{self.key_of(node)}:{output}")

    def key_of(self, node: Node) -> str:
        """What tells an argument, or a random op, from others."""
        return node.id

    def drawn(self, node: Node, inputs: Sequence[Any], turn: tuple[int, ...]) -> Sequence[Any]:
        found = []
        for output, dtype in enumerate(node.dtypes):
            shape = node.shapes[output]
            if shape is None:
                raise NoValueError(f"{node.id} has no known rank")
            found.append(self._any((shape, dtype), f"{self.key_of(node)}:{output}:{turn}"))
        return found

    def _any(self, spec: Spec, key: str) -> Any:
        dtype = tf.as_dtype(spec[1])
        if dtype.is_floating:
            return tf.constant(drawn(spec, Domain.REAL, self.draw, key, seed=self.seed))
        if dtype.is_integer or dtype.is_bool:
            return tf.constant(drawn(spec, Domain.CLASSES, self.draw, key, seed=self.seed))
        raise NoValueError(f"there are no draws of {spec[1]}")

    def _weights(self, spec: Spec, key: str) -> Array:
        """Values such as those of weights: neither overflow nor vanish in a deep model."""
        shape, dtype = spec
        if not tf.as_dtype(dtype).is_floating:
            return drawn(spec, Domain.CLASSES, self.draw, key, seed=self.seed)
        rng = np.random.default_rng([self.seed, self.draw, zlib.crc32(key.encode())])
        sizes = concrete(shape or (), self.draw)
        if len(sizes) >= 2:
            values = rng.normal(size=sizes) / np.sqrt(np.prod(sizes[:-1]))
        else:
            values = rng.uniform(0.3, 1.3, size=sizes)
        return np.asarray(values).astype(tf.as_dtype(dtype).as_numpy_dtype)


class Paired(Drawn):
    """Feeds one of two steps that are compared: alike what they have in common.

    Arguments go by their position, random numbers by what is drawn and the order of the draws.

    Args:
        flat: the step.
        names: per key of a variable, what it is called in both.
        draw: which one of several draws.
    """

    def __init__(self, flat: FlatGraph, names: Mapping[int | str, str], draw: int) -> None:
        super().__init__(draw)
        self.names = names
        fed = [i for i in flat.arguments if i >= 0 and flat.nodes[i].dtypes[:1] != ["resource"]]
        self._places: dict[int, str] = {index: f"argument {i}" for i, index in enumerate(fed)}
        kinds, seeded = Counter[str](), dict[Hashable, str]()
        for node in flat.nodes:
            if node.index not in self._places and (draws(node.op) or node.op in ITERATORS):
                kind = f"{node.op} {node.dtypes} {node.shapes}"
                place = f"{kind} {kinds[kind]}"
                self._places[node.index] = seeded.setdefault(_seeded(node) or node.index, place)
                kinds[kind] += 1

    def variable(self, variable: VariableRef) -> Any:
        spec, name = (variable.shape, variable.dtype), self.names[variable.key]
        if tf.as_dtype(variable.dtype).is_floating and not variable.trainable:
            # A moment or a variance, of which roots are taken.
            return tf.constant(drawn(spec, Domain.UNIT, self.draw, name))
        if tf.as_dtype(variable.dtype).is_integer:
            return tf.constant(drawn(spec, Domain.CLASSES, self.draw, name, _COUNTS))
        values = self._weights(spec, name)
        if values.ndim == 1 and self.draw % 2:
            # Biases of one sign would keep the one unit of a layer on one side of zero.
            values[::2] *= -1
        return tf.constant(values)

    def key_of(self, node: Node) -> str:
        return self._places.get(node.index, node.id)


def _seeded(node: Node) -> Hashable:
    """What two ops of one body have in common that draw the same: `tf.random.shuffle(y, seed=1)`.

    None of an op that no seed was given to.
    """
    seeds = tuple(int(node.attrs[name].i) for name in ("seed", "seed2") if name in node.attrs)
    return (node.op, node.path, seeds) if any(seeds) else None
