"""Checks every rule once before it enters private gradients, whoever wrote it.

Two properties are checked: the bound (`bound.check_bound`), and that an example's factor depends on its own norms
alone. If a rule reads the other rows of a batch, one example moves all others' shares, which no sensitivity bounds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gecko_jax.checks import positive
from gecko_jax.clippings.bound import TOLERANCE, _rows, check_bound
from gecko_jax.types import AdaptiveClipping, Clipping

MAX_TRIED = 1024
_TRIED: dict[Any, None] = {}  # rules that passed, by their fields: functions count by identity


def mark(rule: Any) -> Any:
    """Remembers that a rule passed its trial, and returns the rule."""
    try:
        _TRIED[rule] = None
    except TypeError:  # a field that cannot be hashed: checked every time
        return rule
    if len(_TRIED) > MAX_TRIED:
        del _TRIED[next(iter(_TRIED))]
    return rule


def try_rule(rule: Clipping | AdaptiveClipping) -> None:
    """Checks a rule, unless it has passed before.

    Raises:
      ValueError: see `check_rule` and `check_adaptive_rule`.
    """
    try:
        if rule in _TRIED:
            return
    except TypeError:
        pass
    check_adaptive_rule(rule) if isinstance(rule, AdaptiveClipping) else check_rule(rule)


def try_outside_traces(clipping: Clipping) -> None:
    """Checks the rule of a clipped sum, unless its threshold is traced.

    A traced threshold belongs to one step of an adaptive rule, which has been checked as a whole.
    """
    if isinstance(clipping.sensitivity, Tracer):
        return
    try:
        try_rule(clipping)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        return  # the factors' function holds a traced threshold


def register(clipping: Clipping, norms: tuple[float, ...] = ()) -> Clipping:
    """Checks the bound of a rule of this package and records it; each factor is computed from its own row alone."""
    return mark(check_bound(clipping, norms))


def register_adaptive(rule: AdaptiveClipping) -> AdaptiveClipping:
    """Checks the bounds of an adaptive rule of this package and records it."""
    check_adaptive_bound(rule)
    return mark(rule)


def check_rule(clipping: Clipping, norms: tuple[float, ...] = ()) -> Clipping:
    """Returns the rule if sqrt(sum_r (scale(t)_r * t_r)^2) <= sensitivity for all norms t that are checked.

    These are 0, the smallest and the largest floats, powers between them, the sensitivity, `norms`, the floats next to
    both, 256 norms in every octave, and the peak of the contribution in each octave, to the last bit. With several
    groups, the worst norms of all groups together, each group alone, and random rows are added. An infinite or NaN norm
    must have factor 0, because its gradient cannot be scaled to any length. The factors of an example must be the same
    alone, in another place of the batch, and beside any other rows.

    Args:
      clipping: a rule with a sensitivity that is a float, its `scale` written with jax.numpy.
      norms: thresholds of the rule, if it has any, which are checked together with the floats next to them.

    Returns:
      The same object.

    Raises:
      ValueError: a norm that breaks the bound, a factor that is negative or not finite, factors of another shape than
        the norms or that depend on other rows, a sensitivity that is not above 0, an expression in `groups` that does
        not compile.

    >>> import jax.numpy as jnp
    >>> from gecko_jax.types import Clipping
    >>> check_rule(Clipping("mine", lambda t: jnp.where(t <= 1, 1.0, 0.0), 0.5))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: clipping 'mine' has sensitivity=0.5, but a gradient of norms [1] contributes 1: lower the factors...
    """
    check_bound(clipping, norms, dense=True)
    groups = max(1, len(clipping.groups))
    with jax.ensure_compile_time_eval():
        _check_own_row("factor", clipping, clipping.scale, groups, float(clipping.sensitivity))
    return mark(clipping)


def check_adaptive_rule(rule: AdaptiveClipping) -> AdaptiveClipping:
    """Returns the rule if each step's Clipping keeps its bound, shares lie in 0..1, and thresholds stay in bounds.

    Extreme noise must leave a usable threshold: after 64 updates, each with one count from -1e6 to 1e6, it must be
    finite and above 0. The Clippings at the first, the least and the greatest threshold, and at five between, are
    checked as by `check_rule`. An example's share in the count, like its factor, must depend on its own norms alone.

    Args:
      rule: an adaptive rule, its functions written with jax.numpy.

    Returns:
      The same object.

    Raises:
      ValueError: what `check_rule` raises, a threshold that is 0, infinite or NaN, a share outside 0..1 or NaN, or one
        that depends on other rows.

    >>> from gecko_jax import clippings
    >>> rule = clippings.quantile(1.0)
    >>> check_adaptive_rule(rule) is rule
    True
    >>> check_adaptive_rule(rule._replace(exceeds=lambda norms, threshold: norms))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: exceeds of clipping 'quantile' must give one share in 0..1 for each of 430 examples; at the ...
    """
    thresholds = check_adaptive_bound(rule)
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


def check_adaptive_bound(rule: AdaptiveClipping) -> list[float]:
    """Checks the bounds at the first, the least and the greatest threshold, and returns these thresholds."""
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
        reached = jax.lax.fori_loop(0, 64, lambda _, thresholds: jax.vmap(rule.update)(thresholds, counts), start)
        for count, threshold in zip(np.asarray(counts), np.asarray(reached), strict=True):
            positive(f"threshold of clipping {rule.name!r} after 64 counts of {count:g}", float(threshold))
        thresholds = sorted({float(np.float32(rule.start)), float(reached.min()), float(reached.max())})
        for threshold in thresholds:
            clipping = _at(rule, threshold, dense=False)
            _check_shares(rule, clipping, threshold)
    return thresholds


def _at(rule: AdaptiveClipping, threshold: float, dense: bool) -> Clipping:
    """Returns the step's Clipping at a threshold, after a check of its bound."""
    clipping = rule.at(jnp.float32(threshold))
    if not isinstance(clipping, Clipping):
        raise ValueError(f"at of clipping {rule.name!r} gives a {type(clipping).__name__}; expected a Clipping.")
    return check_bound(clipping._replace(sensitivity=float(clipping.sensitivity)), norms=(threshold,), dense=dense)


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
    """Raises ValueError if an example's factor or share changes with the other rows, its place or the batch's size.

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
    for actual, where in seen:
        near = np.abs(actual - expected) <= (TOLERANCE - 1) * np.maximum(np.abs(actual), np.abs(expected))
        if not near.all():
            row, column = np.argwhere(~near)[0]
            raise ValueError(
                f"clipping {rule.name!r} gives an example of norm {rows[row].max():.6g} the {what} "
                f"{expected[row, column]:.6g} among others, and {actual[row, column]:.6g} {where}. It must depend on "
                "the example's own norms alone: otherwise one example moves the shares of all others, and no "
                "sensitivity bounds that."
            )
