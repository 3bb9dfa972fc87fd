"""Switches attention heads off, and removes them: Model -> Model for the `Transformer` of this package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gecko_jax.checks import integer
from gecko_jax.json_values import dumps
from gecko_jax.models.blueprint import build
from gecko_jax.models.transformer import AttentionProduct, Transformer
from gecko_jax.programs import layer_path
from gecko_jax.types import Array, Model, Variables

PRODUCT = "/attention/product"  # what follows a block's name in the path of its inner product


class SmallerModel(NamedTuple):
    """A network that has lost heads, units or filters.

    Attributes:
      model: the smaller network.
      variables: its variables.
    """

    model: Model
    variables: Variables


def heads_of(model: Model, variables: Variables, x: Any) -> dict[str, int]:
    """Returns the number of attention heads of each block that has any, {"block0": 4}, in call order.

    Args:
      model: a model with a `Transformer` inside, fine-tuned or quantized or not.
      variables, x: its variables and token rows, or their shapes.

    Raises:
      ValueError: a model without such attention.

    >>> from gecko_jax import models
    >>> model, x = models.create("transformer", 9, layers=2, width=8, heads=2), jnp.ones((1, 3), int)
    >>> heads_of(model, jax.eval_shape(model.init, jax.random.key(0), x), x)
    {'block0': 2, 'block1': 2}
    """
    numbers: dict[str, int] = {}

    def record(next_fun, args, kwargs, context):
        outputs = next_fun(*args, **kwargs)
        if _is_product(context):
            numbers[_block_of(context)] = outputs.shape[2]
        return outputs

    with nn.intercept_methods(record):
        jax.eval_shape(lambda variables, x: model.apply(variables, x)[0], variables, x)
    if not numbers:
        raise ValueError(
            "model calls no attention of models.Transformer, whose heads can be switched off; create it by "
            'models.create("transformer", ...). Heads of nn.MultiHeadDotProductAttention are not reached.'
        )
    return numbers


def apply_gated(model: Model, variables: Variables, x: Array, gates: Mapping[str, Array]) -> Any:
    """Returns the model's outputs, each head's values multiplied by its gate.

    Args:
      model, variables, x: as of a call of the model, in evaluation.
      gates: {block: [heads]}; blocks that are left out are not changed.

    >>> from gecko_jax import models
    >>> model, x = models.create("transformer", 9, layers=1, width=8, heads=2), jnp.ones((1, 3), int)
    >>> variables = jax.jit(model.init)(jax.random.key(0), x)
    >>> jax.eval_shape(lambda: apply_gated(model, variables, x, {"block0": jnp.array([1.0, 0.0])})).shape
    (1, 3, 9)
    """

    def gate(next_fun, args, kwargs, context):
        outputs = next_fun(*args, **kwargs)
        if not _is_product(context) or _block_of(context) not in gates:
            return outputs
        return outputs * gates[_block_of(context)].astype(outputs.dtype)[None, None, :, None]

    with nn.intercept_methods(gate):
        return model.apply(variables, x)[0]


def without_heads(model: Model, variables: Variables, removed: Mapping[str, Sequence[int]]) -> SmallerModel:
    """Removes attention heads: the smaller transformer computes what the given one does with their gates at 0.

    A block that loses all its heads keeps its MLP; the bias of its attention moves to the layer before it.

    Args:
      model: a transformer of `models.create` that no other transform was put on; prune before you quantize or
        fine-tune.
      variables: its variables.
      removed: {block: numbers of its heads}, such as {"block0": (1, 3)}.

    Returns:
      A SmallerModel. Its model may be trained, quantized, saved and priced as any other.

    Raises:
      ValueError: another model, an unknown block or head.

    >>> from gecko_jax import models
    >>> model, x = models.create("transformer", 9, layers=1, width=8, heads=2), jnp.ones((1, 3), int)
    >>> smaller = without_heads(model, jax.jit(model.init)(jax.random.key(0), x), {"block0": [1]})
    >>> smaller.variables["params"]["block0"]["attention"]["query"]["kernel"].shape
    (8, 4)
    """
    settings = transformer_settings(model)
    sizes = {name: settings[name] for name in ("layers", "width", "heads", "head_width") if name in settings}
    heads_of_blocks, width = Transformer(1, **sizes).heads_of_blocks()
    params, numbers = dict(variables["params"]), {f"block{i}": number for i, number in enumerate(heads_of_blocks)}
    blocks = list(numbers)
    for name, heads in removed.items():
        if name not in blocks or not all(0 <= integer("head", head, 0) < numbers[name] for head in heads):
            raise ValueError(f"removed[{name!r}]={list(heads)!r}: the model has heads {numbers}, numbered from 0.")
    remaining = {name: [h for h in range(numbers[name]) if h not in set(removed.get(name, ()))] for name in blocks}
    for i, name in enumerate(blocks):
        if numbers[name] and not remaining[name]:
            _move_bias(params, blocks, i)
        elif len(remaining[name]) < numbers[name]:
            attention = _sliced(params[name]["attention"], remaining[name], width)
            params[name] = {**params[name], "attention": attention}
    options = {**settings, "heads": [len(remaining[name]) for name in blocks], "head_width": width}
    smaller = build((("create", dumps(options)),))
    return SmallerModel(smaller, {**variables, "params": params})


def transformer_settings(model: Model) -> dict[str, Any]:
    """Returns the arguments with which `models.create` built a transformer.

    Args:
      model: the transformer.

    Raises:
      ValueError: another model, or one that a transform was put on.
    """
    builders = [builder for builder, _ in model.blueprint]
    settings = json.loads(model.blueprint[0][1]) if builders == ["create"] else {}
    if not settings.get("name", "").endswith("transformer"):
        raise ValueError(
            f"model was built by {', then '.join(builders) or 'hand'}; parts are removed from a transformer of "
            "models.create alone. Remove first, then quantize or fine-tune the smaller one."
        )
    return settings


def _sliced(attention: Mapping[str, Any], heads: Sequence[int], width: int) -> dict[str, Any]:
    """Returns the attention's parameters without the columns (and rows of the output layer) of the other heads."""
    columns = jnp.concatenate([jnp.arange(head * width, (head + 1) * width) for head in heads])
    inputs = {name: layer for name, layer in attention.items() if name != "output"}
    inputs = jax.tree.map(lambda leaf: leaf[..., columns], inputs)
    return {**inputs, "output": {**attention["output"], "kernel": attention["output"]["kernel"][columns]}}


def _move_bias(params: dict[str, Any], blocks: list[str], i: int) -> None:
    """Drops the attention of block i from `params`; what it adds to the residual stream is a constant then."""
    block = dict(params[blocks[i]])
    bias = block.pop("attention")["output"]["bias"]
    del block["norm1"]
    params[blocks[i]] = block
    if i == 0:
        params["positions"] = {"embedding": params["positions"]["embedding"] + bias[None]}
    else:
        before = params[blocks[i - 1]]
        down = {**before["mlp"]["down"], "bias": before["mlp"]["down"]["bias"] + bias}
        params[blocks[i - 1]] = {**before, "mlp": {**before["mlp"], "down": down}}


def _is_product(context: nn.module.InterceptorContext) -> bool:
    return isinstance(context.module, AttentionProduct) and context.method_name == "__call__"


def _block_of(context: nn.module.InterceptorContext) -> str:
    return layer_path(context.module).removesuffix(PRODUCT)
