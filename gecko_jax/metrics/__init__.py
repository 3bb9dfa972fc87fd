"""Metrics: arrays in, figures out. NumPy, float64.

The accuracy and macro-F1 of a model, the success of a membership attack (the ROC curve and its points), confidence
intervals, calibration, lower bounds on epsilon that an attack shows, the exposure of single records; of language models
the perplexity and how much of their training text can be extracted.
Every score is larger for a likelier member; "score >= threshold" says member.
"""

from __future__ import annotations

from gecko_jax.metrics.accuracy import accuracy, macro_f1
from gecko_jax.metrics.calibration import (
    ReliabilityBins,
    classwise_calibration_error,
    expected_calibration_error,
    maximum_calibration_error,
    reliability_bins,
)
from gecko_jax.metrics.certified_exposure import certified_exposure
from gecko_jax.metrics.copied_passages import CopiedPassages, copied_passages
from gecko_jax.metrics.differences import paired_auc_difference, paired_difference
from gecko_jax.metrics.eidetic import EideticCount, count_documents, eidetic_counts
from gecko_jax.metrics.epsilon_bounds import EpsilonBound, clopper_pearson_epsilon, epsilon_lower_bound
from gecko_jax.metrics.exposure import exposure, extrapolated_exposure
from gecko_jax.metrics.exposure_ladder import LadderStep, exposure_ladder
from gecko_jax.metrics.extraction import greedy_tokens, is_extracted, matched_tokens, sampled_extraction
from gecko_jax.metrics.extraction_rates import extraction_rate, extraction_rates
from gecko_jax.metrics.gaussian_dp import gaussian_epsilon
from gecko_jax.metrics.intervals import (
    auc_interval,
    balanced_accuracy_interval,
    clopper_pearson,
    mean_band,
    mean_interval,
    tpr_interval_at_fpr,
)
from gecko_jax.metrics.loss_tail import loss_tail
from gecko_jax.metrics.one_run import OneRunBound, one_run_epsilon, one_run_epsilon_from_scores
from gecko_jax.metrics.one_run_gaussian import gaussian_signals_epsilon
from gecko_jax.metrics.perplexity import bits_per_byte, byte_perplexity, perplexity
from gecko_jax.metrics.perplexity_interval import perplexity_interval
from gecko_jax.metrics.predictive_value import (
    positive_predictive_value,
    predictive_value_interval,
    predictive_value_interval_at_fpr,
)
from gecko_jax.metrics.proper_scores import brier_score, negative_log_likelihood
from gecko_jax.metrics.ratios import ratio_interval
from gecko_jax.metrics.roc import (
    advantage,
    balanced_accuracy,
    roc_auc,
    roc_curve,
    scored_pairs,
    smallest_fpr,
    tpr_at_fpr,
)
from gecko_jax.metrics.shapr import shapr
from gecko_jax.metrics.temperature import PrivateTemperature, fit_temperature, fit_temperature_privately

__all__ = [
    "CopiedPassages",
    "EideticCount",
    "EpsilonBound",
    "LadderStep",
    "OneRunBound",
    "PrivateTemperature",
    "ReliabilityBins",
    "accuracy",
    "advantage",
    "auc_interval",
    "balanced_accuracy",
    "balanced_accuracy_interval",
    "bits_per_byte",
    "brier_score",
    "byte_perplexity",
    "certified_exposure",
    "classwise_calibration_error",
    "clopper_pearson",
    "clopper_pearson_epsilon",
    "copied_passages",
    "count_documents",
    "eidetic_counts",
    "epsilon_lower_bound",
    "expected_calibration_error",
    "exposure",
    "exposure_ladder",
    "extraction_rate",
    "extraction_rates",
    "extrapolated_exposure",
    "fit_temperature",
    "fit_temperature_privately",
    "gaussian_epsilon",
    "gaussian_signals_epsilon",
    "greedy_tokens",
    "is_extracted",
    "loss_tail",
    "macro_f1",
    "matched_tokens",
    "maximum_calibration_error",
    "mean_band",
    "mean_interval",
    "negative_log_likelihood",
    "one_run_epsilon",
    "one_run_epsilon_from_scores",
    "paired_auc_difference",
    "paired_difference",
    "perplexity",
    "perplexity_interval",
    "positive_predictive_value",
    "predictive_value_interval",
    "predictive_value_interval_at_fpr",
    "ratio_interval",
    "reliability_bins",
    "roc_auc",
    "roc_curve",
    "sampled_extraction",
    "scored_pairs",
    "shapr",
    "smallest_fpr",
    "tpr_at_fpr",
    "tpr_interval_at_fpr",
]
