"""A report with its classes called by their names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gecko_jax.audit.report.report import Report


def name_classes(report: Report, classes: Sequence | None) -> Report:
    """Returns the report with its classes called by their names."""
    if classes is None:
        return report
    numbers = {f"class {i}": f"class {name}" for i, name in enumerate(classes)}
    slices: dict[str, Any] = {numbers.get(name, name): found for name, found in report.slices.items()}
    exposed = report.most_exposed
    if exposed is not None and exposed.label is not None:
        exposed = exposed._replace(label=np.asarray(classes)[exposed.label])
    notes = tuple(
        re.sub(r"class \d+(?= \()", lambda found: numbers.get(found[0], found[0]), note) for note in report.notes
    )
    return dataclasses.replace(report, slices=slices, most_exposed=exposed, notes=notes)
