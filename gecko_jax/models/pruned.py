"""Model -> Model: the same network without the groups of weights that cost encrypted inference its time and memory."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gecko_jax import checks
from gecko_jax.compression import strongest
from gecko_jax.hooks import finish_update, with_collection
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.pruning_groups import GRANULARITIES, group_numbers, kept_groups
from gecko_jax.models.removed_weights import (
    MASKS,
    SHARE,
    check_finite,
    check_not_shared,
    check_path,
    check_start,
    check_zero_stays,
    kernels_at,
    without_training_state,
)
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Variables


def pruned(model: Model, share: float = 0.6, granularity: str = "band", path: str = "", tile: int = 8) -> Model:
    """Removes the weakest groups of each kernel's weights after each update of training, and keeps them at zero.

    What encrypted inference skips is a whole diagonal or tile of a matrix, not a single weight; see `pruning_groups`
    for what each granularity saves. The share that is removed is a collection that a schedule may raise during
    training, as gradual magnitude pruning does: schedules={"pruning": compression.cubic(0.1, 0.75, 0, 0.9)}. A group
    that is removed does not come back. `prune_once` removes all at once from a trained network, for retraining.

    Args:
      model: any model with kernels, fresh or trained already, `training.fit(..., init=variables)`. Bands and diagonals
        want a larger learning rate than the whole network, because what is left has to take over.
      share: of each kernel's groups to remove, if no schedule says otherwise.
      granularity: "band" (adjacent diagonals stay), "diagonal", "tile" or "weight". The first three prune kernels of
        two axes; those of convolutions stay whole.
      path: a regular expression searched in the kernels' paths ("block1/dense1/kernel"): only these are pruned.
      tile: side of a tile, in weights.

    Returns:
      A model whose variables hold two collections more; `without_pruning_state` removes them, and the weights stay
      zero. It computes what the model computes.

    Raises:
      ValueError: a share outside 0 to 1 (1 excluded), an unknown granularity, an invalid expression, a tile below 1; at
        init, no kernel to prune, one with shared weights, or one whose quantizer makes another value of a removed
        weight (binary ones do).

    Source: Zhu & Gupta, 2017 (arXiv 1710.01878), for granularity "weight" with a rising share; Aharoni et al., "HE-PEx:
    Efficient Machine Learning under Homomorphic Encryption using Pruning, Permutation and Expansion", 2022 (arXiv
    2207.03384), for the others.

    >>> from gecko_jax import models
    >>> from gecko_jax.hooks import finish_update
    >>> model, x = pruned(models.create("mlp", 4, hidden=(8,)), share=0.75), jnp.ones((1, 8))
    >>> variables = finish_update(model, model.init(jax.random.key(0), x), x)
    >>> [int((leaf != 0).sum()) for leaf in (variables["params"]["dense1"]["kernel"],)]  # 2 of 8 diagonals of 8 weights
    [16]
    """
    checks.one_of("granularity", granularity, GRANULARITIES)
    if not 0 <= checks.at_least("share", share, 0) < 1:
        raise ValueError(f"share={share!r} must be at least 0 and below 1: the share of weights to remove.")
    tile = checks.integer("tile", tile, 1)
    expression = check_path(path)

    def kernels(params: Any) -> dict[str, Array]:
        chosen = kernels_at(expression, params)
        return {name: leaf for name, leaf in chosen.items() if granularity == "weight" or leaf.ndim == 2}

    def start_masks(variables: Variables) -> dict[str, Array]:
        leaves = kernels(variables["params"])
        if not leaves:
            raise ValueError(
                f"no kernel can be pruned by granularity={granularity!r} at path={path!r}. Kernels: "
                f"{checks.listed((name for name, leaf in named_leaves(variables['params']) if leaf.ndim > 1), 20)}; "
                'those of convolutions take granularity="weight".'
            )
        groups = {name: group_numbers(leaf.shape, granularity, tile)[1] for name, leaf in leaves.items()}
        return {name: jnp.ones(count, bool) for name, count in groups.items()}

    def prune(variables: Variables, x: Array) -> Variables:
        del x
        masks, share_now, weights = {}, variables[SHARE]["share"], {}
        for name, kernel in kernels(variables["params"]).items():
            groups, count = group_numbers(kernel.shape, granularity, tile)
            single = granularity == "weight"  # the groups are the weights then
            wide = kernel.astype(jnp.promote_types(kernel.dtype, jnp.float32)).ravel()  # float16 has no small squares
            energy = jnp.square(wide)
            energy = energy if single else jax.ops.segment_sum(energy, groups.ravel(), count)
            masks[name] = kept_groups(energy, variables[MASKS][name], share_now, granularity == "band")
            present = masks[name].reshape(kernel.shape) if single else masks[name][groups]
            weights[name] = jnp.where(present, kernel, 0)
        params = map_named(lambda name, leaf: weights.get(name, leaf), variables["params"])
        return {**variables, "params": params, MASKS: masks}

    def init(key, x):
        variables = model.init(key, x)
        check_not_shared(variables)
        names = model.weights(variables, x) if model.weights else ()
        check_zero_stays([name for name in kernels(variables["params"]) if name in names], model.rules)
        return variables

    changed = with_collection(model._replace(init=init), MASKS, start_masks)
    changed = with_collection(changed, SHARE, lambda variables: {"share": jnp.float32(share)})
    changed = changed._replace(after_update=(*changed.after_update, prune))
    settings = {"share": share, "granularity": granularity, "path": path, "tile": tile}
    return with_step(changed, "pruned", settings, before=model.blueprint)


def prune_once(model: Model, variables: Variables, x: Array, std: float | None = None) -> dict[str, Any]:
    """Removes the weights of a trained network at once, which `fit(model, ..., init=...)` then retrains.

    Of several networks with a leading axis: jax.vmap(lambda each: prune_once(model, each, x))(variables).

    Args:
      model: `pruned(network, share, ...)`, possibly transformed further; its `share` says how many are removed.
      variables: of the network, trained; or of the network pruned before, with the same granularity and another share,
        whose removed weights stay removed.
      x: inputs [b, ...]; only shapes and types matter.
      std: remove each weight not above `std` times the standard deviation of its kernel's weights, before what the
        share removes, with std at least 0 and so small that each kernel keeps a weight (inside jax.vmap, where the
        values are not known, the largest one stays); the model is then pruned(network, share=0.0,
        granularity="weight"). 0.0 marks the weights that are 0 already as removed, so that they are stored sparse.
        None: the share alone decides.

    Returns:
      Variables of `model`: the network's, the removed weights at zero, and the masks.

    Raises:
      ValueError: a model that `pruned` was not put on; variables that it does not have, or not all of its network, or
        that hold NaN or infinity; a `std` below 0, one that would empty a kernel, or one with other granularities than
        "weight".

    Source: Han et al., 2015 (arXiv 1506.02626): prune and retrain, the threshold `std` times a layer's deviation.

    >>> from gecko_jax import models
    >>> network, x = models.create("mlp", 4, hidden=(8,)), jnp.ones((1, 8))
    >>> trained = network.init(jax.random.key(0), x)
    >>> start = prune_once(pruned(network, 0.75, "weight"), trained, x)
    >>> int((start["params"]["dense1"]["kernel"] != 0).sum())
    16
    """
    fresh = model.init(jax.random.key(0), x)
    if MASKS not in fresh or SHARE not in fresh:
        raise ValueError("model is not pruned: pass pruned(network, share, ...), and the network's variables.")
    leaves = dict(named_leaves({name: tree for name, tree in variables.items() if name != SHARE}))
    check_start(variables, dict(named_leaves(fresh)))
    start = map_named(lambda name, leaf: leaves.get(name, leaf), fresh)
    weights = dict(named_leaves(start["params"]))
    check_finite({name: weights[name] for name in fresh[MASKS]})
    if std is not None:
        checks.in_range("std", std, 0, math.inf)
        if any(mask.size != weights[name].size for name, mask in fresh[MASKS].items()):
            raise ValueError(f'std={std!r} removes single weights; the model prunes groups. Take "weight".')
        start[MASKS] = {name: _above(name, weights[name], std) for name in fresh[MASKS]}
    return dict(finish_update(model, start, x))


def _above(name: str, kernel: Array, std: float) -> Array:
    """Returns which weights are above `std` standard deviations, bool [size]; some are, unless all are 0."""
    size = jnp.abs(kernel).ravel()
    mask = size > std * jnp.std(kernel)
    emptied = ~mask.any() & (size > 0).any()
    if isinstance(emptied, Tracer):  # of several networks at once, whose values are not known: the largest one stays
        return jnp.where(emptied, strongest(size, 1), mask)
    if emptied:
        raise ValueError(
            f"std={float(std):g} would remove all weights of {name}, the largest of which is {float(size.max()):.3g}; "
            f"their standard deviation is {float(jnp.std(kernel)):.3g}. Pass a std below "
            f"{float(size.max() / jnp.std(kernel)):.3g}."
        )
    return mask


def at_zero(variables: Variables, params: Any) -> Any:
    """Returns other parameters with those at zero that pruning has removed from the model's own, such as an average.

    Args:
      variables: of a pruned model, or of any other.
      params: of the same structure.

    >>> import numpy as np
    >>> at_zero({"params": {"kernel": np.zeros(2)}, "pruning_masks": {"kernel": np.zeros(1)}}, {"kernel": np.ones(2)})
    {'kernel': array([0., 0.])}
    """
    pruned_kernels = variables.get(MASKS, {})
    removed = {name: leaf == 0 for name, leaf in named_leaves(variables["params"]) if name in pruned_kernels}
    return map_named(lambda name, leaf: leaf * ~removed[name] if name in removed else leaf, params)


def without_pruning_state(variables: Variables) -> dict[str, Any]:
    """Returns the variables of the model that `pruned` or `dynamic_sparse` was put on, the removed weights zero.

    Args:
      variables: of a pruned or sparse model, or of any other.

    >>> without_pruning_state({"params": {}, "pruning": {"share": 0.6}})
    {'params': {}}
    """
    return without_training_state(variables)
