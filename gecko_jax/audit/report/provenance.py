"""Where an audit's figures come from: when, with which versions, and digests of what was audited."""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import platform
from typing import Any

import numpy as np

from gecko_jax.digests import value_digest
from gecko_jax.types import Array

PACKAGES = ("jax", "numpy")


def provenance(
    logits: Array, y: Array, member: Array, shadows: int, x: Array | None = None, ids: Array | None = None
) -> dict[str, Any]:
    """What an audit was made from and by, as plain JSON.

    Args:
      logits: [m, n, c] of the targets, as the attacks read them.
      y: [n]; member: [m, n].
      shadows: models that each target was attacked with.
      x, ids: the records [n, ...] and their names, or None.

    Returns:
      date (UTC), versions {package: version}, shadows, key (None; `audit` puts its own there), and digests of the
      records (x, None without them, labels and ids), of who was a member, and of the outputs. Equal digests mean equal
      values and shapes; see `digests.value_digest`.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": dict(_versions()),
        "key": None,
        "shadows": shadows,
        "digests": {
            "records": None if x is None else value_digest(x, y, *([] if ids is None else [ids])),
            "members": value_digest(member),
            "outputs": value_digest(logits),
        },
    }


def key_words(key: Any) -> list[int] | None:
    """A JAX key, or the one of a seed, as its words (of seed 5, [0, 5]); None if there is none."""
    if key is None:
        return None
    import jax

    if isinstance(key, (int, np.integer)):
        key = jax.random.key(int(key))
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key).tolist()


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    from gecko_jax import __version__

    found = ((package, importlib.metadata.version(package)) for package in PACKAGES)
    return (("gecko_jax", __version__), *found, ("python", platform.python_version()))
