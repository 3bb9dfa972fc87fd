"""One model by split halves, its report, and outputs saved in a file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import special

from gecko_jax import attacks, audit, metrics
from gecko_jax.audit.scoring import thresholds
from gecko_jax.signals import SIGNALS


def outputs(seed, n=400, leak=0.0):
    rng = np.random.default_rng(seed)
    y, member = rng.integers(0, 3, n), rng.random(n) < 0.5
    logits = rng.normal(size=(n, 3)) + (1.0 + leak * member)[:, None] * np.eye(3)[y]
    return logits, y, member


def test_each_half_is_judged_by_the_other_halfs_threshold():
    logits, y, member = outputs(0, n=101, leak=1.0)
    scores = -SIGNALS["loss"](logits, y)
    results = thresholds.split_half(attacks.loss(), scores, member, y)
    assert len(set(results)) == 2
    for limit in set(results):
        other = results != limit
        best = max((metrics.balanced_accuracy(scores[other], member[other], t), t) for t in scores[other])
        assert limit == best[1]
        assert abs((other & member).sum() - member.sum() / 2) <= 0.5


def test_split_halves_find_nothing_in_nothing_and_a_leak_in_a_leak():
    results = {name: [] for name in attacks.OF_THE_TARGET}
    for seed in range(64):
        for name, row in audit.audit_model(*outputs(seed, n=80)).rows.items():
            results[name].append(row["attack_accuracy"].value)
    for name, values in results.items():
        assert abs(np.mean(values) - 0.5) < 4 * np.std(values, ddof=1) / 8, name
    for name, row in audit.audit_model(*outputs(1, n=1000, leak=3.0)).rows.items():
        assert row["attack_accuracy"].low > 0.5 and row["auc"].low > 0.55, name


def test_the_figures_are_those_of_the_metrics():
    logits, y, member = outputs(2, leak=1.0)
    report = audit.audit_model(logits, y, member)
    scores = -SIGNALS["loss"](logits, y)
    row = report.rows["loss"]
    assert row["auc"] == metrics.auc_interval(scores, member)
    assert row["tpr_at_1pct"] == metrics.tpr_interval_at_fpr(scores, member, 0.01)
    for prior in (0.01, 0.1):
        results = row[f"ppv_at_{prior:.0%}_prior".replace("%", "pct")]
        assert results == metrics.predictive_value_interval_at_fpr(scores, member, 0.01, prior)
        assert 0 < results.low < results.high <= 1
    assert row["smallest_fpr"].value == 1 / (~member).sum()
    assert report.targets == (report.rows,)
    assert report.curves["loss"].mean_low is None
    assert report.performance["accuracy"]["members"].value == metrics.accuracy(logits[member], y[member])
    assert "halves swapped" in report.threshold


def test_a_report_prints_and_saves_all_of_itself():
    report = audit.audit_model(*outputs(3, n=400, leak=1.0))
    table = report.table()
    for name, row in report.rows.items():
        line = next(line for line in table.splitlines() if line.startswith(name + " "))
        assert f"{row['auc'].value:.4f} [{row['auc'].low:.4f}, {row['auc'].high:.4f}]" in line
        assert line.endswith("*")  # TPR at 0.1 % needs 1000 non-members
    assert "Warning: TPR at 0.1% FPR" in table and "halves swapped" in table
    saved = json.loads(report.to_json())
    assert saved["rows"]["loss"]["auc"] == report.rows["loss"]["auc"]._asdict()
    assert len(saved["curves"]["gap"]["tpr"][0]) == len(saved["curves"]["gap"]["fpr"]) == 101
    assert set(saved) == set(report.__dataclass_fields__)


def test_assert_below_compares_and_names_the_interval():
    leaky = audit.audit_model(*outputs(4, n=1000, leak=3.0))
    quiet = audit.audit_model(*outputs(4, n=1000))
    enough = {"thresholds_are_enough": True}
    quiet.assert_below(tpr_at_1pct=0.05, auc=0.6, **enough)
    quiet.assert_below(upper=True, auc=0.6, **enough)
    auc = leaky.rows["loss"]["auc"]
    with pytest.raises(AssertionError, match=rf"loss: auc {auc.value:.4f} \[{auc.low:.4f}, {auc.high:.4f}\]"):
        leaky.assert_below(auc=0.6, **enough)
    between = (auc.value + auc.high) / 2
    one = audit.audit_model(*outputs(4, n=1000, leak=3.0), [attacks.loss()])
    one.assert_below(auc=between, **enough)
    with pytest.raises(AssertionError, match="upper end"):
        one.assert_below(upper=True, auc=between, **enough)
    with pytest.raises(AssertionError, match="tpr_at_0p1pct cannot be resolved"):
        quiet.assert_below(tpr_at_0p1pct=1.0, **enough)
    with pytest.raises(AssertionError, match="ppv_at_1pct_prior cannot be resolved with .* it needs 100"):
        audit.audit_model(*outputs(4, n=100)).assert_below(ppv_at_1pct_prior=1.0, **enough)
    with pytest.raises(ValueError, match="Did you mean 'tpr_at_1pct'"):
        quiet.assert_below(tpr_at_1pc=0.1)
    with pytest.raises(ValueError, match="needs a bound"):
        quiet.assert_below()


def test_saved_outputs_give_the_same_report(tmp_path):
    rng = np.random.default_rng(5)
    logits, y, member = outputs(5, leak=1.0)
    path = tmp_path / "one.npz"
    np.savez(path, logits=logits, y=y, member=member, id=np.arange(400))
    direct = audit.audit_model(logits, y, member)
    assert audit.from_predictions(path).to_json() == direct.to_json()
    np.savez(path, probs=special.softmax(logits, -1), y=y, member=member.astype(int))
    for name, row in audit.from_predictions(path).rows.items():
        assert row["auc"].value == pytest.approx(direct.rows[name]["auc"].value, abs=1e-4)
    probs = special.softmax(logits, -1)
    same = audit.audit_model(probs, y, member, outputs="probabilities")
    assert same.to_json() == audit.from_predictions(path).to_json()
    with pytest.raises(ValueError, match="say outputs='probabilities'"):
        audit.audit_model(probs, y, member)
    several, truth = logits + rng.normal(size=(3, 400, 3)), rng.random((3, 400)) < 0.5
    np.savez(path, logits=several, y=y, member=truth)
    report = audit.from_predictions(str(path), [attacks.loss()])
    assert report.to_json() == audit.audit_models(several, y, truth, [attacks.loss()]).to_json()


def test_a_bad_file_is_named(tmp_path):
    logits, y, member = outputs(6)
    path = tmp_path / "bad.npz"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        audit.from_predictions(path)
    for arrays, words in (
        ({"y": y, "member": member}, "exactly one of"),
        ({"logits": logits, "probs": logits, "y": y, "member": member}, "exactly one of"),
        ({"logits": logits, "member": member}, "no array 'y'"),
        ({"logits": logits, "y": y}, "no array 'member'"),
        ({"logits": logits[:, 0], "y": y, "member": member}, "logits has shape"),
        ({"logits": logits[:9], "y": y, "member": member}, "y has shape"),
        ({"logits": logits, "y": y, "member": member[:9]}, "member has shape"),
        ({"logits": logits, "y": y, "member": np.ones(400, bool)}, "0 non-members"),
        ({"probs": logits, "y": y, "member": member}, "does not hold probabilities"),
        ({"logits": special.softmax(logits, -1), "y": y, "member": member}, "are probabilities"),
        ({"logits": logits[None], "y": y, "member": member[None]}, "audit_model"),
        ({"logits": np.array([{}, {}], object), "y": y, "member": member}, "not a complete .npz"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(ValueError, match=words):
            audit.from_predictions(path)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_cut_file_is_named(tmp_path, keep):
    logits, y, member = outputs(7)
    complete, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
    np.savez_compressed(complete, logits=logits, y=y, member=member)
    data = complete.read_bytes()
    cut.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(ValueError, match=r"not a complete \.npz"):
        audit.from_predictions(cut)


def test_a_spoilt_byte_and_a_bare_array_are_named(tmp_path):
    logits, y, member = outputs(8)
    path = tmp_path / "spoilt.npz"
    np.savez_compressed(path, logits=logits, y=y, member=member)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"not a complete \.npz"):
        audit.from_predictions(path)
    np.save(tmp_path / "bare.npy", logits)
    with pytest.raises(ValueError, match=r"not a complete \.npz"):
        audit.from_predictions(tmp_path / "bare.npy")
