"""Audits a saved model, or a file of predictions.

    python scripts/audit.py --model=runs/xnor
    python scripts/audit.py --predictions=outputs.npz      # logits or probs [n, c] or [m, n, c], y [n], member [(m,) n]
    python scripts/audit.py --predictions=outputs.npz --classes=cat,dog      # what the columns are, where y is text

A run of several models (scripts/train.py --models=8) is attacked with the others as shadows; a single one by thresholds
fitted on split halves. Every listed attack runs whose needs are met, but for the slow ones, which --attacks=all or
their names ask for; the report says which did not run, and why. Figures go to a JSON file and to a page beside it,
which lists the training records that are most exposed and, with --pictures, shows them. What attacks find bounds the
leak from below. Of a model that was trained privately the accounted epsilon, which bounds it from above, stands first,
with the least epsilon under it that the attacks show; where that exceeds it the command ends with 1, since then the
training is not what was accounted for.
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

ATTACKS = flags.DEFINE_list("attacks", [], "Names of gecko_jax.attacks.ATTACKS, or all: the slow ones, too.")
PICTURES = flags.DEFINE_bool("pictures", False, "Show the most exposed training records on the page, if pictures.")


def main(arguments: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # JAX says at INFO which accelerators it did not find
    if len(arguments) > 1 or bool(MODEL.value) == bool(PREDICTIONS.value):
        raise app.UsageError("give either --model=FOLDER or --predictions=FILE.npz")
    if CLASSES.value is not None and not PREDICTIONS.value:
        raise app.UsageError("--classes names the columns of --predictions; a saved model knows its own")
    beside = Path(MODEL.value) if MODEL.value else Path(PREDICTIONS.value).parent
    path = Path(OUTPUT.value or beside / "audit.json")
    if path.suffix == ".html" or path.is_dir():
        raise ValueError(f"--output={path} must be the name of a JSON file; the page goes beside it, as .html.")
    chosen = _attacks(ATTACKS.value)
    if MODEL.value:
        report, private = _saved(MODEL.value, chosen)
    else:
        report, private = _predictions(PREDICTIONS.value, chosen), None
    page = _write(path, report, f"Membership audit of {beside.name or 'predictions'}")
    print(report)
    if private and not report.claim:
        print(f"\naccounted for each model: {private['statement']}")
        if private["warning"]:
            print(f"WARNING: {private['warning']}")
    print(f"\nfigures: {path}   page: {page}")


def _attacks(names: list[str]) -> Any:
    """What `audit` takes: None for those that run unasked, "all", or the named attacks."""
    if names in ([], ["all"]):
        return names[0] if names else None
    from gecko_jax import attacks, checks

    return [checks.lookup("attacks", name, attacks.ATTACKS)() for name in names]


def _predictions(path: str, chosen: Any) -> Any:
    """The audit of a file of outputs; classes that are all whole numbers are numbers, as y is then."""
    from gecko_jax import audit  # here, so that Ctrl-C while JAX is loaded ends as it does later

    classes = CLASSES.value
    if classes and all(name.removeprefix("-").isdecimal() for name in classes):
        classes = [int(name) for name in classes]
    return audit.from_predictions(path, chosen, classes=classes)


def _write(path: Path, report: Any, title: str) -> Path:
    """The page, and last the figures with its digest; the old figures are gone before the new page is there."""
    from gecko_jax import digests, files, json_values

    path.unlink(missing_ok=True)
    page = report.html(path.with_suffix(".html"), title, pictures=PICTURES.value)
    beside = [page, *([Path(MODEL.value) / "model.json"] if MODEL.value else [])]  # which names the model's own files
    hashes = {each.name: digests.sha256(each.read_bytes()) for each in beside}
    figures = json.loads(report.to_json()) | {"files": hashes}
    files.write_atomic(path, json_values.dumps(figures, indent=1))
    return page


def _saved(folder: str, chosen: Any) -> tuple[Any, dict[str, Any] | None]:
    """The audit of a saved run, and its record of privacy."""
    from experiments import one_model
    from gecko_jax import audit
    from gecko_jax.trees import take

    saved, data = one_model.load(folder)
    epsilon = one_model.claim(saved)
    if len(saved.member) == 1:
        parts = (take(data.train, np.flatnonzero(rows)) for rows in (saved.member[0], ~saved.member[0]))
        report = audit.audit(
            saved.model,
            *parts,
            variables=take(saved.variables, 0),
            attacks=chosen,
            claimed_epsilon=epsilon,
            coins=True if epsilon else None,  # where there is a claim to hold against, the run's coins are fair
        )
    else:
        report = audit.audit_ensemble(saved.model, saved.variables, data.train, saved.member, chosen, epsilon)
    return report, saved.privacy


if __name__ == "__main__":
    command.absl_main("audit", lambda: app.run(main))
