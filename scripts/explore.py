"""Writes the trade-off explorer of a study: one page to choose axes, budgets and a model on, without the network.

    python scripts/explore.py runs/gecko                                   # explorer.html beside its report
    python scripts/explore.py runs/gecko/results.csv --output=page.html

The argument is the folder of a study, or its results.csv. Without the record.json beside it, a results.csv has neither
curves nor commands, and its columns are known by their keys alone; the page says so.
"""

from __future__ import annotations

import pathlib

from absl import app, flags

from experiments import command

OUTPUT = flags.DEFINE_string("output", None, "Where the page goes; explorer.html beside the figures if not set.")


def main(arguments: list[str]) -> None:
    """Reads the study that the argument names, and writes the page."""
    from gecko_jax import files, reports  # here, so that Ctrl-C while they are loaded ends as it does later

    if len(arguments) != 2:
        raise app.UsageError("give one study: its folder, or its results.csv")
    path = pathlib.Path(arguments[1])
    study = reports.read_results(path)
    output = pathlib.Path(OUTPUT.value or (path if path.is_dir() else path.parent) / "explorer.html")
    if output.suffix != ".html":
        raise ValueError(f"--output={output} must be the name of an .html file.")
    print(f"explorer: {files.write_atomic(output, reports.explorer_html(study))}")


if __name__ == "__main__":
    command.absl_main("explore", lambda: app.run(main))
