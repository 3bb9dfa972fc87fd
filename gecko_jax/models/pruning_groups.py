"""Groups of a kernel's weights that encrypted inference can leave out together, and which of them to keep.

A ciphertext multiplies a vector by a matrix diagonal by diagonal: y = sum over d of diagonal_d * rotate(x, d). Of a
kernel [in, out] the weight (i, o) lies on diagonal (i - o) mod m, with m the power of two from min(in, out) on. A
diagonal costs one product and one encoded plaintext; adjacent diagonals share their rotations; with a ciphertext for
each feature every single weight costs one product.

  granularity   a group                          what is kept                  saves
  "band"        a diagonal                       adjacent diagonals            products, memory, rotations
  "diagonal"    a diagonal                       the strongest diagonals       products, memory
  "tile"        tile x tile weights              the strongest tiles           ciphertexts of large layers, products
  "weight"      a weight, of convolutions, too   the strongest weights         slot = sample: products, memory
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.compression import strongest, updated_if
from gecko_jax.types import Array

GRANULARITIES = ("band", "diagonal", "tile", "weight")


def group_numbers(shape: tuple[int, ...], granularity: str, tile: int) -> tuple[np.ndarray, int]:
    """Numbers the groups of a kernel's weights.

    Args:
      shape: of the kernel, [in, out]; any with single weights.
      granularity: one of GRANULARITIES.
      tile: side of a tile.

    Returns:
      The group of each weight, int32 of that shape, and how many groups there are.

    >>> group_numbers((4, 2), "diagonal", 1)[0].tolist()
    [[0, 1], [1, 0], [0, 1], [1, 0]]
    """
    if granularity == "weight":
        return np.arange(np.prod(shape), dtype=np.int32).reshape(shape), int(np.prod(shape))
    rows, columns = np.arange(shape[0], dtype=np.int32)[:, None], np.arange(shape[1], dtype=np.int32)[None]
    if granularity == "tile":
        across = -(-shape[1] // tile)
        return rows // tile * across + columns // tile, -(-shape[0] // tile) * across
    count = 1 << (min(shape) - 1).bit_length()
    return (rows - columns) % count, count


def kept_groups(energy: Array, mask: Array, share: Array, band: bool) -> Array:
    """Chooses the groups that stay.

    Args:
      energy: [groups], the sum of the squares of their weights.
      mask: bool [groups], those that are still there; none of the others comes back.
      share: of all groups, to remove.
      band: keep adjacent groups, modulo their number, instead of the strongest.

    Returns:
      bool [groups]; at least one stays.

    >>> kept_groups(jnp.array([4.0, 1.0, 3.0, 2.0]), jnp.ones(4, bool), 0.5, False).tolist()
    [True, False, True, False]
    >>> kept_groups(jnp.array([4.0, 1.0, 3.0, 2.0]), jnp.ones(4, bool), 0.5, True).tolist()
    [True, False, False, True]
    """
    count = len(energy)
    stay = jnp.clip(jnp.round((1 - share) * count), 1, count).astype(jnp.int32)
    energy = jnp.where(mask, energy, -1)
    if not band:  # nothing is selected if no more groups are there than may stay: in most steps of a training
        many = jnp.sum(mask, dtype=jnp.int32) > stay
        return updated_if(many, lambda mask: mask & strongest(energy, stay), mask)
    places = jnp.arange(count)
    sums = jnp.concatenate([jnp.zeros(1), jnp.cumsum(jnp.concatenate([energy, energy]))])
    start = jnp.argmax(jax.lax.dynamic_slice_in_dim(sums, stay, count) - sums[:count])
    return mask & ((places - start) % count < stay)
