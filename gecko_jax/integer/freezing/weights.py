"""The integer weights of one layer: the codes of its quantizer, or int8 with one scale for each output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gecko_jax.integer.fixed_point import MAX_INT32
from gecko_jax.integer.nodes import IntegerTensor
from gecko_jax.types import Codes

MAX_INT8 = 127
SAME = 1e-5  # relative; by how much codes times scale may miss the weights that the model computes with


class WeightCodes(NamedTuple):
    """Weights as codes * scale.

    Attributes:
      values: int8, outputs last.
      scales: float64 [outputs], each a float32 number.
      bits: that a code needs.
    """

    values: np.ndarray
    scales: np.ndarray
    bits: int


def find_codes(weights: np.ndarray, known: Sequence[Codes]) -> WeightCodes | None:
    """Finds the codes of weights that are quantized already; None if they are not.

    Codes of -128 are left alone, because a falling BatchNorm would make 128 of them: such weights become int8 afresh.

    Args:
      weights: outputs last, as the model computes with them.
      known: `Codes` of the model's quantizers, as NumPy arrays.
    """
    outputs, size = weights.shape[-1], np.abs(weights).max(initial=0.0)
    for codes in known:
        scale = np.asarray(codes.scale, np.float64)
        values = np.asarray(codes.values, np.float64)
        spread = scale.size == 1 or scale.shape[-1:] == (outputs,) and scale.size == outputs
        if (
            values.size != weights.size
            or values.shape[-1] != outputs
            or not spread
            or codes.zero_point
            or values.min() < -MAX_INT8
        ):
            continue
        if np.allclose((values * scale).reshape(weights.shape), weights, rtol=SAME, atol=SAME * size):
            scales = np.broadcast_to(scale.reshape(-1), (outputs,)).astype(np.float64)
            return WeightCodes(values.reshape(weights.shape).astype(np.int8), scales, codes.bits)
    if weights.size == outputs:
        return None  # one weight for each output is always -a or +a
    tops = np.abs(weights).reshape(-1, outputs).max(0)
    scales = np.where(tops > 0, tops, 1.0).astype(np.float32).astype(np.float64)
    signs = weights / scales
    if np.all(tops > 0) and np.allclose(np.abs(signs), 1, rtol=0, atol=SAME):
        return WeightCodes(np.round(signs).astype(np.int8), scales, 1)
    if np.allclose(np.abs(signs), np.round(np.abs(signs)), rtol=0, atol=SAME):
        return WeightCodes(np.round(signs).astype(np.int8), scales, 2)
    return None


def folded(codes: WeightCodes | None, weights: np.ndarray, factors: np.ndarray) -> WeightCodes:
    """Returns the codes of weights with each output multiplied by a factor.

    Args:
      codes: of the weights, from `find_codes`; None for int8.
      weights: outputs last.
      factors: [outputs].
    """
    if codes is None:
        scaled = weights * factors
        tops = np.abs(scaled).reshape(-1, weights.shape[-1]).max(0)
        scales = (tops / MAX_INT8).astype(np.float32).astype(np.float64)
        scales = np.where(scales > 0, scales, 0.0)
        values = np.round(scaled / np.where(scales > 0, scales, 1.0))
        return WeightCodes(np.clip(values, -MAX_INT8, MAX_INT8).astype(np.int8), scales, 8)
    values = (codes.values * np.sign(factors)).astype(np.int8)
    bits = max(codes.bits, 2) if np.any(factors == 0) else codes.bits
    return WeightCodes(values, (codes.scales * np.abs(factors)).astype(np.float32).astype(np.float64), bits)


def with_bias(codes: WeightCodes, bias: np.ndarray, input_scale: float, unit: float) -> tuple[WeightCodes, np.ndarray]:
    """Returns codes whose scales leave room for the bias, and the bias, in units of input scale * weight scale.

    Args:
      codes: from `folded`; an output whose weights are all 0 has scale 0 and gets another one here.
      bias: [outputs], real numbers.
      input_scale: of the input's codes.
      unit: of the output's codes.

    Returns:
      The codes, and the bias as float64, not rounded.
    """
    scales = np.where(codes.scales > 0, codes.scales, np.float32(unit / input_scale))
    if codes.bits == 8:  # a filter of tiny weights beside a large bias: coarser codes, as TensorFlow Lite has them
        least = np.float32(np.abs(bias) / (input_scale * (MAX_INT32 // 4)))
        coarser = scales < least
        values = np.where(coarser, np.round(codes.values * (scales / np.where(coarser, least, 1.0))), codes.values)
        codes = codes._replace(values=values.astype(np.int8))
        scales = np.where(coarser, least, scales)
    scales = np.float64(scales)
    return codes._replace(scales=scales), bias / (input_scale * scales)


def accumulator_bound(values: np.ndarray, bias: np.ndarray, read: IntegerTensor, pad_code: int) -> np.ndarray:
    """Bounds the absolute value of each output's sum, and of every part of it in any order: [outputs] float64.

    Args:
      values: codes of the weights, outputs last.
      bias: [outputs].
      read: the tensor of the input's codes.
      pad_code: the code of the border.
    """
    largest = max(abs(code - read.zero_point) for code in (read.low, read.high, pad_code))
    return largest * np.abs(values.astype(np.float64)).reshape(-1, values.shape[-1]).sum(0) + np.abs(bias) + 1


def check_bound(bound: np.ndarray, shifts: np.ndarray, place: str) -> None:
    """Checks that sums fit int32, those that are shifted left as well.

    Args:
      bound: from `accumulator_bound`.
      shifts: of the stage that follows; 0 for thresholds.
      place: the layer's name, which the message shows.

    Raises:
      ValueError: sums that may overflow.
    """
    reach = float(np.max(bound * 2.0 ** np.maximum(shifts, 0), initial=0.0))
    if not (math.isfinite(reach) and reach < MAX_INT32):
        raise ValueError(
            f"{place} adds products up to {reach:,.0f}, and the int32 sum holds {MAX_INT32:,}. Use fewer inputs or a "
            "smaller window, or quantize its weights to fewer bits."
        )
