"""Measures each row: what the model learned, what it tells of secrets and of authors. Settings in, a Study out."""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from experiments.text_privacy.config import Config
from experiments.text_privacy.data import Notes, prepare
from experiments.text_privacy.methods import METHODS
from experiments.text_privacy.train import Trained, base_of, train
from gecko_jax import audit, metrics, probes, reports
from gecko_jax.datasets.text import SelectiveRows
from gecko_jax.types import Estimate, Model, Variables

COLUMNS = (
    reports.Column("perplexity", "Perplexity, public words", "", 2, "low"),
    reports.Column("secrets", "AUC of secrets", "", 3, "low"),
    reports.Column("public", "AUC of public words", "", 3, "low"),
    reports.Column("style", "Style guessed", "%", 1, "low"),
    reports.Column("department", "Department guessed", "%", 1, "low"),
    reports.Column("epsilon", "ε", "", 2, "low"),
)


def study(config: Config) -> reports.Study:
    """Returns the table of the config's rows."""
    notes = prepare(config)
    model, base = base_of(config, notes)
    single = jax.tree.map(lambda leaf: np.asarray(leaf)[None], base)
    before = [token_means(model, single, rows) for rows in (notes.private["all"], notes.heldout)]
    rows, guarantees = [], {}
    for name in config.rows:
        method = METHODS[name]
        trained = train(config, method, notes, model, base)
        figures = memorization(config, notes, model, trained, before) | authors(config, notes, model, trained)
        rows.append(reports.Row(method.label, figures, note=method.note))
        if trained.guarantee:
            guarantees[method.label] = trained.guarantee
    return reports.Study(
        title="What each kind of text privacy hides: secrets, public words, authors",
        summary=_summary(config, notes),
        rows=tuple(rows),
        columns=COLUMNS,
        notes=reports.Notes(footnotes=tuple(f"{name}: {text}" for name, text in guarantees.items())),
        record={"guarantees": guarantees, "coverage": notes.coverage},
    )


class TokenMeans(NamedTuple):
    """Mean losses of rows under m models, of secrets and of public words apart.

    Attributes:
      by_row: {kind: [m, rows that have such words]}, nats a token.
      all: {kind: [m]}, over all tokens.
    """

    by_row: dict[str, np.ndarray]
    all: dict[str, np.ndarray]


def token_means(model: Model, variables: Variables, rows: SelectiveRows) -> TokenMeans:
    """Reads the losses of rows under m models."""
    examples, secret = rows.second(), rows.sensitive_targets()
    losses = probes.token_losses(model, variables, examples.x, examples.y, ensemble=True)
    by_row, means = {}, {}
    for kind, of_kind in (("secrets", secret), ("public", ~secret & (examples.y >= 0))):
        counts = of_kind.sum(1)
        sums = np.where(of_kind[None], losses, 0).sum(2)
        by_row[kind] = sums[:, counts > 0] / counts[counts > 0][None]
        means[kind] = sums.sum(1) / counts.sum()
    return TokenMeans(by_row, means)


def memorization(
    config: Config, notes: Notes, model: Model, trained: Trained, before: list[TokenMeans]
) -> dict[str, Estimate]:
    """Returns how well a row's models predict, and how well an attacker with the base tells their notes from others."""
    now = [token_means(model, trained.variables, rows) for rows in (notes.private["all"], notes.heldout)]
    figures = {"perplexity": metrics.mean_interval(np.exp(now[1].all["public"]))}
    for kind in ("secrets", "public"):
        gains = [first.by_row[kind] - after.by_row[kind] for first, after in zip(before, now, strict=True)]
        member = np.repeat([True, False], [each.shape[1] for each in gains])
        if any(np.abs(each).max() > 0 for each in gains):  # not the base itself
            scores = np.concatenate(gains, axis=1)
            figures[kind] = metrics.mean_interval(np.array([metrics.roc_auc(each, member) for each in scores]))
    if trained.epsilon is not None:
        figures["epsilon"] = Estimate(trained.epsilon, kind="modeled")
    return figures


def authors(config: Config, notes: Notes, model: Model, trained: Trained) -> dict[str, Estimate]:
    """Returns how often a probe of the models' representations guesses the traits of authors whom it has not seen."""
    tokens = notes.heldout.tokens
    if trained.mechanism is not None:
        tokens = trained.mechanism.apply(tokens, config.seed + 1)  # the author noises what the model reads
    features = probes.representations(model, trained.variables, tokens, ensemble=True)
    return {name: _guessed(features, values, notes) for name, values in notes.traits.items()}


def _guessed(features: np.ndarray, trait: np.ndarray, notes: Notes) -> Estimate:
    """Returns the share of rows that is guessed right, the mean over models, with an interval over authors."""
    assert notes.heldout.user is not None  # made notes have authors
    each = [audit.attribute_inference(one, trait, notes.heldout.user) for one in features]
    right = np.mean([result.right for result in each], axis=0)
    return reports.percent(metrics.ratio_interval(right, each[0].rows))


def _summary(config: Config, notes: Notes) -> str:
    tokens = notes.heldout.tokens
    counts = np.stack([(tokens == token).sum(1) for token in range(3, notes.tokenizer.vocabulary)], 1).astype(float)
    baselines = []
    for name, values in notes.traits.items():
        words = _guessed(counts[None], values, notes)
        common = 100 * np.unique(values, return_counts=True)[1].max() / len(values)
        baselines.append(f"{name} {common:.1f} % by the most frequent value, {words.value:.1f} % by counts of words")
    return (
        f"{config.notes} made-up notes of {config.authors} authors are trained on, as many are not. AUC: how well the "
        "gain over the base tells the notes' secrets, or their public words, from those of the other notes; .5 is "
        f"chance. Traits are guessed from representations of the other notes: {'; '.join(baselines)}. A mean over "
        f"{config.models} models with a 95 % interval over them; that of traits is over authors."
    )
