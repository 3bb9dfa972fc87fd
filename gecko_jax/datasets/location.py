"""Location: 5,010 check-in profiles of 446 binary features in 30 clusters (Shokri et al. 2017, arXiv:1610.05820)."""

from __future__ import annotations

from gecko_jax.datasets.delimited import Table

TABLE = Table(
    name="location",
    features=446,
    classes=30,
    files=(
        "location.npz",
        "location.csv",
        "location.csv.gz",
        "bangkok",
        "bangkok.csv",
        "bangkok.csv.gz",
        "dataset_location",
    ),
    address="https://github.com/privacytrustlab/datasets (dataset_location.tgz, unpacked)",
    rows=5010,
)
