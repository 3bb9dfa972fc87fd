"""Who joins whom: arguments, and clusters as their environment variables say."""

import jax
import pytest
from absl import flags as absl_flags

from experiments import flags, processes
from experiments.template.config import PRESETS, Config
from gecko_jax import hosts

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-4]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}


@pytest.fixture
def joined(monkeypatch):
    """The arguments that JAX is given, instead of its joining anybody."""
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: calls.append(options))
    for name in ("KUBERNETES_SERVICE_HOST", "OMPI_COMM_WORLD_SIZE", *SLURM):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_without_arguments_and_without_a_cluster_nobody_is_asked(joined):
    assert hosts.join() == 1 and joined == []


def test_all_three_arguments_are_taken_as_they_are(joined, monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    hosts.join("10.0.0.1:1234", 2, 1)
    (options,) = joined
    assert options["coordinator_address"] == "10.0.0.1:1234"
    assert (options["num_processes"], options["process_id"]) == (2, 1)
    assert options["cluster_detection_method"] == "deactivate" and options["heartbeat_timeout_seconds"] < 60


def test_a_cluster_of_several_is_joined_and_one_of_one_is_not(joined, monkeypatch):
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    assert hosts.join(num_processes=1) == 1 and joined == []
    hosts.join()
    assert len(joined) == 1 and "coordinator_address" not in joined[0]
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert hosts.join() == 1 and len(joined) == 1
    monkeypatch.setenv("SLURM_NTASKS", "many")
    with pytest.raises(ValueError, match="SlurmCluster.*num_processes=1 if it is alone"):
        hosts.join()


def test_a_pod_of_no_indexed_job_is_alone(joined, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.delenv("JOB_COMPLETION_INDEX", raising=False)
    assert hosts.join() == 1 and joined == []


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("10.0.0.1:1234", 2, None), "process_id missing"),
        ((None, 2, 0), "coordinator missing"),
        (("10.0.0.1", 2, 0), "must be host:port of process 0"),
        (("10.0.0.1:1234", 2, 2), "process_id=2"),
        (("10.0.0.1:1234", 0, 0), "num_processes=0 must be at least 1"),
        ((None, 1, 3), "process_id=3 must be 0 with num_processes=1"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(joined, arguments, message):
    with pytest.raises(ValueError, match=message):
        hosts.join(*arguments)
    assert joined == []


def test_a_study_hands_its_flags_on(joined):
    definition = flags.define(Config, PRESETS)
    processes.add_flags(definition)
    line = ["run", "--coordinator=10.0.0.1:1234", "--num_processes=2", "--process_id=1", "--models=8"]
    assert flags.parse(definition, line) == Config(models=8)
    processes.join(definition)
    assert (joined[0]["num_processes"], joined[0]["process_id"]) == (2, 1)
    with pytest.raises(SystemExit):
        flags.parse(definition, ["run", "--num_processes=two"])
    assert isinstance(definition.values, absl_flags.FlagValues)


def test_the_main_process_alone_writes_where_it_was_told(monkeypatch, capsys, tmp_path):
    config = Config(output=str(tmp_path))
    with processes.own_output(config) as first:
        assert first is config
    monkeypatch.setattr(hosts, "is_main", lambda: False)
    with processes.own_output(config) as other:
        print("nobody hears this")
        folder = other.output
        assert folder != config.output and other == Config(output=folder)
    assert capsys.readouterr().out == ""
