"""The Linen modules of the zoo: what layers alone do not show."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

CLASSES = 3
WIDE = 8  # two positions reach layers of this width: there the ghost norm is cheaper than the gradients


def flat(x):
    return x.reshape(len(x), -1)


def mean(x):
    return x.mean(axis=tuple(range(1, x.ndim - 1)))


class Attention(nn.Module):
    """A pre-norm transformer block on learnt positions."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(7, WIDE)(tokens) + self.param("positions", nn.initializers.normal(), (1, tokens.shape[1], WIDE))
        x = x + nn.MultiHeadDotProductAttention(num_heads=2, use_bias=False)(nn.LayerNorm()(x))
        x = x + nn.Dense(WIDE)(nn.gelu(nn.Dense(4 * WIDE)(nn.LayerNorm()(x))))
        return nn.Dense(CLASSES)(nn.LayerNorm()(x).mean(axis=1))


class Tied(nn.Module):
    """The input embedding is the output layer, too: logits over the vocabulary at the last position."""

    @nn.compact
    def __call__(self, tokens):
        table = nn.Embed(CLASSES, WIDE)
        return table.attend(nn.Dense(WIDE)(jnp.tanh(table(tokens))).mean(axis=1))


class Twice(nn.Module):
    """A dense layer and a convolution, each called twice."""

    @nn.compact
    def __call__(self, x):
        conv, dense = nn.Conv(2, (3,)), nn.Dense(WIDE)
        x = flat(jnp.tanh(conv(jnp.tanh(conv(x)))))
        return nn.Dense(CLASSES)(jnp.tanh(dense(jnp.tanh(dense(x)))))


class Bare(nn.Module):
    """Parameters of no layer, a scalar temperature among them."""

    @nn.compact
    def __call__(self, x):
        matrix = self.param("matrix", nn.initializers.normal(1.0), (2, x.shape[1], CLASSES))
        logits = jnp.einsum("bi,hij->bhj", x, matrix).prod(axis=1)
        return logits / jnp.exp(self.param("temperature", nn.initializers.zeros, ()))


class Standardized(nn.Module):
    """Weight-standardized convolution."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.normal(1.0), (3, 3, x.shape[-1], 4))
        axes = dict(axis=(0, 1, 2), keepdims=True)
        kernel = (kernel - kernel.mean(**axes)) * lax.rsqrt(kernel.var(**axes) + 1e-4)
        gain = self.param("gain", nn.initializers.ones, (1, 1, 1, 4))
        return lax.conv_general_dilated(x, kernel * gain, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


class Residual(nn.Module):
    """A pre-activation block of a wide residual network, GroupNorm in BatchNorm's place."""

    channels: int
    strides: int

    @nn.compact
    def __call__(self, x):
        y = nn.relu(nn.GroupNorm(2)(x))
        if x.shape[-1] != self.channels:
            x = nn.Conv(self.channels, (1, 1), self.strides, use_bias=False)(y)
        y = nn.Conv(self.channels, (3, 3), self.strides, use_bias=False)(y)
        return x + nn.Conv(self.channels, (3, 3), use_bias=False)(nn.relu(nn.GroupNorm(2)(y)))


class Layer(nn.Module):
    """One of several that are scanned over."""

    @nn.compact
    def __call__(self, x, _):
        return jnp.tanh(nn.Dense(WIDE)(x)), None


class Scanned(nn.Module):
    """nn.scan over three layers with stacked parameters."""

    @nn.compact
    def __call__(self, x):
        layers = nn.scan(Layer, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)()
        return nn.Dense(CLASSES)(layers(x, None)[0])
