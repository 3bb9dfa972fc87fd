"""Compression as pure functions on arrays: which weights stay, how many of each layer, and which values they share.

  strongest          the exact k largest of some scores, without a sort
  erdos_renyi, even  densities of the layers of a sparse network
  cubic, cosine_drop schedules of sparsity, and of the share of weights that move
  cluster            a codebook of 2^bits centroids and the code of each weight
  gap_levels         where the weights of a sparse array lie, as gaps of a few bits

The transforms that train and deploy such networks are in `gecko_jax.models`, their files in `gecko_jax.integer`.
"""

from gecko_jax.compression.codebooks import MAX_CODEBOOK_BITS, REMOVED, cluster, look_up
from gecko_jax.compression.densities import DENSITIES, erdos_renyi, even
from gecko_jax.compression.gaps import MAX_GAP_BITS, gap_levels, mask_from_gaps, shortest_gap_bits
from gecko_jax.compression.schedules import cosine_drop, cubic
from gecko_jax.compression.selection import strongest, updated_if

__all__ = [
    "DENSITIES",
    "MAX_CODEBOOK_BITS",
    "MAX_GAP_BITS",
    "REMOVED",
    "cluster",
    "cosine_drop",
    "cubic",
    "erdos_renyi",
    "even",
    "gap_levels",
    "look_up",
    "mask_from_gaps",
    "shortest_gap_bits",
    "strongest",
    "updated_if",
]
