"""The keys and values of a prefix, and attention with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from gecko_jax.types import Array


class Prefix(nn.Module):
    """Holds the keys and values of one attention.

    Attributes:
      length, gated: see `prefix`.
      heads, key_width, value_width: of the attention.
    """

    length: int
    gated: bool
    heads: int
    key_width: int
    value_width: int

    @nn.compact
    def __call__(self) -> tuple[Array, Array, Array | None]:
        """Returns keys [length, heads, key_width], values [length, heads, value_width], and gates [heads] or None."""
        normal = nn.initializers.normal(1.0)  # as keys and values of normalized inputs are
        key = self.param("key", normal, (self.length, self.heads, self.key_width))
        value = self.param("value", normal, (self.length, self.heads, self.value_width))
        return key, value, self.param("gate", nn.initializers.zeros_init(), (self.heads,)) if self.gated else None


def attend(prefix_values: tuple[Any, Any, Any], attention: Callable[..., Array], *inputs: Any) -> Array:
    """Returns attention's values [b, t, heads, d] with a prefix.

    Args:
      prefix_values: what `Prefix` returns.
      attention: (query, key, value, mask) -> values.
      *inputs: query, key, value and mask as of `prefix`; the mask may be None.
    """
    (query, key, value, mask), (own_key, own_value, gate) = inputs, prefix_values
    own_key, own_value = (
        jnp.broadcast_to(each[None].astype(like.dtype), (like.shape[0], *each.shape))
        for each, like in ((own_key, key), (own_value, value))
    )
    if gate is not None:
        y = attention(query, key, value, mask)
        visible = None if mask is None else jnp.ones((1, 1, 1, 1), bool)
        weight = jnp.tanh(gate)[None, None, :, None].astype(y.dtype)
        return y + weight * attention(query, own_key, own_value, visible)
    if mask is not None:
        mask = jnp.broadcast_to(mask, (*mask.shape[:-1], key.shape[1]))
        mask = jnp.concatenate([jnp.ones((*mask.shape[:-1], own_key.shape[1]), bool), mask], axis=-1)
    key, value = (jnp.concatenate(pair, axis=1) for pair in ((own_key, key), (own_value, value)))
    return attention(query, key, value, mask)
