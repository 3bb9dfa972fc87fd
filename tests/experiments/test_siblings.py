"""The study of a network's relatives: disjoint records, and a table of whatever its rows answer."""

from __future__ import annotations

import csv
import pathlib

import numpy as np
import pytest

from experiments.siblings import measure, run, train
from experiments.siblings.config import PRESETS, Config
from gecko_jax.types import Estimate

HOME = pathlib.Path(run.__file__).parent
HALF = Estimate(50.0, unit="%")
SMALL = Config(models=4, pool_rows=60, public_rows=20, bits=(4,))


class Drawn:
    """Rows whose models answer at random, but for what each leaks."""

    def __init__(self, config, data):
        self.data, self.calls = data, []

    def __getattr__(self, name):
        def row(*args, **settings):
            self.calls.append(name)
            rng, (pool, test) = np.random.default_rng(len(self.calls)), (self.data.pool.train, self.data.pool.test)
            logits = [rng.normal(size=(4, len(part.y), 10)) for part in (pool, test)]
            logits[0] += 3 * np.eye(10)[pool.y] * self.data.member[..., None]
            return train.Trained(None, None, *logits)

        return row


def test_public_and_test_records_are_never_members():
    data = train.load(SMALL)
    ids = [set(part.id.tolist()) for part in (data.pool.train, data.public, data.pool.test)]
    assert [len(part) for part in ids[:2]] == [60, 20] and sum(map(len, ids)) == len(set.union(*ids)) == 1797
    assert data.member.shape == (4, 60) and data.pool.train.x.shape == (60, 64)
    with pytest.raises(ValueError, match="leave no test rows of 1,797"):
        train.load(Config(pool_rows=1500, public_rows=400))


def test_each_row_is_attacked_and_only_siblings_are_asked_for_transfer(monkeypatch):
    monkeypatch.setattr(measure, "Trainer", Drawn)
    asked = []
    monkeypatch.setattr(measure, "_transfer", lambda config, row, large, data: asked.append(large) or HALF)
    study = measure.study(SMALL)
    names = [row.name for row in study.rows]
    assert len(asked) == 4 and names[-2:] == ["small sibling, trained on", "small sibling, unpaired"]
    assert {"4 bit, rounded", "4 bit, trained", "ternary, rounded", "DMP", "KCD", "SELENA"} <= set(names)
    for row in study.rows:
        assert row.figures["lira_auc"].value > 0.7 and ("transfer" in row.figures) == ("sibling" in row.name)


def test_expected_tables_are_of_their_presets(monkeypatch):
    monkeypatch.setattr(measure, "Trainer", lambda config, data: None)
    for preset in (HOME / "expected").glob("*.csv"):
        config = PRESETS[preset.stem]
        with preset.open() as file:
            names = {line["row"] for line in csv.DictReader(file)}
        bits = {f"{measure._bits(bits)}, {how}" for bits in (*config.bits, None) for how in ("rounded", "trained")}
        assert bits <= names and {"full precision", "DMP", "small sibling, unpaired"} <= names


def test_settings_are_checked_before_anything_is_trained():
    with pytest.raises(ValueError, match="models=3"):
        Config(models=3)
    with pytest.raises(ValueError, match=r"small=\(12,\) must have as many layers as hidden=\(64, 64\)"):
        Config(hidden=(64, 64))
    with pytest.raises(ValueError, match="withheld=10 must lie between 1 and 9"):
        Config(withheld=10)
