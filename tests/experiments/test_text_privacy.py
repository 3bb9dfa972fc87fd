"""The study of text privacy: its rows are trained as their methods say, and its figures are those of a naive reader."""

from __future__ import annotations

import csv
import dataclasses
import pathlib

import flax.linen as nn
import jax
import numpy as np
import pytest
from scipy import stats

from experiments.text_privacy import measure, run, train
from experiments.text_privacy.config import PRESETS, Config
from experiments.text_privacy.data import prepare
from experiments.text_privacy.methods import METHODS
from gecko_jax import models

HOME = pathlib.Path(run.__file__).parent


class TokenModel(nn.Module):
    """Logits of each token from the token before it alone."""

    @nn.compact
    def __call__(self, tokens):
        hidden = nn.Embed(270, 8, name="embed")(tokens)
        return nn.Dense(270, name="head")(nn.LayerNorm(name="final_norm")(hidden))


def naive_losses(params, x, y):
    """-log p of each token y, in float64."""
    hidden = params["embed"]["embedding"].astype(np.float64)[x]
    hidden = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(hidden.var(-1, keepdims=True) + 1e-6)
    hidden = hidden * params["final_norm"]["scale"] + params["final_norm"]["bias"]
    logits = hidden @ params["head"]["kernel"] + params["head"]["bias"]
    return np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, np.maximum(y, 0)[:, None], 1)[:, 0]


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    sizes = dict(notes=60, public_notes=10, models=2, epochs=1, private_epochs=1, vocabulary=270, target_epsilon=50.0)
    config = Config(output=str(tmp_path_factory.mktemp("text_privacy")), length=24, secret_length=10, **sizes)
    notes = prepare(config)
    model = models.from_linen(TokenModel())
    return config, notes, model, model.init(jax.random.key(0), notes.heldout.tokens[:1])


def test_each_method_trains_on_what_it_says(setting, monkeypatch):
    config, notes, model, base = setting
    seen = {}
    monkeypatch.setattr(train.training, "fit_ensemble", lambda model, data, member, **options: seen.update(data=data))
    with pytest.raises(AttributeError):  # the stand-in returns nothing
        train.train(config, METHODS["redacted"], notes, model, base)
    np.testing.assert_array_equal(seen["data"].x, notes.private["all"].first().x)
    with pytest.raises(AttributeError):
        train.train(config, METHODS["words_25"], notes, model, base)
    changed = seen["data"].x != notes.private["all"].second().x
    assert changed.mean() > 0.1 and not changed[notes.private["all"].second().x == 0].any()
    assert train.noise_of(25.0, base).worst_epsilon == pytest.approx(25.0)
    budget = {}
    monkeypatch.setattr(train.privacy, "private_training", lambda model, loss, rule, **options: budget.update(options))
    monkeypatch.setattr(train.training, "fit_twice", lambda model, rows, private, **options: seen.update(rows=rows))
    with pytest.raises(AttributeError):
        train.train(config, METHODS["numbers"], notes, model, base)
    assert seen["rows"] is notes.private["numbers"] and budget["adjacency"] == "replace_one"


def test_the_figures_of_a_row_are_those_of_a_naive_reader(setting):
    config, notes, model, base = setting
    trained = train.train(config, METHODS["redacted"], notes, model, base)
    single = jax.tree.map(lambda leaf: leaf[None], base)
    members, others = notes.private["all"], notes.heldout
    base_means = [measure.token_means(model, single, rows) for rows in (members, others)]
    figures = measure.memorization(config, notes, model, trained, base_means)
    second = jax.tree.map(lambda leaf: leaf[1], trained.variables)
    chosen = [jax.tree.map(np.asarray, each["params"]) for each in (base, second)]
    gains = []
    for rows in (members, others):
        examples, secret = rows.second(), rows.sensitive_targets()
        each = [[naive_losses(params, x, y)[marks].mean() for params in chosen]
                for x, y, marks in zip(examples.x, examples.y, secret, strict=True) if marks.any()]  # fmt: skip
        gains.append([before - after for before, after in each])
    auc = stats.mannwhitneyu(*gains).statistic / len(gains[0]) / len(gains[1])
    now = [measure.token_means(model, trained.variables, rows) for rows in (members, others)]
    kind = "secrets"
    scores = [first.by_row[kind][0] - after.by_row[kind][1] for first, after in zip(base_means, now, strict=True)]
    for naive, read in zip(gains, scores, strict=True):
        np.testing.assert_allclose(naive, read, atol=1e-4)
    assert abs(2 * figures["secrets"].value - auc) <= 1
    traits = measure.authors(config, notes, model, trained)
    assert set(traits) == {"style", "department"} and all(0 < each.value < 100 for each in traits.values())


def test_the_expected_table_is_of_the_preset():
    with (HOME / "expected" / "quick.csv").open() as file:
        names = {line["row"] for line in csv.DictReader(file)}
    assert names == {METHODS[name].label for name in PRESETS["quick"].rows}


def test_settings_are_checked_before_anything_is_trained():
    with pytest.raises(ValueError, match="Did you mean 'private'"):
        dataclasses.replace(PRESETS["quick"], rows=("privat",))
