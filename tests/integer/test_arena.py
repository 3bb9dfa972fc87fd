"""The arena's plan: against all layouts of small cases, packings without a gap, TFLM's tests, planted faults."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from gecko_jax.integer import (
    ArenaPlan,
    as_tflm,
    check_arena,
    liveness_bound,
    offline_plan,
    plan_arena,
    tflm_greedy,
)
from gecko_jax.programs import Lifetime, peak_bytes

# Activations of the MLPerf Tiny references at int8, by hand: bytes of the input and of each layer's output.
DS_CNN = [490, *[8000] * 9, 64, 12]
AUTOENCODER = [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
MOBILENET = [96 * 96 * 3, 48 * 48 * 8, *(side**2 * channels for side, channels in (
    (48, 8), (48, 16), (24, 16), (24, 32), (24, 32), (24, 32), (12, 32), (12, 64), (12, 64), (12, 64), (6, 64),
    *[(6, 128)] * 11, (3, 128), *[(3, 256)] * 3)), 256, 2]  # fmt: skip


def chain(sizes):
    """Each array is written by one step and read by the next; TFLM's arrays start at multiples of 16."""
    return [Lifetime(size, i, min(i + 1, len(sizes) - 1)) for i, size in enumerate(sizes)]


def resnet():
    """Three sums: the input of a stack lives until the sum."""
    arrays, step = [Lifetime(3072, 0, 1), Lifetime(16384, 1, 4)], 1
    for size, shortcut in ((16384, 0), (8192, 1), (4096, 1)):
        arrays += [Lifetime(size, step + 1, step + 2), Lifetime(size, step + 2, step + 3 + shortcut)]
        if shortcut:
            arrays[-3] = arrays[-3]._replace(read=step + 3)
            arrays.append(Lifetime(size, step + 3, step + 4))
        step += 3 + shortcut
        arrays.append(Lifetime(size, step, step + 1))
    return [
        *arrays,
        Lifetime(64, step + 1, step + 2),
        Lifetime(10, step + 2, step + 3),
        Lifetime(10, step + 3, step + 3),
    ]


# name -> (arrays, liveness bound, arena head of TFLM's own plan), of the references' own files
TINY = {
    "ds_cnn": (chain(DS_CNN), 16_000, 16_000),
    "resnet8": (resnet(), 49_152, 49_152),
    "mobilenet_v1": (chain(MOBILENET), 55_296, 73_728),
    "fc_autoencoder": (chain(AUTOENCODER), 768, 768),
}


def smallest_by_hand(arrays):
    """The smallest size of all layouts: every multiple of its alignment for every array, up to one above another."""
    top = sum(t.bytes + t.alignment for t in arrays)
    best, places = top, []

    def place(i):
        nonlocal best
        if i == len(arrays):
            best = min(best, max(o + t.bytes for o, t in zip(places, arrays, strict=True)))
            return
        for offset in range(0, best - arrays[i].bytes, arrays[i].alignment):
            free = all(
                arrays[i].written > b.read or b.written > arrays[i].read
                or offset >= o + b.bytes or o >= offset + arrays[i].bytes
                for o, b in zip(places, arrays[:i], strict=True)
            )  # fmt: skip
            if free:
                places.append(offset)
                place(i + 1)
                places.pop()

    place(0)
    return best


def drawn(rng, n, alignments=(1,), largest=6, steps=6):
    arrays = []
    for _ in range(n):
        written, read = sorted(rng.integers(0, steps, 2).tolist())
        arrays.append(Lifetime(int(rng.integers(1, largest)), written, read, int(rng.choice(alignments))))
    return arrays


@pytest.mark.parametrize("name", TINY)
def test_the_plan_is_the_liveness_bound_on_every_network_of_the_benchmark(name):
    arrays, bound, greedy = TINY[name]
    plan = plan_arena(as_tflm(arrays))
    assert (plan.bytes, plan.bound, plan.optimal) == (bound, bound, True)
    assert bound == peak_bytes(arrays)
    assert check_arena(as_tflm(arrays), tflm_greedy(as_tflm(arrays))) == greedy


def test_the_plan_is_the_smallest_of_all_layouts():
    """Some of these have no layout at the bound."""
    rng, above = np.random.default_rng(0), 0
    for _ in range(16):
        arrays = drawn(rng, 5, alignments=(1, 2), largest=5)
        plan, smallest = plan_arena(arrays), smallest_by_hand(arrays)
        assert plan.bytes == smallest and plan.optimal
        assert plan.bound <= smallest
        above += plan.bytes > plan.bound
    assert above


def rectangle(rng, pieces, steps=40, size=1000):
    """Cuts a rectangle of steps x bytes into arrays, so that there is a layout without any gap."""
    parts = [(0, steps, 0, size)]
    while len(parts) < pieces:
        i = rng.randrange(len(parts))
        first, last, low, high = parts[i]
        if rng.random() < 0.5 and last - first > 1:
            cut = rng.randrange(first + 1, last)
            parts[i : i + 1] = [(first, cut, low, high), (cut, last, low, high)]
        elif high - low > 1:
            cut = rng.randrange(low + 1, high)
            parts[i : i + 1] = [(first, last, low, cut), (first, last, cut, high)]
    rng.shuffle(parts)
    return [Lifetime(high - low, first, last - 1) for first, last, low, high in parts]


def test_the_search_finds_packings_without_a_gap():
    """Where a plan of exactly the bound exists by construction, and first-fit in no order of ours finds some."""
    rng = random.Random(1)
    plans = [(plan_arena(arrays), plan_arena(arrays, trials=0)) for arrays in (rectangle(rng, 24) for _ in range(20))]
    assert all(plan.bound == 1000 and plan.optimal == (plan.bytes == 1000) for pair in plans for plan in pair)
    assert all(searched.bytes <= fitted.bytes for searched, fitted in plans)
    reached = [sum(plan.optimal for plan in which) for which in zip(*plans, strict=True)]
    assert reached[0] >= 19 and reached[1] < reached[0], reached


def test_alignments_are_kept_and_priced():
    rng = np.random.default_rng(2)
    for _ in range(20):
        arrays = drawn(rng, 12, alignments=(1, 4, 16), largest=60)
        plan = plan_arena(arrays, trials=50)
        assert all(offset % t.alignment == 0 for offset, t in zip(plan.offsets, arrays, strict=True))
        assert peak_bytes(arrays) <= plan.bound <= plan.bytes
    assert plan_arena(arrays, trials=50) == plan_arena(arrays, trials=50)


def test_nothing_needs_nothing():
    assert plan_arena([]) == ArenaPlan((), 0, 0, True)
    assert plan_arena([Lifetime(0, 0, 9), Lifetime(5, 1, 2)]) == ArenaPlan((0, 0), 5, 5, True)
    assert check_arena([Lifetime(0, 0, 9), Lifetime(5, 1, 2)], [2, 0]) == 5


def test_an_overlap_is_seen_wherever_it_is_planted():
    """Against a table of bytes by steps, in which every byte of every array is counted."""
    rng, faults = np.random.default_rng(3), 0
    for _ in range(200):
        arrays = drawn(rng, 4)
        offsets = rng.integers(0, 12, len(arrays)).tolist()
        table = np.zeros((6, 20), int)
        for t, offset in zip(arrays, offsets, strict=True):
            table[t.written : t.read + 1, offset : offset + t.bytes] += 1
        if table.max() > 1:
            faults += 1
            with pytest.raises(ValueError, match="overlap while both are alive"):
                check_arena(arrays, offsets)
        else:
            assert check_arena(arrays, offsets) == np.flatnonzero(table.any(0))[-1] + 1
    assert 20 < faults < 180


def test_the_bound_of_aligned_arrays_is_below_every_order_of_a_pile():
    """Arrays that are all alive: each order of them piled up is a layout, and the best pile is the smallest."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        arrays = [Lifetime(int(size), 0, 0, 4) for size in rng.integers(1, 12, 4)]
        piles = []
        for order in itertools.permutations(arrays):
            end = 0
            for t in order:
                end = -(-end // 4) * 4 + t.bytes
            piles.append(end)
        assert liveness_bound(arrays) == min(piles)


def test_the_greedy_plan_is_tflm_s():
    """The figures of TFLM's greedy_memory_planner_test.cc."""
    medium = [Lifetime(10, 0, 1), Lifetime(20, 1, 2), Lifetime(30, 2, 3), Lifetime(40, 3, 4), Lifetime(50, 0, 1)]
    assert tflm_greedy(medium) == [50, 70, 40, 0, 0] and check_arena(medium, tflm_greedy(medium)) == 90
    apart = [Lifetime(10, 0, 1), Lifetime(20, 2, 3)]
    assert tflm_greedy(apart) == [0, 0]
    overlapping = [Lifetime(100, 0, 1), Lifetime(50, 2, 3), Lifetime(20, 1, 2)]
    assert check_arena(overlapping, tflm_greedy(overlapping)) == 120
    assert plan_arena(overlapping).bytes == 120


def test_a_plan_is_encoded_as_tflm_reads_it():
    encoded = offline_plan([None, 0, 36_864, None], subgraph=2)
    assert np.frombuffer(encoded, "<i4").tolist() == [1, 2, 4, -1, 0, 36_864, -1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plan_arena([Lifetime(-1, 0, 1)]), r"lifetimes\[0\].bytes=-1 must be at least 0"),
        (lambda: plan_arena([Lifetime(1, 2, 1)]), r"lifetimes\[0\].read=1 must be at least 2"),
        (lambda: plan_arena([Lifetime(1, 0, 1, 0)]), r"lifetimes\[0\].alignment=0"),
        (lambda: plan_arena([Lifetime(1.5, 0, 1)]), r"lifetimes\[0\].bytes=1.5 must be an integer"),
        (lambda: plan_arena([], trials=-1), "trials=-1"),
        (lambda: check_arena([Lifetime(4, 0, 1)], []), "offsets has 0 entries; expected one for each of 1 arrays"),
        (lambda: check_arena([Lifetime(4, 0, 1)], [-4]), r"offsets\[0\]=-4"),
        (lambda: check_arena([Lifetime(4, 0, 1, 4)], [2]), r"offsets\[0\]=2 is not a multiple .* alignment, 4"),
        (lambda: offline_plan([8]), r"offsets\[0\]=8 must be a multiple of 16"),
        (lambda: offline_plan([2**31]), "of at most 2147483647"),
        (lambda: offline_plan([]), "offsets is empty"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
