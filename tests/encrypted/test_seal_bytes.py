"""SEAL's objects survive as bytes, in memory and in a folder, and what is not one of these is refused."""

import os
import pathlib
import stat
import tempfile

import pytest

from gecko_jax.encrypted import seal_bytes


@pytest.fixture(scope="module")
def seal():
    """SEAL's module, a small context, its key generator, and a ciphertext of 1, 2 as bytes, seeded."""
    api = seal_bytes.sealapi()

    class Seal:
        def __init__(self, degree, bits):
            parameters = api.EncryptionParameters(api.SCHEME_TYPE.CKKS)
            parameters.set_poly_modulus_degree(degree)
            parameters.set_coeff_modulus(api.CoeffModulus.Create(degree, bits))
            self.context = api.SEALContext(parameters, True, api.SEC_LEVEL_TYPE.TC128)
            self.generator = api.KeyGenerator(self.context)
            self.secret = self.generator.secret_key()
            self.encoder = api.CKKSEncoder(self.context)
            plain = api.Plaintext()
            self.encoder.encode([1.0, 2.0], 2.0**15, plain)
            self.seeded = api.Encryptor(self.context, self.secret).encrypt_symmetric(plain)
            self.ciphertext = seal_bytes.to_bytes(self.seeded)

        def decrypt(self, content):
            plain = api.Plaintext()
            ciphertext = seal_bytes.from_bytes("Ciphertext", content, self.context)
            api.Decryptor(self.context, self.secret).decrypt(ciphertext, plain)
            return self.encoder.decode_double(plain)[:2]

    return Seal(2048, [27, 27]), Seal(1024, [27])


@pytest.fixture(params=["memory", "folder"])
def place(request, monkeypatch):
    if request.param == "folder":
        monkeypatch.delattr(os, "memfd_create")
    return request.param


def test_a_ciphertext_is_read_back(seal, place):
    content = seal[0].ciphertext
    assert seal[0].decrypt(content) == pytest.approx([1, 2], abs=0.05)
    again = seal_bytes.to_bytes(seal_bytes.from_bytes("Ciphertext", content, seal[0].context))
    assert seal[0].decrypt(again) == seal[0].decrypt(content)
    assert len(content) < 0.6 * len(again), "the seeded form takes half the bytes"


def test_keys_are_read_back(seal, place):
    elements = [3, 9]
    keys = seal_bytes.to_bytes(seal[0].generator.create_galois_keys(elements))
    loaded = seal_bytes.from_bytes("GaloisKeys", keys, seal[0].context)
    assert [loaded.has_key(element) for element in (3, 9, 27)] == [True, True, False]
    secret = seal_bytes.to_bytes(seal[0].secret)
    assert seal_bytes.to_bytes(seal_bytes.from_bytes("SecretKey", secret, seal[0].context))[16:20] == secret[16:20]


def test_nothing_is_left_and_in_memory_nothing_is_written(seal, place, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    descriptors = os.listdir("/proc/self/fd")
    seal_bytes.to_bytes(seal[0].secret)
    with pytest.raises(ValueError):
        seal_bytes.from_bytes("SecretKey", seal[0].ciphertext, seal[0].context)
    assert list(tmp_path.iterdir()) == [] and len(os.listdir("/proc/self/fd")) == len(descriptors)
    seen = []
    real = pathlib.Path.read_bytes
    monkeypatch.setattr(pathlib.Path, "read_bytes", lambda path: (seen.append(path), real(path))[1])
    monkeypatch.setattr(seal_bytes.tempfile, "TemporaryDirectory", watched := Watched(tempfile.TemporaryDirectory))
    seal_bytes.to_bytes(seal[0].secret)
    assert watched.modes == ([0o700] if place == "folder" else []), "its owner alone may enter"
    assert str(seen[0]).startswith(str(tmp_path) if place == "folder" else "/proc/self/fd")


class Watched:
    """A TemporaryDirectory that notes the permissions of what it makes."""

    def __init__(self, real):
        self.real, self.modes = real, []

    def __call__(self, **options):
        file = self.real(**options)
        self.modes.append(stat.S_IMODE(os.stat(file.name).st_mode))
        return file


def test_a_system_without_a_path_for_memory_takes_a_folder(seal, monkeypatch):
    real = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: not path.startswith("/proc/") and real(path))
    assert seal[0].decrypt(seal_bytes.to_bytes(seal[0].seeded)) == pytest.approx([1, 2], abs=0.05)


@pytest.mark.parametrize("kind", ["Ciphertext", "GaloisKeys", "RelinKeys", "SecretKey"])
@pytest.mark.parametrize("content", [b"", b"x", b"x" * 15, b"x" * 16, b"x" * 500])
def test_what_is_not_of_seal_is_refused(seal, kind, content):
    with pytest.raises(ValueError, match=kind):
        seal_bytes.from_bytes(kind, content, seal[0].context)


def test_cut_padded_and_foreign_objects_are_refused(seal):
    content = seal[0].ciphertext
    with pytest.raises(ValueError, match=f"Ciphertext: {len(content) - 1} bytes, but its header declares"):
        seal[0].decrypt(content[:-1])
    with pytest.raises(ValueError, match="it is cut or padded"):
        seal[0].decrypt(content + b"x")
    with pytest.raises(ValueError, match="SEAL reads no Ciphertext from these"):
        seal[1].decrypt(content)
    with pytest.raises(ValueError, match="SEAL reads no SecretKey"):
        seal_bytes.from_bytes("SecretKey", content, seal[0].context)
