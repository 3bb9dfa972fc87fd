"""Optional packages: which of gecko_jax's extras installs each, and a clear error if one is missing."""

from __future__ import annotations

import importlib.util

EXTRAS = {
    "cryptography": "crypto",
    "flatbuffers": "export",
    "matplotlib": "reports",
    "mife": "fe",
    "onnx": "export",
    "sklearn": "sklearn",
    "tenseal": "he",
    "tensorflow_datasets": "tfds",
    "tflite": "export",
    "tokenizers": "text",
    "unicorn": "export",
    "ziglang": "export",
}


def require(package: str, purpose: str) -> None:
    """Checks that an optional package is installed; call it before the package is imported.

    Args:
      package: as it is imported, one of `EXTRAS`.
      purpose: what needs it, for the message.

    Raises:
      ImportError: naming the command that installs it.

    >>> require("sklearn", "datasets.load('digits')")
    """
    if importlib.util.find_spec(package) is None:
        raise ImportError(f'{purpose} needs the package {package}: pip install "gecko_jax[{EXTRAS[package]}]".')
