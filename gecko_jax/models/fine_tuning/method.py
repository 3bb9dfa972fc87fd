"""What every way of fine-tuning is: a transform of the model, and the paths of the parameters that it trains."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax.checks import entries
from gecko_jax.trees import named_leaves, trainable_leaves
from gecko_jax.types import Model, Variables


class FineTuning(NamedTuple):
    """A way of fine-tuning.

    Attributes:
      name: as listed in `FINE_TUNINGS`.
      apply: Model -> Model. What trains parameters of the model alone returns a model that computes the same and has
        the same variables; the others add parameters under params["fine_tuning"][name].
      trainable: expressions of the parameters that are trained, as `training.fit(trainable=...)` and
        `privacy.private_training(trainable=...)` take them; None: all.
      merge: variables of the changed model -> those of the model that it was put on, which compute the same; None if
        the method cannot be merged. Call it through `fine_tuning.merge`, which checks the model.
    """

    name: str
    apply: Callable[[Model], Model]
    trainable: tuple[str, ...] | None
    merge: Callable[[Variables], Variables] | None = None


def trained_parameters(method: FineTuning, variables: Variables) -> dict[str, int]:
    """Counts the values of each parameter that a method trains.

    Args:
      method: one of `FINE_TUNINGS`.
      variables: of the changed model, or their shapes, without an axis of models.

    Returns:
      {path of a parameter: how many values it has}; the sum of the values is the number of trained parameters.

    Raises:
      ValueError: a method whose paths the variables do not have.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> variables = models.create("mlp", 3, hidden=(4,)).init(jax.random.key(0), jnp.ones((1, 5)))
    >>> trained_parameters(models.fine_tuning.bitfit(), variables)
    {'dense1/bias': 4, 'logits/bias': 3}
    """
    leaves = named_leaves(variables["params"])
    keep = trainable_leaves(variables["params"], method.trainable)
    return {name: int(np.prod(leaf.shape)) for (name, leaf), kept in zip(leaves, keep, strict=True) if kept}


def check_paths(name: str, paths: Sequence[str] | str) -> tuple[str, ...]:
    """Returns regular expressions of paths as a tuple.

    Args:
      name: of the argument.
      paths: one expression, or several.

    Raises:
      ValueError: no expression, something else than text, or an invalid expression.
    """
    patterns = (paths,) if isinstance(paths, str) else entries(name, paths, "regular expressions of paths")
    if not patterns:
        raise ValueError(f"{name}={paths!r} names no path; expected regular expressions, such as 'attention/query$'.")
    for pattern in patterns:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"{name}: {pattern!r} is not a regular expression: {error}.") from None
    return patterns
