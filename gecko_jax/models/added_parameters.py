"""Model -> Model with further parameters, which the functions of the model that it is put on never see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from gecko_jax.types import Model, Variables

Place = tuple[str, ...]  # of a subtree of the parameters, such as ("fine_tuning", "lora")


def added(variables: Variables, place: Place) -> Any:
    """Returns the subtree of the parameters at a place.

    Args:
      variables: of a model with such parameters.
      place: the keys that lead to them.

    Raises:
      KeyError: variables without them.

    >>> added({"params": {"exits": {"block1": 1}}}, ("exits",))
    {'block1': 1}
    """
    tree = variables["params"]
    for name in place:
        tree = tree[name]
    return tree


def without(variables: Variables, place: Place) -> dict[str, Any]:
    """Returns the variables without the subtree at a place; a branch that would be empty goes with it.

    Args:
      variables: of a model, with or without such parameters.
      place: the keys that lead to them.

    >>> without({"params": {"a": 0, "fine_tuning": {"lora": 1}}}, ("fine_tuning", "lora"))
    {'params': {'a': 0}}
    """
    return {**variables, "params": _without(variables["params"], place)}


def put(variables: Variables, place: Place, tree: Any) -> dict[str, Any]:
    """Returns the variables with a subtree put at a place.

    Args:
      variables: of the model without these parameters.
      place: the keys that lead to them.
      tree: the subtree.

    >>> put({"params": {"a": 0}}, ("fine_tuning", "lora"), 1)
    {'params': {'a': 0, 'fine_tuning': {'lora': 1}}}
    """
    return {**variables, "params": _put(variables["params"], place, tree)}


def with_parameters(model: Model, place: Place, init: Callable, apply: Callable) -> Model:
    """Returns a model with further parameters at a place.

    Args:
      model: the model that they are added to. Its hooks, rates and rules see its own parameters alone; the added ones
        have the factor 1.
      place: the keys that lead to the added parameters.
      init, apply: of the new model.

    >>> halving = Model(None, None, after_update=(lambda v, x: jax.tree.map(lambda leaf: leaf / 2, v),))
    >>> changed = with_parameters(halving, ("exits",), None, None)
    >>> changed.after_update[0]({"params": {"a": 4.0, "exits": 1.0}}, None)
    {'params': {'a': 2.0, 'exits': 1.0}}
    """

    def reading(function):
        return None if function is None else lambda variables, x: function(without(variables, place), x)

    def changing(hook):
        return lambda variables, x: put(hook(without(variables, place), x), place, added(variables, place))

    def scaling(factors):
        def rates(variables, x):
            ones = jax.tree.map(lambda leaf: 1.0, added(variables, place))
            return _put(factors(without(variables, place), x), place, ones)

        return rates

    return model._replace(
        init=init,
        apply=apply,
        skipped=reading(model.skipped),
        weights=reading(model.weights),
        after_update=tuple(map(changing, model.after_update)),
        rates=tuple(map(scaling, model.rates)),
    )


def _without(tree: Any, place: Place) -> dict[str, Any]:
    first, *rest = place
    tree = dict(tree)
    inner = tree.pop(first, {})
    if rest and (branch := _without(inner, tuple(rest))):
        tree[first] = branch
    return tree


def _put(tree: Any, place: Place, value: Any) -> dict[str, Any]:
    first, *rest = place
    return {**tree, first: _put(tree.get(first, {}), tuple(rest), value) if rest else value}
