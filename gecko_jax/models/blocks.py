"""The two orders of a block, shared by every architecture.

  "post":  layer -> [norm] -> activation         (float networks, BinaryConnect; BinaryNet with the identity)
  "xnor":  norm -> [sign] -> layer -> activation  (XNOR-Net; the sign is a quantization rule on the layer's input)

The norm is BatchNorm in these papers; for private training GroupNorm or LayerNorm (`normalization`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from gecko_jax import activations
from gecko_jax.activations import Activation
from gecko_jax.checks import one_of
from gecko_jax.models.normalization import apply_norm, kind_of
from gecko_jax.models.pooling import POOLS
from gecko_jax.types import Array

ORDERS = ("post", "xnor")


SHARED = ("order", "activation", "activation_options", "normalize")  # settings that an architecture hands to its blocks


def block_settings(architecture: nn.Module) -> dict[str, Any]:
    """Returns the settings of an architecture that all of its blocks share, {name: value}.

    Args:
      architecture: a module with the fields of SHARED.
    """
    return {name: getattr(architecture, name) for name in SHARED}


class Block(nn.Module):
    """One layer with its normalization, activation and pool.

    Attributes:
      layer: a Dense or Conv to call.
      order: "post" or "xnor".
      activation: a name of `gecko_jax.activations.ACTIVATIONS`.
      activation_options: its settings, {name: value}; None for the usual ones.
      normalize: "batch" (or True), "group", "layer" or False: what normalizes the layer's output in the order "post".
        The order "xnor" always normalizes before the layer, by BatchNorm if False.
      pool: side of the pool at the block's end, (side, stride) or (side, stride, padding), in pixels; 1 for none. In
        the order "post" with a norm it comes before the norm, as in BinaryNet: a pool of +-1 would almost always be +1.
      pooling: "max" or "average". Under encryption an average costs nothing, and a maximum cannot be computed.
      first: the first block of an "xnor" network, whose input is not normalized.
    """

    layer: nn.Module
    order: str = "post"
    activation: str = "relu"
    normalize: bool | str = False
    pool: int | tuple[int, ...] = 1
    pooling: str = "max"
    first: bool = False
    activation_options: Mapping[str, Any] | None = None

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns the block's outputs for x [b, ..., features]."""
        one_of("order", self.order, ORDERS)
        one_of("pooling", self.pooling, POOLS)
        activation, kind = activations.create(self.activation, self.activation_options), kind_of(self.normalize)
        if self.order == "xnor":
            if not self.first:
                x = apply_norm(x, train, kind or "batch")
            return self._activate_and_pool(activation, self.layer(x), train)
        x = self.layer(x)
        if kind:
            return activate(activation, apply_norm(self._pooled(x), train, kind), train)
        return self._activate_and_pool(activation, x, train)

    def _pooled(self, x: Array) -> Array:
        side, *rest = (self.pool,) if isinstance(self.pool, int) else self.pool
        return x if side == 1 else POOLS[self.pooling](x, side, *rest)

    def _activate_and_pool(self, activation: Activation, x: Array, train: bool) -> Array:
        """Returns pool(activation(x)); a monotone activation is applied after a max-pool, to fewer numbers."""
        if activation.monotone and self.pooling == "max":
            return activate(activation, self._pooled(x), train)
        return self._pooled(activate(activation, x, train))


def activate(activation: Activation, x: Array, train: bool) -> Array:
    """Calls an activation, with the training switch if it keeps statistics.

    Args:
      activation: as `activations.create` makes it.
      x: its inputs [..., channels].
      train: the training switch.
    """
    call: Callable[..., Array] = activation
    return call(x, train) if activation.switched else call(x)
