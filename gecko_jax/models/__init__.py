r"""Architectures as `types.Model`s, and transforms from model to model.

    model = create("lenet", 10)                  or from_linen(your_module)
    model = create("transformer", 2048, layers=4, width=128, max_length=64)     logits of each token's successor
    model = without_batch_norm(model)            a normalization of each example by itself, for private training
    model = with_rates(model, {r"Quadratic_\d+/": 0.2})       another learning rate for some parameters
    model = with_range_penalty(model, activations.pillar())     a penalty on the inputs of activations
    model = multi_exit(model, r"block\d"); early_exit(model, threshold=0.9)    exits; and which of them answers
    model = quantized(model, [Rule(path="", weight=quantizers.xnor())])
    model = fine_tuning.lora(rank=8).apply(model)               low-rank factors beside frozen weights
    save(folder, model, variables, x); load(folder)

A transform keeps the hooks of the model that it is put on (`Model.after_update`, `Model.rates`) and adds its own, so
that transforms compose; `with_collection` is the building block for one that keeps state of its own.
A new architecture: one file with a Linen module, and one line in MODELS; the contract test runs over it.
"""

import dataclasses

from gecko_jax import activations
from gecko_jax.checks import at_least, lookup, one_of, sizes
from gecko_jax.hooks import finish_update, with_collection
from gecko_jax.models import fine_tuning
from gecko_jax.models.alexnet import AlexNet
from gecko_jax.models.batch_norm import without_batch_norm
from gecko_jax.models.blocks import ORDERS
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.bounds import calibrated_bounds, with_flipped_bits
from gecko_jax.models.convolution import convolutions_as_matmul
from gecko_jax.models.dropout import with_dropout
from gecko_jax.models.dynamic_sparse import dynamic_sparse
from gecko_jax.models.early_exit import Answers, answers, early_exit, until_exit
from gecko_jax.models.generation import generate
from gecko_jax.models.gpt2 import load_gpt2
from gecko_jax.models.head_search import PrunedHeads, prune_heads
from gecko_jax.models.heads import SmallerModel, apply_gated, heads_of, without_heads
from gecko_jax.models.input_gradients import input_gradients
from gecko_jax.models.lenet import LeNet
from gecko_jax.models.linen import from_linen
from gecko_jax.models.mlp import MLP
from gecko_jax.models.multi_exit import exit_paths, multi_exit
from gecko_jax.models.narrowing import with_mlp_width
from gecko_jax.models.normalization import kind_of
from gecko_jax.models.pooling import POOLS, average_pool, max_pool
from gecko_jax.models.pruned import prune_once, pruned, without_pruning_state
from gecko_jax.models.quantized import float_weights, quantized, weight_quantizers
from gecko_jax.models.range_penalty import with_range_penalty, without_penalty_state
from gecko_jax.models.rates import with_rates
from gecko_jax.models.saving import SavedModel, load, save
from gecko_jax.models.shared_weights import looked_up, shared_weights, start_shared
from gecko_jax.models.split import Split, split
from gecko_jax.models.trace import Call, logits_shape, trace
from gecko_jax.models.transformer import MaskedTransformer, Transformer
from gecko_jax.types import Model, Rule

CLASSIFIERS = {"alexnet": AlexNet, "lenet": LeNet, "mlp": MLP}  # of images and features
LANGUAGE_MODELS = {"masked_transformer": MaskedTransformer, "transformer": Transformer}  # of token rows
MODELS = {**CLASSIFIERS, **LANGUAGE_MODELS}
SIZES = {  # option of an architecture -> (what its numbers are, how many of them; None: any number)
    "alexnet": {
        "channels": ("filters of the alexnet's five convolutions", 5),
        "hidden": ("widths of its two dense layers", 2),
    },
    "lenet": {
        "channels": ("filters of the lenet's two convolutions", 2),
        "hidden": ("widths of the lenet", 1),
    },
    "mlp": {"hidden": ("widths of the mlp", None)},
}


def create(name: str, num_classes: int, **options) -> Model:
    """Creates a float model by name.

    Args:
      name: "mlp" (Gecko's Architecture 2), "lenet" (Architecture 1) or "alexnet" (for images of at least 63 x 63);
        "transformer" (each token's successor) or "masked_transformer" (tokens that a mask hides).
      num_classes: number of outputs; 1 for regression; the vocabulary of a transformer.
      **options: fields of the architecture: order, activation and its activation_options ({"constant": True}),
        normalize (False, True or "batch", "group", "layer"); hidden; channels and pooling ("max" or "average") of
        networks for images; layers, width, heads, mlp_width, max_length, tied, ... of a transformer.

    Returns:
      A Model that maps inputs [b, ...] to logits [b, num_classes], or token rows [b, t] to [b, t, num_classes].

    Raises:
      ValueError: an unknown name or option, with the known ones.

    >>> import jax, jax.numpy as jnp
    >>> model = create("mlp", 10, hidden=(32,))
    >>> model.apply(model.init(jax.random.key(0), jnp.ones((1, 8))), jnp.ones((2, 8)))[0].shape
    (2, 10)
    """
    architecture = lookup("name", name, MODELS)
    at_least("num_classes", num_classes, 1)
    _, *fields = (field.name for field in dataclasses.fields(architecture) if field.name not in ("parent", "name"))
    for option in options:
        one_of(f"option of {name!r}", option, fields)
    if "order" in options:
        one_of("order", options["order"], ORDERS)
    if "pooling" in options:
        one_of("pooling", options["pooling"], POOLS)
    kind_of(options.get("normalize", False))
    activations.create(options.get("activation", architecture.activation), options.get("activation_options"))
    for option in options.keys() & SIZES.get(name, {}).keys():
        meaning, count = SIZES[name][option]
        numbers = (options[option],) if (name, option) == ("lenet", "hidden") else options[option]
        sizes(option, numbers, meaning, count)
    settings = {"name": name, "num_classes": num_classes, **options}
    return with_step(from_linen(architecture(num_classes, **options)), "create", settings)


__all__ = [
    "CLASSIFIERS",
    "LANGUAGE_MODELS",
    "MODELS",
    "AlexNet",
    "Answers",
    "Call",
    "LeNet",
    "MLP",
    "MaskedTransformer",
    "PrunedHeads",
    "Rule",
    "SavedModel",
    "Transformer",
    "SmallerModel",
    "Split",
    "answers",
    "apply_gated",
    "average_pool",
    "calibrated_bounds",
    "convolutions_as_matmul",
    "create",
    "early_exit",
    "exit_paths",
    "dynamic_sparse",
    "fine_tuning",
    "finish_update",
    "float_weights",
    "from_linen",
    "generate",
    "heads_of",
    "input_gradients",
    "load",
    "load_gpt2",
    "logits_shape",
    "looked_up",
    "max_pool",
    "multi_exit",
    "prune_heads",
    "prune_once",
    "pruned",
    "quantized",
    "save",
    "split",
    "shared_weights",
    "start_shared",
    "trace",
    "until_exit",
    "weight_quantizers",
    "with_collection",
    "with_dropout",
    "with_flipped_bits",
    "with_mlp_width",
    "with_range_penalty",
    "with_rates",
    "without_batch_norm",
    "without_heads",
    "without_penalty_state",
    "without_pruning_state",
]
