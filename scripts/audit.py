"""Audits a saved model, or a file of predictions.

    python scripts/audit.py --model=runs/xnor
    python scripts/audit.py --predictions=outputs.npz      # logits or probs [n, c] or [m, n, c], y [n], member [(m,) n]
    python scripts/audit.py --predictions=outputs.npz --classes=cat,dog      # what the columns are, where y is text

A run of several models (scripts/train.py --models=8) is attacked with the others as shadows; a single one by thresholds
fitted on split halves, its gradients' among them. Figures go to a JSON file and to a page beside it, which shows the
training records that are most exposed. What attacks find bounds the leak from below. Of a model that was trained
privately the accounted epsilon, which bounds it from above, stands first, with the least epsilon under it that the
attacks show; where that exceeds it the command ends with 1, for then the training is not what was accounted for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

from experiments import command

MODEL = flags.DEFINE_string("model", None, "Folder that scripts/train.py saved a model in.")
PREDICTIONS = flags.DEFINE_string("predictions", None, "An .npz file with outputs, labels and membership.")
CLASSES = flags.DEFINE_list(
    "classes", None, "The label that each column of the predictions stands for, in order; the file's own if not set."
)
OUTPUT = flags.DEFINE_string("output", None, "Where the figures go, as JSON; audit.json beside the input if not set.")


def main(arguments: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # JAX says at INFO which accelerators it did not find
    if len(arguments) > 1 or (MODEL.value is None) == (PREDICTIONS.value is None):
        raise app.UsageError("give either --model=FOLDER or --predictions=FILE.npz")
    if CLASSES.value is not None and not PREDICTIONS.value:
        raise app.UsageError("--classes names the columns of --predictions; a saved model knows its own")
    beside = Path(MODEL.value) if MODEL.value else Path(PREDICTIONS.value).parent
    path = Path(OUTPUT.value or beside / "audit.json")
    if path.suffix == ".html" or path.is_dir():
        raise ValueError(f"--output={path} must be the name of a JSON file; the page goes beside it, as .html.")
    report, private = _saved(MODEL.value) if MODEL.value else (_predictions(PREDICTIONS.value), None)
    page = _write(path, report, f"Membership audit of {beside.name or 'predictions'}")
    print(report.table())
    if private and not report.claim:
        print(f"\naccounted for each model: {private['statement']}")
        if private["warning"]:
            print(f"WARNING: {private['warning']}")
    print(f"\nfigures: {path}   page: {page}")


def _predictions(path: str) -> Any:
    """The audit of a file of outputs; classes that are all whole numbers are numbers, as y is then."""
    from gecko_jax import audit  # here, so that Ctrl-C while JAX is loaded ends as it does later

    classes = CLASSES.value
    if classes and all(name.removeprefix("-").isdecimal() for name in classes):
        classes = [int(name) for name in classes]
    return audit.from_predictions(path, classes=classes)


def _write(path: Path, report: Any, title: str) -> Path:
    """The page, and last the figures with its digest; the old figures are gone before the new page is there."""
    from gecko_jax import files

    path.unlink(missing_ok=True)
    page = report.html(path.with_suffix(".html"), title=title)
    beside = [page, *([Path(MODEL.value) / "model.json"] if MODEL.value else [])]  # which names the model's own files
    digests = {each.name: files.digest(each.read_bytes()) for each in beside}
    figures = json.loads(report.to_json()) | {"files": digests}
    files.write_atomic(path, json.dumps(figures, indent=1, allow_nan=False))
    return page


def _saved(folder: str) -> tuple[Any, dict[str, Any] | None]:
    """The audit of a saved run, and its record of privacy."""
    from experiments import one_model
    from gecko_jax import audit, training
    from gecko_jax.trees import take

    saved, data = one_model.load(folder)
    x, y, ids = data.train
    epsilon = one_model.claim(saved)
    if len(saved.member) == 1:
        parts = (take(data.train, np.flatnonzero(rows)) for rows in (saved.member[0], ~saved.member[0]))
        return audit.audit(saved.model, *parts, variables=take(saved.variables, 0), epsilon=epsilon), saved.privacy
    logits = training.predict_ensemble(saved.model, saved.variables, x)
    return audit.audit_models(logits, y, saved.member, epsilon=epsilon, x=x, ids=ids), saved.privacy


if __name__ == "__main__":
    command.absl_main("audit", lambda: app.run(main))
