"""Neighbors of a text: the same text with a few tokens replaced by others that a model proposes in their place.

Which tokens are replaced, and by which, is a function of (seed, neighbor, id of the row) and of the proposing model. So
all audited models are asked about the same neighbors.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection

import jax
import jax.numpy as jnp
import numpy as np

from gecko_jax import checks, surroundings
from gecko_jax.datasets.hashing import check_ids, hashes
from gecko_jax.probes.token_losses import MAX_DRIFT, is_causal, later_drift
from gecko_jax.trees import by_blocks
from gecko_jax.types import Array, Model, Variables

SPECIAL = (0, 1, 2)  # of the tokenizers of datasets.text: padding, mask, end


def neighbors(
    model: Model,
    variables: Variables,
    tokens: Array,
    ids: Array | None = None,
    *,
    count: int = 8,
    share: float = 0.1,
    mask: int | None = None,
    seed: int = 0,
    special: Collection[int] = SPECIAL,
    batch_size: int = 64,
) -> np.ndarray:
    """Draws k neighbors of each text, with a share of its tokens replaced by a model's proposals.

    Args:
      model, variables: what proposes: a masked model (`mask` is its mask token), which sees both sides of a token; or a
        causal one (`mask` None), which sees what is before it. Not the audited model: the reference, for example.
      tokens: int [n, t], padded with 0 on the right.
      ids: int [n] ids of the rows, unique; 0..n-1 if None.
      count: neighbors of each text, at least 1.
      share: of a text's tokens that are replaced, above 0 and at most 1; at least one is. The first is not, if the
        model is causal.
      mask: the mask token of a masked model.
      seed: of all draws, at least 0.
      special: tokens that never replace another.
      batch_size: rows in one call.

    Returns:
      int32 [count, n, t].

    Raises:
      ValueError: a setting out of range, tokens of another shape, a row without a token to replace, proposals that
        are not finite, `mask` for a causal model, or none for a model that sees later tokens.

    Source: Mattern et al., "Membership Inference Attacks against Language Models via Neighbourhood Comparison" (2023),
    sec. 3.2.

    >>> import jax
    >>> from gecko_jax import models
    >>> model = models.create("transformer", 9, layers=1, width=8, heads=1, max_length=6)
    >>> tokens = np.array([[3, 4, 5, 6, 7, 8], [5, 4, 3, 0, 0, 0]])
    >>> drawn = neighbors(model, jax.jit(model.init)(jax.random.key(0), tokens), tokens, count=2, share=0.3)
    >>> drawn.shape, (drawn != tokens).sum(-1).tolist()
    ((2, 2, 6), [[2, 1], [2, 1]])
    """
    tokens = checks.not_empty("tokens", checks.shape("tokens", np.asarray(tokens), (None, None)))
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens has dtype {tokens.dtype}; expected integers (rows, tokens).")
    ids = check_ids(checks.shape("ids", np.arange(len(tokens)) if ids is None else np.asarray(ids), tokens.shape[:1]))
    count = checks.integer("count", count, 1)
    checks.in_range("share", checks.positive("share", share), 0.0, 1.0)
    eligible = tokens != 0
    if mask is None:
        eligible[:, 0] = False
    if not eligible.any(1).all():
        bare = int(eligible.any(1).argmin())
        raise ValueError(f"tokens[{bare}] has no token that can be replaced; leave the row out.")
    _check_kind(model, variables, tokens, mask, batch_size)
    compiled, result = _proposals(model), np.empty((count, *tokens.shape), np.int32)
    for k in range(count):
        chosen = _places(eligible, share, ids, seed, k)
        x = (tokens if mask is None else np.where(chosen, mask, tokens)).astype(np.int32)
        widest = int(chosen.sum(1).max())
        places = np.argsort(~chosen, axis=1, kind="stable")[:, :widest]  # those chosen first, then others, left alone
        before = places if mask is not None else np.maximum(places - 1, 0)
        replaced = np.take_along_axis(tokens, places, 1)
        words = np.stack([hashes(ids, seed, "neighbor", k, slot) for slot in range(widest)], 1)

        def draw(rows, x=x, before=before, replaced=replaced, words=words):
            logits = jax.device_get(compiled(variables, x[rows], before[rows]))
            return _draw(logits, replaced[rows], special, words[rows])

        drawn = by_blocks(draw, len(tokens), batch_size, full=True)
        result[k] = tokens
        taken = np.take_along_axis(chosen, places, 1)
        np.put_along_axis(result[k], places, np.where(taken, drawn, replaced).astype(np.int32), 1)
    return result


def _check_kind(model: Model, variables: Variables, tokens: np.ndarray, mask: int | None, batch_size: int) -> None:
    """Raises ValueError if the model sees later tokens without a mask, which it would copy, or not, with one."""
    if tokens.shape[1] < 2:
        return
    if mask is None and (drift := later_drift(model, variables, tokens, batch_size)) > MAX_DRIFT:
        raise ValueError(
            f"mask=None, and the model sees later tokens: the loss of the first changes by {drift:.2g} nats with those "
            "after it. Give a causal model, or a masked one's mask token."
        )
    if mask is not None and is_causal(model, variables, tokens, batch_size):
        raise ValueError(f"mask={mask} is for a masked model, and this one sees no later token: leave mask out.")


def _places(eligible: np.ndarray, share: float, ids: np.ndarray, seed: int, k: int) -> np.ndarray:
    """Returns which tokens neighbor k replaces, bool [n, t]: a share of the eligible ones, at least one in each row."""
    order = np.stack([hashes(ids, seed, "place", k, place) for place in range(eligible.shape[1])], 1)
    order[~eligible] = np.iinfo(np.uint64).max
    rank = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1, kind="stable")
    wanted = np.maximum(1, np.rint(share * eligible.sum(1))).astype(np.int64)
    return (rank < wanted[:, None]) & eligible


def _draw(logits: np.ndarray, replaced: np.ndarray, special: Collection[int], words: np.ndarray) -> np.ndarray:
    """Returns tokens [n, r] drawn by the softmax of logits [n, r, v], neither the replaced one nor a special one."""
    if not np.isfinite(logits).all():
        raise ValueError("the proposing model gives logits that are not finite: it diverged, or does not know a token.")
    logits = logits.astype(np.float64)
    np.put_along_axis(logits, replaced[..., None], -np.inf, -1)
    logits[..., [token for token in special if token < logits.shape[-1]]] = -np.inf
    if not np.isfinite(logits).any(-1).all():
        raise ValueError(f"special={tuple(special)} leaves no token to propose of {logits.shape[-1]}.")
    p = np.exp(logits - logits.max(-1, keepdims=True))
    total = np.cumsum(p, -1)
    point = (words >> np.uint64(11)).astype(np.float64) / 2.0**53 * total[..., -1]  # in [0, total)
    return (total <= point[..., None]).sum(-1)


@functools.lru_cache(maxsize=16)
def _proposals(model: Model) -> Callable[..., Array]:
    def of_places(variables: Variables, x: Array, places: Array) -> Array:
        logits = model.apply(variables, x)[0]
        return jnp.take_along_axis(logits, places[..., None], 1)

    return surroundings.jit(of_places)
