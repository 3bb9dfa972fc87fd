"""docs/auditing.md says what is there: its examples run, in order, and show what the text beside them promises."""

import pathlib
import re

import numpy as np
import pytest

GUIDE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "auditing.md"
TEXT = GUIDE.read_text()


@pytest.fixture(name="names", scope="module")
def run_the_guide():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(compile(block, "auditing.md", "exec"), names)
    return names


def test_names_of_classes_are_the_columns_whatever_their_order(names):
    named, plain = names["by_name"], names["report"]
    assert "class seven" in named.slices and "class 7" in plain.slices
    assert named.performance["accuracy"]["members"].value == 1
    assert not [warning for warning in named.warnings if "another order" in warning]


def test_labels_alone_are_attacked_by_labels(names):
    assert set(names["labels"].rows) == {"gap"} and "labels alone" in " ".join(names["labels"].notes)
    assert set(names["moved"].rows) == {"gap", "label_only"}


def test_text_has_no_classifier_of_the_records_beside_it(names):
    assert "records" not in names["texts"].baselines
    assert any("x holds objects, not numbers" in warning for warning in names["texts"].warnings)
    assert names["texts"].rows["loss"]["auc"].value > 0.6


def test_a_regression_and_its_saved_losses_leak_alike(names):
    regression, by_losses = names["regression"], names["by_losses"]
    assert by_losses.rows["lira"]["auc"].low > 0.6 and "mean squared error" in regression.performance
    assert "'entropy'" in regression.not_run["entropy"]


def test_a_reference_helps_and_a_shift_is_told_first(names):
    compared, shifted = names["compared"], names["shifted"]
    assert compared.rows["reference_ratio"]["auc"].value > compared.rows["loss"]["auc"].value + 0.1
    assert not any("reference model" in warning for warning in compared.warnings)
    assert shifted.warnings[0].startswith("The reference model 'pretrained' alone tells members from non-members")


def test_the_shadows_shown_find_what_a_forest_remembers(names):
    assert names["shadowed"].rows["lira"]["auc"].value > names["shadowed"].rows["gap"]["auc"].value > 0.5
    predict = names["with_all_columns"](np.arange(50), 3)
    assert predict(names["x"][:4]).shape == (4, 10)
