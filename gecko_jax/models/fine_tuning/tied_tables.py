"""Whether a model's output layer and token embedding are one table, and a method that trains one of them."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import flax.linen as nn
import jax

from gecko_jax import checks
from gecko_jax.models.fine_tuning.method import FineTuning, check_paths
from gecko_jax.models.fine_tuning.part import once_for_shapes
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import traced_under
from gecko_jax.trees import named_leaves
from gecko_jax.types import Model

EMBEDDINGS = r"(^|[/:])(embed|Embed_\d+)/"  # ":" because a quantizer's learned state is trained with its layer


class Table(NamedTuple):
    """Which parameters a method trains, and what the user says about them.

    Attributes:
      name: of the method.
      path: an expression searched in the parameters' paths.
      tied: whether the input embedding and the output layer are one parameter.
    """

    name: str
    path: str
    tied: bool


def training_of(table: Table) -> FineTuning:
    """Returns the method that trains a table.

    Args:
      table: which one.

    Raises:
      ValueError: an invalid expression.
    """
    paths = check_paths("path", table.path)

    def apply(model: Model) -> Model:
        check = once_for_shapes(functools.partial(_check, table, model))

        def init(key, x):
            check(key, x)
            return model.init(key, x)

        return model._replace(init=init)

    return FineTuning(table.name, apply, paths, merge=lambda variables: variables)


def _check(table: Table, model: Model, key, x) -> None:
    """Raises ValueError unless the model has the table, tied or not as the method says."""
    tied_tables: set[str] = set()

    def note(next_fun, args, kwargs, context):
        if context.method_name == "attend" and isinstance(context.module, nn.Embed):
            tied_tables.add(f"{layer_path(context.module)}/embedding".lstrip("/"))
        return next_fun(*args, **kwargs)

    with nn.intercept_methods(note), traced_under(object()):
        shapes = jax.eval_shape(model.init, key, x)
    names = [name for name, _ in named_leaves(shapes["params"])]
    trained = [name for name in names if re.search(table.path, name)]
    both = [name for name in trained if name in tied_tables]
    if both and not table.tied:
        raise ValueError(
            f"fine_tuning.{table.name}() would train {checks.listed(both)}, which is the token embedding and the "
            "output layer in one. Pass tied=True to train both, or create the model with tied=False."
        )
    if trained and table.tied and not both:
        raise ValueError(
            f"fine_tuning.{table.name}(tied=True): the model reads {checks.listed(trained)} at one end alone. Leave "
            "out tied=True."
        )
    if not trained:
        way = f"{table.name}(path=...) names it"
        if tied_tables and table.name == "head":
            way = f"the output layer is the table {checks.listed(tied_tables)}, which head(tied=True) trains"
        raise ValueError(
            f"fine_tuning.{table.name}: {table.path!r} is found in no parameter's path; {way}. The paths are: "
            f"{checks.listed(names, 20)}."
        )
