"""Writes files atomically: a file is complete or absent, alone or together with the others of its artifact.

Several files are one artifact (a model and its settings, figures and their page) only if all of them are of the same
run. One of them is therefore the commit marker: it is written last and names the SHA-256 of every other. It is removed
before the first of the others is replaced. A folder that a killed run left has no marker, and is refused by readers.
"""

from __future__ import annotations

from gecko_jax.files.reading import check_present, read_arrays, read_checked
from gecko_jax.files.safetensors import read_safetensors
from gecko_jax.files.writing import write_atomic, write_secret, write_together

__all__ = [
    "check_present",
    "read_arrays",
    "read_checked",
    "read_safetensors",
    "write_atomic",
    "write_secret",
    "write_together",
]
