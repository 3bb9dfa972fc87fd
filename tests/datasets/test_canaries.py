"""Canaries: what they promise, and that an audit of them finds a training run with too little noise."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit, datasets
from gecko_jax.datasets import canaries
from gecko_jax.types import Examples

CLASSES = 4
RNG = np.random.default_rng(0)
DATA = Examples(RNG.random((300, 8, 8, 1), np.float32), RNG.integers(0, CLASSES, 300).astype(np.int32), np.arange(300))
EVERY = pytest.mark.parametrize("name", sorted(canaries.CANARIES))


@EVERY
def test_they_are_records_of_the_datas_kind_with_ids_of_their_own(name):
    make = canaries.CANARIES[name]
    drawn = make(DATA, 50, CLASSES, seed=3)
    assert drawn.x.shape == (50, 8, 8, 1) and drawn.x.dtype == DATA.x.dtype and drawn.y.dtype == np.int32
    assert drawn.y.min() >= 0 and drawn.y.max() < CLASSES and len(np.unique(drawn.y)) > 1
    assert (drawn.id < 0).all() and len(np.unique(drawn.id)) == 50
    assert len(np.unique(drawn.x.reshape(50, -1), axis=0)) == 50
    for again, first in zip(make(DATA, 50, CLASSES, seed=3), drawn, strict=True):
        np.testing.assert_array_equal(again, first)
    assert not np.intersect1d(make(DATA, 50, CLASSES, seed=4).id, drawn.id).size
    pool = canaries.append(DATA, drawn)
    assert len(pool.y) == 350 and (pool.y[300:] == drawn.y).all() and (pool.id[:300] == DATA.id).all()


def test_mislabeled_ones_are_the_datas_under_every_other_label():
    drawn = canaries.mislabeled(DATA, 300, CLASSES, seed=0)
    row = {x.tobytes(): i for i, x in enumerate(DATA.x)}
    rows = np.array([row[x.tobytes()] for x in drawn.x])
    assert len(set(rows)) == 300 and (DATA.y[rows] != drawn.y).all()
    shift = (drawn.y - DATA.y[rows]) % CLASSES
    assert np.bincount(shift, minlength=CLASSES)[1:].min() > 70  # of 100 each


def test_blank_ones_have_one_feature_each():
    drawn = canaries.blank(DATA, 64, CLASSES, seed=0).x.reshape(64, -1)
    assert ((drawn > 0).sum(1) == 1).all() and ((drawn > 0).sum(0) == 1).all()


@EVERY
def test_a_model_that_learns_them_by_heart_is_found_out(name):
    """A table of those that were in, where almost no noise was accounted for as much."""
    from gecko_jax.privacy import Epsilon

    drawn = canaries.CANARIES[name](DATA, 64, CLASSES, seed=1)
    member = datasets.membership.coins(drawn.id, 1, seed=5)[0]
    known = {x.tobytes() for x in drawn.x[member]}
    labels = {x.tobytes(): y for x, y in zip(drawn.x, drawn.y, strict=True)}

    def predict(x):
        sure = np.array([10.0 * (row.tobytes() in known) for row in x])
        return sure[:, None] * np.eye(CLASSES)[[labels[row.tobytes()] for row in x]]

    parts = [Examples(*(part[rows] for part in drawn)) for rows in (member, ~member)]
    with pytest.raises(audit.ClaimRefuted):
        # The table has no answer for a moved image, so the attack that moves them is not asked for.
        claimed = Epsilon(0.5, 1e-5, "add_or_remove", "pld", ())
        audit.audit(predict, *parts, attacks=[attacks.loss()], claimed_epsilon=claimed)


@pytest.mark.parametrize("x", [-np.ones((5, 4), np.float32), np.zeros((5, 4)), np.zeros((5, 4), np.int32)])
def test_blank_ones_of_data_that_never_rises_above_0_would_all_be_one(x):
    with pytest.raises(ValueError, match=rf"data.x has a maximum of {x.max()}; .* use out_of_distribution"):
        canaries.blank(Examples(x, np.zeros(5, int), np.arange(5)), 3, 2, 0)


def test_the_modules_example_trains_on_no_canary_twice(monkeypatch):
    """It runs, and no record of its canaries stands in the pool under its own label too."""
    from gecko_jax.types import Dataset

    train = Examples(RNG.random((50, 8, 8, 1), np.float32), np.zeros(50, np.int32), np.arange(1000, 1050))
    text = "\n".join(line.strip() for line in canaries.__doc__.splitlines() if line.startswith("    "))
    names = {"canaries": canaries, "datasets": datasets, "np": np, "data": Dataset("digits", train, DATA, CLASSES)}
    exec(text, names)
    assert len(names["tested"].y) == 300 and names["member"].shape == names["pool"].y.shape
    assert len(np.unique(names["pool"].x.reshape(350, -1), axis=0)) == 350


def test_bad_counts_are_named():
    for call, words in (
        (lambda: canaries.mislabeled(DATA, 301, CLASSES, 0), "count=301 must lie between 1 and 300"),
        (lambda: canaries.blank(DATA, 65, CLASSES, 0), "count=65 must lie between 1 and 64"),
        (lambda: canaries.out_of_distribution(DATA, 0, CLASSES, 0), "count=0"),
        (lambda: canaries.mislabeled(DATA, 5, 1, 0), "classes=1 must be at least 2"),
        (lambda: canaries.append(DATA, DATA), "share 300 ids"),
        (lambda: canaries.append(DATA, DATA._replace(x=DATA.x[..., 0])), "canaries.x has shape"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
