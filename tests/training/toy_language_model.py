"""A causal language model of one's own, trained plainly, quantized, privately and as an ensemble, as a user would."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from gecko_jax import clippings, datasets, losses, models, privacy, quantizers, training
from gecko_jax.types import Examples


class LanguageModel(nn.Module):
    """Logits [b, t, words] of the next token after each of tokens [b, t]."""

    words: int

    @nn.compact
    def __call__(self, tokens):
        each = nn.Embed(self.words, 16)(tokens)
        past = jnp.cumsum(each, axis=1)  # causal: no step sees a later one
        return nn.Dense(self.words)(nn.relu(nn.Dense(32)(jnp.concatenate([each, past], axis=-1))))


def token_rows(n=96, steps=9, words=8, seed=0):
    """Sequences in which a token mostly says the next one: t + 1, or anything with probability 1/4."""
    rng = np.random.default_rng(seed)
    tokens = np.cumsum(np.where(rng.random((n, steps)) < 0.25, rng.integers(0, words, (n, steps)), 1), axis=1) % words
    return Examples(tokens[:, :-1].astype(np.int32), tokens[:, 1:].astype(np.int32), np.arange(n))


def train_all(data, epochs=10):
    """Returns each model's losses [n] and metric, the shadows' [m, n], and the shadows' members."""
    model, loss = models.from_linen(LanguageModel(8)), losses.sequence_cross_entropy()
    quantized = models.quantized(model, [("Dense", quantizers.uniform(4), None)])
    options = dict(epochs=epochs, batch_size=32, optimizer=training.optimizer("adam", 0.02))
    budget = dict(n=len(data.id), batch_size=32, epochs=epochs, delta=1e-3, target_epsilon=8.0)
    run = privacy.private_training(model, loss, clippings.automatic(1.0), **budget)
    evaluations = {}
    for name, net, more in (("plain", model, {}), ("quantized", quantized, {}), ("private", run.model, run.options)):
        fitted = training.fit(net, data, loss=loss, seed=0, **(options | more))
        evaluations[name] = training.evaluate(net, fitted.variables, data, loss)
    member = datasets.coins(data.id, 4, seed=0)
    shadows = training.fit_ensemble(model, data, member, loss=loss, seed=0, **options)
    evaluations["shadows"] = training.evaluate_ensemble(model, shadows.variables, data, loss)
    return evaluations, member
