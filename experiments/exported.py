"""A saved run as what a device runs: frozen, exported, read back and audited (scripts/export.py and scripts/audit.py).

The exported folder holds no membership and no record; export.json says which run it is of, by a digest, and which rows
the activations were calibrated on. It is written last: a folder without it, or with one of other files, is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import one_model
from gecko_jax import audit, checks, digests, export, files, integer, json_values
from gecko_jax.audit.reading.readings import Readings
from gecko_jax.audit.reading.recipe_checks import Shadows
from gecko_jax.integer import IntegerGraph
from gecko_jax.trees import row_blocks, take
from gecko_jax.types import Dataset

FORMAT, VERSION, RECORD = "gecko_jax export", 1, "export.json"
ARTIFACTS = {"c": "model.c", "tflite": "model.tflite", "onnx": "model.onnx"}
EXPORTERS = {"c": export.to_c, "tflite": export.to_tflite, "onnx": export.to_onnx}
MEMBERS, RANDOM = "members", "random"
ROWS_PER_CALL = 1024


class Calibration(NamedTuple):
    """The rows on which the ranges of activations are measured.

    Attributes:
      source: "members" (records that the model was trained on), "random" (numbers drawn evenly between low and high,
        which depend on no record), or the path of an .npz file with public rows x [n, ...].
      rows: how many at most; of members and of a file evenly spaced ones.
      low, high: ends of the random numbers.
    """

    source: str = MEMBERS
    rows: int = 256
    low: float = 0.0
    high: float = 1.0

    def record(self) -> dict[str, Any]:
        """Returns what export.json says: no path, because the folder leaves this machine."""
        if self.source == MEMBERS:
            return {"source": MEMBERS, "rows": self.rows}
        if self.source == RANDOM:
            return {"source": RANDOM, "rows": self.rows, "low": self.low, "high": self.high}
        return {"source": "file", "rows": self.rows, "sha256": digests.sha256(Path(self.source).read_bytes())}


def calibration_rows(calibration: Calibration, saved: one_model.Saved, data: Dataset, index: int) -> np.ndarray:
    """Returns the rows for model `index` of a run.

    Raises:
      ValueError: members of a private run, whose range would leave it without noise; a file without such rows.
    """
    checks.integer("rows", calibration.rows, 2)
    if calibration.source == MEMBERS:
        if saved.privacy is not None:
            raise ValueError(
                "the run is private, and calibration='members' would put the range of its training records into the "
                "exported network without noise: epsilon would no longer hold. Give public rows, "
                "--calibration=FILE.npz with x, or --calibration=random with --low and --high, which read no record."
            )
        return _spaced(data.train.x[np.flatnonzero(saved.member[index])], calibration.rows)
    if calibration.source == RANDOM:
        if not calibration.low < calibration.high:
            raise ValueError(f"low={calibration.low} must lie below high={calibration.high}.")
        shape = (calibration.rows, *data.train.x.shape[1:])
        return np.random.default_rng(0).uniform(calibration.low, calibration.high, shape).astype(np.float32)
    arrays, shape = files.read_arrays(calibration.source, ["x"]), data.train.x.shape[1:]
    if "x" not in arrays:
        raise ValueError(f"{calibration.source} holds no array x; expected public rows x {('n', *shape)}.")
    rows = checks.shape("x", arrays["x"], (None, *shape)).astype(np.float32)
    if saved.privacy is not None:
        _check_public(rows, data.train.x, calibration.source)
    return _spaced(rows, calibration.rows)


def _check_public(rows: np.ndarray, pool: np.ndarray, name: str) -> None:
    """Raises ValueError if rows that are said to be public are among those that members were drawn from."""
    known = {row.tobytes() for row in np.asarray(pool, np.float32)}
    count = sum(row.tobytes() in known for row in rows)
    if count:
        raise ValueError(
            f"{name} holds {count} rows of the private run's own data set, from which its members were drawn; their "
            "range would leave it without noise. Give public rows."
        )


def _spaced(x: np.ndarray, rows: int) -> np.ndarray:
    checks.not_empty("calibration rows", x)
    return x[np.linspace(0, len(x) - 1, min(rows, len(x))).astype(int)]


def freeze(saved: one_model.Saved, data: Dataset, index: int, calibration: Calibration) -> IntegerGraph:
    """Freezes model `index` of a run on its calibration rows."""
    if not 0 <= checks.integer("index", index, 0) < len(saved.member):
        raise ValueError(f"index={index} must be one of the run's models, 0 to {len(saved.member) - 1}.")
    rows = calibration_rows(calibration, saved, data, index)
    return integer.freeze(saved.model, take(saved.variables, index), rows)


def write(
    run: str | Path, output: str | Path, to: str, graph: IntegerGraph, index: int, calibration: Calibration
) -> Path:
    """Exports a network of a run, and last writes export.json.

    Raises:
      ValueError: a folder with an export in another form, whose files would stay beside the new ones.
    """
    checks.one_of("to", to, EXPORTERS)
    folder = Path(output)
    for form, artifact in ARTIFACTS.items():
        if form != to and (folder / artifact).exists():
            raise ValueError(f"output={str(folder)!r} holds {artifact}, an export to {form}; name another folder.")
    (folder / RECORD).unlink(missing_ok=True)  # it is of the old files
    EXPORTERS[to](graph, folder)
    content = {"format": FORMAT, "version": VERSION, "run": _digest(run), "index": index}
    content |= {"checksums": _digest(folder, "SHA256SUMS"), "calibration": calibration.record()}
    return files.write_atomic(folder / RECORD, json_values.dumps(content, indent=1))


def _digest(folder: str | Path, name: str = "model.json") -> str:
    return digests.sha256((Path(folder) / name).read_bytes())


class Deployed(NamedTuple):
    """An exported network, and how it came about.

    Attributes:
      graph: the network that the artifact computes.
      form: "c", "tflite" or "onnx".
      index: which of the run's models it is.
      calibration: what export.json says of its rows.
    """

    graph: IntegerGraph
    form: str
    index: int
    calibration: dict[str, Any]


def read(folder: str | Path, run: str | Path) -> Deployed:
    """Reads the network of an exported folder.

    Raises:
      ValueError: a folder that is not complete, was changed, or is of another run.
    """
    exported = export.read_exported(folder)
    try:
        content = json.loads((Path(folder) / RECORD).read_bytes())
        if (content["format"], content["version"]) != (FORMAT, VERSION):
            raise ValueError(f"its format is {content['format']!r}, version {content['version']!r}")
        if content["checksums"] != exported.digest:
            raise ValueError("it was written with other files")
        index, calibration = checks.integer("index", content["index"], 0), dict(content["calibration"])
        origin = content["run"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{str(folder)!r} has no valid {RECORD} ({error}); scripts/export.py writes it last. Export the run again."
        ) from error
    if origin != _digest(run):
        raise ValueError(
            f"{str(folder)!r} was exported from another run than {str(run)!r}: the members would be those of another "
            "model. Name its own run, or export this one again."
        )
    return Deployed(exported.graph, exported.form, index, calibration)


def predict(graph: IntegerGraph, x: np.ndarray) -> np.ndarray:
    """Returns the outputs of an integer network on any number of rows."""
    return np.concatenate([np.asarray(graph.predict(x[rows])) for rows in row_blocks(len(x), ROWS_PER_CALL)])


def audit_folder(
    folder: str | Path, run: str | Path, chosen: Any = None, calibration: str | None = None
) -> tuple[audit.Report, one_model.Guarantee | None]:
    """Audits an exported network: its own predictions, with the run's other models, frozen alike, as its shadows.

    Args:
      folder: of scripts/export.py.
      run: of scripts/train.py, that the folder was exported from.
      chosen: attacks, as `audit.audit` takes them.
      calibration: the .npz file that the export was calibrated on, if it was one; shadow models need it again.

    Returns:
      The report, and what the training promises.

    Raises:
      ValueError: as `read` does, and for another calibration file.
    """
    deployed = read(folder, run)
    saved, data = one_model.load(run)
    if deployed.index >= len(saved.member):
        raise ValueError(f"{str(folder)!r} names model {deployed.index}; the run has {len(saved.member)}.")
    if saved.privacy is not None and deployed.calibration.get("source") == MEMBERS:
        raise ValueError(f"{str(folder)!r} is of a private run, and was calibrated on its members: no epsilon holds.")
    member, epsilon = saved.member[deployed.index], one_model.claim(saved)
    coins = True if epsilon else None  # the coins of a run with a claim are fair
    shadows, others = None, [i for i in range(len(saved.member)) if i != deployed.index]
    if others:
        rows = _recorded(deployed.calibration, calibration)
        logits = np.stack([predict(freeze(saved, data, i, rows), data.train.x) for i in others])
        everyone = np.arange(len(data.train.y))
        shadows = Shadows(Readings(logits), saved.member[others], np.asarray(data.train.y), len(everyone), everyone)
    report = audit.audit_model(
        predict(deployed.graph, data.train.x), data.train.y, member, chosen, shadows,
        x=data.train.x, claimed_epsilon=epsilon, ids=data.train.id, coins=coins,
    )  # fmt: skip
    return report, saved.privacy


def _recorded(content: dict[str, Any], path: str | None) -> Calibration:
    """Returns the calibration that export.json describes; a file must be given again, and be the same."""
    if content.get("source") == MEMBERS:
        return Calibration(MEMBERS, content["rows"])
    if content.get("source") == RANDOM:
        return Calibration(RANDOM, content["rows"], content["low"], content["high"])
    if path is None:
        raise ValueError(
            "the export was calibrated on a file of public rows; shadow models need it: --calibration=FILE."
        )
    if digests.sha256(Path(path).read_bytes()) != content.get("sha256"):
        raise ValueError(
            f"--calibration={path} is not the file that the export was calibrated on: its SHA-256 differs."
        )
    return Calibration(path, content["rows"])
