"""Settings of the study of our own guarantees, one preset a line of the table below.

  preset   command                                               time
  quick     python -m experiments.self_audit.run                     about 1.5 minutes on 2 idle cores
  thorough  python -m experiments.self_audit.run --preset=thorough   not timed

The figures are in expected/ and README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments.flags import field
from experiments.self_audit.scenarios import SCENARIOS
from gecko_jax import checks


@dataclasses.dataclass(frozen=True)
class Config:
    """Kinds of private training, each attacked at some epsilons by an auditor who sees all of it."""

    output: str = field("runs/self_audit", "folder for the report")
    scenarios: tuple[str, ...] = field(tuple(SCENARIOS), "kinds of run", SCENARIOS)
    epsilons: tuple[float, ...] = field((1.0, 4.0, 8.0), "budgets of each kind of run")
    canaries: int = field(4000, "gradient canaries of a run; of the full batch five times as many")
    delta: float = field(1e-7, "of all epsilons; the bound by guesses wants it far below one over the canaries")
    seed: int = field(0, "of coins and runs")

    def __post_init__(self):
        for name in checks.not_empty("scenarios", self.scenarios):
            checks.one_of("scenarios", name, SCENARIOS)
        for epsilon in checks.not_empty("epsilons", self.epsilons):
            checks.positive("epsilons", epsilon)
        checks.integer("canaries", self.canaries, 100)
        if not 0 < self.delta < 1:
            raise ValueError(f"delta={self.delta!r} must lie above 0 and below 1, far below one over the canaries.")


PRESETS = {"quick": Config(), "thorough": Config(canaries=40_000, output="runs/self_audit_thorough")}
