"""The page's style sheet: light and dark, wide and narrow, and no request to anywhere."""

from __future__ import annotations

from gecko_jax.reports.svg import DARK, DARK_GRID, LIGHT, LIGHT_GRID


def _variables(palette: tuple[str, ...], grid: str) -> str:
    return f"--grid:{grid};" + "".join(f"--series-{i}:{color};" for i, color in enumerate(palette))


CSS = (
    f"""
:root {{ color-scheme: light dark; --page:#fff; --raised:#f5f6f8; --ink:#1b1f23; --muted:#57606a; --line:#d9dde1;
  --alarm:#b3261e; --warn:#fff4d6; --warn-line:#b58100; {_variables(LIGHT, LIGHT_GRID)} }}
@media (prefers-color-scheme: dark) {{ :root {{ --page:#14171a; --raised:#1e2328; --ink:#e8eaed; --muted:#a3acb5;
  --line:#3a4148; --alarm:#ff8a80; --warn:#33290f; --warn-line:#e3b341; {_variables(DARK, DARK_GRID)} }} }}
"""
    + """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
main { max-width: 1280px; margin: 0 auto; padding: 24px 20px 64px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; line-height: 1.3; margin: 40px 0 8px; }
h3 { font-size: 1.05rem; line-height: 1.3; margin: 20px 0 12px; }
p { margin: 8px 0; max-width: 75ch; overflow-wrap: anywhere; }
.headline { font-size: 1.15rem; font-weight: 600; line-height: 1.4; }
.muted, figcaption { color: var(--muted); }
.notes { margin: 16px 0; padding: 10px 16px; background: var(--warn); border-left: 4px solid var(--warn-line);
  border-radius: 4px; max-width: 80ch; }
.notes ul { margin: 0; padding-left: 18px; overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 12px;
  margin: 20px 0 0; padding: 0; }
.tiles div { background: var(--raised); border-radius: 8px; padding: 12px 16px; }
.tiles dt { color: var(--muted); font-size: .875rem; }
.tiles dd { margin: 0; overflow-wrap: anywhere; }
.tiles .figure { font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.tiles .alarm .figure, td.alarm b { color: var(--alarm); }
.tiles small { font-size: 1rem; font-weight: 400; color: var(--muted); }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; position: relative; }
.scroll:focus-visible { outline: 2px solid var(--series-0); }
table { border-collapse: separate; border-spacing: 0; font-size: .875rem; line-height: 1.35; width: 100%;
  font-variant-numeric: tabular-nums lining-nums; }
th, td { padding: 7px 9px; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; font-weight: 600; background: var(--raised); min-width: 5em; }
thead th small { display: block; white-space: nowrap; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--page); z-index: 1; min-width: 11em;
  font-weight: 600; overflow-wrap: anywhere; }
thead th:first-child, tr.group th { background: var(--raised); }
tr.group th { color: var(--muted); font-weight: 600; padding-top: 4px; padding-bottom: 4px; }
tr.group th span { position: sticky; left: 9px; }
tbody tr:last-child > * { border-bottom: 0; }
td { white-space: nowrap; }
#table.wide { font-size: .8125rem; }
#table.wide th, #table.wide td { padding: 6px 5px; }
#table.wide thead th { min-width: 0; }
#table.wide th:first-child { min-width: 10em; padding-left: 9px; }
#table.wide small { font-size: .75rem; }
td small, th small { color: var(--muted); font-weight: 400; font-size: .8125rem; }
td small { display: block; }
td.best b { border-bottom: 2px solid var(--series-2); }
td b { font-weight: 400; } td.best b, td.alarm b { font-weight: 700; }
td .label { display: none; }
abbr { text-decoration: none; cursor: help; }
.legend { font-size: .875rem; color: var(--muted); margin: 8px 0 0; padding-left: 0; list-style: none;
  max-width: 90ch; }
.plots { columns: 460px 2; column-gap: 40px; }
.plots section { break-inside: avoid; padding-bottom: 24px; }
.plots h3 { margin-top: 0; padding-top: 12px; }
figure { margin: 0; min-width: 0; max-width: 600px; }
figure svg { display: block; width: 100%; height: auto; overflow: visible; }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: 14px 8px;
  margin: 0; padding: 0; list-style: none; font-size: .75rem; line-height: 1.35; color: var(--muted);
  font-variant-numeric: tabular-nums; }
.images img { display: block; width: 84px; height: auto; image-rendering: pixelated; background: #fff;
  border: 1px solid var(--line); margin-bottom: 4px; }
.images span { display: block; overflow-wrap: anywhere; }
.images span:first-of-type { color: var(--ink); font-weight: 600; }
table.small { font-size: .8125rem; }
table.small th, table.small td { padding: 4px 9px; white-space: normal; min-width: 0; overflow-wrap: break-word; }
table.small th:first-child, table.small td:first-child { min-width: 7.5em; overflow-wrap: anywhere; }
figcaption { font-size: .875rem; margin-top: 10px; }
details { margin-top: 12px; border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px; }
summary { cursor: pointer; font-weight: 600; }
pre { overflow-x: auto; font-size: .8125rem; line-height: 1.4; margin: 10px 0 4px; }
@media (max-width: 600px) {
  main { padding: 16px 16px 48px; }
  h1 { font-size: 1.4rem; }
  #table, #table tbody, #table tr, #table th { display: block; }
  #table thead, #table td.none { display: none; }
  #table th { min-width: 0; border-bottom: 0; padding-bottom: 2px; }
  #table tr.group th { padding-bottom: 4px; }
  #table td { display: flex; flex-wrap: wrap; justify-content: flex-end; align-items: baseline; gap: 0 .5em;
    border-bottom: 0; padding: 2px 9px; white-space: normal; }
  #table td .label { display: block; order: -1; flex: 1 1 40%; text-align: left; color: var(--muted); }
  #table.wide th, #table.wide td { padding: 2px 9px; }
  #table tr { border-bottom: 1px solid var(--line); padding-bottom: 5px; }
  #table tr.group { padding-bottom: 0; }
  .tiles { grid-template-columns: 1fr; gap: 8px; }
  table.small { display: block; overflow-x: auto; }
}
@media print { .scroll { overflow: visible; border: 0; } details { border: 0; } }
"""
)
