"""The epsilon that the paper prints for BERT on SNLI, by each accountant."""

from __future__ import annotations

import functools

from gecko_jax import privacy

PRINTED = 1.25
SNLI = privacy.poisson(550_152, 32, 54_000)
NOISE, DELTA = 0.4, 1 / 550_153  # the paper's 1 / n, and just below it


@functools.cache
def epsilons() -> dict[str, float]:
    """Returns {accountant: epsilon} at the paper's noise multiplier 0.4, batches of 32 and 54,000 steps."""
    return {name: float(privacy.epsilon(SNLI, NOISE, DELTA, accountant=name)) for name in ("pld", "rdp", "clt")}


def note() -> str:
    """Returns one sentence for the report."""
    epsilon = epsilons()
    return (
        f"SNLI in the paper (noise multiplier {NOISE}, batches of 32, 54,000 steps, n = 550,152): printed ε {PRINTED}, "
        f"which is the central limit theorem's and not a bound ({epsilon['clt']:.2f}); PLD {epsilon['pld']:.2f}, RDP "
        f"{epsilon['rdp']:.2f} (modeled, add-or-remove, δ = 1/n)."
    )
