"""No message grows with the user's data: of ten thousand names five are said."""

from __future__ import annotations

import numpy as np
import pytest

from gecko_jax import attacks, audit, checks, datasets
from gecko_jax.audit.report import slices


@pytest.mark.parametrize("count", [0, 1, 5, 6, 10_000])
def test_a_list_is_whole_or_says_how_much_is_missing(count):
    text = checks.listed(range(count))
    assert text.startswith(", ".join(map(str, range(min(count, 5)))))
    assert ("more" in text) == (count > 5) and (count <= 5 or text.endswith(f"4 and {count - 5:,} more"))


def test_unknown_names_among_ten_thousand_are_suggested_and_not_listed():
    with pytest.raises(ValueError, match="Did you mean 'name 77'") as error:
        checks.one_of("name", "nmae 77", [f"name {i}" for i in range(10_000)])
    assert len(str(error.value)) < 1000 and "9,950 more" in str(error.value)
    with pytest.raises(ValueError, match="Known") as error:
        checks.one_of("attack", "nothing", attacks.ATTACKS)
    assert all(name in str(error.value) for name in attacks.ATTACKS)  # a table of the library's is shown whole


def test_an_audit_of_many_classes_prints_what_one_of_few_does():
    """One record of each class: no class has a figure of its own."""
    n, rng = 400, np.random.default_rng(0)
    member = rng.random((3, n)) < 0.5
    logits = np.zeros((3, n, n), np.float32)
    logits[:, np.arange(n), np.arange(n)] = rng.normal(size=(3, n)) + member
    groups = {f"group {i}": np.arange(n) == i for i in range(300)}
    report = audit.audit_models(logits, np.arange(n), member, [attacks.loss()], slices=groups)
    sentences = [*report.warnings, *report.notes]
    assert max(map(len, sentences)) < 400
    assert any("class 4 (0 members" in one and "395 more" in one for one in sentences)
    assert any("group 4 (0 members" in one and "295 more" in one for one in sentences)


def test_thousands_of_slices_without_figures_are_one_short_warning():
    n, rng = 3_000, np.random.default_rng(0)
    result = slices.of_groups(rng.normal(size=n), rng.random(n) < 0.5, 0.0, slices.by_class(np.arange(n)))
    (warning,) = result.warnings
    assert not result.figures and "2,995 more" in warning and len(warning) < 400


def test_errors_about_thousands_of_models_are_short():
    with pytest.raises(ValueError, match="different integers") as error:
        datasets.batches(np.ones((3000, 4), bool), 2, 0, 0, model_ids=[0] * 3000)
    assert len(str(error.value)) < 300
