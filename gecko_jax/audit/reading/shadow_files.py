"""Files that keep what was read off one shadow model."""

from __future__ import annotations

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from gecko_jax.audit.reading.readings import Readings
from gecko_jax.files import read_arrays, write_atomic
from gecko_jax.signals import Signal


def write_shadow(path: Path, readings: Readings) -> None:
    """Writes the readings of one model to an .npz, whole or not at all."""
    file = io.BytesIO()
    arrays: dict[str, Any] = {f"query:{i}": outputs for i, outputs in enumerate(readings.queries)}
    arrays |= {f"probed:{name}": values for name, values in readings.values.items()}
    np.savez(file, outputs=readings.model_outputs(), kind=readings.kind, **arrays)
    write_atomic(path, file.getvalue())


def read_shadow(path: Path, signals: Collection[Signal], queries: int) -> Readings | None:
    """Returns what `write_shadow` wrote, or None if it is absent or lacks a signal or one of the `queries`.

    Raises:
      ValueError: a file that is not complete.
    """
    try:
        arrays = read_arrays(path)
        readings = Readings(
            arrays["outputs"],
            tuple(arrays[f"query:{i}"] for i in range(sum(key.startswith("query:") for key in arrays))),
            {key.removeprefix("probed:"): values for key, values in arrays.items() if key.startswith("probed:")},
            kind=str(arrays["kind"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise ValueError(
            f"{path} is not a complete file of a shadow model ({error}). Delete it, and the audit trains "
            "that model again."
        ) from error
    wanted = {signal.name for signal in signals if signal.needs}
    return readings if len(readings.queries) == queries and wanted <= set(readings.values) else None
