"""Transformers that give logits for each token: a causal decoder (GPT-2's form) and an encoder for masked tokens.

  x = embed(tokens) + positions;  for each block: x = x + attention(norm1(x)), x = x + mlp(norm2(x));
  logits = head(final_norm(x)), whose table is embed's own if tied

The module names are what path rules name: "embed", "positions", "block0/norm1", "block0/attention/query", "key",
"value", "product", "output", "block0/norm2", "block0/mlp/up", "down", "final_norm", "head" (absent if tied).
The attention's inner product is a submodule without parameters, so that an interceptor can add keys and values to it or
switch heads off.

Source: Vaswani et al. 2017, section 3.2 (attention); Radford et al. 2019, section 2.3 (norms before each part).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gecko_jax import activations
from gecko_jax.checks import in_range, integer, positive
from gecko_jax.models.blocks import activate
from gecko_jax.models.row_products import Dense
from gecko_jax.types import Array


class AttentionProduct(nn.Module):
    """Computes softmax(Q K^T / sqrt(d)) V for each head; it owns no parameters."""

    @nn.compact
    def __call__(self, query: Array, key: Array, value: Array, mask: Array) -> Array:
        """Returns values [b, t, h, d].

        Args:
          query: [b, t, h, d].
          key, value: [b, s, h, d].
          mask: bool, broadcastable to [b, h, t, s]; False hides a key from a query. A query that sees no key takes the
            average of all values.
        """
        one_row = len(query) == 1  # a loss of one example: an axis of length 1 beside vmap's is slow on a CPU
        if one_row:
            query, key, value, mask = query[0], key[0], value[0], mask[0] if mask.ndim == 4 else mask
        scores = jnp.einsum("...thd,...shd->...hts", query * query.shape[-1] ** -0.5, key)
        weights = jax.nn.softmax(jnp.where(mask, scores, jnp.finfo(scores.dtype).min), axis=-1)
        values = jnp.einsum("...hts,...shd->...thd", weights, value)
        return values[None] if one_row else values


class Attention(nn.Module):
    """Applies attention of several heads to a sequence.

    Attributes:
      heads: number of heads.
      head_width: width of each head.
      output_scale: variance of the output layer's initial weights, relative to the usual one.
    """

    heads: int
    head_width: int
    output_scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """Returns [b, t, width] for x [b, t, width] and a mask as of `AttentionProduct`."""
        dense = {name: Dense(self.heads * self.head_width, name=name) for name in ("query", "key", "value")}
        split = {name: layer(x).reshape(*x.shape[:2], self.heads, self.head_width) for name, layer in dense.items()}
        values = AttentionProduct(name="product")(**split, mask=mask)
        values = values.reshape(*x.shape[:2], self.heads * self.head_width)
        return Dense(x.shape[-1], kernel_init=_scaled(self.output_scale), name="output")(values)


class MLPBlock(nn.Module):
    """Applies two dense layers with an activation between them.

    Attributes:
      hidden: width between the layers.
      activation, activation_options: see `blocks.Block`.
      output_scale: as of `Attention`.
    """

    hidden: int
    activation: str = "gelu"
    activation_options: Mapping[str, Any] | None = None
    output_scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns [b, t, width] for x [b, t, width]."""
        activation = activations.create(self.activation, self.activation_options)
        hidden = activate(activation, Dense(self.hidden, name="up")(x), train)
        return Dense(x.shape[-1], kernel_init=_scaled(self.output_scale), name="down")(hidden)


class TransformerBlock(nn.Module):
    """Applies attention and an MLP, each to the normalized residual stream, and adds what they return.

    Attributes:
      heads: number of heads; a block without any, which pruning may leave, has the MLP alone.
      head_width, hidden: widths of a head, and between the MLP's layers.
      activation, activation_options: of the MLP; see `blocks.Block`.
      output_scale: as of `Attention`.
      norm_epsilon, dropout: as of `Transformer`.
    """

    heads: int
    head_width: int
    hidden: int
    activation: str = "gelu"
    activation_options: Mapping[str, Any] | None = None
    output_scale: float = 1.0
    norm_epsilon: float = 1e-5
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: Array, mask: Array, train: bool = False) -> Array:
        """Returns [b, t, width] for x [b, t, width] and a mask as of `AttentionProduct`."""
        drop = nn.Dropout(self.dropout, deterministic=not train)
        if self.heads:
            attention = Attention(self.heads, self.head_width, self.output_scale, name="attention")
            x = x + drop(attention(nn.LayerNorm(self.norm_epsilon, name="norm1")(x), mask))
        mlp = MLPBlock(self.hidden, self.activation, self.activation_options, self.output_scale, name="mlp")
        return x + drop(mlp(nn.LayerNorm(self.norm_epsilon, name="norm2")(x), train))


class Transformer(nn.Module):
    """Maps token rows to logits over the vocabulary at each position.

    Attributes:
      vocabulary: number of tokens.
      layers: number of blocks.
      width: of the residual stream.
      heads: attention heads of every block, or of each block, such as (4, 3, 0, 4) after pruning.
      head_width: of each head; None for width / heads.
      mlp_width: width between an MLP's layers; None for 4 width.
      max_length: the longest row, in tokens.
      causal: whether a position sees earlier positions alone. Otherwise it sees all that are not padding.
      tied: whether the head's table is the embedding's. A tied table is one parameter, "embed/embedding".
      activation, activation_options: of the MLPs; see `blocks.Block`.
      padding: the token that an encoder hides from attention. A causal model needs no mask, if padding is on the right.
      dropout: share dropped in training, after the embedding and after each part of a block.
      norm_epsilon: what the norms add to the variance; GPT-2's is 1e-5.
    """

    vocabulary: int
    layers: int = 4
    width: int = 128
    heads: int | tuple[int, ...] = 4
    head_width: int | None = None
    mlp_width: int | None = None
    max_length: int = 128
    causal: bool = True
    tied: bool = False
    activation: str = "gelu"
    activation_options: Mapping[str, Any] | None = None
    padding: int = 0
    dropout: float = 0.0
    norm_epsilon: float = 1e-5

    def __post_init__(self):
        for name in ("vocabulary", "layers", "width", "max_length"):
            integer(name, getattr(self, name), 1)
        for name in ("head_width", "mlp_width"):
            if getattr(self, name) is not None:
                integer(name, getattr(self, name), 1)
        integer("padding", self.padding, 0)
        in_range("dropout", self.dropout, 0, 0.99)
        positive("norm_epsilon", self.norm_epsilon)
        self.heads_of_blocks()
        super().__post_init__()

    def heads_of_blocks(self) -> tuple[tuple[int, ...], int]:
        """Returns the number of heads of each block, and the width of a head.

        Raises:
          ValueError: other than one number for each block, or a width that the heads do not divide.

        >>> Transformer(10, layers=2, width=8, heads=2).heads_of_blocks()
        ((2, 2), 4)
        """
        if not isinstance(self.heads, (tuple, list)):
            heads = (integer("heads", self.heads, 1),) * self.layers
            if self.head_width is None and self.width % self.heads:
                raise ValueError(f"width={self.width} must be a multiple of heads={self.heads}; or give head_width.")
            return heads, self.head_width or self.width // self.heads
        heads = tuple(integer("heads", number, 0) for number in self.heads)
        if len(heads) != self.layers or self.head_width is None:
            raise ValueError(
                f"heads={heads!r} with layers={self.layers}, head_width={self.head_width!r}: expected a number for "
                "each block, and head_width, because blocks of different numbers do not tell it."
            )
        return heads, self.head_width

    @nn.compact
    def __call__(self, tokens: Array, train: bool = False) -> Array:
        """Returns logits [b, t, vocabulary] for tokens int [b, t]; those of a row with a negative token are NaN."""
        tokens = self._checked(tokens)
        embed = nn.Embed(self.vocabulary, self.width, name="embed")
        # A negative index would count from the table's end: beyond the table, a look-up gives NaN.
        x = embed(jnp.where(tokens < 0, self.vocabulary, tokens))
        positions = nn.Embed(self.max_length, self.width, embedding_init=nn.initializers.normal(0.02), name="positions")
        x = x + positions(jnp.arange(tokens.shape[1]))[None]
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        mask = self._mask(tokens)
        heads_of_blocks, head_width = self.heads_of_blocks()
        settings = {
            "head_width": head_width,
            "hidden": self.mlp_width or 4 * self.width,
            "output_scale": 0.5 / self.layers,  # two layers of each block are added to the residual stream (GPT-2)
            **{name: getattr(self, name) for name in ("activation", "activation_options", "norm_epsilon", "dropout")},
        }
        for i, heads in enumerate(heads_of_blocks):
            x = TransformerBlock(heads, **settings, name=f"block{i}")(x, mask, train)
        x = nn.LayerNorm(self.norm_epsilon, name="final_norm")(x)
        if not self.tied:
            return Dense(self.vocabulary, use_bias=False, name="head")(x)
        return embed.attend(x.reshape(-1, self.width)).reshape(*x.shape[:2], self.vocabulary)  # as in `row_products`

    def _checked(self, tokens: Array) -> Array:
        if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise ValueError(
                f"tokens have shape {tokens.shape} and type {tokens.dtype}; a transformer takes integers [batch, "
                "length]. Turn text into token rows by a tokenizer of gecko_jax.datasets.text."
            )
        if tokens.shape[1] > self.max_length:
            raise ValueError(
                f"tokens have {tokens.shape[1]} positions; the transformer has max_length={self.max_length}. Cut the "
                "rows, or create it with a larger max_length."
            )
        return tokens.astype(jnp.int32)

    def _mask(self, tokens: Array) -> Array:
        if self.causal:
            return jnp.tril(jnp.ones((tokens.shape[1],) * 2, bool))[None, None]
        return (tokens != self.padding)[:, None, None]


class MaskedTransformer(Transformer):
    """Maps token rows to logits as `Transformer` does, each position seeing all others that are not padding."""

    causal: bool = False


def _scaled(scale: float) -> Any:
    return nn.initializers.variance_scaling(scale, "fan_in", "truncated_normal")
