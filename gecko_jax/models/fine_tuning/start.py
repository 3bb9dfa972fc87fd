"""The variables that fine-tuning starts from."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, keys, programs, surroundings
from gecko_jax.models.fine_tuning.part import PARTS
from gecko_jax.models.removed_weights import STATES
from gecko_jax.trees import map_named, named_leaves, take
from gecko_jax.types import Model, Variables


def start(model: Model, pretrained: Variables, key: int | jax.Array, x: Any, models: int | None = None) -> Variables:
    """Returns what fine-tuning starts from: the pre-trained values, and fresh ones for what the method adds.

      method = fine_tuning.lora(rank=8)
      model = method.apply(pretrained_model)
      init = fine_tuning.start(model, pretrained, key, x)
      training.fit(model, data, init=init, trainable=method.trainable)

    Args:
      model: the changed model, `method.apply(pretrained_model)`.
      pretrained: variables of the pre-trained model, without an axis of models.
      key: a JAX key or a seed, of the fresh values.
      x: a batch of inputs [b, ...], of which only shapes and types matter.
      models: None for one model (`fit`); m for an ensemble (`fit_ensemble`), each with fresh values of its own. The
        first of several starts as one alone does.

    Returns:
      The variables, host arrays, with a leading axis [m] if `models` is given.

    Raises:
      ValueError: pre-trained variables that the model does not have, that have other shapes, or that lack a
        parameter or a batch normalization's averages; a collection that they lack and that depends on the network's
        values, such as a running average of weights, which would start from those of an untrained network.

    >>> from gecko_jax import models
    >>> network, x = models.create("mlp", 3, hidden=(4,)), np.ones((1, 5), np.float32)
    >>> pretrained = network.init(jax.random.key(0), x)
    >>> tuned = models.fine_tuning.lora(rank=2, paths="dense").apply(network)
    >>> variables = start(tuned, pretrained, key=1, x=x)
    >>> bool((tuned.apply(variables, x)[0] == network.apply(pretrained, x)[0]).all())
    True
    """
    root = keys.stream(keys.checked_key("key", key), PARTS)
    count = 1 if models is None else checks.integer("models", models, 1)
    row = jax.tree.map(jnp.asarray, take(x, slice(0, 1)))
    shapes = jax.eval_shape(model.init, root, row)
    values, expected = dict(named_leaves(pretrained)), dict(named_leaves(shapes))
    if unknown := sorted(set(values) - set(expected)):
        raise ValueError(
            f"pretrained has {checks.listed(unknown)}, which the model does not have. The model has: "
            f"{checks.listed(expected, 20)}."
        )
    for name, leaf in values.items():
        checks.shape(f"pretrained[{name!r}]", leaf, expected[name].shape)
    missing = [name for name in expected if name not in values]
    _check_missing(model, root, row, [name for name in missing if not name.startswith(f"params/{PARTS}/")])

    @surroundings.jit
    def fresh(key):  # what is not returned is not computed
        leaves = dict(named_leaves(model.init(key, row)))
        return {name: leaves[name] for name in missing}

    drawn = [jax.device_get(fresh(jax.random.fold_in(root, number))) for number in range(count if missing else 0)]

    def leaf_of(name: str, leaf: Any) -> np.ndarray:
        del leaf
        if name in missing:
            return np.stack([each[name] for each in drawn]) if models is not None else np.asarray(drawn[0][name])
        value = np.asarray(values[name])
        return value if models is None else np.repeat(value[None], count, axis=0)

    return map_named(leaf_of, shapes)


def _check_missing(model: Model, key: jax.Array, row: Any, missing: list[str]) -> None:
    """Raises ValueError for missing variables that the model's init would draw or compute from what it draws."""
    learned = f"params/{STATES}/"
    network_prefixes = ("params/", "batch_stats/")  # running averages would begin at 0 and 1
    if lost := [name for name in missing if name.startswith(network_prefixes) and not name.startswith(learned)]:
        raise ValueError(
            f"pretrained lacks {checks.listed(lost)}, which the network has and the method does not add. Pass the "
            "variables of the model that the method was applied to."
        )
    if not missing:
        return
    program, shapes = programs.trace(model.init, key, row)
    marks = [True, *[False] * (len(program.inputs) - 1)]
    reached = programs.flow(program, marks, lambda *marks: any(marks)).outputs
    names = [name for name, _ in named_leaves(shapes)]
    if drawn := [name for name, mark in zip(names, reached, strict=True) if mark and name in missing]:
        raise ValueError(
            f"pretrained lacks {checks.listed(drawn)}, which the model's init computes from an untrained network. Pass "
            "the variables of that model after training, or put its transform on after fine-tuning."
        )
