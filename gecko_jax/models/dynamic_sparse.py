"""Model -> Model: a network that is sparse from its first step, and whose weights move to better places in training.

Every `interval` updates, each kernel loses the weakest share of its weights, and as many grow elsewhere at zero: at
random places (SET), or where the gradient of the loss is largest (RigL). No step trains more weights than are deployed.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax import checks
from gecko_jax.compression import DENSITIES, strongest, updated_if
from gecko_jax.hooks import with_collection
from gecko_jax.keys import stream
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.removed_weights import (
    DROP,
    GROWTH,
    MASKS,
    STATE,
    check_not_shared,
    check_path,
    check_zero_stays,
    kernels_at,
)
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Variables

DECAYS = {"random": None, "gradient": 0.0, "momentum": 0.9}  # growth -> weight of the older gradients in its score


def dynamic_sparse(
    model: Model,
    density: float = 0.1,
    growth: str = "random",
    interval: int = 100,
    distribution: str = "erk",
    path: str = "",
) -> Model:
    """Trains a network with a fixed number of weights, which are dropped and grown again elsewhere.

    The share of a kernel's weights that moves is a collection that a schedule sets, 0.3 if none does: as in RigL,
    schedules={"drop": compression.cosine_drop(0.3, 0.75)}. Weights that are absent have no gradient. For an optimizer
    that forgets a dropped weight as well: training.masked_momentum(optimizer).

    Args:
      model: any model with kernels, fresh.
      density: share of all the kernels' weights that are there, above 0 to 1.
      growth: "random" (SET), "gradient" (RigL) or "momentum" (a running mean of gradients, decay 0.9). The last two
        read the gradients of absent weights, which `training.batch_gradients` measures, and are refused in private
        training: what a clipped and noised gradient does not cover would choose the weights.
      interval: updates between two moves, at least 1.
      distribution: "erk" (see `compression.erdos_renyi`) or "even".
      path: a regular expression searched in the kernels' paths ("block1/conv1/kernel"): only these are sparse.

    Returns:
      A model with further collections; `without_pruning_state` removes them, and the absent weights stay zero. Each
      kernel has the same number of weights at every step.

    Raises:
      ValueError: settings out of range or unknown; at init, no kernel at the path, one with shared weights, or one
        whose quantizer makes another value of an absent weight.

    Source: Mocanu et al., "Scalable training of artificial neural networks with adaptive sparse connectivity", 2018
    (arXiv 1707.04780); Evci et al., "Rigging the lottery", ICML 2020 (arXiv 1911.11134), algorithm 1.

    >>> from gecko_jax import models
    >>> model, x = dynamic_sparse(models.create("mlp", 4, hidden=(8,)), density=0.25), jnp.ones((1, 8))
    >>> params = model.init(jax.random.key(0), x)["params"]
    >>> [int((params[layer]["kernel"] != 0).sum()) for layer in ("dense1", "logits")]  # of 64 and 32
    [14, 10]
    """
    checks.in_range("density", checks.positive("density", density), 0, 1)
    checks.one_of("growth", growth, DECAYS)
    interval = checks.integer("interval", interval, 1)
    share_out, decay = checks.lookup("distribution", distribution, DENSITIES), DECAYS[growth]
    expression = check_path(path)

    def counts(params: Any) -> dict[str, int]:
        kernels = kernels_at(expression, params)
        if not kernels:
            names = checks.listed((name for name, leaf in named_leaves(params) if leaf.ndim > 1), 20)
            raise ValueError(f"path={path!r} is found in no kernel's path. Kernels: {names}.")
        shares = share_out({name: leaf.shape for name, leaf in kernels.items()}, density)
        return {name: max(1, round(shares[name] * leaf.size)) for name, leaf in kernels.items()}

    def full_masks(variables: Variables) -> dict[str, Array]:
        return {name: jnp.ones(leaf.size, bool) for name, leaf in kernels_at(expression, variables["params"]).items()}

    def state(variables: Variables) -> dict[str, Array]:
        del variables
        return {"step": jnp.int32(0), "key": jnp.zeros(2, jnp.uint32), "decay": jnp.float32(decay or 0.0)}

    changed = with_collection(model, MASKS, full_masks)
    changed = with_collection(changed, DROP, lambda variables: {"share": jnp.float32(0.3)})
    changed = with_collection(changed, STATE, state)
    if decay is not None:
        changed = with_collection(
            changed, GROWTH, lambda variables: _zeros(kernels_at(expression, variables["params"]))
        )

    def init(key, x):
        variables = changed.init(key, x)
        check_not_shared(variables)
        names = model.weights(variables, x) if model.weights else ()
        numbers = counts(variables["params"])
        check_zero_stays([name for name in numbers if name in names], model.rules)
        draws = {name: stream(key, MASKS, name) for name in numbers}
        sizes = {name: mask.size for name, mask in variables[MASKS].items()}
        masks = {name: strongest(jax.random.uniform(draws[name], (sizes[name],)), numbers[name]) for name in numbers}
        seed = jax.random.bits(stream(key, STATE), (2,), jnp.uint32)
        fresh = {**variables, MASKS: masks, STATE: {**variables[STATE], "key": seed}}
        return {**fresh, "params": _masked(fresh["params"], masks)}

    def apply(variables, x, **options):
        if decay is None:  # else the gradients of absent weights are wanted, and `masked_slopes` takes them out
            variables = {**variables, "params": _masked(variables["params"], variables[MASKS])}
        return changed.apply(variables, x, **options)

    def move(variables: Variables, x: Array) -> Variables:
        del x
        now, masks = variables[STATE], variables[MASKS]
        step, drop = now["step"] + 1, variables[DROP]["share"]
        kernels = kernels_at(expression, variables["params"])
        key = jax.random.fold_in(jax.random.wrap_key_data(now["key"], impl="threefry2x32"), step)

        def scores(name: str) -> Array:
            if decay is not None:
                return jnp.abs(variables[GROWTH][name]).ravel()
            return jax.random.uniform(stream(key, name), masks[name].shape)

        def moved(masks):
            return {name: _moved(kernels[name].ravel(), mask, drop, scores(name)) for name, mask in masks.items()}

        new = updated_if((step % interval == 0) & (drop > 0), moved, dict(masks))
        present = {name: mask & new[name] for name, mask in masks.items()}
        params = _masked(variables["params"], present)
        return {**variables, "params": params, MASKS: new, STATE: {**now, "step": step}}

    sparse = changed._replace(init=init, apply=apply, after_update=(*changed.after_update, move))
    settings = {"density": density, "growth": growth, "interval": interval, "distribution": distribution, "path": path}
    return with_step(sparse, "dynamic_sparse", settings, before=model.blueprint)


def masked_slopes(variables: Variables, slopes: Any) -> tuple[Any, dict[str, Array]]:
    """Takes the gradients of absent weights out of a step, after they have been noted for the next growth.

    Args:
      variables: of a model that grows by gradients.
      slopes: the gradients of all weights, a tree shaped like the parameters.

    Returns:
      (the gradients of the weights that are there, the collection GROWTH after this step).
    """
    decay, before = variables[STATE]["decay"], variables[GROWTH]
    growth = {name: decay * before[name] + leaf for name, leaf in named_leaves(slopes) if name in before}
    return _masked(slopes, variables[MASKS]), growth


def _moved(weights: Array, mask: Array, drop: Array, scores: Array) -> Array:
    """Returns the mask after a move: as many weights as before.

    Args:
      weights, mask, scores: [n], of one kernel; the larger a score, the sooner a weight grows there.
      drop: share of the weights that move. A weight that is dropped and grown in the same move stays as it is.
    """
    count = jnp.sum(mask, dtype=jnp.int32)
    moving = jnp.floor(drop * count).astype(jnp.int32)
    stay = mask & strongest(jnp.where(mask, jnp.abs(weights), -1.0), count - moving)
    return stay | strongest(jnp.where(stay, -1.0, scores), moving)


def _masked(params: Any, masks: Any) -> Any:
    return map_named(
        lambda name, leaf: jnp.where(masks[name].reshape(leaf.shape), leaf, 0) if name in masks else leaf, params
    )


def _zeros(kernels: dict[str, Array]) -> dict[str, Array]:
    return {name: jnp.zeros_like(leaf) for name, leaf in kernels.items()}
