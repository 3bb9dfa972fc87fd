"""HerPN: the Hermite polynomials of ReLU's expansion, each normalized over the batch (Park et al. 2022)."""

from __future__ import annotations

import functools
import math
from typing import ClassVar

import flax.linen as nn
import numpy as np

from gecko_jax.activations.activation import Activation, over_channels
from gecko_jax.types import Array, Variables

MOMENTUM, EPSILON = 0.9, 1e-4
FIRST, SECOND = 0.5, 1 / math.sqrt(4 * math.pi)  # ReLU's coefficients of h_1 and h_2; that of h_0 goes into beta


class HerPN(Activation):
    """Computes gamma (f_1 BN(x) + f_2 BN((x^2 - 1) / sqrt 2)) + beta, with f_1 = 1/2 and f_2 = 1 / sqrt(4 pi).

    BN normalizes each channel of each basis over the batch. In evaluation it takes its running statistics, and the
    activation is one quadratic a channel (`coefficients`). It replaces a layer's BatchNorm and ReLU together:
    take normalize=False beside it, or "batch". Private training refuses it, as it refuses BatchNorm.

    Source: Park et al., "AESPA: Accuracy Preserving Low-degree Polynomial Activation for Fast Private Inference", 2022
    (arXiv 2201.06699), section 4.

    >>> import jax, jax.numpy as jnp
    >>> x = jnp.array([[1.0], [3.0]])
    >>> variables = HerPN().init(jax.random.key(0), x)
    >>> HerPN().coefficients(variables).round(3).ravel().tolist()
    [-0.199, 0.5, 0.199]
    """

    polynomial: ClassVar[bool] = True
    switched: ClassVar[bool] = True

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns the normalized expansion of x; `train` takes this batch's statistics."""
        shape = (x.shape[-1],)
        gamma = over_channels(self.param("gamma", nn.initializers.ones, shape), x)
        beta = over_channels(self.param("beta", nn.initializers.zeros, shape), x)

        norm = functools.partial(
            nn.BatchNorm, not train, momentum=MOMENTUM, epsilon=EPSILON, use_bias=False, use_scale=False
        )
        first = norm(name="first")(x)
        second = norm(name="second")((x * x - 1) * (1 / math.sqrt(2)))
        return gamma * (FIRST * first + SECOND * second) + beta

    def coefficients(self, variables: Variables) -> np.ndarray:
        """Returns (c, b, a) of each channel, with the running statistics."""
        if "batch_stats" not in variables:
            raise ValueError(
                f"variables have the collections {sorted(variables)} and no batch_stats, whose running statistics the "
                "coefficients depend on. Pass all variables of the layer, not its parameters alone."
            )
        params, statistics = variables["params"], variables["batch_stats"]
        gamma, beta = (np.asarray(params[name], np.float64) for name in ("gamma", "beta"))
        scale, mean = {}, {}
        for name, factor in (("first", FIRST), ("second", SECOND)):
            measured = {key: np.asarray(leaf, np.float64) for key, leaf in statistics[name].items()}
            scale[name], mean[name] = gamma * factor / np.sqrt(measured["var"] + EPSILON), measured["mean"]
        a = scale["second"] / math.sqrt(2)
        c = beta - scale["first"] * mean["first"] - scale["second"] * mean["second"] - a
        return np.stack([c, scale["first"], a])
