"""Model -> Model: learning rates of their own for the parameters that regular expressions name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from gecko_jax import checks
from gecko_jax.models.blueprint import with_step
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Variables


def with_rates(model: Model, factors: Mapping[str, float]) -> Model:
    r"""Multiplies the learning rate of some parameters by a factor.

    The polynomial activations of an HE-friendly network learn slower than its weights: with Adam at 1e-3,
    {r"Quadratic_\d+/": 0.2} gives their coefficients the 2e-4 of the paper.

    Args:
      model: any model.
      factors: {regular expression searched in a parameter's path ("block1/Quadratic_0/a"): factor above 0}; the first
        expression that is found holds. To freeze parameters pass `trainable` to `training.fit` instead.

    Returns:
      A model with one more of `Model.rates`, whose factors multiply those that it has already.

    Raises:
      ValueError: no factor, an invalid expression, a factor that is not above 0; in training, an expression that holds
        for no parameter.

    Source: Baruch et al., 2021 (arXiv 2111.03362), section 4.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> net = models.create("mlp", 2, hidden=(3,), activation="quadratic")
    >>> model, x = with_rates(net, {r"Quadratic_\d+/": 0.25}), jnp.ones((1, 4))
    >>> model.rates[0](model.init(jax.random.key(0), x), x)["block1"]
    {'Quadratic_0': {'a': 0.25, 'b': 0.25}}
    """
    if not isinstance(factors, Mapping) or not factors:
        raise ValueError(f"factors={factors!r} must map regular expressions to factors, such as {{'Quadratic': 0.2}}.")
    factors = {str(path): float(checks.positive(f"factors[{path!r}]", each)) for path, each in factors.items()}
    for path in factors:
        try:
            re.compile(path)
        except re.error as error:
            raise ValueError(f"factors: {path!r} is not a regular expression: {error}.") from error

    def first_found(name: str) -> str | None:
        return next((path for path in factors if re.search(path, name)), None)

    def rates(variables: Variables, x: Array) -> Variables:
        del x
        names = [name for name, _ in named_leaves(variables["params"])]
        rules = {name: path for name in names if (path := first_found(name)) is not None}
        idle = set(factors) - set(rules.values())
        if idle:
            raise ValueError(
                f"factors: {sorted(idle)} hold for no parameter (or for none that an earlier expression has left) of "
                f"{checks.listed(names, 20)}. Leave them out, or name a path of the model."
            )
        return map_named(lambda name, leaf: factors[rules[name]] if name in rules else 1.0, variables["params"])

    changed = model._replace(rates=(*model.rates, rates))
    return with_step(changed, "with_rates", {"factors": factors}, before=model.blueprint)
