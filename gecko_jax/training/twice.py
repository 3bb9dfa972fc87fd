"""Just fine-tune twice: first on redacted rows without noise, then privately on the rows as they are.

Its guarantee, and what that does not cover: selective_epsilon.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import checks
from gecko_jax.datasets.text.selective import SelectiveRows
from gecko_jax.privacy.gradients import THRESHOLD
from gecko_jax.privacy.private_training import PrivateTraining
from gecko_jax.training.ensemble import Fit, fit, fit_ensemble
from gecko_jax.training.selective_epsilon import SelectiveEpsilon
from gecko_jax.training.twice_checks import check_twice, counts
from gecko_jax.types import Examples, Model, Variables


class FitTwice(NamedTuple):
    """What `fit_twice` returns.

    Attributes:
      first: the training on redacted rows.
      second: the private training on the rows as they are, whose variables are the result.
      guarantee: what both together guarantee to the secrets.
    """

    first: Fit
    second: Fit
    guarantee: SelectiveEpsilon


def fit_twice(
    model: Model,
    rows: SelectiveRows,
    private: PrivateTraining,
    *,
    init: Variables | None = None,
    first: Mapping[str, Any] | None = None,
    second: Mapping[str, Any] | None = None,
    start: Callable[[Variables], Variables] | None = None,
    models: int | None = None,
) -> FitTwice:
    """Fine-tunes a causal language model on redacted rows, and then privately on the rows as they are.

        rows = text.selective_rows(documents, tokenizer, 64, policy)
        private = privacy.private_training(model, loss, clipping, n=len(rows.tokens), adjacency="replace_one", ...)
        result = training.fit_twice(model, rows, private, init=pretrained, first=dict(epochs=3))
        print(result.guarantee)

    Args:
      model: of the first training.
      rows: of `datasets.text.selective_rows`.
      private: of `private_training` with adjacency="replace_one": removing a row would change the redacted rows, which
        the first training reads without noise.
      init: pretrained variables; they must not come from the private rows. None: fresh ones.
      first: options of `fit` for the redacted rows: optimizer, epochs, batch_size, trainable, ...
      second: options of `fit` for the private training, beside those that `private` fixes: optimizer, folder, ...
      start: variables of the first training -> those that the second starts from, if its model differs, as with
        `fine_tuning.start`; it must not read the rows. None: the same.
      models: how many to train at once, each with randomness of its own, for studies: `init`, `start` and all variables
        have a leading axis then. The guarantee is for one of them. None: one model, without that axis.

    Returns:
      A FitTwice.

    Raises:
      ValueError: an epsilon for another adjacency, number of rows, sampling or noise than the second training's;
        redacted rows that are not the rows with markers; an option that is fixed; see `fit`.

    Source: Shi et al., "Just fine-tune twice: selective differential privacy for large language models" (EMNLP 2022,
      arXiv 2204.07667); the neighbors are those of Shi et al., "Selective differential privacy for language modeling"
      (NAACL 2022), definition 3, restricted to rows with the same redacted row.

    >>> from gecko_jax import clippings, losses, models, privacy
    >>> from gecko_jax.datasets.text import bytes_tokenizer, from_texts
    >>> from gecko_jax.datasets.text.policies import matching
    >>> from gecko_jax.datasets.text.selective import selective_rows
    >>> from flax import linen as nn
    >>> model = models.from_linen(nn.Sequential([nn.Embed(259, 2), nn.Dense(259)]))
    >>> rows = selective_rows(from_texts(["Bed 12.", "Bed 7."]), bytes_tokenizer(), 12, matching("[0-9]+"), 4)
    >>> private = privacy.private_training(model, losses.sequence_cross_entropy(padding=-1), clippings.flat(1.0), n=2,
    ...                                    batch_size=2, epochs=1, delta=0.1, noise_multiplier=1.0,
    ...                                    adjacency="replace_one")
    >>> result = fit_twice(model, rows, private, first=dict(epochs=1))
    >>> float(result.guarantee) == float(private.epsilon), sorted(result.guarantee.rows_per.items())
    (True, [('document', 1), ('secret', 1)])
    """
    check_twice(rows, private, first or {}, second or {})
    loss = getattr(private.gradients, "loss", None)
    redacted, original = rows.first(), rows.second()
    if not len(redacted.y):
        raise ValueError("rows hold no public word to predict, and the first training learns nothing. Train privately.")
    one = _fit(models, model, redacted, init=init, **{"loss": loss, **(first or {})})
    begun = one.variables if start is None else start(one.variables)
    two = _fit(
        models,
        private.model,
        original,
        init={**begun, **_threshold(private, original, models)},
        **(second or {}),
        **private.options,
    )
    units = ("secret", "document") if rows.user is None else ("secret", "document", "user")
    rows_per = {unit: rows.rows_per(unit) for unit in units}
    return FitTwice(one, two, SelectiveEpsilon(private.epsilon, rows.policy, len(rows.tokens), rows_per))


def _fit(models: int | None, model: Model, data: Examples, **options: Any) -> Fit:
    """Trains one model, or several on the same rows."""
    if models is None:
        return fit(model, data, **options)
    return fit_ensemble(model, data, np.ones((checks.integer("models", models, 1), len(data.y)), bool), **options)


def _threshold(private: PrivateTraining, data: Examples, models: int | None) -> Variables:
    """Returns what the private model of an adaptive rule has beside the variables: the threshold it starts from."""
    if not counts(private, data.x[:1]):
        return {}
    start = jax.jit(private.model.init)(jax.random.key(0), data.x[:1])[THRESHOLD]
    if models is not None:
        start = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf)[None], models, axis=0), start)
    return {THRESHOLD: start}
