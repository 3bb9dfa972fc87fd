"""The networks of the study: what each is called in `--architectures`, and which model it is.

A network of the table may stand behind a data set, "location:fc_location"; alone it is of the config's own data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gecko_jax import checks, models


class Network(NamedTuple):
    """One network.

    Attributes:
      model: its name in `gecko_jax.models`.
      options: of `models.create`; None: the config's flags give them.
    """

    model: str
    options: Mapping[str, Any] | None = None


# Of CIFAR-10 in the paper and its circle, for images of 32 x 32; the two of the appendix are for Location and Purchase.
IMAGES = (
    "alexnet32",
    "densenet40",
    "mobilenet_v2",
    "nin",
    "resnet20",
    "squeezenet",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
)

NETWORKS = {
    "lenet": Network("lenet"),
    "mlp": Network("mlp"),
    "fc_location": Network("mlp", {"hidden": (512, 256, 128)}),
    "fc_purchase": Network("mlp", {"hidden": (1024, 512, 256, 128)}),
    # The paper's VGG has BatchNorm; some of the others have it by themselves.
    **{name: Network(name, {"normalize": True} if name.startswith("vgg") else {}) for name in IMAGES},
}


def is_normalized(network: str) -> bool:
    """Tells whether a network has BatchNorm in its row of full precision.

    >>> is_normalized("vgg13"), is_normalized("resnet20"), is_normalized("nin")
    (True, True, False)
    """
    model, options = NETWORKS[network]
    return bool((options or {}).get("normalize", models.CLASSIFIERS[model].normalize))


class Place(NamedTuple):
    """A network on a data set; `index` is its place in the config's lists (architectures, epochs, ...)."""

    dataset: str
    network: str
    index: int


def places(architectures: tuple[str, ...], dataset: str) -> tuple[Place, ...]:
    """Returns the networks that are named, each with its data set.

    Args:
      architectures: "network", or "data set:network".
      dataset: of those without one.

    Raises:
      ValueError: an unknown network, or one that is named twice on a data set.

    >>> places(("mlp", "tfds:cifar10:lenet"), "digits")
    (Place(dataset='digits', network='mlp', index=0), Place(dataset='tfds:cifar10', network='lenet', index=1))
    """
    named = []
    for index, each in enumerate(architectures):
        of, _, network = each.rpartition(":")
        named.append(Place(of or dataset, checks.one_of("architecture", network, NETWORKS), index))
    if len({place[:2] for place in named}) < len(named):
        raise ValueError(f"architectures={architectures} name a network twice on one data set: name it once.")
    return tuple(named)
