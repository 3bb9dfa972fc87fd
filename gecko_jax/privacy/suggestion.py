"""A starting point for private training, from the number of examples and a privacy budget alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from gecko_jax import checks, clippings
from gecko_jax.privacy.accounting.calibration import calibrate_noise
from gecko_jax.privacy.accounting.epsilon import Epsilon, epsilon
from gecko_jax.privacy.sampling import poisson
from gecko_jax.types import Clipping

LEARNING_RATE = 0.01  # of Adam, for a network that is trained from the start
FINE_TUNING_RATES = {"full": 1e-3, "lora": 4e-3}  # of Adam, for a pre-trained language model
BATCHES_PER_EPOCH = 10
CLIP_NORM = 1.0  # of automatic clipping, which makes it one setting with the learning rate


class Suggestion(NamedTuple):
    """Settings to begin with.

    Attributes:
      clipping: automatic clipping.
      n: number of training examples.
      batch_size: expected rows of a Poisson batch.
      epochs: passes over the data.
      delta: of the guarantee.
      noise_multiplier: that meets the budget.
      learning_rate: of Adam.
      epsilon: what the run costs.
    """

    clipping: Clipping
    n: int
    batch_size: int
    epochs: int
    delta: float
    noise_multiplier: float
    learning_rate: float
    epsilon: Epsilon

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `private_training` beside the model and the loss."""
        names = ("clipping", "n", "batch_size", "epochs", "delta", "noise_multiplier")
        return {name: getattr(self, name) for name in names}


def suggest(
    n: int, target_epsilon: float, delta: float | None = None, epochs: int = 30, fine_tuning: str | None = None
) -> Suggestion:
    """Suggests the settings of a first private run: large batches, few passes, Adam, automatic clipping.

    A batch has n/10 rows, because the noise on a step is the same however many rows share it. Automatic clipping leaves
    one setting, the learning rate of Adam; .01 is rarely far off. The noise follows from the budget. On
    scikit-learn's digits (1,437 examples) a LeNet reaches 92 % at epsilon 3 and 93 % at epsilon 8.

        start = privacy.suggest(n=len(train.x), target_epsilon=8.0)
        run = privacy.private_training(model, loss, **start.options)
        training.fit(run.model, train, optimizer=training.optimizer("adam", start.learning_rate), **run.options)

    Fine-tuning takes smaller steps, above all of the whole model. At epsilon 8, on 633 rows of 48 tokens and a
    transformer of two blocks, the perplexity of other rows went from 11.3 to 9.8, 9.3 and 9.9 by LoRA of rank 8 at
    rates of .001, .004 and .016, and to 8.4 and 15.9 by full fine-tuning at .001 and .004 (measured, one seed).

    What to tune, in this order: the learning rate (.003 to .03), the passes (20 to 40), a smaller model, n/5 or n/20
    rows. Which data to tune on: public data of the same kind, or records that need no protection and that no released
    model was trained on. Whoever compares runs on the private training data, or on held-out private records, spends
    privacy for each of them: the epsilon here covers one run alone, and settings that were chosen on private data are
    themselves a release (Papernot and Steinke 2022 show how to account for it).

    Args:
      n: number of training examples, which is public.
      target_epsilon: the budget, above 0.
      delta: the chance that the guarantee fails, below 1/n; None for 1/(10 n).
      epochs: passes over the data, usually 20 to 40.
      fine_tuning: "full" or "lora", how a pre-trained language model is fine-tuned, which has a smaller learning rate;
        None: a network is trained from the start.

    Returns:
      A Suggestion, whose `options` go to `private_training`.

    Raises:
      ValueError: fewer than 10 examples, another argument out of its bounds, a budget that no noise meets.

    Source: large batches: De et al. 2022 (arXiv 2204.13650), section 3; automatic clipping: Bu et al., NeurIPS 2023
    (arXiv 2206.07136); the cost of tuning: Papernot and Steinke, ICLR 2022 (arXiv 2110.03620).

    >>> start = suggest(n=1000, target_epsilon=8.0)
    >>> start.batch_size, start.epochs, start.delta, round(start.noise_multiplier, 2), float(start.epsilon) <= 8
    (100, 30, 0.0001, 1.18, True)
    >>> list(start.options)
    ['clipping', 'n', 'batch_size', 'epochs', 'delta', 'noise_multiplier']
    """
    n = checks.integer("n", n, BATCHES_PER_EPOCH)
    epochs = checks.integer("epochs", epochs, 1)
    rate = LEARNING_RATE if fine_tuning is None else checks.lookup("fine_tuning", fine_tuning, FINE_TUNING_RATES)
    delta = 1 / (10 * n) if delta is None else delta
    batch_size = n // BATCHES_PER_EPOCH
    sampling = poisson(n, batch_size, epochs * max(1, round(n / batch_size)))
    noise = calibrate_noise(sampling, target_epsilon, delta)
    rule = clippings.automatic(CLIP_NORM)
    return Suggestion(rule, n, batch_size, epochs, delta, noise, rate, epsilon(sampling, noise, delta))
