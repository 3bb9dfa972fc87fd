"""The range certificate: what keeps a polynomial network within its ciphertexts, on which data, by what margin.

Polynomials escape: a network whose values stay below 5 on clean inputs may reach 1e8 on inputs that are half as large
again. Nobody sees it under encryption. So the ranges are measured on train, validation and shifted data, bounded over
a box of inputs, and the client clips its input to that box before it encrypts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, text_tables
from gecko_jax.encrypted.circuit import Circuit
from gecko_jax.encrypted.ranges import flat_box, interval_bounds, largest_values, value_names
from gecko_jax.types import Array

BISECTIONS = 30


class Certificate(NamedTuple):
    """Ranges of a circuit's values against the headroom of their ciphertexts.

    Attributes:
      values: names of what ciphertexts hold, from the input to the output.
      headroom: [values], the absolute value that each must stay below.
      measured: {data set: [values]}, the largest absolute values on it.
      clipped: the same after clipping to the box, as clients do.
      moved: {data set: share of its entries that clipping changes}.
      bounds: [values], bounds for all inputs in the box, by interval arithmetic: sound, and loose.
      box: (low, high), each of one example's shape: what clients clip their input to.
      sound_share: the largest s <= 1 for which the bounds prove that the box, shrunk around its center by s, stays
        within the headroom. 1: no input in the box can leave it. 0: nothing is proved.
    """

    values: tuple[str, ...]
    headroom: np.ndarray
    measured: Mapping[str, np.ndarray]
    clipped: Mapping[str, np.ndarray]
    moved: Mapping[str, float]
    bounds: np.ndarray
    box: tuple[np.ndarray, np.ndarray]
    sound_share: float

    @property
    def margins(self) -> dict[str, float]:
        """The headroom over the largest value, of the tightest value on each data set; below 1, it overflows."""
        return {name: float(np.min(_ratio(self.headroom, largest))) for name, largest in self.measured.items()}

    @property
    def flags(self) -> tuple[str, ...]:
        """A sentence for each data set whose values leave the headroom, and whether clipping to the box prevents it."""
        sentences = []
        for name, largest in self.measured.items():
            over = largest >= self.headroom
            if np.any(over):
                first = int(np.argmax(over))
                stays = np.all(self.clipped[name] < self.headroom)
                sentences.append(
                    f"{name}: {self.values[first]} reaches {largest[first]:.3g}, above its headroom of "
                    f"{self.headroom[first]:.3g}; clipped to the box, the data "
                    + ("stay within it." if stays else "still leave it.")
                )
        return tuple(sentences)

    @property
    def sound(self) -> bool:
        """Whether no input in the box can leave the headroom, by the bounds."""
        return self.sound_share == 1

    def check(self) -> None:
        """Raises ValueError if the values of a data set leave the headroom although the client clips."""
        worse = [name for name, largest in self.clipped.items() if not np.all(largest < self.headroom)]
        if worse:
            sentences = [each for each in self.flags if each.endswith("leave it.")]
            raise ValueError(
                f"the network's values leave their ciphertexts on {checks.listed(worse)}. {' '.join(sentences)} Train "
                "with a range penalty or a normalization, use fewer activations, or choose a smaller box."
            )

    def table(self) -> str:
        """Returns the certificate as text: a row for each value, then the margins, the flags and the box."""
        names = list(self.measured)
        head = ["max |value|, measured", *names, "bound in the box", "headroom"]
        rows = [
            [
                value,
                *(f"{self.measured[name][i]:.3g}" for name in names),
                f"{self.bounds[i]:.3g}",
                f"{self.headroom[i]:.3g}",
            ]
            for i, value in enumerate(self.values)
        ]
        rows.append(["margin", *(f"{margin:.3g}" for margin in self.margins.values()), "", ""])
        rows.append(["clipped by the client", *(f"{self.moved[name]:.1%}" for name in names), "", ""])
        low, high = (float(corner) for corner in (self.box[0].min(), self.box[1].max()))
        proof = "proved for every input in it" if self.sound else f"proved for {self.sound_share:.1%} of its width"
        return "\n".join([
            *text_tables.aligned([head, *rows], left=1),
            *(f"FLAG {sentence}" for sentence in self.flags),
            f"Clients clip to the box {low:.4g} to {high:.4g}; within the headroom: {proof} (interval bounds), and "
            "measured on the data above.",
        ])  # fmt: skip


def certify(
    circuit: Circuit,
    data: Mapping[str, Array],
    headroom: float | Array,
    box: tuple[Any, Any] | None = None,
) -> Certificate:
    """Measures and bounds the values of a circuit against the headroom of their ciphertexts.

    Args:
      circuit: of a network, from `extract`.
      data: {name: inputs [b, *input_shape]}, such as train, validation, and `shifted` ones; the first sets the box.
      headroom: the absolute value that each ciphertext's numbers must stay below: one number, or [values] in the order
        of `value_names`. Of a compiled program: [each.bound for each in program.ranges].
      box: (low, high), numbers or arrays of one example's shape, that clients clip to; None: from the smallest to the
        largest number of the first data set.

    Returns:
      The Certificate.

    Raises:
      ValueError: no data, inputs of another shape or not finite, a headroom that is not positive or of another length,
        a box whose low is above its high.

    >>> from gecko_jax import models
    >>> from gecko_jax.encrypted import extract
    >>> import jax
    >>> model, x = models.create("mlp", 2, hidden=(3,), activation="square"), np.ones((4, 2), np.float32)
    >>> circuit = extract(model, model.init(jax.random.key(0), x), x)
    >>> certificate = certify(circuit, {"train": x, "twice": 2 * x}, headroom=1e3)
    >>> certificate.flags, certificate.sound, certificate.margins["train"] > 100
    ((), True, True)
    >>> certificate.check(), "proved for every input" in certificate.table()
    (None, True)
    """
    if not isinstance(data, Mapping) or not data:
        kind = "empty" if isinstance(data, Mapping) else f"a {type(data).__name__}"
        raise ValueError(f"data is {kind}; expected {{name: inputs}}, such as {{'train': x, 'validation': y}}.")
    names = value_names(circuit)
    for name, x in data.items():
        checks.shape(f"data[{name!r}]", checks.unmasked(f"data[{name!r}]", x), (None, *circuit.input_shape))
        checks.finite(f"data[{name!r}]", checks.not_empty(f"data[{name!r}]", x))
    allowed = np.broadcast_to(np.asarray(headroom, np.float64), (len(names),)) if np.ndim(headroom) == 0 else headroom
    allowed = np.asarray(checks.shape("headroom", allowed, (len(names),)), np.float64)
    if not np.all(allowed > 0):
        raise ValueError(f"headroom={headroom!r} must be above 0.")
    first = np.asarray(next(iter(data.values())))
    low, high = flat_box(circuit, *((first.min(), first.max()) if box is None else box))
    low, high = low.reshape(circuit.input_shape), high.reshape(circuit.input_shape)
    inside = {name: np.clip(x, low[None], high[None]) for name, x in data.items()}
    return Certificate(
        values=names,
        headroom=allowed,
        measured={name: largest_values(circuit, x) for name, x in data.items()},
        clipped={name: largest_values(circuit, x) for name, x in inside.items()},
        moved={name: float(np.mean(inside[name] != np.asarray(x))) for name, x in data.items()},
        bounds=interval_bounds(circuit, low, high),
        box=(low, high),
        sound_share=_sound_share(circuit, allowed, low, high),
    )


def shifted(x: Array, seed: int = 0) -> dict[str, np.ndarray]:
    """Returns inputs under shifts that deployment brings: larger, offset, noisy, inverted.

    Args:
      x: floats [b, ...]; integers would wrap around.
      seed: of the noise.

    Returns:
      {name: inputs [b, ...] of the same dtype}: 1.5 times as large; plus half of x's standard deviation; plus normal
      noise of that size; and largest + smallest - x.

    Raises:
      ValueError: numbers that are not floats or not finite, or no inputs.

    >>> sorted(shifted(np.array([[0.0, 2.0]])))
    ['inverted', 'noisy', 'offset', 'times 1.5']
    """
    x = np.asarray(checks.unmasked("x", checks.not_empty("x", x)))
    if x.dtype.kind != "f":
        raise ValueError(
            f"x has dtype {x.dtype}, in which shifted numbers would wrap around; expected floats, as the model reads. "
            "Convert with x.astype('float32'), and scale as in training."
        )
    checks.finite("x", x)
    size = x.std() / 2
    noise = np.random.default_rng(seed).normal(0, size, x.shape)
    changed = {"times 1.5": 1.5 * x, "offset": x + size, "noisy": x + noise, "inverted": x.max() + x.min() - x}
    return {name: each.astype(x.dtype) for name, each in changed.items()}


def _sound_share(circuit: Circuit, headroom: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    center, radius = (high + low) / 2, (high - low) / 2

    def proved(share: float) -> bool:
        return bool(np.all(interval_bounds(circuit, center - share * radius, center + share * radius) < headroom))

    if proved(1.0):
        return 1.0
    inside, outside = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if proved(middle) else (inside, middle)
    return inside


def _ratio(headroom: np.ndarray, largest: np.ndarray) -> np.ndarray:
    return np.divide(headroom, largest, out=np.full_like(headroom, np.inf), where=largest > 0)
