"""Says which models of a study keep to budgets, or which budget fails and by how much.

    python scripts/recommend.py runs/gecko --max_bytes=64kB --max_tpr=2% --min_accuracy=90%
    python scripts/recommend.py runs/gecko/results.csv --max_ram=20kB --budget=lira_auc=0.55 --budget=macs=1000000

The argument is the folder of a study, or its results.csv. A limit of bytes or of a share may be a bare number (64000,
.02); other units are written. --max_tpr, --max_auc and --max_attack_accuracy hold for every attack that the table has.

The exit status is 0 if a model fits, and 1 if none does.
"""

from __future__ import annotations

import sys

from absl import app

from experiments import budget_flags, command


def main(arguments: list[str]) -> None:
    """Prints the recommendation for the study that the argument names."""
    from gecko_jax import reports

    if len(arguments) != 2:
        raise app.UsageError("give one study: its folder, or its results.csv")
    limits = budget_flags.limits()
    result = reports.recommend(reports.read_results(arguments[1]), limits)
    print(result)
    sys.exit(0 if result.fitting else 1)


if __name__ == "__main__":
    command.absl_main("recommend", lambda: budget_flags.run(main))
