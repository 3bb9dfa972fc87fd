"""The page as a browser lays it out, on a phone and on a desk, by light and by dark."""

from __future__ import annotations

import numpy as np

MEASURE = """(() => {
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const root = document.documentElement, scroll = document.querySelector(".scroll");
  const report = { page: [root.scrollWidth, window.innerWidth],
    rows: document.querySelectorAll("#table tbody tr").length,
    table: [scroll.scrollWidth, scroll.clientWidth],
    cells: [...document.querySelectorAll("#table td")].flatMap(cell => [...cell.children].map(box)),
    plots: {}, labels: [],
    requests: performance.getEntriesByType("resource").length };
  scroll.scrollLeft = 200;
  report.name = box(document.querySelector("#table tbody tr:nth-child(2) th"));
  for (const svg of document.querySelectorAll("figure svg")) {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const texts = [...svg.querySelectorAll("text")];
    report.plots[svg.closest("section").id] = { box: box(svg), texts: texts.map(box),
      marks: svg.querySelectorAll("path").length,
      size: Math.min(...texts.map(t => scale * parseFloat(getComputedStyle(t).fontSize))) };
  }
  report.pictures = [...document.querySelectorAll(".images li")].map(item => {
    const lines = [...item.querySelectorAll("span")].map(span => {
      const range = document.createRange(); range.selectNodeContents(span); return box(range); });
    return [box(item.querySelector("img")), lines]; });
  for (const text of document.querySelectorAll("#tradeoff-0 text"))
    report.labels.push([text.textContent.trim(), box(text)]);
  return report;
})()"""


def overlapping(a, b, slack=1.0):
    return min(a[2], b[2]) - max(a[0], b[0]) > slack and min(a[3], b[3]) - max(a[1], b[1]) > slack


def test_layout_on_a_phone_and_on_a_desk(study, page, tab, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    layout = {}
    for name, width in (("phone", 390), ("desk", 1280)):
        tab.open(path, width)
        layout[name] = tab.run(MEASURE)
    groups = len({row.group for row in study.rows})
    for name, width in (("phone", 390), ("desk", 1280)):
        report = layout[name]
        assert report["page"] == [width, width], "the page scrolls sideways"
        assert report["requests"] == 0
        assert report["rows"] == len(study.rows) + groups
        kinds = ("tradeoff-0", "roc-curves-0", "dot-plot-0", "dot-plot-1", "histograms-0", "reliability-diagrams-0")
        assert set(report["plots"]) == {*kinds, "training-curves-0"}
        for plot, drawn in report["plots"].items():
            left, top, right, bottom = drawn["box"]
            assert left >= 0 and right <= width and right - left >= 350 and bottom - top >= 170, plot
            assert drawn["marks"] > 10, plot
            assert drawn["size"] >= 9, f"text of {plot} is too small to read"
            assert all(left - 1 <= text[0] and text[2] <= right + 1 for text in drawn["texts"]), plot
        for i, text in enumerate(texts := report["plots"]["dot-plot-1"]["texts"]):
            assert not any(overlapping(text, other) for other in texts[:i]), "labels of a dot plot"
        assert len(report["pictures"]) == 7
        for i, (picture, lines) in enumerate(report["pictures"]):
            assert picture[2] - picture[0] == picture[3] - picture[1] >= 80 and picture[2] <= width
            boxes = [other for j, pair in enumerate(report["pictures"]) if j != i for other in (pair[0], *pair[1])]
            assert not any(overlapping(own, other) for own in (picture, *lines) for other in boxes)
        names = [label for label in report["labels"] if label[0] in {row.name for row in study.rows}]
        assert len(names) == len(study.rows)
        for i, (label, box) in enumerate(names):
            assert not [other for other, place in names[:i] if overlapping(box, place)], label
    scrolled, room = layout["desk"]["table"]
    assert len(study.columns) == 12 and scrolled <= room, "a wide table fits a desk"
    scrolled, room = layout["phone"]["table"]
    assert scrolled <= room, "on a phone the table does not scroll, and no figure is cut at its edge"
    shown = [box for box in layout["phone"]["cells"] if box[2] > box[0]]
    assert len(shown) > 3 * len(study.rows) and all(left >= 0 and right <= 390 for left, _, right, _ in shown)
    assert 0 <= layout["phone"]["name"][0] <= 30


def test_it_is_light_by_day_and_dark_by_night(page, tab, tmp_path):
    from matplotlib.image import imread

    path = tmp_path / "report.html"
    path.write_text(page, encoding="utf-8")
    pictures = []
    for dark in (False, True):
        tab.open(path, 1280, dark=dark)
        tab.picture(picture := tmp_path / f"{dark}.png", 2000)
        pictures.append(imread(picture)[..., :3])
    light, dark = pictures
    assert light.shape == dark.shape == (2000, 1280, 3)
    assert np.median(light) == 1 and np.median(dark) < 0.2
    colors = [(picture[1300:] * 15).astype(int) @ [1, 16, 256] for picture in pictures]
    assert all(len(np.unique(picture)) > 40 for picture in colors)  # the plots
    assert (light.min(axis=2) < 0.3).mean() > 0.01 and (dark.max(axis=2) > 0.7).mean() > 0.01  # text, on either
