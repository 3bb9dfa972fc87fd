"""Parameters: within SEAL's own bounds, of distinct NTT-friendly primes, as precise as the depth allows."""

import math

import pytest

from gecko_jax.encrypted import seal_bytes
from gecko_jax.encrypted.parameters import MAX_LOG_QP, choose, max_depth
from gecko_jax.encrypted.seal_backend import SECURITY_LEVELS, level_ids, seal_context


@pytest.mark.parametrize("security", MAX_LOG_QP)
def test_bounds_are_seals(security):
    api = seal_bytes.sealapi()
    level = getattr(api.SEC_LEVEL_TYPE, SECURITY_LEVELS[security])
    assert {N: api.CoeffModulus.MaxBitCount(N, level) for N in MAX_LOG_QP[security]} == MAX_LOG_QP[security]


@pytest.mark.parametrize("degree, depth, security", [(4096, 1, 128), (8192, 5, 128), (8192, 6, 128), (16384, 9, 192)])
def test_seal_accepts_them(degree, depth, security):
    parameters = choose(depth, degree, security)
    assert math.log2(math.prod(parameters.moduli)) <= MAX_LOG_QP[security][degree]
    assert len(level_ids(seal_context(parameters))) == depth + 1
    assert all(modulus % (2 * degree) == 1 for modulus in parameters.moduli)


def test_primes_are_seals():
    api = seal_bytes.sealapi()
    parameters = choose(5, 8192)
    bits = [modulus.bit_length() for modulus in parameters.moduli]
    assert sorted(parameters.moduli) == sorted(each.value() for each in api.CoeffModulus.Create(8192, bits))


def test_insecure_parameters_are_refused():
    parameters = choose(5, 8192)
    with pytest.raises(ValueError, match="SEAL refuses"):
        seal_context(parameters._replace(security=192))


@pytest.mark.parametrize("degree", [8192, 16384])
def test_the_largest_depth_is_the_largest(degree):
    choose(max_depth(degree), degree)
    with pytest.raises(ValueError, match=f"depth {max_depth(degree)} is the largest"):
        choose(max_depth(degree) + 1, degree)
