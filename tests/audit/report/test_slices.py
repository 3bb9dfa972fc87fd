"""Figures of groups of records are those of an audit that never saw the others."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest
from scipy import stats

from gecko_jax import audit
from gecko_jax.audit.report import figures
from gecko_jax.audit.report.slices import by_class, of_groups, resolved, worst_first
from gecko_jax.types import Estimate


def drawn(seed, m=None, n=400):
    rng = np.random.default_rng(seed)
    shape = (n,) if m is None else (m, n)
    member, y = rng.random(shape) < 0.5, rng.integers(0, 4, n)
    return np.round(rng.normal(size=shape) + member * (1 + y) / 4, 1), member, rng.normal(size=shape) / 4, y


def naive_auc(scores, member):
    wins = [(a > b) + (a == b) / 2 for a in scores[member] for b in scores[~member]]
    return sum(wins) / len(wins)


def test_one_target_by_naive_counts():
    scores, member, threshold, y = drawn(0)
    actual, warnings = of_groups(scores, member, threshold, by_class(y))
    assert list(actual) == ["class 0", "class 1", "class 2", "class 3"] and warnings == []
    for label in range(4):
        rows = [i for i in range(len(y)) if y[i] == label]
        inside, outside = [i for i in rows if member[i]], [i for i in rows if not member[i]]
        figure = actual[f"class {label}"]
        np.testing.assert_allclose(figure["auc"].value, naive_auc(scores[rows], member[rows]))
        assert figure["auc"].low < figure["auc"].value < figure["auc"].high
        hits = sum(scores[i] >= threshold[i] for i in inside) / len(inside)
        alarms = sum(scores[i] >= threshold[i] for i in outside) / len(outside)
        np.testing.assert_allclose(figure["attack_accuracy"].value, (hits + 1 - alarms) / 2)
        free = sum(scores[i] > max(scores[j] for j in outside) for i in inside) / len(inside)
        assert figure["tpr_at_1pct"].value == free  # fewer than 100 non-members: without a false positive
        assert figure["smallest_fpr"].value == 1 / len(outside)
        assert not resolved(figure, "tpr_at_1pct") and resolved(figure, "auc")


def test_groups_may_overlap_and_all_records_are_the_whole():
    scores, member, threshold, y = drawn(1)
    groups = {"all": np.ones(len(y), bool), "odd": y % 2 == 1}
    actual = of_groups(scores, member, threshold, groups).figures
    assert actual["all"] == figures.target_figures(scores, member, threshold)
    odd = y % 2 == 1
    assert actual["odd"] == figures.target_figures(scores[odd], member[odd], threshold[odd])


def test_several_targets_are_averaged_and_never_pooled():
    scores, member, threshold, y = drawn(2, m=5)
    actual = of_groups(scores + 100 * np.arange(5)[:, None], member, threshold, by_class(y)).figures
    for label in range(4):
        rows = y == label
        each = [naive_auc(one[rows], truth[rows]) for one, truth in zip(scores, member, strict=True)]
        estimate = actual[f"class {label}"]["auc"]
        np.testing.assert_allclose(estimate.value, np.mean(each))
        ends = stats.t.interval(0.95, 4, np.mean(each), stats.sem(each))
        np.testing.assert_allclose((estimate.low, estimate.high), (max(ends[0], 0), min(ends[1], 1)))
        assert estimate.n == 5


def test_small_groups_are_named_with_their_counts():
    scores, member, threshold, _ = drawn(3, n=40)
    groups = {"none": np.zeros(40, bool), "all": np.ones(40, bool), "members": member}
    actual, warnings = of_groups(scores, member, threshold, groups)
    assert list(actual) == ["all"] and len(warnings) == 1
    assert "none (0 members, 0 non-members)" in warnings[0]
    assert f"members ({member.sum()} members, 0 non-members)" in warnings[0]
    two = np.concatenate([np.flatnonzero(member)[:2], np.flatnonzero(~member)[:2]])
    assert of_groups(scores, member, 0.0, {"two": np.isin(np.arange(40), two)}).figures["two"]["auc"].n == 4
    pair = np.stack([member, ~member])
    several = of_groups(np.stack([scores, scores]), pair, 0.0, {"lone": np.isin(np.arange(40), two[1:])})
    assert several.figures == {} and "(1 members, 1 non-members)" in several.warnings[0]
    assert "at the target with the fewest" in several.warnings[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros((2, 2, 2))}, r"scores has shape \(2, 2, 2\); expected"),
        ({"member": np.zeros(3, bool)}, r"member has shape \(3,\); expected \(40\)"),
        ({"groups": {"a": np.ones(3, bool)}}, r"groups\['a'\] has shape \(3,\)"),
        ({"groups": {"a": np.arange(40)}}, r"groups\['a'\] has dtype int64; expected a bool"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    scores, member, threshold, y = drawn(4, n=40)
    arguments = {"scores": scores, "member": member, "threshold": threshold, "groups": by_class(y)} | change
    with pytest.raises(ValueError, match=message):
        of_groups(**arguments)


def sliced(slices):
    rng = np.random.default_rng(5)
    member, y = rng.random(300) < 0.5, rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) + (1.0 + member)[:, None] * np.eye(3)[y]
    return dataclasses.replace(audit.audit_model(logits, y, member), slices=slices, sliced_by="loss")


def row(auc, nonmembers=200):
    figure = Estimate(auc, auc - 0.1, auc + 0.1, n=400)
    smallest = Estimate(1 / nonmembers, kind="counted", n=nonmembers)
    return {name: figure for name in figures.METRICS} | {"smallest_fpr": smallest}


def test_a_report_prints_the_worst_ten_and_says_how_many_more():
    many = {f"class {i}": row(0.5 + 0.01 * ((7 * i) % 13)) for i in range(13)}
    lines = sliced(many).table().splitlines()
    block = lines[next(i for i, line in enumerate(lines) if line.startswith("slice, by loss")) :]
    shown = [line.split("  ")[0] for line in block[2:12]]
    assert shown == worst_first(many)[:10] == sorted(many, key=lambda name: -many[name]["auc"].value)[:10]
    assert block[12] == "The worst 10 by AUC; 3 more are not shown." and len(block) == 13
    assert "slice" not in sliced({}).table()
    few = sliced({"class 0": row(0.6, nonmembers=50), "class 1": row(0.7)}).table().splitlines()
    assert few[-3].startswith("class 1") and not few[-3].endswith("*")
    assert few[-2].endswith("*") and few[-1].startswith("* the slice's non-members are too few")


def test_slices_are_in_the_table_file_and_in_json():
    slices = {"class 0": row(0.6), "a, b": row(0.7)}
    report = sliced(slices)
    lines = [line for line in csv.DictReader(io.StringIO(report.to_csv())) if " on slice: " in line["attack"]]
    assert len(lines) == 2 * len(figures.METRICS)
    for line in lines:
        attack, _, name = line["attack"].partition(" on slice: ")
        assert attack == "loss" and line["target"] == "all"
        assert math.isclose(float(line["value"]), slices[name][line["metric"]].value)
    plain = json.loads(report.to_json())
    assert plain["slices"]["a, b"]["auc"]["high"] == slices["a, b"]["auc"].high and plain["sliced_by"] == "loss"
