"""Turns a Flax module into a `Model`: two pure functions, whatever the module calls its training switch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import InvalidRngError, ScopeParamShapeError

from gecko_jax.keys import stream
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.switches import Switches, find_switches
from gecko_jax.types import Model


def from_linen(
    module: nn.Module,
    train_argument: str | Mapping[str, Any] | None = None,
    rngs: Sequence[str] = ("dropout",),
) -> Model:
    """Builds a model from any Linen module whose call takes a batch of inputs with one leading axis.

    Training switches named train, training, is_training, deterministic, use_running_average or eval_mode are passed on,
    all that the module has. A switch of another name is never guessed: `train_argument` names it.

    Args:
      module: an unbound module instance.
      train_argument: the module's switch, "is_train", which is True in training; or {name: value in training}, whose
        negation is passed in evaluation, {"is_train": True} or {"inference": False}; or {name: (value in training,
        value in evaluation)} for values that are not switches, {"causal": (True, True)}. A name is an argument of
        `__call__`, or a field of the module. A name alone that says evaluation ("inference", "is_eval") is False in
        training; {} says that no argument is a switch.
      rngs: the random streams that the module asks for by `has_rng`. A stream that it draws from by `make_rng` need not
        be named. "dropout" draws from `key`, each other stream from a key of its own that is folded out of it.

    Returns:
      A Model whose outputs are the module's, and whose variables are the module's own.

    Raises:
      TypeError: for anything but a Linen module.
      ValueError: an argument of `__call__` (**options among them), or a field, that may be a training switch and is
        not understood, or an argument without a default; a layer of an nn.Sequential that would get no switch; a
        `train_argument` that the module does not have. When called, a layer of the module that waits for a switch.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> model = from_linen(nn.Dense(3))
    >>> variables = model.init(jax.random.key(0), jnp.ones((2, 4)))
    >>> model.apply(variables, jnp.ones((2, 4)))[0].shape
    (2, 3)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is a {type(module).__name__}; from_linen takes an instance of flax.linen.Module.")
    if isinstance(rngs, str) or not all(isinstance(name, str) for name in rngs):
        raise ValueError(f"rngs={rngs!r} must be names of random streams, such as ('dropout', 'noise').")
    switches, streams = find_switches(module, train_argument), {*rngs, "dropout"}

    def init(key, x):
        return _called(switches, False, lambda module, options: module.init(key, x, **options))

    def apply(variables, x, *, key=None, train=False):
        mutable = [name for name in variables if name != "params"] if train else []

        def run(module, options):
            draws = {name: _stream_of(key, name) for name in sorted(streams)} if key is not None else {}
            if not mutable:
                return module.apply(variables, x, rngs=draws, **options), {}
            return module.apply(variables, x, rngs=draws, mutable=mutable, **options)

        while True:
            try:
                outputs, updates = _called(switches, train, run)
                return outputs, {name: tree for name, tree in updates.items() if _changed(tree, variables.get(name))}
            except ScopeParamShapeError as error:
                shapes = jax.tree.map(jnp.shape, x)
                raise ValueError(
                    f"x has shape {shapes}, which the variables were not made for: {str(error).partition(' (http')[0]} "
                    "Pass inputs of the shape that the model was trained on; of the variables of several models (a "
                    "leading axis), take one: trees.take(variables, 0)."
                ) from error
            except InvalidRngError as error:
                name = re.search(r'needs PRNG for "(.+?)"', str(error))
                if key is None or name is None or name[1] in streams:
                    raise
                streams.add(name[1])  # another stream does not change what the others draw

    return with_step(Model(init, apply), "from_linen", {"module": type(module).__qualname__})


def _changed(new: Any, old: Any) -> bool:
    """Whether a collection holds anything new: Flax returns what layers only read as the very same objects."""
    new, old = jax.tree.leaves(new), jax.tree.leaves(old)
    return len(new) != len(old) or any(a is not b for a, b in zip(new, old, strict=True))


def _stream_of(key: jax.Array, name: str) -> jax.Array:
    return key if name == "dropout" else stream(key, "rng", name)


def _called(switches: Switches, train: bool, run) -> Any:
    """Returns run(module, options), with a helpful error for a layer whose switch was not passed on."""
    module, options = switches.at(train)
    try:
        return run(module, options)
    except ValueError as error:
        name = re.match(r'Parameter "(\w+)" must be passed to the constructor or at call time', str(error))
        if name is None:
            raise
        raise ValueError(
            f"a layer of {type(module).__name__} waits for {name[1]}, and nothing passes it on: write it in the module "
            f"as {name[1]}=not train, with `train` an argument of its __call__. from_linen passes switches on to the "
            f"module itself ({', '.join(sorted(options)) or 'it takes none'}), and not to its layers."
        ) from error
