"""A report as plain text: the table of figures, and the sentences around it, at any width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from gecko_jax.audit.report import loss_tails
from gecko_jax.audit.report.results import AuditResults
from gecko_jax.audit.report.slices import resolved, worst_first
from gecko_jax.audit.scoring.selection import reasons_not_run
from gecko_jax.text_tables import aligned
from gecko_jax.types import Estimate

TITLES = {
    "auc": "AUC",
    "attack_accuracy": "attack accuracy",
    "advantage": "advantage",
    "tpr_at_1pct": "TPR @ 1% FPR",
    "tpr_at_0p1pct": "TPR @ 0.1% FPR",
}
MAX_SLICES = 10  # lines of the table: the worst; the page and the table file have all
SLICE_METRICS = ("auc", "tpr_at_1pct")


def table(results: AuditResults, width: int | None = None) -> str:
    """Returns every figure as value [95 % interval], one row for each attack; * marks what cannot be resolved.

    Warnings, the baselines without the model, and the headline come first.

    Args:
      results: of an audit.
      width: characters that a line may have: longer sentences are wrapped, and metrics that do not fit stand in a
        further table below. None: every sentence and every table row is one line.
    """
    before = [f"Warning: {warning}" for warning in results.warnings]
    before += [f"Without the model, by the {name}: AUC {cell(auc)}." for name, auc in results.baselines.items()]
    before += results.claim.lines() if results.claim else []
    before += [results.headline] if results.headline else []
    lines = _wrapped(before, width) + ([""] if before else [])
    for rows in _blocks(_rows(results), width):
        lines += [*aligned(rows), ""]
    lines += _wrapped(_notes(results), width)
    return "\n".join([*lines, *_slices(results, width)])


def cell(estimate: Estimate) -> str:
    """Returns a figure as a table's cell.

    >>> cell(Estimate(0.5, 0.25, 0.75))
    '0.5000 [0.2500, 0.7500]'
    """
    if estimate.low is None:
        return f"{estimate.value:.4f}"
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def _rows(results: AuditResults) -> list[list[str]]:
    rows = [["attack", *TITLES.values()]]
    for name, row in results.rows.items():
        cells = [cell(row[metric]) + ("" if results.resolved(metric) else "*") for metric in TITLES]
        rows.append([name, *cells])
    if results.claim:
        ceilings = (f"{results.ceilings[metric]:.4f}" for metric in TITLES)
        rows.append([f"ceiling, epsilon {float(results.claim.claimed_epsilon):.4g}", *ceilings])
    return rows


def _notes(results: AuditResults) -> list[str]:
    over = "records" if len(results.targets) == 1 else f"{len(results.targets)} targets"
    return [
        f"95 % intervals over {over}; members {_range(results.members)}, non-members {_range(results.nonmembers)}.",
        *(
            f"{_metric(name)}: members {cell(parts['members'])}, non-members {cell(parts['nonmembers'])}."
            for name, parts in results.performance.items()
        ),
        *loss_tails.in_words(results),
        f"Threshold of the attack accuracy: {results.threshold}.",
        *results.notes,
        *reasons_not_run(results.not_run),
    ]


def _metric(name: str) -> str:
    return f"Model {name}" if name == "accuracy" else name.capitalize()


def _slices(results: AuditResults, width: int | None) -> list[str]:
    """Returns the worst slices, and how many more there are."""
    if not results.slices:
        return []
    rows = [[f"slice, by {results.sliced_by}", *(TITLES[metric] for metric in SLICE_METRICS)]]
    for name in (worst := worst_first(results.slices))[:MAX_SLICES]:
        row = results.slices[name]
        cells = (cell(row[metric]) + ("" if resolved(row, metric) else "*") for metric in SLICE_METRICS)
        rows.append([name, *cells])
    more = len(worst) - MAX_SLICES
    notes = [f"The worst {MAX_SLICES} by AUC; {more} more are not shown."] if more > 0 else []
    if any(each.endswith("*") for row in rows for each in row):
        notes.append("* the slice's non-members are too few for that FPR: the TPR without a single false positive.")
    lines = [line for part in _blocks(rows, width) for line in ["", *aligned(part)]]
    return [*lines, *_wrapped(notes, width)]


def _wrapped(sentences: Sequence[str], width: int | None) -> list[str]:
    if width is None:
        return list(sentences)
    return [line for each in sentences for line in textwrap.wrap(each, width, subsequent_indent="  ")]


def _blocks(rows: list[list[str]], width: int | None) -> list[list[list[str]]]:
    """Returns the table, or several that repeat the first column: as many columns as fit, at least one."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) + 2 for column in columns]
    blocks, total = [], 0
    for i in range(1, len(columns)):
        total += widths[i]
        if i == 1 or (width is not None and widths[0] + total - 2 > width):
            blocks.append([columns[0]])
            total = widths[i]
        blocks[-1].append(columns[i])
    return [[list(row) for row in zip(*block, strict=True)] for block in blocks]


def _range(counts: tuple[int, ...]) -> str:
    return str(counts[0]) if min(counts) == max(counts) else f"{min(counts)}..{max(counts)}"
