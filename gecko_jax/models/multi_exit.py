"""Model -> Model: the same network with exits, small classifiers on the outputs of modules that paths name.

Easy inputs can be answered by an early exit, so that the layers behind it need not run (`models.early_exit`). The calls
of the network's modules are intercepted, so that any architecture and a user's own Flax module work unchanged.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import Scope

from gecko_jax import checks
from gecko_jax.keys import stream
from gecko_jax.losses.penalized import Penalized
from gecko_jax.models.added_parameters import added, put, with_parameters, without
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.fine_tuning.method import check_paths
from gecko_jax.models.fine_tuning.part import once_for_shapes
from gecko_jax.models.module_outputs import changed_outputs
from gecko_jax.models.pooling import average_pool
from gecko_jax.types import Array, Model, Variables

EXITS = "exits"  # the key of the outputs, and the place of the exits' parameters
PLACE = (EXITS,)


class ExitHead(nn.Module):
    """Maps features of a module to logits: one Dense on their averages.

    Attributes:
      num_classes: number of logits.
      positions: of images [b, h, w, c] how many windows a side the features are averaged over, at least: a window is
        min(h, w) // positions pixels wide. Features [b, t, c] are averaged over t.
    """

    num_classes: int
    positions: int = 4

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns logits [b, classes] for features x [b, ...]."""
        if x.ndim == 4:
            x = average_pool(x, max(1, min(x.shape[1:3]) // self.positions))
        elif x.ndim == 3:
            x = x.mean(1)
        return nn.Dense(self.num_classes, name="logits")(x.reshape(x.shape[0], -1))


def multi_exit(model: Model, paths: Sequence[str] | str, positions: int = 4) -> Model:
    r"""Adds an exit behind each module that a path names: a Dense on the module's averaged output.

    Train it with `losses.over_exits(...)`, which weighs the exits' losses; `early_exit(model, threshold)` then answers
    each input by the first exit that is sure enough. The exits are parameters of the model as any other: private
    training clips and noises them, costs count them, and quantization rules reach them by their paths
    ("exits/block1/logits"; `float_layers` "last" is the network's own last layer). Quantize the model afterwards.

    Args:
      model: a float classifier of Linen modules, with outputs [b, classes].
      paths: regular expressions searched in the modules' paths, such as r"block\d". The outermost module whose path
        matches gets the exit.
      positions: see `ExitHead`; for images alone.

    Returns:
      A model with the outputs {"exits": [b, exits, classes]} in the order of the computation, of which the last exit is
      the network's own output, and with further parameters under params["exits"], one tree for each path.

    Raises:
      ValueError: no path, an invalid one, positions below 1, a quantized model; at init, a path that no module has, a
        module that is called twice, runs inside nn.jit, nn.remat, nn.scan or nn.vmap, or whose output is not an array
        of floats [b, ...]; outputs that are not [b, classes]; when called, variables without the exits.

    Source: Kaya, Hong and Dumitras, "Shallow-Deep Networks", ICML 2019 (arXiv 1810.07052), whose exits average features
    in windows of a quarter of the side as well, mixed with their maxima by a learned factor that is left out here.

    >>> from gecko_jax import models
    >>> net, x = models.create("mlp", 3, hidden=(8, 8)), jnp.ones((5, 4))
    >>> model = multi_exit(net, r"block\d")
    >>> variables = model.init(jax.random.key(0), x)
    >>> model.apply(variables, x)[0]["exits"].shape, sorted(variables["params"]["exits"])
    ((5, 3, 3), ['block1', 'block2'])
    """
    patterns, positions = check_paths("paths", paths), checks.integer("positions", positions, 1)
    if model.rules:
        raise ValueError(
            "model is quantized already: add the exits first, models.quantized(models.multi_exit(model, paths), rules)."
        )
    find = once_for_shapes(functools.partial(_find, model, patterns))

    def init(key, x):
        shapes, classes = find(key, x)
        variables, head = model.init(key, x), ExitHead(classes, positions)
        if EXITS in variables["params"]:
            raise ValueError(f"model has a layer {EXITS!r} already: add all exits at once, or rename that layer.")
        draws = {path: stream(key, EXITS, path) for path in shapes}
        fresh = {path: head.init(draws[path], jnp.zeros(shapes[path].shape)) for path in shapes}
        return put(variables, PLACE, {path: of_head["params"] for path, of_head in fresh.items()})

    def apply(variables, x, *, key=None, train=False):
        parameters, inner = _own(variables), without(variables, PLACE)
        answers: dict[str, Array] = {}

        def answer(path, output):
            classes = parameters[path]["logits"]["bias"].shape[-1]
            scope = Scope({"params": parameters[path]}, mutable=False, path=(EXITS, path))
            answers[path] = ExitHead(classes, positions, parent=None).clone(parent=scope)(_features(path, output))
            return output

        with changed_outputs(parameters.__contains__, answer):
            outputs, updates = model.apply(inner, x, key=key, train=train)
        if lost := sorted(set(parameters) - set(answers)):
            raise ValueError(
                f"the modules {checks.listed(lost)} were not called on these inputs, or another tool stands in their "
                "place, so that their exits have no answer."
            )
        logits = outputs.outputs if isinstance(outputs, Penalized) else outputs
        together = {EXITS: jnp.stack([*answers.values(), logits], axis=1)}
        return (outputs._replace(outputs=together) if isinstance(outputs, Penalized) else together), updates

    changed = with_parameters(model, PLACE, init, apply)
    return with_step(changed, "multi_exit", {"paths": patterns, "positions": positions}, before=model.blueprint)


def exit_paths(model: Model, variables: Variables, x: Any) -> tuple[str, ...]:
    """Returns the paths of a multi-exit model's exits in the order of the computation; nothing is computed.

    Args:
      model: of `multi_exit`, quantized or not.
      variables, x: its variables and a batch of inputs [b, ...], or their shapes.

    Raises:
      ValueError: a model without exits.

    >>> from gecko_jax import models
    >>> model, x = multi_exit(models.create("mlp", 3, hidden=(8, 8)), "block"), jnp.ones((1, 4))
    >>> exit_paths(model, jax.eval_shape(model.init, jax.random.key(0), x), x)
    ('block1', 'block2')
    """
    paths = dict.fromkeys(_own(variables))
    prefix, seen = f"{EXITS}/", []

    def note(path, output):
        seen.append(path.removeprefix(prefix))
        return output

    def forward(variables, x):
        with changed_outputs(lambda path: path.startswith(prefix) and path.removeprefix(prefix) in paths, note):
            return model.apply(variables, x)[0]

    jax.eval_shape(forward, variables, x)
    return tuple(seen)


def _own(variables: Variables) -> dict[str, Any]:
    try:
        return added(variables, PLACE)
    except KeyError:
        raise ValueError(
            f"variables hold no exits in params[{EXITS!r}]: they are not of a model of models.multi_exit. Start from "
            "its own init."
        ) from None


def _find(model: Model, patterns: tuple[str, ...], key: Array, x: Any) -> tuple[dict[str, Any], int]:
    """Returns ({path: shape of the module's output}, number of classes); nothing is computed."""
    sites: dict[str, Array] = {}
    called: dict[str, None] = {}

    def matches(path):
        called.setdefault(path)
        return bool(path) and any(re.search(pattern, path) for pattern in patterns)

    def note(path, output):
        if path in sites:
            raise ValueError(f"the module {path!r} is called twice, and has no one output. Name another by `paths`.")
        sites[path] = _features(path, output)
        return output

    def forward(key, x):
        variables = model.init(key, x)
        with changed_outputs(matches, note):
            outputs = model.apply(variables, x)[0]
        if any(site is outputs for site in sites.values()):
            last = next(path for path, site in sites.items() if site is outputs)
            raise ValueError(f"{last!r} returns the network's own output, which is an exit already. Leave it out.")
        return outputs, sites

    outputs, shapes = jax.eval_shape(forward, key, x)
    for pattern in patterns:
        if not any(re.search(pattern, path) for path in shapes):
            raise ValueError(
                f"paths: {pattern!r} is found in the path of no module. The model calls "
                f"{checks.listed([path for path in called if path], 40)}."
            )
    if not hasattr(outputs, "shape") or len(outputs.shape) != 2:
        what = getattr(outputs, "shape", type(outputs).__name__)
        raise ValueError(f"the model's outputs are {what}; an exit needs those of a classifier, [b, classes].")
    return {path: shapes[path] for path in sites}, outputs.shape[-1]


def _features(path: str, output: Any) -> Array:
    """Returns what a module gave, if an exit can read it."""
    if not hasattr(output, "shape") or len(output.shape) < 2 or not jnp.issubdtype(output.dtype, jnp.floating):
        what = f"{output.dtype} {tuple(output.shape)}" if hasattr(output, "shape") else type(output).__name__
        raise ValueError(f"the module {path!r} returns {what}; an exit reads one array of floats [b, ...].")
    return output
