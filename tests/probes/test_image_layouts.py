"""Images are moved along rows and columns in either layout, never along channels; what is unclear stays as it is."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from gecko_jax import attacks, audit, probes
from gecko_jax.audit import audit_targets
from gecko_jax.audit.validity.blind_baselines import Baselines
from gecko_jax.probes import layouts
from gecko_jax.types import Examples

N = 40
RNG = np.random.default_rng(0)
LAST = RNG.random((N, 7, 6, 3)).astype(np.float32)
FIRST = np.moveaxis(LAST, -1, 1).copy()
Y = RNG.integers(0, 3, N)
WEIGHT = RNG.normal(size=(7 * 6 * 3, 3))


@pytest.fixture(autouse=True)
def no_classifier_of_the_records(monkeypatch):
    """It is not what is tested here, and takes most of an audit's time."""
    monkeypatch.setattr(audit_targets, "_blind", lambda *_: Baselines({}, []))


def of_last(x):
    return (x.reshape(len(x), -1) - 0.5) @ WEIGHT


def of_first(x):
    return of_last(np.moveaxis(x, 1, -1))


def parts(x, y=Y):
    return [Examples(x[rows], y[rows], np.arange(N)[rows]) for rows in (slice(0, N // 2), slice(N // 2, N))]


@pytest.mark.parametrize(
    "make",
    [
        probes.flips_and_shifts,
        probes.translations,
        lambda x, **options: probes.rotations(x, [5, 30], **options),
    ],
)
@pytest.mark.parametrize("layout", [None, "channels_first"])
def test_copies_are_the_same_images_in_either_layout(make, layout):
    for one, same in zip(make(FIRST, layout=layout), make(LAST), strict=True):
        np.testing.assert_array_equal(np.moveaxis(one, 1, -1), same)
        assert one.flags.c_contiguous


def test_the_flip_is_from_left_to_right_in_either_layout():
    np.testing.assert_array_equal(probes.flips_and_shifts(FIRST)[9], FIRST[:, :, :, ::-1])
    np.testing.assert_array_equal(probes.flips_and_shifts(LAST)[9], LAST[:, :, ::-1])


@pytest.mark.parametrize("probe", [probes.translation_robustness, probes.rotation_robustness])
def test_robustness_is_the_same_in_either_layout(probe):
    y = of_last(LAST).argmax(1)
    results = probe(of_first, FIRST, y)
    np.testing.assert_array_equal(results, probe(of_last, LAST, y))
    assert 0 < results.mean() < 1


def test_an_audit_moves_images_in_their_own_layout():
    y = of_last(LAST).argmax(1)
    last, first, told = (
        audit.audit(predict, *parts(x, y), **options)
        for predict, x, options in (
            (of_last, LAST, {}),
            (of_first, FIRST, {}),
            (of_first, FIRST, {"layout": "channels_first"}),
        )
    )
    assert last.rows["label_only"] == first.rows["label_only"] == told.rows["label_only"]
    assert any("channels first" in note for note in first.notes)
    assert not any("channels first" in note for report in (last, told) for note in report.notes)


SHAPES = {
    "series": (1, 12, 5),
    "series of one feature": (1, 12, 1),
    "a row of pixels": (12, 1, 1),
    "volumes": (9, 8, 7),
}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_an_attack_that_nobody_asked_for_never_ends_an_audit(name):
    x = RNG.random((N, *SHAPES[name])).astype(np.float32)
    asked = []

    def predict(x):
        asked.append(len(x))
        return x.reshape(len(x), -1)[:, :3] - 0.5

    report = audit.audit(predict, *parts(x))
    assert set(attacks.OF_THE_TARGET) <= set(report.rows) and "label_only" not in report.rows
    assert any("label_only" in note and "images" in note for note in report.notes)
    asked.clear()
    with pytest.raises(ValueError, match="attack 'label_only' reads 'label_robustness', which moves images"):
        audit.audit(predict, *parts(x), attacks=[attacks.label_only()])
    assert not asked
    noisy = audit.audit(predict, *parts(x), attacks=[attacks.label_only()], layout="features")
    assert 0 < noisy.rows["label_only"]["auc"].value < 1


def test_a_probe_that_fails_leaves_its_attack_out_with_the_reason():
    """Whatever it is: here the gradients of a model whose records are numbers of words."""
    from gecko_jax import models

    def apply(variables, x, *, key=None, train=False):
        return variables["params"][x].sum(1), {}

    model = models.create("mlp", 3)._replace(apply=apply)
    words = RNG.integers(0, 50, (N, 6))
    table = jnp.asarray(RNG.normal(size=(50, 3)), jnp.float32)
    report = audit.audit(model, *parts(words), variables={"params": table})
    assert "small_gradient" not in report.rows and any("small_gradient" in note for note in report.notes)
    with pytest.raises(ValueError, match="'small_gradient'.*records are arrays of floats"):
        audit.audit(model, *parts(words), variables={"params": table}, attacks=[attacks.small_gradient()])


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((N, 28, 28, 1), "channels_last"),
        ((N, 3, 32, 32), "channels_first"),
        ((N, 1, 28, 28), "channels_first"),
        ((N, 3, 48, 20), "channels_first"),
        ((N, 20, 48, 3), "channels_last"),
        ((N, 64, 64, 13), "channels_last"),
        ((N, 13, 64, 64), "channels_first"),
        ((N, 4, 4, 1), "channels_last"),
        ((N, 3, 4, 4), "channels_first"),
        ((N, 1, 50, 6), None),
        ((N, 9, 8, 7), None),
        ((N, 12), "features"),
        ((N, 50, 6), "features"),
    ],
)
def test_the_layout_that_a_shape_speaks_for(shape, layout):
    assert layouts.layout_of(shape) == layout


def test_an_unclear_layout_is_asked_for():
    x = RNG.random((4, 1, 12, 5)).astype(np.float32)
    for make in (probes.flips_and_shifts, probes.translations, lambda x: probes.rotations(x, 5)):
        with pytest.raises(ValueError, match=r"x has shape \(4, 1, 12, 5\).*layout='channels_first'"):
            make(x)
    with pytest.raises(ValueError, match="Did you mean 'channels_last'"):
        audit.audit(of_last, *parts(LAST), layout="channel_last")
