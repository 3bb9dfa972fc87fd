"""How a model is asked: what was made (variables, or a predict function) -> Readings on records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, keys, training
from gecko_jax.attacks import PROBED, SIGNALS
from gecko_jax.audit import probes
from gecko_jax.audit.inputs import as_logits
from gecko_jax.audit.readings import Readings
from gecko_jax.types import Array, Model

OF_THE_MODEL = ("layer_gradients", "small_gradient", "white_box")  # need a Model, whose gradients can be read
NOISE = 0.1  # standard deviation of label_robustness's noise, in those of the features, where records are no images
COPIES = 8  # of them
STARTS = 64  # records that boundary walks may begin from
FEATURES = 32  # of a record, beside its hinge
SEED = 0  # of the probes' draws: the same for every model


class Asker(NamedTuple):
    """Attributes:
    predict: what `audit` was given: (x) or (variables, x) -> outputs, or a Model.
    variables: whether what is made are variables, and not a predict function.
    outputs: "logits" or "probabilities".
    batch_size: records in one call.
    queries: x -> copies of x, the first x itself; or None.
    like: records [k, ...] that set the scale of what probes do to a record: the same for every model and every x.
    """

    predict: Callable[..., Array] | Model
    variables: bool
    outputs: str = "logits"
    batch_size: int = 1024
    queries: Callable[[np.ndarray], list[np.ndarray]] | None = None
    like: np.ndarray | None = None

    @property
    def readable(self) -> tuple[str, ...]:
        """Names of `attacks.PROBED` that can be read."""
        return tuple(name for name in PROBED if isinstance(self.predict, Model) or name not in OF_THE_MODEL)

    @property
    def offhand(self) -> tuple[str, ...]:
        """Those of them that are read without being asked for: no inputs but images are moved, for a predictor may
        know nothing of numbers between its features' values (a table, tokens)."""
        images = np.ndim(self.like) == 4 and np.asarray(self.like).dtype.kind == "f"
        moved = () if images else ("label_robustness",)
        return tuple(name for name in self.readable if name not in moved)

    def call(self, made: Any) -> Callable[[Array], Array]:
        """x [b, ...] -> outputs [b, c] of what was made."""
        if not self.variables:
            return made
        if isinstance(self.predict, Model):
            return lambda x: training.predict(self.predict, made, x)
        return lambda x: self.predict(made, x)

    def logits(self, made: Any, x: np.ndarray) -> np.ndarray:
        """Logits [n, c], in batches."""
        call, size = self.call(made), self.batch_size
        parts = [_one_output(call(x[i : i + size]), x[i : i + size]) for i in range(0, len(x), size)]
        return as_logits("outputs of predict", np.concatenate(parts), self.outputs)

    def read(self, made: Any, x: np.ndarray, y: np.ndarray, signals: Iterable[str]) -> Readings:
        """Everything that some signals need: logits, of copies as well where there are queries, and what is probed."""
        found = self.logits(made, x)
        further = self.queries(x)[1:] if self.queries else ()
        copies = tuple(self.logits(made, checks.shape("queries", np.asarray(copy), x.shape)) for copy in further)
        probed = {name: self._probe(name, made, x, y, found) for name in sorted(set(signals) & set(PROBED))}
        return Readings(found, copies, probed)

    def _probe(self, name: str, made: Any, x: np.ndarray, y: np.ndarray, logits: np.ndarray) -> np.ndarray:
        call = self.call(made)
        if name == "hinge_on_record":
            return np.column_stack([SIGNALS["hinge"](logits, y), _features(x)])
        if name == "label_robustness":
            if x.ndim == 4:
                return probes.translation_robustness(call, x, y, batch_size=self.batch_size)
            scale = NOISE * float(np.std(self.like, axis=0).mean())
            return probes.noise_robustness(call, x, y, scale or 1.0, COPIES, SEED, batch_size=self.batch_size)
        if name == "sensitivity":
            found = probes.sensitivity(call, x, SEED, outputs=self.outputs, batch_size=self.batch_size)
            posteriors, labels = np.split(SIGNALS["labelled_posteriors"](logits, y), 2, axis=-1)
            return np.stack([posteriors, found, labels], axis=-2)
        if name == "boundary_distance":
            bounds = (min(0.0, float(self.like.min())), max(1.0, float(self.like.max())))
            options = dict(bounds=bounds, starts=self.like[:: max(1, len(self.like) // STARTS)])
            if isinstance(self.predict, Model):
                ask = lambda variables, rows: self.predict.apply(variables, rows)[0]  # noqa: E731
                return probes.boundary_distance(ask, x, y, SEED, variables=made, **options)
            return probes.boundary_distance(probes.on_host(call), x, y, SEED, **options)
        if name == "small_gradient":
            return probes.small_gradient(self.predict, made, x, y)
        norms = probes.gradient_norms(self.predict, made, x, y)
        leaves = np.stack([norms[leaf] for leaf in sorted(norms) if leaf != "all"], axis=-1).astype(np.float64)
        logarithms = np.log(np.maximum(leaves, np.finfo(np.float32).tiny))
        return -logarithms if name == "layer_gradients" else _white_box(logits, y, logarithms)


def _white_box(logits: np.ndarray, y: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """[n, 4, w]: see `attacks.PROBED`."""
    posteriors, labels = np.split(SIGNALS["labelled_posteriors"](logits, y), 2, axis=-1)
    loss = np.minimum(SIGNALS["loss"](logits, y), np.finfo(np.float32).max)
    parts = [posteriors, labels, loss[:, None], gradients]
    found = np.zeros((len(y), len(parts), max(part.shape[-1] for part in parts)))
    for i, part in enumerate(parts):
        found[:, i, : part.shape[-1]] = part
    return found


def _features(x: np.ndarray) -> np.ndarray:
    """A record's features [n, at most FEATURES]: its values, or random projections of them, the same for every call."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    if flat.shape[1] <= FEATURES:
        return flat
    draws = keys.generator(SEED, "audit", "features of records")
    return flat @ draws.standard_normal((flat.shape[1], FEATURES)) / np.sqrt(flat.shape[1])


def _one_output(result: Any, x: np.ndarray) -> np.ndarray:
    if isinstance(result, (tuple, list, dict)):
        raise ValueError(f"predict returned a {type(result).__name__}; expected one array [{len(x)}, classes].")
    return checks.shape("output of predict", np.asarray(result), (len(x), None))
