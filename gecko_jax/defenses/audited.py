"""An audit of a defense by attacks that know it, with attacks on labels beside those on scores."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import attacks, audit, checks, metrics, signals, training
from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.released import released
from gecko_jax.types import Array, Estimate, Examples, Model


class DefenseAudit(NamedTuple):
    """What a defense leaves to attackers who know it.

    Attributes:
      defense: its name.
      fitted: the models, each of which is a target with the others as shadows.
      answers: what they release [m, n, classes].
      scores: the audit of what they release.
      labels: the audit of the labels that they predict, and of nothing else.
      warnings: sentences that a reader must know; the first one if labels show more than scores.
    """

    defense: str
    fitted: training.Fit
    answers: np.ndarray
    scores: audit.Report
    labels: audit.Report
    warnings: tuple[str, ...]


def label_attacks(models: int) -> list[str | attacks.Attack]:
    """Returns the attacks that read labels alone.

    The one bit of `gap`; the share of moved copies that are given the record's label; and from four models on that one
    bit compared with what shadow models answer to the record (LiRA on it).

    Args:
      models: how many there are, each a target with the others as shadows.

    >>> [getattr(each, "name", each) for each in label_attacks(4)]
    ['gap', 'label_only', 'lira_labels']
    """
    by_shadows = dataclasses.replace(attacks.lira(signal=signals.correct), name="lira_labels")
    return ["gap", "label_only", *([by_shadows] if models >= MIN_MODELS_FOR_LIRA else [])]


def audit_defense(
    defense: Defense,
    model: Model,
    data: Examples,
    member: Array,
    *,
    reference: Examples | None = None,
    attack: Iterable | str | None = None,
    on_labels: Iterable | None = None,
    **options: Any,
) -> DefenseAudit:
    """Trains m models with a defense and audits each of them by the others.

    Targets and shadows share the recipe, the answers included: that is the attacker who knows the defense. Attacks on
    labels run beside those on scores, because a defense that only masks scores leaves the labels as they were; the
    result then says so, with a warning. Attacks are checked before anything is trained.

    Args:
      defense: of `DEFENSES`.
      model: the architecture, quantized or pruned or as it is.
      data: the pool, n rows of classes.
      member: bool [m, n], drawn by independent coins (`datasets.coins`); m is 2 or more.
      reference: rows that the defense reads, neither members nor evaluated.
      attack: the attacks on what is released; None for every listed one that can run. See `audit.audit_models`.
      on_labels: a list of attacks that read labels alone; None: `label_attacks`.
      **options: of `training.fit_ensemble`: epochs, batch_size, seed, folder, ...

    Returns:
      A DefenseAudit.

    Raises:
      ValueError: fewer than two models, an attack of on_labels that reads scores, or what the defense, `fit_ensemble`
        or the audits refuse.

    >>> from gecko_jax import models
    >>> from gecko_jax.defenses import label_only_answer
    >>> rng = np.random.default_rng(0)
    >>> y, member = rng.integers(0, 3, 60), rng.random((2, 60)) < 0.5
    >>> data = Examples(rng.normal(size=(60, 8)).astype(np.float32), y)
    >>> model = models.create("mlp", 3, hidden=(64,))
    >>> with warnings.catch_warnings(action="ignore"):
    ...     result = audit_defense(label_only_answer(), model, data, member, attack=["loss"], on_labels=["gap"],
    ...                            epochs=60, optimizer=training.optimizer("adam", 1e-2))
    >>> result.labels.rows["gap"]["attack_accuracy"].value > 0.6, len(result.scores.targets)
    (True, 2)
    """
    models = checks.at_least("number of models (rows of member)", len(np.atleast_2d(member)), 2)
    if not isinstance(defense, Defense):
        raise ValueError(f"defense={defense!r} is not a Defense; pass one of the table, such as DEFENSES['dropout']().")
    by_label = label_attacks(models) if on_labels is None else _reading_labels(on_labels)
    attack = attack if attack is None or isinstance(attack, str) else list(attack)
    audit.check_attacks(attack, models)
    needed = reference if "reference" in defense.reads else None
    fitted = defense.train(model, data, member, reference=needed, **options)
    answers = released(defense, model, fitted.variables, data, member, reference=needed, seed=options.get("seed") or 0)
    scores = audit.audit_models(answers, data.y, member, attack)
    labels = audit.audit_ensemble(model, fitted.variables, data, member, by_label)
    findings = (*masking(scores, labels), *((UNREAD_DELAY.format(defense.name),) if defense.delay else ()))
    for note in findings:
        warnings.warn(note, stacklevel=2)
    return DefenseAudit(defense.name, fitted, answers, scores, labels, (*findings, *scores.warnings))


def _reading_labels(on_labels: Iterable) -> list:
    """Returns the attacks; raises ValueError for one that reads scores, which the models themselves would show it."""
    if isinstance(on_labels, str):
        raise ValueError(f"on_labels={on_labels!r} must be a list of attacks, such as ['gap', 'label_only'].")
    chosen = checks.not_empty("on_labels", list(on_labels))
    for each in chosen:
        attack = attacks.ATTACKS[checks.one_of("on_labels", each, attacks.ATTACKS)]() if isinstance(each, str) else each
        read = attack.signal if isinstance(attack.signal, (tuple, list)) else [attack.signal]
        if scores := [signal.name for signal in read if signal.outputs != "labels"]:
            raise ValueError(
                f"on_labels names {attack.name!r}, which reads {scores[0]!r} and not labels alone: it would run on the "
                "scores that the defense hides. Name it in attack=, which runs on what is released."
            )
    return chosen


def masking(scores: audit.Report, labels: audit.Report) -> tuple[str, ...]:
    """Returns a warning if attacks on labels find more than those on scores; () if that is not resolved.

    The strongest attack of each side, by its mean AUC and by its mean accuracy, is compared: scores hold the label, so
    that an attack on them which finds less than one on labels was misled by the defense and not stopped. Of three
    targets or more the paired differences decide, by their 95 % interval; of fewer the two intervals, apart or not.

    Args:
      scores, labels: of `DefenseAudit`.

    >>> from gecko_jax.audit import audit_model
    >>> y, member = np.tile([0, 1], 20), np.tile([True, True, False, False], 10)
    >>> logits = 9 * np.where(member[:, None], np.eye(2)[y], -np.eye(2)[y])  # right on members alone
    >>> by_labels, by_scores = audit_model(logits, y, member, ["gap"]), audit_model(0 * logits, y, member, ["loss"])
    >>> [note[:53] for note in masking(by_scores, by_labels)]
    ['Attacks on labels find more than those on scores: gap']
    """
    parts = []
    for metric, words in (("auc", "AUC"), ("attack_accuracy", "accuracy")):
        best, other = (
            max(report.rows, key=lambda name: report.rows[name][metric].value) for report in (labels, scores)
        )
        if _excess(labels, best, scores, other, metric) > MIN_EXCESS:
            ahead, behind = _shown(labels.rows[best][metric]), _shown(scores.rows[other][metric])
            parts.append(f"{best} on labels has {words} {ahead}, the best attack on scores ({other}) {behind}")
    if not parts:
        return ()
    return (
        f"Attacks on labels find more than those on scores: {'; '.join(parts)}. Scores hold the labels, so these "
        "scores mislead the attacks on them (masking), or too few of those ran. Judge the defense by the attacks on "
        "labels.",
    )


def _shown(figure: Estimate) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _excess(labels: audit.Report, best: str, scores: audit.Report, other: str, metric: str) -> float:
    """Returns by how much an attack on labels is ahead of one on scores, at the lower end of the 95 % interval."""
    if len(labels.targets) < MIN_PAIRS:
        return _end(labels.rows[best][metric].low) - _end(scores.rows[other][metric].high)
    ahead = [target[best][metric].value for target in labels.targets]
    return _end(metrics.paired_difference(ahead, [target[other][metric].value for target in scores.targets]).low)


def _end(end: float | None) -> float:
    """Returns an end of an interval; NaN, which resolves nothing, if there is none."""
    return math.nan if end is None else end


UNREAD_DELAY = (
    "Defense {!r} delays answers, and this audit reads none of their times: its figures are those without the defense. "
    "attacks.hybrid reads exits that probes.exits_from_times guesses; experiments.multi_exit shows how."
)
MIN_MODELS_FOR_LIRA = 4  # a shadow that stands in for the target leaves it two
MIN_EXCESS = 0.005  # of an attack on labels over all on scores, before a reader is warned
MIN_PAIRS = 3  # Student's t interval of two differences is 13 times as wide as their spread
