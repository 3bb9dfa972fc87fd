"""Private training: per-example clipping at about the cost of a plain gradient, noise, sampling, accounting.

    start = privacy.suggest(n=len(train.x), target_epsilon=8.0)                    settings to begin with

    run = privacy.private_training(model, loss, clippings.flat(1.0), n=60_000, batch_size=256, epochs=60,
                                   target_epsilon=2.0, delta=1e-5)              noise, batches and epsilon that agree
    training.fit(run.model, data, optimizer=..., **run.options)                    the same fit as without privacy
    print(run.epsilon)                                                             with its assumptions

A loop of your own takes the parts: `poisson`, `draw`, `calibrate_noise`, `private_gradients`, `epsilon`. Seed its
batches and keys by `secret_seed()`, a new one for each run: two runs with one seed share their noise, and the second
cancels that of the first. `fit` does so by itself. `noise=chacha_gaussian` is cryptographic noise, whose keys a loop of
your own takes from `secret_key()`.

An example is one row, and not a person: pass `users=` to private_training, see users.py. Words without training:
`word_noise`, metric privacy of texts.

Where things are: sampling.py and draws.py (who takes part), noise.py, cipher_noise.py, chacha.py, gradients.py (the
private step), per_example/ (the clipped sum, with a map), accounting/ (epsilon, delta, calibration),
private_training.py (all from one call).
"""

from gecko_jax.keys import secret_seed
from gecko_jax.privacy.accounting.calibration import affordable_steps, calibrate_noise
from gecko_jax.privacy.accounting.ceiling import tpr_ceiling
from gecko_jax.privacy.accounting.epsilon import Epsilon, delta, epsilon
from gecko_jax.privacy.accounting.groups import group_epsilon
from gecko_jax.privacy.accounting.phases import Phase
from gecko_jax.privacy.augmentation import augmented, chained, flip, shift
from gecko_jax.privacy.cipher_keys import secret_key
from gecko_jax.privacy.cipher_noise import chacha_gaussian
from gecko_jax.privacy.draws import draw
from gecko_jax.privacy.example_loss import example_loss
from gecko_jax.privacy.gradients import private_gradients, with_threshold
from gecko_jax.privacy.noise import aes_words, gaussian, os_words, secure_gaussian
from gecko_jax.privacy.per_example.clipped import METHODS, ClippedSum, clipped, clipped_sum
from gecko_jax.privacy.private_training import PrivateTraining, private_training
from gecko_jax.privacy.sampling import Sampling, poisson, shuffled, truncated_poisson
from gecko_jax.privacy.suggestion import Suggestion, suggest
from gecko_jax.privacy.users import limit_rows_per_user, user_epsilon
from gecko_jax.privacy.word_noise import WordNoise, word_noise

__all__ = [
    "METHODS",
    "ClippedSum",
    "Epsilon",
    "Phase",
    "PrivateTraining",
    "Sampling",
    "Suggestion",
    "WordNoise",
    "aes_words",
    "affordable_steps",
    "augmented",
    "calibrate_noise",
    "chacha_gaussian",
    "chained",
    "clipped",
    "clipped_sum",
    "delta",
    "draw",
    "epsilon",
    "example_loss",
    "flip",
    "gaussian",
    "group_epsilon",
    "limit_rows_per_user",
    "os_words",
    "poisson",
    "private_gradients",
    "private_training",
    "secret_key",
    "secret_seed",
    "secure_gaussian",
    "shift",
    "shuffled",
    "suggest",
    "tpr_ceiling",
    "truncated_poisson",
    "user_epsilon",
    "with_threshold",
    "word_noise",
]
