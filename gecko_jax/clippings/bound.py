"""Checks the guarantee of a rule numerically: no norm lets factor * norm exceed the sensitivity.

The worst norm is often a single float out of two billion: the last one before a rule drops an example. We therefore
hill-climb within each octave of the positive floats to find the maximum of factor * norm to the last bit. The search
misses a spike within an octave that shows at none of its first nine points (for a rule of the user's own: of 256).
"""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gecko_jax.checks import positive
from gecko_jax.types import Clipping

TOLERANCE = 1 + 8 * float(np.finfo(np.float32).eps)  # the rounding of a quotient, a product and a root
MAX_FLOAT_BITS = int(np.finfo(np.float32).max.view(np.int32))
INTERVALS, PARTS = 255, 8  # an interval an octave, and nine points in each
ROWS = INTERVALS * (PARTS + 1)  # evaluated at a time, always as many: JAX compiles each operation once for a shape


def check_bound(clipping: Clipping, norms: tuple[float, ...] = (), dense: bool = False) -> Clipping:
    """Checks the bound of a rule on the norms that `trial.check_rule` lists; `dense` adds 256 norms in every octave.

    The rules of this package need no more, because each factor is computed from its own row. `trial.check_rule` is for
    a rule of the user's own.

    Returns:
      The same object.

    Raises:
      ValueError: see `trial.check_rule`.
    """
    groups = _check_fields(clipping)
    _check_shapes(clipping, groups)
    # Inside a traced function, too, the check computes with numbers, now.
    with jax.ensure_compile_time_eval():
        _try_not_finite(clipping, groups)
        _keeps(clipping, _rows(clipping, groups, norms))
        _keeps(clipping, _climb(clipping, groups))
        if dense:
            _keeps(clipping, _dense(groups))
    return clipping


def _check_fields(clipping: Clipping) -> int:
    """Returns the number of groups; raises ValueError for an invalid sensitivity, scale or group."""
    name, sensitivity = f"sensitivity of clipping {clipping.name!r}", clipping.sensitivity
    if isinstance(sensitivity, Tracer):
        raise ValueError(
            f"{name} is traced and has no value yet, so its bound cannot be checked. Build the rule outside jit; "
            "for a threshold that changes take an AdaptiveClipping, such as clippings.quantile."
        )
    if np.ndim(sensitivity) or np.asarray(sensitivity).dtype.kind not in "iuf":
        raise ValueError(f"{name}={sensitivity!r} must be a finite number above 0.")
    positive(name, sensitivity)
    if not callable(clipping.scale):
        raise ValueError(f"scale of clipping {clipping.name!r} is {clipping.scale!r}; expected a function of norms.")
    if isinstance(clipping.groups, str):
        raise ValueError(f"groups={clipping.groups!r} must be a tuple of regular expressions: ({clipping.groups!r},).")
    for pattern in clipping.groups:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(f"groups holds {pattern!r}, which is not a regular expression: {error}.") from None
    return max(1, len(clipping.groups))


def _check_shapes(clipping: Clipping, groups: int) -> None:
    """Raises ValueError unless norms [b, groups] give as many factors."""
    for shape in ((groups,), (2, groups), (5, groups)):
        try:
            out = jax.eval_shape(clipping.scale, jax.ShapeDtypeStruct(shape, jnp.float32))
        except Exception:
            if len(shape) == 1:  # training calls it with rows, which a rule may insist on
                continue
            raise
        if getattr(out, "shape", None) != shape:
            described = getattr(out, "shape", type(out).__name__)
            raise ValueError(f"clipping {clipping.name!r} maps norms {shape} to factors {described}; expected {shape}.")
        if jnp.issubdtype(out.dtype, jnp.complexfloating):
            raise ValueError(f"clipping {clipping.name!r} gives factors of dtype {out.dtype}; expected real ones.")


def _dense(groups: int) -> np.ndarray:
    """Returns norms [rows, groups], 256 in each octave, the same for all groups."""
    line = np.linspace(0, MAX_FLOAT_BITS, 255 * 256, dtype=np.int64).astype(np.int32).view(np.float32)
    return np.repeat(line[:, None], groups, 1)


def _try_not_finite(clipping: Clipping, groups: int) -> None:
    for bad in (np.inf, np.nan):
        rows = np.where(np.eye(groups, dtype=bool), bad, 1).astype(np.float32)
        factors = _factors(clipping, rows)
        if (factors.diagonal() != 0).any() or not np.isfinite(factors).all():
            seen = factors[~np.isfinite(factors) | (np.eye(groups, dtype=bool) & (factors != 0))][0]
            raise ValueError(
                f"clipping {clipping.name!r} lets the norm {bad} have factor {seen}; it must be 0: wrap it in "
                "jnp.where(jnp.isfinite(norms), factors, 0)."
            )
        _keeps(clipping, np.where(np.isfinite(rows), rows, 0), factors)


def _rows(clipping: Clipping, groups: int, norms: tuple[float, ...]) -> np.ndarray:
    """Returns the first norms [rows, groups]: all groups alike, each group alone, and at random."""
    info = np.finfo(np.float32)
    marks = np.asarray([float(clipping.sensitivity), *norms], np.float32)
    line = np.concatenate(
        [
            np.asarray([0, info.smallest_subnormal, info.tiny, info.max], np.float32),
            *(marks, np.nextafter(marks, np.float32(0)), np.nextafter(marks, np.float32(np.inf))),
            np.logspace(-37, 38, 76, dtype=np.float32),
        ]
    )
    alone = (line[:, None, None] * np.eye(groups, dtype=np.float32)[None]).reshape(-1, groups)
    spread = np.random.default_rng(0).uniform(-3, 3, (256, groups))
    random = (float(clipping.sensitivity) * 10**spread).astype(np.float32)
    return np.concatenate([np.repeat(line[:, None], groups, 1), alone, random])


def _factors(clipping: Clipping, rows: np.ndarray) -> np.ndarray:
    """scale(rows), ROWS at a time."""
    padded = np.concatenate([rows, np.zeros((-len(rows) % ROWS, rows.shape[1]), np.float32)])
    chunks = [np.asarray(clipping.scale(jnp.asarray(chunk))) for chunk in np.split(padded, len(padded) // ROWS)]
    return np.concatenate(chunks)[: len(rows)]


def _contributions(clipping: Clipping, rows: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Returns factor * norm [rows, groups] in float64; raises ValueError for a negative or infinite factor."""
    if not (factors >= 0).all() or np.isinf(factors).any():  # NaN is not >= 0
        row, group = np.argwhere(~(factors >= 0) | np.isinf(factors))[0]
        raise ValueError(
            f"clipping {clipping.name!r} gives the norm {rows[row, group]:.9g} the factor {factors[row, group]}; every "
            "finite norm needs a finite factor of at least 0."
        )
    return factors.astype(np.float64) * rows.astype(np.float64)


def _keeps(clipping: Clipping, rows: np.ndarray, factors: np.ndarray | None = None) -> None:
    """Raises ValueError, with the worst row, if one breaks the bound."""
    factors = _factors(clipping, rows) if factors is None else factors
    total = np.sqrt(np.sum(_contributions(clipping, rows, factors) ** 2, axis=1))
    if (total > clipping.sensitivity * TOLERANCE).any():
        row = int(np.argmax(total))
        raise ValueError(
            f"clipping {clipping.name!r} has sensitivity={clipping.sensitivity:.9g}, but a gradient of norms "
            f"{_show(rows[row])} contributes {total[row]:.9g}: lower the factors {_show(factors[row])} or raise the "
            "sensitivity."
        )


def _climb(clipping: Clipping, groups: int) -> np.ndarray:
    """Returns norms [rows, groups]: the worst of each group together, round by round, and the last round's points."""
    edges = np.linspace(0, MAX_FLOAT_BITS, INTERVALS + 1).astype(np.int64)
    low, high = (np.repeat(side[:, None], groups, 1) for side in (edges[:-1], edges[1:]))
    parts = np.arange(PARTS + 1)[None, :, None]
    worst = []
    while True:
        bits = low[:, None] + (high - low)[:, None] * parts // PARTS  # positive floats are ordered as their bits are
        points = bits.astype(np.int32).view(np.float32)
        rows = points.reshape(-1, groups)
        each = _contributions(clipping, rows, _factors(clipping, rows)).reshape(points.shape)
        worst.append(np.take_along_axis(rows, np.argmax(each.reshape(rows.shape), axis=0)[None], 0))
        peak = np.argmax(each, axis=1)[:, None]
        if (high - low).max() <= PARTS:
            return np.concatenate([*worst, rows])
        low = np.take_along_axis(bits, np.maximum(peak - 1, 0), 1)[:, 0]
        high = np.take_along_axis(bits, np.minimum(peak + 1, PARTS), 1)[:, 0]


def _show(values: np.ndarray) -> str:
    shown = ", ".join(f"{value:.9g}" for value in values[:4])
    return f"[{shown}, ...]" if len(values) > 4 else f"[{shown}]"
