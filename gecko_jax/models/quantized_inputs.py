"""A layer's input under a quantizer: what is refused, how it is padded, and XNOR-Net's gain on the output."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gecko_jax.models.convolution import hooked, padded_with_ones
from gecko_jax.models.quantizer_states import lacks_zero
from gecko_jax.programs import layer_path
from gecko_jax.surroundings import replaced
from gecko_jax.types import Array, Quantizer


def check_seen(paths: list[str]) -> None:
    """Raises ValueError if the inputs of the layers at `paths`, which rules quantize, were not seen."""
    if paths:
        tools = ", ".join("nn." + ".".join(filter(None, key)) for key, _ in replaced()) or "an interceptor"
        raise ValueError(
            f"rules: the inputs of {', '.join(paths)} were not quantized, because the calls of these layers were not "
            f"seen: {tools} stands in their place. Leave the inputs in float, or run the model without that."
        )


def check_input(quantizer: Quantizer, x: Array, layer: nn.Module) -> None:
    """Raises ValueError for an input that a quantizer cannot serve."""
    path, kind = layer_path(layer), type(layer).__name__
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"rules: input {quantizer.name!r} at {path!r} ({kind}), whose inputs are {x.dtype}: indices cannot be "
            "quantized. Give that layer a rule of its own, with input None, before this one."
        )
    if not lacks_zero(quantizer):
        return
    zeros = isinstance(layer, (nn.ConvTranspose, nn.ConvLocal))
    if isinstance(layer, nn.Conv):
        dilated = any(d != 1 for d in jax.tree.leaves(layer.input_dilation))
        zeros = layer.padding == "CAUSAL" or dilated or layer.conv_general_dilated_cls is not None
    if zeros:
        raise ValueError(
            f"rules: input {quantizer.name!r} at {path!r} ({kind}): a transposed, local, causal, input-dilated or "
            "custom convolution pads with zeros, which +-1 has not. Pad the layer's input yourself and convolve with "
            "nn.Conv(padding='VALID'), or leave its input in float."
        )


def with_quantized_input(quantizer: Quantizer, state: Any, x: Array, inner, layer: nn.Module) -> Array:
    """Calls a layer on its quantized input.

    Args:
      quantizer, state: of the input.
      x: the float input.
      inner: (quantized input) -> the layer's output.
      layer: the bound layer.

    Returns:
      The output, with the quantizer's gain on all but the bias.
    """
    check_input(quantizer, x, layer)  # here too: a float model's variables may come without this model's init
    x_hat = quantizer.apply(state, x)
    if isinstance(layer, nn.Conv) and lacks_zero(quantizer):
        with hooked(layer, padded_with_ones):
            y = inner(x_hat)
    else:
        y = inner(x_hat)
    if quantizer.gain is None:
        return y
    gain = quantizer.gain(x, layer)
    if not layer.has_variable("params", "bias"):
        return y * gain
    bias = layer.get_variable("params", "bias")
    bias = bias.reshape((1,) * (y.ndim - bias.ndim) + bias.shape)
    return (y - bias) * gain + bias
