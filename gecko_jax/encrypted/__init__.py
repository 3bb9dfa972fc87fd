"""A trained polynomial network on encrypted inputs: the server that computes holds no key that decrypts.

seal_bytes   SEAL's objects as bytes
blobs        the frame of everything that client and server exchange
records      named tuples of arrays as bytes, without pickle
http_demo    client and server over HTTP on one machine
"""

from gecko_jax.encrypted.blobs import Refused
from gecko_jax.encrypted.http_demo import RemoteServer, serve

__all__ = ["Refused", "RemoteServer", "serve"]
