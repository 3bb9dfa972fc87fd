"""Turns a Matplotlib figure into an SVG that takes the page's colors.

Matplotlib knows only fixed colors. Figures are therefore drawn in placeholder colors (INK, GRID, series(0), ...), which
become `currentColor` and CSS variables in the SVG's text: one drawing serves light and dark pages, and a viewer without
the variables shows the light palette.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

from gecko_jax import extras

WIDTH = 420  # units of the viewBox; text of 12 units is still 10 pixels tall on a phone
TEXT = 12
INK, GRID = "#010101", "#010102"
# Light and dark shades of hues that stay apart under the common color blindnesses (after Okabe and Ito, and Tol); each
# has a contrast of at least 3 with its background. Lines differ in their dashes too.
LIGHT = ("#0072b2", "#c44e00", "#00805c", "#aa3377", "#8a6d00", "#2a2a72", "#c8285a", "#5b6770")
DARK = ("#4db3f0", "#ff8a4c", "#2fc79b", "#f08cc0", "#e3c23c", "#a9a4ff", "#ff7d95", "#b4bec7")
LIGHT_GRID, DARK_GRID = "#d9dde1", "#3a4148"


def series(index: int) -> str:
    """Returns the placeholder for the color of the index-th series; colors repeat after eight."""
    return f"#0202{index % len(LIGHT):02x}"


def figure(height: float, width: float = WIDTH) -> Any:
    """Returns a Matplotlib figure of width x height viewBox units, made without pyplot: no window, no global state."""
    extras.require("matplotlib", "a chart")
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="none", layout=None)


def finish(fig: Any, name: str, title: str) -> str:
    """Returns the figure as SVG text, the same on every run.

    Args:
      fig: drawn in the placeholder colors.
      name: begins every id; plots with different names may stand on one page.
      title: says what is drawn, for those who hear the page.

    Returns:
      A standalone <svg>, with a viewBox and no width or height.
    """
    import matplotlib

    out = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif", "path.simplify": True}
    with matplotlib.rc_context(settings), _any_script():
        nothing = {key: None for key in ("Creator", "Date", "Format", "Type")}
        fig.savefig(out, format="svg", transparent=True, metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = text.replace("xlink:href=", "href=").replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "")
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)  # the page's own typeface
    text = text.replace(INK, "currentColor").replace(GRID, f"var(--grid, {LIGHT_GRID})")
    for index, color in enumerate(LIGHT):
        text = text.replace(series(index), f"var(--series-{index}, {color})")
    label = title.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip() + "\n"


def style(axes: Any) -> None:
    """Styles axes: ink for text and lines, a faint grid, no box."""
    axes.set_facecolor("none")
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_edgecolor(INK)
        spine.set_linewidth(0.8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(INK)
        axis.label.set_size(TEXT)
    axes.tick_params(which="both", colors=INK, labelsize=TEXT - 1, length=3, width=0.8)
    axes.tick_params(which="minor", length=0)


def place(fig: Any, left: float, top: float, width: float, height: float, **kwargs: Any) -> Any:
    """Adds styled axes whose top left corner is at (left, top), in viewBox units, and returns them."""
    full_width, full_height = fig.get_size_inches() * 72
    box = (left / full_width, 1 - (top + height) / full_height, width / full_width, height / full_height)
    axes = fig.add_axes(box, **kwargs)
    style(axes)
    return axes


def write(fig: Any, left: float, top: float, text: str, **kwargs: Any) -> Any:
    """Writes text whose baseline begins at (left, top), in viewBox units from the top left corner."""
    full_width, full_height = fig.get_size_inches() * 72
    kwargs = {"color": INK, "fontsize": TEXT, "va": "baseline", "parse_math": False, **kwargs}
    return fig.text(left / full_width, 1 - top / full_height, text, **kwargs)


def text_width(text: str, size: float = TEXT) -> float:
    """Returns the units that a text takes in a wide typeface: an upper bound for a browser's own."""
    extras.require("matplotlib", "a chart")
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    if not text:
        return 0.0
    with _any_script():
        return TextToPath().get_text_width_height_descent(text, FontProperties(size=size), False)[0]


@contextlib.contextmanager
def _any_script() -> Iterator[None]:
    """Silences Matplotlib's warnings about letters that its typeface lacks; the browser has them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield


def key(fig: Any, left: float, low: float, text: str, color: str, dash: Any) -> None:
    """Draws a sample of a line and writes its name."""
    from matplotlib.lines import Line2D

    width, height = fig.get_size_inches() * 72
    y = 1 - (low - 4) / height
    fig.add_artist(Line2D([left / width, (left + 24) / width], [y, y], color=color, linestyle=dash, linewidth=2))
    write(fig, left + 30, low, cut(text, WIDTH - left - 30))


def plain_ticks(axes: Any) -> None:
    """Writes tick labels as plain numbers ("0.001"), which need no typesetting."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def cut(text: str, width: float) -> str:
    """Returns the text, shortened with an ellipsis if it is wider than `width` units."""
    while text_width(text) > width and len(text) > 4:
        text = text[:-2] + "…"
    return text
