"""Compares saved models: accuracy, bytes, memory, energy and leak, and what fits a budget.

    python scripts/compare.py runs/*
    python scripts/compare.py runs/float runs/int8 runs/ternary --memory=sram_32kB
    python scripts/compare.py runs/* --max_bytes=64kB --max_auc=0.55 --min_accuracy=90%
    python scripts/compare.py runs/* --output=studies/all      # a study, as scripts/explore.py reads it

The arguments are folders of scripts/train.py. A second table has the differences from the first of them, paired over
models that were trained on the same members, with 95 % intervals. Leaks are those of audits that lie in the folders:
run scripts/audit.py before.

The exit status is 0, or 1 if budgets are given and no model fits.
"""

from __future__ import annotations

import sys

from absl import app, flags, logging

from experiments import budget_flags, command

MEMORY = flags.DEFINE_enum(
    "memory", "dram", ["sram_8kB", "sram_32kB", "sram_1MB", "dram"], "Memory that weights are read from."
)
OUTPUT = flags.DEFINE_string("output", None, "Folder to write the table to, as a study.")


def main(arguments: list[str]) -> None:
    """Prints the tables and, with budgets, the recommendation."""
    logging.set_verbosity(logging.WARNING)  # JAX says at INFO which accelerators it did not find
    if len(arguments) < 2:
        raise app.UsageError("give the folders of one or more runs, such as runs/*")
    from experiments import compared  # here, so that Ctrl-C while JAX is loaded ends as it does later
    from gecko_jax import reports

    limits = budget_flags.limits()
    study, differences = compared.compare(arguments[1:], MEMORY.value)
    print(reports.table(study))
    if differences is not None:
        print(reports.table(differences))
    if OUTPUT.value:
        reports.write_record(OUTPUT.value, study)
        print(f"written to {OUTPUT.value}; next: python scripts/explore.py {OUTPUT.value}")
    if limits:
        result = reports.recommend(study, limits)
        print(result)
        sys.exit(0 if result.fitting else 1)


if __name__ == "__main__":
    command.absl_main("compare", lambda: budget_flags.run(main))
