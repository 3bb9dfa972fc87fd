"""An attack that was not tried does not pass: what ran, what did not and why, and a gate that refuses thresholds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gecko_jax import attacks, audit, models
from gecko_jax.attacks import ATTACKS, Attack
from gecko_jax.audit.reading.readings import OF_CLASSES, Available
from gecko_jax.audit.scoring.selection import select_attacks, why_not_run
from gecko_jax.signals import SIGNALS
from gecko_jax.types import Examples

ONLY = "Only threshold attacks were tried"


def outputs(seed=0, models=5, n=400, leak=2.0):
    rng = np.random.default_rng(seed)
    member, y = rng.random((models, n)) < 0.5, rng.integers(0, 3, n)
    logits = rng.normal(size=(models, n, 3)) + (leak * member)[..., None] * np.eye(3)[y]
    return logits, y, member


@pytest.fixture(name="alone", scope="module")
def make_alone():
    logits, y, member = outputs(leak=0.0)
    return audit.audit_model(logits[0], y, member[0])


@pytest.fixture(name="several", scope="module")
def make_several():
    return audit.audit_models(*outputs(leak=0.0))


def test_without_shadows_table_page_and_json_say_so(alone, several, tmp_path):
    for report, said in ((alone, True), (several, False)):
        page = report.html(tmp_path / "page.html").read_text()
        shown = report.table(), page, report.to_json()
        assert [ONLY in text for text in shown] == [said] * 3
        assert ("Only threshold attacks were tried" in report.headline) == said
    # Shadows that no attack used do not count as shadows.
    logits, y, member = outputs()
    asked = audit.audit_models(logits, y, member, [attacks.loss(), attacks.gap()])
    assert ONLY in asked.table() and not any(asked.tried.values())
    (warning,) = [each for each in asked.warnings if each.startswith(ONLY)]
    assert "'lira'" in warning and "recipe=" not in warning  # the shadows are there: another attack is the way out
    (warning,) = [each for each in alone.warnings if each.startswith(ONLY)]
    assert "recipe=" in warning


def test_the_gate_refuses_thresholds_alone_before_it_compares(alone, several):
    with pytest.raises(ValueError, match="thresholds_are_enough=True"):
        alone.assert_below(tpr_at_1pct=0.05)
    with pytest.raises(ValueError, match="shadow"):
        alone.assert_below(auc=0.0)  # which no figure is below
    with pytest.raises(ValueError, match="thresholds_are_enough='yes'"):
        alone.assert_below(auc=0.9, thresholds_are_enough="yes")
    alone.assert_below(auc=0.9, thresholds_are_enough=True)
    several.assert_below(auc=0.9)
    with pytest.raises(AssertionError, match="not below"):
        several.assert_below(auc=0.1)
    logits, y, member = outputs()
    with pytest.raises(ValueError, match="loss had none, and attacks"):
        audit.audit_models(logits, y, member, [attacks.loss()]).assert_below(auc=0.99)
    audit.audit_models(logits, y, member, [attacks.loss(), attacks.rmia()]).assert_below(auc=0.9999)


@pytest.mark.parametrize("metric", ["tpr_at_1pct", "auc", "attack_accuracy", "advantage", "ppv_at_1pct_prior"])
@pytest.mark.parametrize("bound", [5, 60.0, -0.1, float("nan"), float("inf"), True, "0.05", None, np.float64(1.5)])
def test_a_bound_outside_of_its_range_is_no_bound(several, metric, bound):
    with pytest.raises(ValueError, match=f"{metric}="):
        several.assert_below(**{metric: bound})


@pytest.mark.parametrize("upper", [0.05, 0, "no", None])
def test_a_bound_is_not_taken_for_the_switch(several, upper):
    with pytest.raises(ValueError, match=f"upper={upper!r} must be True or False"):
        several.assert_below(upper, auc=1.0)


def test_a_percentage_is_told_as_a_fraction(several):
    with pytest.raises(ValueError, match=r"tpr_at_1pct=5 must be a fraction between 0 and 1. For 5 %, write "
                                         r"tpr_at_1pct=0.05"):  # fmt: skip
        several.assert_below(tpr_at_1pct=5)
    for typo, meant in (("auk", "auc"), ("tpr_at_1pc", "tpr_at_1pct"), ("threshold_are_enough", "thresholds_are_enou")):
        with pytest.raises(ValueError, match=f"Did you mean '{meant}"):
            several.assert_below(**{typo: 0.5})
    several.assert_below(auc=np.float32(0.9), tpr_at_1pct=1)


CASES = [
    (None, 0, (), False),
    (None, 2, (), False),
    (None, 8, ("label_robustness", "layer_gradients"), False),
    (None, 0, ("hinge_on_record",), True),
    ("all", 1, (), True),
    ("all", 8, tuple(SIGNALS), True),
]


@pytest.mark.parametrize(("asked", "shadows", "readable", "population"), CASES)
def test_every_listed_attack_runs_or_is_named_with_its_lack(asked, shadows, readable, population):
    available = Available(OF_CLASSES, readable)
    ran = {choice.name for choice in select_attacks(asked, shadows, available, population)}
    why = why_not_run(asked, shadows, available, population)
    assert ran | set(why) == set(ATTACKS) and not ran & set(why)
    left = max(shadows - 1, 0)  # one plays the target
    for name, make in ATTACKS.items():
        attack = make()
        met = attack.shadows <= left or (population and name in ("population_rank", "quantile_regression"))
        met &= attack.signal in available
        met &= asked == "all" or not attack.slow or (population and name == "quantile_regression")
        assert (name in ran) == met, name


def test_a_newly_listed_attack_is_run_from_then_on(monkeypatch):
    """By every door, and without another line anywhere: thresholds, shadows and gradients alike."""
    mine = {
        "mine": lambda: Attack("mine", SIGNALS["phi"], lambda signals: signals.target),
        "mine_shadows": lambda: Attack("mine_shadows", SIGNALS["phi"], lambda s: s.target - s.values.mean(0), 1),
        "mine_gradients": lambda: Attack("mine_gradients", SIGNALS["small_gradient"], lambda signals: signals.target),
        "mine_slow": lambda: Attack("mine_slow", SIGNALS["phi"], lambda signals: signals.target, slow=True),
    }
    for name, make in mine.items():
        monkeypatch.setitem(ATTACKS, name, make)
    logits, y, member = outputs()
    alone, several = audit.audit_model(logits[0], y, member[0]), audit.audit_models(logits, y, member)
    assert set(alone.rows) & set(mine) == {"mine"} and set(several.rows) & set(mine) == {"mine", "mine_shadows"}
    assert "shadow models" in alone.not_run["mine_shadows"] and "slow" in alone.not_run["mine_slow"]
    assert "gradients" in several.not_run["mine_gradients"]
    assert "mine_slow" in audit.audit_model(logits[0], y, member[0], "all").rows

    model = models.create("mlp", 3, hidden=(4,))
    x = np.random.default_rng(1).normal(size=(60, 2, 2, 1)).astype(np.float32)
    import jax

    variables = jax.vmap(lambda key: model.init(key, x[:1]))(jax.random.split(jax.random.key(0), 4))
    examples = Examples(x, y[:60].astype(np.int32), np.arange(60))
    together = audit.audit_ensemble(model, variables, examples, member[:4, :60])
    assert set(together.rows) & set(mine) == {"mine", "mine_shadows", "mine_gradients"}
    assert set(together.rows) | set(together.not_run) == set(ATTACKS)
    assert together.tried["mine_gradients"] == ("gradients",) and together.tried["lira"] == ("shadows",)
    one = jax.tree.map(lambda leaf: leaf[0], variables)
    parts = (Examples(*(part[rows] for part in examples)) for rows in (member[0, :60], ~member[0, :60]))
    assert set(audit.audit(model, *parts, variables=one).rows) & set(mine) == {"mine", "mine_gradients"}


def test_what_did_not_run_stands_in_table_page_and_json(alone, tmp_path):
    page, table = alone.html(tmp_path / "page.html").read_text(), alone.table()
    saved = json.loads(alone.to_json())
    assert set(saved["not_run"]) | set(saved["rows"]) == set(ATTACKS)
    for name in alone.not_run:
        lines = [line for line in table.splitlines() if line.startswith("Not run: ") and alone.not_run[name] in line]
        assert len(lines) == 1 and name in lines[0].partition(" (")[0].replace("Not run: ", "").split(", ")
        assert name in page
    named = audit.audit_model(*(part[0] if part.ndim > 1 else part for part in outputs()), [attacks.loss()])
    assert named.table().count("Not run: ") == 1 and "attacks= does not name it" in named.table()


def test_what_is_no_list_of_attacks_is_named():
    logits, y, member = outputs()
    for asked in (attacks.loss(), "loss", 3):
        with pytest.raises(ValueError, match="attacks=.*must be a list"):
            audit.audit_model(logits[0], y, member[0], asked)
        with pytest.raises(ValueError, match="attacks=.*must be a list"):
            audit.audit_models(logits, y, member, asked)
    once = (attack for attack in [attacks.loss()])  # may be read once
    assert set(audit.audit_models(logits, y, member, once).rows) == {"loss"}
