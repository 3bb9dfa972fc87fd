"""Purchase-100: 197,324 shoppers, 600 binary features, in 100 clusters (Shokri et al. 2017, arXiv:1610.05820)."""

from __future__ import annotations

from gecko_jax.datasets.delimited import Table

TABLE = Table(
    name="purchase",
    features=600,
    classes=100,
    files=(
        "purchase.npz",
        "purchase100.npz",
        "purchase.csv",
        "purchase.csv.gz",
        "purchase100.csv",
        "purchase100.csv.gz",
        "dataset_purchase",
        "dataset_purchase.csv",
        "dataset_purchase.csv.gz",
    ),
    address="https://github.com/privacytrustlab/datasets (dataset_purchase.tgz, unpacked)",
    rows=197_324,
)
