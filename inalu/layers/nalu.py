"""The improved neural arithmetic logic unit (iNALU)."""

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

# ln(x) is taken of nothing smaller than this; the value is the authors'.
EPSILON = 1e-7
# The largest exponents whose exp is finite, with room for the sign and the gate.
_MAX_CLIPPING = {"float32": 88.0, "float64": 709.0}

# Where a saved layer keeps the state of its stream of initial values.
_STREAM = "seed_generator_state"


def sparsity(variables: Sequence[Any], threshold: float = 20.0) -> Any:
    """The penalty on weights that are not yet far from zero.

    Far from zero, tanh and the sigmoid saturate and the effective weights are discrete.

    Args:
        variables: float variables or tensors of any shapes.
        threshold: t, the absolute value from which on a weight costs nothing.

    Returns:
        A scalar tensor, (1/t) sum_v mean(max(min(-v, v) + t, 0)).

    Source: eqs 2.14 and 2.15 of the thesis.
    """
    means = [ops.mean(ops.maximum(ops.minimum(-v, v) + threshold, 0.0)) for v in variables]
    return sum(means[1:], means[0]) / threshold


@keras.saving.register_keras_serializable(package="inalu")
class NALU(keras.layers.Layer):
    """Dense layer that learns sums and differences, or products and quotients, of its inputs.

    For input x of I features and output o, with independent weights for both paths::

        W_a   = tanh(w_a) * sigmoid(m_a)                                  (2.6)
        W_m   = tanh(w_m) * sigmoid(m_m)                                  (2.7)
        a_o   = sum_i x_i W_a[i, o]                                       (2.8)
        m_o   = exp(min(sum_i ln(max(|x_i|, epsilon)) W_m[i, o], omega))  (2.9)
        msm   = sign(x_i) |W_m[i, o]| + 1 - |W_m[i, o]|                   (2.10)
        msv_o = prod_i msm[i, o]                                          (2.11)
        g_o   = sigmoid(G_o)                                              (2.12)
        y_o   = g_o a_o + (1 - g_o) m_o msv_o                             (2.13)

    The sum over i in 2.9, lost in the thesis' print, is that of the authors' code, which
    clips after it. The sign product follows 2.10 and 2.11 for any number of outputs; the
    authors' code pairs weights and inputs wrongly when there are several.

    The regulariser, eqs 2.14 and 2.15 over {w_a, m_a, w_m, m_m, g}, is one `add_loss` of
    every call; see `sparsity`.

    The inside is computed in float64 under a float64 policy and in float32 under every other
    one: exp of a sum of logs has no correct digit in half precision. Half precision outputs
    saturate at the largest finite value. For inputs of up to 1e30 in absolute value outputs
    are finite, and so are gradients wherever the dtype has float32's range.

    Args:
        units: O, the number of outputs, at least 1.
        clipping: omega, the largest exponent on the multiplicative path: products are capped
            at exp(omega).
        w_initializer, m_initializer, g_initializer: initial values of `w_*`, `m_*` and `g`:
            whatever `keras.initializers.get` takes. The defaults N(1, 0.1), N(-1, 0.1) and
            N(0, 0.1) are those of the authors' training scripts. A random initializer draws
            from the layer's own stream; a seed of its own is ignored, because it would make
            all draws of it equal.
        threshold: t of the regulariser.
        signed: whether products have the sign of 2.10 and 2.11, instead of none at all.
        seed: of the layer's stream of initial values, together with the layer's name, so
            that the layers of one model differ although they are given the same seed. By
            default it is drawn, repeatably after `keras.utils.set_random_seed`.
        **kwargs: of `keras.layers.Layer`.

    Attributes:
        w_a, m_a, w_m, m_m: (I, O) float variables.
        g: (O,) float variable, the gate.

    Input shape: (..., I) of any number dtype. Output shape: (..., O) in the policy's compute
    dtype.

    Raises:
        ValueError: units, clipping or threshold is out of range, or the number of input
            features is unknown when the layer is built.

    Source: section 2.3 of the thesis; Schlör, Ring and Hotho, "iNALU: Improved Neural
    Arithmetic Logic Unit", 2020.
    """

    def __init__(
        self,
        units: int,
        clipping: float = 20.0,
        *,
        w_initializer: Any = None,
        m_initializer: Any = None,
        g_initializer: Any = None,
        threshold: float = 20.0,
        signed: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        # Casting is done in `call`: Keras would round inputs and weights to half
        # precision before their logarithm is taken.
        super().__init__(autocast=False, **kwargs)
        self._inner_dtype = "float64" if self.compute_dtype == "float64" else "float32"
        limit = _MAX_CLIPPING[self._inner_dtype]
        if isinstance(units, bool) or not isinstance(units, int) or units < 1:
            raise ValueError(f"NALU: units is {units!r}, expected an integer of at least 1.")
        if not 0 < clipping <= limit:
            raise ValueError(
                f"NALU: clipping is {clipping!r}, expected a number above 0 and at most "
                f"{limit:g}, beyond which exp overflows {self._inner_dtype}."
            )
        if not (threshold > 0 and math.isfinite(threshold)):
            raise ValueError(f"NALU: threshold is {threshold!r}, expected a number above 0.")
        self.units = units
        self.clipping = float(clipping)
        self.threshold = float(threshold)
        self.signed = signed
        self.seed = seed
        self.w_initializer = _initializer(w_initializer, mean=1.0)
        self.m_initializer = _initializer(m_initializer, mean=-1.0)
        self.g_initializer = _initializer(g_initializer, mean=0.0)
        self.seed_generator = keras.random.SeedGenerator(_stream_seed(seed, self.name))
        self.supports_masking = True

    def build(self, input_shape: Sequence[int | None]) -> None:
        features = input_shape[-1] if len(input_shape) else None
        if features is None:
            raise ValueError(
                f"NALU: the last axis of the input must be known, its shape is {input_shape}."
            )
        for name, shape, initializer in self._weight_specs(features):
            weight = self.add_weight(
                name=name,
                shape=shape,
                initializer=self._from_stream(initializer),
                autocast=False,
            )
            setattr(self, name, weight)
        self.input_spec = keras.layers.InputSpec(min_ndim=1, axes={-1: features})

    def reinitialize(self) -> None:
        """Draw new values for all weights.

        Raises:
            ValueError: the layer has no weights yet.

        Source: section 2.3.2 and figure 6.5 of the thesis.
        """
        if not self.built:
            raise ValueError(f"NALU: {self.name} is not built, it has no weights to reinitialize.")
        for name, shape, initializer in self._weight_specs(self.w_a.shape[0]):
            weight = getattr(self, name)
            weight.assign(self._from_stream(initializer)(shape, dtype=weight.dtype))

    def call(self, inputs: Any) -> Any:
        """The layer's output for inputs (..., I): a tensor (..., O). Adds the regulariser."""
        x = ops.cast(inputs, self._inner_dtype)
        w_a, m_a, w_m, m_m, g = (
            ops.cast(v, self._inner_dtype) for v in (self.w_a, self.m_a, self.w_m, self.m_m, self.g)
        )
        # In the dtype of Keras losses, which it is added to.
        self.add_loss(
            ops.cast(sparsity((w_a, m_a, w_m, m_m, g), self.threshold), keras.config.floatx())
        )
        weights_a = ops.tanh(w_a) * ops.sigmoid(m_a)
        weights_m = ops.tanh(w_m) * ops.sigmoid(m_m)
        summed = ops.matmul(x, weights_a)
        exponent = ops.matmul(ops.log(ops.maximum(ops.abs(x), EPSILON)), weights_m)
        multiplied = ops.exp(ops.minimum(exponent, self.clipping))
        if self.signed:
            strength = ops.abs(weights_m)
            signs = ops.expand_dims(ops.sign(x), -1) * strength + (1.0 - strength)
            multiplied = multiplied * _product(signs)
        gate = ops.sigmoid(g)
        y = gate * summed + (1.0 - gate) * multiplied
        if self.compute_dtype != self._inner_dtype:
            largest = float(tf.as_dtype(self.compute_dtype).max)
            y = ops.cast(ops.clip(y, -largest, largest), self.compute_dtype)
        return y

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.units)

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

    def get_config(self) -> dict[str, Any]:
        serialize = keras.initializers.serialize
        return {
            **super().get_config(),
            "units": self.units,
            "clipping": self.clipping,
            "w_initializer": serialize(self.w_initializer),
            "m_initializer": serialize(self.m_initializer),
            "g_initializer": serialize(self.g_initializer),
            "threshold": self.threshold,
            "signed": self.signed,
            "seed": self.seed,
        }

    def _weight_specs(self, features: int) -> list[tuple[str, tuple[int, ...], Any]]:
        matrix = (features, self.units)
        return [
            ("w_a", matrix, self.w_initializer),
            ("m_a", matrix, self.m_initializer),
            ("w_m", matrix, self.w_initializer),
            ("m_m", matrix, self.m_initializer),
            ("g", (self.units,), self.g_initializer),
        ]

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


def _product(factors: Any) -> Any:
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


def _initializer(given: Any, mean: float) -> Any:
    if given is None:
        return keras.initializers.RandomNormal(mean, 0.1)
    return keras.initializers.get(given)


def _stream_seed(seed: int | None, name: str) -> int | None:
    if seed is None:
        return None
    digest = hashlib.blake2s(f"{seed}/{name}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
