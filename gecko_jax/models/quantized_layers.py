"""What a quantized model computes with: the quantizer, codes and grid of each weight and of each layer's inputs."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from gecko_jax.models.quantizer_states import Bypass, bypassing, check_measured, state_of, without_states
from gecko_jax.models.rules import weight_names
from gecko_jax.models.trace import trace, traced
from gecko_jax.trees import named_leaves
from gecko_jax.types import Array, Codes, Model, Quantizer, Variables


class Grid(NamedTuple):
    """The numbers that a layer's inputs are quantized to: (code - zero_point) * scale, lowest <= code <= highest.

    The code of an input x is clip(round(x / scale) + zero_point, lowest, highest), half to even. Of one bit without a
    zero, it is the sign: 1 if x >= 0, else -1.

    Attributes:
      scale: float32 (float64 for float64 inputs), an array without axes.
      zero_point: the code of the number 0.
      lowest, highest: the first and the last code.
      bits: of a code.
      name: of the quantizer.
    """

    scale: np.ndarray
    zero_point: int
    lowest: int
    highest: int
    bits: int
    name: str


def weight_quantizers(model: Model, variables: Variables, x: Array) -> dict[str, Quantizer]:
    """Returns the quantizer of each weight that the model's rules quantize, {"Dense_0/kernel": quantizer}.

    Each takes the weight as it is stored, whichever its axes are: `codes` and `apply` with the state
    params["quantizers"]["weight:" + name], or ().

    Args:
      model: a float or quantized model.
      variables, x: its variables and a batch of inputs [b, ...], or their shapes.

    Raises:
      ValueError: as of a call of the model.

    >>> import jax
    >>> from gecko_jax import models, quantizers
    >>> model, x = models.create("mlp", 3, hidden=()), jnp.ones((2, 4))
    >>> model = models.quantized(model, [(".*", quantizers.binary(), None)], float_layers=())
    >>> {name: each.name for name, each in weight_quantizers(model, model.init(jax.random.key(0), x), x).items()}
    {'logits/kernel': 'binary'}
    """
    return dict(model.weights(variables, x)) if model.weights else {}


def float_weights(model: Model, variables: Variables, x: Array) -> list[str]:
    """Returns the names of the weights that stay in float: of two axes or more, biases and normalizations left out.

    Args:
      model, variables, x: as of `weight_quantizers`.

    >>> import jax
    >>> from gecko_jax import models, quantizers
    >>> model = models.quantized(models.create("mlp", 3, hidden=(4, 4)), [("dense2", quantizers.xnor())])
    >>> x = jnp.ones((1, 5))
    >>> float_weights(model, model.init(jax.random.key(0), x), x)
    ['dense1/kernel', 'logits/kernel']
    """
    quantized_names = weight_quantizers(model, variables, x)
    params = without_states(variables)["params"]
    return [name for name in weight_names(traced(model, variables, x), params) if name not in quantized_names]


def weight_codes(model: Model, variables: Variables, x: Array) -> dict[str, Codes]:
    """Returns the codes of each quantized weight, {"Dense_0/kernel": Codes}.

    Args:
      model: a float or quantized model.
      variables: its variables.
      x: inputs [b, ...]; only shapes and types matter.

    Returns:
      `values` of the stored weight's own shape, and a scale that broadcasts against it. A weight whose quantizer has no
      codes (`identity`) is left out.

    Raises:
      ValueError: as of a call of the model.

    >>> import jax
    >>> from gecko_jax import models, quantizers
    >>> model, x = models.create("mlp", 3, hidden=()), jnp.ones((2, 4))
    >>> model = models.quantized(model, [(".*", quantizers.int8(), None)], float_layers=())
    >>> codes = weight_codes(model, model.init(jax.random.key(0), x), x)["logits/kernel"]
    >>> codes.values.shape, codes.scale.shape, codes.bits
    ((4, 3), (1, 3), 8)
    """
    leaves = dict(named_leaves(variables["params"]))
    return {
        name: quantizer.codes(state_of(quantizer, variables, f"weight:{name}", leaves[name]), leaves[name])
        for name, quantizer in weight_quantizers(model, variables, x).items()
        if quantizer.codes is not None
    }


def input_quantizers(model: Model, variables: Variables, x: Array) -> dict[str, Quantizer]:
    """Returns the quantizer of the inputs of each layer whose inputs the rules quantize, {"Dense_0": quantizer}.

    Args:
      model, variables, x: as of `weight_codes`; shapes will do.

    >>> import jax
    >>> from gecko_jax import models, quantizers
    >>> model, x = models.create("mlp", 3, hidden=()), jnp.ones((2, 4))
    >>> model = models.quantized(model, [(".*", None, quantizers.pact(4))], float_layers=())
    >>> {path: each.name for path, each in input_quantizers(model, model.init(jax.random.key(0), x), x).items()}
    {'logits': 'pact4'}
    """
    with bypassing(Bypass(inputs=True)):  # the variables may hold no states yet
        calls = trace(model, variables, x)
    return {call.path: call.inputs for call in calls if call.inputs is not None}


def input_grids(model: Model, variables: Variables, x: Array) -> dict[str, Grid]:
    """Returns the grid of the inputs of each layer whose inputs are quantized, {"Dense_0": Grid}.

    Args:
      model: a float or quantized model.
      variables: its variables, the ranges measured.
      x: inputs [b, ...]; only shapes and types matter.

    Raises:
      ValueError: a range that was never measured; a quantizer without codes, or whose codes are not integers.

    >>> import jax
    >>> from gecko_jax import models, quantizers
    >>> model, x = models.create("mlp", 3, hidden=()), jnp.ones((2, 4))
    >>> model = models.quantized(model, [(".*", None, quantizers.pact(8, level=2.55))], float_layers=())
    >>> grid = input_grids(model, model.init(jax.random.key(0), x), x)["logits"]
    >>> round(float(grid.scale), 4), grid.zero_point, grid.lowest, grid.highest
    (0.01, -128, -128, 127)
    """
    ends, grids = jnp.array([[-jnp.inf], [jnp.inf]], jnp.result_type(float)), {}
    for path, quantizer in input_quantizers(model, variables, x).items():
        if quantizer.codes is None:
            raise ValueError(f"the inputs of {path!r} are quantized by {quantizer.name!r}, which has no codes.")
        state = state_of(quantizer, variables, f"input:{path}", ends)
        check_measured(quantizer, state, path)
        codes = quantizer.codes(state, ends)
        if not jnp.issubdtype(codes.values.dtype, jnp.integer):
            raise ValueError(f"the inputs of {path!r}: the codes of {quantizer.name!r} are not integers.")
        lowest, highest = (int(value) for value in np.asarray(codes.values)[:, 0])
        scale = np.asarray(codes.scale).reshape(())
        grids[path] = Grid(scale, int(codes.zero_point), lowest, highest, codes.bits, quantizer.name)
    return grids
