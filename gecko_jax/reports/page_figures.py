"""The plots, pictures and lists of a page, each with its heading and a caption that says how to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape

from gecko_jax import checks
from gecko_jax.reports import plots
from gecko_jax.reports.dots import MOST, dots_chart
from gecko_jax.reports.exhibits import Dots, Listing, Pictures
from gecko_jax.reports.reliability import reliability_diagram
from gecko_jax.reports.study import Study
from gecko_jax.reports.text import in_sentence, number


def figures(study: Study) -> Iterator[str]:
    """Each plot with its heading and a caption that says how to read it."""
    if study.tradeoff is not None and plots.drawn(study):
        x, y = (next(c for c in study.columns if c.key == key) for key in study.tradeoff[:2])
        left_out = [row.name for row in study.rows if row not in plots.drawn(study)]
        corner = {"high": ("top", "right"), "low": ("bottom", "left")}
        yield _figure(
            "plot-tradeoff",
            f"{x.heading} against {in_sentence(y.heading)}",
            plots.tradeoff(study),
            f"Better is towards the {corner[y.better][0]} {corner[x.better][1]}. Bars are 95 % intervals. "
            f"Filled markers: {front_meaning(study)}"
            + (f" Not shown, for want of a figure: {checks.listed(left_out)}." if left_out else ""),
        )
    if study.rocs:
        yield _figure(
            "plot-roc",
            "ROC curves of the attacks",
            plots.rocs(study),
            "Both axes are logarithmic, since an attack does harm where it is sure: at the left. The dashed diagonal "
            "is guessing; a curve above it tells members from non-members. Bands are 95 % intervals."
            + (f" The solid line, {study.ceiling.name}, is what no attack can exceed." if study.ceiling else ""),
        )
    if study.dots:  # charts of one kind stand below each other
        yield "<div>\n" + "\n".join(_dots(f"plot-dots-{i}", chart) for i, chart in enumerate(study.dots)) + "\n</div>"
    if study.histograms:
        noted = {h.note: [each.name for each in study.histograms if each.note == h.note] for h in study.histograms}
        notes = "".join(f" {checks.listed(names)}: {note}" for note, names in noted.items() if note)
        yield _figure(
            "plot-histograms",
            "What the attacker sees",
            plots.histograms(study),
            "Shares of members and of non-members by their signal, on a logarithmic scale. Where the two outlines "
            f"part, membership shows.{notes}",
        )
    for i, grid in enumerate(study.pictures):
        yield _pictures(f"pictures-{i}", grid)
    for i, listing in enumerate(study.listings):
        yield _listing(f"listing-{i}", listing)
    if study.reliabilities:
        yield _figure(
            "plot-reliability",
            "Reliability diagrams",
            reliability_diagram({each.name: each.bins for each in study.reliabilities}),
            "How often a model is right, by how sure it is. On the diagonal it is right as often as it says; below, it "
            "is too sure. Whiskers are 95 % intervals; the small panels count the records.",
        )
    if study.losses:
        yield _figure(
            "plot-losses",
            "Training curves",
            plots.losses(study),
            "Mean over seeds; bands are 95 % intervals where there are any. A gap between training and test loss is "
            "what membership inference feeds on.",
        )


def _figure(name: str, title: str, drawing: str, caption: str, more: str = "") -> str:
    drawing = re.sub(r' xmlns="[^"]*"', "", drawing, count=1)  # HTML knows the namespace
    return (
        f'<section id="{name}"><h3>{escape(title)}</h3>\n<figure>\n{drawing}'
        f"<figcaption>{escape(caption)}</figcaption></figure>{more}</section>"
    )


def _dots(name: str, chart: Dots) -> str:
    """The chart, and all of its figures in a table under a fold."""
    lines = []
    for label, figure in zip(chart.labels, chart.figures, strict=True):
        ends = (number(end, chart.digits) for end in (figure.low, figure.high)) if figure.low is not None else ()
        lines.append([label, number(figure.value, chart.digits), " to ".join(ends)])
    left_out = len(chart.labels) - MOST
    said = [f"The first {MOST} are drawn; {left_out} more stand in the table."] if left_out > 0 else []
    caption = " ".join(filter(None, [chart.note, *said]))
    table = _small_table(["", f"Figure, {chart.unit}" if chart.unit else "Figure", "95 % interval"], lines)
    fold = f"<details><summary>Table of these figures</summary>{table}</details>"
    return _figure(name, chart.name, dots_chart(chart, name), caption, fold)


def _pictures(name: str, grid: Pictures) -> str:
    items = []
    for image, caption in zip(grid.images, grid.captions, strict=True):
        lines = "".join(f"<span>{escape(line)}</span>" for line in caption.split("\n"))
        said = escape(caption.replace("\n", ", "))
        items.append(f'<li><img src="{escape(image)}" alt="{said}">{lines}</li>')
    return (
        f'<section id="{name}"><h3>{escape(grid.name)}</h3>\n<figure><ul class="pictures">'
        f"{chr(10).join(items)}</ul><figcaption>{escape(grid.note)}</figcaption></figure></section>"
    )


def _listing(name: str, listing: Listing) -> str:
    table = _small_table(listing.headings, listing.lines)
    return (
        f'<section id="{name}"><h3>{escape(listing.name)}</h3>\n<figure>{table}'
        f"<figcaption>{escape(listing.note)}</figcaption></figure></section>"
    )


def _small_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    heads = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    rows = [
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in lines
    ]
    body = "\n".join(rows)
    return f'<table class="small"><thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'


def front_meaning(study: Study) -> str:
    names = [in_sentence(c.heading) for key in study.tradeoff for c in study.columns if c.key == key]
    return f"no other row is as good in all of {', '.join(names)} and better in one (the Pareto front)."
