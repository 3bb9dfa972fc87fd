"""Running a study: its parts one after the other, each to a table, a page and a record beside what came out before."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments import flags, unchanged
from gecko_jax import reports
from gecko_jax.training import NotFinite


def run(
    claim: str,
    config: Any,
    presets: Mapping[str, Any],
    home: Path,
    parts: Iterable[tuple[str, Callable[[], reports.Study]]],
) -> None:
    """Makes each part that is not there yet, prints its table and says where its report lies.

    Args:
      claim: what an error calls the study.
      config: with a field `output`, the folder that each part has a folder of its name in.
      presets: name -> config, of those whose figures stand in `home`/expected.
      home: the study's own folder.
      parts: name -> function that makes it; "" is the study as a whole, in `output` itself.
    """
    for part, make in parts:
        folder = Path(config.output) / part
        if (study := unchanged.finished(folder, flags.to_dict(config))) is None:
            try:
                study = reports.write_record(folder, make(), {"report.html": reports.html})
            except (OSError, ValueError, NotFinite) as error:
                raise SystemExit(f"{claim}: {error}") from error
        else:
            print("Nothing changed since this study was run; delete its folder to run it anew.\n")
        print(reports.table(study))
        if beside := beside_expected(config, presets, home, part, study.rows):
            print(f"\n{beside}")
        files = {"Report": "report.html", "figures": "results.csv", "record": "record.json"}
        print("\n" + "   ".join(f"{what}: {folder / name}" for what, name in files.items()) + "\n")


def beside_expected(config: Any, presets: Mapping[str, Any], home: Path, part: str, rows: Iterable[reports.Row]) -> str:
    """Whether a preset that was run to its end before came out as it did then; "" for other settings."""
    name = next((name for name, preset in presets.items() if _same(config, preset)), None)
    path = home / "expected" / ("_".join(filter(None, (name, part))) + ".csv")
    if name is None or not path.exists():
        return ""
    found = reports.compare_expected(rows, path)
    lines = [f"{len(found)} figures are not as in {path.name}, within its tolerances:", *map(str, found)]
    return "\n".join(lines) if found else f"All figures are as in {path.name}, within its tolerances."


def _same(config: Any, preset: Any) -> bool:
    places = {"output": preset.output} | ({"data_dir": None} if hasattr(config, "data_dir") else {})
    return dataclasses.replace(config, **places) == preset
