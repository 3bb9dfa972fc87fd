"""Settings of the study of our own guarantees, one preset a line of the table below.

  preset   command                                               time
  quick     python -m experiments.self_audit.run                     about 1.5 minutes on 2 idle cores
  thorough  python -m experiments.self_audit.run --preset=thorough   not timed

What came out stands in expected/ and README.md beside this file.
"""

from __future__ import annotations

import dataclasses

from experiments import flags
from experiments.self_audit.scenarios import SCENARIOS
from gecko_jax import checks


def _field(help: str, default, names=()):
    return flags.field(default, help, names)


@dataclasses.dataclass(frozen=True)
class Config:
    """Kinds of private training, each attacked at some epsilons by an auditor who sees all of it."""

    output: str = _field("folder for the report", "runs/self_audit")
    scenarios: tuple[str, ...] = _field("kinds of run", tuple(SCENARIOS), SCENARIOS)
    epsilons: tuple[float, ...] = _field("budgets of each kind of run", (1.0, 4.0, 8.0))
    canaries: int = _field("gradient canaries of a run; of the full batch five times as many", 4000)
    delta: float = _field("of all epsilons; the bound by guesses wants it far below one over the canaries", 1e-7)
    seed: int = _field("of coins and runs", 0)

    def __post_init__(self):
        for name in checks.not_empty("scenarios", self.scenarios):
            checks.one_of("scenarios", name, SCENARIOS)
        for epsilon in checks.not_empty("epsilons", self.epsilons):
            checks.positive("epsilons", epsilon)
        checks.whole("canaries", self.canaries, 100)
        if not 0 < self.delta < 1:
            raise ValueError(f"delta={self.delta!r} must lie above 0 and below 1, far below one over the canaries.")


PRESETS = {"quick": Config(), "thorough": Config(canaries=40_000, output="runs/self_audit_thorough")}
