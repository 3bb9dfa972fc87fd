"""Audits a saved model, or a file of predictions.

    python scripts/audit.py --model=runs/xnor                # or runs/fine_tuned, of scripts/fine_tune.py
    python scripts/audit.py --model=runs/xnor --exported=fw/   # the integer network that scripts/export.py wrote of it
    python scripts/audit.py --predictions=outputs.npz      # logits or probs [n, c] or [m, n, c], y [n], member [(m,) n]
    python scripts/audit.py --predictions=outputs.npz --classes=cat,dog      # what the columns are, if y is text
    python scripts/audit.py --predictions=losses.npz       # loss or another signal, [n] or [m, n], member alike;
                                                           # loss@pretrained [n], of a reference model; users [n];
                                                           # slice:night [n]; population_loss, population_logits
    python scripts/audit.py --model=runs/private --beside=runs/plain         # two audits on one page
    python scripts/audit.py --model=runs/xnor --attacks=lira,rmia --max_tpr_at_1pct=.05 --title="1-bit network"

A run of several models (scripts/train.py --models=8) is attacked with the others as shadows; a single one by thresholds
fitted on split halves. Every listed attack runs whose needs are met, but for the slow ones, which --attacks=all or
their names ask for; the report says which did not run, and why. Figures go to a JSON file and to a page beside it,
which lists the training records that are most exposed and, with --pictures, shows them. What attacks find bounds the
leak from below. Of a model that was trained privately the accounted epsilon, which bounds it from above, stands first,
with the empirical lower bound that the attacks show under it.

The exit status is 0, or 1 if a figure is not below its --max_..., or if the lower bound exceeds the accounted epsilon:
then the training is not what was accounted for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

from experiments import command

MODEL = flags.DEFINE_string("model", None, "Folder that scripts/train.py or scripts/fine_tune.py saved a model in.")
PREDICTIONS = flags.DEFINE_string("predictions", None, "An .npz file with outputs, labels and membership.")
CLASSES = flags.DEFINE_list(
    "classes", None, "The label that each column of the predictions stands for, in order; the file's own if not set."
)
POPULATION = flags.DEFINE_string(
    "population", None, "An .npz file like --predictions, by the same models, of records that none was trained on."
)
OUTPUT = flags.DEFINE_string("output", None, "Where the figures go, as JSON; audit.json beside the input if not set.")
EXPORTED = flags.DEFINE_string(
    "exported", None, "Folder of scripts/export.py, of --model: its integer network is audited in place of the model."
)
CALIBRATION = flags.DEFINE_string(
    "calibration", None, "The .npz file that --exported was calibrated on, if any; shadow models need it again."
)

BESIDE = flags.DEFINE_string("beside", None, "A second saved model or .npz file, audited on the same page.")
TITLE = flags.DEFINE_string("title", None, "Heading of the page.")
ATTACKS = flags.DEFINE_list("attacks", [], "Names of gecko_jax.attacks.ATTACKS, or all: the slow ones, too.")
GATES = {
    metric: flags.DEFINE_float(f"max_{metric}", None, f"Exit with 1 unless every attack's {what} is below, 0..1.")
    for metric, what in (
        ("auc", "AUC"),
        ("attack_accuracy", "balanced accuracy"),
        ("tpr_at_1pct", "TPR at 1 % FPR"),
        ("tpr_at_0p1pct", "TPR at 0.1 % FPR"),
    )
}
UPPER = flags.DEFINE_bool("upper", False, "Compare --max_... with the upper end of the 95 % interval.")
THRESHOLDS = flags.DEFINE_bool("thresholds_are_enough", False, "Pass a model that no shadow models were tried on.")
PICTURES = flags.DEFINE_bool("pictures", False, "Show the most exposed training records on the page, if pictures.")


def main(arguments: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)  # JAX says at INFO which accelerators it did not find
    if len(arguments) > 1 or bool(MODEL.value) == bool(PREDICTIONS.value):
        raise app.UsageError("give either --model=FOLDER or --predictions=FILE.npz")
    if CLASSES.value is not None and not PREDICTIONS.value:
        raise app.UsageError("--classes names the columns of --predictions; a saved model knows its own")
    if POPULATION.value is not None and (MODEL.value or BESIDE.value):
        raise app.UsageError("--population is of the models of --predictions: leave out --model and --beside")
    if EXPORTED.value and not MODEL.value:
        raise app.UsageError("--exported holds no membership: name the run that it was exported from, --model=FOLDER")
    if CALIBRATION.value and not EXPORTED.value:
        raise app.UsageError("--calibration is of --exported: leave it out")
    beside = Path(MODEL.value) if MODEL.value else Path(PREDICTIONS.value).parent
    path = Path(OUTPUT.value or beside / ("audit_exported.json" if EXPORTED.value else "audit.json"))
    if path.suffix == ".html" or path.is_dir():
        raise ValueError(f"--output={path} must be the name of a JSON file; the page goes beside it, as .html.")
    chosen = _attacks(ATTACKS.value)
    bounds = {metric: flag.value for metric, flag in GATES.items() if flag.value is not None}
    if bounds:
        _check_bounds(bounds)  # before minutes of work
    if EXPORTED.value:
        from experiments import exported

        report, private = exported.audit_folder(EXPORTED.value, MODEL.value, chosen, CALIBRATION.value)
    else:
        report, private = _audited(MODEL.value or PREDICTIONS.value, chosen)
    other = _audited(BESIDE.value, chosen)[0] if BESIDE.value else None
    what = f"{beside.name or 'predictions'}{', as exported' if EXPORTED.value else ''}"
    page = _write(path, report, TITLE.value or f"Membership audit of {what}", other)
    print(report)
    if private and not report.claim:
        print(f"\naccounted for each model: {private.epsilon}")
        if private.warning:
            print(f"WARNING: {private.warning}")
    print(f"\nfigures: {path}   page: {page}")
    if bounds:
        _gate(report, bounds)


def _check_bounds(bounds: dict[str, float]) -> None:
    from gecko_jax.audit.report import gate

    try:
        gate.check_bounds(bounds)
    except ValueError as error:
        raise ValueError(f"--max_{error}") from None


def _gate(report: Any, bounds: dict[str, float]) -> None:
    """Ends the program with 1, and a line for each figure that is not below its bound."""
    try:
        report.assert_below(upper=UPPER.value, thresholds_are_enough=THRESHOLDS.value, **bounds)
    except AssertionError as error:
        raise SystemExit(f"audit: {error}") from None
    except ValueError as error:
        raise ValueError(f"{error} Here that is --thresholds_are_enough.") from None
    print("below every bound: " + ", ".join(f"{metric} {bound:g}" for metric, bound in bounds.items()))


def _audited(source: str, chosen: Any) -> tuple[Any, Any]:
    """Returns the audit of a folder or of a file, and what the training of the former promises."""
    if Path(source).is_dir() or source == MODEL.value:
        return _saved(source, chosen)
    return _predictions(source, chosen), None


def _attacks(names: list[str]) -> Any:
    """Returns what `audit` takes: None for those that run unasked, "all", or names, checked before minutes of work."""
    if names in ([], ["all"]):
        return names[0] if names else None
    from gecko_jax import attacks, checks

    for name in names:
        checks.lookup("attacks", name, attacks.ATTACKS)
    return names


def _predictions(path: str, chosen: Any) -> Any:
    """Returns the audit of a file of outputs or of signals; classes that are all integers are class numbers."""
    from gecko_jax import audit  # here, so that Ctrl-C while JAX is loaded ends as it does later

    classes = CLASSES.value
    if classes and all(name.removeprefix("-").isdecimal() for name in classes):
        classes = [int(name) for name in classes]
    return audit.from_predictions(path, chosen, classes=classes, population=POPULATION.value)


def _write(path: Path, report: Any, title: str, other: Any = None) -> Path:
    """Writes the page, and last the figures with its digest; the old figures are gone before the new page is there."""
    from gecko_jax import audit, digests, files, json_values

    path.unlink(missing_ok=True)
    page = path.with_suffix(".html")
    if other is None:
        report.html(page, title, pictures=PICTURES.value)
    else:
        names = _names(EXPORTED.value or MODEL.value or PREDICTIONS.value, BESIDE.value)
        audit.page(page, dict(zip(names, (report, other), strict=True)), title, pictures=PICTURES.value)
    beside = [page, *([Path(MODEL.value) / "model.json"] if MODEL.value else [])]  # which names the model's own files
    beside += [Path(EXPORTED.value) / "SHA256SUMS"] if EXPORTED.value else []
    hashes = {each.name: digests.sha256(each.read_bytes()) for each in beside}
    figures = json.loads(report.to_json()) | {"files": hashes}
    files.write_atomic(path, json_values.dumps(figures, indent=1))
    return page


def _names(first: str, second: str) -> tuple[str, str]:
    """Returns what the page calls two audits: the last parts of their paths, or the paths if these are the same."""
    short = (Path(first).name, Path(second).name)
    return short if len(set(short)) == 2 and all(short) else (first, second)


def _saved(folder: str, chosen: Any) -> tuple[Any, Any]:
    """The audit of a saved run, and what its training promises."""
    from experiments import fine_tuned, one_model
    from gecko_jax import audit
    from gecko_jax.trees import take

    if fine_tuned.is_run(folder):
        run = fine_tuned.load(folder)
        return fine_tuned.audit_run(run, chosen), None  # the report has what was accounted, as its page does
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
            coins=True if epsilon else None,  # the coins of a run with a claim are fair
        )
    else:
        report = audit.audit_ensemble(saved.model, saved.variables, data.train, saved.member, chosen, epsilon)
    return report, saved.privacy


if __name__ == "__main__":
    command.absl_main("audit", lambda: app.run(main))
