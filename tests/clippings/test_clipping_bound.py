"""The constructor's check sees rules that break their bound, however narrowly, and lets right ones through."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax.clippings import check_adaptive_rule, check_rule, flat, quantile
from gecko_jax.types import Clipping


def finite(rule):
    return lambda t: jnp.where(jnp.isfinite(t), rule(t), 0.0)


def mine(rule, sensitivity=1.0, groups=()):
    return Clipping("mine", rule, sensitivity, groups)


WRONG = {
    "a little too much for the long ones": (finite(lambda t: 1.00001 / jnp.maximum(t, 1.00001)), "sensitivity=1, "),
    "drops a little too late": (lambda t: jnp.where(t <= 1.00001, 1.0, 0.0), r"norms \[1.00001"),
    "drops too late at a norm that no grid holds": (
        lambda t: jnp.where(t <= 12345.678 * 1.00002, 1 / 12345.678, 0.0),
        r"norms \[12345.92",
    ),
    "too much for the short ones alone": (
        finite(lambda t: jnp.where(t < 3e-4, 4e3, 1 / (1 + t))),
        r"contributes 1\.2|1\.19999",
    ),
    "a norm of 0 divides": (finite(lambda t: 1 / t), "norm 0 the factor inf"),
    "a norm of 0 is NaN": (finite(lambda t: jnp.minimum(t, 1.0) / t), "norm 0 the factor nan"),
    "a negative factor": (finite(lambda t: -1 / jnp.maximum(t, 1.0)), "factor -1.0; every finite norm needs"),
    "nothing is clipped": (finite(jnp.ones_like), "contributes"),
    "an infinite norm": (lambda t: jnp.where(jnp.isnan(t), 0.0, 1e-39), "norm inf have factor 1"),
    "a NaN": (lambda t: 1 / jnp.maximum(t, 1.0), "norm nan have factor nan"),
}


@pytest.mark.parametrize("rule, says", WRONG.values(), ids=WRONG)
def test_a_rule_that_breaks_its_bound_is_refused(rule, says):
    with pytest.raises(ValueError, match=says) as error:
        check_rule(mine(rule))
    assert "'mine'" in str(error.value)


def over_groups(*bounds):
    def rule(t):
        bound = jnp.broadcast_to(jnp.asarray(bounds), t.shape)
        return bound / jnp.maximum(t, bound)

    return finite(rule)


def total(t):
    return jnp.sqrt(jnp.sum(jnp.where(jnp.isfinite(t), t, 0.0) ** 2, axis=-1, keepdims=True))


def test_groups_are_bounded_together():
    groups = ("a", "b", "c")
    right = mine(over_groups(0.1, 2.0, 30.0), math.hypot(0.1, 2.0, 30.0), groups)
    assert check_rule(right) is right
    for sensitivity in (30.0, 30.0665):  # the largest alone; a hair under the root of the squares
        with pytest.raises(ValueError, match="but a gradient of norms"):
            check_rule(right._replace(sensitivity=sensitivity))


def test_groups_that_lean_on_each_other_are_bounded_too():
    groups = ("a", "b")
    coupled = finite(lambda t: jnp.broadcast_to(1 / jnp.maximum(total(t), 1.0), t.shape))
    # squares of norms beyond 1e19 overflow, and their factor is 0
    assert check_rule(mine(coupled, groups=groups))
    alone = finite(lambda t: jnp.where(jnp.min(t, axis=-1, keepdims=True) > 0, 0.5, 1.0) * over_groups(1.0, 1.0)(t))
    with pytest.raises(ValueError, match="contributes 1"):
        check_rule(mine(alone, 0.9, groups))


def test_a_right_rule_comes_back_itself():
    rule = mine(finite(lambda t: 1 / (1 + t)))
    assert check_rule(rule) is rule


def test_a_bound_met_exactly_passes():
    assert check_rule(mine(lambda t: jnp.where(t <= 1, 1.0, 0.0)))
    assert check_rule(mine(lambda t: jnp.where(t <= 0.1, 10.0, 0.0)))  # 0.1 rounds up


def test_shapes_and_arguments_are_checked():
    with pytest.raises(ValueError, match=r"maps norms \(1,\) to factors \(\)"):
        check_rule(mine(lambda t: jnp.float32(0)))
    with pytest.raises(ValueError, match="sensitivity of clipping 'mine'=0 must be"):
        check_rule(flat(1.0)._replace(name="mine", sensitivity=0))
    with pytest.raises(ValueError, match=r"groups holds '\[', which is not a regular expression"):
        check_rule(flat(1.0)._replace(groups=("[",)))


GOOD = quantile(1.0)
WRONG_ADAPTIVE = {
    "a threshold of 0": (GOOD._replace(update=lambda r, b: r * jnp.exp(-jnp.abs(b))), "=0.0 must be a finite number"),
    "an infinite threshold": (GOOD._replace(update=lambda r, b: r + jnp.exp(b)), "=inf must be a finite number"),
    "a NaN": (GOOD._replace(update=lambda r, b: r * jnp.sqrt(b)), "=nan must be a finite number"),
    "no first threshold": (GOOD._replace(start=0.0), "start of clipping 'quantile'=0.0"),
    "a share above 1": (GOOD._replace(exceeds=lambda t, r: t[..., 0] / r), "one share in 0..1 for each of"),
    "no share for an example": (GOOD._replace(exceeds=lambda t, r: jnp.mean(t <= r)), "one share in 0..1"),
    "a step's rule that breaks its bound": (
        GOOD._replace(at=lambda r: Clipping("mine", finite(lambda t: jnp.where(t <= 1, 1.0, 0.0)), r)),
        "clipping 'mine' has sensitivity=9.99999996e-13, but",
    ),
}


@pytest.mark.parametrize("rule, says", WRONG_ADAPTIVE.values(), ids=WRONG_ADAPTIVE)
def test_an_adaptive_rule_that_goes_astray_is_refused(rule, says):
    with pytest.raises(ValueError, match=says):
        check_adaptive_rule(rule)


def test_a_right_adaptive_rule_comes_back_itself():
    assert check_adaptive_rule(GOOD) is GOOD
    assert np.float32(GOOD.start) == 1
