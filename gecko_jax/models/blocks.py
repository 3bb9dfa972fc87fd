"""The two orders of a block, shared by every architecture.

  "post":  layer -> [norm] -> activation         (float networks, BinaryConnect; BinaryNet with the identity)
  "xnor":  norm -> [sign] -> layer -> activation  (XNOR-Net; the sign is a quantization rule on the layer's input)

The norm is BatchNorm in these papers; for private training GroupNorm or LayerNorm (`normalization`).
"""

from __future__ import annotations

import flax.linen as nn

from gecko_jax.activations import ACTIVATIONS
from gecko_jax.checks import lookup, one_of
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.models.pooling import max_pool
from gecko_jax.types import Array

ORDERS = ("post", "xnor")


class Block(nn.Module):
    """One layer with its normalization, activation and pool.

    Attributes:
      layer: a Dense or Conv to call.
      order: "post" or "xnor".
      activation: a name of `gecko_jax.activations.ACTIVATIONS`.
      normalize: "batch" (or True), "group", "layer" or False: what normalizes the layer's output in the order "post".
        The order "xnor" always normalizes before the layer, by BatchNorm if False.
      pool: side of a max-pool at the block's end, or 1. In the order "post" it comes before the norm, as in
        BinaryNet: a pool of +-1 would almost always be +1.
      first: the first block of an "xnor" network, whose input is not normalized.
    """

    layer: nn.Module
    order: str = "post"
    activation: str = "relu"
    normalize: bool | str = False
    pool: int = 1
    first: bool = False

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns the block's outputs for x [b, ..., features]."""
        one_of("order", self.order, ORDERS)
        activation, kind = lookup("activation", self.activation, ACTIVATIONS)(), kind_of(self.normalize)
        if self.order == "xnor":
            if not self.first:
                x = apply_norm(x, train, kind or "batch")
            return _activate_and_pool(activation, self.layer(x), self.pool)
        x = self.layer(x)
        if kind:
            return activation(apply_norm(max_pool(x, self.pool), train, kind))
        return _activate_and_pool(activation, x, self.pool)


def _activate_and_pool(activation: nn.Module, x: Array, side: int) -> Array:
    """Returns max_pool(activation(x)); a monotone activation is applied after the pool, to fewer numbers."""
    if getattr(activation, "monotone", False):
        return activation(max_pool(x, side))
    return max_pool(activation(x), side)
