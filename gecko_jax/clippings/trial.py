"""Every rule that enters private gradients is tried once, whoever made it: a guarantee is not taken on trust.

Tried are the bound (`bound.bounded`) and that an example's factor depends on its own norms alone: a rule that looks at
the other rows of a batch lets one example move the shares of all others, and no sensitivity bounds that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax.checks import positive
from gecko_jax.clippings.bound import TOLERANCE, _rows, bounded
from gecko_jax.types import AdaptiveClipping, Clipping

MAX_TRIED = 1024
_TRIED: dict[Any, None] = {}  # rules that passed, by their fields: functions count by identity


def mark(rule: Any) -> Any:
    """Notes that a rule need not be tried again, and returns it."""
    try:
        _TRIED[rule] = None
    except TypeError:  # a field that has no hash: tried every time
        return rule
    if len(_TRIED) > MAX_TRIED:
        del _TRIED[next(iter(_TRIED))]
    return rule


def try_rule(rule: Clipping | AdaptiveClipping) -> None:
    """Tries a rule, unless the same has passed before.

    Raises:
      ValueError: see `checked` and `checked_adaptive`.
    """
    try:
        if rule in _TRIED:
            return
    except TypeError:
        pass
    (checked_adaptive if isinstance(rule, AdaptiveClipping) else checked)(rule)


def try_outside_traces(clipping: Clipping) -> None:
    """`try_rule` for a clipped sum alone, whose rule may be one step's of an adaptive rule that was tried as a whole.

    Such a rule's threshold is traced, and has no value that could be tried.
    """
    if isinstance(clipping.sensitivity, jax.core.Tracer):
        return
    try:
        try_rule(clipping)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        return  # the factors' function holds a traced threshold


def built(clipping: Clipping, norms: tuple[float, ...] = ()) -> Clipping:
    """`bound.bounded` for a rule of this package, whose factors are written row by row (the tests try that as well)."""
    return mark(bounded(clipping, norms))


def built_adaptive(rule: AdaptiveClipping) -> AdaptiveClipping:
    """`built` for an adaptive rule of this package."""
    bounded_adaptive(rule)
    return mark(rule)


def checked(clipping: Clipping, norms: tuple[float, ...] = ()) -> Clipping:
    """Returns the rule if sqrt(sum_r (scale(t)_r * t_r)^2) <= sensitivity for all norms t that are tried.

    Tried are 0, the smallest and the largest floats, powers between them, the sensitivity, `norms` and the neighbours
    of both, 256 norms in every octave, then the peak of the contribution in each octave, to the last bit; with several
    groups, the worst norms of all groups together, each group alone, and random rows. A norm that is infinite or NaN
    must have factor 0, since its gradient cannot be scaled to any length. The factors of an example must be the same
    alone, in another place of the batch, and beside any other rows.

    Args:
      clipping: a rule with a sensitivity that is a float, its `scale` written with jax.numpy.
      norms: thresholds of the rule, where it has any, to be tried with their neighbours.

    Returns:
      The same object.

    Raises:
      ValueError: a norm that breaks the bound, a factor that is negative or not finite, factors of another shape than
        the norms or that depend on other rows, a sensitivity that is not above 0, an expression in `groups` that does
        not compile.

    >>> import jax.numpy as jnp
    >>> from gecko_jax.types import Clipping
    >>> checked(Clipping("mine", lambda t: jnp.where(t <= 1, 1.0, 0.0), 0.5))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: clipping 'mine' has sensitivity=0.5, but a gradient of norms [1] contributes 1: lower the factors...
    """
    bounded(clipping, norms, dense=True)
    groups = max(1, len(clipping.groups))
    with jax.ensure_compile_time_eval():
        _check_own_row("factor", clipping, clipping.scale, groups, float(clipping.sensitivity))
    return mark(clipping)


def checked_adaptive(rule: AdaptiveClipping) -> AdaptiveClipping:
    """Returns the rule if each step's Clipping keeps its bound, shares lie in 0..1, and thresholds stay in bounds.

    Tried is what wild noise can make of the first threshold: after 64 updates, each with one count from -1e6 to 1e6, it
    must be finite and above 0. The Clippings at the first, the least and the greatest threshold, and at five between,
    are `checked`. An example's share in the count, like its factor, must depend on its own norms alone.

    Args:
      rule: an adaptive rule, its functions written with jax.numpy.

    Returns:
      The same object.

    Raises:
      ValueError: what `checked` raises, a threshold that is 0, infinite or NaN, a share outside 0..1 or NaN, or one
        that depends on other rows.
    """
    thresholds = bounded_adaptive(rule)
    low, high = min(thresholds), max(thresholds)
    between = np.exp(np.linspace(np.log(low), np.log(high), 7)[1:-1]) if low < high else []
    near = [t for t in (rule.start / 2, rule.start * 2) if low < t < high]
    with jax.ensure_compile_time_eval():
        for threshold in (*near, *(float(np.float32(t)) for t in between)):
            _at(rule, threshold, dense=False)
        for threshold in sorted(thresholds):
            clipping = _at(rule, threshold, dense=True)
            groups = max(1, len(clipping.groups))
            _check_own_row("factor", clipping, clipping.scale, groups, threshold)
            shares = functools.partial(_shares, rule, threshold)
            _check_own_row("share", rule, shares, groups, threshold)
    return mark(rule)


def bounded_adaptive(rule: AdaptiveClipping) -> list[float]:
    """The bounds of `checked_adaptive` at the first, the least and the greatest threshold, which are returned."""
    start = rule.start
    if isinstance(start, (bool, str)) or np.ndim(start):
        raise ValueError(f"start of clipping {rule.name!r}={start!r} must be a finite number above 0.")
    positive(f"start of clipping {rule.name!r}", start)
    scalar = jax.ShapeDtypeStruct((), jnp.float32)
    updated = jax.eval_shape(rule.update, scalar, scalar)
    if getattr(updated, "shape", None) != () or not jnp.issubdtype(updated.dtype, jnp.floating):
        raise ValueError(f"update of clipping {rule.name!r} gives {updated}; expected one floating-point threshold.")
    with jax.ensure_compile_time_eval():
        counts = jnp.asarray([-1e6, -10.0, 0.0, 1.0, 10.0, 1e6], jnp.float32)
        start = jnp.full(counts.shape, rule.start, jnp.float32)
        reached = jax.lax.fori_loop(0, 64, lambda _, held: jax.vmap(rule.update)(held, counts), start)
        for count, threshold in zip(np.asarray(counts), np.asarray(reached), strict=True):
            positive(f"threshold of clipping {rule.name!r} after 64 counts of {count:g}", float(threshold))
        thresholds = sorted({float(np.float32(rule.start)), float(reached.min()), float(reached.max())})
        for threshold in thresholds:
            clipping = _at(rule, threshold, dense=False)
            _check_shares(rule, clipping, threshold)
    return thresholds


def _at(rule: AdaptiveClipping, threshold: float, dense: bool) -> Clipping:
    """The step's Clipping at a threshold, its bound tried."""
    clipping = rule.at(jnp.float32(threshold))
    if not isinstance(clipping, Clipping):
        raise ValueError(f"at of clipping {rule.name!r} gives a {type(clipping).__name__}; expected a Clipping.")
    return bounded(clipping._replace(sensitivity=float(clipping.sensitivity)), norms=(threshold,), dense=dense)


def _shares(rule: AdaptiveClipping, threshold: float, rows: Any) -> Any:
    return rule.exceeds(rows, jnp.float32(threshold))


def _check_shares(rule: AdaptiveClipping, clipping: Clipping, threshold: float) -> None:
    groups = max(1, len(clipping.groups))
    rows = np.concatenate([_rows(clipping, groups, (threshold,)), np.full((2, groups), [[np.inf], [np.nan]])])
    shares = np.asarray(_shares(rule, threshold, jnp.asarray(rows, jnp.float32)))
    if shares.shape != rows.shape[:1] or not ((shares >= 0) & (shares <= 1)).all():
        raise ValueError(
            f"exceeds of clipping {rule.name!r} must give one share in 0..1 for each of {len(rows)} examples; "
            f"at the threshold {threshold:g} it gives shape {shares.shape}, {shares.min()} to {shares.max()}."
        )


def _check_own_row(
    what: str, rule: Clipping | AdaptiveClipping, function: Callable[[Any], Any], groups: int, unit: float
) -> None:
    """Raises ValueError if an example's factor (share) changes with the other rows, with its place or the batch's size.

    Args:
      what: "factor" or "share".
      function: norms [b, groups] -> one value a row, [b] or [b, groups].
      unit: a norm about which the rule changes.
    """
    spread = np.random.default_rng(1).uniform(-3, 3, (6, groups))
    scales = np.asarray([0.0, 1e-3, 0.3, 0.9, 1.0, 1.1, 2.0, 3.0, 30.0, 1e3])
    rows = (unit * np.concatenate([np.repeat(scales[:, None], groups, 1), 10**spread])).astype(np.float32)
    count = len(rows)

    def values(batch):
        return np.asarray(function(jnp.asarray(batch)), np.float64).reshape(len(batch), -1)

    expected = values(rows)
    seen = [(values(rows[::-1])[::-1], "in another place of the batch")]
    seen += [(np.concatenate([values(rows[i : i + 1]) for i in range(count)]), "alone in a batch")]
    for norm in (0.0, 1e-30, unit, 1e6 * unit, np.finfo(np.float32).max, np.inf, np.nan):
        others = np.full_like(rows, norm)
        seen += [(values(np.concatenate([rows, others]))[:count], f"beside others of norm {norm:g}")]
        seen += [(values(np.concatenate([others, rows]))[count:], f"beside others of norm {norm:g}")]
    for found, where in seen:
        near = np.abs(found - expected) <= (TOLERANCE - 1) * np.maximum(np.abs(found), np.abs(expected))
        if not near.all():
            row, column = np.argwhere(~near)[0]
            raise ValueError(
                f"clipping {rule.name!r} gives an example of norm {rows[row].max():.6g} the {what} "
                f"{expected[row, column]:.6g} among others, and {found[row, column]:.6g} {where}. It must depend on "
                "the example's own norms alone: otherwise one example moves the shares of all others, and no "
                "sensitivity bounds that."
            )
