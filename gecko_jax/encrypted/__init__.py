"""A trained polynomial network on encrypted inputs: the server that computes holds no key that decrypts.

seal_bytes   SEAL's objects as bytes
blobs        the frame of everything that client and server exchange
"""

from gecko_jax.encrypted.blobs import Refused

__all__ = ["Refused"]
