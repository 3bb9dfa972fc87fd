"""Records survive as bytes, and nothing is built that the reader did not list."""

import contextlib
import json
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from scipy import sparse

from gecko_jax.encrypted import Refused, records


class Point(NamedTuple):
    x: Any
    y: Any = None


TYPES = {"Point": Point}


def test_every_kind_of_value_is_read_back():
    value = Point(
        x=(1, -2.5, np.bool_(True), None, "text", float("inf"), [1, (2,)], {3: "three", "k": Point(1)}, 2**60),
        y=np.float32(0.1),
    )
    again = records.decode(records.encode(value), TYPES)
    assert again == Point(value.x, float(np.float32(0.1)))
    assert type(again.x[2]) is bool and type(again.x[6][1]) is tuple


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "?", ">f8", ">i4"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 4)])
def test_arrays_are_read_back_with_type_and_shape(dtype, shape):
    array = np.random.default_rng(0).normal(size=shape) * 10
    array = np.asarray(array, dtype)
    (again,) = records.decode(records.encode((array,)), TYPES)
    np.testing.assert_array_equal(again, array)
    assert again.shape == shape and again.dtype == np.dtype(dtype).newbyteorder("=") and again.flags.writeable


def test_views_are_written_by_value():
    array = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(records.decode(records.encode(array.T[::2]), TYPES), array.T[::2])


def test_a_sparse_matrix_is_read_back():
    dense = np.random.default_rng(0).normal(size=(4, 5)) * (np.random.default_rng(1).random((4, 5)) < 0.4)
    again = records.decode(records.encode(Point(sparse.csr_array(dense))), TYPES).x
    np.testing.assert_array_equal(again.toarray(), dense)


UNWRITABLE = [object(), {1, 2}, np.array(["a"]), np.array([object()]), 1j, b"bytes", np.zeros(1, "f2")]


@pytest.mark.parametrize("value", UNWRITABLE, ids=lambda value: type(value).__name__)
def test_what_cannot_be_written_is_named(value):
    with pytest.raises(TypeError, match=f"a {type(value).__name__} cannot be written"):
        records.encode(Point(value))


def parts(value, *arrays):
    return [json.dumps(value).encode(), *arrays]


@pytest.mark.parametrize(
    "content, message",
    [
        ([], "no parts"),
        ([b"{"], "cannot be read"),
        ([b"\xff\xfe"], "cannot be read"),
        (parts({"record": "system", "fields": {}}), "record 'system' is not one of Point"),
        (parts({"record": "Point", "fields": {"z": 1}}), "cannot be read"),
        (parts({"record": "Point", "fields": {}}), "cannot be read"),
        (parts({"record": ["Point"], "fields": {}}), "cannot be read"),
        (parts({"other": 1}), "cannot be read"),
        (parts({"array": 1, "dtype": "<f8", "shape": [1]}), "expected one of 0 parts"),
        (parts({"array": 0, "dtype": "<f8", "shape": [1]}, b"8" * 8), "expected one of 1 parts"),
        (parts({"array": -1, "dtype": "<f8", "shape": [1]}, b"8" * 8), "expected one of 1 parts"),
        (parts({"array": 1, "dtype": "O", "shape": [1]}, b"8" * 8), "expected one of 1 parts"),
        (parts({"array": 1, "dtype": "<f8", "shape": [2]}, b"8" * 8), "cannot be read"),
        (parts({"array": 1, "dtype": "<f8", "shape": [-1]}, b"8" * 8), "expected one of 1 parts"),
        (parts({"array": 1, "dtype": "<f8", "shape": [1]}, b"8" * 9), "cannot be read"),
        ([b"[" * 10**5], "cannot be read"),
        ([b"[" * 45 + b"]" * 45], "nested more than 40 deep"),
    ],
)
def test_what_does_not_fit_is_refused(content, message):
    with pytest.raises(Refused, match=message):
        records.decode(content, TYPES)


@pytest.mark.parametrize("indices, indptr", [([0, 9], [0, 1, 2]), ([0, 1], [0, 2, 1]), ([0, -1], [0, 1, 2])])
def test_a_sparse_matrix_with_places_outside_is_refused(indices, indptr):
    arrays = [np.ones(2), np.array(indices, np.int32), np.array(indptr, np.int32)]
    value = records._encoded(arrays, stored := [])
    with pytest.raises(Refused, match="cannot be read"):
        records.decode(parts({"sparse": value, "shape": [2, 2]}, *stored), TYPES)


@hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
@hypothesis.given(place=strategies.integers(0, 500), byte=strategies.integers(0, 255))
def test_damaged_json_is_read_or_refused_and_raises_nothing_else(place, byte):
    content = records.encode(Point((np.arange(3), sparse.csr_array(np.eye(2)), {1: 2.5}), "t"))
    text = bytearray(content[0])
    text[place % len(text)] = byte
    with contextlib.suppress(Refused):
        records.decode([bytes(text), *content[1:]], TYPES)
