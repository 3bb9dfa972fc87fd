"""The tables: figures of rows in, a `reports.Study` out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from experiments.memorisation import answers, published, reading, validity
from experiments.memorisation.config import Config
from experiments.memorisation.data import trial
from experiments.memorisation.methods import FULL, METHODS
from experiments.memorisation.rows import Measured, Study, mean_course, measured
from gecko_jax import metrics, reports
from gecko_jax.types import Estimate

PRETRAINED = "pre-trained"
SHARES = ("recall", "fpr", "tpr1", "extracted")  # shown in %
TITLES = {
    "upper": "Memorization at the first crossing of a higher validation perplexity",
    "crossing": "Memorization at the first crossing of a fixed validation perplexity",
    "best": "Memorization at the best validation perplexity",
    "ablation": "Which trained parameters memorize, at the first crossing",
    "compression": "Train large, then compress: at the best validation perplexity",
}
POINT_OF = {"upper": "upper", "crossing": "crossing", "best": "best", "ablation": "crossing", "compression": "best"}


def columns(config: Config, name: str = "") -> tuple[reports.Column, ...]:
    """Returns the columns; exposure is shown of the canaries that are repeated least, in between and most.

    Args:
      config: the settings.
      name: of the table: that of compression has the model's bytes as well.
    """
    ladder = sorted(config.ladder)
    times = dict.fromkeys((ladder[0], ladder[len(ladder) // 2], ladder[-1]))
    exposures = tuple(
        reports.Column(f"exposure_{each}", f"Exposure, {each} ×", "bit", 2, alarm=reading.CHANCE_EXPOSURE)
        for each in times
    )
    certified = reports.Column(f"certified_{ladder[-1]}", f"certified, {ladder[-1]} ×", "bit", 2, alarm=0.0)
    return (
        *((reports.Column("bytes", "Deployed", "kB", 1, "low"),) if name == "compression" else ()),
        reports.Column("parameters", "Trained", "", 0),
        reports.Column("epsilon", "ε", "", 2, "low"),
        reports.Column("epochs", "Epochs", "", 2),
        reports.Column("perplexity", "Validation perplexity", "", 2, "low"),
        reports.Column("auc_loss", "AUC, loss", "", 3, alarm=0.5),
        reports.Column("auc_ratio", "AUC, reference ratio", "", 3, alarm=0.5),
        reports.Column("difference", "AUC, ratio − full's", "", 3),
        reports.Column("recall", "Recall at 10 %", "%", 1, alarm=10.0),
        reports.Column("fpr", "its real FPR", "%", 1),
        reports.Column("tpr1", "TPR at 1 % FPR", "%", 1, alarm=1.0),
        *exposures,
        certified,
        reports.Column("extracted", "Canaries extracted", "%", 1, alarm=0.0),
    )


def study(shared: Study, name: str, names: Sequence[str]) -> reports.Study:
    """Returns a table of methods at one of the points.

    Args:
      shared: what all rows share.
      name: of the table, a key of TITLES.
      names: of the methods.
    """
    config, point = shared.config, POINT_OF[name]
    rows = {each: measured(shared, each) for each in dict.fromkeys((FULL, *names))}
    lines = [_before(shared), *(_row(config, rows[each], rows[FULL], name) for each in names)]
    share = config.upper if point == "upper" else config.crossing
    warnings, remarks = validity.of(shared).sentences()
    curves = [reports.Curve(METHODS[each].label, *mean_course(row)) for each, row in rows.items()]
    compared = answers.lines(rows, point)
    questions = [reports.TextTable("Questions, paired by seed", answers.HEADINGS, compared, answers.NOTE)]
    exhibits = (
        *(questions if compared else []),
        reports.TextTable("Published figures", published.HEADINGS, published.LINES, published.NOTE),
        reports.TrainingCurves("Fine-tuning", tuple(curves), "Validation perplexity", "Mean over the models."),
    )
    return reports.Study(
        title=f"{TITLES[name]}: {shared.corpus.name}",
        summary=_summary(config, point, share, shared.bases["float"].perplexity),
        rows=tuple(lines),
        columns=columns(config, name),
        exhibits=exhibits,
        notes=reports.Notes(
            headline=answers.headline(rows, point),
            warnings=tuple(warnings),
            footnotes=(*remarks, *_footnotes(config, rows)),
        ),
        record={"timings": {each: round(row.seconds, 1) for each, row in rows.items()}},
    )


def _before(shared: Study) -> reports.Row:
    """Returns the row of the pre-trained model: its own loss as an attack, which must not tell members apart."""
    if PRETRAINED in shared.memo:
        return shared.memo[PRETRAINED]
    config, base = shared.config, shared.bases["float"]
    figures = []
    for seed in range(config.models):
        sample = trial(config, shared.corpus, seed)
        losses = shared.bases.losses(base.name, sample)
        canaries = reading.canary_figures(
            base.model, base.variables, sample.canaries, shared.corpus.tokenizer, config.length
        )
        figures.append({"auc_loss": reading.membership(losses, losses)["auc_reference"], **canaries})
    means = _means(config, figures)
    means["perplexity"] = Estimate(base.perplexity)
    row = reports.Row(PRETRAINED, means, "", "the reference alone: its loss must not tell members apart")
    return shared.memo.setdefault(PRETRAINED, row)


def _row(config: Config, row: Measured, full: Measured, name: str) -> reports.Row:
    point = POINT_OF[name]
    method, all_models = METHODS[row.method], row.figures[point]
    reached = [figures for figures in all_models if figures is not None]
    notes = [method.note, row.note, f"learning rate {row.rate:.3g}"]
    if len(reached) < len(all_models):
        notes.append(f"{len(reached)} of {len(all_models)} models reach this point")
    means: dict[str, Estimate] = {"parameters": Estimate(row.parameters, kind="counted")}
    if name == "compression":
        means["bytes"] = Estimate(row.bytes / 1000, kind="counted", unit="kB")
    if row.epsilon is not None:
        means["epsilon"] = Estimate(row.epsilon, kind="modeled")
    if reached:
        means |= _means(config, reached)
    pairs = answers.pairs(row, full, point, "auc_ratio")
    if row.method != FULL and pairs is not None:
        means["difference"] = metrics.paired_difference(*pairs)
    return reports.Row(method.label, means, "", "; ".join(filter(None, notes)))


def _means(config: Config, figures: Sequence[dict[str, float]]) -> dict[str, Estimate]:
    """Returns each column's mean over the models."""
    means = {}
    for column in columns(config):
        if column.key in figures[0]:
            mean = metrics.mean_interval(np.array([each[column.key] for each in figures]))
            means[column.key] = reports.percent(mean) if column.key in SHARES else mean._replace(unit=column.unit)
    return means


def _summary(config: Config, point: str, share: float, start: float) -> str:
    rule = (
        f"the first evaluation at which the validation perplexity is at most {share * start:.2f}, {share:g} of the "
        "pre-trained model's, on the way down"
        if point != "best"
        else "the evaluation with the lowest validation perplexity"
    )
    return (
        f"Each row is {config.models} models, each with members, canaries and order of its own, and is measured at "
        f"{rule}. Validation is read every quarter epoch; the learning rate of each row was chosen on it by another "
        "seed. Both rules were fixed before anything was attacked. Figures are means with 95 % intervals over the "
        "models."
    )


def _footnotes(config: Config, rows: dict[str, Measured]) -> tuple[str, ...]:
    rates = "; ".join(
        f"{METHODS[name].label}: " + ", ".join(f"{rate}: {value:.4g}" for rate, value in row.tried.items())
        for name, row in rows.items()
    )
    return (
        "AUC, reference ratio: of the pre-trained model's loss minus the fine-tuned one's. Recall at 10 %: members "
        f"above the threshold that a tenth of {config.calibration} calibration rows are above; its real FPR is "
        "measured on the non-members. TPR at 1 % FPR: of the ratio, at an empirical FPR of at most 1 %.",
        f"Exposure: of {config.secrets} canaries a model for each number of repetitions, by rank among "
        f"{config.references} fills that were never trained on: at most {np.log2(config.references):.2f} bits, and "
        f"{reading.CHANCE_EXPOSURE:.2f} on average without memorization. Certified: a lower bound on the "
        "exposure among all million fills, from the fill's own probability. Extracted: greedy decoding of the prefix "
        "gives the fill.",
        "ε is for one row of text, not for an author or a document of several rows, and not for a canary that is "
        "repeated: k copies have k ε at a larger delta. It covers one run: neither the choice of the learning rate nor "
        "this report, whose figures are computed on the training data.",
        f"Validation perplexity of each learning rate that was tried: {rates}.",
    )
