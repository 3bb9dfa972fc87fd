"""The rows of the study: which ingredients each network is made of. A new row is one line in METHODS."""

from __future__ import annotations

from typing import NamedTuple


class Method(NamedTuple):
    """One row.

    Attributes:
      label: in the table.
      activation: of every layer, a name of `gecko_jax.activations.ACTIVATIONS`.
      norm: in front of every activation: "batch", "min_max" (of the deep network alone) or "none".
      pooling: "max" or "average"; the deep network has no pool.
      transition: how activations change smoothly from ReLU to polynomials: "at_once", "last_first", or "" for not.
      distilled: whether it learns from the teacher's logits beside the labels.
      weighted: whether a class counts by the inverse of its frequency, if the config asks for it.
      penalized: whether activations' inputs that leave a range are penalized.
      imitates: whether it is trained by quadratic imitation learning.
      note: what a reader should know of the row.
    """

    label: str
    activation: str
    norm: str = "batch"
    pooling: str = "average"
    transition: str = ""
    distilled: bool = False
    weighted: bool = True
    penalized: bool = False
    imitates: bool = False
    note: str = ""


STUDENT = dict(activation="quadratic", transition="at_once", distilled=True)

TEACHER, HE_FRIENDLY = "teacher", "student"
METHODS = {
    TEACHER: Method("ReLU teacher", "relu", pooling="max", note="what every gap is measured from"),
    "average": Method("ReLU, average pool", "relu", note="the first step alone"),
    "square": Method("x²", "square", norm="none", note="the activation of CryptoNets"),
    "square_norm": Method("x², BatchNorm", "square"),
    "fixed": Method("0.5 x + 0.00046984 x²", "polynomial", note="a fixed polynomial, the paper's baseline"),
    "trained": Method("a x² + b x", "quadratic", norm="none", note="trained coefficients alone"),
    "norm": Method("a x² + b x, BatchNorm", "quadratic"),
    "smooth": Method("+ smooth transition", "quadratic", transition="at_once", note="a x² + b x with BatchNorm"),
    "distilled": Method("+ distillation", "quadratic", distilled=True, note="a x² + b x with BatchNorm"),
    HE_FRIENDLY: Method("HE-friendly student", **STUDENT, note="smooth transition and distillation, with BatchNorm"),
    "no_norm": Method("student without BatchNorm", **STUDENT, norm="none"),
    "unweighted": Method("student without class weights", **STUDENT, weighted=False),
    "channel": Method(
        "student, a and b of each channel", **{**STUDENT, "activation": "quadratic_channel"}, note="costs the same"
    ),
    "last_first": Method("student, last layer first", **{**STUDENT, "transition": "last_first"}),
    "penalized": Method("student, range penalty", **STUDENT, penalized=True, note="PILLAR's, mean |z / 4.8|^p"),
    "herpn": Method("HerPN", "herpn", norm="none", note="normalized Hermite terms, which merge to one quadratic"),
    "quail": Method("QuaIL", "quadratic", imitates=True, note="layer by layer to the teacher's, then fine-tuned"),
    "min_max": Method("ApproxMinMaxNorm", "quadratic", norm="min_max", note="a x² + b x of inputs within -1..1"),
}
