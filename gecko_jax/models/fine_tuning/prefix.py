"""Fine-tuning of keys and values that every query of attention sees beside those of the text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn

from gecko_jax import checks
from gecko_jax.models.fine_tuning.keys_and_values import Prefix, attend
from gecko_jax.models.fine_tuning.method import FineTuning, check_paths
from gecko_jax.models.fine_tuning.part import PARTS, Part, Site
from gecko_jax.models.fine_tuning.parts import with_parts
from gecko_jax.types import Array

PRODUCTS = (r"(^|/)attention/product$",)
ARGUMENTS: tuple[str, ...] = ("query", "key", "value", "mask")


def prefix(length: int = 8, paths: Sequence[str] | str = PRODUCTS, gated: bool = True) -> FineTuning:
    """Adds trained keys and values to attention, as if each row began with tokens of its own choice.

      gated:   attention(q, K, V) + tanh(gate) attention(q, P_K, P_V), with a gate for each head that starts at 0
      else:    attention(q, [P_K; K], [P_V; V]), one softmax over both

    The gate makes the tuned model compute what the model computes at the start; trained, it lets each head choose how
    far the prefix counts. Without it the prefix takes a share of the softmax from the first step on, so that the start
    differs from the model, as in the paper. (The paper draws the prefix through a small network, which is left out.)

    Args:
      length: number of keys, at least 1.
      paths: regular expressions searched in the paths of attention's inner products: modules that are called with
        (query, key, value[, mask]), each [b, t, heads, d], the mask a bool that broadcasts to [b, heads, t, s]; and of
        nn.MultiHeadDotProductAttention. Each must be found. If not given, "attention/product" of `models.Transformer`.
      gated: see above.

    Returns:
      A FineTuning whose parameters are params["fine_tuning"]["prefix"][path]["key", "value" or "gate"].

    Raises:
      ValueError: arguments out of their bounds; in `start`, `fit` and whatever else calls the model's init, an
        expression that is found in no path of such a module.

    Source: Li and Liang, "Prefix-tuning", ACL 2021 (arXiv 2101.00190), section 4; the gate is that of Zhang et al.,
    "LLaMA-Adapter", 2023 (arXiv 2303.16199), section 3.2.

    >>> import jax, jax.numpy as jnp
    >>> from gecko_jax import models
    >>> attention = models.from_linen(nn.MultiHeadDotProductAttention(num_heads=2))
    >>> model, x = prefix(3, paths="^$").apply(attention), jnp.ones((1, 4, 6))
    >>> variables = model.init(jax.random.key(0), x)
    >>> jax.tree.map(jnp.shape, variables["params"][PARTS]["prefix"][""])
    {'gate': (2,), 'key': (3, 2, 3), 'value': (3, 2, 3)}
    """
    length, patterns = checks.integer("length", length, 1), check_paths("paths", paths)
    part = Part(
        "prefix",
        patterns,
        "inner product of attention, called with (query, key, value[, mask]) of 4 axes each",
        serves=_is_attention,
        build=functools.partial(_build, length, bool(gated)),
        start=lambda module, site: lambda key: module.init(key)["params"],
        call=_call,
    )
    settings = {"length": length, "paths": patterns, "gated": bool(gated)}
    return FineTuning("prefix", lambda model: with_parts(model, part, settings), (rf"^{PARTS}/prefix/",))


def _arguments(site: Site) -> dict[str, Any]:
    return {**dict(zip(ARGUMENTS, site.args, strict=False)), **site.kwargs}


def _is_attention(site: Site) -> bool:
    if isinstance(site.module, nn.MultiHeadDotProductAttention):
        return site.output.ndim == 3
    inputs = _arguments(site)
    shapes: list[Any] = [getattr(inputs.get(name), "shape", ()) for name in ARGUMENTS[:3]]
    known = set(inputs) <= set(ARGUMENTS) and len(site.args) <= len(ARGUMENTS)
    return known and all(len(shape) == 4 for shape in shapes) and len({shape[2] for shape in shapes}) == 1


def _build(length: int, gated: bool, site: Site) -> Prefix:
    if isinstance(site.module, nn.MultiHeadDotProductAttention):
        heads = site.module.num_heads
        queries = site.args[0] if site.args else site.kwargs["inputs_q"]
        width = (site.module.qkv_features or queries.shape[-1]) // heads
        return Prefix(length, gated, heads, width, width, parent=None)
    # A gated prefix calls the product twice, and Flax creates a module's submodules once in a call.
    inner = [name for name, child in site.module._state.children.items() if isinstance(child, nn.Module)]
    if gated and inner and site.output is not None:
        raise ValueError(
            f"fine_tuning.prefix: {site.path or '(top)'} ({type(site.module).__name__}) has submodules, "
            f"{checks.listed(inner)}, and cannot be called twice. Name the path of one of these, or pass gated=False."
        )
    inputs = _arguments(site)
    *_, heads, key_width = inputs["key"].shape
    return Prefix(length, gated, heads, key_width, inputs["value"].shape[-1], parent=None)


def _call(own: Any, module: Callable[..., Array], site: Site, method: str) -> Array:
    del method
    layer: Any = site.module
    if not isinstance(layer, nn.MultiHeadDotProductAttention):
        inputs = _arguments(site)
        return attend(own(), functools.partial(_as_called, module, site), *(inputs.get(name) for name in ARGUMENTS))
    before, values = layer.attention_fn, own()

    @functools.wraps(before)  # the layer reads its signature
    def with_prefix(query, key, value, mask=None, **options):
        def attention(query, key, value, mask):
            return before(query, key, value, mask=mask, **options)

        return attend(values, attention, query, key, value, mask)

    # Linen modules are frozen; the field is the layer's own hook, and it is put back before the layer returns.
    object.__setattr__(layer, "attention_fn", with_prefix)
    try:
        return module(*site.args, **site.kwargs)
    finally:
        object.__setattr__(layer, "attention_fn", before)


def _as_called(module: Callable[..., Array], site: Site, *values: Any) -> Array:
    """Calls a product with other values, by position or by name as the network calls it."""
    named = dict(zip(ARGUMENTS, values, strict=True))
    return module(*values[: len(site.args)], **{name: named[name] for name in site.kwargs})
