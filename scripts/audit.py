"""Audits a saved model, or a file of predictions.

    python scripts/audit.py --model=runs/xnor
    python scripts/audit.py --predictions=outputs.npz      # logits or probs [n, c] or [m, n, c], y [n], member [(m,) n]

A run of several models (scripts/train.py --models=8) is attacked with thresholds chosen on the others; a single one by
split halves. What attacks find bounds the leak from below; of a model that was trained privately the accounted epsilon,
which bounds it from above, is printed beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import app, flags, logging

from gecko_jax import audit, reports

MODEL = flags.DEFINE_string("model", None, "Folder that scripts/train.py saved a model in.")
PREDICTIONS = flags.DEFINE_string("predictions", None, "An .npz file with outputs, labels and membership.")
OUTPUT = flags.DEFINE_string("output", None, "Where the figures go, as JSON; audit.json beside the input if not set.")


def main(arguments: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # JAX says at INFO which accelerators it did not find
    if len(arguments) > 1 or (MODEL.value is None) == (PREDICTIONS.value is None):
        raise app.UsageError("give either --model=FOLDER or --predictions=FILE.npz")
    try:
        report, private = _saved(MODEL.value) if MODEL.value else (audit.from_predictions(PREDICTIONS.value), None)
        beside = Path(MODEL.value) if MODEL.value else Path(PREDICTIONS.value).parent
        path = reports.write_atomic(OUTPUT.value or beside / "audit.json", report.to_json())
    except (OSError, ValueError) as error:
        raise SystemExit(f"audit: {error}") from error
    print(report.table())
    if private:
        print(f"\naccounted for each model: {private['statement']}")
        if private["warning"]:
            print(f"WARNING: {private['warning']}")
    print(f"\nfigures: {path}")


def _saved(folder: str) -> tuple[audit.Report, dict[str, Any] | None]:
    """The audit of a saved run, and its record of privacy."""
    from experiments import one_model
    from gecko_jax import training

    saved, data = one_model.load(folder)
    logits = training.predict_ensemble(saved.model, saved.variables, data.train.x)
    if len(logits) == 1:
        return audit.audit_model(logits[0], data.train.y, saved.member[0]), saved.privacy
    return audit.audit_models(logits, data.train.y, saved.member), saved.privacy


if __name__ == "__main__":
    app.run(main)
