"""The variables of the network after fine-tuning, without parameters beside its own."""

from __future__ import annotations

from gecko_jax import checks
from gecko_jax.models.fine_tuning.method import FineTuning
from gecko_jax.models.fine_tuning.part import PARTS
from gecko_jax.models.removed_weights import MASKS
from gecko_jax.trees import named_leaves
from gecko_jax.types import Model, Variables


def merge(method: FineTuning, model: Model, variables: Variables) -> Variables:
    """Returns variables of the network without the method's parameters, which compute what the tuned model computes.

    Args:
      method: the method that was applied, with the same settings.
      model: the tuned model, `method.apply(network)`.
      variables: its variables, without an axis of models; for several, `jax.vmap` the call.

    Returns:
      Variables of the network that the method was applied to. Outputs agree to rounding.

    Raises:
      ValueError: a model that this method was not applied to with these settings, such as another alpha; variables of
        several models; a method whose parameters no weight of the network can hold (adapters, prefixes); a quantized
        model, whose weights would be rounded after the merge; a pruned one, whose zeros would be filled; a normalized
        weight (nn.WeightNorm, nn.SpectralNorm), which would be rescaled.

    >>> import jax, jax.numpy as jnp, numpy as np
    >>> from gecko_jax import models
    >>> network, x = models.create("mlp", 3, hidden=(4,)), np.ones((1, 5), np.float32)
    >>> method = models.fine_tuning.lora(rank=2, paths="dense")
    >>> tuned = method.apply(network)
    >>> variables = jax.tree.map(lambda leaf: leaf + 0.1, tuned.init(jax.random.key(0), x))
    >>> merged = merge(method, tuned, variables)
    >>> bool(jnp.allclose(network.apply(merged, x)[0], tuned.apply(variables, x)[0], atol=1e-5))
    True
    """
    if method.merge is None:
        raise ValueError(
            f"fine_tuning.{method.name} cannot be merged: no weight of the network computes what its parameters do. "
            "Deploy the tuned model itself (models.save), or fine-tune by lora()."
        )
    steps = method.apply(Model(_unused, _unused)).blueprint
    if not set(steps) <= set(model.blueprint):
        raise ValueError(
            f"model was built by {model.blueprint}, and not by {steps[-1]}: pass the tuned model, and the method with "
            "the settings that it was applied with."
        )
    if method.name in variables["params"].get(PARTS, {}):
        if model.rules:
            raise ValueError(
                "model is quantized: its merged weights would be rounded to the quantizer's levels, and compute "
                "something else. Deploy the tuned model itself, or merge the float model and quantize the result, "
                "which is another network."
            )
        if MASKS in variables:
            raise ValueError(
                "model is pruned: a merge fills the zeros of its weights. Deploy the tuned model itself, or merge "
                "models.without_pruning_state(variables) into the network before pruning."
            )
        _check_normalized(method, variables)
    elif f"{PARTS}/{method.name}" in "".join(method.trainable or ()):
        raise ValueError(
            f"variables hold no parameters of {method.name!r}: they were merged before, or belong to another model."
        )
    return method.merge(variables)


def _unused(*args, **options):
    raise AssertionError(f"called with {args} and {options}")


def _check_normalized(method: FineTuning, variables: Variables) -> None:
    """Raises ValueError if Flax normalizes a weight that the method adds to: the sum would be normalized as well."""
    names = [name for name, _ in named_leaves(variables)]
    for path in variables["params"][PARTS][method.name]:
        layer = path.rpartition("/")[2]
        if wrong := [name for name in names if f"/{layer}/kernel/" in name or f"/{layer}/embedding/" in name]:
            raise ValueError(
                f"{path}: its weight is normalized ({checks.listed(wrong)}), and so would be what is merged into it. "
                "Deploy the tuned model itself (models.save)."
            )
