"""The grid: every row of a study lies in a folder of its own, and is measured once.

A row's folder, rows/<network>/<method>, holds its audit, its packed file and a record of it as a study of one row. A
record with today's settings, data, code and versions is read instead of made again: a run that is killed loses none of
the rows that it had finished, and a row that was run alone is taken over by the run of all. Settings that a row does
not read are not in its record, so that to change them leaves it as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import flags, studies
from experiments.common import filled_columns, members, paths_below
from experiments.gecko import beside
from experiments.gecko.config import Config, with_needs
from experiments.gecko.measure import ATTACK, COLUMNS, measured
from experiments.gecko.methods import METHODS
from experiments.gecko.presets import PRESETS
from experiments.gecko.published import published
from experiments.gecko.train import Trainer, membership
from gecko_jax import datasets, keys, reports
from gecko_jax.digests import array_digest
from gecko_jax.trees import take
from gecko_jax.types import Dataset, Examples

PLACES = ("output", "data_dir")  # settings that change no figure
PARTS = {  # kind of exhibit -> the field that holds its parts, one or several a row
    reports.CostBreakdowns: "breakdowns",
    reports.Histograms: "histograms",
    reports.ReliabilityDiagrams: "diagrams",
    reports.RocCurves: "curves",
    reports.TrainingCurves: "curves",
}


class Cell(NamedTuple):
    """A row of the table.

    Attributes:
      network, method: names.
      study: of this row alone; None for a network that cannot be made so.
      why_not: the reason; "" for a finished row.
    """

    network: str
    method: str
    study: reports.Study | None
    why_not: str = ""


def load(config: Config) -> tuple[Dataset, Examples | None]:
    """Returns the config's data set, its training file cut to `records`, and the reference rows taken out of that."""
    data = datasets.load(config.dataset, config.data_dir)
    n = min(config.records or len(data.train.y), len(data.train.y))
    if not config.reference:
        return data._replace(train=take(data.train, np.arange(n))), None
    order = keys.generator(config.seed, "reference").permutation(n)
    aside, pool = np.sort(order[: round(config.reference * n)]), np.sort(order[round(config.reference * n) :])
    return data._replace(train=take(data.train, pool)), take(data.train, aside)


def study(config: Config) -> reports.Study:
    """Returns the table of one data set; what of it is finished already is read."""
    data, reference = load(config)
    member = membership(config, data)
    return table(config, member, cells(config, data, member, reference))


def cells(config: Config, data: Dataset, member: np.ndarray, reference: Examples | None = None) -> list[Cell]:
    """Returns the rows, finished ones read from their folders and the others trained and measured.

    Args:
      config: the settings, of one data set.
      data: it.
      member: bool [m, n], who trains on what.
      reference: rows that are neither.
    """
    order = [(index, name) for index in range(len(config.architectures)) for name in METHODS if name in config.methods]
    asked = {each: identity(config, *each, data, reference) for each in order}
    done = {each: studies.finished(folder(config, *each), wanted) for each, wanted in asked.items()}
    missing = [each for each in order if done[each] is None]
    reasons = {each: why for each in missing if (why := impossible(config, *each, data))}
    if reasons and len(reasons) == len(order):
        raise ValueError("; ".join(dict.fromkeys(reasons.values())))
    missing = [each for each in missing if each not in reasons]
    if missing:
        with Trainer(config, data, member, missing, reference) as trainer:
            for each in missing:
                done[each] = _make(config, data, member, trainer, each, asked[each])
    places = config.places()
    wanted = [(index, name) for index in range(len(config.architectures)) for name in config.methods]
    return [
        Cell(places[index].network, name, done[index, name], reasons.get((index, name), "")) for index, name in wanted
    ]


def impossible(config: Config, index: int, method: str, data: Dataset) -> str:
    """Returns why a network cannot be what a method makes of it, or be taught by its teacher; "" if it can."""
    network = config.places()[index].network
    try:
        teacher = config.teacher(network, method)
        for each, name in [(network, name) for name in with_needs((method,))] + [(teacher, "full")] * bool(teacher):
            model = config.network(each, name, data.num_classes)
            shapes = jax.eval_shape(model.init, jax.random.key(0), data.train.x[:1])
            jax.eval_shape(functools.partial(model.apply, train=True), shapes, data.train.x[:2], key=jax.random.key(0))
    except ValueError as error:
        return f"{network}, {METHODS[method].label}: {error}"
    return ""


def identity(
    config: Config, index: int, method: str, data: Dataset, reference: Examples | None = None
) -> dict[str, Any]:
    """Returns what a row's figures are a function of, beside the code: the settings and the data that it reads."""
    cell = config.cell(index, method)
    idle = cell.idle()
    settings = {name: value for name, value in flags.to_dict(cell).items() if name not in idle and name not in PLACES}
    parts = [data.train.x, data.train.y, data.train.id, data.test.x, data.test.y]
    if reference is not None and METHODS[method].reads_reference:
        parts += [reference.x, reference.y]
    return settings | {"data": array_digest(*parts)}


def folder(config: Config, index: int, method: str) -> Path:
    """Returns the folder of a row."""
    return Path(config.output) / "rows" / config.places()[index].network / method


def _make(config, data, member, trainer: Trainer, each: tuple[int, str], settings: dict[str, Any]) -> reports.Study:
    where = folder(config, *each)
    row = measured(config, data, member, trainer.train(*each), where)
    record = studies.record_of(config, range(config.models)) | row.record | {"config": settings}
    return reports.write_record(where, dataclasses.replace(row, record=record))


def table(config: Config, member: np.ndarray, cells: Sequence[Cell]) -> reports.Study:
    """Returns the study of finished rows.

    Args:
      config: the settings.
      member: bool [m, n], who trained on what.
      cells: the rows in their order; those that cannot be made are named below the table.
    """
    left_out = tuple(f"Left out: {cell.why_not}" for cell in cells if cell.why_not)
    cells = [cell for cell in cells if not cell.why_not]
    several = len(config.architectures) > 1
    names = [
        f"{cell.network}: {METHODS[cell.method].label}" if several else METHODS[cell.method].label for cell in cells
    ]
    rows = [
        cell.study.rows[0]._replace(
            name=name,
            group=cell.network if several else "",
            published=published(config.dataset, cell.network, cell.method),
            command=command(config, config.architectures.index(cell.network), cell.method),
        )
        for name, cell in zip(names, cells, strict=True)
    ]
    written = [
        folder(config, config.architectures.index(cell.network), cell.method) / file
        for cell in cells
        for file in (*cell.study.record["files"], "record.json", "results.csv")
    ]
    return reports.Study(
        title=f"Gecko on {config.dataset}",
        summary=_summary(config, member),
        rows=tuple(rows),
        columns=filled_columns(COLUMNS, rows, config.delta),
        exhibits=(reports.Tradeoff("test", "auc", "bytes"), *beside.exhibits(config, rows), *_joined(names, cells)),
        notes=reports.Notes("", tuple(dict.fromkeys(w for c in cells for w in c.study.notes.warnings)), left_out),
        record={
            "timings": {f"{c.network}/{c.method}": c.study.record["timings"]["training"] for c in cells},
            "attack": ATTACK,
            "privacy": {f"{c.network}/{c.method}": text for c in cells if (text := c.study.record["privacy"])},
            "files": paths_below(config.output, written),
        },
    )


def _joined(names: Sequence[str], cells: Sequence[Cell]) -> list[Any]:
    """Returns the exhibits of all rows, those of one name as one, each part under its row's name in this table."""
    joined: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        label = cell.study.rows[0].name
        for exhibit in cell.study.exhibits:
            field = PARTS[type(exhibit)]
            parts = tuple(part._replace(name=name + part.name[len(label) :]) for part in getattr(exhibit, field))
            earlier = getattr(joined[exhibit.name], field) if exhibit.name in joined else ()
            joined[exhibit.name] = exhibit._replace(**{field: (*earlier, *parts)})
    return list(joined.values())


def command(config: Config, index: int, method: str) -> str:
    """Returns one line of shell that makes a row again: the preset with the fewest other settings, and these.

    >>> command(Config(dense=64), 0, "full")
    'python -m experiments.gecko.run --preset=quick --methods=full --hidden=512,512,512'
    """
    cell = config.cell(index, method)
    idle, lines = cell.idle(), []
    for name, preset in PRESETS.items():
        changed = {
            field.name: flags.text(value)
            for field in dataclasses.fields(cell)
            if (value := getattr(cell, field.name)) != getattr(preset, field.name)
            and (field.name not in idle and field.name != "output" or field.name == "methods")
        }
        words = [f"--preset={name}", *(f"--{key}={shlex.quote(value)}" for key, value in changed.items())]
        lines.append(" ".join(["python -m experiments.gecko.run", *words]))
    return min(lines, key=lambda line: line.count(" --"))


def _summary(config: Config, member: np.ndarray) -> str:
    return (
        "Accuracy, membership leakage and cost of the same network under different quantization and training. Each "
        f"row is {config.models} models, each trained on its own random members ({members(member)} examples); every "
        "model is attacked in turn, with thresholds chosen on the others. Figures are means with 95 % intervals over "
        f"the models; the attack is {ATTACK.replace('_', ' ')}, the other attacks are in rows/*/*/audit.json."
    )
