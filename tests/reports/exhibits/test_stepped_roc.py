"""ROC curves are drawn as the step functions that they are."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gecko_jax import metrics, reports
from gecko_jax.reports import Column, Curve, RocCurves, Row, Study
from gecko_jax.types import Estimate

SVG = "{http://www.w3.org/2000/svg}"


def study(*curves, **more):
    rows = tuple(Row(curve.name, {"x": Estimate(0.5)}) for curve in curves)
    return Study("t", "", rows, (Column("x", "X"),), (RocCurves("ROC", curves, **more),))


def rocs(shown):
    return shown.exhibits[0].draw(shown, "roc").body


def lines(drawing):
    """Vertices [k, 2] of every line of a curve (stroke 1.6 wide)."""
    points = []
    for path in ET.fromstring(drawing).iter(f"{SVG}path"):
        if "stroke-width: 1.6" in path.attrib.get("style", "") and "clip-path" in path.attrib:
            points.append(np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.attrib["d"]), float))
    return points


def roc(seed, n):
    rng = np.random.default_rng(seed)
    member = np.arange(n) < n // 2
    fpr, tpr, _ = metrics.roc_curve(rng.normal(size=n) + member, member)
    return Curve("mine", fpr.tolist(), tpr.tolist(), (0.9 * tpr).tolist(), np.minimum(1.1 * tpr, 1).tolist())


@pytest.mark.parametrize("n", [20, 2000])  # long paths are those that a drawing library may simplify
def test_every_segment_is_level_or_upright_and_shows_the_curve(n):
    curve = roc(0, n)
    (points,) = lines(rocs(study(curve)))
    steps = np.abs(np.diff(points, axis=0))
    assert (steps.min(axis=1) == 0).all() and len(points) > len(curve.x)
    # From viewBox units back to rates, by the two ends of the axes' diagonal.
    text = rocs(study(curve))
    diagonal = next(
        np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", p.attrib["d"]), float)
        for p in ET.fromstring(text).iter(f"{SVG}path")
        if "stroke-dasharray: 3" in p.attrib.get("style", "")
    )
    (left, bottom), (right, top) = diagonal
    lowest = 10 ** np.floor(np.log10(np.clip(np.array(curve.x)[np.array(curve.x) > 0].min(), 1e-6, 0.1)) + 1e-9)
    decades = -np.log10(lowest)
    x = 10 ** (decades * ((points[:, 0] - left) / (right - left) - 1))
    y = 10 ** (decades * ((points[:, 1] - bottom) / (top - bottom) - 1))
    for at in np.geomspace(2 * lowest, 0.9, 23):
        drawn = y[x <= at * (1 + 1e-3)][-1]
        wanted = np.array(curve.y)[np.array(curve.x) <= at][-1]  # the definition: the last point not beyond it
        # A point of the curve may lie within the drawing's rounding of `at`.
        near = np.abs(np.array(curve.x) / at - 1) < 2e-3
        assert near.any() or max(wanted, lowest / 10) == pytest.approx(drawn, rel=5e-3)


def test_a_rate_without_a_false_alarm_is_drawn_from_the_left_end():
    """Half of the members score above every non-member: the line starts at 0.5, and not at the first false alarm."""
    (points,) = lines(rocs(study(Curve("mine", [0, 0, 0.1, 1], [0, 0.5, 0.5, 1]))))
    assert (np.abs(np.diff(points, axis=0)).min(axis=1) == 0).all()
    level = points[points[:, 1] == np.median(points[:, 1])]
    assert np.ptp(level[:, 0]) > 200


def test_the_ceiling_stands_in_every_panel_and_in_the_caption():
    curves = [Curve(f"c{i}", [0.01, 0.1, 1], [0.1, 0.5, 1]) for i in range(3)]
    ceiling = Curve("ceiling, epsilon 2", [0.01, 0.1, 1], [0.2, 0.7, 1])
    shown = study(*curves, ceiling=ceiling, max_curves_per_panel=2)
    drawing = rocs(shown)
    texts = ["".join(node.itertext()) for node in ET.fromstring(drawing).iter(f"{SVG}text")]
    assert texts.count("ceiling, epsilon 2") == 2 and len(lines(drawing)) == 5
    assert "No curve can exceed the solid line, ceiling, epsilon 2." in reports.html(shown)
