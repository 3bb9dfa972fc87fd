"""Runs over four processes of a device and over two of four, against the same runs in this process alone."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest
import several_processes
from spawned import run_together

from gecko_jax.trees import named_leaves

PROGRAM = pathlib.Path(several_processes.__file__)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(folder, what four processes ended with, what two did that went on)."""
    folder = tmp_path_factory.mktemp("processes")
    four = run_together(PROGRAM, 4, 1, folder)
    two = run_together(PROGRAM, 2, 4, folder)
    for number, (code, log, _) in enumerate(two):
        assert code == 0, f"process {number}: {log[-3000:]}"
    return folder, four, two


@pytest.fixture(scope="module")
def alone():
    epochs = {}
    divided = several_processes.divided_batches(lambda epoch, variables: epochs.update({epoch: variables}))
    return {
        "several": several_processes.arrays(several_processes.several_models()),
        "divided": several_processes.arrays(divided),
        "epoch": dict(named_leaves(epochs[several_processes.KILLED_AT])),
    }


def facts(folder, number):
    return json.loads((folder / f"facts_2_{number}.json").read_text())


def check_same(folder, name, expected):
    with np.load(folder / f"{name}.npz") as arrays:
        assert set(arrays) == set(expected)
        for key, leaf in expected.items():
            np.testing.assert_allclose(arrays[key], leaf, rtol=0, atol=1e-6, err_msg=f"{name} {key}")


@pytest.mark.parametrize("process", ["2_0", "2_1"])
def test_models_side_by_side_are_those_of_one_process(runs, alone, process):
    check_same(runs[0], f"several_{process}", alone["several"])


@pytest.mark.parametrize("process", ["4_0", "4_1", "4_2", "4_3"])
def test_four_processes_have_the_variables_of_one(runs, alone, process):
    """Of the last epoch before one of them was killed."""
    check_same(runs[0], f"epoch_{process}", alone["epoch"])


@pytest.mark.parametrize("process", ["2_0", "2_1"])
def test_a_run_of_four_processes_goes_on_with_two_to_the_same_values(runs, alone, process):
    """Its batches are divided among eight devices, and its noise is that of one process: it is drawn once."""
    lines = [json.loads(line) for line in (runs[0] / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(several_processes.EPOCHS))
    (restored,) = facts(runs[0], 0)["restored after"]
    assert restored in (several_processes.KILLED_AT - 1, several_processes.KILLED_AT)
    check_same(runs[0], f"divided_{process}", alone["divided"])


def test_a_killed_process_stops_the_others(runs):
    killed, others = runs[1][-1], runs[1][:-1]
    assert killed[0] == -9
    for code, log, ended in others:
        assert code != 0 and ended - killed[2] < 60
        assert re.search(r"process \d.* (silent|failed|does not answer)|another process is gone", log), log[-3000:]
        assert "the run goes on from its last checkpoint" in log


def test_processes_that_differ_are_refused_everywhere(runs):
    for number in range(2):
        told = facts(runs[0], number)
        start = "ValueError: the 2 processes do not agree before training: "
        assert told["seed"].startswith(f"{start}seed is 0 in process 0 and 1 in process 1.")
        assert "do not agree before the draw of a seed: folder is passed is false in process 0" in told["folder"]
        assert told["order"].startswith("ValueError: the 2 processes do not agree before th")
        assert told["data"].startswith(f"{start}data is ") and "start all with the same" in told["data"]


def test_what_process_0_read_is_everywhere(runs):
    for number in range(2):
        told = facts(runs[0], number)
        assert told["from main"] == 0 and told["error"].startswith("JSONDecodeError")
        assert str(told["broadcast"]) == "[[-0.0, 0.0], [True]]"


def test_a_step_sums_gradients_over_the_devices_and_nothing_else_is_sent(runs):
    """Within the loop over steps one sum for all arrays; the rows stay where they are."""
    program = facts(runs[0], 0)["program"]
    within = [line for line in program if "while/body" in line and re.search(r"all-|collective|reduce-scatter", line)]
    assert any("all-reduce(" in line for line in within)
    assert not [line for line in within if re.search(r"(all-gather|all-to-all|collective-permute)\(", line)]
    assert not [line for line in program if re.search(r"callback|infeed|outfeed", line)]


def test_models_alone_on_their_devices_send_nothing_within_a_step(runs):
    program = facts(runs[0], 0)["undivided program"]
    assert not [line for line in program if "while/body" in line and re.search(r"(all-\w+|permute)\(", line)]


def test_a_study_is_written_and_told_by_process_0(runs):
    folder, _, two = runs
    assert (folder / "study" / "record.json").exists()
    assert two[0][1].count("The toy study") == 2 and two[0][1].count("Nothing changed") == 1
    assert "study" not in two[1][1] and "Nothing changed" not in two[1][1]


def test_this_process_has_no_others():
    assert jax.process_count() == 1
