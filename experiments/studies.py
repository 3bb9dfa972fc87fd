"""Runs a study: each of its parts to a table, a page and a record, compared with the expected figures.

With `--estimate` it trains nothing and prints how long the training of each row takes. The preset "paper", which is for
a GPU, prints that before it starts. Several processes run a study as one program (`experiments.processes`).

What every study's record holds (settings, code, seeds, environment) is filled in and checked here before anything is
trained, so that a record that cannot be written does not cost the training. The code's digest is of the program that
ran, even if its files are edited meanwhile.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from experiments import flags, processes
from gecko_jax import hosts, reports
from gecko_jax.digests import sha256
from gecko_jax.training import NotFinite

ESTIMATE, FOR_A_GPU = "estimate", "paper"
ROOT = pathlib.Path(__file__).resolve().parents[1]


class Part(NamedTuple):
    """One table of a study.

    Attributes:
      name: of its folder below the config's `output`; "" for the folder itself.
      make: () -> the study. Its record holds what it alone knows; "timings" are added to the total, in seconds.
      seeds: of its models.
      after: (the study) -> text to print below its table, or "".
    """

    name: str
    make: Callable[[], reports.Study]
    seeds: Sequence[int]
    after: Callable[[reports.Study], str] = lambda study: ""


class CommandLine(NamedTuple):
    """A study as it is run from the command line.

    Attributes:
      command: what an error message begins with.
      home: the study's own folder. Its `workload.py` has `workload(config)`, which lists the training of all rows.
      config_cls: its settings, with a field `output`, the folder of all parts.
      presets: name -> settings, of those whose figures are in `home`/expected.
      parts: settings -> its tables.
    """

    command: str
    home: pathlib.Path
    config_cls: type
    presets: Mapping[str, Any]
    parts: Callable[[Any], Iterable[Part]]


def main(study: CommandLine, argv: Sequence[str] | None = None) -> None:
    """Runs a study by its flags, or with `--estimate` tells how long it would take.

    Args:
      study: what to run.
      argv: the program's name and its arguments; None: sys.argv.

    Raises:
      SystemExit: a bad flag, `--help`, or a part that cannot be made or written.
    """
    definition = flags.define(study.config_cls, study.presets)
    flags.add_switch(definition, ESTIMATE, "train nothing; print how long the training of each row takes here")
    processes.add_flags(definition)
    config = flags.parse(definition, argv)
    several = processes.join(definition) > 1
    if definition.values[ESTIMATE].value:
        if several:
            raise ValueError(f"--{ESTIMATE} times one process: leave the others out, with --num_processes=1.")
        _print_estimate(study, config)
        return
    with processes.own_output(config) as own:
        parts = list(study.parts(own))
        paper = definition.values.preset == FOR_A_GPU and not several
        if paper and any(_finished(part, config) is None for part in parts):
            _print_estimate(study, config)
        run(study.command, own, study.presets, study.home, parts)


def _print_estimate(study: CommandLine, config: Any) -> None:
    from experiments import estimates

    rows = importlib.import_module(f"experiments.{study.home.name}.workload").workload(config)
    print(estimates.table(estimates.estimate(rows)) + "\n", flush=True)


@hosts.guarded
def run(command: str, config: Any, presets: Mapping[str, Any], home: pathlib.Path, parts: Iterable[Part]) -> None:
    """Makes each part that is not there yet, prints its table and says where its report lies.

    Args:
      command: what an error message begins with.
      config: a dataclass with a field `output`, the folder of all parts.
      presets: name -> config, of those whose figures are in `home`/expected.
      home: the study's own folder.
      parts: its tables.

    Raises:
      SystemExit: with a message, if a part cannot be made or written.
    """
    for part in parts:
        folder = pathlib.Path(config.output) / part.name
        study = _finished(part, config) if hosts.is_main() else None
        if not hosts.from_main(lambda: study is not None):  # noqa: B023
            try:
                study = _made(part, config)
                if hosts.is_main():
                    study = reports.write_record(folder, study, {"report.html": reports.html})
            except (OSError, ValueError, NotFinite) as error:
                raise SystemExit(f"{command}: {error}") from error
        else:
            print("Nothing changed since this study was run; delete its folder to run it again.\n")
        if study is None or not hosts.is_main():
            continue
        print(reports.table(study))
        if below := part.after(study):
            print(f"\n{below}")
        if differences := compare_with_expected(config, presets, home, part.name, study.rows):
            print(f"\n{differences}")
        files = {"Report": "report.html", "figures": "results.csv", "record": "record.json"}
        print("\n" + "   ".join(f"{what}: {folder / name}" for what, name in files.items()) + "\n")


def record_of(config: Any, seeds: Sequence[int]) -> dict[str, Any]:
    """Returns the record that every study has, before it is run.

    Raises:
      TypeError: naming the setting or seed that JSON cannot hold.
    """
    record = {
        "config": flags.to_dict(config),
        "code": code_digest(),
        "seeds": list(seeds),
        "timings": {},
        "environment": reports.environment(),
    }
    reports.check_record(record)
    return record


def _made(part: Part, config: Any) -> reports.Study:
    record, start = record_of(config, part.seeds), time.perf_counter()
    study = part.make()
    timings = {**study.record.get("timings", {}), "total": round(time.perf_counter() - start, 2)}
    return dataclasses.replace(study, record={**record, **study.record, "timings": timings})


@functools.cache
def code_digest() -> str:
    """Returns a digest of all source files that a study runs, as they were when it was first asked for."""
    sources = sorted([*ROOT.glob("gecko_jax/**/*.py"), *ROOT.glob("experiments/**/*.py")])
    return sha256(*(f"{path.relative_to(ROOT).as_posix()} {sha256(path.read_bytes())}\n" for path in sources))[:16]


def finished(folder: pathlib.Path, config: Mapping[str, Any]) -> reports.Study | None:
    """Returns the study in a folder if its settings, code and versions are today's, or None: it has to be run.

    Args:
      folder: where a study writes its record.
      config: the settings, in JSON's types, as its record holds them.
    """
    try:
        study = reports.read_record(folder, complete=True)
    except (OSError, ValueError):
        return None  # no record, half of one, or files of two runs
    then, now = study.record.get("environment", {}).get("versions"), reports.environment()["versions"]
    same = study.record.get("config") == config and study.record.get("code") == code_digest() and then == now
    return study if same else None


def _finished(part: Part, config: Any) -> reports.Study | None:
    return finished(pathlib.Path(config.output) / part.name, flags.to_dict(config))


def compare_with_expected(
    config: Any, presets: Mapping[str, Any], home: pathlib.Path, part: str, rows: Sequence[reports.Row]
) -> str:
    """Returns what to say of a preset's figures beside those in `home`/expected; "" for other settings.

    Args:
      config, presets, home: see `run`.
      part: the name of the table.
      rows: its rows.
    """
    name = next((name for name, preset in presets.items() if _same(config, preset)), None)
    path = home / "expected" / ("_".join(filter(None, (name, part))) + ".csv")
    if name is None or not path.exists():
        return ""
    differences = reports.compare_expected(rows, path)
    if not differences:
        return f"All figures are as in {path.name}, within its tolerances."
    heading = f"{len(differences)} figures differ from {path.name} by more than its tolerances:"
    return "\n".join([heading, *map(str, differences)])


def _same(config: Any, preset: Any) -> bool:
    places = {"output": preset.output} | ({"data_dir": None} if hasattr(config, "data_dir") else {})
    return dataclasses.replace(config, **places) == preset
