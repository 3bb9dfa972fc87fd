"""Gradients of each record's own loss: training makes them small on the records that it saw (a white-box signal).

Per-example gradients are computed by vmap over grad, in evaluation mode (BatchNorm's running statistics, no dropout),
and by blocks of records that fit a memory budget. The variables are arguments of the compiled program: shadow models of
one architecture share it.

Source: Nasr, Shokri and Houmansadr, "Comprehensive privacy analysis of deep learning", S&P 2019.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, losses, surroundings
from gecko_jax.models import logits_shape, trace
from gecko_jax.probes.records import check_classes, check_inputs
from gecko_jax.trees import by_blocks, map_named, named_leaves
from gecko_jax.types import Array, Batch, Loss, Model, Variables

MAX_GRADIENT_FLOATS = 2**25  # of per-example gradients in memory at a time: 128 MiB
MAX_RECORDS_PER_CALL = 256  # however small the model: their activations take memory too


def gradient_norms(
    model: Model, variables: Variables, x: Array, y: Array, loss: Loss | None = None
) -> dict[str, np.ndarray]:
    """Returns the L2 norm of each record's gradient, of every parameter leaf and of all together.

      n_i[leaf] = | d loss(f(x_i; w), y_i) / d w[leaf] |,   n_i["all"] = sqrt(sum over leaves of n_i[leaf]^2)

    Args:
      model: any model.
      variables: a trained model's.
      x: inputs [n, ...], floats.
      y: labels [n].
      loss: a loss of `gecko_jax.losses` that reads labels alone; cross-entropy if None.

    Returns:
      {"all": float32 [n], "dense1/kernel": [n], ...}. Members have smaller ones: see `small_gradient`.

    Raises:
      ValueError: NaN inputs, labels out of range, a loss that reads extras, or gradients that are not finite.

    >>> linear = Model(None, lambda variables, x, **_: (x @ variables["params"]["w"], {}))
    >>> norms = gradient_norms(linear, {"params": {"w": jnp.zeros((2, 2))}}, np.array([[1.0, 0.0], [3.0, 4.0]]), [0, 1])
    >>> [f"{norm:.3f}" for norm in norms["all"]]
    ['0.707', '3.536']
    """
    norms = _each(model, variables, x, y, loss, "", _norms)
    return {name: checks.finite(f"gradient norms of {name!r}", values) for name, values in norms.items()}


def small_gradient(model: Model, variables: Variables, x: Array, y: Array, loss: Loss | None = None) -> np.ndarray:
    """Returns minus the norm of each record's gradient [n], larger for members.

    Args:
      model, variables, x, y, loss: see `gradient_norms`.

    >>> linear = Model(None, lambda variables, x, **_: (x @ variables["params"]["w"], {}))
    >>> variables, x = {"params": {"w": jnp.zeros((2, 2))}}, np.array([[1.0, 0.0], [3.0, 4.0]])
    >>> [f"{score:.3f}" for score in small_gradient(linear, variables, x, [0, 1])]
    ['-0.707', '-3.536']
    """
    return -gradient_norms(model, variables, x, y, loss)["all"]


def last_layer_gradients(
    model: Model, variables: Variables, x: Array, y: Array, loss: Loss | None = None, *, layer: str | None = None
) -> np.ndarray:
    """Returns each record's gradient with respect to one layer's parameters, flat: features for an attack network.

    Args:
      model, variables, x, y, loss: see `gradient_norms`.
      layer: path of the layer among the parameters, "logits"; if None, the last one that owns a kernel, in the order in
        which the forward pass calls them.

    Returns:
      float32 [n, k], k the number of the layer's parameters, its leaves in the order of their names (bias, kernel).

    Raises:
      ValueError: as `gradient_norms`; a layer that has no parameters, with those there are.

    >>> linear = Model(None, lambda variables, x, **_: (x @ variables["params"]["logits"]["w"], {}))
    >>> variables, x = {"params": {"logits": {"w": jnp.zeros((2, 2))}}}, np.array([[3.0, 4.0]])
    >>> last_layer_gradients(linear, variables, x, [1], layer="logits").tolist()  # x_i (p_k - [k = y]), p = 1/2
    [[1.5, -1.5, 2.0, -2.0]]
    """
    names = [name for name, _ in named_leaves(variables["params"])]
    if layer is None:
        called = trace(model, variables, check_inputs(x)[:1])
        if not called:
            there = checks.listed(map(repr, names), 20)
            raise ValueError(f"layer=None, and no layer of the model owns a kernel; name one. Parameters: {there}.")
        layer = called[-1].path
    prefix = f"{layer}/" if layer else ""
    if not any(name.startswith(prefix) for name in names):
        raise ValueError(f"layer={layer!r} has no parameters; there are {checks.listed(names, 20)}.")
    return checks.finite("gradients of the last layer", _each(model, variables, x, y, loss, prefix, _flat))


def _norms(gradient: dict[str, Array]) -> dict[str, Array]:
    norms = {name: _norm(leaf) for name, leaf in gradient.items()}
    return {"all": _norm(jnp.stack(list(norms.values()))), **norms}


def _norm(leaf: Array) -> Array:
    """Returns the L2 norm, scaled by the largest entry because squares of small gradients (1e-25) are 0 in float32."""
    top = jnp.max(jnp.abs(leaf))
    top = jnp.where(top > 0, top, 1)
    return top * jnp.sqrt(jnp.sum((leaf / top) ** 2))


def _flat(gradient: dict[str, Array]) -> Array:
    return jnp.concatenate([leaf.ravel() for leaf in gradient.values()])


def _each(
    model: Model,
    variables: Variables,
    x: Array,
    y: Array,
    loss: Loss | None,
    prefix: str,
    read: Callable[[dict[str, Array]], Any],
) -> Any:
    """Returns read({name: one record's gradient}) of the parameters named `prefix`..., stacked [n, ...]."""
    loss, x = losses.cross_entropy() if loss is None else loss, check_inputs(x)
    if loss.reads:
        extras = ", ".join(loss.reads)
        raise ValueError(f"loss {loss.name!r} reads extras ({extras}); take one of labels alone: cross_entropy().")
    y = check_classes(y, len(x), logits_shape(model, variables, x[:1])[-1]).astype(np.int32)
    size = sum(leaf.size for name, leaf in named_leaves(variables["params"]) if name.startswith(prefix))
    block = min(len(x), MAX_RECORDS_PER_CALL, max(1, MAX_GRADIENT_FLOATS // size))
    variables = jax.device_put(variables)
    read_block = functools.partial(_gradients, model, loss, prefix, read, variables)
    return by_blocks(lambda rows: read_block(x[rows], y[rows]), len(x), block, full=True)


@functools.partial(surroundings.jit, static_argnums=(0, 1, 2, 3))
def _gradients(model, loss, prefix, read, variables, x, y):
    params = variables["params"]
    wanted = {name: leaf for name, leaf in named_leaves(params) if name.startswith(prefix)}

    def loss_of(wanted, one, label):
        merged = map_named(lambda name, leaf: wanted.get(name, leaf), params)
        logits, _ = model.apply({**variables, "params": merged}, one[None], train=False)
        return loss.apply(logits[0], Batch(one, label, jnp.float32(1)))

    def one(row, label):
        return read(jax.grad(loss_of)(wanted, row, label))

    return jax.vmap(one)(x, y)
