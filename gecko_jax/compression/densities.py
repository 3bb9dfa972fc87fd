"""How many weights each layer of a sparse network has, if the network as a whole has a given share of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from gecko_jax import checks

Shapes = Mapping[str, tuple[int, ...]]


def even(shapes: Shapes, density: float) -> dict[str, float]:
    """Gives every kernel the same density.

    Args:
      shapes: {name: shape} of the kernels.
      density: share of the weights that are there, above 0 to 1.

    Raises:
      ValueError: a density out of range, or a kernel without a weight.

    >>> even({"dense1": (10, 10), "dense2": (10, 5)}, 0.2)
    {'dense1': 0.2, 'dense2': 0.2}
    """
    _check(shapes, density)
    return dict.fromkeys(shapes, density)


def erdos_renyi(shapes: Shapes, density: float) -> dict[str, float]:
    """Gives kernels densities in proportion to the sum of their axes over their product (Erdos-Renyi-Kernel, ERK).

      density_l = scale (inputs + outputs + height + width) / (inputs outputs height width), at most 1

    Small kernels are denser. `scale` is such that all kernels together have the wanted density; a kernel whose density
    would exceed 1 is full, and the others share the rest.

    Args:
      shapes: {name: shape} of the kernels, [in, out] or [height, width, in, out].
      density: share of all weights that are there, above 0 to 1.

    Returns:
      {name: density}; the sum of density * size over the kernels is the wanted number of weights.

    Raises:
      ValueError: a density out of range, or a kernel without a weight.

    Source: Evci et al., "Rigging the lottery", ICML 2020 (arXiv 1911.11134), section 3; for two axes it is that of
    Mocanu et al., 2018 (SET).

    >>> {name: round(share, 3) for name, share in erdos_renyi({"dense1": (100, 100), "dense2": (100, 10)}, 0.2).items()}
    {'dense1': 0.142, 'dense2': 0.781}
    """
    _check(shapes, density)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    ratios = {name: sum(shape) / math.prod(shape) for name, shape in shapes.items()}
    full: set[str] = set()
    while len(full) < len(sizes):
        wanted = density * sum(sizes.values()) - sum(sizes[name] for name in full)
        scale = wanted / sum(ratios[name] * size for name, size in sizes.items() if name not in full)
        crowded = {name for name, ratio in ratios.items() if name not in full and scale * ratio > 1}
        if not crowded:
            return {name: 1.0 if name in full else float(np.clip(scale * ratios[name], 0, 1)) for name in sizes}
        full.add(max(crowded, key=lambda name: ratios[name]))
    return dict.fromkeys(sizes, 1.0)


def _check(shapes: Shapes, density: float) -> None:
    checks.in_range("density", checks.positive("density", density), 0, 1)
    for name, shape in shapes.items():
        checks.sizes(f"shapes[{name!r}]", checks.not_empty(f"shapes[{name!r}]", shape), "the axes of a kernel")


DENSITIES: dict[str, Callable[[Shapes, float], dict[str, float]]] = {"erk": erdos_renyi, "even": even}
