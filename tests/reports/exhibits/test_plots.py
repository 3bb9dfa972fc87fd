from __future__ import annotations

import dataclasses
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax.reports import (
    Column,
    Curve,
    Histogram,
    Histograms,
    RocCurves,
    Row,
    Study,
    Tradeoff,
    TrainingCurves,
    front,
    html,
    svg,
)
from gecko_jax.reports.labels import Box, overlap, place_labels
from gecko_jax.types import Estimate

SVG = "{http://www.w3.org/2000/svg}"
DRAWINGS = {"tradeoff": Tradeoff, "roc": RocCurves, "histograms": Histograms, "losses": TrainingCurves}


def draw(study, noun):
    return next(e for e in study.exhibits if isinstance(e, noun)).draw(study, f"plot-{noun.__name__}").body


@pytest.fixture(scope="module")
def drawings(study):
    return {name: draw(study, noun) for name, noun in DRAWINGS.items()}


def contrast(a: str, b: str) -> float:
    """The contrast ratio of two colors as the accessibility guidelines (WCAG 2) define it."""

    def luminance(color):
        parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


def test_colors_are_told_from_the_background_and_from_each_other(page):
    light, dark = re.findall(r"--page:(#\w+)", page)
    for palette, background in ((svg.LIGHT, light), (svg.DARK, dark)):
        background = "#ffffff" if background == "#fff" else background
        assert min(contrast(color, background) for color in palette) >= 3
        assert len(set(palette)) == len(palette) == len(svg.LIGHT)


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_well_formed_and_takes_the_colors_of_its_page(drawings, name):
    text = drawings[name]
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg" and "width" not in root.attrib
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    assert (left, top, width) == (0, 0, svg.WIDTH) and height > 100
    assert "currentColor" in text and "var(--series-0, #0072b2)" in text and "var(--grid" in text
    colors = set(re.findall(r"#[0-9a-f]{6}\b", text))
    assert colors <= {*svg.LIGHT, svg.LIGHT_GRID}, "a color that the page cannot change"
    assert root.findall(f".//{SVG}text"), "text must stay text"
    assert not root.findall(f".//{SVG}metadata")


def test_drawings_repeat_exactly_and_share_no_id(study, drawings):
    ids = [name for text in drawings.values() for name in re.findall(r'\bid="([^"]+)"', text)]
    assert len(ids) == len(set(ids))
    for text in drawings.values():
        used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
        assert used <= set(ids)
    assert draw(study, RocCurves) == drawings["roc"]
    assert draw(study, Tradeoff) == drawings["tradeoff"]


def texts(drawing):
    return ["".join(node.itertext()) for node in ET.fromstring(drawing).iter(f"{SVG}text")]


def test_every_row_is_named_in_every_plot(study, drawings):
    for row in study.rows:
        assert all(row.name in texts(drawing) for drawing in drawings.values())


def test_the_front_is_filled(study, drawings):
    hollow = re.findall(r'style="fill: none; stroke: var\(--series-(\d)[^"]*stroke-width: 1.6', drawings["tradeoff"])
    off = [i for i, row in enumerate(study.rows) if row.name not in front(study)]
    assert sorted({int(i) for i in hollow}) == off


def simple(rows, *exhibits):
    columns = (Column("x", "X", better="high"), Column("y", "Y", better="low"), Column("size", "Size", better="low"))
    return Study("t", "", rows, columns, exhibits)


def point(name, x, y, size=1.0):
    return Row(name, {"x": Estimate(x), "y": Estimate(y), "size": Estimate(size, kind="counted")})


def test_many_rows_are_numbered_with_a_key():
    rows = tuple(point(f"row {i}", float(i % 5), float(i * i % 7)) for i in range(23))
    words = texts(draw(simple(rows, Tradeoff("x", "y", "size")), Tradeoff))
    assert words.count("23") == 2 and all(row.name in words for row in rows)


def test_rows_without_a_finite_figure_are_left_out():
    study = simple((point("a", 1.0, 2.0), point("b", np.inf, 2.0), Row("c", {})), Tradeoff("x", "y"))
    shown = texts(draw(study, Tradeoff))
    assert "a" in shown and "b" not in shown and "c" not in shown
    nobody = dataclasses.replace(study, rows=study.rows[1:])
    assert study.tradeoff.draw(nobody, "p") is None and "<section" not in html(nobody)


def test_names_are_text_and_not_markup_or_formulae():
    names = ("a $x_1$ & <b>", "二値化")
    study = simple(tuple(point(name, 1.0 + i, 2.0, 0.0) for i, name in enumerate(names)), Tradeoff("x", "y", "size"))
    assert set(names) <= set(texts(draw(study, Tradeoff)))


def test_curves_with_zeros_empty_bins_and_one_point():
    study = simple(
        (point("a", 1.0, 2.0),),
        RocCurves("r", (Curve("a", [0, 0.5, 1], [0, 0, 1], [0, 0, 1], [0, 0.1, 1]), Curve("other", [0, 0], [0, 1]))),
        Histograms("h", ("in", "out"), (Histogram("a", [0, 1, 2], ([0, 0], [0, 0])),)),
        TrainingCurves("t", (Curve("a", [1], [0.5]),)),
    )
    for noun in (RocCurves, Histograms, TrainingCurves):
        assert texts(draw(study, noun))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(3, 12), st.integers(20, 90)),
        min_size=1,
        max_size=8,
    )
)
def test_labels_stay_inside_and_off_each_other(spots):
    room = Box(-30, -10, 400, 310)
    boxes = place_labels([(x, y, r) for x, y, r, _ in spots], [(width, 14) for *_, width in spots], room)
    for i, box in enumerate(boxes):
        assert box.left >= room.left and box.right <= room.right and box.low >= room.low and box.high <= room.high
        assert all(overlap(box, other) == 0 for other in boxes[:i])


def test_a_label_stands_beside_a_lonely_point():
    (box,) = place_labels([(50, 50, 4)], [(40, 14)], Box(0, 0, 200, 100))
    assert box == Box(57, 43, 97, 57)


def test_overlap_is_the_shared_area():
    assert overlap(Box(0, 0, 4, 4), Box(2, 3, 9, 9)) == 2
    assert overlap(Box(0, 0, 4, 4), Box(4, 0, 5, 4)) == 0
