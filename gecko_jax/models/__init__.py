r"""Architectures as `types.Model`s, and transforms from model to model.

    model = create("lenet", 10)                  or from_linen(your_module)
    model = create("transformer", 2048, layers=4, width=128, max_length=64)     logits of each token's successor
    model = without_batch_norm(model)            a normalization of each example by itself, for private training
    model = with_rates(model, {r"Quadratic_\d+/": 0.2})       another learning rate for some parameters
    model = with_range_penalty(model, activations.pillar())     a penalty on the inputs of activations
    model = multi_exit(model, r"block\d"); early_exit(model, threshold=0.9)    exits; and which of them answers
    model = quantized(model, [Rule(path="", weight=quantizers.xnor())])
    variables = reconstruct(model, calibrate(model, trained, x), x)     post-training quantization of a float network
    predict = baked(model, variables, x)         a plain function without parameters that converters take
    model = pruned(model, 0.9, "weight"); start = prune_once(model, trained, x)     for fit(model, data, init=start)
    model = shared_weights(model, bits=2); start = start_shared(model, trained, x)
    model = dynamic_sparse(model, 0.1, growth="gradient")       a fixed number of weights, dropped and grown (RigL)
    smaller = remove_filters(model, trained, x, share=0.5)      a smaller model and its variables
    model = fine_tuning.lora(rank=8).apply(model)               low-rank factors beside frozen weights
    save(folder, model, variables, x); load(folder)

A transform keeps the hooks of the model that it is put on (`Model.after_update`, `Model.rates`) and adds its own, so
that transforms compose; `with_collection` is the building block for one that keeps state of its own.
A new architecture: one file with a Linen module, and one line in MODELS; the contract test runs over it.
"""

import dataclasses

from gecko_jax import activations
from gecko_jax.checks import at_least, lookup, one_of
from gecko_jax.hooks import finish_update, with_collection
from gecko_jax.models import fine_tuning
from gecko_jax.models.alexnet import AlexNet
from gecko_jax.models.autoencoder import FCAutoencoder
from gecko_jax.models.baked import baked
from gecko_jax.models.batch_norm import without_batch_norm
from gecko_jax.models.blocks import ORDERS
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.bounds import calibrated_bounds, with_flipped_bits
from gecko_jax.models.calibration import calibrate
from gecko_jax.models.convolution import convolutions_as_matmul, ungrouped_convolutions
from gecko_jax.models.densenet import DenseNet40
from gecko_jax.models.dropout import with_dropout
from gecko_jax.models.dynamic_sparse import dynamic_sparse
from gecko_jax.models.early_exit import Answers, answers, early_exit, until_exit
from gecko_jax.models.features import with_features
from gecko_jax.models.filters import remove_filters
from gecko_jax.models.folding import fold_batch_norm
from gecko_jax.models.generation import generate
from gecko_jax.models.gpt2 import load_gpt2
from gecko_jax.models.head_search import PrunedHeads, prune_heads
from gecko_jax.models.heads import SmallerModel, apply_gated, heads_of, without_heads
from gecko_jax.models.input_gradients import input_gradients
from gecko_jax.models.lenet import LeNet
from gecko_jax.models.linen import from_linen
from gecko_jax.models.mlp import MLP
from gecko_jax.models.mobilenet import MobileNetV2
from gecko_jax.models.multi_exit import exit_paths, multi_exit
from gecko_jax.models.narrowing import with_mlp_width
from gecko_jax.models.nin import NiN
from gecko_jax.models.normalization import kind_of
from gecko_jax.models.pooling import POOLS, average_pool, max_pool
from gecko_jax.models.pruned import prune_once, pruned, without_pruning_state
from gecko_jax.models.quantized import quantized
from gecko_jax.models.quantized_layers import (
    Grid,
    float_weights,
    input_grids,
    input_quantizers,
    weight_codes,
    weight_quantizers,
)
from gecko_jax.models.range_penalty import with_range_penalty, without_penalty_state
from gecko_jax.models.rates import with_rates
from gecko_jax.models.reconstruction import reconstruct
from gecko_jax.models.resnet import ResNet20
from gecko_jax.models.resnet8 import ResNet8
from gecko_jax.models.saving import SavedModel, load, save
from gecko_jax.models.separable import DSCNN, MobileNetV1
from gecko_jax.models.shared_weights import looked_up, shared_weights, start_shared
from gecko_jax.models.sizes import check_sizes
from gecko_jax.models.split import Split, split
from gecko_jax.models.squeezenet import SqueezeNet
from gecko_jax.models.trace import Call, logits_shape, trace
from gecko_jax.models.transformer import MaskedTransformer, Transformer
from gecko_jax.models.vgg import VGG11, VGG13, VGG16, VGG19, AlexNet32
from gecko_jax.types import Model, Rule

CLASSIFIERS = {  # of images and features
    "alexnet": AlexNet,
    "alexnet32": AlexNet32,
    "densenet40": DenseNet40,
    "ds_cnn": DSCNN,
    "lenet": LeNet,
    "mlp": MLP,
    "mobilenet_v1": MobileNetV1,
    "mobilenet_v2": MobileNetV2,
    "nin": NiN,
    "resnet20": ResNet20,
    "resnet8": ResNet8,
    "squeezenet": SqueezeNet,
    "vgg11": VGG11,
    "vgg13": VGG13,
    "vgg16": VGG16,
    "vgg19": VGG19,
}
LANGUAGE_MODELS = {"masked_transformer": MaskedTransformer, "transformer": Transformer}  # of token rows
AUTOENCODERS = {"fc_autoencoder": FCAutoencoder}  # of features, with as many outputs
MODELS = {**CLASSIFIERS, **LANGUAGE_MODELS, **AUTOENCODERS}


def create(name: str, num_classes: int, **options) -> Model:
    """Creates a float model by name.

    Args:
      name: "mlp" (Gecko's Architecture 2), "lenet" (Architecture 1) or "alexnet" (for images of at least 63 x 63);
        for images of 32 x 32 "alexnet32", "densenet40", "mobilenet_v2", "nin", "resnet20", "squeezenet", "vgg11",
        "vgg13", "vgg16" or "vgg19", of which densenet40, mobilenet_v2 and resnet20 have BatchNorm unless `normalize`
        says otherwise; of MLPerf Tiny "ds_cnn" (spectrograms of 49 x 10), "mobilenet_v1" with width=0.25 (96 x 96
        pixels), "resnet8" (32 x 32) and "fc_autoencoder", all with BatchNorm; "transformer" (each token's successor) or
        "masked_transformer" (tokens that a mask hides).
      num_classes: number of outputs; 1 for regression; the vocabulary of a transformer; of an autoencoder the numbers
        of an input.
      **options: fields of the architecture: order, activation and its activation_options ({"constant": True}),
        normalize (False, True or "batch", "group", "layer"); hidden; channels and pooling ("max" or "average") of
        networks for images; width, a factor on the filters of those for 32 x 32, and what else their classes list;
        layers, width, heads, mlp_width, max_length, tied, ... of a transformer.

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
    outputs = "vocabulary" if name in LANGUAGE_MODELS else "num_classes"
    taken = ("parent", "name", outputs)
    fields = [field.name for field in dataclasses.fields(architecture) if field.name not in taken]
    for option in options:
        one_of(f"option of {name!r}", option, fields)
    if "order" in options:
        one_of("order", options["order"], ORDERS)
    if "pooling" in options:
        one_of("pooling", options["pooling"], POOLS)
    kind_of(options.get("normalize", False))
    activations.create(options.get("activation", architecture.activation), options.get("activation_options"))
    check_sizes(name, options)
    settings = {"name": name, "num_classes": num_classes, **options}
    return with_step(from_linen(architecture(**{outputs: num_classes}, **options)), "create", settings)


__all__ = [
    "AUTOENCODERS",
    "CLASSIFIERS",
    "LANGUAGE_MODELS",
    "MODELS",
    "AlexNet",
    "AlexNet32",
    "Answers",
    "Call",
    "DSCNN",
    "DenseNet40",
    "FCAutoencoder",
    "Grid",
    "LeNet",
    "MLP",
    "MaskedTransformer",
    "MobileNetV1",
    "MobileNetV2",
    "NiN",
    "PrunedHeads",
    "ResNet20",
    "ResNet8",
    "Rule",
    "SavedModel",
    "SmallerModel",
    "Split",
    "SqueezeNet",
    "Transformer",
    "VGG11",
    "VGG13",
    "VGG16",
    "VGG19",
    "answers",
    "apply_gated",
    "average_pool",
    "baked",
    "calibrate",
    "calibrated_bounds",
    "convolutions_as_matmul",
    "ungrouped_convolutions",
    "create",
    "early_exit",
    "exit_paths",
    "dynamic_sparse",
    "fine_tuning",
    "finish_update",
    "float_weights",
    "fold_batch_norm",
    "from_linen",
    "generate",
    "heads_of",
    "input_gradients",
    "input_grids",
    "input_quantizers",
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
    "reconstruct",
    "remove_filters",
    "save",
    "split",
    "shared_weights",
    "start_shared",
    "trace",
    "until_exit",
    "weight_codes",
    "weight_quantizers",
    "with_collection",
    "with_dropout",
    "with_features",
    "with_flipped_bits",
    "with_mlp_width",
    "with_range_penalty",
    "with_rates",
    "without_batch_norm",
    "without_heads",
    "without_penalty_state",
    "without_pruning_state",
]
