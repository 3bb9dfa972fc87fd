"""Metric differential privacy for words: each token is replaced by the nearest one to its noised embedding.

  noise z in R^d has density proportional to exp(-epsilon |z|): a random direction, length Gamma(d, 1 / epsilon)

Guarantee, for each token and all candidates w, w', v:

  P[w becomes v] <= exp(epsilon |e(w) - e(w')|) P[w' becomes v]

So epsilon is a price for each unit of distance between embeddings, and not the epsilon of differential privacy: words
that are near each other are hard to tell apart, words that are far apart are not. With the diameter D of the
embeddings, it implies epsilon D for any two words: `worst_epsilon`, local and without delta. For two texts of n tokens
the prices of their places add up, at most n epsilon D. The number of tokens, and where padding is, stay public.

Not covered: embeddings that were trained on the private text, and the finite precision of floating-point numbers.

| argument | 0, below, NaN, infinite | tiny | large |
|---|---|---|---|
| epsilon | refused | the candidates nearest to far points, whatever the word | every word stays |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gecko_jax import checks
from gecko_jax.privacy.metric_noise import ENTRIES_PER_BLOCK, diameter_of, metric_noise, nearest, uniform_source
from gecko_jax.types import Array


class WordNoise(NamedTuple):
    """A mechanism that replaces tokens; built by `word_noise`.

    Attributes:
      embeddings: float64 [k, d] of the candidates.
      candidates: int [k], the tokens that may come in and out, ascending.
      epsilon: price for each unit of distance.
      diameter: an upper bound on the distance of two candidates; exact for up to 4,096 of them.
      padding: the token that stays where it is; None if none does.
    """

    embeddings: np.ndarray
    candidates: np.ndarray
    epsilon: float
    diameter: float
    padding: int | None

    @property
    def worst_epsilon(self) -> float:
        """Returns the epsilon of pure local differential privacy for one token: epsilon * diameter."""
        return self.epsilon * self.diameter

    def __str__(self) -> str:
        return (
            f"metric differential privacy: {self.epsilon:g} for each unit of distance between embeddings and each "
            f"token, modeled. In the usual sense at most {self.worst_epsilon:.4g} for one token (diameter "
            f"{self.diameter:.4g}), n times that for a text of n tokens; the number of tokens is public"
        )

    def apply(self, tokens: Array, seed: int | None = None) -> np.ndarray:
        """Replaces every token, each with noise of its own.

        Each call is a release: two copies of one text cost twice the epsilon, and an average over copies removes noise.

        Args:
          tokens: integers of any shape, candidates or padding.
          seed: to repeat a study, in 0..2^32-1; whoever knows it can undo the noise. None: bits from the operating
            system, which cannot be repeated.

        Returns:
          Tokens of the same shape and dtype.

        Raises:
          ValueError: a token that is not a candidate: left as it is, it would have no privacy.
        """
        tokens = np.asarray(tokens)
        if tokens.dtype.kind not in "iu":
            raise ValueError(f"tokens has dtype {tokens.dtype}; expected integers.")
        noised = tokens.reshape(-1).copy()
        places = np.flatnonzero(noised != self.padding) if self.padding is not None else np.arange(noised.size)
        rows = _rows_of(noised[places], self.candidates)
        size = max(1, ENTRIES_PER_BLOCK // max(self.embeddings.shape))  # of places at once
        for block, start in enumerate(range(0, len(places), size)):
            chosen = self.embeddings[rows[start : start + size]]
            noise = metric_noise(len(chosen), chosen.shape[1], self.epsilon, uniform_source(seed, block))
            noised[places[start : start + size]] = self.candidates[nearest(chosen + noise, self.embeddings)]
        return noised.reshape(tokens.shape)


def word_noise(
    embeddings: Array, epsilon: float, *, candidates: Array | None = None, padding: int | None = 0
) -> WordNoise:
    """Builds the mechanism of Feyisetan et al., "Privacy- and utility-preserving textual analysis" (WSDM 2020).

    Args:
      embeddings: float [vocabulary, d], from public data; token i has row i.
      epsilon: price for each unit of distance, above 0. The diameter says what it means: a `worst_epsilon` of 10 needs
        epsilon = 10 / diameter.
      candidates: int [k], the tokens that texts consist of; None: all but `padding`. Leave special tokens out.
      padding: the token that stays where it is; None if none does.

    Returns:
      A WordNoise.

    Raises:
      ValueError: an argument out of its bounds, embeddings that are not finite, fewer than two different ones.

    Source: Feyisetan, Balle, Drake, Diethe (arXiv 1910.08902), algorithm 1 and theorem 1; metric privacy:
      Chatzikokolakis et al., "Broadening the scope of differential privacy using metrics" (PETS 2013).

    >>> noise = word_noise(np.array([[9.0], [0.0], [1.0], [2.0]]), epsilon=2.0)
    >>> noise.diameter, noise.worst_epsilon
    (2.0, 4.0)
    >>> noise.apply(np.array([[1, 2, 3, 0]]), seed=0).shape
    (1, 4)
    """
    table = checks.finite("embeddings", np.asarray(embeddings, np.float64))
    checks.shape("embeddings", table, (None, None))
    if not table.shape[1]:
        raise ValueError(f"embeddings has shape {table.shape}; expected at least one number for each token.")
    epsilon = float(checks.positive("epsilon", epsilon))
    checks.finite("epsilon", epsilon)
    if candidates is None:
        chosen = np.array([token for token in range(len(table)) if token != padding])
    else:
        chosen = np.unique(checks.not_empty("candidates", np.asarray(candidates)))
        if chosen.dtype.kind not in "iu" or chosen[0] < 0 or chosen[-1] >= len(table):
            raise ValueError(f"candidates must be tokens in 0..{len(table) - 1}, one for each row of embeddings.")
        if padding is not None and padding in chosen:
            raise ValueError(f"candidates holds padding={padding!r}, which stays where it is; leave it out.")
    table = table[chosen]
    diameter = diameter_of(table)
    if diameter == 0:
        raise ValueError(
            f"embeddings of the {len(chosen)} candidates are equal: every word would become the first. Pass trained "
            "ones, of at least two words."
        )
    return WordNoise(table, chosen, epsilon, diameter, padding)


def _rows_of(tokens: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    rows = np.searchsorted(candidates, tokens).clip(max=len(candidates) - 1)
    if (wrong := tokens[candidates[rows] != tokens]).size:
        raise ValueError(
            f"tokens holds {wrong.size:,} that are not candidates, the first {wrong[0]}: left as they are, they would "
            "have no privacy. Map them to candidates first, or take them out."
        )
    return rows
