"""Inputs that are not an integer network's own get no answer: NaN, infinity, and codes of another grid."""

import jax
import numpy as np
import pytest

from gecko_jax.integer import IntegerGraph
from gecko_jax.integer.nodes import IntegerTensor, MaxPool


def network(**grid):
    tensors = IntegerTensor("input", (2, 2, 1), 0.5, **grid), IntegerTensor("pool", (1, 1, 1), 0.5, **grid)
    return IntegerGraph(tensors, (MaxPool("pool", (0,), 1, (2, 2), (2, 2), ((0, 0), (0, 0))),), 0, 1)


X = np.ones((3, 2, 2, 1), np.float32)


@pytest.mark.parametrize("door", ["encode", "run", "predict"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_gets_no_answer(door, value):
    x = X.copy()
    x[1, 0, 1, 0] = value
    with pytest.raises(ValueError, match=r"x holds 1 entr.* NaN or infinite, .*\(1, 0, 1, 0\)"):
        getattr(network(), door)(x)


def test_codes_of_another_grid_get_no_answer():
    four_bits, signs = network(low=-8, high=7, bits=4), network(low=-1, high=1, bits=1)
    with pytest.raises(ValueError, match="x holds codes from 100 to 100; expected -8 to 7. Take graph.encode"):
        four_bits.run(np.full(X.shape, 100, np.int8))
    with pytest.raises(ValueError, match=r"x holds codes from 0 to 0; expected -1 or \+1"):
        signs.run(np.zeros(X.shape, np.int8))
    assert np.asarray(four_bits.run(np.full(X.shape, 7, np.int8))).ravel().tolist() == [7, 7, 7]
    assert np.asarray(jax.jit(four_bits.run)(X.astype(np.int8))).ravel().tolist() == [1, 1, 1]
    assert four_bits.run(np.zeros((0, 2, 2, 1), np.int8)).shape == (0, 1, 1, 1)
