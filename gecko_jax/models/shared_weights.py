"""Model -> Model: the weights of each kernel share 2^bits values, and training moves these values."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from gecko_jax import checks, surroundings
from gecko_jax.compression import MAX_CODEBOOK_BITS, cluster, look_up
from gecko_jax.models.blueprint import with_step
from gecko_jax.models.removed_weights import (
    CODES,
    check_finite,
    check_path,
    check_start,
    kernels_at,
    without_training_state,
)
from gecko_jax.trees import map_named, named_leaves
from gecko_jax.types import Array, Model, Variables


def shared_weights(model: Model, bits: int, path: str = "") -> Model:
    """Replaces each kernel by a codebook of 2^bits centroids, which are trained, and a fixed code for each weight.

      kernel = centroids[codes],    dL/d centroids[k] = sum of dL/dw over the weights w of code k

    A trained network is shared by `start_shared`, whose result fit(model, ..., init=...) fine-tunes. Weights that were
    pruned stay zero. The packed file holds codes of `bits` bits and the codebook.

    Args:
      model: a network without hooks: prune before, by the weights that `start_shared` is given; inputs may be quantized
        before or after.
      bits: of a code, 1 to 8: a kernel takes 2^bits values.
      path: a regular expression searched in the kernels' paths ("block1/conv1/kernel"): only these are shared.

    Returns:
      A model with the same parameter names, whose shared kernels are parameters [2^bits], and with a further collection
      of codes, int16.

    Raises:
      ValueError: bits out of range, an invalid expression, a model with hooks; at init, no kernel at the path, or one
        that a rule quantizes.

    Source: Han, Mao & Dally, "Deep compression", ICLR 2016 (arXiv 1510.00149), section 3.

    >>> from gecko_jax import models
    >>> model, x = shared_weights(models.create("mlp", 4, hidden=(8,)), bits=2), jnp.ones((1, 8))
    >>> variables = model.init(jax.random.key(0), x)
    >>> variables["params"]["dense1"]["kernel"].shape, variables["weight_codes"]["dense1/kernel"].shape
    ((4,), (8, 8))
    """
    if checks.integer("bits", bits, 1) > MAX_CODEBOOK_BITS:
        raise ValueError(f"bits={bits} must lie between 1 and {MAX_CODEBOOK_BITS}: 2^bits values share a kernel.")
    expression = check_path(path)
    if model.after_update or model.rates:
        raise ValueError(
            "model has hooks, which change single weights, and shared weights change together: put shared_weights on "
            "the network itself. A pruned network: start_shared(shared_weights(network, bits), its variables, x)."
        )

    def init(key, x):
        variables = model.init(key, x)
        kernels = kernels_at(expression, variables["params"])
        quantized = sorted(set(kernels) & set(model.weights(variables, x) if model.weights else ()))
        if quantized or not kernels:
            names = checks.listed((name for name, leaf in named_leaves(variables["params"]) if leaf.ndim > 1), 20)
            reason = f"is quantized already: {checks.listed(quantized)}" if quantized else "is in no kernel's path"
            raise ValueError(f"path={path!r} {reason}. Choose others by path=. Kernels: {names}.")
        return with_codebooks(variables, {name: cluster(leaf, bits) for name, leaf in kernels.items()})

    def dense(function):
        return None if function is None else lambda variables, x: function(looked_up(variables), x)

    shared = model._replace(
        init=init,
        apply=lambda variables, x, **options: model.apply(looked_up(variables), x, **options),
        skipped=dense(model.skipped),
        weights=dense(model.weights),
    )
    return with_step(shared, "shared_weights", {"bits": bits, "path": path}, before=model.blueprint)


def start_shared(model: Model, variables: Variables, x: Array) -> dict[str, Any]:
    """Returns variables of a model with shared weights: those of a trained network, clustered.

    Of several networks with a leading axis: jax.vmap(lambda each: start_shared(model, each, x))(variables).

    Args:
      model: `shared_weights(network, bits)`, possibly transformed further.
      variables: of the network, trained, pruned or not: a weight of exactly 0 stays 0.
      x: inputs [b, ...]; only shapes and types matter.

    Raises:
      ValueError: a model without shared weights, variables of another network or not all of its own, or kernels that
        hold NaN or infinity.

    >>> from gecko_jax import models
    >>> network, x = models.create("mlp", 4, hidden=(8,)), jnp.ones((1, 8))
    >>> model = shared_weights(network, bits=3)
    >>> start = start_shared(model, network.init(jax.random.key(0), x), x)
    >>> start["params"]["logits"]["kernel"].shape
    (8,)
    """
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    trained = without_training_state(variables)
    expected, codes = dict(named_leaves(shapes)), shapes.get(CODES, {})
    if not codes:
        raise ValueError("model shares no weights: pass shared_weights(network, bits), and the network's variables.")
    check_start(trained, {**expected, **{f"params/{name}": shape for name, shape in codes.items()}})
    check_finite({name: leaf for name, leaf in named_leaves(trained["params"]) if name in codes})

    @surroundings.jit
    def start(trained):
        leaves, books = dict(named_leaves(trained)), {}
        for name in codes:
            bits = expected[f"params/{name}"].shape[0].bit_length() - 1
            books[name] = cluster(leaves[f"params/{name}"], bits, leaves[f"params/{name}"] != 0)
        fresh = map_named(lambda name, leaf: leaves.get(name, leaf), model.init(jax.random.key(0), x))
        return with_codebooks(fresh, books)

    return start(trained)


def with_codebooks(variables: Variables, books: dict[str, tuple[Array, Array]]) -> dict[str, Any]:
    """Returns variables with some kernels replaced by centroids, and with the collection of their codes.

    Args:
      variables: of a network.
      books: {name of a kernel: (centroids, codes)}.
    """
    params = map_named(lambda name, leaf: books[name][0] if name in books else leaf, variables["params"])
    return {**variables, "params": params, CODES: {name: codes for name, (_, codes) in books.items()}}


def looked_up(variables: Variables) -> dict[str, Any]:
    """Returns the variables of the network that weights were shared in: every kernel as it computes with it.

    Args:
      variables: of a model with shared weights, or of any other.

    >>> import numpy as np
    >>> shared = {"params": {"kernel": np.array([0.5, 2.0])}, "weight_codes": {"kernel": np.array([[1, 0, 1]])}}
    >>> looked_up(shared)["params"]["kernel"].tolist()
    [[2.0, 0.5, 2.0]]
    """
    codes = variables.get(CODES, {})
    params = map_named(
        lambda name, leaf: look_up(jnp.asarray(leaf), codes[name]) if name in codes else leaf, variables["params"]
    )
    return {name: tree for name, tree in variables.items() if name != CODES} | {"params": params}
