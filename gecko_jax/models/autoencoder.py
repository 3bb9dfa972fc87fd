"""MLPerf Tiny's dense autoencoder: what it reconstructs badly is unlike what it was trained on."""

from __future__ import annotations

import math

import flax.linen as nn

from gecko_jax.models.mlp import MLP
from gecko_jax.types import Array


class FCAutoencoder(MLP):
    """Applies 10 dense layers through 8 numbers: 267,928 parameters for 640 inputs.

    The published 269,992 also count 2,064 statistics of BatchNorm. It is the `MLP` of these
    widths, with as many outputs as inputs. Train it by `losses.squared_error` on y = x.

    Attributes:
      num_classes: numbers of an input, which the outputs reconstruct.
      hidden: widths of the hidden layers.
      normalize: "batch", as published, "group" for private training, ...; see `blocks.Block`.
      order, activation, activation_options: see `blocks.Block`.

    Source: Banbury et al., "MLPerf Tiny benchmark", NeurIPS 2021 (arXiv 2106.07597), after DCASE 2020, task 2.
    """

    hidden: tuple[int, ...] = (128, 128, 128, 128, 8, 128, 128, 128, 128)
    normalize: bool | str = "batch"

    @nn.compact
    def __call__(self, x: Array, train: bool = False) -> Array:
        """Returns reconstructions [b, features] of x [b, ...], which is flattened."""
        features = math.prod(x.shape[1:])
        if features != self.num_classes:
            raise ValueError(
                f"x has shape {x.shape}, {features} numbers for each example, but num_classes={self.num_classes}: an "
                f'autoencoder has as many outputs as inputs. Write models.create("fc_autoencoder", {features}), or '
                'take an "mlp" to predict something else.'
            )
        return super().__call__(x, train)
