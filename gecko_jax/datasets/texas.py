"""Texas-100: 67,330 hospital stays, 6,169 binary features, in 100 procedures (Shokri et al. 2017, arXiv:1610.05820)."""

from __future__ import annotations

from gecko_jax.datasets.delimited import Table

TABLE = Table(
    name="texas",
    features=6169,
    classes=100,
    files=("texas.npz", "texas100.npz", "texas/100/feats", "100/feats", "feats"),
    address="https://github.com/privacytrustlab/datasets (dataset_texas.tgz, unpacked)",
    rows=67_330,
    labels="labels",
)
