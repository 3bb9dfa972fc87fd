"""Named tuples of numbers, text and arrays as bytes and back, without pickle: programs and their public interfaces.

The first part is JSON; every array is a further part, its raw little-endian values. In JSON stand the values, and for

  {"record": name, "fields": {...}}     a named tuple; only those in the reader's table are built
  {"array": part, "dtype": "<f8", "shape": [3, 4]}
  {"sparse": [data, indices, indptr], "shape": [3, 4]}     a scipy.sparse.csr_array
  {"tuple": [...]}, {"pairs": [[key, value], ...]}         tuples, and dicts with any keys
  {"float": "inf"}                                         numbers that are not finite
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from gecko_jax import json_values
from gecko_jax.encrypted.blobs import Refused

DTYPES = ("<f8", "<f4", "<i8", "<i4", "|b1")
MAX_DEPTH = 40  # of records in records


def encode(value: Any) -> list[bytes]:
    """Returns a value as JSON and the raw arrays that it names.

    Args:
      value: numbers, text, None, arrays of DTYPES, sparse matrices, and named tuples, tuples, lists and dicts of them.

    Raises:
      TypeError: if it holds anything else.

    >>> decode(encode((1, {2: np.arange(3.0)})), {})
    (1, {2: array([0., 1., 2.])})
    """
    arrays: list[bytes] = []
    text = json_values.dumps(_encoded(value, arrays))
    return [text.encode(), *arrays]


def decode(parts: Sequence[bytes], types: Mapping[str, type]) -> Any:
    """Reads what `encode` returned.

    Args:
      parts: JSON and arrays.
      types: {name: named tuple} of all that may be built.

    Raises:
      Refused: if the parts do not fit each other, or name a record or a type of array that is not listed.
    """
    if not parts:
        raise Refused("a record has no parts; expected JSON and arrays.")
    try:
        return _decoded(json.loads(parts[0]), parts, types, MAX_DEPTH)
    except Refused:
        raise
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise Refused(f"a record cannot be read ({type(error).__name__}: {error}). Write it again.") from error


def _encoded(value: Any, arrays: list[bytes]) -> Any:
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if hasattr(value, "_asdict"):
        fields = {name: _encoded(part, arrays) for name, part in value._asdict().items()}
        return {"record": type(value).__name__, "fields": fields}
    if isinstance(value, tuple):
        return {"tuple": [_encoded(part, arrays) for part in value]}
    if isinstance(value, list):
        return [_encoded(part, arrays) for part in value]
    if isinstance(value, Mapping):
        return {"pairs": [[_encoded(key, arrays), _encoded(part, arrays)] for key, part in value.items()]}
    if sparse.issparse(value):
        rows = sparse.csr_array(value)
        stored = [_encoded(each, arrays) for each in (rows.data, rows.indices, rows.indptr)]
        return {"sparse": stored, "shape": list(value.shape)}
    if isinstance(value, np.ndarray) and (dtype := value.dtype.newbyteorder("<").str) in DTYPES:
        arrays.append(value.astype(dtype).tobytes())
        return {"array": len(arrays), "dtype": dtype, "shape": list(value.shape)}
    raise TypeError(
        f"a {type(value).__name__} cannot be written; expected numbers, text, records, {', '.join(DTYPES)}."
    )


def _decoded(value: Any, parts: Sequence[bytes], types: Mapping[str, type], depth: int) -> Any:
    if depth == 0:
        raise Refused(f"a record is nested more than {MAX_DEPTH} deep.")

    def inner(each: Any) -> Any:
        return _decoded(each, parts, types, depth - 1)

    if isinstance(value, list):
        return [inner(each) for each in value]
    if not isinstance(value, dict):
        return value
    if "record" in value:
        if value["record"] not in types:
            raise Refused(f"record {value['record']!r} is not one of {', '.join(sorted(types))}.")
        return types[value["record"]](**{name: inner(each) for name, each in value["fields"].items()})
    if "array" in value:
        return _array(value, parts)
    if "sparse" in value:
        return _sparse([inner(each) for each in value["sparse"]], value["shape"])
    if "tuple" in value:
        return tuple(inner(each) for each in value["tuple"])
    if "pairs" in value:
        return {inner(key): inner(each) for key, each in value["pairs"]}
    return float(value["float"])


def _array(value: Mapping[str, Any], parts: Sequence[bytes]) -> np.ndarray:
    place, dtype, shape = value["array"], value["dtype"], value["shape"]
    if dtype not in DTYPES or not 0 < place < len(parts) or min(shape, default=0) < 0:
        raise Refused(f"array {value}: expected one of {len(parts) - 1} parts, a shape, and {', '.join(DTYPES)}.")
    return np.frombuffer(parts[place], dtype).reshape(shape).astype(np.dtype(dtype).newbyteorder("="))


def _sparse(arrays: Sequence[np.ndarray], shape: Sequence[int]) -> Any:
    matrix = sparse.csr_array(tuple(arrays), shape=tuple(shape))
    matrix.check_format(full_check=True)
    return matrix
