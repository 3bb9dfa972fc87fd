"""Presets of the Gecko study.

  preset         command                                                                  time on 2 cores
  quick          python -m experiments.gecko.run                                          under 2 minutes
  fashion_mnist  python -m experiments.gecko.run --preset=fashion_mnist                   about 2.5 hours
  location       python -m experiments.gecko.run --preset=location --data_dir=DIR         about 1 hour
  cifar10        python -m experiments.gecko.run --preset=cifar10 --data_dir=DIR          a GPU's work
  paper          python -m experiments.gecko.run --preset=paper --data_dir=DIR            about one GPU-hour (modeled)

DIR holds the files of CIFAR-10, Location and Purchase (`gecko_jax.datasets` says where to get them). One row alone,
which later runs in the same folder take over as it is:

  python -m experiments.gecko.run --preset=location --data_dir=DIR --methods=pruned50

The figures of quick, fashion_mnist and location are in expected/, the latter two in README.md beside this file, too.
"""

from __future__ import annotations

from experiments.gecko.config import ROWS, Config
from experiments.gecko.methods import DEFENDED, PRUNED_PERCENT, SHARED_BITS, TEMPERATURES

PAPER_ROWS = ("full", "binary_net", "xnor", "phase1_control", "phase2_homogeneous", "dp_eps8", "dp_eps2")
ANSWER_ROWS = (
    *(f"temperature{temperature}" for temperature in TEMPERATURES),
    "memguard",
    "top_k",
    "rounding",
    "label_only_answer",
)
COMPRESSED_ROWS = (
    "retrained",
    *(f"pruned{percent}" for percent in PRUNED_PERCENT),
    *(f"shared{bits}" for bits in SHARED_BITS),
    "set",
    "rigl",
    "ppb70",
)
FASHION_ROWS = (
    *("retrained", "pruned50", "pruned90", "shared8", "shared2", "temperature5", "label_only_answer"),
    *("label_smoothing", "early_stopping", "adversarial_regularization", "relaxloss", "dmp", "kcd"),
)
IMAGE_ROWS = ("nin", "alexnet32", "vgg13", "squeezenet", "mobilenet_v2")  # networks for CIFAR-10 that the paper attacks
CIFAR10 = tuple(f"cifar10:{network}" for network in IMAGE_ROWS)

PRESETS = {
    "quick": Config(
        methods=tuple(name for name in ROWS if name != "dp_binary"),  # whose gradients take minutes here
        hidden=(128, 128, 128),
        channels=(16, 32),
        dense=64,
        epochs=(30,),
        fine_tuning_epochs=(20,),
    ),
    "fashion_mnist": Config(
        dataset="fashion_mnist",
        output="runs/gecko_fashion_mnist",
        architectures=("mlp", "lenet"),
        methods=("full", "normalized", *PAPER_ROWS[1:], *FASHION_ROWS),
        models=3,
        reference=0.2,
        epochs=(15, 3),
        fine_tuning_epochs=(10, 2),
        delta=1e-5,
        dp_epochs=(15, 3),
        dp_batch_size=512,
        dp_learning_rate=3e-3,
    ),
    "location": Config(
        dataset="location",
        output="runs/gecko_location",
        architectures=("fc_location",),
        methods=("full", "normalized", *PAPER_ROWS[1:], *COMPRESSED_ROWS, *ANSWER_ROWS, *DEFENDED),
        models=6,
        reference=0.2,
        epochs=(15,),
        fine_tuning_epochs=(8,),
        dp_epochs=(10,),
        dp_batch_size=256,
        dp_learning_rate=0.01,
    ),
    "cifar10": Config(
        dataset="cifar10",
        output="runs/gecko_cifar10",
        architectures=IMAGE_ROWS,
        methods=(*PAPER_ROWS[:1], "normalized", *PAPER_ROWS[1:5], "phase2_heterogeneous", *PAPER_ROWS[5:]),
        heterogeneous_teacher="densenet40",
        models=4,
        epochs=(100,) * 5,
        fine_tuning_epochs=(50,) * 5,
        batch_size=128,
        delta=1e-5,
        dp_epochs=(50,) * 5,
        dp_batch_size=1024,
        dp_learning_rate=3e-3,
    ),
    "paper": Config(
        dataset="fashion_mnist",
        output="runs/gecko_paper",
        architectures=("mlp", "lenet", *CIFAR10, "location:fc_location", "purchase:fc_purchase"),
        methods=(*ROWS, "phase2_densenet", "phase2_resnet"),
        models=4,
        width=0.25,
        epochs=(32, 32, *[21] * len(CIFAR10), 21, 21),
        fine_tuning_epochs=(32, 32, *[21] * len(CIFAR10), 21, 21),
        delta=1e-5,
        dp_epochs=(32, 32, *[21] * len(CIFAR10), 21, 21),
        dp_batch_size=512,
        dp_learning_rate=3e-3,
    ),
}
