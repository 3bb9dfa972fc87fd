"""Every rule that enters private gradients is tried, whoever made it: bad ones are refused, reasonable ones pass."""

from __future__ import annotations

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax import clippings, losses, models, privacy
from gecko_jax.clippings import trial
from gecko_jax.types import AdaptiveClipping, Clipping

MODEL, LOSS = models.create("mlp", 3, hidden=(4,)), losses.cross_entropy()
RUN = dict(n=100, batch_size=10, epochs=1, delta=1e-4, noise_multiplier=1.0)


def finite(rule):
    return lambda t: jnp.where(jnp.isfinite(t), rule(t), 0.0)


def mine(rule, sensitivity=1.0, groups=()):
    return Clipping("mine", finite(rule), sensitivity, groups)


FLAT = clippings.flat(1.0)


def flat(t):
    return 1 / jnp.maximum(t, 1.0)



BAD = {
    "nothing is clipped": (mine(jnp.ones_like), "'mine' has sensitivity=1, but a gradient of norms .* contributes"),
    "a valid rule with a smaller sensitivity": (FLAT._replace(sensitivity=0.5), "sensitivity=0.5, but"),
    "a valid rule with other factors": (FLAT._replace(scale=finite(jnp.ones_like)), "sensitivity=1, but"),
    "clipped twice too far": (mine(lambda t: 2 * flat(t)), "contributes 2"),
    "a narrow window": (mine(lambda t: jnp.where((t > 2.8) & (t < 2.95), 1.0, flat(t))), "contributes 2.9"),
    "a window far off": (mine(lambda t: jnp.where((t > 700) & (t < 705), 1.0, flat(t))), "contributes 70"),
    "sensitivity 0": (mine(flat, 0.0), "sensitivity of clipping 'mine'=0.0 must be a finite number above 0"),
    "a negative sensitivity": (mine(flat, -1.0), "'mine'=-1.0 must be"),
    "sensitivity NaN": (mine(flat, math.nan), "'mine'=nan must be"),
    "an infinite sensitivity": (mine(flat, math.inf), "'mine'=inf must be"),
    "sensitivity as text": (mine(flat, "1.0"), "'mine'='1.0' must be"),
    "a sensitivity for each group": (mine(flat, np.ones(2), ("a", "b")), "must be a finite number"),
    "a sensitivity without a value": (mine(flat, None), "'mine'=None must be"),
    "NaN factors": (mine(lambda t: flat(t) * jnp.where(t > 2, jnp.nan, 1)), "the factor nan; every finite norm needs"),
    "negative factors": (mine(lambda t: -flat(t)), "the factor -1"),
    "an infinite norm is kept": (Clipping("mine", lambda t: 1e-3 * jnp.ones_like(t), 1e36), "the norm inf have factor"),
    "one factor for all": (Clipping("mine", lambda t: flat(t)[:1], 1.0), r"maps norms \(2, 1\) to factors \(1, 1\)"),
    "an axis too few": (Clipping("mine", lambda t: jnp.max(t, axis=-1), 1.0), r"maps norms \(1,\) to factors \(\)"),
    "no function": (Clipping("mine", 1.0, 1.0), "scale of clipping 'mine' is 1.0; expected a function"),
    "groups as one text": (mine(flat, 1.0, "kernel"), r"groups='kernel' must be a tuple"),
    "groups without their joint norm": (mine(flat, 1.0, ("a", "b")), "but a gradient of norms"),
    "the mean of the batch": (mine(lambda t: flat(t) * jnp.mean(flat(t))), "It must depend on the example's own norms"),
    "the longest of the batch": (mine(lambda t: flat(jnp.max(t, axis=0, keepdims=True)) + 0 * t), "own norms alone"),
    "the rank in the batch": (
        mine(lambda t: flat(t) / (1 + jnp.argsort(jnp.argsort(t, axis=0), axis=0))), "own norms alone",
    ),
    "the size of the batch": (mine(lambda t: flat(t) / t.shape[0]), "own norms alone"),
    "the place in the batch": (mine(lambda t: flat(t) * (jnp.arange(len(t)) < 5)[:, None]), "own norms alone"),
    "the neighbor": (mine(lambda t: flat(t) * jnp.where(jnp.roll(t, 1, axis=0) > 100, 0.5, 1)), "own norms alone"),
    "a NaN elsewhere": (mine(lambda t: flat(t) * jnp.where(jnp.any(jnp.isnan(t)), 0.5, 1.0)), "own norms alone"),
    "a huge norm elsewhere": (mine(lambda t: flat(t) * jnp.where(jnp.any(t > 1e30), 0.5, 1.0)), "own norms alone"),
}  # fmt: skip

GOOD = clippings.quantile(1.0)
BAD_ADAPTIVE = {
    "no share but a mean": (GOOD._replace(exceeds=lambda t, r: jnp.full(t.shape[:1], jnp.mean(t <= r))), "the share"),
    "a share of the longest": (
        GOOD._replace(exceeds=lambda t, r: (t[:, 0] >= jnp.max(t)).astype(jnp.float32)), "the share",
    ),
    "shares above 1": (GOOD._replace(exceeds=lambda t, r: 2.0 * (t[:, 0] <= r)), "one share in 0..1"),
    "a NaN threshold": (GOOD._replace(update=lambda r, b: r * jnp.log(b)), "threshold of clipping"),
    "a vector of thresholds": (GOOD._replace(update=lambda r, b: jnp.stack([r, r])), "expected one floating-point"),
    "whole thresholds": (GOOD._replace(update=lambda r, b: jnp.int32(1)), "expected one floating-point"),
    "no Clipping": (GOOD._replace(at=lambda r: 1.0), "gives a float; expected a Clipping"),
    "a start of 0": (GOOD._replace(start=0), "start of clipping 'quantile'=0"),
    "a bound that breaks between the thresholds": (
        GOOD._replace(
            at=lambda r: Clipping("mine", finite(lambda t: (1 + ((r > 1e2) & (r < 1e10))) * r / jnp.maximum(t, r)), r)
        ),
        "contributes",
    ),
    "factors that look at the batch": (
        GOOD._replace(at=lambda r: Clipping("mine", finite(lambda t: r / jnp.maximum(jnp.max(t), r) + 0 * t), r)),
        "own norms alone|gives the norm|contributes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule, says", [*BAD.values(), *BAD_ADAPTIVE.values()], ids=[*BAD, *BAD_ADAPTIVE])
def test_a_bad_rule_enters_no_private_gradients(rule, says):
    loss = privacy.example_loss(MODEL, LOSS)
    with pytest.raises(ValueError, match=says):
        privacy.private_gradients(loss, rule, 1.0, 10)
    with pytest.raises(ValueError, match=says):
        privacy.private_training(MODEL, LOSS, rule, **RUN)
    if isinstance(rule, Clipping):
        with pytest.raises(ValueError, match=says):
            privacy.clipped_sum(loss, rule)
        with pytest.raises(ValueError, match=says):
            privacy.clipped(loss)(rule, {}, None)
        with pytest.raises(ValueError, match=says):
            clippings.check_rule(rule)


def test_a_rule_without_noise_is_tried_too():
    with pytest.raises(ValueError, match="has sensitivity=1, but"):
        privacy.private_gradients(privacy.example_loss(MODEL, LOSS), mine(jnp.ones_like), 0.0, 10)


def test_a_bad_rule_is_refused_before_the_noise_is_calibrated(monkeypatch):
    module = sys.modules["gecko_jax.privacy.private_training"]  # the package shows its function of that name
    monkeypatch.setattr(module, "calibrate_noise", lambda *_, **__: pytest.fail("calibrated"))
    options = {**RUN, "noise_multiplier": None, "target_epsilon": 1.0}
    with pytest.raises(ValueError, match="has sensitivity=1, but"):
        privacy.private_training(MODEL, LOSS, mine(jnp.ones_like), **options)


def test_a_traced_sensitivity_cannot_be_tried_and_is_refused():
    def build(bound):
        rule = Clipping("mine", finite(lambda t: bound / jnp.maximum(t, bound)), bound)
        privacy.private_gradients(privacy.example_loss(MODEL, LOSS), rule, 1.0, 10)
        return bound

    with pytest.raises(ValueError, match="is traced and has no value yet"):
        jax.jit(build)(1.0)


@pytest.mark.parametrize("name", clippings.CLIPPINGS)
def test_the_rules_of_the_package_pass_the_full_trial(name):
    """They are built with the bound alone, which is quicker; that their factors look at no other row is tried here."""
    rule = clippings.CLIPPINGS[name]({"a": 1.0, "b": 4.0} if name == "per_layer" else 1.5)
    full = clippings.check_adaptive_rule if isinstance(rule, AdaptiveClipping) else clippings.check_rule
    assert full(rule) is rule


def test_a_rule_is_tried_once(monkeypatch):
    rule, calls = mine(lambda t: 0.5 * flat(t)), []
    real = trial.check_rule
    monkeypatch.setattr(trial, "check_rule", lambda rule: calls.append(rule) or real(rule))
    for built_in in (clippings.flat(1.0), clippings.per_layer({"a": 1.0, "b": 4.0}), GOOD):
        trial.try_rule(built_in)
    for _ in range(3):
        privacy.private_gradients(privacy.example_loss(MODEL, LOSS), rule, 1.0, 10)
    assert calls == [rule]


REASONABLE = {
    "flat": lambda c: lambda t: c / jnp.maximum(t, c),
    "normalized": lambda c: lambda t: c / (t + 0.01 * c),
    "dropped": lambda c: lambda t: jnp.where(t <= c, 1.0, 0.0),
    "smooth": lambda c: lambda t: jnp.where(t > 1e9 * c, 0.0, c / jnp.sqrt(c**2 + jnp.minimum(t, 1e9 * c) ** 2)),
    "exponential": lambda c: lambda t: jnp.exp(-jnp.minimum(t / c, 80.0)) * jnp.where(t > 80 * c, 0.0, 1.0),
    "by row": lambda c: jax.vmap(lambda row: c / jnp.maximum(row, c)),
    "half": lambda c: lambda t: 0.5 * c / jnp.maximum(t, c),
}


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(REASONABLE)), st.floats(1e-4, 1e4), st.floats(1.0, 3.0))
def test_reasonable_rules_of_ones_own_pass(kind, clip_norm, slack):
    rule = Clipping("mine", finite(REASONABLE[kind](np.float32(clip_norm))), clip_norm * slack * (1 + 1e-6))
    privacy.private_gradients(privacy.example_loss(MODEL, LOSS), rule, 1.0, 10)


@settings(max_examples=3, deadline=None, derandomize=True)
@given(st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=2))
def test_groups_of_ones_own_pass_with_their_joint_bound_alone(bounds):
    joint = math.hypot(*bounds)

    def scale(t):
        each = jnp.broadcast_to(jnp.asarray(bounds, jnp.float32), t.shape)
        return each / jnp.maximum(t, each)

    rule = mine(scale, joint * (1 + 1e-6), ("a", "b"))
    assert clippings.check_rule(rule) is rule
    with pytest.raises(ValueError, match="but a gradient of norms"):
        clippings.check_rule(rule._replace(sensitivity=joint * 0.999))


def test_groups_that_lean_on_each_other_within_an_example_pass():
    def scale(t):
        total = jnp.sqrt(jnp.sum(jnp.where(t < 1e18, t, 0) ** 2, axis=1, keepdims=True))
        return jnp.where(jnp.any(t >= 1e18, axis=1, keepdims=True), 0.0, 1 / jnp.maximum(total, 1.0)) + 0 * t

    assert clippings.check_rule(mine(scale, 1.0, ("a", "b")))
