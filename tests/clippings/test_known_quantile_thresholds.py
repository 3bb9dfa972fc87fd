"""Thresholds of TensorFlow Privacy's quantile_adaptive_clip_sum_query_test (test_adaptation_target_zero_geometric)."""

from __future__ import annotations

import math

import jax.numpy as jnp
import pytest

from gecko_jax.clippings import quantile

RECORDS = [5.0, -2.5]


def test_thresholds_and_sums_of_two_records():
    rule, threshold = quantile(16.0, 0.0, math.log(2)), 16.0
    thresholds = [8.0, 4.0, 4 / math.sqrt(2), 2.0, 2.0]
    sums = [2.5, 2.5, 1.5, 4 / math.sqrt(2) - 2.5, 0.0]
    for expected_sum, expected in zip(sums, thresholds, strict=True):
        clipping = rule.at(jnp.float32(threshold))
        norms = jnp.abs(jnp.array(RECORDS))[:, None]
        scales = clipping.scale(norms).ravel().tolist()
        total = sum(scale * record for scale, record in zip(scales, RECORDS, strict=True))
        share = float(rule.exceeds(norms, jnp.float32(threshold)).mean())  # of those left unclipped
        threshold = float(rule.update(threshold, share))
        assert total == pytest.approx(expected_sum, abs=1e-5) and threshold == pytest.approx(expected, rel=1e-5)
