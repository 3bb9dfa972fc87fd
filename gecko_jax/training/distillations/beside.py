"""Trains students that carry a collection of their own: a teacher's variables, or a value that a schedule sets."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.datasets.batches import as_members
from gecko_jax.hooks import with_collection
from gecko_jax.training.ensemble import Fit, fit_ensemble
from gecko_jax.training.pool import first_row
from gecko_jax.training.start import fresh_variables
from gecko_jax.trees import example_shapes
from gecko_jax.types import Examples, Model, Variables


def fit_beside(name: str, start: Variables, student: Model, data: Examples, member: Any, **options: Any) -> Fit:
    """Trains students that carry one more collection, which the returned variables no longer hold.

    Args:
      name: of the collection; the caller has refused a user's own by `hooks.refuse_collection`.
      start: its first value, with a leading axis of the m students.
      student: the model without the collection.
      data, member: see `fit_ensemble`.
      **options: of `fit_ensemble`, with `gradients` of the model `beside(student, name, start)`.
    """
    member = as_members(member)
    if (init := options.get("init")) is None:
        ids, one = options.get("model_ids"), first_row(data)
        ids = range(len(member)) if ids is None else ids
        init = fresh_variables(student, one, options.get("seed") or 0, ids)
    if callable(observe := options.get("observe")):
        options["observe"] = lambda epoch, variables: observe(epoch, _without(name, variables))
    options["init"] = {**init, name: start}
    fitted = fit_ensemble(beside(student, name, example_shapes(start)), data, member, **options)
    return fitted._replace(variables=_without(name, fitted.variables))


def beside(student: Model, name: str, shapes: Any) -> Model:
    """Returns the student with one more collection of zeros, the same object for the same arguments.

    Args:
      student: any model.
      name: of the collection.
      shapes: of one student's, a pytree.
    """
    leaves, structure = jax.tree.flatten(shapes)
    return _beside(student, name, tuple(leaves), structure)


@functools.lru_cache(maxsize=64)
def _beside(student: Model, name: str, leaves: tuple[jax.ShapeDtypeStruct, ...], structure: Any) -> Model:
    zeros = [np.zeros(leaf.shape, leaf.dtype) for leaf in leaves]
    return with_collection(student, name, lambda _: jax.tree.unflatten(structure, list(map(jnp.asarray, zeros))))


def _without(name: str, variables: Variables) -> Variables:
    return {collection: tree for collection, tree in variables.items() if collection != name}
