"""Prints the figures of a finished study as a table of expected figures.

python -m experiments.expected runs/template > experiments/template/expected/quick.csv

Look at the figures first: from then on a run is compared with them. docs/expected_tables.md says how tolerances come
about, and when to make a table again.
"""

from __future__ import annotations

import sys

from experiments import command


def main(argv: list[str] | None = None) -> None:
    """Prints the table of the folder that the first argument names."""
    with command.reported("expected"):
        from gecko_jax import reports

        arguments = (sys.argv if argv is None else argv)[1:]
        if len(arguments) != 1 or arguments[0] in command.HELP:
            raise SystemExit(__doc__)
        print(reports.expected_csv(reports.read_record(arguments[0]).rows), end="")


if __name__ == "__main__":
    main()
