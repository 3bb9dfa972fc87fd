"""Argument checks: what passes comes back unchanged, and a message names the argument, its value and the bound."""

from __future__ import annotations

import re

import numpy as np
import pytest

from gecko_jax import checks

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "check, value, bounds",
    [
        (checks.positive, 1e-9, ()),
        (checks.positive, np.float32(3), ()),
        (checks.at_least, 2, (2,)),
        (checks.at_least, INF, (2,)),
        (checks.integer, 2, (2,)),
        (checks.integer, 0, (-1,)),
        (checks.in_range, 0, (0, 1)),
        (checks.in_range, 1.0, (0, 1)),
        (checks.one_of, "b", (("a", "b"),)),
        (checks.one_of, 2, (iter([1, 2]),)),
        (checks.shape, np.zeros((2, 3)), ((None, 3),)),
        (checks.shape, 1.5, ((),)),
        (checks.not_empty, [0], ()),
        (checks.finite, np.arange(3), ()),
        (checks.finite, np.zeros((0, 2)), ()),
    ],
)
def test_a_good_value_comes_back(check, value, bounds):
    assert check("limit", value, *bounds) is value


@pytest.mark.parametrize(
    "check, value, bounds, said",
    [
        (checks.positive, 0, (), ["limit=0", "above 0"]),
        (checks.positive, -1.5, (), ["limit=-1.5"]),
        (checks.positive, NAN, (), ["limit=nan", "finite"]),
        (checks.positive, INF, (), ["limit=inf", "finite"]),
        (checks.at_least, 1, (2,), ["limit=1", "at least 2"]),
        (checks.at_least, NAN, (2,), ["limit=nan"]),
        (checks.integer, 1, (2,), ["limit=1", "at least 2"]),
        (checks.integer, 2.0, (1,), ["limit=2.0", "integer of at least 1"]),
        (checks.integer, "2", (1,), ["limit='2'", "integer"]),
        (checks.integer, True, (0,), ["limit=True", "integer"]),
        (checks.integer, np.True_, (0,), ["limit=np.True_", "integer"]),
        (checks.integer, NAN, (0,), ["limit=nan", "integer"]),
        (checks.in_range, -0.1, (0, 1), ["limit=-0.1", "between 0 and 1"]),
        (checks.in_range, 1.1, (0, 1), ["limit=1.1"]),
        (checks.in_range, NAN, (0, 1), ["limit=nan"]),
        (checks.one_of, "binry", (("xnor", "binary"),), ["limit='binry'", "Did you mean 'binary'?", "xnor, binary"]),
        (checks.one_of, "qqq", (("xnor", "binary"),), ["limit='qqq'", "Known: xnor, binary"]),
        (checks.shape, np.zeros((2, 3)), ((None, 4),), ["limit has shape (2, 3)", "(any, 4)"]),
        (checks.shape, np.zeros((2, 3)), ((None,),), ["limit has shape (2, 3)"]),
        (checks.not_empty, np.zeros((0, 3)), (), ["limit is empty", "at least one row"]),
        (checks.finite, [[0, NAN], [INF, 0]], (), ["limit holds 2 entries", "index (0, 1)"]),
        (checks.finite, NAN, (), ["limit holds 1 entry that is NaN", "index ()"]),
        (checks.numbers, 1.0, ("shares",), ["limit=1.0 must be a sequence of numbers: shares"]),
        (checks.numbers, np.float32(1), ("shares",), ["must be a sequence of numbers"]),
        (checks.numbers, np.zeros(()), ("shares",), ["must be a sequence of numbers"]),
        (checks.numbers, "12", ("shares",), ["limit='12' must be a sequence"]),
        (checks.numbers, (1, "2"), ("shares",), ["must hold finite numbers, not '2': shares"]),
        (checks.numbers, [[1.0]], ("shares",), ["must hold finite numbers, not [1.0]"]),
        (checks.numbers, (1.0, NAN), ("shares",), ["must hold finite numbers, not nan"]),
        (checks.numbers, (None,), ("shares",), ["must hold finite numbers, not None"]),
        (checks.sizes, 64, ("widths",), ["limit=64 must be a sequence of integers: widths"]),
        (checks.entries, None, ("paths",), ["limit=None must be a sequence of paths"]),
    ],
)
def test_a_bad_value_is_named(check, value, bounds, said):
    with pytest.raises(ValueError) as error:
        check("limit", value, *bounds)
    assert all(part in str(error.value) for part in said), str(error.value)


def test_a_whole_number_of_numpy_comes_back_as_one_of_python():
    value = checks.integer("limit", np.int16(7), 7)
    assert type(value) is int and value == 7


def test_no_suggestion_where_nothing_is_near():
    with pytest.raises(ValueError) as error:
        checks.one_of("name", "zzzz", ["mlp", "lenet"])
    assert "Did you mean" not in str(error.value)


def test_lookup_gives_what_the_table_holds():
    table = {"mlp": object(), "lenet": object()}
    assert checks.lookup("name", "lenet", table) is table["lenet"]
    with pytest.raises(ValueError, match=r"name='lenett' is not known\. Did you mean 'lenet'\?"):
        checks.lookup("name", "lenett", table)


@pytest.mark.parametrize("value", ["1", None, b"1"])
def test_what_is_no_number_is_named(value):
    for check in (lambda: checks.positive("z", value), lambda: checks.at_least("z", value, 0),
                  lambda: checks.in_range("z", value, 0, 1), lambda: checks.integer("z", value, 0)):  # fmt: skip
        with pytest.raises(ValueError, match=f"z={re.escape(repr(value))} must"):
            check()


def test_several_numbers_come_back_as_those_of_python():
    values = checks.numbers("shares", iter([np.float32(0.5), np.int8(2), np.array(1.5)]), "shares")
    assert values == (0.5, 2.0, 1.5) and set(map(type, values)) == {float}
