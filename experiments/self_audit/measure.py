"""Plays every game and gathers the report: settings in, a `reports.Study` out."""

from __future__ import annotations

import itertools

from experiments.self_audit.config import Config
from experiments.self_audit.scenarios import SCENARIOS, Outcome, Settings
from gecko_jax import reports, runtime
from gecko_jax.types import Estimate

COLUMNS = (
    reports.Column("accounted", "ε accounted", "", 3),
    reports.Column("guesses", "ε shown, by guesses", "", 3),
    reports.Column("signals", "ε shown, by signals", "", 3),
    reports.Column("share", "shown / accounted", "%", 1),
    reports.Column("canaries", "canaries", "", 0),
)


def study(config: Config) -> reports.Study:
    """Plays every scenario at every epsilon; a bound above what was accounted for is the first warning."""
    games = list(itertools.product(config.scenarios, config.epsilons))
    # All bounds hold together at 95 %, so that one above its account is a fault and not one of many tries.
    settings = Settings(config.canaries, config.delta, config.seed, 1 - 0.05 / len(games))
    rows, broken = [], []
    with runtime.progress(len(games), "auditing") as bar:
        for name, epsilon in games:
            outcome = SCENARIOS[name](settings, epsilon)
            rows.append(reports.Row(f"{name}, ε = {epsilon:g}", _figures(outcome)))
            if (bound := shown(outcome)) > outcome.accounted:
                broken.append(f"{name}, ε = {epsilon:g}: {bound:.3f} shown, {outcome.accounted:.3f} accounted for.")
            bar.step(name)
    return reports.Study(
        title="Private training under audit",
        summary="Does the library's own private training keep what it promises? Canaries go into each kind of run by "
        "fair coins, and an auditor who sees every noised gradient bounds ε from below. A bound above the accounted "
        f"ε would be a fault. δ = {config.delta:g}; all bounds hold together at 95 %.",
        rows=tuple(rows),
        columns=COLUMNS,
        notes=reports.Notes(warnings=(*(f"GUARANTEE BROKEN: {line}" for line in broken), *NOTES)),
    )


NOTES = (
    "By guesses: Steinke et al. 2023, which assumes fair coins alone. By signals: the separation of the canaries' "
    "signals as a Gaussian mechanism's, after Agrawal et al. 2026; it assumes that they are independent and Gaussian.",
    "A bound far below its ε does not prove privacy: with Poisson batches the auditor does not know who took part, and "
    "from losses alone it sees little.",
)


def shown(outcome: Outcome) -> float:
    """Returns the larger of the two empirical lower bounds."""
    return max(outcome.guesses, outcome.signals or 0.0)


def _figures(outcome: Outcome) -> dict[str, Estimate]:
    figures = {
        "accounted": Estimate(outcome.accounted, kind="modeled"),
        "guesses": Estimate(outcome.guesses),
        "share": Estimate(100 * shown(outcome) / outcome.accounted, unit="%"),
        "canaries": Estimate(outcome.canaries, kind="counted"),
    }
    return figures | ({"signals": Estimate(outcome.signals, kind="modeled")} if outcome.signals is not None else {})
