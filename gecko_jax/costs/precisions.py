"""The precision of a product's two factors, and the layer whose weights it reads.

A layer is identified by the parameters that a factor is computed from, whatever their names. A tied embedding, the
gates of an LSTM and a loop over layers are therefore counted where their weights lie.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import dtypes

from gecko_jax.costs.program import Forward, Product
from gecko_jax.models.removed_weights import STATES
from gecko_jax.models.trace import Call
from gecko_jax.types import Quantizer

FLOAT_BITS = 32


def type_bits(dtype: Any) -> int:
    """Returns the bits of one number of a type, or of one part of a complex one.

    >>> type_bits(jnp.bfloat16), type_bits(jnp.complex64), type_bits(jnp.int4), type_bits(bool)
    (16, 32, 4, 8)
    """
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.finfo(dtype).bits
    if jnp.issubdtype(dtype, jnp.integer):
        return jnp.iinfo(dtype).bits
    return 8 * (dtype.itemsize if jnp.issubdtype(dtype, dtypes.extended) else jnp.dtype(dtype).itemsize)


class Precisions:
    """Tells the bits of each product's factors under the quantization rules in force.

    Args:
      forward: the forward pass.
      calls: its layers, from `models.trace`.
      quantizers: {"Dense_0/kernel": its quantizer}, from `models.quantized.weight_quantizers`.
    """

    def __init__(self, forward: Forward, calls: list[Call], quantizers: dict[str, Quantizer]):
        self._forward, self._calls, self._quantizers = forward, {call.path: call for call in calls}, quantizers

    def parameters(self, product: Product) -> tuple[str, ...]:
        """Returns the names of the parameters that the weights are made of, "Dense_0/kernel"."""
        names = [self._owner(self._forward.names[i]) for i in sorted(product.weights or ())]
        params = [name.removeprefix("params/") for name in names if name.startswith("params/")]
        return tuple(dict.fromkeys(params)) or tuple(names)

    def _owner(self, name: str) -> str:
        """The leaf itself, or the weight whose quantizer learned it."""
        learned = f"params/{STATES}/weight:"
        if not name.startswith(learned):
            return name
        rest = name.removeprefix(learned)
        owners = (owner for owner in self._quantizers if rest == owner or rest.startswith(f"{owner}/"))
        return next((f"params/{owner}" for owner in owners), name)

    def layer(self, product: Product) -> str:
        """Returns the path of the layer that owns the weights, or the common part of several layers' paths."""
        owners = dict.fromkeys(name.rpartition("/")[0] for name in self.parameters(product))
        # What another module multiplies one layer's weights by (nn.WeightNorm) does not change whose they are.
        layers = [owner for owner in owners if owner in self._calls]
        paths = [owner.split("/") for owner in (layers or owners)]
        shared = 0
        while all(len(path) > shared for path in paths) and len({path[shared] for path in paths}) == 1:
            shared += 1
        return "/".join(paths[0][:shared])

    def weight_bits(self, product: Product) -> int:
        """Returns the bits of a weight: of its quantizer, else of its type; the most if several make up the factor."""
        quantizers = [self._quantizers.get(name) for name in self.parameters(product)]
        of_type = type_bits(product.weight_type)
        return max((min(q.bits, of_type) if q else of_type for q in quantizers), default=of_type)

    def input_bits(self, product: Product) -> int:
        """Returns the bits of the other factor: those of the layer's input quantizer, else of its type."""
        of_type = type_bits(product.input_type)
        call = self._calls.get(self.layer(product)) if product.weights is not None else None
        # Within the layer's own call alone: no rule quantizes what `Embed.attend` reads.
        if call is None or call.inputs is None or product.scope not in (None, call.path):
            return of_type
        return min(call.inputs.bits, of_type)

    def bits(self, product: Product) -> tuple[int, int]:
        """Returns (bits of a weight, bits of an input)."""
        return self.weight_bits(product), self.input_bits(product)

    def lookup_bits(self, call: Call) -> int:
        """Returns the bits of a weight of a layer that multiplies nothing."""
        if call.weight is not None and call.weight.codes is not None:
            return call.weight.bits
        owner = f"params/{call.path}".rstrip("/")
        leaves = (i for i, name in enumerate(self._forward.names) if name.rpartition("/")[0] == owner)
        return next((type_bits(self._forward.program.avals[i].dtype) for i in leaves), FLOAT_BITS)
