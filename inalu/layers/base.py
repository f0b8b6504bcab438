"""What all layers of the family have in common: `ArithmeticLayer`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import ops

from inalu.units import Unit

if TYPE_CHECKING:
    from inalu.explanation import Explanation

# Keras carries no types.
Tensor: TypeAlias = Any
Schedule: TypeAlias = Any

# Where a saved layer keeps the state of its stream of initial values.
_STREAM = "seed_generator_state"


class WeightSpec(NamedTuple):
    """One weight: its name, shape, initial values, and the range that training keeps it in."""

    name: str
    shape: tuple[int, ...]
    initializer: Any
    constraint: Any = None


@keras.saving.register_keras_serializable(package="inalu")
class Between(keras.constraints.Constraint):
    """Keeps a weight between two bounds: it is moved to the nearer one after every update."""

    def __init__(self, lower: float, upper: float) -> None:
        self.lower, self.upper = lower, upper

    def __call__(self, w: Tensor) -> Tensor:
        return ops.clip(w, self.lower, self.upper)

    def get_config(self) -> dict[str, Any]:
        return {"lower": self.lower, "upper": self.upper}


class ArithmeticLayer(keras.layers.Layer):
    """Base of the layers: weights from a stream of their own, one regulariser, one explanation.

    A subclass says which weights it has (`_weight_specs`), what it computes of them (`_outputs`),
    and what it is once they are rounded (`discrete`); if its paper has a regulariser, `_penalty`.

    The inside is computed in float64 under a float64 policy and in float32 under every other one:
    exp of a sum of logs has no correct digit in half precision. Half precision outputs saturate at
    the largest finite value.

    Args:
        units: O, the number of outputs, at least 1.
        strength: what the regulariser is multiplied with before it is added to the losses of every
            call: a number, or a schedule over train steps (`keras.optimizers.schedules`,
            `inalu.schedules.Ramp`). A schedule needs `follow` before the layer is trained.
        seed: of the layer's stream of initial values, together with the layer's name, so that the
            layers of one model differ although they are given the same seed. By default it is
            drawn, repeatably after `keras.utils.set_random_seed`.
        **kwargs: of `keras.layers.Layer`.

    Input shape: (..., I) of any number dtype. Output shape: (..., O) in the policy's compute dtype.

    Raises:
        ValueError: units is out of range, or the number of input features is unknown when the
            layer is built.
    """

    def __init__(
        self,
        units: int,
        *,
        strength: float | Schedule = 1.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Casting is done in `call`: Keras would round inputs and weights to half
        # precision before their logarithm is taken.
        super().__init__(autocast=False, **kwargs)
        self._inner_dtype = "float64" if self.compute_dtype == "float64" else "float32"
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise ValueError(
                f"{self._kind}: units is {units!r}, expected an integer of at least 1."
            )
        if isinstance(strength, Mapping):  # as a saved layer has it
            strength = keras.optimizers.schedules.deserialize(strength)
        if not callable(strength):
            number = isinstance(strength, Real) and not isinstance(strength, bool)
            if not (number and strength >= 0 and math.isfinite(strength)):
                raise ValueError(
                    f"{self._kind}: strength is {strength!r}, expected a number of at least 0 or "
                    "a schedule."
                )
            strength = float(strength)
        self.units = units
        self.strength = strength
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(_stream_seed(seed, self.name))
        self.supports_masking = True
        self._step: Callable[[], Any] | None = None

    # -- weights ----------------------------------------------------------------------------------

    def _weight_specs(self, features: int) -> list[WeightSpec]:
        raise NotImplementedError

    def build(self, input_shape: Sequence[int | None]) -> None:
        features = input_shape[-1] if len(input_shape) else None
        if features is None:
            raise ValueError(
                f"{self._kind}: the last axis of the input must be known, its shape is "
                f"{input_shape}."
            )
        self._features = int(features)
        specs = self._weight_specs(self._features)
        # Kept, because specs make initializers, and these draw from Python's random numbers.
        self._names = tuple(spec.name for spec in specs)
        for spec in specs:
            weight = self.add_weight(
                name=spec.name,
                shape=spec.shape,
                initializer=self._from_stream(spec.initializer),
                constraint=spec.constraint,
                autocast=False,
            )
            setattr(self, spec.name, weight)
        self.input_spec = keras.layers.InputSpec(min_ndim=1, axes={-1: features})

    def reinitialize(self) -> None:
        """Draw new values for all weights.

        Raises:
            ValueError: the layer has no weights yet.

        Source: section 2.3.2 and figure 6.5 of the thesis.
        """
        weights = self._variables_by_name()
        for spec in self._weight_specs(self._features):
            weight = weights[spec.name]
            weight.assign(self._from_stream(spec.initializer)(spec.shape, dtype=weight.dtype))

    def _from_stream(self, initializer: Any) -> Any:
        """The initializer, drawing from the layer's stream if it draws at all.

        Keras' random initializers are stateless: one object gives the same values at every
        call, so that two weights, and a weight before and after `reinitialize`, would be
        equal.
        """
        if not hasattr(initializer, "seed"):
            return initializer
        config = {**initializer.get_config(), "seed": self.seed_generator}
        return type(initializer).from_config(config)

    def save_own_variables(self, store: Any) -> None:
        """Store the weights and the state of the stream of initial values.

        A run that is resumed from them draws what the interrupted one would have drawn.
        """
        super().save_own_variables(store)
        store[_STREAM] = self.seed_generator.state.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Load what `save_own_variables` stored, or the weights alone."""
        keys = set(store.keys())
        super().load_own_variables({key: store[key] for key in keys - {_STREAM}})
        if _STREAM in keys:
            self.seed_generator.state.assign(store[_STREAM])

    # -- what it computes -------------------------------------------------------------------------

    # Arguments in general, so that a subclass can name its weights.

    def _outputs(self, *x: Any, **weights: Any) -> Tensor:
        """For x (..., I) and the weights by name, all of the inner dtype."""
        raise NotImplementedError

    def _penalty(self, *none: Any, **weights: Any) -> Tensor | None:
        """The paper's regulariser, a scalar, or None if it has none."""
        return None

    def call(self, inputs: Any, training: bool | None = None) -> Tensor:
        """The layer's output for inputs (..., I): a tensor (..., O). Adds the regulariser."""
        weights = self._weights()
        penalty = self._penalty(**weights)
        if penalty is not None:
            if self.strength != 1.0:
                penalty = self._current_strength(training) * penalty
            # In the dtype of Keras losses, which it is added to.
            self.add_loss(ops.cast(penalty, keras.config.floatx()))
        y = self._outputs(ops.cast(inputs, self._inner_dtype), **weights)
        if self.compute_dtype != self._inner_dtype:
            largest = float(tf.as_dtype(self.compute_dtype).max)
            y = ops.cast(ops.clip(y, -largest, largest), self.compute_dtype)
        return y

    def regularization(self) -> Tensor:
        """The regulariser as the paper has it, before it is scaled by `strength`: a scalar.

        Zero if the paper has none.
        """
        penalty = self._penalty(**self._weights())
        return ops.zeros((), self._inner_dtype) if penalty is None else penalty

    def follow(self, iterations: Any) -> None:
        """Let a schedule of `strength` count these steps.

        Args:
            iterations: an optimizer's ``iterations``, or a function that returns them; of a
                ``LossScaleOptimizer``, its ``inner_optimizer``'s: Keras 3.8 counts no others.

        Raises:
            TypeError: a tensor, which never changes. Such are the iterations of an optimizer that
                accumulates gradients: ``follow(lambda: optimizer.iterations)``.
        """
        if isinstance(iterations, tf.Tensor):
            raise TypeError(
                f"{self._kind}: {self.name} is to follow a tensor, which never changes: expected "
                "a variable or a function."
            )
        # In a function, lest Keras take it for a variable of this layer.
        self._step = iterations if callable(iterations) else lambda: iterations

    def _current_strength(self, training: bool | None) -> Any:
        if not callable(self.strength):
            return self.strength
        if self._step is None:
            if training:
                raise ValueError(
                    f"{self._kind}: the strength of {self.name} is a schedule, which counts no "
                    "steps yet: call follow(model.optimizer.iterations) after compile."
                )
            return 0.0  # of a model that is only called: its losses are nobody's
        return ops.cast(self.strength(ops.convert_to_tensor(self._step())), self._inner_dtype)

    def _variables_by_name(self) -> dict[str, Any]:
        if not self.built:
            raise ValueError(f"{self._kind}: {self.name} is not built, it has no weights yet.")
        return {name: getattr(self, name) for name in self._names}

    def _weights(self) -> dict[str, Tensor]:
        weights = self._variables_by_name()
        return {name: ops.cast(weight, self._inner_dtype) for name, weight in weights.items()}

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

    # -- what it means ----------------------------------------------------------------------------

    def discrete(self) -> tuple[Unit, ...]:
        """The layer made discrete: a `Unit` for each output, with its distance from it."""
        raise NotImplementedError

    def explain(
        self,
        x: npt.NDArray[Any] | None = None,
        *,
        names: Sequence[str] | None = None,
        tolerance: float = 0.05,
    ) -> Explanation:
        """What this layer alone computes, as a formula: see `inalu.explain`."""
        from inalu.explanation import explain  # which needs SymPy, as layers do not

        return explain(self, x, names=names, tolerance=tolerance)

    def _values(self) -> dict[str, npt.NDArray[np.float64]]:
        """The weights by name, for `discrete`."""
        return {
            name: np.asarray(ops.convert_to_numpy(weight), np.float64)
            for name, weight in self._variables_by_name().items()
        }

    def get_config(self) -> dict[str, Any]:
        strength = self.strength
        if callable(strength):
            strength = keras.optimizers.schedules.serialize(strength)
        return {
            **super().get_config(),
            "units": self.units,
            "strength": strength,
            "seed": self.seed,
        }

    @property
    def _kind(self) -> str:
        return type(self).__name__


class InitializedLayer(ArithmeticLayer):
    """A layer whose weights have one kind of initial values, which can be chosen.

    Args:
        units: O, the number of outputs, at least 1.
        initializer: initial values: whatever `keras.initializers.get` takes; `_default` if None.
        **kwargs: see `ArithmeticLayer`.
    """

    def __init__(self, units: int, *, initializer: Any = None, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.initializer = keras.initializers.get(initializer)

    def _default(self, features: int) -> Any:
        raise NotImplementedError

    def _initial(self, features: int) -> Any:
        return self.initializer or self._default(features)

    def get_config(self) -> dict[str, Any]:
        initializer = self.initializer
        if initializer is not None:
            initializer = keras.initializers.serialize(initializer)
        return {**super().get_config(), "initializer": initializer}


def product(factors: Tensor) -> Tensor:
    """The product of factors (..., I, O) over I: (..., O).

    Halved until one is left. TensorFlow's own product has a gradient that is right at zeros
    too, but runs two cumulative products for it: a train step of small layers takes twice as
    long.
    """
    count = factors.shape[-2]
    while count > 1:
        half = count // 2
        left, right, *odd = ops.split(factors, [half, 2 * half][: 1 + count % 2], axis=-2)
        factors = ops.concatenate([left * right, *odd], axis=-2) if odd else left * right
        count -= half
    return ops.squeeze(factors, axis=-2)


def rounded(weights: npt.NDArray[np.float64]) -> list[tuple[tuple[int, ...], float]]:
    """Per column of (I, O) weights: the nearest whole numbers, and the largest distance."""
    whole = np.rint(weights)
    distances = np.max(np.abs(weights - whole), axis=0)
    return [
        (tuple(int(weight) for weight in column), float(distance))
        for column, distance in zip(whole.T, distances, strict=True)
    ]


def sigmoid(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The logistic function, for `discrete`: NumPy has none that does not overflow."""
    result: npt.NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * values))
    return result


def _stream_seed(seed: int | None, name: str) -> int | None:
    if seed is None:
        return None
    digest = hashlib.blake2s(f"{seed}/{name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
