r"""Ways of fine-tuning: each a transform Model -> Model and the paths of the parameters that it trains.

  method       what is trained                                             parameters of its own
  adapter      a bottleneck behind attention and behind the MLP            down, up
  bitfit       the biases                                                  -
  embedding    the token embedding                                         -
  full         everything                                                  -
  head         the output layer                                            -
  lora         low-rank factors beside weights                             a, b
  prefix       keys and values beside those of the text                    key, value, gate

    method = fine_tuning.lora(rank=8)
    model = method.apply(network)                                  # network may be quantized
    init = fine_tuning.start(model, pretrained, key, x)            # computes exactly what the network computes
    fitted = training.fit(model, data, init=init, trainable=method.trainable)
    merged = fine_tuning.merge(method, model, fitted.variables)    # of the network itself

Two methods are combined by applying both and training both's paths: (*first.trainable, *second.trainable).
A new method: one file and one line in FINE_TUNINGS; the contract test runs over it.
"""

from gecko_jax.models.fine_tuning.adapter import Adapter, adapter
from gecko_jax.models.fine_tuning.bitfit import bitfit
from gecko_jax.models.fine_tuning.embedding import embedding
from gecko_jax.models.fine_tuning.full import full
from gecko_jax.models.fine_tuning.head import head
from gecko_jax.models.fine_tuning.keys_and_values import Prefix
from gecko_jax.models.fine_tuning.lora import lora
from gecko_jax.models.fine_tuning.merging import merge
from gecko_jax.models.fine_tuning.method import FineTuning, trained_parameters
from gecko_jax.models.fine_tuning.part import PARTS
from gecko_jax.models.fine_tuning.prefix import prefix
from gecko_jax.models.fine_tuning.start import start

FINE_TUNINGS = {
    "adapter": adapter,
    "bitfit": bitfit,
    "embedding": embedding,
    "full": full,
    "head": head,
    "lora": lora,
    "prefix": prefix,
}

__all__ = [
    "FINE_TUNINGS",
    "PARTS",
    "Adapter",
    "FineTuning",
    "Prefix",
    "adapter",
    "bitfit",
    "embedding",
    "full",
    "head",
    "lora",
    "merge",
    "prefix",
    "start",
    "trained_parameters",
]
