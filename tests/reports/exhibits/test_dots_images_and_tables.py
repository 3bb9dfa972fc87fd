"""Dot plots, images and text tables: what is drawn is read back off it; what cannot be shown is refused by name."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from gecko_jax.reports import Column, Curve, DotPlot, ImageGrid, RocCurves, Row, Study, TextTable, is_image_batch
from gecko_jax.reports.exhibits.dot_plot import MAX_DOTS
from gecko_jax.reports.exhibits.image_grid import MAX_PIXELS_PER_SIDE, PNG_URI, data_uri
from gecko_jax.types import Estimate

SVG = "{http://www.w3.org/2000/svg}"


def chart(count=5, **changes):
    rng = np.random.default_rng(count)
    ends = np.sort(rng.uniform(0.3, 0.9, (count, 3)))
    figures = [Estimate(float(v), float(low), float(high), n=9) for low, v, high in ends]
    return DotPlot("AUC", [f"class {i}" for i in range(count)], figures, digits=3, reference=0.5)._replace(**changes)


def draw(exhibit, prefix="a"):
    return exhibit.draw(build(), prefix).body


def drawn(drawing):
    """(dots [k, 2], intervals [k, 2, 2], x of the reference) in units of the drawing, downwards."""
    root = ET.fromstring(drawing)
    uses = [u for u in root.iter(f"{SVG}use") if "--series-0" in u.get("style", "")]
    paths = [p for p in root.iter(f"{SVG}path") if "stroke" in p.get("style", "")]
    corners = {
        words: [
            np.array(re.findall(r"[ML] ([-\d.]+) ([-\d.]+)", p.attrib["d"]), float)
            for p in paths
            if words in p.attrib["style"]
        ]
        for words in ("opacity: 0.55", "stroke-dasharray: 3")
    }
    dots = np.array([(float(u.attrib["x"]), float(u.attrib["y"])) for u in uses])
    return dots, np.array(corners["opacity: 0.55"]), corners["stroke-dasharray: 3"]


def texts(drawing):
    """Each text and how far down it stands."""
    heights = {}
    for node in ET.fromstring(drawing).iter(f"{SVG}text"):
        y = node.get("y") or re.findall(r"[-\d.]+", node.attrib["transform"])[1]
        heights["".join(node.itertext()).strip()] = float(y)
    return heights


def test_dots_and_intervals_lie_where_their_figures_are():
    plot = chart()
    drawing = draw(plot)
    dots, intervals, ((top, bottom),) = drawn(drawing)
    assert len(dots) == len(intervals) == 5 and top[0] == bottom[0]
    values = np.array([[f.low, f.value, f.high] for f in plot.figures])
    xs = np.stack([intervals[:, :, 0].min(1), dots[:, 0], intervals[:, :, 0].max(1)], 1)
    slope, offset = np.polyfit(values.ravel(), xs.ravel(), 1)
    np.testing.assert_allclose(slope * values + offset, xs, atol=0.01)
    np.testing.assert_allclose(slope * 0.5 + offset, top[0], atol=0.01)
    assert (np.diff(dots[:, 1]) > 15).all(), "each on a line of its own, in order"
    heights = texts(drawing)
    for (_, y), label, figure in zip(dots, plot.labels, plot.figures, strict=True):
        assert abs(heights[label] - y) < 8 and f"{figure.value:.3f}" in heights, "the label and the value beside it"


def test_a_long_chart_shows_its_first_lines_and_a_bare_one_is_drawn():
    long = texts(draw(chart(MAX_DOTS + 3)))
    assert f"class {MAX_DOTS - 1}" in long and f"class {MAX_DOTS}" not in long
    bare = draw(chart(1, figures=[Estimate(0.5, unit="%")], unit="%", reference=None))
    dots, intervals, reference = drawn(bare)
    assert len(dots) == 1 and len(intervals) == 0 and reference == [] and "0.500 %" in texts(bare)


def test_a_drawing_takes_the_colors_of_its_page_and_shares_no_id():
    one, two = draw(chart(), "a"), draw(chart(), "b")
    assert "currentColor" in one and "var(--series-0" in one and "var(--grid" in one
    assert not set(re.findall(r'\bid="([^"]+)"', one)) & set(re.findall(r'\bid="([^"]+)"', two))
    assert one == draw(chart(), "a")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_a_png_of_its_numbers(channels):
    from matplotlib.image import imread

    picture = np.random.default_rng(channels).random((6, 9, channels)).astype(np.float32)
    uri = data_uri(picture)
    read = imread(io.BytesIO(base64.b64decode(uri.removeprefix(PNG_URI))))
    assert read.shape[:2] == (6, 9)
    shown = np.rint(255 * read[..., :3]) / 255
    np.testing.assert_allclose(shown, np.broadcast_to(picture, (6, 9, 3)), atol=0.5 / 255 + 1e-6)
    assert uri == data_uri(picture)
    large = np.linspace(0, 1, 2 * MAX_PIXELS_PER_SIDE * 300, dtype=np.float32).reshape(2 * MAX_PIXELS_PER_SIDE, 300, 1)
    read = imread(io.BytesIO(base64.b64decode(data_uri(large).removeprefix(PNG_URI))))
    assert read.shape[:2] == (86, 100)  # every third pixel


def test_what_is_a_picture():
    assert is_image_batch(np.zeros((4, 28, 28, 1))) and is_image_batch(np.ones((1, 2, 2, 3), np.float32))
    for other in (
        np.zeros((4, 28, 28)),
        np.zeros((4, 28, 28, 2)),
        np.zeros((4, 28, 28, 1), int),
        np.full((4, 28, 28, 1), 1.1),
        np.full((4, 28, 28, 1), np.nan),
        np.zeros((0, 28, 28, 1)),
        np.zeros((4, 1, 28, 1)),
        np.zeros((4, 784)),
    ):
        assert not is_image_batch(other)
    with pytest.raises(ValueError, match=r"image has shape \(2, 2\) and dtype float64; expected \[h, w"):
        data_uri(np.zeros((2, 2)))


def build(*exhibits):
    return Study("t", "", (Row("a", {}),), (Column("x", "X"),), exhibits)


IMAGE = PNG_URI + "AAAA"


def rocs(count, most):
    curves = tuple(Curve(f"curve {i}", [0.1, 1], [0.2, 1]) for i in range(count))
    return RocCurves("ROC", curves, max_curves_per_panel=most)


@pytest.mark.parametrize(
    ("exhibits", "message"),
    [
        ([chart(), chart()], "exhibits of the kind 'dot_plot' hold 'AUC' more than once"),
        ([chart(labels=["a"])], "'AUC' has parts of lengths"),
        ([chart(0)], "'AUC' has parts of lengths"),
        ([chart(2, labels=["a", "a"])], "labels of 'AUC' hold 'a' more than once"),
        ([chart(unit="%")], "figure 'class 0' of 'AUC' is in '' and its plot in '%'; convert it"),
        ([chart(1, figures=[Estimate(np.nan)])], "figure 'class 0' of 'AUC' is nan .*leave it out"),
        ([chart(1, figures=[Estimate(0.5, 0.4)])], "only one end of its interval"),
        ([chart(1, figures=[Estimate(0.5, kind="guessed")])], "'guessed' is not known"),
        ([chart(reference=np.inf)], "reference of 'AUC'=inf must be finite"),
        ([chart(digits=-1)], "digits of 'AUC'=-1 must be at least 0"),
        ([ImageGrid("p", [IMAGE], [])], "'p' has parts of lengths"),
        ([ImageGrid("p", [], [])], "above 0"),
        ([ImageGrid("p", ["https://a.b/c.png"], [""])], "images.0. of 'p' begins 'https://a.b/c.png'"),
        (2 * [ImageGrid("p", [IMAGE], [""])], "exhibits of the kind 'image_grid' hold 'p' more than once"),
        ([TextTable("l", ("a", "b"), (("1",),))], "'l' has parts of lengths"),
        ([TextTable("l", ("a",), ())], "lines of 'l' is empty"),
        ([rocs(1, 9)], "max_curves_per_panel=9 must lie between 1 and 8"),
        ([rocs(1, 0)], "max_curves_per_panel=0 must be at least 1"),
    ],
)
def test_what_cannot_be_shown_is_refused_by_name(exhibits, message):
    with pytest.raises(ValueError, match=message):
        build(*exhibits)


def test_curves_are_spread_over_panels():
    for most, panels in ((8, 2), (5, 2), (4, 3), (1, 9)):
        drawing = draw(rocs(9, most))
        assert len(re.findall(r'id="a-axes_\d+"', drawing)) == panels
        assert all(f"curve {i}" in drawing for i in range(9))
