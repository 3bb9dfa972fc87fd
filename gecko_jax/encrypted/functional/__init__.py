"""Inner-product functional encryption of a quantized first layer: the server decrypts W x, and computes on in plain.

layer = quantize_first_layer(circuit)          integers; measure_leakage(layer, x) says what W x gives away
authority = Authority(inputs)                  a third party: it holds the master key
keys = authority.issue(layer)                  for the server
authority.public_key.encrypt(layer.quantize(x))    on the client
layer.finish(keys.decrypt(ciphertexts))        on the server, the network's outputs
"""

from gecko_jax.encrypted.functional.leakage import Leakage, measure_leakage
from gecko_jax.encrypted.functional.quantized_layer import QuantizedLayer, quantize_first_layer
from gecko_jax.encrypted.functional.scheme import Authority, Ciphertext, LayerKeys, PublicKey

__all__ = [
    "Authority",
    "Ciphertext",
    "LayerKeys",
    "Leakage",
    "PublicKey",
    "QuantizedLayer",
    "measure_leakage",
    "quantize_first_layer",
]
