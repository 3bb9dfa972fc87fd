"""Removes whole filters and units: (model, variables) -> a smaller model, on which every device is faster."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks
from gecko_jax.models.features import with_features
from gecko_jax.models.feeding import Feeding, feeding
from gecko_jax.models.heads import SmallerModel
from gecko_jax.models.removed_weights import CODES, check_path
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Variables

STRENGTHS = {
    "l1": lambda kernel: np.abs(kernel).reshape(-1, kernel.shape[-1]).sum(0),
    "l2": lambda kernel: np.square(kernel).reshape(-1, kernel.shape[-1]).sum(0),
    "scale": None,  # of the batch normalization behind the layer
}
_ACROSS_CHANNELS = ("GroupNorm", "LayerNorm", "InstanceNorm", "RMSNorm")
MAX_RELATIVE_ERROR = 1e-4  # of the outputs' largest magnitude: what another order of the same sums can change


def remove_filters(
    model: Model, variables: Variables, x: Array, share: float, path: str = "", strength: str = "l1"
) -> SmallerModel:
    """Removes the weakest filters of convolutions, or units of dense layers, from a network.

    Removed are a filter's own weights and bias, its channel of the normalizations and activations behind it, and what
    the next layers multiply it by, through a flattening as well. On rows of x the smaller network must compute what the
    network does if the next layers ignore the removed filters. Retrain it: fit(smaller.model, data, init=...). Several
    networks, one by one, become networks of one shape: their variables may be stacked for one smaller model.

    Args:
      model: a network without quantization, shared weights and hooks; quantize the smaller one.
      variables: its variables, trained.
      x: inputs [b, ...], a few rows, which the check computes with.
      share: of the filters of each layer to remove, 0 to below 1; one filter stays at least.
      path: a regular expression searched in the layers' paths ("block1/Conv_0"): only these lose filters. "" stands for
        all layers but those that feed the outputs.
      strength: which filters stay: those with the largest "l1" or "l2" norm of their weights, or the largest "scale" of
        the batch normalization behind them (network slimming).

    Returns:
      A SmallerModel.

    Raises:
      ValueError: settings out of range; a model with hooks or rules; a layer whose filters cannot be removed by itself,
        by name: it meets others in a residual sum or a concatenation, feeds the outputs or a grouped convolution, is
        called several times, or is normalized together with other channels.

    Source: Li et al., "Pruning filters for efficient ConvNets", ICLR 2017 (arXiv 1608.08710), L1; Liu et al., "Network
    slimming", ICCV 2017 (arXiv 1708.06519), scale.

    >>> from gecko_jax import models
    >>> network, x = models.create("mlp", 3, hidden=(8,)), jnp.ones((1, 4))
    >>> smaller = remove_filters(network, network.init(jax.random.key(0), x), x, share=0.5)
    >>> smaller.variables["params"]["logits"]["kernel"].shape
    (4, 3)
    """
    if not 0 <= checks.at_least("share", share, 0) < 1:
        raise ValueError(f"share={share!r} must be at least 0 and below 1: the share of filters to remove.")
    checks.one_of("strength", strength, STRENGTHS)
    expression = check_path(path)
    if model.rules or model.after_update or model.rates or CODES in variables:
        raise ValueError(
            "model is quantized, shares weights or has hooks, whose scales, codes and masks belong to the filters that "
            "are there: remove filters from the network itself, and transform the smaller one."
        )
    leaves = {name: np.asarray(leaf) for name, leaf in named_leaves(variables)}
    told = feeding(model, variables, x)
    layers = [layer for layer in told.feeders if expression.search(layer) and (path or layer not in told.last)]
    if not layers:
        raise ValueError(f"path={path!r} is found in no layer's path. Layers: {checks.listed(told.feeders, 20)}.")
    stays: dict[str, np.ndarray] = {}
    for layer in layers:
        _check_removable(layer, told)
        power = _strengths(layer, told, leaves, strength)
        count = max(1, len(power) - round(share * len(power)))
        stays[layer] = np.sort(np.argsort(-power, kind="stable")[:count])
    smaller = with_features(model, {layer: len(stay) for layer, stay in stays.items()})
    chosen, ignored = dict(leaves), dict(leaves)
    for layer, stay in stays.items():
        _remove(layer, stay, told, chosen, leaves)
        _ignore(layer, stay, told, ignored, leaves)
    sliced, reference = (
        map_named(lambda name, leaf, new=new: jnp.asarray(new[name]), variables) for new in (chosen, ignored)
    )
    _check_equal(model, reference, smaller, sliced, x)
    return SmallerModel(smaller, sliced)


def _check_removable(layer: str, told: Feeding) -> None:
    """Raises ValueError, with the layer's name, unless its filters can be removed without those of other layers."""
    reason = None
    if told.kinds.get(layer) not in ("Dense", "Conv") or layer in told.grouped:
        reason = "is neither an nn.Dense nor an nn.Conv without groups"
    elif layer in told.last:
        reason = "feeds the network's outputs, which all stay"
    elif told.calls[layer] > 1:
        reason = f"is called {told.calls[layer]} times"
    for reader in _readers(layer, told):
        if others := sorted(told.feeders[reader] - {layer}):
            reason = f"feeds {reader!r} together with {checks.listed(others)}: a residual sum or a concatenation"
        elif told.calls[reader] > 1 or told.kinds.get(reader) not in ("Dense", "Conv"):
            reason = f"feeds {reader!r}, which is called more than once or is neither nn.Dense nor nn.Conv"
        elif reader in told.grouped:
            reason = f"feeds {reader!r}, a grouped convolution"
    for owner in sorted({name.split("/", 1)[1].rpartition("/")[0] for name in told.beside.get(layer, ())}):
        if told.kinds.get(owner) in _ACROSS_CHANNELS:
            reason = f"is normalized by {owner!r} ({told.kinds[owner]}) together with the channels that would stay"
    if reason:
        raise ValueError(f"filters of {layer!r} cannot be removed: it {reason}. Choose other layers by path=.")


def _readers(layer: str, told: Feeding) -> list[str]:
    return [other for other, feeders in told.feeders.items() if layer in feeders]


def _kernel(layer: str) -> str:
    return f"params/{layer}/kernel" if layer else "params/kernel"


def _strengths(layer: str, told: Feeding, leaves: dict[str, Any], strength: str) -> np.ndarray:
    measure = STRENGTHS[strength]
    kernel = leaves[_kernel(layer)]
    if measure is not None:
        return measure(kernel.astype(np.float64))
    scales = [name for name in sorted(told.beside.get(layer, ())) if name.endswith("/scale")]
    if len(scales) != 1 or leaves[scales[0]].shape != kernel.shape[-1:]:
        raise ValueError(
            f'strength="scale" reads the scale of one batch normalization behind {layer!r}; found {scales or "none"}. '
            'Take strength="l1".'
        )
    return np.abs(leaves[scales[0]])


def _remove(layer: str, stay: np.ndarray, told: Feeding, new: dict[str, Any], leaves: dict[str, Any]) -> None:
    """Slices, in `new`, all that belongs to a layer's filters."""
    filters = leaves[_kernel(layer)].shape[-1]
    new[_kernel(layer)] = new[_kernel(layer)][..., stay]
    for name in told.beside.get(layer, ()):
        length = leaves[name].shape[-1] if leaves[name].ndim else 1
        if length > 1 and length % filters == 0:
            new[name] = new[name][..., _places(stay, filters, length)]
    for reader in _readers(layer, told):
        length = leaves[_kernel(reader)].shape[-2]
        new[_kernel(reader)] = new[_kernel(reader)][..., _places(stay, filters, length), :]


def _ignore(layer: str, stay: np.ndarray, told: Feeding, new: dict[str, Any], leaves: dict[str, Any]) -> None:
    """Sets to zero, in `new`, what the next layers multiply a layer's other filters by."""
    for reader in _readers(layer, told):
        kernel = new[_kernel(reader)]
        places = _places(stay, leaves[_kernel(layer)].shape[-1], kernel.shape[-2])
        there = np.isin(np.arange(kernel.shape[-2]), places)
        new[_kernel(reader)] = np.where(there[:, None].reshape((1,) * (kernel.ndim - 2) + (-1, 1)), kernel, 0)


def _places(stay: np.ndarray, filters: int, length: int) -> np.ndarray:
    """Returns the places of some channels in an axis that holds all channels of one position after another."""
    return (np.arange(length // filters)[:, None] * filters + stay[None]).ravel()


def _check_equal(model: Model, reference: Variables, smaller: Model, variables: Variables, x: Array) -> None:
    """Raises ValueError unless the smaller network computes what the network does that ignores the removed filters."""
    x = jax.tree.map(jnp.asarray, x)
    calls = [(model, reference), (smaller, variables)]
    try:
        pair = [jax.jit(lambda v, x, each=each: each.apply(v, x)[0])(v, x) for each, v in calls]
    except (ValueError, TypeError) as error:
        raise ValueError(f"the network does not run without these filters: {error} Choose others by path=.") from error
    for wanted, outputs in zip(*map(jax.tree.leaves, pair), strict=True):
        error = float(jnp.max(jnp.abs(wanted - outputs), initial=0)) / (float(jnp.max(jnp.abs(wanted), initial=0)) or 1)
        if not error <= MAX_RELATIVE_ERROR:
            raise ValueError(
                f"without these filters the network computes something else (relative error {error:.1e}): something "
                "between its layers mixes the channels, such as a transposition before a flattening. Choose other "
                "layers by path=."
            )
