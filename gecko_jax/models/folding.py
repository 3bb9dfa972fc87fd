"""Folds BatchNorm into the layer before it, for a network that is quantized or deployed after training."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.models.batch_norm import STATISTICS
from gecko_jax.models.quantizer_states import Bypass, bypassing
from gecko_jax.models.trace import kernel_of, layer_input, traced
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import traced_under
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Variables

TOLERANCE = 1e-4  # of the outputs' largest magnitude: what float32 rounds when factors are moved


def fold_batch_norm(model: Model, variables: Variables, x: Any) -> dict[str, Any]:
    """Multiplies each BatchNorm's factor into the kernel before it, and leaves it a bias alone.

      kernel' = kernel * f,  bias' = bias * f,  f = scale / sqrt(var + epsilon);  mean' = mean * f,  var' = 1 - epsilon,
      scale' = 1

    The model stays the same, and so do its outputs in evaluation: each such BatchNorm computes y - mean' + bias. The
    kernel is then what an integer network multiplies by, and quantizers see it as such: fold before `calibrate` and
    `reconstruct`. It is for evaluation. Trained on, BatchNorm normalizes by the batch again.

    Args:
      model: a float or quantized model.
      variables: its own, trained.
      x: inputs [b, ...], on which the outputs before and after are compared.

    Returns:
      The variables, folded. A BatchNorm that is not called on the very output of an nn.Dense or nn.Conv stays.

    Raises:
      ValueError: a model in which no BatchNorm follows such a layer, weights whose state a quantizer has learned before
        (its step would belong to the kernel as it was), or outputs that differ, because another part of the network
        reads the layer's output, too.

    Source: Jacob et al., CVPR 2018 (arXiv 1712.05877), section 3.2.

    >>> from gecko_jax import models
    >>> net, x = models.create("mlp", 2, hidden=(3,), normalize=True), np.ones((1, 4), np.float32)
    >>> variables = net.init(jax.random.key(0), x)
    >>> folded = fold_batch_norm(net, variables, x)
    >>> bool(np.allclose(net.apply(folded, x)[0], net.apply(variables, x)[0], atol=1e-4))
    True
    """
    pairs = _pairs(model, variables, x)
    if not pairs:
        raise ValueError(
            "model calls no nn.BatchNorm on the output of an nn.Dense or nn.Conv, so that there is nothing to fold: "
            "one after an activation, or before a layer, has no kernel to be folded into."
        )
    leaves = dict(named_leaves(variables))
    learned = [f"params/quantizers/weight:{layer}/kernel" for layer, _, _ in pairs]
    if stale := sorted(name for name in leaves if name.rpartition("/")[0] in learned):
        raise ValueError(
            f"variables hold {stale[0]!r}, which a quantizer has learned for the kernel as it was. Fold the float "
            "network first: models.calibrate(model, models.fold_batch_norm(net, variables, x), x)."
        )
    new = {}
    for layer, norm, epsilon in pairs:
        mean, var = (np.asarray(leaves[f"{STATISTICS}/{norm}/{name}"], np.float64) for name in ("mean", "var"))
        factor = np.asarray(leaves.get(f"params/{norm}/scale", 1.0), np.float64) / np.sqrt(var + epsilon)
        new[f"{STATISTICS}/{norm}/mean"], new[f"{STATISTICS}/{norm}/var"] = (
            mean * factor,
            np.full_like(var, 1 - epsilon),
        )
        new[f"params/{norm}/scale"] = np.ones_like(var)  # ignored if it has none
        for name in {f"params/{layer}/kernel", f"params/{layer}/bias"} & set(leaves):
            new[name] = np.asarray(leaves[name], np.float64) * factor
    folded = map_named(lambda name, leaf: jnp.asarray(new[name], leaf.dtype) if name in new else leaf, dict(variables))
    _check_same(model, (variables, folded), x, [layer for layer, _, _ in pairs])
    return folded


def _pairs(model: Model, variables: Variables, x: Any) -> list[tuple[str, str, float]]:
    """Returns (path of a layer, path of the BatchNorm on its output, epsilon) of those that can be folded."""
    outputs: list[tuple[Array, str]] = []
    pairs: dict[str, tuple[str, str, float]] = {}
    with bypassing(Bypass(weights=None, inputs=True)):
        axes = traced(model, variables, x).axes
    calls: list[str] = []

    def note(next_fun, args, kwargs, context):
        module = context.module
        output = next_fun(*args, **kwargs)
        if context.method_name != "__call__" or module.scope is None:
            return output
        path = layer_path(module)
        if type(module) in (nn.Dense, nn.Conv) and kernel_of(module) is not None:
            places = axes.get(f"{path}/kernel")
            if places is not None and not places.layers and places.outputs == (places.order[-1],):
                outputs.append((output, path))
            calls.append(path)
        if type(module) is nn.BatchNorm:
            calls.append(path)
            value = layer_input(args, kwargs)
            owner = next((layer for array, layer in outputs if array is value), None)
            if owner is not None and module.axis in (-1, value.ndim - 1):
                pairs[path] = owner, path, float(module.epsilon)
        return output

    def forward(variables, x):
        with bypassing(Bypass(weights=None, inputs=True)), nn.intercept_methods(note), traced_under(object()):
            return model.apply(variables, x)[0]

    jax.eval_shape(forward, variables, x)
    once = {path for path in calls if calls.count(path) == 1}
    return [pair for pair in pairs.values() if {pair[0], pair[1]} <= once]


def _check_same(model: Model, nets: tuple[Variables, Variables], x: Any, layers: list[str]) -> None:
    with bypassing(Bypass(weights=None, inputs=True)):
        before, after = (jax.tree.leaves(jax.jit(lambda v, x: model.apply(v, x)[0])(net, x)) for net in nets)
    for old, new in zip(before, after, strict=True):
        gap, size = float(np.max(np.abs(np.asarray(old) - np.asarray(new)))), float(np.max(np.abs(old)))
        if not gap <= TOLERANCE * max(size, 1e-6):
            raise ValueError(
                f"folding changes the outputs by {gap:.3g} of {size:.3g} at most: another part of the network reads "
                f"what one of {', '.join(layers)} computes before its BatchNorm. Deploy it with its BatchNorm."
            )
