"""Measures what each row leaks, is worth and gives away of its sibling: settings in, a `reports.Study` out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from experiments.common import TEST, TRAIN, accuracies, attack_figures, members
from experiments.siblings.config import Config
from experiments.siblings.train import Data, Trained, Trainer, each, load
from gecko_jax import audit, metrics, probes, reports, training
from gecko_jax.types import Estimate

ATTACKS = ("lira", "rmia", "modified_entropy", "gap")
COLUMNS = (
    TRAIN,
    TEST,
    reports.Column("lira_tpr_at_1pct", "LiRA TPR @ 1% FPR", "%", 2, "low"),
    reports.Column("lira_auc", "LiRA AUC", "", 3, "low"),
    reports.Column("rmia_auc", "RMIA AUC", "", 3, "low"),
    reports.Column("entropy_attack", "Threshold attack accuracy", "%", 2, "low"),
    reports.Column("label_attack", "Label-only attack accuracy", "%", 2, "low"),
    reports.Column("transfer", "Adversarial examples that transfer", "%", 2, "low"),
)
LEAKS = {
    "lira": {"tpr_at_1pct": "lira_tpr_at_1pct", "auc": "lira_auc"},
    "rmia": {"auc": "rmia_auc"},
    "modified_entropy": {"attack_accuracy": "entropy_attack"},
    "gap": {"attack_accuracy": "label_attack"},
}
KNOWLEDGE, ROUNDED, QUANTIZED, SIBLINGS = (
    "released in its place", "rounded after training", "quantized in training", "published beside it",
)  # fmt: skip


def study(config: Config) -> reports.Study:
    """Returns the table."""
    data = load(config)
    rows = []
    for name, group, row, large in _rows(config, Trainer(config, data)):
        figures = accuracies(row, data.pool, data.member) | _leaks(row, data)
        if large is not None:
            figures["transfer"] = _transfer(config, row, large, data)
        figures.pop("ece")
        rows.append(reports.Row(name, figures, group))
    return reports.Study(
        title=f"What relatives of a network leak, on {config.dataset}",
        summary=f"Each row is {config.models} models, each trained on its own random members ({members(data.member)} "
        "examples); every model is attacked in turn with the help of the others of its row, which were made in the "
        "same way. Figures are means with 95 % intervals over the models.",
        rows=tuple(rows),
        columns=COLUMNS,
        exhibits=(reports.Tradeoff("test", "lira_auc", "lira_tpr_at_1pct"),),
    )


def _rows(config: Config, trainer: Trainer) -> Iterator[tuple[str, str, Trained, Trained | None]]:
    """Yields (name, group, models, the large models whose relatives they are, or None)."""
    full = trainer.defended("undefended")
    yield "full precision", "", full, None
    yield "DMP", KNOWLEDGE, trainer.defended("dmp"), None
    yield "KCD", KNOWLEDGE, trainer.defended("kcd", folds=config.folds), None
    settings = {"submodels": config.submodels, "withheld": config.withheld}
    yield "SELENA", KNOWLEDGE, trainer.defended("selena", **settings), None
    for name, options in (("kullback_leibler", {}), ("continuation", {}), ("mixacm", {"layers": ["block1"]})):
        label = f"student, {name.replace('_', ' ')}"
        yield label, KNOWLEDGE, trainer.distilled(name, config.hidden, full, **options), None
    for bits in (*config.bits, None):
        yield f"{_bits(bits)}, rounded", ROUNDED, trainer.rounded(full, bits), None
    for bits in (*config.bits, None):
        yield f"{_bits(bits)}, trained", QUANTIZED, trainer.quantized(bits), None
    small = trainer.distilled("kullback_leibler", config.small, full)
    yield "small sibling", SIBLINGS, small, full
    yield "small sibling by an assistant", SIBLINGS, trainer.assisted(full), full
    yield "small sibling, trained on", SIBLINGS, trainer.trained_on(small), full
    yield "small sibling, unpaired", SIBLINGS, trainer.unpaired(small, full), full


def _bits(bits: int | None) -> str:
    return "ternary" if bits is None else f"{bits} bit"


def _leaks(row: Trained, data: Data) -> dict[str, Estimate]:
    """Returns the attacks' figures."""
    report = audit.audit_models(row.pool, data.pool.train.y, data.member, attacks=ATTACKS)
    figures: dict[str, Estimate] = {}
    for attack, columns in LEAKS.items():
        figures |= attack_figures(report, attack, columns)
    return figures


def _transfer(config: Config, row: Trained, large: Trained, data: Data) -> Estimate:
    """Returns the share of test records that examples made on the small models turn on their large siblings."""
    x, y = data.pool.test.x, data.pool.test.y
    rates = []
    for small, weights in zip(each(row), each(large), strict=True):
        moved = probes.adversarial_examples(row.model, small, x, y, config.radius)
        clean, turned = (training.predict(large.model, weights, rows) for rows in (x, moved))
        rates.append(probes.transfer_rate(clean, turned, y).value)
    return reports.percent(metrics.mean_interval(np.array(rates)))
