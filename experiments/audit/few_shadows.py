"""Measures attacks with 1, 2, 4 and 8 shadow models, and released versions of one model attacked together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.audit.config import Config
from experiments.audit.strength import row
from gecko_jax import attacks, audit, datasets, metrics, models, reports, training
from gecko_jax.trees import map_named
from gecko_jax.types import Dataset, Examples, Model, Signals, Variables

FEW = (1, 2, 4, 8)
MAX_GROUPS = 4  # disjoint groups of shadows, whose figures are averaged for each target
SEED_OFFSET = 3  # the attacks' settings were chosen on models of another seed
# Access -> our attack, and the published ones that have no more access than it: online, offline ones run too.
PUBLISHED_OFFLINE = ("rmia_offline", "bavaria_t_offline", "bavaria_n_offline", "lira_offline_student")
PUBLISHED_ONLINE = ("rmia", "bavaria_t", "bavaria_n", "lira_student", "base3")
OURS = {
    "online": ("hierarchical_lira", (*PUBLISHED_ONLINE, *PUBLISHED_OFFLINE)),
    "offline": ("hierarchical_lira_offline", PUBLISHED_OFFLINE),
}
LABELS = {
    "rmia": "RMIA",
    "rmia_offline": "RMIA offline",
    "bavaria_t": "BaVarIA-t",
    "bavaria_t_offline": "BaVarIA-t offline",
    "bavaria_n": "BaVarIA-n",
    "bavaria_n_offline": "BaVarIA-n offline",
    "lira_student": "LiRA, Student's t",
    "lira_offline_student": "LiRA offline, Student's t",
    "base3": "BASE3",
    "hierarchical_lira": "Hierarchical LiRA (ours)",
    "hierarchical_lira_offline": "Hierarchical LiRA offline (ours)",
}
COLUMNS = (
    reports.Column("auc", "AUC", "", 4, "high"),
    reports.Column("tpr_at_1pct", "TPR @ 1 % FPR", "%", 2, "high"),
    reports.Column("tpr_at_0p1pct", "TPR @ 0.1 % FPR", "%", 2, "high"),
    reports.Column("gain_auc", "AUC − best other's", "", 4, "high"),
    reports.Column("gain_tpr", "TPR @ 1 % − best other's", "%", 2, "high"),
)
BITS, PRUNED_SHARE = 4, 0.9  # of the versions
ATTACKS_ON_VERSIONS = ("hierarchical_lira", "lira_student")


class Ensemble(NamedTuple):
    """The network in float: shadows first, then targets."""

    model: Model
    variables: Variables
    pool: Examples
    member: np.ndarray


def train(config: Config, data: Dataset) -> Ensemble:
    """Trains the shadows and the targets; a finished fit is read from its folder."""
    pool, seed = data.train, config.seed + SEED_OFFSET
    member = datasets.coins(pool.id, config.few_shadows + config.few_targets, seed)
    model = models.create("mlp", data.num_classes, hidden=config.strength_hidden)
    fitted = _fit(config, model, pool, member, config.strength_epochs, "few_shadows", None)
    return Ensemble(model, fitted, pool, member)


def _fit(config, model, pool, member, epochs: int, label: str, start: Variables | None) -> Variables:
    folder = Path(config.output) / label / "checkpoints"
    optimizer = training.optimizer("adam", config.learning_rate)
    return training.fit_ensemble(
        model, pool, member, epochs=epochs, batch_size=config.batch_size, seed=config.seed + SEED_OFFSET,
        optimizer=optimizer, folder=folder, label=label, init=start,
    ).variables  # fmt: skip


def study(config: Config, data: Dataset) -> reports.Study:
    """Attacks the targets with few shadows, by the published attacks and by ours.

    Args:
      config: the settings.
      data: the data set, its training file cut to the records.
    """
    ensemble = train(config, data)
    logits = training.predict_ensemble(ensemble.model, ensemble.variables, ensemble.pool.x)
    rows = list(_rows(config, logits, np.asarray(ensemble.pool.y), ensemble.member))
    return reports.Study(
        title=f"Attacks with few shadows on {config.dataset}",
        summary=(
            f"{config.few_targets} targets that are shadows to nobody, {config.records} records, each a member by a "
            "coin. Figures are means over targets (and over disjoint groups of shadows) with 95 % intervals over the "
            "targets; gains are paired, over the published attack that is best on these targets."
        ),
        rows=tuple(rows),
        columns=_shown(rows),
        record={"accuracy": _accuracy(logits, ensemble)},
    )


def _rows(config: Config, logits: np.ndarray, y: np.ndarray, member: np.ndarray) -> Iterator[reports.Row]:
    for k in (k for k in FEW if k <= config.few_shadows):
        figures = {
            name: _figures(config, name, k, logits, y, member)
            for name in LABELS
            if attacks.ATTACKS[name]().shadows <= k
        }
        for name, each in figures.items():
            gains = {}
            for ours, published in OURS.values():
                if name == ours:
                    gains = _gains(each, [figures[one] for one in published if one in figures])
            yield row(f"{LABELS[name]}, {_count(k)}", each, _count(k), **gains)


def _count(k: int) -> str:
    return f"{k} shadow" + "s" * (k > 1)


def _figures(config: Config, name: str, k: int, logits, y, member) -> dict[str, np.ndarray]:
    """Returns metric -> figure of each target, the mean over groups of k shadows."""
    attack, count = attacks.ATTACKS[name](), config.few_shadows
    values = attack.signal(logits, y)
    fprs = {"tpr_at_1pct": 0.01, "tpr_at_0p1pct": 0.001}
    fprs = {metric: fpr for metric, fpr in fprs.items() if (~member).sum(1).min() * fpr >= 1}
    figures: dict[str, list] = {metric: [] for metric in ("auc", *fprs)}
    groups = [slice(i, i + k) for i in range(0, count - k + 1, k)][:MAX_GROUPS]
    for target in range(count, len(member)):
        scores = [attack(Signals(values[group], member[group], values[target])) for group in groups]
        figures["auc"].append(np.mean([metrics.roc_auc(one, member[target]) for one in scores]))
        for metric, fpr in fprs.items():
            figures[metric].append(np.mean([metrics.tpr_at_fpr(one, member[target], fpr) for one in scores]))
    return {metric: np.array(each) for metric, each in figures.items()}


def _gains(ours: dict[str, np.ndarray], others: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Returns our figures minus those of the best other attack, target by target; each metric has its own best."""
    gains = {}
    for key, metric in (("gain_auc", "auc"), ("gain_tpr", "tpr_at_1pct")):
        if metric in ours and others:
            best = max((one[metric] for one in others), key=np.mean)
            gains[key] = ours[metric] - best
    return gains


def versions(config: Config, data: Dataset) -> reports.Study:
    """Audits three released versions of each model, two by two: float, rounded weights, pruned and retrained."""
    ensemble = train(config, data)
    model, variables, pool, member = ensemble
    pruned = models.pruned(model, PRUNED_SHARE, "weight")
    start = jax.vmap(lambda one: models.prune_once(pruned, one, pool.x[:1]))(variables)
    retrained = _fit(config, pruned, pool, member, config.few_retrain_epochs, "versions", start)
    float_version, rounded = "float", f"{BITS}-bit"
    cut = f"{100 * PRUNED_SHARE:.0f} % pruned, retrained"
    logits = {
        float_version: training.predict_ensemble(model, variables, pool.x),
        rounded: training.predict_ensemble(model, round_weights(variables), pool.x),
        cut: training.predict_ensemble(pruned, retrained, pool.x),
    }
    rows = []
    for pair in ((float_version, rounded), (float_version, cut), (rounded, cut)):
        named = {name: logits[name] for name in pair}
        audited = audit.audit_versions(named, np.asarray(pool.y), member, ATTACKS_ON_VERSIONS)
        rows += list(_pair_rows(audited, pair))
    return reports.Study(
        title=f"Two released versions of one model on {config.dataset}",
        summary=(
            f"{len(member)} models, each a target with the others as its shadows, made in both versions. Together is "
            "a weighted sum of the versions' scores, its weights fitted on shadows. Gains are paired, model by model, "
            "over the version that leaks more alone."
        ),
        rows=tuple(rows),
        columns=_shown(rows),
        record={"accuracy": {name: _accuracy(each, ensemble) for name, each in logits.items()}},
    )


def _pair_rows(audited: audit.Report, pair: tuple[str, str]) -> Iterator[reports.Row]:
    group = " + ".join(pair)
    for name in ATTACKS_ON_VERSIONS:
        figures = {
            version: {
                metric: np.array([target[f"{name}@{version}"][metric].value for target in audited.targets])
                for metric in ("auc", "tpr_at_1pct", "tpr_at_0p1pct")
                if audited.resolved(metric)
            }
            for version in (*pair, "together")
        }
        for version, each in figures.items():
            gains = _gains(each, [figures[one] for one in pair]) if version == "together" else {}
            yield row(f"{LABELS[name].removesuffix(' (ours)')}, {group}: {version}", each, group, **gains)


def round_weights(variables: Variables, bits: int = BITS) -> Variables:
    """Returns variables [m, ...] whose kernels are rounded to the nearest of 2^bits - 1 values, even per channel."""

    def rounded(name: str, leaf):
        if not name.endswith("kernel"):
            return leaf
        leaf = np.asarray(leaf)
        step = np.abs(leaf).max(axis=tuple(range(1, leaf.ndim - 1)), keepdims=True) / (2 ** (bits - 1) - 1)
        step = np.where(step > 0, step, 1.0).astype(leaf.dtype)
        return np.round(leaf / step) * step

    return map_named(rounded, variables)


def _shown(rows: Sequence[reports.Row]) -> tuple[reports.Column, ...]:
    return tuple(column for column in COLUMNS if any(column.key in one.figures for one in rows))


def _accuracy(logits: np.ndarray, ensemble: Ensemble) -> dict[str, float]:
    right = logits.argmax(-1) == np.asarray(ensemble.pool.y)[None]
    return {"members": float(right[ensemble.member].mean()), "nonmembers": float(right[~ensemble.member].mean())}
