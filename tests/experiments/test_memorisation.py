"""The study of memorization in fine-tuning from flags to page, small; what it reads; and its fixed rules."""

from __future__ import annotations

import csv
import dataclasses
import json
import pathlib
from typing import Any

import jax
import numpy as np
import pytest
import tokenizers

from experiments.memorisation import answers, data, gpt2, measure, reading, rows, run, train, validity
from experiments.memorisation.bases import BASES, Bases
from experiments.memorisation.config import PRESETS, Config
from experiments.memorisation.methods import ABLATIONS, COMPRESSION, METHODS, ROWS
from gecko_jax import models, reports
from gecko_jax.datasets import text
from gecko_jax.types import Estimate, Examples

HOME = pathlib.Path(run.__file__).parent
TINY: dict[str, Any] = dict(
    vocabulary=300, layers=1, width=8, heads=2, length=56, small_width=4, public_rows=400, public_batch=8, rows=64,
    nonmembers=30, validation=20, calibration=30, batch_size=8, private_batch=16, epochs=2, patience=2,
    tuning_epochs=1, crossing=0.99, upper=0.995, ladder=(1, 3), references=20, models=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    settings = {name: ",".join(map(str, np.atleast_1d(value))) for name, value in TINY.items()}
    flags = [f"--{name}={value}" for name, value in settings.items() if name != "small_width"]
    run.main(["run", f"--output={folder}", "--tables=best", "--methods=full", *flags])
    return folder


@pytest.fixture(scope="module")
def shared(folder):
    config = dataclasses.replace(Config(**TINY), output=str(folder))
    corpus = data.load(config)
    return rows.Study(config, corpus, Bases(config, corpus), {})


def test_it_runs_from_flags_to_page(folder):
    study = reports.read_record(folder / "best", complete=True)
    assert [row.name for row in study.rows] == [measure.PRETRAINED, METHODS["full"].label]
    full = study.rows[1].figures
    assert full["perplexity"].n == 2 and set(full) | {"epsilon", "difference"} == {
        column.key for column in measure.columns(Config(**TINY))
    }
    page = (folder / "best" / "report.html").read_text()
    assert "Mireshghallah et al. 2022, logs" in page and "Validation perplexity of each learning rate" in page


def test_both_points_are_those_of_the_course(folder):
    record = json.loads((folder / "rows" / "full.json").read_text())
    for model in record["models"].values():
        start, *course = model["course"]
        best = model["best"]
        assert best["perplexity"] == min(course) == course[round(4 * best["epochs"]) - 1]
        below = [value for value in course if value <= 0.99 * start]
        assert (model["crossing"] is None) == (not below)
        if below:
            assert model["crossing"]["perplexity"] == below[0]
        assert model["upper"] is None or model["upper"]["perplexity"] <= 0.995 * start


def test_a_measured_row_is_not_trained_again(shared, monkeypatch):
    monkeypatch.setattr(train, "follow", None)
    again = rows.measured(shared, "full")
    assert len(again.courses) == 2 and f"{again.rate:.3g}" in again.tried
    other = dataclasses.replace(shared.config, patience=3)
    with pytest.raises(TypeError):  # another rule is another row
        rows.measured(shared._replace(config=other), "full")
    monkeypatch.setattr(reports, "environment", lambda: {"versions": {"jax": "0.0"}})
    with pytest.raises(TypeError):  # and so are other versions, which round differently
        rows.measured(shared, "full")


def test_all_rows_cross_the_same_perplexity(shared, monkeypatch):
    rows_prepared = []

    def tune(config, prepared, *rest):
        rows_prepared.append(prepared)
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "tune", tune)
    with pytest.raises(KeyboardInterrupt):
        rows.measured(shared, "all_4bit")
    assert rows_prepared[0].fixed == shared.bases["float"].perplexity != rows_prepared[0].base.perplexity


def test_no_document_has_rows_on_two_sides(shared):
    config, corpus = shared.config, shared.corpus
    sample = data.trial(config, corpus, 0)
    documents = dict(zip(corpus.private.id.tolist(), corpus.private.document.tolist(), strict=True))
    sides = [{documents[i] for i in part.id.tolist()} for part in (sample.members, sample.nonmembers)]
    sides += [set(part.document.tolist()) for part in (corpus.validation, corpus.calibration)]
    assert sum(map(len, sides)) == len(set().union(*sides))
    assert (len(sample.train.x), len(sample.members.x), len(sample.nonmembers.x)) == (64, 60, 30)
    other = data.trial(config, corpus, 1)
    assert sample.canaries.text[0] != other.canaries.text[0] and set(sample.members.id) != set(other.members.id)
    assert np.unique(corpus.private.document, return_counts=True)[1].max() <= config.rows_per_document
    copies = {tuple(row) for row in sample.train.x[60:].tolist()}
    assert len(copies) == 2  # one of them three times


def test_text_of_too_few_rows_is_refused_with_the_number(shared):
    config = dataclasses.replace(shared.config, nonmembers=5000)
    with pytest.raises(ValueError, match="members, nonmembers need 5060 rows"):
        data.trial(config, shared.corpus, 0)
    with pytest.raises(ValueError, match="pre-training needs 25600 at least"):
        data.load(dataclasses.replace(shared.config, public_batch=512))


def test_perplexity_counts_tokens_and_never_padding(shared):
    base = shared.bases["float"]
    sample = data.trial(shared.config, shared.corpus, 0)
    part = Examples(sample.train.x[50:], sample.train.y[50:])  # canaries, whose rows are short, among them
    logits = np.asarray(jax.jit(base.model.apply)(base.variables, part.x)[0], np.float64)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = [-logs[i, t, y] for i, row in enumerate(part.y) for t, y in enumerate(row) if y >= 0]
    assert 0 < len(total) < part.y.size
    assert reading.perplexity(base.model, base.variables, part) == pytest.approx(np.exp(np.mean(total)), rel=1e-5)
    one = np.asarray(part.y)[0]
    by_hand = np.mean([-logs[0, t, y] for t, y in enumerate(one) if y >= 0])
    assert reading.row_losses(base.model, base.variables, part)[0] == pytest.approx(by_hand, rel=1e-5)


def test_the_threshold_is_of_the_calibration_rows_and_its_real_rate_of_the_others():
    rng = np.random.default_rng(0)
    target, reference = (reading.RowLosses(*(rng.normal(size=n) for n in (50, 40, 200))) for _ in range(2))
    figures = reading.membership(target, reference)
    ratio = [before - after for before, after in zip(reference, target, strict=True)]
    threshold = sorted(ratio[2])[179:181]
    assert (ratio[0] > threshold[1]).mean() <= figures["recall"] <= (ratio[0] > threshold[0]).mean()
    assert (ratio[1] > threshold[1]).mean() <= figures["fpr"] <= (ratio[1] > threshold[0]).mean()
    pairs = [(a > b) + 0.5 * (a == b) for a in ratio[0] for b in ratio[1]]
    assert figures["auc_ratio"] == pytest.approx(np.mean(pairs))


def test_a_model_that_knows_a_canary_exposes_it(shared):
    corpus = shared.corpus
    planted = data.trial(shared.config, corpus, 0).canaries
    examples = text.canaries.examples(planted, corpus.tokenizer, 56)
    secret = {tuple(x): y for x, y in zip(examples.x.tolist(), examples.y.tolist(), strict=True)}

    def apply(variables, x, **options):  # sure of the fill of the first canary, and of nothing else
        known = np.array(secret[tuple(examples.x[0].tolist())])[None, : x.shape[1]]
        same = (x == np.asarray(examples.x)[0][None, : x.shape[1]]).all(1)[:, None, None]
        return 20.0 * same * jax.nn.one_hot(np.maximum(known, 0), corpus.tokenizer.vocabulary), {}

    figures = reading.canary_figures(models.Model(lambda key, x: {}, apply), {}, planted, corpus.tokenizer, 56)
    assert figures["exposure_1"] == pytest.approx(np.log2(20)) and figures["extracted"] == 0.5
    assert figures["certified_1"] == pytest.approx(np.log2(10**6), abs=1e-3)  # certain: as good as the first of all


def test_the_grid_is_extended_while_its_edge_is_best(monkeypatch):
    def course(best):
        points = []

        def follow(config, prepared, trial, rate, epochs):
            points.append(rate)
            value = abs(np.log(rate / best))
            return train.Course([], None, None, train.Point(1, value, {}) if np.isfinite(value) else None)

        monkeypatch.setattr(train, "follow", follow)
        unused: Any = None
        chosen = train.tune(Config(), unused, unused, 1.0)[0]
        return chosen, len(points)

    assert course(1.0) == (1.0, 3)
    assert course(9.0) == (9.0, 5) and course(1 / 9) == (pytest.approx(1 / 9), 5)
    assert course(81.0) == (27.0, 5)  # twice at most


def test_baselines_are_said_whichever_way_they_point():
    seen = validity.Validity(Estimate(0.5, 0.4, 0.6), Estimate(0.188, 0.17, 0.2))
    warnings, remarks = seen.sentences()
    assert len(warnings) == 1 and "AUC 0.188" in warnings[0] and "0.812 the other way" in warnings[0]
    assert len(remarks) == 1 and "does not tell members apart: AUC 0.500" in remarks[0]


def test_an_answer_is_a_difference_of_pairs_that_both_reach_the_point():
    def row(method, values):
        figures = [None if value is None else {"auc_ratio": value} for value in values]
        return rows.Measured(method, 0.1, {}, 1, 1.0, None, 9.0, [], {"crossing": figures, "best": []}, "", 0.0)

    table = {"full": row("full", [0.6, 0.7, 0.8, None]), "head": row("head", [0.7, 0.81, 0.89, 0.9])}
    (line,) = answers.lines(table, "crossing")
    assert line[1] == "+0.100" and line[3] == "3" and line[4] == "yes"
    assert answers.headline(table, "crossing") == ""  # the small adapter is not there
    line = measure._row(Config(), table["head"], table["full"], "crossing")
    assert line.figures["difference"].value == pytest.approx(0.1) and line.figures["auc_ratio"].n == 4
    assert "3 of 4 models reach" in measure._row(Config(), table["full"], table["full"], "crossing").note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(methods=("lora",)), "lacks 'full'"),
        (dict(rows=100), r"multiple of 4 \* batch_size = 64"),
        (dict(rows=40), "above 43, the rows that are canaries"),
        (dict(delta=0.1), "delta"),
        (dict(heads=3), "must divide"),
    ],
)
def test_settings_are_checked_before_anything_is_trained(change, message):
    with pytest.raises(ValueError, match=message):
        Config(**change)


@pytest.mark.parametrize("path", sorted((HOME / "expected").glob("*.csv")), ids=lambda path: path.name)
def test_an_expected_table_is_of_its_preset(path):
    preset, _, table = path.stem.rpartition("_")
    config = PRESETS[preset]
    names = {"ablation": config.ablations, "compression": COMPRESSION}.get(table, config.methods)
    with path.open() as file:
        lines = {line["row"] for line in csv.DictReader(file)}
    assert table in config.tables and lines <= {measure.PRETRAINED, *(METHODS[name].label for name in names)}


def test_every_method_names_a_base_and_a_way_of_tuning():
    assert {*ROWS, *ABLATIONS, *COMPRESSION} == set(METHODS)
    for method in METHODS.values():
        assert method.base in BASES
        models.fine_tuning.FINE_TUNINGS[method.tuning](**method.options)


def test_a_published_model_computes_the_same_with_padding_as_token_0(tmp_path):
    coder = tokenizers.Tokenizer(tokenizers.models.BPE())
    coder.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    coder.decoder = tokenizers.decoders.ByteLevel()
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    coder.train_from_iterator([], tokenizers.trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    coder.add_special_tokens([gpt2.END])
    coder.save(str(tmp_path / "tokenizer.json"))
    rng, width = np.random.default_rng(0), 4
    shapes = {"wte.weight": (257, width), "wpe.weight": (8, width), "ln_f.weight": (width,), "ln_f.bias": (width,)}
    for name, shape in {"ln_1": (width,), "ln_2": (width,)}.items():
        shapes |= {f"h.0.{name}.weight": shape, f"h.0.{name}.bias": shape}
    dense = {"attn.c_attn": (4, 12), "attn.c_proj": (4, 4), "mlp.c_fc": (4, 16), "mlp.c_proj": (16, 4)}
    for name, (a, b) in dense.items():
        shapes |= {f"h.0.{name}.weight": (a, b), f"h.0.{name}.bias": (b,)}
    np.savez(tmp_path / "weights.npz", **{name: rng.normal(size=shape) for name, shape in shapes.items()})
    (tmp_path / "config.json").write_text('{"n_head": 2}')
    tokens = gpt2.tokenizer(tmp_path / "weights.npz")
    ids = tokens.encode("!! hé")
    assert 0 not in ids and tokens.decode([*ids, 0]) == "!! hé" and tokens.token_bytes[ids].sum() == 6
    published = models.load_gpt2(tmp_path / "weights.npz")
    model, variables = gpt2.load(tmp_path / "weights.npz", tokens)
    original = np.array([coder.encode("!! hé").ids])
    theirs = np.asarray(jax.jit(published.model.apply)(published.variables, original)[0])
    ours = np.asarray(jax.jit(model.apply)(variables, np.array([ids]))[0])
    swap = np.arange(257)
    swap[[0, 256]] = 256, 0
    np.testing.assert_allclose(ours, theirs[..., swap], rtol=1e-5, atol=1e-6)
