"""Package metadata. The exact versions that the scripts install are in requirements.lock."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "gecko_jax/__init__.py").read_text(encoding="utf-8")).group(1)

# What the library imports only in the functions that need it; gecko_jax/extras.py says which extra a package is in.
EXTRAS = {
    "crypto": ["cryptography"],
    "export": ["flatbuffers", "onnx", "tflite", "unicorn", "ziglang"],  # gecko_jax.export
    "fe": ["pymife"],  # gecko_jax.encrypted.functional
    "he": ["tenseal"],  # its sealapi is what gecko_jax.encrypted computes with
    "reports": ["matplotlib"],
    "sklearn": ["scikit-learn"],
    "text": ["tokenizers"],  # byte-pair encoding: gecko_jax.datasets.text.learn_bpe
    "tfds": ["importlib_resources", "tensorflow-datasets"],  # TFDS needs the first one and does not declare it
}
EXTRAS["audit"] = [*EXTRAS["reports"], *EXTRAS["sklearn"]]
# Also for scripts/.
EXTRAS["experiments"] = [*EXTRAS["audit"], *EXTRAS["crypto"], *EXTRAS["fe"], *EXTRAS["he"]]
EXTRAS["experiments"] += [*EXTRAS["export"], *EXTRAS["text"], *EXTRAS["tfds"]]
EXTRAS["bench"] = ["jax-privacy", "opacus", "torch", *EXTRAS["experiments"]]
EXTRAS["cuda"] = ["jax[cuda13]"]
EXTRAS["tpu"] = ["jax[tpu]"]
EXTRAS["test"] = [
    "ai-edge-litert",  # runs exported networks, as onnxruntime and tflite-micro do
    "backports-strenum<1.3",  # ai-edge-litert asks for any, and later ones refuse Python 3.11
    "basedpyright",
    "hypothesis",
    "onnxruntime",
    "pytest",
    "pytest-xdist",
    "ruff",
    "setuptools>=77",  # installs the checkout, and builds the wheel in a test
    "tflite-micro",
    *EXTRAS["experiments"],
]

setup(
    name="gecko_jax",
    version=VERSION,
    description="Train, quantize, attack, price and deploy the same pure Flax model.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The gecko_jax Authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "differential privacy",
        "jax",
        "flax",
        "machine learning",
        "membership inference",
        "privacy auditing",
        "quantization",
        "binary neural networks",
    ],
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Security",
        "Typing :: Typed",
    ],
    project_urls={"Paper": "https://arxiv.org/abs/2010.00912"},
    python_requires=">=3.11",
    packages=find_packages(include=["gecko_jax", "gecko_jax.*"]),
    # With it, an editable install puts the whole checkout on the path: experiments and scripts run from any folder,
    # although they are not in the wheel.
    package_dir={"": "."},
    package_data={
        "gecko_jax": ["py.typed", "export/c99/kernels/*.c", "reports/explorer/*.css", "reports/explorer/*.js"],
    },
    install_requires=[
        "absl-py",
        "dp-accounting",
        "flax>=0.12.8",
        "jax>=0.10.2",
        "numpy",
        "optax",
        "orbax-checkpoint",  # Flax installs it in any case
        "scipy",
    ],
    extras_require=EXTRAS,
)
