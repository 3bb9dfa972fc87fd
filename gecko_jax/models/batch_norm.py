"""Model -> Model: the same network with a normalization of each example by itself in every BatchNorm's place.

BatchNorm's statistics are over the examples of a batch, and private training must refuse it: one example moves the
gradients of all others. The architectures of this package take `normalize="group"`; this transform serves any other.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax import traverse_util
from flax.linen.dtypes import canonicalize_dtype
from jax import lax

from gecko_jax.activations import Activation
from gecko_jax.checks import one_of
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.normalization import groups_of
from gecko_jax.models.trace import layer_input, layer_path
from gecko_jax.surroundings import surroundings, traced_under
from gecko_jax.types import Array, Model

KINDS = ("group", "layer")
STATISTICS = "batch_stats"


def without_batch_norm(model: Model, kind: str = "group") -> Model:
    """Replaces every `nn.BatchNorm` by GroupNorm or LayerNorm, so that no example sees another.

    The calls of nn.BatchNorm are intercepted: the module itself stays as it is, and so do the names and shapes of all
    parameters, each layer's scale and bias among them. The collection "batch_stats" loses these layers' means and
    variances, which are neither read nor kept. It is another function of the same parameters: train it from the start,
    because what was trained with BatchNorm does not fit it.

    An example is normalized over all of its positions (height and width, or time steps) together, in training and in
    evaluation alike. A causal network over time steps would see the future: give it nn.LayerNorm by hand.

    Args:
      model: a float model of Linen modules, with the batch as the first axis and the channels as the last axis of what
        each BatchNorm is given. Quantize it afterwards.
      kind: "group" (Wu and He 2018; up to 8 groups of at least 4 channels) or "layer" (all channels in one group).

    Returns:
      A model without statistics over the batch. Another module of the user's own that computes some is not seen;
      private training still refuses it by name.

    Raises:
      ValueError: an unknown kind, a quantized model; at init, a model that calls no nn.BatchNorm; when called,
        variables that hold BatchNorm's statistics, and a BatchNorm over another axis, with a mask, or of one number
        for each example.

    Source: Wu and He, "Group Normalization", ECCV 2018 (arXiv 1803.08494).

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from gecko_jax.models import from_linen
    >>> net = nn.Sequential([nn.Dense(8), nn.BatchNorm(use_running_average=False)])
    >>> variables = without_batch_norm(from_linen(net)).init(jax.random.key(0), jnp.ones((1, 3)))
    >>> sorted(variables), sorted(variables["params"])
    (['params'], ['layers_0', 'layers_1'])
    """
    one_of("kind", kind, KINDS)
    if model.rules:
        raise ValueError(
            "model is quantized already: take BatchNorm out first, "
            "models.quantized(models.without_batch_norm(model), rules)."
        )

    def init(key, x):
        paths = set()

        def note(next_fun, args, kwargs, context):
            if _is_batch_norm(context):
                _refuse_polynomial(context.module)
                paths.add(layer_path(context.module))
            return next_fun(*args, **kwargs)

        with nn.intercept_methods(note), traced_under(object()):
            variables = model.init(key, x)
        if not paths:
            raise ValueError(
                "model calls no nn.BatchNorm, so that there is nothing to take out. A normalization of your own over "
                "the batch has to be replaced in the module itself."
            )
        flat = traverse_util.flatten_dict(variables.get(STATISTICS, {}))
        rest = {path: leaf for path, leaf in flat.items() if "/".join(path[:-1]) not in paths}
        others = {name: tree for name, tree in variables.items() if name != STATISTICS}
        return {**others, STATISTICS: traverse_util.unflatten_dict(rest)} if rest else others

    def normalize(next_fun, args, kwargs, context):
        if not _is_batch_norm(context):
            return next_fun(*args, **kwargs)
        _check(context.module, layer_input(args, kwargs), kwargs.get("mask"))
        return _normalized(context.module, layer_input(args, kwargs), kind)

    def apply(variables, x, **options):
        with nn.intercept_methods(normalize), traced_under(surroundings()):
            return model.apply(variables, x, **options)

    transformed = model._replace(init=init, apply=apply)
    return with_step(transformed, "without_batch_norm", {"kind": kind}, before=model.blueprint)


def _is_batch_norm(context: nn.module.InterceptorContext) -> bool:
    return context.method_name == "__call__" and isinstance(context.module, nn.BatchNorm)


def _refuse_polynomial(layer: nn.BatchNorm) -> None:
    if isinstance(layer.parent, Activation):
        raise ValueError(
            f"BatchNorm {layer_path(layer)!r} belongs to an activation that is a polynomial with fixed statistics, and "
            'would not be one without them. Create the model with another activation, such as "quadratic".'
        )


def _check(layer: nn.BatchNorm, x: Array, mask: Any) -> None:
    name = f"BatchNorm {layer_path(layer)!r}"
    if layer.has_variable(STATISTICS, "mean"):
        raise ValueError(
            f"variables hold the statistics of {name}, which models.without_batch_norm does not read: they belong to a "
            "network that was trained with BatchNorm. Start from this model's own init."
        )
    if mask is not None:
        raise ValueError(f"{name} is called with a mask, which models.without_batch_norm does not support.")
    axes = (layer.axis,) if isinstance(layer.axis, int) else tuple(layer.axis)
    if x.ndim < 2 or {axis % x.ndim for axis in axes} != {x.ndim - 1}:
        raise ValueError(
            f"{name} has axis={layer.axis!r} on an input of shape {x.shape}; models.without_batch_norm takes "
            "[batch, ..., channels] with the channels last."
        )
    if x[0].size == 1:
        raise ValueError(
            f"{name} has one number for each example (shape {x.shape}): normalized by itself it is always 0. Remove "
            "that layer from the module."
        )


def _normalized(layer: nn.BatchNorm, x: Array, kind: str) -> Array:
    """Normalizes x [b, ..., channels] over each example's groups and applies the layer's own scale and bias."""
    channels = x.shape[-1]
    groups = groups_of(channels) if kind == "group" else 1
    y = x.reshape(x.shape[0], -1, groups, channels // groups)
    y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    y = y - y.mean((1, 3), keepdims=True)
    y = y * lax.rsqrt(jnp.square(y).mean((1, 3), keepdims=True) + layer.epsilon)
    y, operands = y.reshape(x.shape), [x]
    for name, used in (("scale", layer.use_scale), ("bias", layer.use_bias)):
        if used:
            parameter = layer.get_variable("params", name)
            operands.append(parameter)
            parameter = parameter.reshape((1,) * (x.ndim - 1) + (channels,))
            y = y * parameter if name == "scale" else y + parameter
    return y.astype(canonicalize_dtype(*operands, dtype=layer.dtype))
