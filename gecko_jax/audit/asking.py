"""How a model is asked: what was made (variables, or a predict function) -> Readings on records."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from gecko_jax import checks, keys, training
from gecko_jax.attacks import PROBED, SIGNALS
from gecko_jax.audit import probes
from gecko_jax.audit.inputs import as_logits
from gecko_jax.audit.readings import Readings
from gecko_jax.types import Array, Model, Variables

OF_THE_MODEL = ("layer_gradients", "small_gradient", "white_box")  # need a Model, whose gradients can be read
NOISE = 0.1  # standard deviation of label_robustness's noise, in those of the features, where records are no images
COPIES = 8  # of them
STARTS = 64  # records that boundary walks may begin from
FEATURES = 32  # of a record, beside its hinge
SEED = 0  # of the probes' draws: the same for every model
ROWS = 4  # records by whose copies a fingerprint knows queries


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
        if isinstance(self.predict, Model):
            return lambda x: training.predict(self.predict, made, x)
        predict = functools.partial(self.predict, made) if self.variables else made
        # A copy, since predict may work in place (x *= .5), and the records are read again. A read-only view would save
        # little beside a model's own work, and other frameworks refuse one, or write to it all the same.
        return lambda x: predict(np.array(x))

    def logits(self, made: Any, x: np.ndarray) -> np.ndarray:
        """Logits [n, c], in batches."""
        call, size = self.call(made), self.batch_size
        parts = [_one_output(call(x[i : i + size]), x[i : i + size]) for i in range(0, len(x), size)]
        return as_logits("outputs of predict", np.concatenate(parts), self.outputs)

    def read(self, made: Any, x: np.ndarray, y: np.ndarray, signals: Iterable[str]) -> Readings:
        """Everything that some signals need: logits, of copies as well where there are queries, and what is probed."""
        found = self.logits(made, x)
        copies = tuple(self.logits(made, copy) for copy in self.copies(x))
        probed = {name: self._probe(name, made, x, y, found) for name in sorted(set(signals) & set(PROBED))}
        return Readings(found, copies, probed)

    def copies(self, x: np.ndarray) -> list[np.ndarray]:
        """What `queries` makes of x, without x itself; [] where there are none.

        Raises:
          ValueError: copies of another shape, or a first one that is not x.
        """
        if self.queries is None:
            return []
        made = [checks.shape("queries", np.asarray(copy), x.shape) for copy in self.queries(x.copy())]
        # Equal but for rounding: queries may give float32 for float64.
        if not made or not np.allclose(made[0], x, rtol=1e-6, atol=0, equal_nan=True):
            raise ValueError(
                "queries(x)[0] is not x: the records themselves come first, and their moved copies after them. Return "
                "[x, *copies] and leave x unchanged, as audit.probes.flips_and_shifts does."
            )
        return made[1:]

    def fingerprint(self, x: np.ndarray, signals: Iterable[str] = tuple(PROBED)) -> str:
        """A name for what models are asked beside x, the same in every process.

        Under one name, a model's readings on x are the same. It knows nothing of `predict`: functions have no contents.

        Args:
          x: records [n, ...]; a few of them show what `queries` does. Queries drawn anew in each call have another name
            each time, rightly: no two models were asked the same.
          signals: that will be read; where `like` has no part in them, it has none in the name.

        Returns:
          16 hexadecimal digits.
        """
        few, signals = x[np.linspace(0, len(x) - 1, ROWS).astype(int)], set(signals)
        parts = [self.outputs, [NOISE, COPIES, STARTS, FEATURES, SEED], few, *self.copies(few)]
        if "boundary_distance" in signals and self.like is not None:
            parts += [self.bounds(x), self.starts]
        if "label_robustness" in signals and self.like is not None and x.ndim != 4:
            parts.append(self.scale)
        return digest(*parts)

    @property
    def scale(self) -> float:
        """Standard deviation of label_robustness's noise."""
        return NOISE * float(np.std(self.like, axis=0).mean()) or 1.0

    def bounds(self, x: np.ndarray) -> tuple[float, float]:
        """Smallest and largest value of what boundary walks ask: `like`'s, and x's own where a pool reaches further."""
        values = np.array([[part.min(), part.max()] for part in (self.like, x)], np.float64)
        return min(0.0, float(values[:, 0].min())), max(1.0, float(values[:, 1].max()))

    @property
    def starts(self) -> np.ndarray:
        """Where boundary walks may begin, beside noise."""
        return self.like[:: max(1, len(self.like) // STARTS)]

    def _probe(self, name: str, made: Any, x: np.ndarray, y: np.ndarray, logits: np.ndarray) -> np.ndarray:
        call = self.call(made)
        if name == "hinge_on_record":
            return np.column_stack([SIGNALS["hinge"](logits, y), _features(x)])
        if name == "label_robustness":
            if x.ndim == 4:
                return probes.translation_robustness(call, x, y, batch_size=self.batch_size)
            return probes.noise_robustness(call, x, y, self.scale, COPIES, SEED, batch_size=self.batch_size)
        if name == "sensitivity":
            found = probes.sensitivity(call, x, SEED, outputs=self.outputs, batch_size=self.batch_size)
            posteriors, labels = np.split(SIGNALS["labelled_posteriors"](logits, y), 2, axis=-1)
            return np.stack([posteriors, found, labels], axis=-2)
        if name == "boundary_distance":
            walk = functools.partial(probes.boundary_distance, bounds=self.bounds(x), starts=self.starts)
            if isinstance(self.predict, Model):
                return walk(_logits_of(self.predict), x, y, SEED, variables=made)
            with probes.numbered(call) as number:
                return walk(probes.by_number, x, y, SEED, variables=number)
        if name == "small_gradient":
            return probes.small_gradient(self.predict, made, x, y)
        norms = probes.gradient_norms(self.predict, made, x, y)
        leaves = np.stack([norms[leaf] for leaf in sorted(norms) if leaf != "all"], axis=-1).astype(np.float64)
        logarithms = np.log(np.maximum(leaves, np.finfo(np.float32).tiny))
        return -logarithms if name == "layer_gradients" else _white_box(logits, y, logarithms)


@functools.lru_cache(maxsize=128)
def _logits_of(model: Model) -> Callable[[Variables, Array], Array]:
    """The same function for the same model: a compiled program is one for each function."""
    return lambda variables, x: model.apply(variables, x)[0]


def digest(*arrays: Any) -> str:
    """A name for arrays' contents."""
    found = hashlib.blake2b(digest_size=8)
    for array in arrays:
        array = np.ascontiguousarray(array)
        found.update(f"{array.shape}{array.dtype}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


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
    # A copy, since predict may give the same buffer at every call.
    return checks.shape("output of predict", np.array(result), (len(x), None))
