"""Blind baselines: nothing is found in one distribution, and a shift is, before any figure."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import audit, metrics
from gecko_jax.audit.validity import blind_baselines
from gecko_jax.audit.validity.blind_baselines import baselines
from gecko_jax.types import Examples


def drawn(seed, n=300, d=4, shift=0.0):
    rng = np.random.default_rng(seed)
    member = rng.random(n) < 0.5
    x = rng.normal(size=(n, d)) + shift * member[:, None]
    return x, rng.integers(0, 3, n), member


def test_nothing_is_found_in_one_distribution():
    """An AUC of 1/2 on the average, intervals that hold it, and no warning."""
    actual = [baselines(*drawn(seed)) for seed in range(12)]
    aucs = [each.aucs["records"] for each in actual]
    assert abs(np.mean([auc.value for auc in aucs]) - 0.5) < 4 * 0.034 / np.sqrt(12)
    assert sum(auc.low <= 0.5 <= auc.high for auc in aucs) >= 10
    assert not any(each.warnings for each in actual)


@pytest.mark.parametrize("d", [4, 100])
def test_a_shift_of_the_records_is_found(d):
    """Of many features their principal components are read, and a shift of all of them is the first of these."""
    actual = baselines(*drawn(0, n=600, d=d, shift=1.0))
    assert actual.aucs["records"].low > 0.75
    assert "without the model, by the records" in actual.warnings[0] and "not of one distribution" in actual.warnings[0]


def test_a_shift_of_the_labels_is_found():
    x, _, member = drawn(1, n=600)
    y = np.where(np.random.default_rng(2).random(600) < 0.8, member, ~member).astype(int)
    assert baselines(x, y, member).aucs["records"].value == pytest.approx(0.8, abs=0.06)


def test_a_linear_oracle_bounds_what_trees_find():
    """Two normal distributions apart by a shift: no classifier has a better AUC than Phi(|shift| / sqrt 2)."""
    from scipy import special

    shift = 0.5
    best = special.ndtr(shift * np.sqrt(4) / np.sqrt(2))
    actual = [baselines(*drawn(seed, n=1000, shift=shift)).aucs["records"].value for seed in range(3)]
    assert best - 0.1 < np.mean(actual) < best + 0.02


@pytest.mark.parametrize("sign", [-1, 1])
def test_records_that_are_hard_for_every_model_are_found(sign):
    """By the loss of models that never had them; a record's own shadows are left out."""
    rng = np.random.default_rng(0)
    member, inside = rng.random(400) < 0.5, rng.random((8, 400)) < 0.5
    inside[:, :5] = True
    loss = rng.gamma(2.0, size=(8, 400)) - 5 * inside + 10
    assert not baselines(None, None, member, loss, inside).warnings
    actual = baselines(None, None, member, loss + sign * member, inside)
    assert actual.aucs["reference loss"].low > 0.7 and "by the reference loss" in actual.warnings[0]
    told = baselines(None, None, inside[0], loss, inside).aucs["reference loss"]
    assert told.low < 0.5  # the first shadow's own members show in its own loss alone, which is not read


def test_an_audit_says_it_first():
    """Members of another distribution: an audit that finds nothing else says so before its figures."""
    x, y, member = drawn(3, n=600, shift=1.0)
    rows = np.arange(600)
    parts = [Examples(x[chosen], y[chosen], rows[chosen]) for chosen in (member, ~member)]
    weights = np.random.default_rng(4).normal(size=(4, 3))
    report = audit.audit(lambda x: x @ weights, *parts)
    assert report.baselines["records"].low > 0.7 and "without the model" in report.warnings[0]
    lines = report.table().splitlines()
    assert lines[0].startswith("Warning: Members and non-members can be told apart")
    assert any(line.startswith("Without the model, by the records: AUC 0.") for line in lines[:4])
    assert '"baselines"' in report.to_json()


def test_too_few_and_broken_records_are_named():
    x, y, member = drawn(0)
    few = baselines(x, y, np.arange(300) < 3)
    assert "records" not in few.aucs and "there are 3 of one kind, and it needs 5" in few.warnings[0]
    x[7, 2] = np.nan
    broken = baselines(x, y, member)
    assert "records" not in broken.aucs and "x has 1 values that are not finite" in broken.warnings[0]


def test_few_records_of_many_features_have_their_baseline():
    """Fewer records than principal components: their number follows."""
    rng = np.random.default_rng(0)
    for records in (10, 20, 78):
        member = np.arange(records) < records // 2
        actual = blind_baselines.baselines(rng.normal(size=(records, 100)), rng.integers(0, 3, records), member)
        assert set(actual.aucs) == {"records"} and not any("was tried" in words for words in actual.warnings)


def test_a_classifier_that_fails_ends_no_audit(monkeypatch):
    def failing(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(blind_baselines, "of_records", failing)
    actual = blind_baselines.baselines(np.zeros((20, 2)), np.zeros(20, int), np.arange(20) < 10)
    assert not actual.aucs and "because MemoryError: no room" in actual.warnings[0]


def test_a_document_is_not_known_by_its_other_rows():
    """Members drawn by document, of one distribution: rows resemble those of their document, and of no other."""
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(60), 6)
    x = (rng.normal(size=(60, 8))[document] + 0.1 * rng.normal(size=(360, 8))).astype(np.float32)
    member, y = document % 2 == 0, np.zeros(360, np.int64)
    by_row, by_document = (
        metrics.roc_auc(*blind_baselines.of_records(x, y, member, groups)) for groups in (None, document)
    )
    assert by_row > 0.9 and abs(by_document - 0.5) < 0.15
    shifted = x + 2 * member[:, None].astype(np.float32)  # of two distributions: other documents tell it, too
    assert metrics.roc_auc(*blind_baselines.of_records(shifted, y, member, document)) > 0.9
    few = blind_baselines.baselines(x, y, member, groups=document // 20)  # three groups of each kind
    assert "records" not in few.aucs and "groups, and it needs 5" in few.warnings[0]
