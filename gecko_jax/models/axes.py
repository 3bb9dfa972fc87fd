"""Finds which axes of a weight are its outputs; a quantizer is given each weight with them last.

A scheme is given one layer's weight as [window..., inputs, outputs], the layout of `nn.Dense` and `nn.Conv`. "One scale
for each output" and "one for each layer" therefore mean the same for every layer:

  Dense, Conv (grouped and depthwise, too)   outputs last: as stored
  ConvTranspose(transpose_kernel=True)       outputs last but one
  DenseGeneral                               all axes of `features` together: (head, dim) of a query is one output;
                                             each index of `batch_dims` is a layer
  Einsum                                     the letters of the result; letters of input and result alike are layers
  ConvLocal                                  each position is a layer, because it shares no weight with another
  Embed                                      the features: a look-up is the product of a one-hot row by the table
  nn.scan, nn.vmap over "params"             each index of the lifted axis is a layer, wherever that axis lies
  nn.map_variables (a tied transpose)        as the layer sees it
  a module of the user's own                 what its attribute `output_axes` says, a tuple of axes; else the axes that
                                             the first product or convolution by the weight does not sum over, or
                                             the last one if no such is found
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gecko_jax.types import Array, Codes, Quantizer


class WeightAxes(NamedTuple):
    """The axes of a stored weight. `layers` index weights that are separate; the others are one layer's own."""

    layers: tuple[int, ...]
    window: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def order(self) -> tuple[int, ...]:
        """The axes in the order layers, window, inputs, outputs."""
        return self.layers + self.window + self.inputs + self.outputs


def weight_axes(layer: nn.Module, rank: int, args: tuple = (), kwargs: dict | None = None) -> WeightAxes:
    """Returns the axes of a layer's weight, as its call sees it.

    Args:
      layer: the layer.
      rank: how many axes its weight has.
      args, kwargs: of its call, which may bring an equation (`nn.Einsum`).

    Raises:
      ValueError: an `output_axes` that the weight does not have.
    """
    axes = tuple(range(rank))
    if (outputs := getattr(layer, "output_axes", None)) is not None:
        return _of_one_s_own(layer, axes, outputs)
    if rank < 2:
        return WeightAxes((), (), (), axes)
    if isinstance(layer, nn.Einsum):
        return _of_equation(layer.einsum_str or _equation(args, kwargs or {}))
    if isinstance(layer, nn.DenseGeneral):
        batch, features = (1 if isinstance(n, int) else len(n) for n in (layer.batch_dims, layer.features))
        return WeightAxes(axes[:batch], (), axes[batch : rank - features], axes[rank - features :])
    if isinstance(layer, nn.ConvLocal):
        return WeightAxes(axes[:-2], (), axes[-2:-1], axes[-1:])
    if isinstance(layer, nn.ConvTranspose) and layer.transpose_kernel:
        return WeightAxes((), axes[:-2], axes[-1:], axes[-2:-1])
    return WeightAxes((), axes[:-2], axes[-2:-1], axes[-1:])


def _of_one_s_own(layer: nn.Module, axes: tuple[int, ...], outputs: Any) -> WeightAxes:
    rank, outputs = len(axes), (outputs,) if isinstance(outputs, int) else tuple(outputs)
    if not all(-rank <= axis < rank for axis in outputs):
        raise ValueError(
            f"{type(layer).__name__}.output_axes={outputs!r}: the weight has {rank} axes; name some of 0..{rank - 1}."
        )
    outputs = tuple(sorted({axis % rank for axis in outputs}))
    return WeightAxes((), (), tuple(axis for axis in axes if axis not in outputs), outputs)


def _equation(args: tuple, kwargs: dict) -> str:
    return kwargs["einsum_str"] if "einsum_str" in kwargs else args[1]


def _of_equation(equation: str) -> WeightAxes:
    """Returns the axes of the kernel in "inputs,kernel->result"; an ellipsis stands for axes of the input alone."""
    operands, result = equation.replace(" ", "").replace("...", "").split("->")
    input_letters, kernel = operands.split(",")
    place = dict(enumerate(kernel))
    layers = tuple(i for i, letter in place.items() if letter in input_letters and letter in result)
    outputs = tuple(i for i, letter in place.items() if letter in result and i not in layers)
    return WeightAxes(layers, (), tuple(i for i, letter in place.items() if letter not in result), outputs)


def lifted(axes: WeightAxes, places: tuple[int, ...], rank: int) -> WeightAxes:
    """Returns the axes of a stored weight of `rank` axes, of which the call sees its i-th axis at places[i]."""
    further = tuple(axis for axis in range(rank) if axis not in places)
    layers, *own = (tuple(places[axis] for axis in group) for group in axes)
    return WeightAxes(further + layers, *own)


def told_by_product(axes: WeightAxes, places: tuple[int, ...], kept: tuple[int, ...]) -> WeightAxes:
    """Returns the axes of a user's own layer's weight: its outputs are what its first product does not sum over.

    Args:
      axes: those of a layer that has its outputs last.
      places: the layer's own stored axes.
      kept: the stored axes that are not summed over.
    """
    outputs = tuple(axis for axis in places if axis in kept)
    if not outputs or outputs == axes.outputs:
        return axes
    return WeightAxes(axes.layers, (), tuple(axis for axis in places if axis not in outputs), outputs)


def bound(quantizer: Quantizer, axes: WeightAxes, shape: tuple[int, ...]) -> Quantizer:
    """Returns the quantizer for a weight as it is stored: it sees each layer by itself, with the outputs last.

    Args:
      quantizer: a scheme for weights [window..., inputs, outputs].
      axes: the stored weight's.
      shape: of the stored weight.

    Returns:
      The quantizer itself if a weight of one layer is stored as it is shown; else one whose learned state has a
      leading axis over the layers, if there are several, and whose codes and scales are laid out as the weight is.
    """
    rank, several = len(shape), bool(axes.layers)
    if not several and axes.order == tuple(range(rank)) and len(axes.inputs) == len(axes.outputs) == 1:
        return quantizer
    lengths = {group: tuple(shape[axis] for axis in getattr(axes, group)) for group in axes._fields}
    one = (*lengths["window"], math.prod(lengths["inputs"]), math.prod(lengths["outputs"]))
    layers = math.prod(lengths["layers"])
    stack = (layers,) if several else ()
    inverse = tuple(axes.order.index(axis) for axis in range(rank))

    def split(w: Array) -> Array:
        return jnp.transpose(w, axes.order).reshape(*stack, *one)

    def join(w: Array) -> Array:
        return w.reshape(*(length for group in axes._fields for length in lengths[group])).transpose(inverse)

    def join_scale(scale: Array) -> Array:
        """Does the same for an array that broadcasts against one layer's weight."""
        per_layer = scale.shape[len(stack) :]
        per_layer = (1,) * (len(one) - len(per_layer)) + per_layer
        window = per_layer[:-2]
        ends = [
            lengths[group] if length == math.prod(lengths[group]) else (1,) * len(lengths[group])
            for group, length in zip(("inputs", "outputs"), per_layer[-2:], strict=True)
        ]
        return scale.reshape(*lengths["layers"], *window, *ends[0], *ends[1]).transpose(inverse)

    each = jax.vmap if several else lambda function: function

    def apply(state, w, key=None):
        if key is None:
            return join(each(lambda state, w: quantizer.apply(state, w))(state, split(w)))
        keys = jax.random.split(key, layers) if several else key
        return join(each(lambda state, w, key: quantizer.apply(state, w, key=key))(state, split(w), keys))

    def codes(codes_of_layer, state, w):
        bits = []

        def of_one(state, w):
            layer = codes_of_layer(state, w)
            bits.append(layer.bits)
            return layer.values, jnp.asarray(layer.scale)

        values, scale = each(of_one)(state, split(w))
        return Codes(join(values), join_scale(scale) if scale.ndim else scale, bits[0])

    def project(project_layer, w):
        return join(each(project_layer)(split(w)))

    def rate(rate_of_layer, w):
        if not several:
            return rate_of_layer(split(w))
        factors = each(lambda w: jnp.asarray(rate_of_layer(w), w.dtype))(split(w))
        return factors.reshape(*(length if axis in axes.layers else 1 for axis, length in enumerate(shape)))

    return quantizer._replace(
        init=lambda w: each(quantizer.init)(split(w)),
        apply=apply,
        codes=quantizer.codes and functools.partial(codes, quantizer.codes),
        project=quantizer.project and functools.partial(project, quantizer.project),
        rate=quantizer.rate and functools.partial(rate, quantizer.rate),
    )
