"""How records are probed: what a signal that needs the model takes, the same for every model.

Features of a table come in units of their own: dollars beside years. What is added to a record, and how far it is from
a boundary, is measured in each feature's own standard deviation. Images have one unit for all of their values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gecko_jax import keys, probes
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Array, Model, Variables

if TYPE_CHECKING:
    from gecko_jax.audit.reading.reader import Asker

NOISE = 0.1  # standard deviation of label_robustness's noise, in those of the features, where records are no images
COPIES = 8  # of them
STARTS = 64  # records that boundary walks may begin from
FEATURES = 32  # of a record, beside its hinge
SEED = 0  # of the probes' draws: the same for every model


def probe(asker: Asker, name: str, made: Any, x: np.ndarray, y: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Returns a signal that needs the model, [n, ...], of what was made.

    Args:
      asker: asks it.
      name: of the signal.
      made, x, y: the model, records [n, ...] and class numbers [n].
      logits: [n, c] of the records.
    """
    ask = asker.answers(made)
    if name == "hinge_on_record":
        return np.column_stack([SIGNALS["hinge"](logits, y), _features(x, asker.like)])
    if name == "label_robustness":
        if are_images(asker, x):
            return probes.translation_robustness(ask, x, y, layout=asker.layout, batch_size=asker.batch_size)
        return probes.noise_robustness(ask, x, y, asker.scale, COPIES, SEED, batch_size=asker.batch_size)
    if name == "sensitivity":
        unit = None if are_images(asker, x) or asker.like is None else spread(asker.like)
        found = probes.sensitivity(ask, x, SEED, unit=unit, outputs=asker.outputs, batch_size=asker.batch_size)
        posteriors, labels = np.split(SIGNALS["labeled_posteriors"](logits, y), 2, axis=-1)
        return np.stack([posteriors, found, labels], axis=-2)
    if name == "boundary_distance":
        return _boundary_distance(asker, made, x, y)
    if name == "small_gradient":
        return probes.small_gradient(asker.predict, made, x, y)
    norms = probes.gradient_norms(asker.predict, made, x, y)
    leaves = np.stack([norms[leaf] for leaf in sorted(norms) if leaf != "all"], axis=-1).astype(np.float64)
    logarithms = np.log(np.maximum(leaves, np.finfo(np.float32).tiny))
    return -logarithms if name == "layer_gradients" else _white_box(logits, y, logarithms)


def settings(asker: Asker, x: np.ndarray, signals: set[str]) -> list[Any]:
    """Returns what else decides the readings of some signals on x, for a fingerprint."""
    parts, like = [], asker.like
    if like is None:
        return parts
    if "boundary_distance" in signals:
        parts += [asker.bounds(x), asker.starts, *([] if are_images(asker, x) else standard(like))]
    if "label_robustness" in signals:
        parts.append([str(asker.layout)] if are_images(asker, x) else asker.scale)
    if signals & {"sensitivity", "hinge_on_record"} and not are_images(asker, x):
        parts += standard(like)
    return parts


def are_images(asker: Asker, x: np.ndarray) -> bool:
    """Whether records have one unit, and are moved by pixels."""
    return x.ndim == 4 and asker.layout != "features"


def spread(like: np.ndarray) -> np.ndarray:
    """Returns the standard deviation of each feature [...], 0 for one that is constant; 1 for all if all are.

    >>> spread(np.array([[1.0, 1000.0], [3.0, 5000.0]])).tolist()
    [1.0, 2000.0]
    """
    found = np.std(like, axis=0, dtype=np.float64)
    return found if found.any() else np.ones_like(found)


def standard(like: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns (center [...], step [...]) of each feature, float32: its mean, and the power of two that is nearest to
    its standard deviation, by which multiplying rounds nothing; 1 for a constant one.
    """
    found = spread(like)
    step = 2.0 ** np.rint(np.log2(np.where(found > 0, found, 1.0)))
    return np.mean(like, axis=0, dtype=np.float64).astype(np.float32), step.astype(np.float32)


def bounds(like: np.ndarray, x: np.ndarray, low: float = 0.0, high: float = 1.0) -> tuple[float, float]:
    """Returns the smallest and the largest value among like, x, and two others."""
    values = np.array([[part.min(), part.max()] for part in (like, x)], np.float64)
    return min(low, float(values[:, 0].min())), max(high, float(values[:, 1].max()))


def _boundary_distance(asker: Asker, made: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    model = asker.predict if isinstance(asker.predict, Model) else None
    if are_images(asker, x):
        walk = functools.partial(probes.boundary_distance, bounds=asker.bounds(x), starts=asker.starts)
        if model:
            return walk(_logits_of(model), x, y, SEED, variables=made)
        with probes.numbered(asker.answers(made)) as number:
            return walk(probes.by_number, x, y, SEED, variables=number)
    center, step = standard(asker.like)
    like, rows = (((part - center) / step).astype(np.float32) for part in (asker.like, x))
    starts = like[:: max(1, len(like) // STARTS)]
    walk = functools.partial(probes.boundary_distance, bounds=bounds(like, rows, 0.0, 1.0), starts=starts)
    if model:
        return walk(_logits_of_standardized(model), rows, y, SEED, variables=(made, center, step))
    ask = asker.answers(made)
    with probes.numbered(lambda z: ask((z * step + center).astype(x.dtype))) as number:
        return walk(probes.by_number, rows, y, SEED, variables=number)


# The same function for the same model: a compiled program is one for each function.
@functools.lru_cache(maxsize=128)
def _logits_of(model: Model) -> Callable[[Variables, Array], Array]:
    return lambda variables, x: model.apply(variables, x)[0]


@functools.lru_cache(maxsize=128)
def _logits_of_standardized(model: Model) -> Callable[[tuple, Array], Array]:
    """(variables, center, step), x in steps from the center -> logits."""
    return lambda held, z: model.apply(held[0], z * held[2][None] + held[1][None])[0]


def _white_box(logits: np.ndarray, y: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Returns [n, 4, w]: see `signals.white_box`."""
    posteriors, labels = np.split(SIGNALS["labeled_posteriors"](logits, y), 2, axis=-1)
    loss = np.minimum(SIGNALS["loss"](logits, y), np.finfo(np.float32).max)
    parts = [posteriors, labels, loss[:, None], gradients]
    found = np.zeros((len(y), len(parts), max(part.shape[-1] for part in parts)))
    for i, part in enumerate(parts):
        found[:, i, : part.shape[-1]] = part
    return found


def _features(x: np.ndarray, like: np.ndarray | None) -> np.ndarray:
    """A record's features [n, at most FEATURES]: its values, or random projections of them, the same for every call.

    Projections are of standardized features, except for images, so that no feature's unit drowns the others.
    """
    flat = x.reshape(len(x), -1).astype(np.float64)
    if flat.shape[1] <= FEATURES:
        return flat
    if x.ndim != 4 and like is not None:
        center, step = (part.reshape(-1).astype(np.float64) for part in standard(like))
        flat = (flat - center) / step
    draws = keys.generator(SEED, "audit", "features of records")
    return flat @ draws.standard_normal((flat.shape[1], FEATURES)) / np.sqrt(flat.shape[1])
