"""An audit of a defense by attacks that know it, with attacks on labels beside those on scores."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import attacks, audit, checks, signals, training
from gecko_jax.defenses.defense import Defense
from gecko_jax.defenses.released import released
from gecko_jax.types import Array, Examples, Model


class DefenseAudit(NamedTuple):
    """What a defense leaves to attackers who know it.

    Attributes:
      defense: its name.
      fitted: the models, each of which is a target with the others as shadows.
      answers: what they release [m, n, classes].
      scores: the audit of what they release.
      labels: the audit of the labels that they predict, and of nothing else.
      warnings: sentences that a reader must know; the first one if scores are masked.
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
    result then says so, with a warning.

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
    """Returns a warning if attacks on labels find more than those on scores; () if they do not.

    The strongest attack of each side, by its mean AUC and by its mean accuracy, is compared: scores hold the label, so
    that an attack on them which finds less than one on labels was misled by the defense and not stopped.

    Args:
      scores, labels: of `DefenseAudit`.

    >>> from gecko_jax.audit import audit_model
    >>> y, member = np.tile([0, 1], 20), np.tile([True, True, False, False], 10)
    >>> logits = 9 * np.where(member[:, None], np.eye(2)[y], -np.eye(2)[y])  # right on members alone
    >>> by_labels, by_scores = audit_model(logits, y, member, ["gap"]), audit_model(0 * logits, y, member, ["loss"])
    >>> [note[:41] for note in masking(by_scores, by_labels)]
    ['Scores are masked and labels still leak: ']
    """
    parts = []
    for metric, words in (("auc", "AUC"), ("attack_accuracy", "accuracy")):
        by_labels, by_scores = (
            max(((name, row[metric].value) for name, row in report.rows.items()), key=lambda each: each[1])
            for report in (labels, scores)
        )
        if by_labels[1] > by_scores[1] + MIN_EXCESS:
            name, value = by_labels
            parts.append(f"{name} on labels has {words} {value:.3f}, the best attack on scores {by_scores[1]:.3f}")
    if not parts:
        return ()
    return (
        f"Scores are masked and labels still leak: {'; '.join(parts)}. Judge the defense by the attacks on labels.",
    )


UNREAD_DELAY = (
    "Defense {!r} delays answers, and this audit reads none of their times: its figures are those without the defense. "
    "attacks.hybrid reads exits that probes.exits_from_times guesses; experiments.multi_exit shows how."
)
MIN_MODELS_FOR_LIRA = 4  # a shadow that stands in for the target leaves it two
MIN_EXCESS = 0.005  # of an attack on labels over all on scores, before it is called masking
