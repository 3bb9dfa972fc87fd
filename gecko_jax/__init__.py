"""gecko_jax: train, quantize, attack, price and deploy the same pure Flax model.

Sub-packages load on first use (`gecko_jax.training`), and importing this package touches no device.
"""

import importlib

__version__ = "0.2.0.dev0"

_ROOMS = (
    "activations",
    "attacks",
    "audit",
    "checks",
    "clippings",
    "compression",
    "convolutions",
    "costs",
    "datasets",
    "defenses",
    "devices",
    "digests",
    "encrypted",
    "export",
    "extras",
    "files",
    "hooks",
    "hosts",
    "integer",
    "json_values",
    "keys",
    "losses",
    "metrics",
    "models",
    "privacy",
    "probes",
    "quantizers",
    "programs",
    "reports",
    "runtime",
    "signals",
    "surroundings",
    "text_tables",
    "training",
    "trees",
    "types",
    "user_names",
)

__all__ = ["__version__", *_ROOMS]


def __getattr__(name):
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; rooms: {', '.join(_ROOMS)}")


def __dir__():
    return sorted(__all__)
