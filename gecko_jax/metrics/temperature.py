"""Temperature scaling: one number, fitted after training on held-out records, that divides all logits.

It changes confidences and never the most likely class. `scipy.special.softmax(logits / temperature, -1)` are the scaled
probabilities. The number leaks something about the held-out records, unless it is fitted by noised gradient descent.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, special

from gecko_jax import checks
from gecko_jax.digests import sha256
from gecko_jax.metrics.calibration import check_class_numbers
from gecko_jax.metrics.gaussian_dp import gaussian_epsilon
from gecko_jax.types import Array

UNDERFLOW_NATS = 745.0  # exp of less than minus this is 0 in float64
MASK_RATIO = 1e3  # a logit this many usual margins below the row's largest was masked, not computed
MAX_TEMPERATURE = 1e3  # the private fit stays between 1 / MAX_TEMPERATURE and it, however large the noise


def _inverse_softplus(value: float) -> float:
    return value + math.log(-math.expm1(-value))


def _checked(logits: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    """Returns logits [n, c] minus each row's largest, and of these the label's [n]; both are at most 0."""
    logits = np.asarray(logits, np.float64)
    checks.finite("logits", np.where(np.isneginf(logits), 0.0, logits))  # a class of probability 0 is allowed
    checks.shape("logits", logits, (None, None))
    checks.at_least("number of classes", logits.shape[1], 2)
    labels = check_class_numbers("labels", labels, logits.shape)
    top = logits.max(-1, keepdims=True)
    if np.isneginf(top).any():
        row = int(np.flatnonzero(np.isneginf(top))[0])
        raise ValueError(f"logits[{row}] is -inf throughout; a row needs at least one class of probability above 0.")
    logits = _without_masked(logits - top)
    chosen = logits[np.arange(len(labels)), labels]
    impossible = np.flatnonzero(np.isneginf(chosen))
    if len(impossible):
        row = int(impossible[0])
        raise ValueError(
            f"logits give {len(impossible)} labels probability 0, the first in row {row}: class {labels[row]} is "
            "masked (its logit is -inf, or as good as). No temperature makes its likelihood more than 0. Leave out the "
            "records whose label is masked, or correct the mask."
        )
    return logits, chosen


def _without_masked(logits: np.ndarray) -> np.ndarray:
    """Returns logits [n, c] minus each row's largest, with -inf for -1e9, -65504 and other numbers that mean it.

    A masked logit has probability 0 in float64 and lies far lower than the usual margin between the two largest classes
    explains. Logits that are large throughout are confident, not masked.
    """
    second = np.where(logits < 0, logits, -np.inf).max(-1)
    margins = -second[np.isfinite(second)]
    usual = np.quantile(margins, 0.25) if len(margins) else np.inf
    return np.where(logits < -max(UNDERFLOW_NATS, MASK_RATIO * usual), -np.inf, logits)


def _slopes(logits: np.ndarray, chosen: np.ndarray, inverse: float) -> np.ndarray:
    """Returns [n], the derivative of each record's NLL by the inverse temperature b: E_softmax(b z)[z] - z_label."""
    possible = np.isfinite(logits)
    finite = np.where(possible, logits, 0.0)
    weights = np.where(possible, np.exp(inverse * finite), 0.0)
    return (weights * finite).sum(-1) / weights.sum(-1) - chosen


def fit_temperature(logits: Array, labels: Array) -> float:
    """Returns the temperature T > 0 that minimizes mean_i -log softmax(logits_i / T)[label_i].

    In 1 / T the mean is convex, and its derivative is mean_i(E_softmax(z_i / T)[z_i] - z_i,label), whose one root is
    bracketed by doubling and located by Brent's method.

    Args:
      logits: [n, c], of records that were not trained on; -inf for a class that is ruled out.
      labels: [n] integers in 0..c-1.

    Returns:
      T: above 1 for an overconfident model, below 1 for an underconfident one.

    Raises:
      ValueError: wrong shapes, a logit that is NaN or +inf, labels out of range; a label of probability 0 (a logit of
        -inf, or masked by a number like -1e9); labels that are all among the largest logits (the best T is 0) or
        predicted no better than by chance (the best T is infinite).

    Source: Guo et al., "On Calibration of Modern Neural Networks" (2017), section 4.2.

    >>> logits = [[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [2.0, 0.0]]
    >>> round(fit_temperature(logits, [0, 0, 0, 1]), 4)  # 2 / log(3): three of four are right
    1.8205
    """
    logits, chosen = _checked(logits, labels)

    def slope(inverse):
        return _slopes(logits, chosen, inverse).mean()

    if not chosen.any():
        raise ValueError(
            "labels are all among the largest logits; no temperature is best: the lower, the better. "
            "Fit on held-out records, and on enough of them to hold an error."
        )
    if slope(0.0) >= 0:
        raise ValueError(
            "labels have logits no larger, on average, than the other classes have; no temperature is best: "
            "the higher, the better. Check that logits and labels are of the same records."
        )
    low = high = 1.0
    while slope(low) > 0:
        low /= 2
    while slope(high) < 0:
        high *= 2
    inverse: Any = optimize.brentq(slope, low, high, xtol=1e-12 * low) if low < high else 1.0
    return float(1.0 / inverse)


class PrivateTemperature(NamedTuple):
    """A temperature that was fitted privately, by `steps` Gaussian mechanisms without sampling.

    Attributes:
      temperature: T > 0.
      noise_multiplier: standard deviation of the noise over the sensitivity of one step's sum, clip_norm.
      steps: number of times the records were read.
    """

    temperature: float
    noise_multiplier: float
    steps: int

    def epsilon(self, delta: float) -> float:
        """Returns the smallest epsilon with which the fit is (epsilon, delta)-private; infinite without noise.

        `steps` Gaussian mechanisms are one of mu = sqrt(steps) / noise_multiplier: see `gaussian_epsilon`.

        Args:
          delta: in (0, 1).

        Raises:
          ValueError: delta is not strictly between 0 and 1.

        Source: the composition: Dong, Roth and Su, "Gaussian Differential Privacy" (2019), corollary 3.3.

        >>> round(PrivateTemperature(1.0, noise_multiplier=10.0, steps=100).epsilon(1e-5), 3)  # mu = 1
        4.377
        """
        mu = math.sqrt(self.steps) / self.noise_multiplier if self.noise_multiplier else math.inf
        return gaussian_epsilon(mu, delta)


def fit_temperature_privately(
    logits: Array,
    labels: Array,
    clip_norm: float,
    noise_multiplier: float,
    steps: int,
    learning_rate: float,
    seed: int | None = None,
) -> PrivateTemperature:
    """Fits a temperature by differentially private gradient descent on the one parameter; see `fit_temperature`.

    1 / T = softplus(a), from T = 1. Step t = 0..steps-1, with all records:
    a <- a - learning_rate * (1 - t / steps) * (sum_i clip(g_i) + noise_multiplier * clip_norm * N(0, 1)) / n,
    where clip cuts to -clip_norm..clip_norm, and g_i = sigmoid(a) * (E_softmax(z_i / T)[z_i] - z_i,label).

    T is kept within 1e-3..1e3. The guarantee is of one record added or removed, which moves a sum by clip_norm at most.
    (Replacing one record moves it by twice that: the epsilon is then that of half the noise multiplier.) n is taken to
    be public. The records must not be those that the model was trained on, or the two budgets add up.

    Args:
      logits: [n, c], of records that were not trained on; -inf for a class that is ruled out.
      labels: [n] integers in 0..c-1.
      clip_norm: above 0; bounds each record's derivative by a. 1 is usual.
      noise_multiplier: at least 0; 0 is not private.
      steps: at least 1. 20 to 100 are usual.
      learning_rate: of the first step, above 0; it falls linearly, to learning_rate / steps in the last.
      seed: None for noise that nobody can repeat, from the operating system. A number in 0..2^32-1 repeats a study;
        whoever knows it can remove the noise. The noise then depends on the logits, labels and settings too: no two
        fits that differ in anything share it.

    Returns:
      The temperature, and the record from which its epsilon follows; see `PrivateTemperature.epsilon`. The budget of
      trying several settings is not in it.

    Raises:
      ValueError: wrong shapes, a logit that is NaN or +inf, labels out of range, a label of probability 0, or a setting
        outside its bound.

    Source: Zhang et al., "A Closer Look at the Calibration of Differentially Private Learners" (arXiv 2210.08248),
    DP-TS, with the parametrization and the schedule of the authors' code.

    >>> fit = fit_temperature_privately([[2.0, 0.0]] * 4, [0, 0, 0, 1], 10.0, 0.0, steps=100, learning_rate=4.0)
    >>> round(fit.temperature, 2), fit.epsilon(1e-5)  # without noise and clipping: that of `fit_temperature`
    (1.82, inf)
    """
    from gecko_jax import keys  # it loads JAX, and no other metric needs that

    logits, chosen = _checked(logits, labels)
    checks.positive("clip_norm", clip_norm)
    checks.at_least("noise_multiplier", checks.finite("noise_multiplier", noise_multiplier), 0)
    checks.at_least("steps", steps, 1)
    checks.positive("learning_rate", learning_rate)
    if seed is None:
        seed = keys.secret_seed()
    content = sha256(logits.tobytes(), chosen.tobytes())
    use = [content, logits.shape, clip_norm, noise_multiplier, steps, learning_rate]
    source = keys.generator(keys.derived_seed(seed, use=[str(part) for part in use]), "private temperature")
    noise = source.normal(0, noise_multiplier * clip_norm, steps)
    parameter = _inverse_softplus(1.0)
    ends = _inverse_softplus(1 / MAX_TEMPERATURE), _inverse_softplus(MAX_TEMPERATURE)
    for step in range(steps):
        inverse = float(np.logaddexp(0, parameter))
        gradients = special.expit(parameter) * _slopes(logits, chosen, inverse)
        total = np.clip(gradients, -clip_norm, clip_norm).sum() + noise[step]
        parameter = np.clip(parameter - learning_rate * (1 - step / steps) * total / len(logits), *ends)
    return PrivateTemperature(float(1 / np.logaddexp(0, parameter)), float(noise_multiplier), int(steps))
