"""The identity of a run: the record that its folder is compared with, and the seeds of its models' draws.

No two private runs may share noise or batches. If two runs drew the same noise, anyone who sees both results could
subtract one from the other: on neighboring data the noise would cancel, and no accountant's composition would hold.
Therefore the seeds of a private run depend on everything that the run is: its program (model, loss, clipping, noise,
optimizer), start values, members' rows, batches, schedules and model ID. The same run draws the same bits again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gecko_jax import keys
from gecko_jax.digests import array_digest, sha256
from gecko_jax.training.batch_plan import BatchPlan, plan_epoch
from gecko_jax.training.compiled_epoch import program_text
from gecko_jax.training.feed import is_streamed
from gecko_jax.training.layout import CONVOLUTIONS
from gecko_jax.training.pool import Data
from gecko_jax.training.step import State, UpdateRule, make_step
from gecko_jax.training.stored import in_blocks
from gecko_jax.trees import named_leaves, take
from gecko_jax.types import Loss

FORM = "form of convolutions"  # an entry of the record; without it they are XLA's


class Run(NamedTuple):
    """A run before its first epoch.

    Attributes:
      rule: the parts of an update.
      loss: for its name.
      plan: how the epochs are filled.
      start: states of all models on the host; their shapes if no digest of them is needed.
      pool: all rows.
      form: of convolutions, one of `layout.FORMS`.
    """

    rule: UpdateRule
    loss: Loss
    plan: BatchPlan
    start: State
    pool: Data
    form: str = CONVOLUTIONS


def settings(run: Run) -> dict[str, Any]:
    """Returns what all models of a run share, in JSON's types, whichever models are trained together."""
    plan, one = run.plan, plan_epoch(run.plan, 0)
    one = one._replace(indices=one.indices[:, :1], weight=one.weight[:, :1])
    program = program_text(make_step(run.rule, skips=False), run.start, run.pool, one).encode()
    return {
        "epochs": int(plan.epochs),
        "batch_size": None if plan.sampling else int(plan.batch_size),
        "schedules": plan.schedules.values,
        "loss": run.loss.name,
        "extra": [name for name, _ in named_leaves(run.pool.extras)],
        "sampling": plan.sampling and list(plan.sampling),
        "program (model, loss, gradients, optimizer)": sha256(program)[:32],
    } | ({FORM: run.form} if run.form != CONVOLUTIONS else {})


def record(shared: dict[str, Any], seed: int | str, run: Run) -> dict[str, Any]:
    """Returns what identifies a run of several models: a folder with another record is refused.

    Args:
      shared: the run's `settings`.
      seed: as it may be shown.
      run: the run.
    """
    return shared | {
        "seed": seed,
        "model_ids": list(run.plan.model_ids),
        "jax": jax.__version__,
        "data": array_digest(*jax.tree.leaves(run.pool), run.plan.member),
        "start": array_digest(*jax.tree.leaves(run.start)),
        "trainable": run.rule.trainable and list(run.rule.trainable),
        "rows": "streamed" if is_streamed(run.pool) else "in memory",  # a streamed sum may be rounded otherwise
    }


def private_seeds(seed: int, shared: dict[str, Any], run: Run) -> tuple[int, ...]:
    """Returns a seed for each model's batches and steps that no other run shares.

    Args:
      seed: of the run.
      shared: the run's `settings`.
      run: the run.

    Returns:
      [m] seeds of 128 bits. Each depends on the model's own start values, members and ID, not on the others.
    """
    plan, pool = run.plan, run.pool
    rows = _row_digests(jax.tree.leaves(pool._replace(own_extra=None)))

    def seed_of(model: int, model_id: int) -> int:
        member = plan.member[model]
        start = array_digest(*jax.tree.leaves(take(run.start, model)))
        content = array_digest(rows[member], *jax.tree.leaves(take(pool.of(model).own_extra, member)))
        return keys.derived_seed(seed, run=shared, model=model_id, start=start, data=content)

    return tuple(seed_of(model, model_id) for model, model_id in enumerate(plan.model_ids))


def _row_digests(arrays: Sequence[Any]) -> np.ndarray:
    """Returns SHA-256 of each row, uint8 [n, 32], because models share rows, which need not be hashed again."""
    digests = []
    for blocks in in_blocks(*arrays):
        parts = [block.reshape(len(block), -1) for block in blocks]
        digests += [bytes.fromhex(sha256(*(row.tobytes() for row in rows))) for rows in zip(*parts, strict=True)]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), 32)
