"""The settings of one network of any combination, and which of them go together (scripts/train.py has a flag for each).

A setting that nothing would read under the others is refused: recorded, it would look as if it had been tried.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import Setting, field, idle
from gecko_jax import activations, checks, datasets, losses, models, quantizers
from gecko_jax.clippings import CLIPPINGS
from gecko_jax.costs.energy import READ_PER_BIT
from gecko_jax.models.blocks import ORDERS
from gecko_jax.models.normalization import KINDS as NORMS
from gecko_jax.training import OPTIMIZERS, SCHEDULES

# flag -> {rule that takes it: the name of its argument}
RULE_SETTINGS = {
    "threshold": {"global_norm": "threshold", "global_adapt": "threshold"},
    "gamma": {"automatic": "gamma", "psac": "r"},
}


DATASETS = (*datasets.LOADERS, "tfds:<name>")
# Networks whose filters --width multiplies, and those that are published with a normalization and have it by default.
SCALED = tuple(name for name, network in models.CLASSIFIERS.items() if hasattr(network, "width"))
NORMALIZED = tuple(name for name, network in models.CLASSIFIERS.items() if network.normalize)
# Those that a transition changes: polynomials that grow out of another function, and ReLU that is left at the end.
CHANGING = ("quadratic", "quadratic_channel", "polynomial", "relu_fit", "gelu_fit", "sigmoid_fit", "mixed_relu")


# Symmetric grids, which serve inputs if their end is given: measured on a batch, it would couple the batch's examples.
GIVEN_RANGE = tuple(name for name in quantizers.QUANTIZERS if name.startswith("uniform"))


@dataclasses.dataclass(frozen=True)
class Config:
    """Data set, architecture, quantizers, activation, distillation and loss of one network."""

    dataset: str = field("digits", "data set", DATASETS)
    data_dir: str | None = field(None, "folder to look for the data in")
    output: str = field("runs/model", "folder to save the model in; a killed run goes on from there")
    architecture: str = field("mlp", "network", models.CLASSIFIERS)
    hidden: tuple[int, ...] = field((128, 128), "widths of the mlp or alexnet; the lenet's is the first of them")
    channels: tuple[int, ...] = field((32, 64), "filters of the lenet's two convolutions, or the alexnet's five")
    width: float = field(1.0, "factor on the filters of a network for 32 x 32 pixels, such as the vgg16")
    order: str = field("post", "post: layer, norm, activation; xnor: norm, sign, layer, activation", ORDERS)
    activation: str = field("relu", "activation", activations.ACTIVATIONS)
    normalize: bool = field(
        False, f"normalization in the order post; the order xnor and {', '.join(NORMALIZED)} always have it"
    )
    norm: str = field("batch", "which: batch, or group or layer, which private training needs", NORMS)
    weights: str = field("identity", "quantizer of the weights", quantizers.QUANTIZERS)
    inputs: str = field("identity", "quantizer of the layers' inputs", quantizers.QUANTIZERS)
    input_range: float | None = field(
        None, f"largest magnitude of a layer's inputs, of --inputs={', '.join(GIVEN_RANGE)}; int8_input measures it"
    )
    float_layers: tuple[str, ...] | None = field(
        ("first", "last"), "layers that are never quantized; none: all are", ("first", "last")
    )
    loss: str = field("cross_entropy", "loss; all but cross_entropy read a teacher", losses.CLASS_LOSSES)
    teacher: str | None = field(None, "network of a float teacher, trained on the same members", models.CLASSIFIERS)
    cross_fit: int = field(0, "folds of cross-fitted teachers, 2 or more; 0: the teacher labels what it was trained on")
    models: int = field(1, "how many to train, each on its own members")
    member_rate: float = field(0.5, "chance of an example to be a member, above 0")
    epochs: int = field(20, "passes over the members")
    batch_size: int = field(64, "rows of a batch; of a private run the expected rows of a Poisson batch")
    optimizer: str = field("adam", "optimizer; of a private run DP-Adam, DP-SGD, ...", OPTIMIZERS)
    learning_rate: float = field(1e-3, "of the optimizer")
    schedule: str = field("constant", "of the learning rate", SCHEDULES)
    transition: tuple[int, ...] | None = field(None, "start and end epoch of a transition to polynomials, or to ReLU")
    seed: int | None = field(
        None, "of members, initial values and order; none: 0, and for a private run's noise and draws a secret one, in "
        "its folder. Give a private run a seed only to repeat a study: who knows it can take the noise off",
    )  # fmt: skip
    clipping: str | None = field(None, "private training, by this rule", CLIPPINGS)
    clip_norm: float = field(1.0, "R; of per_layer in all, shared equally by the layers")
    epsilon: float | None = field(None, "budget of each model, from which the noise follows")
    noise_multiplier: float | None = field(None, "noise, from which epsilon follows: give one of the two")
    delta: float | None = field(None, "below 1/n; none: the largest power of ten up to 1/(2n), n expected members")
    threshold: float | None = field(None, "Z of global_norm (none: R), or where global_adapt starts (none: 50 R)")
    gamma: float | None = field(None, "gamma of automatic (none: 0.01), r of psac (none: 0.1)")
    private_teacher: bool = field(False, "train the teacher privately as well; epsilon then covers both")
    memory: str = field("dram", "memory that the printed costs read the weights from", READ_PER_BIT)

    def __post_init__(self):
        if self.float_layers is None:
            object.__setattr__(self, "float_layers", ())
        checks.one_of("architecture", self.architecture, models.CLASSIFIERS)
        checks.one_of("order", self.order, ORDERS)
        checks.one_of("norm", self.norm, NORMS)
        checks.one_of("activation", self.activation, activations.ACTIVATIONS)
        checks.one_of("weights", self.weights, quantizers.QUANTIZERS)
        checks.one_of("inputs", self.inputs, quantizers.QUANTIZERS)
        checks.one_of("loss", self.loss, losses.CLASS_LOSSES)
        checks.one_of("optimizer", self.optimizer, OPTIMIZERS)
        checks.one_of("schedule", self.schedule, SCHEDULES)
        checks.one_of("memory", self.memory, READ_PER_BIT)
        checks.at_least("models", self.models, 1)
        if ("teacher" in losses.CLASS_LOSSES[self.loss]().reads) != (self.teacher is not None):
            raise ValueError(
                f"loss={self.loss!r} with teacher={self.teacher!r}: symmetric_cross_entropy, kullback_leibler and "
                "hard_labels need a teacher, and cross_entropy takes none."
            )
        if self.teacher is not None:
            checks.one_of("teacher", self.teacher, models.CLASSIFIERS)
        if self.transition is not None:
            checks.shape("transition", self.transition, (2,))
        _check_sizes(self)
        _check_privacy(self)
        for name, (applies, needs) in EFFECTS.items():
            if getattr(self, name) != type(self).__dataclass_fields__[name].default and not applies(self):
                raise ValueError(f"{name}={getattr(self, name)!r} has no effect here: it needs {needs}. Leave it out.")

    def idle(self) -> dict[str, str]:
        """Returns the settings that nothing reads under the others: name -> what would make them count."""
        return idle(self, EFFECTS)


def _uses(config: Config, *architectures: str) -> bool:
    return config.architecture in architectures or config.teacher in architectures


# setting -> (whether something reads it, what it needs to be read)
EFFECTS = {
    "hidden": Setting(
        lambda c: _uses(c, "mlp", "alexnet") or (_uses(c, "lenet") and len(c.hidden) == 1),
        "an mlp, an alexnet, or one width alone, which is the lenet's dense layer",
    ),
    "channels": Setting(
        lambda c: _uses(c, "lenet", "alexnet"), "a lenet or an alexnet, as --architecture or --teacher"
    ),
    "width": Setting(lambda c: _uses(c, *SCALED), f"{', '.join(SCALED)}, as --architecture or --teacher"),
    "norm": Setting(lambda c: c.normalize or c.order == "xnor" or _uses(c, *NORMALIZED), "--normalize or --order=xnor"),
    "input_range": Setting(lambda c: c.inputs in GIVEN_RANGE, f"--inputs={' or '.join(GIVEN_RANGE)}"),
    "float_layers": Setting(  # () exempts no layer, which is so of a float network, too
        lambda c: c.weights != "identity" or c.inputs != "identity" or not c.float_layers, "--weights or --inputs"
    ),
    "cross_fit": Setting(lambda c: c.teacher is not None, "a --teacher and a --loss that reads it"),
    "transition": Setting(lambda c: c.activation in CHANGING, f"--activation={' or '.join(CHANGING)}"),
    "clip_norm": Setting(lambda c: c.clipping is not None, "a rule of private training, such as --clipping=flat"),
}


def _check_sizes(config: Config) -> None:
    """Raises ValueError for a size that its network cannot have, named as the flag is."""
    if _uses(config, "lenet"):
        checks.sizes("hidden", config.hidden[:1], "the lenet's dense layer takes the first of them", 1)
        checks.sizes("channels", config.channels, "one number for each of the lenet's two convolutions", 2)
    if _uses(config, "alexnet"):
        checks.sizes("hidden", config.hidden, "the widths of the alexnet's two dense layers", 2)
        checks.sizes("channels", config.channels, "one number for each of the alexnet's five convolutions", 5)
    checks.sizes("hidden", config.hidden, "the widths of the mlp")
    checks.positive("width", config.width)
    if config.input_range is not None:
        checks.positive("input_range", config.input_range)
    elif config.inputs in GIVEN_RANGE:
        raise ValueError(
            f"inputs={config.inputs!r} without input_range: the grid of a layer's inputs must not depend on the other "
            "examples of a batch. Give its end, --input_range=4, say, or take --inputs=int8_input, which measures a "
            "range over all of training (private training refuses that)."
        )
    for name in config.float_layers:
        checks.one_of("float_layers", name, ("first", "last"))
    for name in ("models", "epochs", "batch_size"):
        checks.integer(name, getattr(config, name), 1)
    for name in ("learning_rate", "member_rate"):
        checks.positive(name, getattr(config, name))
    checks.in_range("member_rate", config.member_rate, 0, 1)
    if checks.integer("cross_fit", config.cross_fit, 0) == 1:
        raise ValueError("cross_fit=1 must be 0, or at least 2: a teacher labels the folds that it was not trained on.")
    if config.transition is not None and not 0 <= config.transition[0] < config.transition[1] < config.epochs:
        raise ValueError(f"transition={config.transition!r} must satisfy 0 <= start < end < epochs={config.epochs}.")


def _check_privacy(config: Config) -> None:
    """Raises ValueError for flags of private training that contradict each other; the library checks the values."""
    flags_of_it = ("epsilon", "noise_multiplier", "delta", *RULE_SETTINGS)
    names_set = [name for name in flags_of_it if getattr(config, name) is not None]
    if config.clipping is None:
        if names_set or config.private_teacher:
            names = ", ".join([*names_set, *["private_teacher"] * config.private_teacher])
            raise ValueError(f"{names} without clipping: nothing would be private. Name a rule: --clipping=flat, say.")
        return
    checks.one_of("clipping", config.clipping, CLIPPINGS)
    checks.positive("clip_norm", config.clip_norm)
    if (config.epsilon is None) == (config.noise_multiplier is None):
        raise ValueError(
            f"epsilon={config.epsilon} and noise_multiplier={config.noise_multiplier}: private training takes one of "
            "the two, the other follows from it."
        )
    for name, takers in RULE_SETTINGS.items():
        if name in names_set and config.clipping not in takers:
            value = getattr(config, name)
            raise ValueError(f"{name}={value} is a setting of {', '.join(takers)}, not of {config.clipping!r}.")
    if config.private_teacher and (config.teacher is None or config.cross_fit):
        raise ValueError(
            f"private_teacher with teacher={config.teacher!r} and cross_fit={config.cross_fit}: it takes a teacher "
            "that is trained once, on all members (cross_fit=0)."
        )
