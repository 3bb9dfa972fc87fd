"""What the runner of studies promises: a record that cannot be written is refused before anything is trained."""

from __future__ import annotations

import dataclasses

import pytest

from experiments import studies
from gecko_jax import reports
from gecko_jax.reports import Column, Row, Study
from gecko_jax.types import Estimate


@dataclasses.dataclass(frozen=True)
class Config:
    output: str
    rate: object = 0.5


def study(**record):
    return Study("t", "", (Row("r", {"auc": Estimate(0.5)}),), (Column("auc", "AUC"),), record=record)


@pytest.fixture(autouse=True)
def same_code(monkeypatch):
    """Reading all sources takes longer than all else here."""
    digests = iter(f"code {i}" for i in range(100))
    monkeypatch.setattr(studies, "code_digest", lambda: next(digests))


@pytest.mark.parametrize("changes", [{"rate": lambda done: 0.1}, {"rate": object()}])
def test_a_bad_record_costs_no_training(tmp_path, changes):
    config = Config(str(tmp_path / "out"), **changes)
    part = studies.Part("", lambda: pytest.fail("trained"), [0])
    with pytest.raises(TypeError, match=r"record\['config'\]\['rate'\] is a"):
        studies.run("try", config, {}, tmp_path, [part])
    with pytest.raises(TypeError, match=r"record\['seeds'\]\[0\] is a object"):
        studies.run("try", Config(str(tmp_path / "out")), {}, tmp_path, [part._replace(seeds=[object()])])


def test_the_record_is_of_the_code_that_ran_and_holds_what_a_part_adds(tmp_path, capsys):
    digests = []

    def make():
        digests.append(studies.code_digest())  # as if the sources were edited meanwhile
        return study(timings={"row": 1.5}, attack="lira")

    studies.run("try", Config(str(tmp_path)), {}, tmp_path, [studies.Part("a", make, range(2))])
    record = reports.read_record(tmp_path / "a", complete=True).record
    assert record["config"] == {"output": str(tmp_path), "rate": 0.5} and record["seeds"] == [0, 1]
    assert record["attack"] == "lira" and record["timings"]["row"] == 1.5 and record["timings"]["total"] >= 0
    assert (record["code"], digests) == ("code 0", ["code 1"])
    assert record["environment"]["date"] and "Report" in capsys.readouterr().out
