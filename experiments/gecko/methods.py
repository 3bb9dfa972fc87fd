"""The rows of the study: how each network is made and trained. A new row is one line in METHODS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gecko_jax import compression, models, quantizers
from gecko_jax.defenses import DEFENSES, Defense
from gecko_jax.types import Model, Rule


class Transform(NamedTuple):
    """A compression in training.

    Attributes:
      apply: (network, **settings) -> the network that is trained, and packed with its state.
      start: (that network, variables of a trained one, x) -> variables to go on from; None: it begins fresh.
    """

    apply: Callable[..., Model]
    start: Callable[..., Any] | None = None


TRANSFORMS: Mapping[str, Transform] = {
    "dynamic_sparse": Transform(models.dynamic_sparse),
    "pruned": Transform(models.pruned, models.prune_once),
    "shared_weights": Transform(models.shared_weights, models.start_shared),
}


class Method(NamedTuple):
    """One row.

    Attributes:
      label: in the table.
      options: of `models.create`, beside the architecture's own.
      rules: of `models.quantized`; () for a float network.
      start: the method whose trained variables this one goes on from, for the fine-tuning epochs; None: fresh, for all.
      teacher: "homogeneous", "heterogeneous" (the one that the config names), a name of NETWORKS, or None.
      transition: whether activations change smoothly from ReLU to polynomials.
      epsilon: the budget of a row that is trained privately; None: without privacy. Such a row has no start and no
        teacher, which its epsilon would not cover.
      note: what a reader should know of the row.
      float_layers: those that the rules leave in float; () for none.
      transform: (a name of TRANSFORMS, its settings) that training goes through; None: none.
      defense: (a name of DEFENSES, its settings) that trains the networks, answers for them, or both; None: none.
      schedules: of collections that a transform has; see `training.fit_ensemble`.
      is_trained: False for the networks of `start` as they are, of which only the answers differ.
    """

    label: str
    options: dict
    rules: tuple = ()
    start: str | None = None
    teacher: str | None = None
    transition: bool = False
    epsilon: float | None = None
    note: str = ""
    float_layers: tuple[str, ...] = ("first", "last")
    transform: tuple[str, dict[str, Any]] | None = None
    defense: tuple[str, dict[str, Any]] | None = None
    schedules: Mapping[str, Callable[[float], float]] = {}
    is_trained: bool = True

    @property
    def needs(self) -> tuple[str, ...]:
        """The methods that must be trained before this one."""
        return tuple(n for n in (self.start, "full" if self.teacher == "homogeneous" else None) if n)

    def model(self, architecture: str, num_classes: int, **options) -> Model:
        """Returns the network of this row."""
        model = models.create(architecture, num_classes, **{**options, **self.options})
        model = models.quantized(model, self.rules, self.float_layers) if self.rules else model
        if self.transform is None:
            return model
        name, settings = self.transform
        return TRANSFORMS[name].apply(model, **settings)

    def make_defense(self) -> Defense:
        """Returns the row's defense; "undefended" if it has none."""
        name, settings = self.defense or ("undefended", {})
        return DEFENSES[name](**settings)

    @property
    def reads_reference(self) -> bool:
        """Whether the row needs rows that are neither members nor evaluated."""
        return "reference" in self.make_defense().reads


def _integers(bits: int, max_activation: float) -> tuple:
    """Returns rules for weights and inputs of every layer; images lie in 0..1, activations within max_activation."""
    weights = quantizers.uniform(bits)
    return tuple(
        Rule(path=layers, weight=weights, input=quantizers.uniform(bits, max_abs=top))
        for layers, top in (("(dense|conv)1$", 1.0), ("", max_activation))
    )


NORMALIZED = dict(normalize=True)
BINARY_NET = dict(normalize=True, activation="identity")
XNOR_ORDER = dict(order="xnor")
BINARY_CONNECT_RULES = (Rule(path="", weight=quantizers.binary_connect()),)
BINARY_NET_RULES = (Rule(path="", weight=quantizers.binary(), input=quantizers.binary()),)
XNOR_RULES = (Rule(path="", weight=quantizers.xnor(), input=quantizers.xnor_input()),)
XNOR_WEIGHTS = (Rule(path="", weight=quantizers.xnor()),)  # their scale bounds activations where BatchNorm cannot
TERNARY_RULES = (Rule(path="", weight=quantizers.ternary()),)
SMALLER = "taught by a smaller one of its kind than the paper's"
FLOAT_NETWORK = "as Full precision"
SHARED_BITS = (8, 4, 3, 2)
SPARSE_INTERVAL = 25  # updates between two moves of weights
TEMPERATURES = (5, 10, 15, 20)
PRUNED_PERCENT = (10, 20, 30, 40, 50, 60, 70, 80, 90)


def _pruned(percent: int) -> Method:
    """Returns the row of a network that loses its smallest weights at once and is trained on."""
    return Method(
        f"Pruned {percent} %, retrained",
        {},
        start="full",
        note="of each kernel, the smallest weights of Full precision; control: Retrained",
        transform=("pruned", {"share": percent / 100, "granularity": "weight"}),
    )


def _shared(bits: int) -> Method:
    """Returns the row of a network whose kernels share 2^bits values each, which are trained on."""
    return Method(
        f"Weights shared, {bits} bit",
        {},
        start="full",
        note="k-means of each kernel of Full precision, its centroids trained on; control: Retrained",
        transform=("shared_weights", {"bits": bits}),
    )


def _sparse(label: str, growth: str) -> Method:
    """Returns the row of a network that has a tenth of its weights from the first step on."""
    settings = {"density": 0.1, "growth": growth, "interval": SPARSE_INTERVAL}
    schedules = {"drop": compression.cosine_drop(0.3, 0.75)}
    note = "sparse from the first step, weights dropped and grown elsewhere"
    return Method(
        f"{label}, 10 % of weights", {}, note=note, transform=("dynamic_sparse", settings), schedules=schedules
    )


def _answers(label: str, defense: str, **settings: float) -> Method:
    """Returns the row of Full precision's networks that answer something else than their logits."""
    note = "Full precision's networks; only their answers differ"
    return Method(label, {}, start="full", note=note, defense=(defense, settings), is_trained=False)


# Defense -> (label, settings): each trains the network of Full precision in its own way.
DEFENDED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "label_smoothing": ("Label smoothing", {}),
    "early_stopping": ("Early stopping", {}),
    "dropout": ("Dropout", {}),
    "l2": ("L2", {}),
    "adversarial_regularization": ("Adversarial regularization", {}),
    "relaxloss": ("RelaxLoss", {}),
    "neuguard": ("NeuGuard", {}),
    "mixup_mmd": ("MixupMMD", {}),
    "dmp": ("DMP", {}),
    "kcd": ("KCD, 3 folds", {"folds": 3}),
    "selena": ("SELENA, 5 sub-models", {"submodels": 5, "withheld": 2}),
}

METHODS = {
    "full": Method("Full precision", {}),
    "normalized": Method("Full precision, BatchNorm", NORMALIZED, note="the binary networks' twin in float"),
    "int8": Method("8-bit", NORMALIZED, _integers(8, 4.0), note="weights and inputs of all layers", float_layers=()),
    "int4": Method("4-bit", NORMALIZED, _integers(4, 3.0), note="weights and inputs of all layers", float_layers=()),
    "ternary": Method(
        "Ternary", NORMALIZED, TERNARY_RULES, note="weights of all layers, float inputs", float_layers=()
    ),
    "binary_weights": Method(
        "Binary weights", NORMALIZED, XNOR_WEIGHTS, note="XNOR's, of all layers; float inputs", float_layers=()
    ),
    "binary_connect": Method("BinaryConnect", NORMALIZED, BINARY_CONNECT_RULES, note="binary weights, float inputs"),
    "binary_net": Method("BinaryNet", BINARY_NET, BINARY_NET_RULES, note="first and last layer in float"),
    "xnor": Method("XNOR Phase I", XNOR_ORDER, XNOR_RULES, note="first and last layer in float"),
    "phase1_control": Method(
        "Phase I control", XNOR_ORDER, XNOR_RULES, "xnor", note="Phase II with true labels: differs in the loss alone"
    ),
    "phase2_homogeneous": Method(
        "Phase II homogeneous", XNOR_ORDER, XNOR_RULES, "xnor", "homogeneous", note="taught by the row Full precision"
    ),
    "phase2_heterogeneous": Method(
        "Phase II heterogeneous", XNOR_ORDER, XNOR_RULES, "xnor", "heterogeneous", note="taught by another architecture"
    ),
    "phase2_densenet": Method("Phase II, DenseNet", XNOR_ORDER, XNOR_RULES, "xnor", "densenet40", note=SMALLER),
    "phase2_resnet": Method("Phase II, ResNet", XNOR_ORDER, XNOR_RULES, "xnor", "resnet20", note=SMALLER),
    "quadratic": Method(
        "Quadratic activations",
        dict(normalize=True, activation="quadratic"),
        transition=True,
        note="a x^2 + b x grown out of ReLU: ready for encryption",
    ),
    "retrained": Method("Retrained", {}, start="full", note="Full precision, trained on: nothing is pruned or shared"),
    **{f"pruned{percent}": _pruned(percent) for percent in PRUNED_PERCENT},
    **{f"shared{bits}": _shared(bits) for bits in SHARED_BITS},
    "ppb70": _pruned(70)._replace(
        label="Pruned 70 %, PPB", defense=("ppb", {}), note="control: Pruned 70 %, retrained"
    ),
    "set": _sparse("SET", "random"),
    "rigl": _sparse("RigL", "gradient"),
    **{f"temperature{t}": _answers(f"Temperature {t}", "temperature", temperature=float(t)) for t in TEMPERATURES},
    "memguard": _answers("MemGuard", "memguard"),
    "top_k": _answers("Largest scores alone", "top_k"),
    "rounding": _answers("Rounded scores", "rounding"),
    "label_only_answer": _answers("Label alone", "label_only_answer"),
    **{name: Method(label, {}, defense=(name, dict(settings))) for name, (label, settings) in DEFENDED.items()},
    "dp_eps8": Method("DP-Adam, ε = 8", {}, epsilon=8.0, note=FLOAT_NETWORK),
    "dp_eps2": Method("DP-Adam, ε = 2", {}, epsilon=2.0, note=FLOAT_NETWORK),
    "dp_binary": Method(
        "Binary weights, DP-Adam, ε = 8",
        {},
        XNOR_WEIGHTS,
        epsilon=8.0,
        note="XNOR's weights, float inputs, no BatchNorm",
    ),
}
