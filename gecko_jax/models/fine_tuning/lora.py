"""Fine-tuning of low-rank factors beside frozen weights."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gecko_jax import checks
from gecko_jax.models.axes import weight_axes
from gecko_jax.models.fine_tuning.factors import factors_of
from gecko_jax.models.fine_tuning.method import FineTuning, check_paths
from gecko_jax.models.fine_tuning.part import PARTS, Part, Site
from gecko_jax.models.fine_tuning.parts import with_parts
from gecko_jax.models.trace import kernel_of, traced
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Variables

QUERIES_AND_VALUES = (r"(^|/)(query|value)$",)


def lora(rank: int = 8, alpha: float | None = None, paths: Sequence[str] | str = QUERIES_AND_VALUES) -> FineTuning:
    """Adds a trained product of two low-rank factors to the outputs of frozen layers.

      y = W x + b + (alpha / rank) B A x

    A is random and B is 0 at the start, so that the tuned model computes what the model computes. The product B A is
    never formed: the layer's inputs go through A, then through B. Private training therefore keeps no array of a
    weight's size for each example.

    Args:
      rank: r of the factors, at least 1.
      alpha: scale of the update, above 0; None: `rank`, so that the factor is 1. With a fixed alpha the learning rate
        need not be tuned again for another rank.
      paths: regular expressions searched in the paths of layers with a kernel: the queries and values of attention
        (Hu et al., section 4.2) if not given. Others: (r"/(query|key|value|output|up|down)$",) for all products of
        a transformer's blocks. Each must be found.

    Returns:
      A FineTuning whose parameters are params["fine_tuning"]["lora"][path]["a" or "b"]["kernel"]. It serves nn.Dense,
      nn.DenseGeneral, nn.Embed (a tied output layer, `attend`, as well) and nn.Conv. On a quantized model,
      lora().apply(models.quantized(model, rules)), the frozen weights are quantized and the factors are not, and they
      read the layer's inputs before their quantization.

    Raises:
      ValueError: arguments out of their bounds; in `start`, `fit` and whatever else calls the model's init, an
        expression that is found in no path, and a layer of another kind, or whose weights are stored in another
        arrangement than it reads (nn.scan, nn.vmap, nn.map_variables).

    Source: Hu et al., "LoRA: Low-rank adaptation of large language models", ICLR 2022 (arXiv 2106.09685), equation 3;
    for quantized base models Dettmers et al., "QLoRA", NeurIPS 2023 (arXiv 2305.14314), equation 5.

    >>> from gecko_jax import models
    >>> method, x = lora(rank=2, paths="dense"), jnp.ones((1, 5))
    >>> model = method.apply(models.create("mlp", 3, hidden=(4,)))
    >>> {name: leaf.shape for name, leaf in named_leaves(model.init(jax.random.key(0), x)["params"][PARTS])}
    {'lora/dense1/a/kernel': (5, 2), 'lora/dense1/b/kernel': (2, 4)}
    """
    rank = checks.integer("rank", rank, 1)
    scale = float(checks.positive("alpha", rank if alpha is None else alpha)) / rank
    patterns = check_paths("paths", paths)
    part = Part(
        "lora",
        patterns,
        "layer with a kernel",
        serves=lambda site: kernel_of(site.module) is not None,
        build=functools.partial(factors_of, rank),
        start=_start,
        call=functools.partial(_call, scale),
        methods=("__call__", "attend"),
        check=_check_stored,
    )
    settings = {"rank": rank, "alpha": alpha, "paths": patterns}
    return FineTuning(
        "lora",
        lambda model: with_parts(model, part, settings),
        (rf"^{PARTS}/lora/",),
        merge=functools.partial(_merged, scale),
    )


def _start(factors: nn.Module, site: Site):
    inputs = _input(site)
    x = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
    return lambda key: factors.lazy_init(key, x)["params"]


def _input(site: Site) -> Array:
    return site.args[0] if site.args else next(iter(site.kwargs.values()))


def _call(scale: float, factors: Any, layer: Any, site: Site, method: str) -> Array:
    y = layer(*site.args, **site.kwargs)
    return y + getattr(factors, method)(_input(site), scale).astype(y.dtype)


def _check_stored(model: Model, variables: Variables, x: Any, sites: dict[str, Site]) -> None:
    """Raises ValueError for a layer that reads a transpose or a part of what is stored: B A would not fit it."""
    axes = traced(model, variables, x).axes
    for path, site in sites.items():
        name = f"{path}/{'embedding' if isinstance(site.module, nn.Embed) else 'kernel'}".lstrip("/")
        stored = dict(named_leaves(variables["params"])).get(name)
        if stored is None or axes.get(name) != weight_axes(site.module, len(stored.shape)):
            raise ValueError(
                f"fine_tuning.lora: {path or '(top)'} reads its weights in another arrangement than they are stored in "
                "(nn.scan, nn.vmap, nn.map_variables). Write the layer out, or name other paths."
            )


def _merged(scale: float, variables: Variables) -> dict[str, Any]:
    """Returns the variables without the factors, whose products are added to the weights."""
    params = dict(variables["params"])
    methods = dict(params.pop(PARTS))
    products = {}
    for path, factors in methods.pop("lora").items():
        [(kind, a)] = factors["a"].items()
        products[f"{path}/{kind}".lstrip("/")] = a, factors["b"]["kernel"]

    def add(name: str, leaf: Array) -> Array:
        if name not in products:
            return leaf
        a, b = products[name]
        if (*a.shape[:-1], *b.shape[1:]) != leaf.shape:  # a product over the models would be another number
            raise ValueError(
                f"{name} has shape {leaf.shape}, its factors {a.shape} and {b.shape}: they are of several models. "
                "Merge each by itself: jax.vmap(lambda each: fine_tuning.merge(method, model, each))(variables)."
            )
        return leaf + scale * jnp.tensordot(a, b, 1).astype(leaf.dtype)

    params = map_named(add, params)
    return {**variables, "params": {**params, PARTS: methods} if methods else params}
