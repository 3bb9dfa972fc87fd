"""Encrypted inner products: exact, and nothing for who holds another key."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from mife.data.curve25519 import Curve25519
from test_quantized_layer import bare, network

from gecko_jax.encrypted.circuit import evaluate
from gecko_jax.encrypted.functional import Authority, quantize_first_layer


def test_the_network_on_encrypted_inputs():
    circuit = network()
    layer = quantize_first_layer(circuit, 4, 15)
    authority = Authority(5)
    keys = authority.issue(layer)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 5))
    codes = layer.quantize(x)
    integers = keys.decrypt(authority.public_key.encrypt(codes))
    assert integers.tolist() == (codes @ layer.weights.T).tolist()
    scale = np.abs(evaluate(circuit, x)).max()
    np.testing.assert_allclose(layer.finish(integers), evaluate(circuit, x), atol=0.5 * scale)


def test_results_at_the_ends_of_their_range_and_zero():
    layer = bare([[7, -7, 3, 0], [0, 0, 0, 1]], levels=15)
    authority = Authority(4)
    codes = np.array([[15, -15, 15, 2], [-15, 15, -15, -15], [0, 0, 0, 0]])
    results = authority.issue(layer).decrypt(authority.public_key.encrypt(codes))
    assert results.tolist() == [[255, 2], [-255, -15], [0, 0]]


def test_two_encryptions_of_one_input_differ():
    public = Authority(2).public_key
    first, second = public.encrypt(np.array([[1, 2], [1, 2]]))
    assert first.points.g_r != second.points.g_r and first.points.c[0] != second.points.c[0]
    assert first.size_bytes == 3 * 64 and public.key.msk is None and isinstance(public.key.F, Curve25519)


def test_another_authoritys_keys_decrypt_nothing():
    layer = bare([[1, 2, 3]])
    first, second = Authority(3), Authority(3)
    keys = second.issue(layer)
    with pytest.raises(
        ValueError, match="result 0 is not within its bound of 18: the input was not encrypted under this"
    ):
        keys.decrypt(first.public_key.encrypt(np.array([[1, 1, 1]])))
    with pytest.raises(ValueError, match="a ciphertext holds 2 numbers; expected 3"):
        keys.decrypt(Authority(2).public_key.encrypt(np.array([[1, 1]])))


def test_rows_that_would_give_the_input_away_are_refused_over_all_layers():
    authority = Authority(3)
    authority.issue(bare([[1, 2, 3], [2, 4, 6]]))
    authority.issue(bare([[1, 0, 0]]))
    with pytest.raises(ValueError, match="the issued rows have rank 3, as many as the 3 inputs"):
        authority.issue(bare([[0, 1, 0]]))
    assert authority.rank() == 2
    authority.issue(bare([[0, 2, 3]]))  # a combination of rows that the server has
    with pytest.raises(ValueError, match="layer.weights has shape \\(1, 2\\); expected \\(any, 3\\)"):
        authority.issue(bare([[1, 1]]))


def test_only_integers_of_the_right_width_are_encrypted():
    public = Authority(2).public_key
    with pytest.raises(ValueError, match="x has dtype float64; expected integers, from QuantizedLayer.quantize"):
        public.encrypt(np.ones((1, 2)))
    with pytest.raises(ValueError, match="x has shape \\(1, 3\\); expected \\(any, 2\\)"):
        public.encrypt(np.ones((1, 3), int))


def test_the_packages_curve_is_curve25519():
    secret = X25519PrivateKey.generate()
    scalar = bytearray(secret.private_bytes_raw())
    scalar[0] &= 248
    scalar[31] = scalar[31] & 127 | 64
    base = X25519PublicKey.from_public_bytes((9).to_bytes(32, "little"))
    point = int.from_bytes(scalar, "little") * Curve25519.generator()
    assert int(point.x) == int.from_bytes(secret.exchange(base), "little")
    assert int(Curve25519.order()) == 2**252 + 27742317777372353535851937790883648493
