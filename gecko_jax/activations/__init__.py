"""Activations, each a small Linen module: one that is trained brings its own parameters.

  name                 function                                      trained      where it serves
  bounded_relu         max(x, 0) up to a bound, 0 beyond             bound        float networks, against bit flips
  clamp                clamp(x + 1/2, 0, 1)                          -            two-party inference
  gelu                 x Phi(x), by a hyperbolic tangent or exact    -            transformers
  gelu_fit             a polynomial close to GELU on an interval     -            after a transition, or float training
  herpn                normalized Hermite polynomials of ReLU        gamma, beta  networks of medium depth
  identity             x                                             -            binary networks, whose sign comes next
  mixed_relu           ReLU mixed with another one that fades        -            float networks
  polynomial           sum_k c_k x^k with fixed c                    -            baselines under encryption
  quadratic            a x^2 + b x (+ c), one (a, b) for each layer  a, b (, c)   deep networks under encryption
  quadratic_channel    the same, one (a, b) for each channel         a, b (, c)   the same
  relu                 max(x, 0)                                     -            float networks
  relu_fit             a polynomial close to ReLU on an interval     -            as gelu_fit
  sigmoid_fit          a polynomial close to a sigmoid               -            as gelu_fit
  square               x^2                                           -            two or three layers under encryption

An activation declares what it is (`Activation`): monotone, a polynomial, with statistics over the batch.
A new activation: one file and one line in ACTIVATIONS; the contract test runs over it.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from gecko_jax.activations.activation import TRANSITION, Activation
from gecko_jax.activations.bounded import BoundedRelu
from gecko_jax.activations.clamp import Clamp
from gecko_jax.activations.fits import FUNCTIONS, METHODS, PolynomialFit, fit_polynomial
from gecko_jax.activations.fitted import Fitted
from gecko_jax.activations.gelu import Gelu
from gecko_jax.activations.herpn import HerPN
from gecko_jax.activations.identity import Identity
from gecko_jax.activations.mixed import MIXTURE, MixedRelu
from gecko_jax.activations.penalties import PENALTIES, RangePenalty, extremes, outside, pillar
from gecko_jax.activations.polynomial import Polynomial
from gecko_jax.activations.quadratic import Quadratic
from gecko_jax.activations.relu import Relu
from gecko_jax.activations.square import Square
from gecko_jax.checks import lookup, one_of

ACTIVATIONS = {
    "bounded_relu": BoundedRelu,
    "clamp": Clamp,
    "gelu": Gelu,
    "gelu_fit": functools.partial(Fitted, function="gelu"),
    "herpn": HerPN,
    "identity": Identity,
    "mixed_relu": MixedRelu,
    "polynomial": Polynomial,
    "quadratic": Quadratic,
    "quadratic_channel": functools.partial(Quadratic, granularity="channel"),
    "relu": Relu,
    "relu_fit": functools.partial(Fitted, function="relu"),
    "sigmoid_fit": functools.partial(Fitted, function="sigmoid"),
    "square": Square,
}


def create(name: str, options: Mapping[str, Any] | None = None) -> Activation:
    """Creates an activation by name.

    Args:
      name: one of ACTIVATIONS.
      options: its settings, {field: value}; None for the usual ones.

    Raises:
      ValueError: an unknown name, or an option that this activation does not have.

    >>> create("quadratic", {"constant": True}).constant
    True
    """
    factory = lookup("activation", name, ACTIVATIONS)
    # The class, because an instance made within a layer's call would take a name of that layer.
    module: type[Activation] = getattr(factory, "func", factory)
    fixed = ("parent", "name", *getattr(factory, "keywords", ()))
    fields = [field.name for field in dataclasses.fields(module) if field.name not in fixed]
    for option in options or {}:
        one_of(f"option of activation {name!r}", option, fields or ["none: it has no settings"])
    return factory(**(options or {}))


__all__ = [
    "ACTIVATIONS",
    "FUNCTIONS",
    "METHODS",
    "MIXTURE",
    "TRANSITION",
    "Activation",
    "PENALTIES",
    "BoundedRelu",
    "Clamp",
    "Fitted",
    "Gelu",
    "HerPN",
    "Identity",
    "MixedRelu",
    "Polynomial",
    "PolynomialFit",
    "Quadratic",
    "RangePenalty",
    "Relu",
    "Square",
    "create",
    "extremes",
    "fit_polynomial",
    "outside",
    "pillar",
]
