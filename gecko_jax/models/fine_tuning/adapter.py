"""Fine-tuning of small bottlenecks between frozen layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import activations, checks
from gecko_jax.models.fine_tuning.method import FineTuning, check_paths
from gecko_jax.models.fine_tuning.part import PARTS, Part, Site
from gecko_jax.models.fine_tuning.parts import with_parts
from gecko_jax.models.row_products import Dense
from gecko_jax.types import Array

AFTER_ATTENTION_AND_MLP = (r"(^|/)(attention|mlp)$",)


def adapter(
    reduction: int = 16,
    paths: Sequence[str] | str = AFTER_ATTENTION_AND_MLP,
    activation: str = "relu",
    activation_options: Mapping[str, Any] | None = None,
) -> FineTuning:
    """Adds a trained bottleneck behind modules of the network, two in each block of a transformer.

      h <- h + up(activation(down(h))),  down: width -> width / reduction,  up: back

    "up" is 0 at the start, so that the tuned model computes what the model computes.

    Args:
      reduction: width of the module's outputs over that of the bottleneck, which has at least 1 unit.
      paths: regular expressions searched in the paths of all modules that return float arrays [b, ..., width]; each
        must be found. If not given, modules "attention" and "mlp": what they return, before it is added to the residual
        stream.
      activation, activation_options: of the bottleneck, see `activations.create`; "square", "quadratic" or "polynomial"
        keep a polynomial network a polynomial.

    Returns:
      A FineTuning whose parameters are params["fine_tuning"]["adapter"][path]["down" or "up"].

    Raises:
      ValueError: arguments out of their bounds, an activation with statistics over the batch (HerPN); in `start`,
        `fit` and whatever else calls the model's init, an expression that is found in no path.

    Source: Houlsby et al., "Parameter-efficient transfer learning for NLP", ICML 2019 (arXiv 1902.00751), figure 2.

    >>> from gecko_jax import models
    >>> from gecko_jax.trees import named_leaves
    >>> method, x = adapter(reduction=2, paths="dense1$"), jnp.ones((1, 5))
    >>> model = method.apply(models.create("mlp", 3, hidden=(4,)))
    >>> [name for name, _ in named_leaves(model.init(jax.random.key(0), x)["params"][PARTS])][:2]
    ['adapter/dense1/down/bias', 'adapter/dense1/down/kernel']
    """
    reduction = checks.integer("reduction", reduction, 1)
    patterns, options = check_paths("paths", paths), dict(activation_options or {})
    bottleneck = Adapter(reduction, activation, options, parent=None)
    part = Part(
        "adapter",
        patterns,
        "module that returns a float array [b, ..., width]",
        serves=_returns_features,
        build=lambda site: bottleneck,
        start=_start,
        call=_call,
        constants=_constants(bottleneck),
    )
    settings = {"reduction": reduction, "paths": patterns, "activation": activation, "activation_options": options}
    return FineTuning("adapter", lambda model: with_parts(model, part, settings), (rf"^{PARTS}/adapter/",))


class Adapter(nn.Module):
    """Computes h + up(activation(down(h))).

    Attributes:
      reduction, activation, activation_options: see `adapter`.
    """

    reduction: int
    activation: str
    activation_options: Mapping[str, Any]

    @nn.compact
    def __call__(self, h: Array) -> Array:
        """Returns the changed h [b, ..., width], in its own type."""
        width, zeros = h.shape[-1], nn.initializers.zeros_init()
        narrow = Dense(max(1, width // self.reduction), name="down")(h)
        narrow: Any = activations.create(self.activation, self.activation_options)(narrow)
        return h + Dense(width, kernel_init=zeros, name="up")(narrow).astype(h.dtype)


def _returns_features(site: Site) -> bool:
    output = site.output
    return hasattr(output, "shape") and len(output.shape) > 1 and jnp.issubdtype(output.dtype, jnp.floating)


def _start(bottleneck: nn.Module, site: Site):
    h = jax.ShapeDtypeStruct(site.output.shape, site.output.dtype)
    return lambda key: bottleneck.lazy_init(key, h)["params"]


def _constants(bottleneck: Adapter) -> dict[str, Any]:
    """Returns the complete transition of a polynomial activation: an adapter replaces no function that was trained.

    Raises:
      ValueError: an activation with statistics over the batch.
    """
    name = bottleneck.activation
    if activations.create(name, bottleneck.activation_options).switched:
        raise ValueError(
            f"activation={name!r} keeps statistics over the batch, which an adapter has no place for. Take "
            '"relu", "square" or "quadratic".'
        )
    shapes = jax.eval_shape(lambda: bottleneck.init(jax.random.key(0), jnp.ones((1, 2))))
    transition = {collection: tree for collection, tree in shapes.items() if collection == activations.TRANSITION}
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), transition)


def _call(bottleneck: Any, module: Any, site: Site, method: str) -> Array:
    del method
    return bottleneck(module(*site.args, **site.kwargs))
