"""TimeGuard: the same delay for the same record, never earlier, and no exit that stands out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gecko_jax import defenses, probes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(1200, 4)).astype(np.float32)
EXITS = RNG.integers(0, 3, len(X))
SECONDS = np.array([1e-3, 2e-3, 4e-3])[EXITS] + 1e-5 * np.abs(RNG.normal(size=len(X)))


def test_a_record_s_delay_is_its_own():
    guard, order = defenses.time_guard(seed=1, cap_seconds=4e-3), RNG.permutation(len(X))
    delayed = guard.delay(SECONDS, X)
    np.testing.assert_array_equal(guard.delay(SECONDS[order], X[order]), delayed[order])
    np.testing.assert_array_equal(guard.delay(SECONDS[:3], X[:3].astype(np.float64)), delayed[:3])
    assert (delayed >= SECONDS).all() and (delayed[SECONDS < 4e-3] <= 4e-3).all()
    assert (defenses.time_guard(seed=2, cap_seconds=4e-3).delay(SECONDS, X) != delayed).mean() > 0.2
    secret = defenses.time_guard(cap_seconds=4e-3).delay(SECONDS, X)
    assert (defenses.time_guard(cap_seconds=4e-3).delay(SECONDS, X) != secret).mean() > 0.2


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int32, np.int64, np.float16, np.float64, list, "negative zeros"])
def test_the_type_of_a_record_draws_no_new_noise(kind):
    x, guard = RNG.integers(0, 2, (9, 4)), defenses.time_guard(seed=1, cap_seconds=4e-3)
    same = {"negative zeros": np.where(x, 1.0, -0.0), list: x.tolist()}.get(kind)
    same = x.astype(kind) if same is None else same
    np.testing.assert_array_equal(guard.delay(SECONDS[:9], same), guard.delay(SECONDS[:9], x.astype(np.float32)))
    assert (guard.delay(SECONDS[:9], x + 2) != guard.delay(SECONDS[:9], x)).any()


@pytest.mark.parametrize("parts", [lambda x: (x, 2 * x), lambda x: {"a": x, "b": {"c": 2 * x}}])
def test_records_of_several_arrays_are_records(parts):
    x, guard = X[:2], defenses.time_guard(seed=4, cap_seconds=4e-3)
    delayed = guard.delay(SECONDS[:2], parts(x))
    np.testing.assert_array_equal(guard.delay(SECONDS[1:2], parts(x[1:])), delayed[1:])
    moved = guard.delay(SECONDS[:2], parts(x + np.array([[1], [0]], np.float32)))
    assert moved[0] != delayed[0] and moved[1] == delayed[1]


def test_the_noise_is_half_normal_up_to_the_cap():
    cap = np.sort(SECONDS)[-100:].mean()
    early = EXITS == 0
    delayed = defenses.time_guard(spread=0.5, seed=3).delay(SECONDS, X)[early] - SECONDS[early]
    free = delayed < (cap - SECONDS[early]) * (1 - 1e-9)
    assert abs((~free).mean() - 2 * stats.norm.sf(0.75 * cap / (0.5 * cap))) < 0.05  # about 3/4 of the cap is left
    truncated = stats.truncnorm(0, 1.5, scale=0.5 * cap)
    assert stats.kstest(delayed[free], truncated.cdf).pvalue > 0.01


def test_times_no_longer_tell_the_exit():
    def right(times):
        return (probes.exits_from_times(1e3 * times, count=3) == EXITS).mean()

    assert right(SECONDS) == 1.0
    assert right(defenses.time_guard(spread=3.0, seed=0).delay(SECONDS, X)) < 0.45


def test_an_audit_of_answers_says_that_it_reads_no_times(network, rows, members):
    with pytest.warns(UserWarning, match="'time_guard' delays answers, and this audit reads none of their times"):
        result = defenses.audit_defense(
            defenses.time_guard(),
            network,
            rows,
            members,
            attack=["loss"],
            on_labels=["gap"],
            epochs=2,
            batch_size=8,
            seed=3,
        )
    assert any("reads none of their times" in note for note in result.warnings)


@pytest.mark.parametrize(
    ("arguments", "call", "words"),
    [
        ({"spread": 0.0}, (), "spread=0.0"),
        ({"cap_seconds": -1.0}, (), "cap_seconds=-1.0"),
        ({}, (SECONDS[:3], X[:2]), "x has 2 records and times 3"),
        ({}, (-SECONDS[:3], X[:3]), "times has shape"),
        ({}, (SECONDS[:3] * np.nan, X[:3]), "times has shape"),
    ],
)
def test_what_cannot_be_is_refused(arguments, call, words):
    with pytest.raises(ValueError, match=words):
        defenses.time_guard(**arguments).delay(*call)
