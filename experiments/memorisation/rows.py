"""Trains and measures the models of one row, one after the other; each is kept on disk as soon as it is measured.

A row's file is found again only for the same settings, text, base and code, so that a killed study goes on where it
was and never mixes two runs.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments import flags, studies
from experiments.memorisation import reading, train
from experiments.memorisation.bases import Bases
from experiments.memorisation.config import QUARTERS, Config
from experiments.memorisation.data import Corpus, Trial, trial
from experiments.memorisation.methods import METHODS
from gecko_jax import costs, hosts, reports
from gecko_jax.digests import value_digest
from gecko_jax.files import write_atomic
from gecko_jax.json_values import dumps
from gecko_jax.trees import named_leaves, take

POINTS = ("upper", "crossing", "best")
NOT_IN_A_ROW = ("output", "tables", "methods", "ablations", "models", "small_width")  # settings that no row depends on


class Measured(NamedTuple):
    """The figures of a row.

    Attributes:
      method: its name.
      rate: the learning rate that validation chose.
      tried: {rate: its validation perplexity} of all that were tried.
      parameters: numbers that are trained.
      bytes: of the model as it is deployed.
      epsilon: the budget that is spent, or None.
      start: validation perplexity before fine-tuning.
      courses: for each model its validation perplexities, one a quarter of an epoch.
      figures: {"crossing": for each model its figures, or None if it never crosses; "upper", "best": likewise}.
      note: what was done to the base, or "".
      seconds: of CPU that the row took.
    """

    method: str
    rate: float
    tried: dict[str, float]
    parameters: int
    bytes: float
    epsilon: float | None
    start: float
    courses: list[list[float]]
    figures: dict[str, list[dict[str, float] | None]]
    note: str
    seconds: float


class Study(NamedTuple):
    """What all rows share, and what was computed of it before."""

    config: Config
    corpus: Corpus
    bases: Bases
    memo: dict[str, Any]


def measured(study: Study, name: str) -> Measured:
    """Returns the figures of a row, from its file as far as that holds them.

    Args:
      study: what all rows share.
      name: of the method.
    """
    config, method = study.config, METHODS[name]
    base = study.bases[method.base]
    settings = {key: value for key, value in flags.to_dict(config).items() if key not in NOT_IN_A_ROW}
    variables = [leaf for _, leaf in named_leaves(base.variables)]
    program = studies.code_digest(), dumps(reports.environment()["versions"])  # another JAX rounds differently
    key = value_digest(dumps(settings), dumps(method), study.corpus.digest, *variables, *program)
    path = Path(config.output) / "rows" / f"{name}.json"
    record = hosts.from_main(lambda: _read(path, key))
    prepared = None
    for seed in range(config.models):
        if str(seed) in record["models"]:
            continue
        before = time.process_time()
        if prepared is None:
            x, fixed = study.corpus.validation.causal().x, study.bases["float"].perplexity
            prepared = train.prepare(config, method, base, fixed, x)
        if "rate" not in record:
            sample = trial(config, study.corpus, config.models)  # a seed that no model of the row has
            record["rate"], record["tried"] = train.tune(config, prepared, sample, method.rate)
            record["parameters"] = train.trained_parameters(prepared)
            cost = costs.cost(prepared.model, take(prepared.starts, 0), sample.train.x[:1])
            record["bytes"] = cost.deployed_bytes.value
            record["note"] = base.note
            record["epsilon"] = None if prepared.private is None else float(prepared.private.epsilon)
        sample = trial(config, study.corpus, seed)
        record["models"][str(seed)] = _one(study, prepared, sample, record["rate"])
        record["seconds"] = record.get("seconds", 0.0) + time.process_time() - before
        write_atomic(path, dumps(record, indent=1))
        print(f"  {method.label}, model {seed + 1} of {config.models}", flush=True)
    models = [record["models"][str(seed)] for seed in range(config.models)]
    return Measured(
        method=name,
        tried={rate: float(value) for rate, value in record["tried"].items()},
        start=base.perplexity,
        courses=[list(map(float, model["course"])) for model in models],
        figures={point: [model[point] for model in models] for point in POINTS},
        **{key: record[key] for key in ("rate", "parameters", "bytes", "epsilon", "note", "seconds")},
    )


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = {}
    return record if record.get("key") == key else {"key": key, "models": {}}


def _one(study: Study, prepared: train.Prepared, sample: Trial, rate: float) -> dict[str, Any]:
    """Trains one model and measures it at each point."""
    config = study.config
    course = train.follow(config, prepared, sample, rate, config.epochs)
    reference = study.bases.losses(prepared.base.name, sample)
    result: dict[str, Any] = {"course": course.perplexities}
    points: dict[int, dict[str, float]] = {}
    for name in POINTS:
        point = getattr(course, name)
        if point is None:
            result[name] = None
            continue
        if point.quarter in points:  # two points of one evaluation
            result[name] = points[point.quarter]
            continue
        target = reading.trial_losses(prepared.model, point.variables, sample)
        canaries = reading.canary_figures(
            prepared.model, point.variables, sample.canaries, study.corpus.tokenizer, config.length
        )
        result[name] = points[point.quarter] = {
            "perplexity": point.perplexity,
            "epochs": point.quarter / QUARTERS,
            **reading.membership(target, reference),
            **canaries,
        }
    return result


def mean_course(row: Measured) -> tuple[list[float], list[float]]:
    """Returns (epochs, perplexity) of the mean course, as far as all models of the row went."""
    length = min(map(len, row.courses))
    mean = np.mean([course[:length] for course in row.courses], axis=0)
    return (np.arange(length) / QUARTERS).tolist(), mean.tolist()

