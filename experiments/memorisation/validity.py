"""Are members and non-members of one distribution? What tells them apart without the fine-tuned model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.memorisation import reading
from experiments.memorisation.data import Trial, trial
from experiments.memorisation.rows import Study
from gecko_jax import metrics
from gecko_jax.audit.validity.blind_baselines import of_records
from gecko_jax.datasets.text.rows import ROWS_PER_DOCUMENT
from gecko_jax.types import Estimate


class Validity(NamedTuple):
    """AUCs over the seeds of what knows nothing of the fine-tuned model; 1/2 if members are drawn as they should be.

    Attributes:
      blind: of a classifier of the rows' token counts.
      reference: of the pre-trained model's loss alone.
    """

    blind: Estimate
    reference: Estimate

    def sentences(self) -> tuple[list[str], list[str]]:
        """Returns (warnings, remarks): a baseline whose interval excludes 1/2, whichever way, is a warning."""
        warnings, remarks = [], []
        ways = {
            "a classifier of the token counts alone": self.blind,
            "the pre-trained model's loss alone": self.reference,
        }
        for name, auc in ways.items():
            figure = f"AUC {auc.value:.3f}" + (f" [{auc.low:.3f}, {auc.high:.3f}]" if auc.low is not None else "")
            if auc.low is not None and auc.high is not None and not auc.low <= 0.5 <= auc.high:
                way = "" if auc.value > 0.5 else f", that is {1 - auc.value:.3f} the other way"
                warnings.append(
                    f"Members and non-members can be told apart by {name}: {figure}{way}. They are not of one "
                    "distribution, which every figure below shows, too."
                )
            else:
                remarks.append(f"Without the fine-tuned model, {name} does not tell members apart: {figure}.")
        return warnings, remarks


def of(study: Study) -> Validity:
    """Returns the baselines of a study's trials.

    Args:
      study: what all rows share.
    """
    if "validity" in study.memo:
        return study.memo["validity"]
    vocabulary = study.corpus.tokenizer.vocabulary
    blind, reference = [], []
    for seed in range(study.config.models):
        sample = trial(study.config, study.corpus, seed)
        blind.append(_blind(sample, vocabulary))
        losses = study.bases.losses("float", sample)
        reference.append(reading.membership(losses, losses)["auc_reference"])
    study.memo["validity"] = Validity(metrics.mean_interval(blind), metrics.mean_interval(reference))
    return study.memo["validity"]


def _blind(sample: Trial, vocabulary: int) -> float:
    rows = np.concatenate([sample.members.x, sample.nonmembers.x])
    member = np.repeat([True, False], [len(sample.members.x), len(sample.nonmembers.x)])
    counts = np.stack([np.bincount(row, minlength=vocabulary) for row in rows])[:, 1:]  # without padding
    documents = np.concatenate([sample.members.id, sample.nonmembers.id]) // ROWS_PER_DOCUMENT
    features = np.log1p(counts.astype(np.float32))
    scores, truth = of_records(features, np.zeros(len(rows), np.int64), member, documents)
    return metrics.roc_auc(scores, truth)
