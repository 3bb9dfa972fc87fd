"""What transforms that remove weights share: their collections, the kernels that they reach, zeros that stay zeros."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gecko_jax import checks
from gecko_jax.models.trace import find_rule
from gecko_jax.trees import named_leaves
from gecko_jax.types import Array, Quantizer, Rule, Variables

SHARE, MASKS = "pruning", "pruning_masks"  # the collections of `pruned`; schedules set the first
DROP, STATE, GROWTH = "drop", "sparse_training", "growth"  # those of `dynamic_sparse` beside MASKS; schedules set DROP
CODES = "weight_codes"  # the collection of `shared_weights`
TRAINING_ONLY = (SHARE, MASKS, DROP, STATE, GROWTH)  # no deployed network reads them
STATES = "quantizers"  # the place in the parameters of what quantizers learn


def without_training_state(variables: Variables) -> dict[str, Any]:
    """Returns the variables without the collections by which a network becomes sparse, which no deployed one reads."""
    removed = TRAINING_ONLY if MASKS in variables else (SHARE,)
    return {name: tree for name, tree in variables.items() if name not in removed}


def check_start(variables: Variables, expected: Mapping[str, Any]) -> None:
    """Raises ValueError unless variables are those of a trained network, all of them and of its shapes.

    What is left out would start afresh: weights at random, a batch normalization without its running averages.

    Args:
      variables: of the network.
      expected: {name: an array, or its shape} of the variables as they should be; what quantizers learn and collections
        that transforms add may be absent.

    >>> import numpy as np
    >>> check_start({"params": {"kernel": np.ones(2)}}, {"params/kernel": np.ones(2), "params/bias": np.ones(1)})
    Traceback (most recent call last):
    ...
    ValueError: variables lack params/bias, which would start afresh: pass all variables of the trained network.
    """
    present = dict(named_leaves(variables))
    if unknown := [name for name in present if name not in expected]:
        raise ValueError(
            f"variables hold {checks.listed(unknown)}, which the model does not have: pass those of its network."
        )
    learned = f"params/{STATES}/"
    required = [name for name in expected if name.startswith(("params/", "batch_stats/"))]
    if missing := [name for name in required if name not in present and not name.startswith(learned)]:
        raise ValueError(
            f"variables lack {checks.listed(missing)}, which would start afresh: pass all variables of the trained "
            "network."
        )
    for name, leaf in present.items():
        checks.shape(f"variables[{name!r}]", leaf, expected[name].shape)


def check_finite(kernels: Mapping[str, Any]) -> None:
    """Raises ValueError if a kernel holds NaN or infinity, which would decide what becomes of its other weights.

    Inside `jax.jit` and `jax.vmap` values are not known, and nothing is checked.

    Args:
      kernels: {name: weights}.
    """
    for name, leaf in kernels.items():
        if not isinstance(leaf, Tracer):
            checks.finite(f"variables['params/{name}']", leaf)


def check_not_shared(variables: Variables) -> None:
    """Raises ValueError if the kernels of a model are centroids, with each of which many weights would be removed."""
    if shared := variables.get(CODES):
        raise ValueError(
            f"the weights of {checks.listed(shared)} are shared: with one of their centroids, all its weights would be "
            "removed. Remove weights of the network first, and share the rest: start_shared(shared_weights(network, "
            "bits), its variables, x)."
        )


def check_path(path: str) -> re.Pattern[str]:
    """Returns the expression that chooses kernels, compiled; raises ValueError unless it is one."""
    try:
        return re.compile(path)
    except (re.error, TypeError) as error:
        raise ValueError(f"path={path!r} is not a regular expression: {error}.") from error


def kernels_at(path: re.Pattern[str], params: Any) -> dict[str, Array]:
    """Returns {name: kernel} of the kernels whose path an expression is found in."""
    return {
        name: leaf
        for name, leaf in named_leaves(params)
        if name.rpartition("/")[2] == "kernel" and not name.startswith(f"{STATES}/") and path.search(name)
    }


def check_zero_stays(names: Iterable[str], rules: tuple[Rule, ...]) -> None:
    """Raises ValueError unless the quantizers of some weights keep a removed weight at zero.

    A binary quantizer makes a number of it: a network that is sparse in its latent weights would be dense in use.

    Args:
      names: of the weights that may be removed, "dense1/kernel".
      rules: the quantization in force on the model.
    """
    for name in names:
        rule = find_rule(rules, name.rpartition("/")[0])
        if rule is not None and rule.weight is not None and not _keeps_zero(rule.weight):
            keeps = [path for path in names if (other := find_rule(rules, path.rpartition("/")[0])) and other is rule]
            raise ValueError(
                f"weights that are removed from {checks.listed(keeps)} would not be zero in use: the quantizer "
                f"{rule.weight.name!r} makes another value of a 0. Take one with a zero (ternary, uniform), or leave "
                "these layers out of the pruning by its path."
            )


def _keeps_zero(quantizer: Quantizer) -> bool:
    with jax.ensure_compile_time_eval():
        weight = jnp.array([[0.0, 0.5], [-0.25, 1.0]])
        return float(quantizer.apply(quantizer.init(weight), weight)[0, 0]) == 0
