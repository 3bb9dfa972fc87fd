"""Judges beats by a clock that the test turns: who is silent, who failed alone, who left."""

import json

import pytest

from gecko_jax import hosts
from gecko_jax.hosts import watchdog
from gecko_jax.hosts.watchdog import BEAT_SECONDS, GRACE_SECONDS, SILENCE_SECONDS, Watchdog


class Room:
    """Three processes; this test is process 0."""

    def __init__(self):
        self.now, self.reasons = 100.0, []
        self.all = [Watchdog(number, self.reasons.append, lambda: self.now) for number in range(3)]
        self.beats = {}

    def pass_time(self, seconds, alive=(0, 1, 2)):
        for _ in range(int(seconds / BEAT_SECONDS) + 1):
            self.now += BEAT_SECONDS
            self.beats |= {str(number): self.all[number].beat() for number in alive}
            self.all[0].look(self.beats)


def test_processes_that_beat_are_left_alone():
    room = Room()
    room.pass_time(3 * SILENCE_SECONDS)
    assert room.reasons == []


def test_a_silent_process_stops_this_one_within_a_minute():
    room = Room()
    room.pass_time(10)
    room.pass_time(SILENCE_SECONDS - 2 * BEAT_SECONDS, alive=(0, 1))
    assert room.reasons == []
    room.pass_time(3 * BEAT_SECONDS, alive=(0, 1))
    assert "process 2 has been silent" in room.reasons[0]
    assert SILENCE_SECONDS + 3 * BEAT_SECONDS < 60 and GRACE_SECONDS + 3 * BEAT_SECONDS < 60


def test_a_process_that_never_came_is_not_judged():
    room = Room()
    room.pass_time(3 * SILENCE_SECONDS, alive=(0, 1))
    assert room.reasons == []


def test_an_error_of_one_process_stops_the_others_and_an_error_of_all_does_not():
    room = Room()
    for each in room.all:
        each.failed = [4, "NotFinite: model 0"]
    room.pass_time(3 * GRACE_SECONDS)
    assert room.reasons == []
    room.all[0].failed = None  # this process went on, as nothing had failed here
    room.pass_time(GRACE_SECONDS - 2 * BEAT_SECONDS)
    assert room.reasons == []
    room.pass_time(3 * BEAT_SECONDS)
    assert room.reasons[0] == "process 1 failed: NotFinite: model 0"


def test_an_error_that_the_others_reach_later_is_theirs_too():
    room = Room()
    room.all[1].failed = [4, "ValueError: x"]
    room.pass_time(GRACE_SECONDS - 2 * BEAT_SECONDS)
    for each in room.all:
        each.failed = [4, "ValueError: x"]
    room.pass_time(3 * GRACE_SECONDS)
    assert room.reasons == []


def test_a_process_that_ended_is_missed_only_in_common_work():
    room = Room()
    room.all[1].is_done = True
    room.pass_time(SILENCE_SECONDS)
    room.pass_time(2 * SILENCE_SECONDS, alive=(0, 2))
    assert room.reasons == []
    room.all[0].depth = 1
    room.pass_time(GRACE_SECONDS + BEAT_SECONDS, alive=(0, 2))
    assert room.reasons[0] == "process 1 has ended while this one still works"


def test_a_coordinator_that_does_not_answer_is_process_0s_end():
    room = Room()
    room.pass_time(BEAT_SECONDS)
    room.now += SILENCE_SECONDS - BEAT_SECONDS
    room.all[0].look(None)
    assert room.reasons == []
    room.now += 2 * BEAT_SECONDS
    room.all[0].look(None)
    assert "process 0" in room.reasons[0]


def test_guarded_functions_count_themselves_and_name_a_lost_connection(monkeypatch):
    import jax

    mine = Watchdog(0, pytest.fail)
    monkeypatch.setattr(watchdog, "start", lambda: mine)

    def fail(error):
        raise error

    inner = watchdog.guarded(fail)

    def outer(error):
        with pytest.raises(type(error)):
            inner(error)
        return 5

    assert watchdog.guarded(outer)(ValueError("caught within")) == 5
    assert mine.failed is None and mine.entered == 1 and mine.depth == 0
    with pytest.raises(OSError):
        inner(OSError("disk full"))
    assert mine.failed == [2, "OSError: disk full"] and json.loads(mine.beat())["failed"] == mine.failed
    with pytest.raises(hosts.ProcessLost, match="same command"):
        inner(jax.errors.JaxRuntimeError("Gloo all-reduce failed: Connection closed by peer"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="RESOURCE"):
        inner(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"))
    watchdog.guarded(lambda: 1)()
    assert mine.failed is None
