"""docs/language_models.md says what is there: its examples run, in order, and show what the text promises."""

import pathlib
import re

import pytest

from gecko_jax.datasets import text

GUIDE = pathlib.Path(__file__).resolve().parents[1] / "docs" / "language_models.md"
TEXT = GUIDE.read_text()


@pytest.fixture(name="names", scope="module")
def run_the_guide():
    names = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(compile(block, "language_models.md", "exec"), names)
    return names


def test_cleaning_leaves_each_author_their_own_words(names):
    cleaned = text.deduplicate(text.clean(names["mails"])).text
    assert cleaned == ("I would keep the second patch, because it is shorter.",
                       "So would I, and I have tried it on two machines.")  # fmt: skip


def test_the_fine_tuned_model_is_better_and_its_members_are_told_apart(names):
    report, losses = names["report"], names["probes"].token_losses
    x, y, _ = names["rows"]["validation"].causal()
    before = names["metrics"].perplexity(losses(names["network"], names["base"], x, y), y)
    assert names["metrics"].perplexity(names["of_tokens"], y) < 0.98 * before
    assert {"loss", "min_k", "reference_ratio", "zlib_ratio", "lowercase_ratio"} <= set(report.rows)
    assert report.rows["reference_ratio"]["auc"].value > 0.5


def test_secrets_that_were_never_seen_are_not_exposed(names):
    steps = names["metrics"].exposure_ladder(names["of_fills"], names["planted"].repetitions)
    assert [step.repetitions for step in steps] == [1, 5] and all(step.exposure.value < 4 for step in steps)
    assert float(names["run"].epsilon) > 0 and len(names["train"].text) == len(names["parts"]["members"].text) + 12


def test_sources_and_functions_of_the_tables_exist():
    for name in re.findall(r"`text\.(\w+)", TEXT):
        assert hasattr(text, name), name
