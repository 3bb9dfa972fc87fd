"""A running average of the parameters, kept beside them during training and evaluated in their place.

    model = models.create("lenet", 10)
    trained = training.fit(training.with_average(model, 0.999), data)
    logits = training.predict(model, training.averaged(trained.variables), x)

The last iterate of a noisy descent is one draw, and the average of the last iterates has less noise. In private
training the average is post-processing of the noised steps and costs no privacy.

Source: Polyak and Juditsky 1992; for private training De et al. 2022 (arXiv 2204.13650).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gecko_jax import checks
from gecko_jax.hooks import with_collection
from gecko_jax.models.pruned import at_zero
from gecko_jax.trees import named_leaves
from gecko_jax.types import Model, Variables

AVERAGE = "average"  # the collection that holds the average and the count of updates in it


def with_average(model: Model, decay: float) -> Model:
    """Adds an exponential moving average of the parameters to the model's variables.

      avg <- d_t avg + (1 - d_t) params,    d_t = min(decay, (1 + t) / (10 + t)),    t = 0, 1, ...

    after each update, from avg = the initial parameters, which the warm-up forgets after a few updates. Training itself
    does not change. The average covers what is trained: latent weights after their projection, and what quantizers
    learn. BatchNorm's statistics are averages already and stay those of the last step.

    Args:
      model: any model. Apply it last: over `models.quantized`, and over or under `privacy.with_threshold`.
      decay: in 0..1. It averages about 1 / (1 - decay) updates: 0.999 a thousand.

    Returns:
      A model whose variables hold one more collection, "average", of the parameters' size. `averaged` takes it out.

    Raises:
      ValueError: decay out of its bounds; at init, a model that has such a collection already.

    >>> from gecko_jax import models
    >>> model = with_average(models.create("mlp", 2, hidden=()), 0.999)
    >>> sorted(model.init(jax.random.key(0), jnp.ones((1, 3))))
    ['average', 'params']
    """
    checks.in_range("decay", decay, 0, 1)

    def start(variables):
        # In single precision at least: half precision would round away the share of one step in a long average.
        params = jax.tree.map(lambda p: jnp.astype(p, jnp.promote_types(p.dtype, jnp.float32)), variables["params"])
        return {"params": params, "count": jnp.zeros((), jnp.int32)}

    def update(average, variables, x):
        t = average["count"]
        d = jnp.minimum(decay, (1 + t) / (10 + t))

        def moved(old, new):  # a parameter that has not moved, such as a frozen one, is not rounded either
            return jnp.where(new == old, old, d * old + (1 - d) * new)

        mean = jax.tree.map(moved, average["params"], variables["params"])
        mean = jax.tree.map(lambda new, old: new.astype(old.dtype), mean, average["params"])
        return {"params": mean, "count": t + 1}

    return with_collection(model, AVERAGE, start, update)


def averaged(variables: Variables) -> Variables:
    """Returns the variables with the average in place of the parameters, for the model without `with_average`.

    Args:
      variables: trained variables of a model with an average; those of several models have a leading axis.

    Returns:
      Variables without the collection "average", the parameters in the dtype that they were trained in.

    Raises:
      ValueError: variables without an average, or an average that no update has moved.

    >>> average = {"params": {"w": np.float32(2.0)}, "count": np.int32(10)}
    >>> averaged({"params": {"w": np.float16(1.0)}, "average": average})
    {'params': {'w': np.float16(2.0)}}
    """
    if AVERAGE not in variables:
        raise ValueError(
            f"variables hold {sorted(variables)} and not {AVERAGE!r}: train training.with_average(model, decay) "
            "instead of the model."
        )
    average, variables = variables[AVERAGE], {name: tree for name, tree in variables.items() if name != AVERAGE}
    if not isinstance(average["count"], Tracer) and not np.all(average["count"]):
        raise ValueError(
            "the average has seen no update: in a loop of your own call models.finish_update(model, variables, x) "
            "after each update."
        )
    names = [name for name, _ in named_leaves(variables["params"])]
    if names != [name for name, _ in named_leaves(average["params"])]:
        raise ValueError("the average has other parameters than the variables: apply with_average last.")
    params = jax.tree.map(lambda mean, p: mean.astype(p.dtype), average["params"], variables["params"])
    params = at_zero(variables, params)  # what pruning has removed, to which an average only comes near
    return {**variables, "params": params}
