"""Post-training quantization: the ranges of a network's inputs, measured on some rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.models.quantized_layers import input_quantizers, weight_quantizers
from gecko_jax.models.quantizer_states import Bypass, bypassing, has_state, put_states
from gecko_jax.surroundings import surroundings, traced_under
from gecko_jax.trees import named_leaves, row_blocks, take
from gecko_jax.types import Array, Model, Quantizer, Variables

ROWS_PER_CALL = 256
MAX_SAMPLED_VALUES = 2**18  # of a layer's inputs, evenly spaced, for percentiles and the least error
SHARES = tuple(number / 100 for number in range(100, 19, -1))  # of the range, that method="mse" tries


def calibrate(
    model: Model, variables: Variables, x: Any, method: str = "min_max", percentile: float = 99.9
) -> dict[str, Any]:
    """Sets the ranges, steps and levels of a quantized model's inputs from some rows, after training.

    The rows pass through the network with its quantized weights, its inputs in float. Every input quantizer whose grid
    follows a range (int8_input, int4_input, lsq_input, lsq_plus_input, pact) gets the grid of its layer's inputs.
    Weight quantizers that learn start from the trained weights, if the variables do not hold their state yet: for
    post-training quantization take lsq(bits, per_channel=True, start="mse").

    The result depends on x. In private training x must be public: nothing here is noised.

    Args:
      model: a quantized model.
      variables: its own, or those of the float network that it quantizes.
      x: inputs [n, ...], any pytree; some hundred rows will do.
      method: "min_max": from the smallest to the largest number; "percentile": without the numbers beyond the
        percentile at either end; "mse": of 81 shares of the first range, that whose grid has the least squared error.
      percentile: of method="percentile", in (50, 100).

    Returns:
      The variables with the states set. All else stays as it is.

    Raises:
      ValueError: a model without rules, an unknown method, no rows, inputs that are not finite.

    Source: Nagel et al., "A White Paper on Neural Network Quantization", 2021 (arXiv 2106.08295), section 3.1.

    >>> from gecko_jax import models, quantizers
    >>> net, x = models.create("mlp", 2, hidden=(3,)), np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    >>> model = models.quantized(net, [("", quantizers.int8(), quantizers.int8_input())], float_layers=())
    >>> variables = calibrate(model, net.init(jax.random.key(0), x), x)
    >>> float(variables["quantizer_ranges"]["input:dense1"]["low"])
    -1.0
    """
    checks.lookup("method", method, _METHODS)
    if not 50 < percentile < 100:
        raise ValueError(f"percentile={percentile!r} must lie between 50 and 100, such as 99.9.")
    count = len(jax.tree.leaves(x)[0])
    checks.not_empty("x", jax.tree.leaves(x)[0])
    if not model.rules:
        raise ValueError("model is not quantized: pass models.quantized(model, rules), whose inputs have grids.")
    variables = with_weight_states(model, variables, take(x, slice(0, 1)))
    following = {
        path: quantizer
        for path, quantizer in input_quantizers(model, variables, take(x, slice(0, 1))).items()
        if quantizer.from_range is not None
    }
    if not following:
        return variables
    record = _recorder(model, count)
    blocks = [record(variables, take(x, rows)) for rows in row_blocks(count, ROWS_PER_CALL)]
    states = {}
    for path, quantizer in following.items():
        low, high = (np.asarray([block[path][end] for block in blocks]) for end in (0, 1))
        checks.finite(f"the inputs of {path!r} on x", np.stack([low, high]))
        sample = np.concatenate([np.asarray(block[path][2]) for block in blocks])
        ends = _METHODS[method](quantizer, low.min(), high.max(), sample, percentile)
        assert quantizer.from_range is not None
        states[f"input:{path}"] = quantizer, quantizer.from_range(*map(jnp.asarray, ends))
    return put_states(variables, states)


def with_weight_states(model: Model, variables: Variables, x: Any) -> dict[str, Any]:
    """Returns the variables with the state of each weight quantizer that learns, if absent, started from the weights.

    Args:
      model: a quantized model.
      variables: its own, or those of the float network.
      x: inputs [b, ...]; only shapes and types matter.
    """
    leaves, states = dict(named_leaves(variables["params"])), {}
    for name, quantizer in weight_quantizers(model, variables, x).items():
        if not has_state(quantizer, variables, f"weight:{name}"):
            states[f"weight:{name}"] = quantizer, jax.jit(quantizer.init)(leaves[name])
    return put_states(variables, states)


def _recorder(model: Model, count: int) -> Callable[[Variables, Any], dict[str, tuple[Array, Array, Array]]]:
    """Returns (variables, rows) -> {path: (smallest, largest, some of the numbers)} of calibrated inputs."""

    @jax.jit
    def run(variables, rows):
        recorded: dict[str, tuple[Array, Array, Array]] = {}

        def record(path: str, x: Array) -> None:
            x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
            values = x.reshape(-1)[:: _stride(x, count)]
            low, high = jnp.min(x), jnp.max(x)
            if path in recorded:  # a layer that is called twice
                before = recorded[path]
                low, high = jnp.minimum(low, before[0]), jnp.maximum(high, before[1])
                values = jnp.concatenate([before[2], values])
            recorded[path] = low, high, values

        with bypassing(Bypass(record=record)), traced_under(surroundings()):
            model.apply(variables, rows)
        return recorded

    return run


def _stride(x: Array, count: int) -> int:
    """Returns how far apart sampled numbers lie; it shares no factor with the shape, so that all channels are seen."""
    stride = max(1, x.size // x.shape[0] * count // MAX_SAMPLED_VALUES)
    while math.gcd(stride, x.size) > 1:
        stride += 1
    return stride


def _min_max(quantizer: Quantizer, low: float, high: float, sample: np.ndarray, percentile: float) -> tuple:
    del quantizer, sample, percentile
    return low, high


def _percentile(quantizer: Quantizer, low: float, high: float, sample: np.ndarray, percentile: float) -> np.ndarray:
    del quantizer, low, high
    return np.percentile(sample, [100 - percentile, percentile])


def _least_error(quantizer: Quantizer, low: float, high: float, sample: np.ndarray, percentile: float) -> tuple:
    del percentile
    from_range = quantizer.from_range
    assert from_range is not None

    @jax.jit
    def error(share, values):
        state = from_range(share * low, share * high)
        return jnp.mean((quantizer.apply(state, values) - values) ** 2)

    values = jnp.asarray(sample)[:, None]
    share = SHARES[int(np.argmin([float(error(share, values)) for share in SHARES]))]
    return share * low, share * high


_METHODS: dict[str, Callable[..., Any]] = {"min_max": _min_max, "percentile": _percentile, "mse": _least_error}
