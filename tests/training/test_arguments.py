"""Arguments that do not fit: refused by name before anything is trained or a folder is claimed."""

import jax
import numpy as np
import pytest
from naive_training import start_of

from gecko_jax import losses, training
from gecko_jax.types import Dataset

ALL = np.ones((2, 60), bool)
LOGITS = np.zeros((60, 10), np.float32)
NAN = np.where(np.arange(10) == 3, np.nan, LOGITS)
ONE_EMPTY = np.stack([np.ones(60, bool), np.zeros(60, bool)])


def taught(teacher, **options):
    return dict(loss=losses.hard_labels(), extra={"teacher": teacher}, **options)


BAD = {
    "member of other rows": (dict(member=ALL[:, :50]), r"member has shape \(2, 50\); expected \(any, 60\)"),
    "member of numbers": (dict(member=ALL.astype(int)), r"member has dtype int64; expected bool"),
    "a loss for members": (dict(member=losses.cross_entropy()), r"member is a Loss; expected bool .* loss="),
    "members of different lengths": (dict(member=[[True], [True, False]]), r"member is a list; expected bool \[m, n\]"),
    "a model without members": (dict(member=ONE_EMPTY), r"member\[1\] selects no rows"),
    "no models": (dict(member=ALL[:0]), r"member is empty"),
    "no epochs": (dict(epochs=0), r"epochs=0 must be at least 1"),
    "half an epoch": (dict(epochs=1.5), r"epochs=1.5 must be an integer"),
    "no rows a batch": (dict(batch_size=0), r"batch_size=0 must be at least 1"),
    "half a row": (dict(batch_size=2.5), r"batch_size=2.5 must be an integer"),
    "a negative seed": (dict(seed=-1), r"seed=-1 must lie between 0 and 4294967295"),
    "too few names": (dict(model_ids=[0]), r"model_ids=\[0\] must be 2 different integers"),
    "a name twice": (dict(model_ids=[4, 4]), r"model_ids=\[4, 4\] must be 2 different integers"),
    "no teacher": (dict(loss=losses.hard_labels()), r"loss 'hard_labels' reads extra\['teacher'\]: pass extra="),
    "extras that nothing reads": (dict(extra={"teacher": LOGITS}), r"extra\['teacher'\] would change nothing"),
    "extras by another name": (
        taught(LOGITS) | dict(extra={"teacher": LOGITS, "mask": LOGITS}), r"extra\['mask'\] would change nothing"
    ),
    "an array of extras": (dict(extra=LOGITS), r"extra is a ndarray; expected a mapping"),
    "a teacher of other rows": (taught(LOGITS[:7]), r"extra\['teacher'\] has shape \(7, 10\); expected \(60,\)"),
    "teachers of other models": (
        taught(np.stack([LOGITS] * 3), extra_per_model=True), r"has shape \(3, 60, 10\); expected \(2, 60\) and what"
    ),
    "a teacher declared to be each model's": (taught(LOGITS, extra_per_model=True), r"because extra_per_model=True"),
    "teachers that are not declared": (taught(np.stack([LOGITS] * 2)), r"because extra_per_model=False"),
    "a teacher of NaN": (taught(NAN), r"extra\['teacher'\] holds 60 entries that are NaN or infinite, .*0, 3"),
    "a teacher of other classes": (taught(LOGITS[:, :7]), r"extra\['teacher'\] has shape \(7,\); expected \(10\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused_before_a_folder_is_claimed(mlp, pool, tmp_path, case):
    options, message = BAD[case]
    start = jax.tree.map(lambda leaf: np.stack([leaf] * 2), start_of(mlp, pool.x))
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match=message):
        training.fit_ensemble(mlp, pool, **{"member": ALL, "init": start, "folder": folder, "epochs": 1, **options})
    assert not folder.exists()


@pytest.mark.parametrize("label", [-1, 10])
def test_labels_that_the_model_has_no_logit_for(mlp, pool, label):
    """-1 would train the last class, and 10 give NaN."""
    y = np.where(np.arange(60) == 4, label, pool.y)
    with pytest.raises(ValueError, match=rf"data.y holds labels {y.min()} to {y.max()}; the model has .* 0 to 9"):
        training.fit(mlp, pool._replace(y=y), init=start_of(mlp, pool.x))


def test_data_of_no_rows_or_of_different_lengths(mlp, pool):
    with pytest.raises(ValueError, match="data is empty; at least one row is needed"):
        training.fit(mlp, type(pool)(pool.x[:0], pool.y[:0], pool.id[:0]))
    with pytest.raises(ValueError, match=r"data.y has 60 rows, data.x has 59"):
        training.fit(mlp, pool._replace(x=pool.x[:59]))


def test_a_loss_is_passed_by_name_to_one_model_too(mlp, pool):
    with pytest.raises(ValueError, match="member is a Loss; expected bool .* loss="):
        training.fit(mlp, pool, losses.cross_entropy())


def test_what_holds_no_rows_is_no_data(mlp, pool):
    variables = start_of(mlp, pool.x)
    with pytest.raises(ValueError, match=r"data is a dict; expected rows to evaluate: Examples\(x, y\)"):
        training.evaluate(mlp, pool.x, variables)  # two arguments swapped
    with pytest.raises(ValueError, match="data is the Dataset 'digits'; expected rows to evaluate. Pass data.test"):
        training.evaluate(mlp, variables, Dataset("digits", pool, pool, 10))
    with pytest.raises(ValueError, match=r"data is a ndarray; expected rows to train on: Examples\(x, y\)"):
        training.fit(mlp, pool.x)


def test_one_model_takes_one_row_of_members(mlp, pool):
    with pytest.raises(ValueError, match=r"member has shape \(2, 60\); expected \(60\)"):
        training.fit(mlp, pool, ALL)


def test_initial_values_of_another_number_of_models(mlp, pool):
    start = jax.tree.map(lambda leaf: np.stack([leaf] * 3), start_of(mlp, pool.x))
    with pytest.raises(ValueError, match=r"init\['params/dense1/bias'\] has shape \(3, 8\); expected \(2, 8\)"):
        training.fit_ensemble(mlp, pool, ALL, init=start)


def test_initial_values_of_another_model(mlp, pool):
    start = start_of(mlp, pool.x)
    other = {"params": {**start["params"], "extra": start["params"]["logits"]}}
    with pytest.raises(ValueError, match="init has 'params/extra/bias', which the model does not have"):
        training.fit(mlp, pool, init=other)
    fewer = {"params": {"logits": start["params"]["logits"]}}
    with pytest.raises(ValueError, match="init lacks 'params/dense1/bias'"):
        training.fit(mlp, pool, init=fewer)
    wrong = jax.tree.map(lambda leaf: leaf[..., :3], start)
    with pytest.raises(ValueError, match=r"init\['params/dense1/bias'\] has shape \(1, 3\); expected \(1, 8\)"):
        training.fit(mlp, pool, init=wrong)


def test_optimizers_are_known_by_name():
    with pytest.raises(ValueError, match="optimizer='adm' is not known. Did you mean 'adam'"):
        training.optimizer("adm")
    with pytest.raises(ValueError, match="learning_rate=0 must be a finite number above 0"):
        training.optimizer("sgd", 0)


def test_a_dataset_is_not_the_rows_to_train_on(mlp, pool):
    data = Dataset("mine", pool, pool, 10)
    for call in (lambda: training.fit(mlp, data, epochs=1), lambda: training.fit_ensemble(mlp, data, ALL, epochs=1)):
        with pytest.raises(ValueError, match="data is the Dataset 'mine'; expected rows to train on. Pass data.train"):
            call()
