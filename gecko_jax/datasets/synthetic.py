"""Gaussian classes with label noise: a data set with a known Bayes accuracy, and a known leak of memorizing it.

Labels that are flipped at random cannot be learned, only memorized. A model that answers a member's stored label, and
the Bayes class of any other row, is right on every member and on a share A of the others, where A is `bayes_accuracy`.
The attack "a member if the answer is right" therefore has an advantage (true minus false positive rate) of 1 - A.
"""

from __future__ import annotations

import math

import numpy as np

from gecko_jax import checks, keys
from gecko_jax.datasets.arrays import dataset
from gecko_jax.types import Dataset


def _check(classes: int, separation: float, label_noise: float) -> None:
    checks.at_least("classes", classes, 2)
    checks.at_least("separation", separation, 0)
    # Beyond this bound a flipped label is more frequent than the true one, and the Bayes class another.
    checks.in_range("label_noise", label_noise, 0, (classes - 1) / classes)


def bayes_accuracy(classes: int, separation: float, label_noise: float = 0.0) -> float:
    """Computes the best accuracy that any classifier reaches on fresh rows of `synthetic`.

    The classes' means are s / sqrt(2) times orthonormal directions, hence with s = separation and noise of variance 1
      A_clean = E_z[Phi(z + s / sqrt(2))^(classes - 1)],  z ~ N(0, 1);  Phi(s / 2) for two classes
      A = A_clean (1 - p) + (1 - A_clean) p / (classes - 1),  p = label_noise.

    Args:
      classes: number of classes, at least 2.
      separation: distance s between any two means, in standard deviations of the noise.
      label_noise: probability p that a label is replaced by one of the others.

    Returns:
      A, between 1 / classes and 1.

    Example:
      >>> round(bayes_accuracy(2, 2.0), 4)  # Phi(1)
      0.8413
    """
    _check(classes, separation, label_noise)
    # The integrand is analytic and decays like exp(-z^2 / 2): the trapezoidal rule is exact to rounding.
    z = np.linspace(-9, 9, 1801)
    phi = 0.5 * np.array([math.erfc(-(v + separation / math.sqrt(2)) / math.sqrt(2)) for v in z])
    clean = float(np.sum(np.exp(-z * z / 2) * phi ** (classes - 1)) * (z[1] - z[0]) / math.sqrt(2 * math.pi))
    return clean * (1 - label_noise) + (1 - clean) * label_noise / (classes - 1)


def synthetic(
    n: int = 2500,
    d: int = 20,
    classes: int = 4,
    separation: float = 3.0,
    label_noise: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Draws rows x = mean[class] + N(0, I); a label is the class or, with probability label_noise, one of the others.

    Args:
      n: number of rows, of which a fifth (by a fixed hash of the id) is the test set.
      d: features, at least `classes`.
      classes: equally likely classes, at least 2.
      separation: distance between any two means, in standard deviations of the noise.
      label_noise: probability that a label, of either split, is another one; at most (classes - 1) / classes.
      seed: at least 0.

    Returns:
      A Dataset with x [n, d]; `bayes_accuracy` of the same arguments is the best test accuracy.

    Raises:
      ValueError: an argument out of its bounds.

    >>> synthetic(n=50, d=5).train.x.shape
    (40, 5)
    """
    _check(classes, separation, label_noise)
    checks.at_least("n", n, 5)
    if d < classes:
        raise ValueError(f"d={d} must be at least classes={classes}, because each mean has its own direction.")
    random = keys.generator(seed, "synthetic")
    directions, _ = np.linalg.qr(random.standard_normal((d, classes)))
    true = random.integers(classes, size=n)
    x = (separation / math.sqrt(2)) * directions.T[true] + random.standard_normal((n, d))
    shift = np.where(random.random(n) < label_noise, random.integers(1, classes, size=n), 0)
    return dataset("synthetic", x, (true + shift) % classes, num_classes=classes)
