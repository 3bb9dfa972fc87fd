"""ChaCha20 against RFC 8439, a loop in plain Python, the package cryptography, and what its keys promise."""

import importlib.util
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import privacy
from gecko_jax.privacy import chacha, cipher_keys

COUNTING = bytes(range(32))
VECTORS = {  # RFC 8439: key, nonce, counter, block
    "2.3.2": (COUNTING, "000000090000004a00000000", 1,
              "10f1e7e4d13b5915500fdd1fa32071c4c7d1f4c733c068030422aa9ac3d46c4e"
              "d2826446079faa0914c2d705d98b02a2b5129cd1de164eb9cbd083e8a2503c4e"),
    "A.1, 1": (bytes(32), "00" * 12, 0,
               "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
               "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"),
    "A.1, 2": (bytes(32), "00" * 12, 1,
               "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
               "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"),
    "A.1, 5": (bytes(32), "00" * 11 + "02", 0,
               "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
               "8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d"),
}  # fmt: skip
stream = jax.jit(chacha.key_stream)


def words(content: bytes) -> np.ndarray:
    return np.frombuffer(content, "<u4").astype(np.uint32)


def naive(key, nonce, counter):
    """A block by the RFC's text, word by word, with integers of Python."""

    def quarter(s, a, b, c, d):
        for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
            s[x] = s[x] + s[y] & 0xFFFFFFFF
            s[z] ^= s[x]
            s[z] = (s[z] << bits | s[z] >> 32 - bits) & 0xFFFFFFFF

    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *map(int, key), int(counter), *map(int, nonce)]
    mixed = list(start)
    for _ in range(10):
        for column in range(4):
            quarter(mixed, *(column + 4 * row for row in range(4)))
        for column in range(4):
            quarter(mixed, *((column + row) % 4 + 4 * row for row in range(4)))
    return [a + b & 0xFFFFFFFF for a, b in zip(mixed, start, strict=True)]


@pytest.mark.parametrize("key, nonce, counter, block", VECTORS.values(), ids=VECTORS)
def test_blocks_are_the_standards(key, nonce, counter, block):
    told = stream(words(key), words(bytes.fromhex(nonce)), np.full(3, counter, np.uint32))
    assert [np.asarray(told[:, i]).astype("<u4").tobytes().hex() for i in range(3)] == [block] * 3


def test_both_forms_are_the_naive_loop_up_to_the_last_counter():
    draws = np.random.default_rng(0)
    key, nonce = (draws.integers(0, 2**32, n, dtype=np.uint32) for n in (8, 3))
    counters = np.array([0, 1, 2**31, 2**32 - 1], np.uint32)
    expected = np.array([naive(key, nonce, counter) for counter in counters], np.uint32).T
    np.testing.assert_array_equal(stream(key, nonce, counters[:3]), expected[:, :3])  # as a CPU has it, compiled
    state = [np.broadcast_to(w, 4) for w in (*chacha._CONSTANTS, *key, counters, *nonce)]
    mixed = chacha._written_out(*state)  # as accelerators have it, one quarter-round after another
    np.testing.assert_array_equal(np.array([a + b for a, b in zip(mixed, state, strict=True)]), expected)


@pytest.mark.parametrize("count", [0, 17, 3 * 16 * 4 + 5])
def test_words_are_the_streams_each_once(count, monkeypatch):
    monkeypatch.setattr(chacha, "BLOCKS_PER_CHUNK", 4)
    key, nonce = words(COUNTING), np.zeros(3, np.uint32)
    drawn = np.asarray(jax.jit(chacha.random_words, static_argnums=2)(key, nonce, count))
    assert drawn.shape == (count,) and drawn.dtype == np.uint32
    blocks = -(-count // 16) + 4  # chunks of equal size may need a few more
    allowed = {word for i in range(blocks) for word in naive(key, nonce, i)}
    assert len(set(drawn.tolist())) == count and set(drawn.tolist()) <= allowed


def test_the_stream_is_that_of_the_package_cryptography():
    if importlib.util.find_spec("cryptography") is None:
        return
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    key, nonce = np.random.default_rng(1).bytes(32), bytes(12)
    encryptor = Cipher(algorithms.ChaCha20(key, bytes(4) + nonce), None).encryptor()
    expected = words(encryptor.update(bytes(64 * 3))).reshape(3, 16)
    np.testing.assert_array_equal(stream(words(key), words(nonce), np.arange(3, dtype=np.uint32)).T, expected)


def test_the_counter_never_begins_again_and_words_are_checked():
    key, nonce = np.zeros(8, np.uint32), np.zeros(3, np.uint32)
    jax.eval_shape(lambda: chacha.random_words(key, nonce, 2**36))
    with pytest.raises(ValueError, match=r"count=68,719,476,737 words need 4,294,967,297 blocks"):
        jax.eval_shape(lambda: chacha.random_words(key, nonce, 2**36 + 1))
    for bad, says in (
        (lambda: chacha.key_stream(key[:4], nonce, nonce), r"key has shape \(4,\); expected \(8\)"),
        (lambda: chacha.key_stream(key, key, nonce), r"nonce has shape \(8,\); expected \(3\)"),
        (lambda: chacha.key_stream(key, nonce, np.arange(2)), "counters has dtype int"),
        (lambda: chacha.random_words(key, nonce, -1), "count=-1"),
    ):
        with pytest.raises(ValueError, match=says):
            bad()


def block_of(key, nonce, counter):
    return naive(np.asarray(jax.random.key_data(key)), (nonce, 0, 0), counter)


def test_each_use_of_a_key_has_a_nonce_of_its_own():
    key = cipher_keys.wrap_key(words(COUNTING))
    folded, split = jax.jit(lambda key: (jax.random.fold_in(key, 5), jax.random.split(key, 3)))(key)
    assert jax.random.key_data(folded).tolist() == block_of(key, 1, 5)[:8]
    assert jax.random.key_data(split).tolist() == [block_of(key, 2, i)[:8] for i in range(3)]
    draw = jax.jit(lambda keys: jax.vmap(lambda key: jax.random.bits(key, (4, 4), "uint16"))(keys))
    for key, bits in zip(split, draw(split), strict=True):  # in a batch, each as alone
        np.testing.assert_array_equal(bits, np.array(block_of(key, 0, 0)).reshape(4, 4) % 2**16)


def test_keys_come_from_the_operating_system_and_never_from_a_short_seed(monkeypatch):
    monkeypatch.setattr(cipher_keys.secrets, "token_bytes", lambda count: COUNTING[:count])
    assert np.asarray(jax.random.key_data(privacy.secret_key())).astype("<u4").tobytes() == COUNTING
    with pytest.raises(ValueError, match=re.escape("privacy.secret_key()")):
        jax.random.key(0, impl=cipher_keys.CHACHA20)
    assert cipher_keys.is_cipher_key(cipher_keys.key_of_seed(0)) and not cipher_keys.is_cipher_key(jax.random.key(0))
    plain = cipher_keys.plain_key(cipher_keys.key_of_seed(0))
    assert plain.dtype == jax.random.key(0).dtype and cipher_keys.plain_key(plain) is plain
    assert jax.random.key_data(cipher_keys.key_of_seed(0)).tolist() != jnp.zeros(8).tolist()
