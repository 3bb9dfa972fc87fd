"""Provenance of an audit's figures: date, versions, and digests of what was audited."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
from typing import Any

import numpy as np

from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.validity.audited_records import AuditedRecords
from gecko_jax.audit.validity.containers import is_numeric
from gecko_jax.digests import value_digest

PACKAGES = ("jax", "numpy")


def provenance(readings: Readings, audited: AuditedRecords, shadows: int) -> dict[str, Any]:
    """Returns what an audit was made from and by, as plain JSON.

    Args:
      readings: of the targets, as the attacks read them.
      audited: the records, and who was a member.
      shadows: models that each target was attacked with.

    Returns:
      date (UTC), versions {package: version}, shadows, key (None; `audit` puts its own there), and digests of the
      records (x, None without them, labels and ids), of who was a member, and of the outputs. Equal digests mean equal
      values and shapes; see `digests.value_digest`.
    """
    x, parts = audited.x, [part for part in (audited.y, audited.ids) if part is not None]
    outputs = [part for name in sorted(readings.values) for part in (name, readings.values[name])]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": dict(_versions()),
        "key": None,
        "shadows": shadows,
        "digests": {
            "records": value_digest(x, *parts) if is_numeric(x) else None,
            "members": value_digest(audited.member),
            "outputs": value_digest(*outputs) if readings.outputs is None else value_digest(readings.outputs),
        },
    }


def key_words(key: Any) -> list[int] | None:
    """Returns a JAX key, or the key of a seed, as its words (seed 5: [0, 5]); None for None."""
    if key is None:
        return None
    import jax

    if isinstance(key, (int, np.integer)):
        key = jax.random.key(int(key))
    typed = jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key).tolist()


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    from gecko_jax import __version__

    versions = ((package, importlib.metadata.version(package)) for package in PACKAGES)
    return (("gecko_jax", __version__), *versions, ("python", platform.python_version()))
