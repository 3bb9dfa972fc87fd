"""Whether a finished study still stands: the same settings, code and versions as its record's."""

from __future__ import annotations

import pathlib
import warnings
from typing import Any

from gecko_jax import reports
from gecko_jax.digests import sha256

ROOT = pathlib.Path(__file__).resolve().parents[1]


def code_digest() -> str:
    """Returns a digest of all source files that a study runs."""
    sources = sorted([*ROOT.glob("gecko_jax/**/*.py"), *ROOT.glob("experiments/**/*.py")])
    return sha256(*(f"{path.relative_to(ROOT).as_posix()} {sha256(path.read_bytes())}\n" for path in sources))[:16]


def finished(folder: pathlib.Path, config: dict[str, Any]) -> reports.Study | None:
    """The study in `folder`, if running it again would make the same one; None if it has to be run.

    Args:
      folder: where a study writes its record.
      config: the settings, in JSON's types, as its record holds them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an older record's code is another one: it is made again
            study = reports.read_record(folder, complete=True)
    except (OSError, ValueError):
        return None  # none there, half of one, or files of two: it is made again
    then, now = study.record.get("environment", {}).get("versions"), reports.environment()["versions"]
    same = study.record.get("config") == config and study.record.get("code") == code_digest() and then == now
    return study if same else None
