"""The seed of a run: the user's, or a secret that stays in the folder of a private run without one."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np

from gecko_jax import keys, programs, runtime
from gecko_jax.files import write_secret
from gecko_jax.privacy.cipher_keys import key_shape, needs_cipher
from gecko_jax.privacy.gradients import PRIVATE_SCOPE
from gecko_jax.training.objectives import GradFn
from gecko_jax.trees import shapes
from gecko_jax.types import Batch, Variables

SECRET = "secret_seed"  # the file in a run's folder, readable by its owner alone
_WORDS = keys.SECRET_BITS // 32


def is_private(gradients: GradFn, variables: Variables, batch: Batch) -> bool:
    """Returns whether a run's gradients may hold noise: if they depend on their key, and are not the plain ones.

    A GradFn of your own may add noise, or wrap one that does. It counts as private unless nothing that it computes
    depends on its key.

    Args:
      gradients: of the run.
      variables: one model's, or their shapes.
      batch: one step's, or its shapes.

    Raises:
      ValueError: gradients that draw random numbers without their key; a function around private gradients that does
        not carry their attributes.
    """
    if getattr(gradients, "plain", False):
        return False
    arguments = shapes((variables, batch))
    program, _ = programs.trace(gradients, *arguments, key_shape(gradients))
    steps = list(programs.every_step(program))
    if not hasattr(gradients, "settings") and any(PRIVATE_SCOPE in step.scope for step in steps):
        raise ValueError(
            "gradients call private gradients and have lost what these know: `settings` (what epsilon covers) "
            "and `live` (what is trained), so that nothing could be compared with the batches of this run. Decorate "
            "the function that wraps them: @functools.wraps(private.gradients)."
        )
    key_input = program.inputs[-1]
    if any(key_input in step.inputs for step in program.steps) or key_input in program.outputs:
        return True
    if any(step.name in ("random_bits", "threefry2x32") for step in steps):
        raise ValueError(
            "gradients draw random numbers without their key: whatever is drawn (noise, dropout) is the same in every "
            "step and can be taken away. Draw from the key that gradients(variables, batch, key) is called with."
        )
    return False


def resolve(seed: int | None, private: bool, folder: str | os.PathLike[str] | None, gradients: GradFn) -> int:
    """Returns the seed that a run uses.

    Args:
      seed: the user's. None: 0 for a plain run, a secret for a private one.
      private: see `is_private`.
      folder: of the run. A secret seed is stored in its file `secret_seed` (mode 600) and read again to continue.
      gradients: of the run; noise of a cipher is as hard to guess as the seed, which must be secret.

    Raises:
      ValueError: a seed out of range, a typed seed for a cipher, or a folder whose secret is damaged or gone.
      OSError: a secret that cannot be written.
    """
    if seed is not None:
        if keys.checked_seed(seed) <= keys.MAX_SEED and needs_cipher(gradients):
            raise ValueError(
                f"seed={seed!r} is not secret, and noise of privacy.chacha_gaussian is as hard to guess as its seed: "
                "all 2^32 are soon tried. Leave seed out, or pass privacy.secret_seed(). To repeat a study, and in a "
                "Recipe, whose seeds have 32 bits, take noise=privacy.gaussian: it has the same distribution."
            )
        return keys.checked_seed(seed)
    if not private:
        return 0
    main = runtime.is_main_process()
    secret = (_secret_of(Path(folder)) if folder is not None else keys.secret_seed()) if main else 0
    return _shared(secret) if jax.process_count() > 1 else secret


def described(seed: int | None, private: bool) -> int | str:
    """Returns the seed as run.json may show it to anyone: of a secret seed, a digest that nobody can invert."""
    if seed is None:
        return "secret" if private else 0
    return int(seed) if seed <= keys.MAX_SEED else f"secret {keys.derived_seed(seed, shown='run.json'):032x}"


def _secret_of(folder: Path) -> int:
    """Returns the secret in a run's folder, and draws it if the run is new."""
    path = folder / SECRET
    if not path.exists():
        if (folder / "run.json").exists() and '"seed": "secret"' in (folder / "run.json").read_text():
            raise ValueError(
                f"folder={str(folder)!r} holds a private run whose {SECRET} is gone, and cannot continue with the same "
                "noise. Name a new folder; what this one has released stays accounted for."
            )
        if (folder / "run.json").exists():  # another run, which will be refused: leave no secret in its folder
            return keys.secret_seed()
        write_secret(path, f"{keys.secret_seed():032x}\n")
    try:
        secret = int(path.read_text(), 16)
    except ValueError:
        secret = 0
    if secret >> keys.SECRET_BITS - 1 != 1:
        raise ValueError(f"{str(path)!r} is damaged: restore the file, or name a new folder.")
    return secret


def _shared(secret: int) -> int:
    """Returns the main process's secret in every process."""
    from jax.experimental import multihost_utils

    words = np.array([secret >> 32 * i & keys.MAX_SEED for i in range(_WORDS)], np.uint32)
    words = multihost_utils.broadcast_one_to_all(words)
    return sum(int(word) << 32 * i for i, word in enumerate(words))
