"""Checks before just-fine-tune-twice: what would make its guarantee untrue is refused before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from gecko_jax import checks
from gecko_jax.datasets.text.selective import SelectiveRows
from gecko_jax.datasets.text.selective_check import check_rows
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.privacy.private_training import PrivateTraining

FIXED = {
    "first": ("init", "member", "extra"),  # it reads the redacted rows, all of them, and nothing else
    "second": ("gradients", "sampling", "epochs", "trainable", "init", "member", "loss", "extra"),
}


def check_twice(
    rows: SelectiveRows, private: PrivateTraining, first: Mapping[str, Any], second: Mapping[str, Any]
) -> None:
    """Raises ValueError unless the guarantee holds for these rows and this private training.

    Args:
      rows, private, first, second: of `fit_twice`.
    """
    check_rows(rows)
    checks.not_empty("rows.tokens", rows.tokens)
    for name, options in (("first", first), ("second", second)):
        if fixed := [option for option in FIXED[name] if option in options]:
            raise ValueError(
                f"{name} has {', '.join(fixed)}, which fit_twice or `private` fixes: the guarantee is for these alone. "
                "Name init beside `first`, and what concerns private training in private_training."
            )
    if private.epsilon.adjacency != "replace_one":
        raise ValueError(
            f"private.epsilon is for {private.epsilon.adjacency!r}; expected 'replace_one'. The first training reads "
            "all redacted rows without noise, so that nothing hides whether a row is there: only what its secrets say "
            "is protected. Pass adjacency='replace_one' to private_training."
        )
    if private.sampling.n != len(rows.tokens):
        raise ValueError(
            f"private was made for n={private.sampling.n:,} rows, and there are {len(rows.tokens):,}: pass "
            "n=len(rows.tokens) to private_training."
        )
    _check_accounted(rows, private)


def _check_accounted(rows: SelectiveRows, private: PrivateTraining) -> None:
    """Raises ValueError unless epsilon is that of the training, or of a longer or less noised one of its sampling."""
    settings, phases = getattr(private.gradients, "settings", None), private.epsilon.phases
    [phase] = phases if len(phases) == 1 else [None]
    if settings is None or settings.sampling is None or phase is None:
        raise ValueError("private is not what private_training returned: its gradients or its epsilon were replaced.")
    longer = phase.sampling._replace(steps=settings.sampling.steps)
    noised = settings.noise_multiplier >= phase.noise_multiplier
    if longer != settings.sampling or phase.sampling.steps < settings.sampling.steps or not noised:
        raise ValueError(
            f"private.epsilon is for {phase}, and the training draws {settings.sampling} with noise multiplier "
            f"{settings.noise_multiplier:g}: take both from one call of private_training."
        )
    if counts(private, rows.tokens[:1, 1:]) and phase.count_noise_multiplier is None:
        raise ValueError(
            "private.epsilon leaves out the noised count that the adaptive clipping rule releases in each step: take "
            "it from private_training."
        )


def counts(private: PrivateTraining, x: Any) -> bool:
    """Returns whether the private training releases a noised count, as adaptive clipping does.

    Args:
      private: of `private_training`.
      x: one input with its leading axis.
    """
    return THRESHOLD in jax.eval_shape(private.model.init, jax.random.key(0), x)
