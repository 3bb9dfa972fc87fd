"""Package metadata. The exact versions that the scripts install stand in requirements.lock."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "gecko_jax/__init__.py").read_text()).group(1)

setup(
    name="gecko_jax",
    version=VERSION,
    description="Train, quantise, attack, price and deploy the same pure Flax model.",
    long_description=(HERE / "README.md").read_text() if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["gecko_jax", "gecko_jax.*", "experiments", "experiments.*"]),
    install_requires=[
        "absl-py",
        "dp-accounting",
        "flax>=0.12.8",
        "importlib_resources",  # TFDS prepares its own data sets with it and does not say so
        "jax>=0.10.2",
        "matplotlib",
        "numpy",
        "optax",
        "orbax-checkpoint",
        "scikit-learn",
        "scipy",
        "tensorflow-datasets",
    ],
    extras_require={
        "bench": ["cryptography", "jax-privacy", "opacus", "torch"],
        "crypto": ["cryptography"],
        "cuda": ["jax[cuda13]"],
        # setuptools installs the checkout
        "test": ["cryptography", "hypothesis", "pytest", "pytest-xdist", "ruff", "setuptools"],
        "tpu": ["jax[tpu]"],
    },
)
