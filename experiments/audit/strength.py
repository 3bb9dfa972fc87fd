"""Measures how strong the attacks are on one network in float, by the number of their shadow models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.audit.config import Config
from gecko_jax import attacks, datasets, metrics, models, reports, training
from gecko_jax.attacks import Attack
from gecko_jax.signals import Signal, loss, soft_loss
from gecko_jax.types import Dataset, Signals

OFFLINE_A = 0.3  # of offline RMIA with two references, which leave nothing to choose it on
PAIR = "2 references, of complementary members"
BY_NUMBER = ("lira", "lira_student", "rmia")  # shown by how many shadows they have
# What the other attacks of gecko_jax.attacks.ATTACKS are called here; one without a label goes by its name. Of the slow
# ones only those that have a label run.
LABELS = {
    "lira_example": "LiRA, each record's own variance",
    "lira_offline": "LiRA offline",
    "lira_offline_student": "LiRA offline, Student's t",
    "rmia_offline": "RMIA offline",
    "base": "BASE",
    "reference_rank": "Attack-R",
    "calibrated_loss": "Calibrated loss",
}

COLUMNS = (
    reports.Column("auc", "AUC", "", 4, "high"),
    reports.Column("tpr_at_1pct", "TPR @ 1 % FPR", "%", 2, "high"),
    reports.Column("tpr_at_0p1pct", "TPR @ 0.1 % FPR", "%", 2, "high"),
    reports.Column("gain", "AUC − Gaussian LiRA's", "", 4, "high"),
    reports.Column("share", "AUC in % of LiRA's with all shadows", "%", 1, "high"),
)


def study(config: Config, data: Dataset) -> reports.Study:
    """Trains targets, shadows and pairs of references, and attacks the targets.

    Args:
      config: the settings.
      data: the data set, its training file cut to the records. The test file's first records are RMIA's population.
    """
    pool, count = data.train, config.strength_shadows
    member = np.concatenate(
        [
            datasets.coins(pool.id, count + config.strength_targets, config.seed),
            datasets.membership.balanced(pool.id, 2 * config.strength_pairs, config.seed + 1),
        ]
    )
    model = models.create("mlp", data.num_classes, hidden=config.strength_hidden)
    fitted = training.fit_ensemble(
        model,
        pool,
        member,
        epochs=config.strength_epochs,
        batch_size=config.batch_size,
        seed=config.seed,
        optimizer=training.optimizer("adam", config.learning_rate),
        folder=Path(config.output) / "strength" / "checkpoints",
        label="strength",
    )
    unseen = data.test.x[: config.records], data.test.y[: config.records]
    logits, others = (training.predict_ensemble(model, fitted.variables, x) for x in (pool.x, unseen[0]))
    comparison = _Comparison(config, logits, np.asarray(pool.y), member, others, np.asarray(unseen[1]))
    targets = slice(count, count + config.strength_targets)
    inside, outside = (
        np.mean([_accuracy(one, pool.y, rows) for one, rows in zip(logits[targets], mask[targets], strict=True)])
        for mask in (member, ~member)
    )
    rows = list(comparison.rows())
    return reports.Study(
        title=f"Attacks and their shadows on {config.dataset}",
        summary=(
            f"A network in float (hidden layers {config.strength_hidden}), {config.strength_targets} targets that are "
            f"shadows to nobody, {config.records} records, each a member by a coin; accuracy {100 * inside:.2f} % on "
            f"members and {100 * outside:.2f} % on the others. Figures are means over targets "
            "with 95 % intervals."
        ),
        rows=tuple(rows),
        columns=tuple(column for column in COLUMNS if any(column.key in row.figures for row in rows)),
        record={"accuracy": {"members": float(inside), "nonmembers": float(outside)}},
    )


def _accuracy(logits: np.ndarray, y: np.ndarray, rows: np.ndarray) -> float:
    return float((logits[rows].argmax(-1) == np.asarray(y)[rows]).mean())


class _Comparison:
    """Targets and what attacks them: shadows first, then targets, then the two models of each pair."""

    def __init__(self, config: Config, logits, y, member, others, others_y):
        self.config, self.logits, self.y, self.member = config, logits, y, member
        self.others, self.others_y, self.cache = others, others_y, {}
        self.fpr = {"tpr_at_1pct": 0.01, "tpr_at_0p1pct": 0.001}
        fewest = int((~member).sum(1).min())
        self.fpr = {name: fpr for name, fpr in self.fpr.items() if fewest * fpr >= 1}

    def signal(self, signal: Signal, population: bool = False) -> np.ndarray:
        """Of all models, [m, n], or on the population, [m, z]."""
        if (signal, population) not in self.cache:
            arrays = (self.others, self.others_y) if population else (self.logits, self.y)
            self.cache[signal, population] = signal(*arrays)
        return self.cache[signal, population]

    def figures(self, attack: Attack, groups: list[slice], population: bool = False) -> dict[str, np.ndarray]:
        """Figures [targets], each the mean over the groups of models that are the shadows.

        Args:
          attack: what is run.
          groups: shadows; several, where each gives an attack of its own.
          population: whether the attack reads it. The shadows of other attacks are then targets, too: for pairs, which
            none of them is in.
        """
        count, found = self.config.strength_shadows, {"auc": []} | {name: [] for name in self.fpr}
        for target in range(0 if population else count, count + self.config.strength_targets):
            for group in groups:
                values, member = self.signal(attack.signal), self.member
                unseen = self._population(attack.signal, group, target) if population else None
                scores = attack(Signals(values[group], member[group], values[target], unseen))
                found["auc"].append(metrics.roc_auc(scores, member[target]))
                for name, fpr in self.fpr.items():
                    found[name].append(metrics.tpr_at_fpr(scores, member[target], fpr))
        return {name: np.reshape(values, (-1, len(groups))).mean(1) for name, values in found.items()}

    def _population(self, signal: Signal, group: slice, target: int) -> tuple[np.ndarray, np.ndarray]:
        values = self.signal(signal, population=True)
        return values[group], values[target]

    def rows(self) -> Iterator[reports.Row]:
        """LiRA by the number of its shadows, the other attacks with all of them, RMIA with a pair, thresholds."""
        count, config = self.config.strength_shadows, self.config
        pairs = [slice(i, i + 2) for i in range(count + config.strength_targets, len(self.member), 2)]
        full = self.figures(attacks.lira(), [slice(count)])
        few = [k for k in (4, 8, 16, 32, 64) if k < count]
        for k in (*few, count):
            group = f"{k} shadows"
            gaussian = self.figures(attacks.lira(), [slice(k)])
            yield row(f"LiRA, {k} shadows", gaussian, group)
            student = self.figures(attacks.lira(variance="student"), [slice(k)])
            yield row(f"LiRA, Student's t, {k} shadows", student, group, gain=student["auc"] - gaussian["auc"])
            yield row(f"RMIA, {k} shadows", self.figures(attacks.rmia(), [slice(k)]), group)
        for name in others():
            figures = self.figures(attacks.ATTACKS[name](), [slice(count)])
            yield row(LABELS.get(name, _spaced(name)), figures, f"other attacks, {count} shadows")
        pair = self.figures(attacks.rmia(), pairs)
        yield row("RMIA, 2 references", pair, PAIR, share=100 * pair["auc"] / full["auc"])
        every = count + config.strength_targets
        for signal, temperature in ((loss, 1), (soft_loss, 2)):
            for ties in ("counted", "broken"):
                attack = attacks.rmia(online=False, a=OFFLINE_A, ties=ties, signal=signal)
                figures = self.figures(attack, pairs, population=True)
                name = f"RMIA offline, temperature {temperature}, ties {ties}"
                yield row(name, figures, f"2 references, offline, {every} targets")
        for name in attacks.OF_THE_TARGET:
            figures = self.figures(attacks.ATTACKS[name](), [slice(count)])
            yield row(f"{_spaced(name)} alone", figures, "no shadows")


def others() -> list[str]:
    """Returns the listed attacks that need shadow models and nothing else, except those of BY_NUMBER."""
    built = {name: make() for name, make in attacks.ATTACKS.items() if name not in BY_NUMBER}
    return [
        name
        for name, attack in built.items()
        if "shadows" in attack.needs and set(attack.needs) <= {"shadows", *["time"] * (name in LABELS)}
    ]


def _spaced(name: str) -> str:
    return name.replace("_", " ").capitalize()


def row(name: str, figures: dict[str, np.ndarray], group: str, **more: np.ndarray) -> reports.Row:
    """Returns a row of means over targets with their intervals; rates become percent."""
    estimates = {key: metrics.mean_interval(values) for key, values in (figures | more).items()}
    percents = {key: reports.percent(value) for key, value in estimates.items() if "tpr" in key}
    if "share" in estimates:
        percents["share"] = estimates["share"]._replace(unit="%")
    return reports.Row(name, {**estimates, **percents}, group)
