"""MemGuard: noise on the released probabilities, found as an adversarial example of the defender's own attacker."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gecko_jax import checks, keys, training
from gecko_jax.datasets.hashing import hashes
from gecko_jax.defenses.answers import log_probabilities
from gecko_jax.defenses.defense import Answer, Defense, check_reference, train_plainly
from gecko_jax.defenses.memguard_noise import Search, attacker_logits, check_search, find_logits
from gecko_jax.types import Array, Examples, Model


def memguard(
    distortion: float = 1.0, hidden: Sequence[int] = (64, 32), epochs: int = 200, search: Search | None = None
) -> Defense:
    """Builds answers whose noise makes the defender's attacker unsure, and that keep the label.

    1. An attacker g is trained on the model's sorted posteriors of its members and of reference rows.
    2. For each record, logits are sought with g = 1/2, the same label and posteriors near the model's own
       (`memguard_noise`).
    3. They are released with the chance p = min(1, distortion / |noise|_1), else the posteriors as they are. The draw
       is a function of the record's id, so that repeated queries see one answer.

    The label stays, and with it every attack on labels. Training is as it is. Who knows the ids and the seed of the
    answers knows which of them are noised: deploy with a seed that nobody else has.

    Args:
      distortion: expected L1 norm of the noise, above 0, at most 2.
      hidden: widths of g's hidden layers; the paper's g has 256, 128 and 64.
      epochs: of g's training, full batches by Adam.
      search: how the noise is sought; None: the paper's settings.

    Raises:
      ValueError: an argument out of bounds; when it trains or is fitted, no reference rows; when it trains, private
        gradients, because the answers are fitted on members without privacy.

    Source: Jia et al., "MemGuard: defending against black-box membership inference attacks via adversarial examples"
      (CCS 2019, arXiv 1909.10594), algorithms 1 and 2.

    >>> memguard().reads
    ('reference',)
    """
    checks.positive("distortion", distortion)
    checks.in_range("distortion", distortion, 0, 2)
    hidden = checks.sizes("hidden", hidden, "the widths of the attacker's hidden layers")
    epochs, settings = checks.integer("epochs", epochs, 1), check_search(search or Search())

    def train(
        model: Model, data: Examples, member: Array, *, reference: Examples | None = None, **options
    ) -> training.Fit:
        check_reference("memguard", reference, data)
        gradients = options.get("gradients")
        if gradients is not None and not getattr(gradients, "plain", False):
            raise ValueError(
                "gradients may be private, and the answers of defense 'memguard' are fitted on the members themselves: "
                "no epsilon of the training covers them. Leave gradients out, or release a privately trained model by "
                "another defense, such as temperature."
            )
        return train_plainly(model, data, member, **options)

    def fit_answer(members: Array, others: Array, seed: int = 0) -> Answer:
        parts = {"members": members, "others": others}
        rows = [np.sort(log_probabilities(checks.not_empty(name, part)), axis=1) for name, part in parts.items()]
        start = np.uint32(keys.checked_seed(seed) % 2**32)
        params = fit_attacker(hidden, epochs)(*map(jnp.float32, rows), start)

        def answer(outputs: Array, ids: Array) -> np.ndarray:
            logarithms = log_probabilities(outputs)
            logits, before, after = find_logits(params, logarithms, settings)
            noised = log_probabilities(logits)
            size = np.abs(np.exp(noised) - np.exp(logarithms)).sum(1)
            chance = np.where(np.abs(after) < np.abs(before), distortion / np.maximum(size, 1e-12), 0.0)
            draw = (hashes(np.asarray(ids), seed, "memguard") >> np.uint64(11)) * 2.0**-53
            return np.where((draw < chance)[:, None], noised, logarithms)

        return answer

    return Defense("memguard", train, reads=("reference",), fit_answer=fit_answer)


@functools.lru_cache(maxsize=16)
def fit_attacker(hidden: tuple[int, ...], epochs: int) -> Any:
    """Builds (sorted log-posteriors of members, of others, seed) -> the attacker's layers [(kernel, bias), ...]."""
    optimizer = optax.adam(1e-2)

    def fit(members, others, seed):
        widths = (members.shape[1], *hidden, 1)
        draws = jax.random.split(jax.random.key(seed), len(widths) - 1)
        params = [
            (jax.random.normal(key, (a, b)) * jnp.sqrt(2.0 / a), jnp.zeros(b))
            for key, a, b in zip(draws, widths[:-1], widths[1:], strict=True)
        ]

        def loss(params):
            # Both sides weigh the same, however many rows they have: g = 1/2 is then what an even prior cannot tell.
            of_members = -jax.nn.log_sigmoid(attacker_logits(params, members)).mean()
            return of_members - jax.nn.log_sigmoid(-attacker_logits(params, others)).mean()

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimizer.init(params)), length=epochs)[0][0]

    return jax.jit(fit)
