"""What cannot run under encryption, and the way out, in words: only polynomials of the data can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gecko_jax.programs import Step, layer_of

_RELU = (
    'a ReLU or another maximum: train with activation="quadratic" in its place, by a schedule of its transition and '
    "by distillation from the network with ReLU"
)
_POOL = "a maximum over data, as in a max-pool: train with an average pool in its place"
_SOFTMAX = "a softmax: return the logits, and let the client who decrypts them apply it"
_DIVISION = (
    "a division by data, as in a normalization of each example by itself: use nn.BatchNorm, which is a linear map in "
    "evaluation, or train without"
)
_SMOOTH = (
    'a smooth function that is not a polynomial: train with activation="quadratic", or with a polynomial that is '
    "fitted to it on an interval; a last sigmoid or softmax is the client's"
)
_COMPARISON = "a comparison or a choice by data, whose outcome nobody sees under encryption: write it as a polynomial"
_ROUNDING = (
    "a rounding, a sign or an integer of data, as an input quantizer does: leave the rules' `inputs` out; weights may "
    "be quantized"
)
_LOOKUP = "a look-up or an order that the data choose: feed the looked-up numbers, such as embeddings, as the input"
_PRECISION = "arithmetic in less than float32, which is not exact: build the module with dtype=None or jnp.float32"
_LOOP = "a loop or a branch that the data decide: give it a fixed length"
_LINEAR_LAYERS = ("Conv", "ConvLocal", "ConvTranspose", "Dense", "DenseGeneral", "Einsum")
_WAYS = {
    "max": _RELU,
    "min": _RELU,
    "clamp": _RELU,
    "abs": _RELU,
    "reduce_max": _POOL,
    "reduce_min": _POOL,
    "reduce_window_max": _POOL,
    "reduce_window_min": _POOL,
    "div": _DIVISION,
    "rsqrt": _DIVISION,
    "sqrt": _DIVISION,
    "cbrt": _DIVISION,
    "convert_element_type": _ROUNDING,
    "reduce_precision": _PRECISION,
    "while": _LOOP,
    "cond": _LOOP,
    **dict.fromkeys("exp exp2 expm1 log log1p tanh logistic erf erfc erf_inv sin cos tan atan2 pow".split(), _SMOOTH),
    **dict.fromkeys("eq ne lt le gt ge select_n and or not xor is_finite reduce_and reduce_or".split(), _COMPARISON),
    **dict.fromkeys("sign floor ceil round rem nextafter".split(), _ROUNDING),
    **dict.fromkeys("gather argmax argmin sort top_k dynamic_slice dynamic_update_slice".split(), _LOOKUP),
}


def place_of(scope: str, kinds: Mapping[str, str]) -> str:
    """Names the layer of a step, such as "layer 'block1/Relu_0' (Relu)".

    Args:
      scope: of the step.
      kinds: {path: class name} of the layers.
    """
    path = layer_of(scope)
    if not path:
        return f"the network itself ({kinds.get('', 'outside of its layers')})"
    return f"layer {path!r} ({kinds[path]})"


def refusal_of(step: Step, steps: Iterable[Step], kinds: Mapping[str, str], why: str = "") -> str:
    """Says why a step cannot run under encryption, and the way out.

    Args:
      step: the step.
      steps: of the program, in which a maximum that belongs to a softmax is told from a max-pool.
      kinds: {path: class name} of the layers.
      why: the reason and the way out, if they are not those of the step's primitive.
    """
    name = step.name
    way = why or _WAYS.get(name, "not a polynomial of the data: write it with sums and products, or leave it out")
    if name in ("reduce_max", "exp"):
        others = {each.name for each in steps if each.scope == step.scope}
        way = _SOFTMAX if {"reduce_max", "exp"} <= others else way
    if kinds.get(layer_of(step.scope) or "") in _LINEAR_LAYERS and not why:
        way = _ROUNDING  # such a layer by itself is linear: a quantizer was put before it
    if step.avals and str(getattr(step.avals[0], "dtype", "")) in ("bfloat16", "float16"):
        way = _PRECISION
    where = place_of(step.scope, kinds)
    return f"{where} computes {name!r} of the data, which does not run under encryption. It is {way}."
