"""Every figure that arXiv 2010.00912 prints, as the row and the column of this study that it stands beside.

Accuracies are in %, memory in kB (the paper's "MB" are megabits: 38.39 of them are the 1,199,882 parameters of
Architecture 1 at 32 bits). The paper prunes Location and Purchase by thresholds, in standard deviations of a layer's
weights; each stands here beside our row of the nearest share, by the compression rates in the authors' notebooks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """One printed number.

    Attributes:
      table: a key of REASONS.
      dataset, network, method: the row.
      column: its key.
      value: as printed; memory in kB.
      label: what the paper calls the row, if our row's name does not say it.
    """

    table: str
    dataset: str
    network: str
    method: str
    column: str
    value: float
    label: str = ""


EPOCHS_AND_MEMBERS = "the paper trains on the whole training file, and attacks with the test file"
THRESHOLD = "its threshold is chosen on the attacked records themselves, on the true label's probability"
INVALID = "the notebooks index the confidence vector with one-hot vectors, so that printed recalls exceed 1"
FROZEN = "published Phase I and full precision train with BatchNorm frozen after the first epoch, Phase II does not"
FLOAT_WEIGHTS = "published CIFAR weights were never binarized: binary activations on float weights"

THRESHOLDS = "the paper prunes by thresholds, three layers of four; here every kernel loses the same share"
SHORTER = "the paper trains for 50 epochs"
CLUSTERED = "the paper clusters the pruned and retrained network that leaks most, and does not train the centroids"

# table -> why ours and the printed figures may differ
REASONS: Mapping[str, Sequence[str]] = {
    "Fashion-MNIST, quantized": (EPOCHS_AND_MEMBERS, INVALID, FROZEN),
    "Fashion-MNIST, memory": (
        'the printed "MB" are megabits',
        "our binary networks keep the first and the last layer in float; the paper counts every weight as one bit",
    ),
    "CIFAR-10, Phase I and II": (
        FLOAT_WEIGHTS,
        FROZEN,
        "published Phase II trains on the teacher's arg-max",
        THRESHOLD,
    ),
    "CIFAR-10, defenses": (
        "published DP-SGD has noise multiplier 1e-6 and clips the mean of a batch: it has no epsilon",
        "published adversarial regularization trains its attacker on the evaluation's test set",
        THRESHOLD,
    ),
    "CIFAR-10, off the shelf": (THRESHOLD, "members are scored with augmentation there, without here"),
    "CIFAR-10, softmax temperature": (THRESHOLD,),
    "Prune and retrain, Fashion-MNIST": (
        THRESHOLD,
        EPOCHS_AND_MEMBERS,
        "the notebook prunes another network: two poolings and Dense 250, 421,576 parameters",
    ),
    "Prune and retrain, CIFAR-10": (
        THRESHOLD,
        EPOCHS_AND_MEMBERS,
        "the notebook prunes another network: six convolutions with BatchNorm, 309,290 parameters",
    ),
    "Prune and retrain, Location": (THRESHOLD, THRESHOLDS, SHORTER),
    "Prune and retrain, Purchase": (THRESHOLD, THRESHOLDS, SHORTER),
    "Weight sharing, Fashion-MNIST": (THRESHOLD, EPOCHS_AND_MEMBERS, CLUSTERED),
    "Weight sharing, Location": (THRESHOLD, CLUSTERED),
    "Weight sharing, Purchase": (THRESHOLD, CLUSTERED),
}


def _rows(table: str, dataset: str, columns: Sequence[str], rows: Mapping[tuple[str, str], Sequence[float]]):
    return [
        Figure(table, dataset, network, method, column, value)
        for (network, method), values in rows.items()
        for column, value in zip(columns, values, strict=True)
    ]


def _series(table: str, dataset: str, network: str, points: Iterable[tuple[str, float, str]]):
    return [Figure(table, dataset, network, method, "attack", value, label) for method, value, label in points]


ACCURACIES = ("train", "test", "attack")
CIFAR10 = "cifar10"
NAMES = {"fashion_mnist": "Fashion-MNIST", "location": "Location", "purchase": "Purchase"}
TEMPERATURES = ("full", "temperature5", "temperature10", "temperature15", "temperature20")
SHARED = ("full", "shared8", "shared4", "shared3", "shared2")
PRUNED = ("full", *(f"pruned{percent}" for percent in range(10, 100, 10)))
# The threshold in standard deviations -> our nearest share: a compression rate of r removes 1 - 1 / r of the weights.
BY_THRESHOLD = {
    "location": (
        "full",
        "pruned20",
        "pruned40",
        "pruned50",
        "pruned70",
        "pruned80",
        "pruned80",
        "pruned90",
        "pruned90",
    ),
    "purchase": (
        "full",
        "pruned20",
        "pruned30",
        "pruned50",
        "pruned60",
        "pruned70",
        "pruned80",
        "pruned80",
        "pruned90",
    ),
}


def _by_threshold(dataset: str, network: str, values: Sequence[float]) -> list[Figure]:
    points = enumerate(zip(BY_THRESHOLD[dataset], values, strict=True))
    labels = ((method, value, f"threshold {step / 4:g}") for step, (method, value) in points)
    return _series(f"Prune and retrain, {NAMES[dataset]}", dataset, network, labels)


def _plain(methods: Sequence[str], values: Sequence[float]) -> list[tuple[str, float, str]]:
    return [(method, value, "") for method, value in zip(methods, values, strict=True)]


def _shared(dataset: str, network: str, values: Sequence[float]) -> list[Figure]:
    return _series(f"Weight sharing, {NAMES[dataset]}", dataset, network, _plain(SHARED, values))


FIGURES: tuple[Figure, ...] = (
    *_rows(
        "Fashion-MNIST, quantized",
        "fashion_mnist",
        ACCURACIES,
        {
            ("lenet", "full"): (100.0, 92.35, 57.46),
            ("lenet", "binary_net"): (88.68, 86.9, 55.45),
            ("lenet", "xnor"): (87.19, 85.68, 51.05),
            ("mlp", "full"): (99.34, 89.88, 54.86),
            ("mlp", "binary_net"): (97.61, 89.60, 54.30),
            ("mlp", "xnor"): (92.67, 86.68, 51.74),
        },
    ),
    *_rows(
        "Fashion-MNIST, memory",
        "fashion_mnist",
        ("bytes",),
        {
            ("lenet", "full"): (38.39e3 / 8,),
            ("lenet", "binary_net"): (1.62e3 / 8,),
            ("lenet", "xnor"): (1.62e3 / 8,),
            ("mlp", "full"): (29.83e3 / 8,),
            ("mlp", "binary_net"): (0.93e3 / 8,),
            ("mlp", "xnor"): (0.93e3 / 8,),
        },
    ),
    *_rows(
        "CIFAR-10, Phase I and II",
        CIFAR10,
        ACCURACIES,
        {
            ("nin", "full"): (98.16, 86.16, 56.69),
            ("nin", "xnor"): (81.93, 78.74, 51.76),
            ("nin", "phase2_homogeneous"): (90.49, 83.52, 53.90),
            ("nin", "phase2_densenet"): (92.84, 83.71, 54.95),
            ("nin", "phase2_resnet"): (91.74, 83.77, 54.53),
            ("alexnet32", "full"): (97.86, 80.34, 60.40),
            ("alexnet32", "xnor"): (68.62, 66.8, 51.40),
            ("alexnet32", "phase2_homogeneous"): (76.79, 73.5, 51.85),
            ("alexnet32", "phase2_densenet"): (81.87, 76.23, 53.51),
            ("alexnet32", "phase2_resnet"): (80.12, 74.92, 53.12),
            ("vgg13", "full"): (99.58, 88.95, 58.70),
            ("vgg13", "xnor"): (79.67, 74.64, 52.65),
            ("vgg13", "phase2_homogeneous"): (89.45, 81.58, 54.98),
            ("vgg13", "phase2_densenet"): (93.45, 85.8, 54.17),
            ("vgg13", "phase2_resnet"): (94.23, 86.52, 54.46),
        },
    ),
    *_rows(
        "CIFAR-10, defenses",
        CIFAR10,
        ("test", "attack"),
        {
            ("nin", "adversarial_regularization"): (83.66, 51.92),
            ("nin", "dp_eps8"): (85.11, 54.09),
            ("nin", "phase2_homogeneous"): (83.52, 52.90),
            ("alexnet32", "adversarial_regularization"): (71.02, 51.83),
            ("alexnet32", "dp_eps8"): (79.27, 52.81),
            ("alexnet32", "phase2_homogeneous"): (73.5, 51.85),
            ("vgg13", "adversarial_regularization"): (85.19, 53.33),
            ("vgg13", "dp_eps8"): (84.91, 52.90),
            ("vgg13", "phase2_densenet"): (85.8, 53.17),
        },
    ),
    *_rows(
        "CIFAR-10, off the shelf",
        CIFAR10,
        ACCURACIES,
        {
            ("squeezenet", "full"): (88.21, 81.92, 53.07),
            ("mobilenet_v2", "full"): (97.50, 87.24, 55.57),
            ("alexnet32", "full"): (97.86, 80.34, 60.40),
            ("vgg11", "full"): (99.13, 86.43, 58.04),
            ("vgg16", "full"): (99.58, 88.95, 58.70),
            ("vgg19", "full"): (99.09, 88.18, 57.85),
        },
    ),
    *_series(
        "CIFAR-10, softmax temperature",
        CIFAR10,
        "mobilenet_v2",
        _plain(TEMPERATURES, (55.57, 54.25, 53.21, 52.85, 52.62)),
    ),
    *_series(
        "CIFAR-10, softmax temperature",
        CIFAR10,
        "squeezenet",
        _plain(TEMPERATURES, (53.25, 51.37, 51.08, 50.99, 50.93)),
    ),
    *_series(
        "Prune and retrain, Fashion-MNIST",
        "fashion_mnist",
        "lenet",
        _plain(PRUNED, (55.30, 57.26, 57.47, 57.80, 57.35, 57.44, 57.51, 57.64, 55.48, 52.04)),
    ),
    *_series(
        "Prune and retrain, CIFAR-10",
        CIFAR10,
        "vgg11",
        _plain(PRUNED, (59.83, 60.46, 61.71, 61.83, 61.30, 60.61, 59.89, 59.67, 58.85, 53.41)),
    ),
    *_by_threshold("location", "fc_location", (83.43, 85.94, 86.43, 86.08, 85.65, 85.00, 83.54, 82.36, 80.19)),
    *_by_threshold("purchase", "fc_purchase", (83.06, 83.30, 84.31, 84.20, 84.50, 84.43, 83.33, 81.94, 80.11)),
    *_series(
        "Weight sharing, Fashion-MNIST", "fashion_mnist", "mlp", _plain(SHARED, (56.57, 56.54, 55.67, 54.24, 52.64))
    ),
    *_series(
        "Weight sharing, Location", "location", "fc_location", _plain(SHARED, (81.82, 81.77, 76.07, 71.61, 61.95))
    ),
    *_series(
        "Weight sharing, Purchase", "purchase", "fc_purchase", _plain(SHARED, (84.45, 84.22, 76.27, 71.32, 62.81))
    ),
)


def published(dataset: str, network: str, method: str) -> dict[str, float] | None:
    """Returns what the paper prints for a row, by column key; None if it prints nothing.

    If several tables have a figure of one row, the first one counts.
    """
    here = [each for each in reversed(FIGURES) if each[1:4] == (dataset, network, method) and each.column in ACCURACIES]
    return {each.column: each.value for each in here} or None
