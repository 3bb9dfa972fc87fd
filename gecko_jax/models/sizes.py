"""Checks the numbers of an architecture's options: how many there must be, and of what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from gecko_jax import checks


class Numbers(NamedTuple):
    """What an option's numbers are.

    Attributes:
      meaning: for the message.
      count: how many there must be; None: any number. 0: the option is one number.
      inner: None: they are integers. Else each is itself a list: of as many integers, or for 0 of at least one.
      required: whether there must be one at least, if `count` is None.
    """

    meaning: str
    count: int | None = None
    inner: int | None = None
    required: bool = False


_STAGES = Numbers("filters of the convolutions of each stage, such as ((64,), (128, 128))", inner=0)
_DENSE = Numbers("widths of the dense layers before the last")
_VGG = {"channels": _STAGES, "hidden": _DENSE, "stride": Numbers("stride of the first convolution", 0)}

SIZES: dict[str, dict[str, Numbers]] = {
    "alexnet": {
        "channels": Numbers("filters of the alexnet's five convolutions", 5),
        "hidden": Numbers("widths of its two dense layers", 2),
    },
    "alexnet32": _VGG,
    "densenet40": {
        "growth": Numbers("channels that a layer adds", 0),
        "layers": Numbers("layers of each stage"),
    },
    "ds_cnn": {
        "channels": Numbers("filters of the first convolution and of each separable one", required=True),
        "window": Numbers("height and width of the first convolution's windows", 2),
    },
    "fc_autoencoder": {"hidden": Numbers("widths of the autoencoder's hidden layers")},
    "lenet": {
        "channels": Numbers("filters of the lenet's two convolutions", 2),
        "hidden": Numbers("widths of the lenet", 0),
    },
    "mlp": {"hidden": Numbers("widths of the mlp")},
    "mobilenet_v1": {
        "stages": Numbers("(filters, stride) of each separable convolution", inner=2),
        "stem": Numbers("filters of the first convolution", 0),
    },
    "mobilenet_v2": {
        "last": Numbers("filters of the last convolution", 0),
        "stages": Numbers("(expansion, filters, blocks, stride) of each stage", inner=4),
        "stem": Numbers("filters of the first convolution", 0),
    },
    "nin": {"channels": Numbers("filters of the convolutions before the class maps", 8)},
    "resnet20": {
        "blocks": Numbers("pairs of convolutions in each stage", required=True),
        "channels": Numbers("filters of each stage", required=True),
    },
    "resnet8": {"channels": Numbers("filters of each stage", required=True)},
    "squeezenet": {
        "fires": Numbers("(squeeze, expand) of each fire", inner=2),
        "stem": Numbers("filters of the first convolution", 0),
    },
    **dict.fromkeys(("vgg11", "vgg13", "vgg16", "vgg19"), _VGG),
}


def check_sizes(name: str, options: Mapping[str, Any]) -> None:
    """Raises ValueError for an option of an architecture whose numbers it cannot have.

    Args:
      name: of the architecture.
      options: those of `models.create`.
    """
    known = SIZES.get(name, {})
    for option in sorted(options.keys() & known.keys()):
        meaning, count, inner, required = known[option]
        values = (options[option],) if count == 0 else _listed(option, options[option], meaning)
        if inner is None:
            values = checks.sizes(option, values, meaning, count or None)
            if required:
                checks.not_empty(option, values)
            continue
        for part in checks.not_empty(option, values):
            checks.sizes(option, checks.not_empty(option, _listed(option, part, meaning)), meaning, inner or None)
    if "width" in options and known:
        checks.positive("width", options["width"])
    if "compression" in options:
        checks.in_range("compression", checks.positive("compression", options["compression"]), 0, 1)


def _listed(option: str, values: Any, meaning: str) -> tuple:
    """Returns several numbers as a tuple; a number or a string is not several."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ValueError(f"{option}={values!r} must be a list: {meaning}.")
    return tuple(values)
