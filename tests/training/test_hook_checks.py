"""Hooks that training cannot go on with are refused by name, before a folder is claimed."""

import jax
import jax.numpy as jnp
import pytest

from gecko_jax import training
from gecko_jax.training.hook_checks import check_frozen


def of_params(function):
    return lambda variables, x: {**variables, "params": jax.tree.map(function, variables["params"])}


BAD = {
    "one function": (dict(after_update=of_params(jnp.abs)), r"model.after_update=<function .* must be a tuple"),
    "no function": (dict(rates=(0.5,)), r"model.rates=\(0.5,\) must be a tuple of functions"),
    "another dtype": (
        dict(after_update=(of_params(jnp.abs), of_params(lambda p: p.astype(jnp.float16)))),
        r"model.after_update\[1\] returns 'params/dense1/bias' as float16\[8\]; expected float32\[8\]",
    ),
    "another shape": (dict(after_update=(of_params(lambda p: p[None]),)), r"as float32\[1, 8\]; expected"),
    "a variable more": (
        dict(after_update=(lambda variables, x: {**variables, "mask": jnp.ones(2)},)),
        r"model.after_update\[0\] adds 'mask'; it must return the tree that it is given",
    ),
    "variables less": (
        dict(after_update=(lambda variables, x: {"params": {}},)), r"drops 'params/dense1/bias'"
    ),
    "rates of variables": (dict(rates=(lambda variables, x: variables,)), r"model.rates\[0\] adds 'params/dense1/"),
    "rates of another shape": (
        dict(rates=(lambda variables, x: jax.tree.map(lambda p: jnp.ones((*p.shape, 2)), variables["params"]),)),
        r"model.rates\[0\] returns 'dense1/bias' as float32\[8, 2\]; expected float32\[8\]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_a_hook_that_training_cannot_go_on_with_is_refused(mlp, pool, tmp_path, what):
    fields, message = BAD[what]
    with pytest.raises(ValueError, match=message):
        training.fit(mlp._replace(**fields), pool, epochs=1, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_training_may_start_from_jax_arrays():
    """NumPy warns of a jax.Array in the place of its type, and warnings are errors here."""
    start = {"params": {"kernel": jnp.zeros((1, 2), jnp.bfloat16)}}
    check_frozen({"params": {"kernel": jax.ShapeDtypeStruct((2,), jnp.bfloat16)}}, None, start)
    with pytest.raises(ValueError, match="init.*bfloat16 and is trained"):
        check_frozen({"params": {"kernel": jax.ShapeDtypeStruct((2,), jnp.float32)}}, None, start)
