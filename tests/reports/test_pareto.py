from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gecko_jax.reports import front, pareto


def naive(points, better):
    """Straight from the definition: off the front if some other point is as good everywhere and better somewhere."""

    def as_good(a, b, word):
        return a >= b if word == "high" else a <= b

    def beats(p, q):
        return all(as_good(a, b, w) for a, b, w in zip(p, q, better, strict=True)) and list(p) != list(q)

    return [not any(beats(p, q) for p in points) for q in points]


@st.composite
def problems(draw):
    width = draw(st.integers(1, 4))
    value = st.one_of(st.integers(-3, 3).map(float), st.sampled_from([np.inf, -np.inf]))
    points = draw(st.lists(st.lists(value, min_size=width, max_size=width), min_size=1, max_size=30))
    return points, draw(st.lists(st.sampled_from(["high", "low"]), min_size=width, max_size=width))


@settings(derandomize=True, deadline=None, max_examples=50)
@given(problems())
def test_it_is_the_naive_front(problem):
    points, better = problem
    assert pareto(points, better).tolist() == naive(points, better)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_points_does_not_matter(problem, random):
    points, better = problem
    order = list(range(len(points)))
    random.shuffle(order)
    assert pareto([points[i] for i in order], better).tolist() == pareto(points, better)[order].tolist()


def test_no_points():
    assert pareto(np.zeros((0, 2)), ["high", "low"]).tolist() == []


def test_bad_points_are_named():
    with pytest.raises(ValueError, match=r"points\[1\] holds a NaN"):
        pareto([[1.0], [np.nan]], ["high"])
    with pytest.raises(ValueError, match="Did you mean 'high'"):
        pareto([[1.0]], ["hihg"])
    with pytest.raises(ValueError, match="shape"):
        pareto([[1.0, 2.0]], ["high"])


def test_front_of_a_study(study):
    points = [[row.figures[key].value for key in study.tradeoff.keys] for row in study.rows]
    expected = {row.name for row, on in zip(study.rows, naive(points, ["high", "low", "low"]), strict=True) if on}
    assert front(study) == expected
    assert 0 < len(expected) < len(study.rows)


def test_a_row_without_the_figure_is_not_on_the_front(study):
    rows = (study.rows[0]._replace(figures={}), *study.rows[1:])
    assert study.rows[0].name not in front(dataclasses.replace(study, rows=rows))
    assert front(dataclasses.replace(study, exhibits=())) == frozenset()
