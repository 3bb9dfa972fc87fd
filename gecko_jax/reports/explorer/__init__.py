"""The trade-off explorer: a person chooses axes, budgets and a model, on one page that asks the network for nothing.

`explorer` returns the part that stands on a page; `explorer_html` a page of its own. The script is the files of this
folder, and the page's policy allows that script alone, by its digest.
"""

from __future__ import annotations

import base64
import pathlib

from gecko_jax import json_values
from gecko_jax.digests import sha256
from gecko_jax.reports.explorer.data import explorer_data
from gecko_jax.reports.study import Study

HERE = pathlib.Path(__file__).parent
PARTS = ("core", "axes", "charts", "plot", "panel", "table", "controls", "main")

__all__ = ["explorer", "explorer_css", "explorer_policy"]


def explorer(study: Study) -> str:
    """Returns the explorer of a study: where it stands, its data, and its script.

    Args:
      study: any study with two figures or more in a row.

    >>> from gecko_jax.reports import Column, Row
    >>> from gecko_jax.types import Estimate
    >>> study = Study("t", "", (Row("a", {"auc": Estimate(0.5)}),), (Column("auc", "</script>"),))
    >>> explorer(study).count("</script>")  # text cannot end the data
    2
    """
    data = json_values.dumps(explorer_data(study), "study", ensure_ascii=False, separators=(",", ":"))
    return (
        '<section id="explorer" class="explorer" aria-label="Trade-off explorer">'
        "<noscript><p>The explorer needs a script, which this browser does not run; the table has all figures.</p>"
        "</noscript></section>\n"
        f'<script type="application/json" id="explorer-data">{data.replace("<", chr(92) + "u003c")}</script>\n'
        f"<script>{_script()}</script>"
    )


def explorer_css() -> str:
    """Returns the explorer's style sheet, which needs that of the page.

    >>> ".explorer" in explorer_css()
    True
    """
    return (HERE / "explorer.css").read_text(encoding="utf-8")


def explorer_policy() -> str:
    """Returns the directive of a page's policy that lets the explorer's script run, and no other.

    >>> explorer_policy()[:19]
    "script-src 'sha256-"
    """
    digest = base64.b64encode(bytes.fromhex(sha256(_script().encode()))).decode()
    return f"script-src 'sha256-{digest}'"


def _script() -> str:
    parts = [(HERE / f"{name}.js").read_text(encoding="utf-8") for name in PARTS]
    return f'(() => {{\n"use strict";\n{"".join(parts)}}})();'
