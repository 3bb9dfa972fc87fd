"""The study of multi-exit networks runs from flags to page, and its figures are what their names say."""

from __future__ import annotations

import csv
import pathlib

import numpy as np
import pytest

from experiments.multi_exit import measure, run
from experiments.multi_exit.config import PRESETS, Config
from gecko_jax import attacks, reports
from gecko_jax.types import Signals

HOME = pathlib.Path(run.__file__).parent


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("multi_exit")
    flags = ["--models=3", "--records=40", "--epochs=1", "--hidden=4", "--thresholds=0.1"]
    run.main(["run", f"--output={folder}", *flags])
    return reports.read_record(folder, complete=True)


def test_rows_and_counted_figures(study):
    names = [row.name for row in study.rows]
    assert names == ["Backbone", "Split behind block1", "Multi-exit, threshold 0.1"]
    backbone, split, answered = (row.figures for row in study.rows)
    macs = [each["kmacs"].value * 1000 for each in (backbone, split, answered)]
    # of ten classes the likeliest has a tenth at least, so that the first exit answers everything
    np.testing.assert_allclose(macs, [64 * 4 + 4 * 10, 64 * 4, 64 * 4 + 4 * 10])
    assert split["sent_bytes"].value == 16 and answered["told"].value == answered["told_guarded"].value == 100
    assert answered["auc_exits"] == answered["auc_times"] == answered["auc_posteriors"]


def test_an_attack_learns_from_the_other_models_and_reads_the_target():
    rng = np.random.default_rng(0)
    member, seen, asked = rng.random((3, 30)) < 0.5, rng.normal(size=(3, 30)), rng.normal(size=(3, 30))
    by_hand = []
    for i, others in enumerate(([1, 2], [0, 2], [0, 1])):
        scores = attacks.lira()(Signals(seen[others], member[others], asked[i]))
        gap = scores[member[i]][:, None] - scores[~member[i]][None]
        by_hand.append((gap > 0).mean() + (gap == 0).mean() / 2)
    np.testing.assert_allclose(measure.aucs(attacks.lira(), seen, asked, member).value, np.mean(by_hand))


def test_the_expected_table_is_of_the_preset():
    with (HOME / "expected" / "quick.csv").open() as file:
        rows = {line["row"] for line in csv.DictReader(file)}
    config = PRESETS["quick"]
    splits = [f"Split behind block{i + 1}" for i in range(len(config.hidden))]
    assert rows == {"Backbone", *splits, *(f"Multi-exit, threshold {each:g}" for each in config.thresholds)}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"thresholds": (0.0,)}, "thresholds=0.0"),
        ({"thresholds": ()}, "thresholds is empty"),
        ({"models": 2}, "models=2"),
        ({"hidden": ()}, "hidden is empty"),
        ({"jitter": -1.0}, "jitter=-1.0"),
    ],
)
def test_settings_are_checked_before_anything_is_trained(settings, words):
    with pytest.raises(ValueError, match=words):
        Config(**settings)
