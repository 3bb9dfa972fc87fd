"""Reliability diagrams: what is drawn is read back off the SVG, and the layout off a browser."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gecko_jax import metrics
from gecko_jax.reports import svg
from gecko_jax.reports.exhibits.reliability_diagrams import reliability_diagram
from gecko_jax.reports.page_style import CSS

SVG = "{http://www.w3.org/2000/svg}"


def made(seed, n=300, bins=15, equal_mass=False):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(3, 0.7), n)
    labels = (probs.cumsum(-1) < rng.random(n)[:, None]).sum(-1)
    sharp = probs ** (0.5 + seed)
    return metrics.reliability_bins(sharp / sharp.sum(-1, keepdims=True), labels, bins, equal_mass=equal_mass)


NAMES = (
    "Full precision",
    "DP, ε = 8",
    "a $x_1$ & <b>",
    "XNOR",
    "a name that is longer than any panel is ever wide " * 3,
)
MODELS = {name: made(seed) for seed, name in enumerate(NAMES)}


def first(count):
    return dict(list(MODELS.items())[:count])


@pytest.fixture(scope="module")
def drawings():
    drawn = {f"p{count}": reliability_diagram(first(count), f"p{count}") for count in (1, 3, 5)}
    drawn["long"] = reliability_diagram({NAMES[-1]: MODELS[NAMES[-1]]}, "long")
    return drawn


def texts(drawing):
    return ["".join(node.itertext()) for node in ET.fromstring(drawing).iter(f"{SVG}text")]


def corners(path):
    return np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", path.attrib["d"]), float)


class Panel:
    """The drawing's index-th axes, their contents in the axes' units."""

    def __init__(self, drawing, index):
        group = [g for g in ET.fromstring(drawing).iter(f"{SVG}g") if re.search(r"-axes_\d+$", g.get("id", ""))][index]
        self.paths = list(group.iter(f"{SVG}path"))
        box = corners(self.paths[0])
        self.low, self.size = (box[:, 0].min(), box[:, 1].max()), (np.ptp(box[:, 0]), np.ptp(box[:, 1]))
        self.group = group

    def units(self, points):
        return (np.asarray(points, float) - self.low) / (self.size[0], -self.size[1])

    def styled(self, words):
        return [self.units(corners(path)) for path in self.paths if words in path.get("style", "")]

    def marks(self):
        uses = [u for u in self.group.iter(f"{SVG}use") if "--series" in u.get("style", "")]
        return self.units([(u.attrib["x"], u.attrib["y"]) for u in uses])


@pytest.mark.parametrize("equal_mass", [False, True])
def test_bars_marks_and_whiskers_are_the_bins(equal_mass):
    bins = made(1, 200, 10, equal_mass)
    panel, full = Panel(reliability_diagram({"a": bins}), 0), bins.count > 0
    bars = panel.styled("opacity: 0.3")
    np.testing.assert_allclose([bar[:, 1].max() for bar in bars], bins.accuracy[full], atol=1e-5)
    assert all(low < bar[:, 0].min() for bar, low in zip(bars, bins.edges[:-1][full], strict=True))
    assert all(bar[:, 0].max() < high for bar, high in zip(bars, bins.edges[1:][full], strict=True))
    np.testing.assert_allclose(panel.marks(), np.stack([bins.confidence[full], bins.accuracy[full]], -1), atol=1e-5)
    whiskers = panel.styled("stroke-width: 1.2")
    np.testing.assert_allclose([w[:, 1].min() for w in whiskers], bins.low[full], atol=1e-5)
    np.testing.assert_allclose([w[:, 1].max() for w in whiskers], bins.high[full], atol=1e-5)
    (diagonal,) = panel.styled("stroke-dasharray")
    np.testing.assert_allclose(diagonal, [[0, 0], [1, 1]], atol=1e-5)


def test_the_records_of_every_bin_stand_below():
    bins = made(1, 200, 8)
    (fill,) = Panel(reliability_diagram({"a": bins}), 1).styled("opacity: 0.3")
    middles = (bins.edges[1:] + bins.edges[:-1]) / 2
    tops = [max((y for x, y in fill if abs(x - m) <= 1 / 16 + 1e-6), default=0) for m in middles]
    shared = [max(bins.count[max(i - 1, 0) : i + 2]) for i in range(8)]  # a corner belongs to both of its neighbors
    np.testing.assert_allclose(tops, np.array(shared) / (1.08 * bins.count.max()), atol=1e-5)


def test_three_share_a_panel_and_more_have_their_own(drawings):
    count = {name: len(re.findall(r'id="\w+-axes_\d+"', drawing)) for name, drawing in drawings.items()}
    assert count == {"p1": 2, "p3": 2, "p5": 10, "long": 2}
    assert len(Panel(drawings["p3"], 0).marks()) == sum((bins.count > 0).sum() for bins in first(3).values())


@pytest.mark.parametrize("count", [1, 3, 5])
def test_names_and_errors_are_text(drawings, count):
    rng, said = np.random.default_rng(1), " ".join(texts(drawings[f"p{count}"]))
    for name in list(first(count))[:4]:
        assert name in said
    probs = rng.dirichlet(np.full(3, 0.7), 300)
    labels = (probs.cumsum(-1) < rng.random(300)[:, None]).sum(-1)
    sharp = probs**1.5
    ece = metrics.expected_calibration_error(sharp / sharp.sum(-1, keepdims=True), labels)
    assert count == 1 or f"ECE {100 * ece:.1f} %" in said


def test_a_drawing_takes_the_colors_of_its_page_and_repeats_exactly(drawings):
    ids = [name for drawing in drawings.values() for name in re.findall(r'\bid="([^"]+)"', drawing)]
    assert len(ids) == len(set(ids))
    for drawing in drawings.values():
        assert "currentColor" in drawing and "var(--series-0, #0072b2)" in drawing
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawing)) <= {*svg.LIGHT, svg.LIGHT_GRID}
    assert reliability_diagram(first(3), "p3") == drawings["p3"]


def test_one_record_certain_and_wrong():
    drawing = reliability_diagram({"a": metrics.reliability_bins([[1.0, 0.0]], [1])})
    assert "a, ECE 100.0 %" in texts(drawing)
    np.testing.assert_allclose(Panel(drawing, 0).marks(), [[1, 0]], atol=1e-5)


def test_nothing_to_draw_is_named():
    with pytest.raises(ValueError, match="number of models=0"):
        reliability_diagram({})
    empty = MODELS["XNOR"]._replace(count=np.zeros(15, int))
    with pytest.raises(ValueError, match="number of records of 'x'=0"):
        reliability_diagram({"x": empty})


MEASURE = """(() => {
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  return [...document.querySelectorAll("svg")].map(svg => ({ svg: box(svg),
    scale: svg.getBoundingClientRect().width / svg.viewBox.baseVal.width,
    texts: [...svg.querySelectorAll("text")].map(t => [t.textContent.trim(), parseFloat(getComputedStyle(t).fontSize),
      ...box(t)]) }));
})()"""


def test_on_a_phone_all_text_is_large_inside_and_apart(drawings, tab, tmp_path):
    path = tmp_path / "phone.html"
    figures = "".join(f"<figure style='width:358px'>{drawing}</figure>" for drawing in drawings.values())
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><style>{CSS}</style>{figures}", "utf-8")
    tab.open(path, 600)
    layouts = tab.run(MEASURE)
    assert len(layouts) == len(drawings)
    for drawing in layouts:
        left, top, right, bottom = drawing["svg"]
        for i, (text, size, *box) in enumerate(drawing["texts"]):
            assert size * drawing["scale"] >= 9, text
            assert left - 1 <= box[0] and box[2] <= right + 1 and top - 1 <= box[1] and box[3] <= bottom + 1, text
            for other, _, *place in drawing["texts"][:i]:
                across = min(box[2], place[2]) - max(box[0], place[0])
                down = min(box[3], place[3]) - max(box[1], place[1])
                assert across <= 1 or down <= 3, (text, other)  # lines of text leave room above their letters
