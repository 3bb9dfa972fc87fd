"""The questions of the study, each answered by a difference of two rows, paired by seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.memorisation.methods import FULL, METHODS
from experiments.memorisation.rows import Measured
from gecko_jax import metrics
from gecko_jax.types import Estimate


class Question(NamedTuple):
    """A difference of two rows.

    Attributes:
      text: the question.
      more, less: names of the rows; the claim is that the difference of `more` and `less` is above 0.
      figure: of which.
      other: the figure of `less`, if it is another one.
    """

    text: str
    more: str
    less: str
    figure: str = "auc_ratio"
    other: str = ""


QUESTIONS = (
    Question("Does the head leak more than full fine-tuning?", "head", FULL),
    Question("Does full fine-tuning leak more than a small adapter?", FULL, "adapter16"),
    Question("Does full fine-tuning leak more than a large adapter?", FULL, "adapter2"),
    Question("Does a large adapter leak more than a small one?", "adapter2", "adapter16"),
    Question("Does full fine-tuning leak more than LoRA?", FULL, "lora"),
    Question("Does full fine-tuning leak more than a prefix?", FULL, "prefix"),
    Question("Does full fine-tuning leak more than BitFit?", FULL, "bitfit"),
    Question("Does full fine-tuning expose canaries seen 5 times more than a large adapter?", FULL, "adapter2",
             "exposure_5"),
    Question("Does the reference tell more than the loss alone, of full fine-tuning?", FULL, FULL, other="auc_loss"),
    Question("Does the reference tell more than the loss alone, of LoRA?", "lora", "lora", other="auc_loss"),
    Question("Does the head leak more than DP-full at ε = 8?", "head", "dp_full_8"),
    Question("Does LoRA leak more than DP-LoRA at ε = 8?", "lora", "dp_lora_8"),
    Question("What does DP-LoRA cost in perplexity at ε = 8?", "dp_lora_8", "lora", "perplexity"),
    Question("What does DP-LoRA cost in perplexity at ε = 2?", "dp_lora_2", "lora", "perplexity"),
    Question("What does DP-full cost in perplexity at ε = 8?", "dp_full_8", FULL, "perplexity"),
    Question("Does full fine-tuning leak more if the base is not pruned?", FULL, "pruned"),
    Question("Does LoRA leak more if the base is not in 4 bits?", "lora", "lora_4bit"),
)  # fmt: skip
HEADINGS = ("question", "difference", "95 % interval", "models", "answer")
NOTE = (
    "Each difference is paired by seed: both models of a pair were trained on the same members and canaries. Yes or no "
    "only if the interval excludes 0, which by chance alone it does for one question in twenty."
)


def pairs(
    a: Measured, b: Measured, point: str, figure: str, other: str = ""
) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns a figure of the models that reach a point in both rows, or None if fewer than two do.

    Args:
      a, b: rows.
      point: "crossing" or "best".
      figure: key of a figure.
      other: key of the figure of `b`; "" for the same.
    """
    other = other or figure
    both = [
        (x[figure], y[other])
        for x, y in zip(a.figures[point], b.figures[point], strict=True)
        if x is not None and y is not None and figure in x and other in y
    ]
    return None if len(both) < 2 else (np.array([x for x, _ in both]), np.array([y for _, y in both]))


def difference(rows: Mapping[str, Measured], question: Question, point: str) -> Estimate | None:
    """Returns the difference that a question asks for, or None if the rows are not there or do not reach the point."""
    if question.more not in rows or question.less not in rows:
        return None
    both_rows = pairs(rows[question.more], rows[question.less], point, question.figure, question.other)
    return None if both_rows is None else metrics.paired_difference(*both_rows)


def verdict(figure: Estimate) -> str:
    """Returns what an interval says of the claim that the difference is above 0.

    >>> verdict(Estimate(0.2, 0.1, 0.3)), verdict(Estimate(-0.2, -0.3, -0.1)), verdict(Estimate(0.1, -0.1, 0.3))
    ('yes', 'no, the other way', 'not resolved')
    """
    if figure.low is not None and figure.low > 0:
        return "yes"
    return "no, the other way" if figure.high is not None and figure.high < 0 else "not resolved"


def lines(rows: Mapping[str, Measured], point: str) -> list[tuple[str, ...]]:
    """Returns the table of the questions that these rows answer.

    Args:
      rows: {name: row}.
      point: "crossing" or "best".
    """
    table = []
    for question in QUESTIONS:
        if (figure := difference(rows, question, point)) is not None:
            interval = "" if figure.low is None else f"{figure.low:+.3f} to {figure.high:+.3f}"
            answer = verdict(figure) if question.figure != "perplexity" else ""
            table.append((question.text, f"{figure.value:+.3f}", interval, str(figure.n), answer))
    return table


def headline(rows: Mapping[str, Measured], point: str) -> str:
    """Returns the answer to the paper's claim that the head leaks most and small adapters least, or ""."""
    order = [("head", FULL), (FULL, "adapter16")]
    figures = [difference(rows, Question("", *names), point) for names in order]
    if any(figure is None for figure in figures):
        return ""
    sentences = [
        f"{METHODS[a].label} − {METHODS[b].label}: {figure.value:+.3f} ({verdict(figure)})"
        for (a, b), figure in zip(order, figures, strict=True)
        if figure is not None
    ]
    return f"Head > full > small adapter in the AUC of the reference ratio? {'; '.join(sentences)}."
